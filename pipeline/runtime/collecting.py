"""The garbage collector of a process that serves for long: it never stops everything to look at what stays anyway."""

from __future__ import annotations

import gc


def calm_the_collector() -> None:
    """Keep what was built at the start out of every collection, and collect per batch rather than per message."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
