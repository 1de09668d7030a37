"""A worker whose clock is wrong: `python -m tests.faults.skewed_worker SECONDS READS` is so many seconds ahead.

After READS looks at it the clock jumps back by an hour. The clock is wrong behind its port, for the machine's own
cannot be changed by a test. A routine with a slot each second shows whose time it goes by.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count

from sqlalchemy import Connection

from actors import worker
from pipeline.adapters.clock import SystemClock
from pipeline.core.slots import CatchUp
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import read_settings
from pipeline.runtime.slots import Routine

NAME = "each-second"
_JUMP = timedelta(hours=1)


class SkewedClock(SystemClock):
    """A wall clock that is ahead, or behind for a negative `ahead`, and jumps back while it is used."""

    def __init__(self, ahead: timedelta, reads: int) -> None:
        self._ahead, self._reads, self._looks = ahead, reads, count(1)

    def now(self) -> datetime:
        has_jumped = next(self._looks) > self._reads
        return super().now() + self._ahead - (_JUMP if has_jumped else timedelta(0))


def _nothing(_: Connection) -> int:
    return 0


def main(arguments: Sequence[str]) -> None:
    """Run a worker that is as the product but for its clock and its routine."""
    ahead, reads = timedelta(seconds=int(arguments[0])), int(arguments[1])
    worker.make_ports = partial(worker.make_ports, clock=SkewedClock(ahead, reads))  # type: ignore[assignment]
    routine = Routine(NAME, "a test", "* * * * * *", CatchUp.ALL, _nothing)
    worker.declared = lambda _: (routine,)  # type: ignore[assignment]
    settings = read_settings()
    set_up_logs(settings.log_format, settings.log_level, "worker")
    worker.run(settings)


if __name__ == "__main__":
    main(sys.argv[1:])
