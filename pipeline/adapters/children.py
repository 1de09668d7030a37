"""Child processes that read what strangers sent: how they end when their owner goes."""

from __future__ import annotations

import subprocess
from contextlib import suppress


def end(process: subprocess.Popen[bytes]) -> None:
    """End a child, whatever it does, and let go of its pipes; harmless for one that has ended."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent is nobody's loss
                pipe.close()
    process.wait()
