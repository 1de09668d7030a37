"""What forked processes find imported; out of sight of the garbage collector, which each of them runs at its start."""

from __future__ import annotations

import gc

from tests.faults import failing_api, failing_worker

__all__ = ["failing_api", "failing_worker"]

gc.collect()
gc.freeze()
