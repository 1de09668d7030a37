"""People who sign in wait in few threads, and never in a queue for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from ops_api.answers import Refusal

#: More than these wait for nothing: they would be answered when nobody waits any more.
_MOST_WAITING = 40
_Answer = TypeVar("_Answer")


async def in_turn(limiter: anyio.CapacityLimiter, function: Callable[[], _Answer]) -> _Answer:
    """Run a function in a thread of a limiter. Raises `Refusal` (503) where too many wait for it."""
    if limiter.statistics().tasks_waiting >= _MOST_WAITING:
        raise Refusal(503, "too many people sign in at once; try again", headers={"Retry-After": "2"})
    return await anyio.to_thread.run_sync(function, limiter=limiter)
