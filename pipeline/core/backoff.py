"""How long to wait before the next attempt."""

from __future__ import annotations

from datetime import timedelta

#: Beyond this many doublings of any positive base every cap is reached; it keeps the arithmetic small.
_MOST_DOUBLINGS = 63
_TICK = timedelta(microseconds=1)


def delay(failures: int, *, base: timedelta, cap: timedelta, jitter: float = 0.0) -> timedelta:
    """Return the wait after the `failures`-th failure in a row: base, doubled each time, never above `cap`.

    `jitter` is a random draw in [0, 1) the caller makes; the wait is that share shorter, so uniform draws spread
    waits over (0, ceiling] (full jitter) and 0.0 gives the plain sequence. Without a failure there is no wait.
    Raises ValueError for negative failures, a base or cap that is not positive, or a jitter outside [0, 1).
    """
    if failures < 0:
        raise ValueError(f"failures cannot be negative: {failures}")
    if base <= timedelta(0) or cap <= timedelta(0):
        raise ValueError(f"base and cap must be positive: {base}, {cap}")
    if not 0.0 <= jitter < 1.0:
        raise ValueError(f"jitter must be at least 0 and below 1: {jitter}")
    if failures == 0:
        return timedelta(0)
    doubled = (base // _TICK) << min(failures - 1, _MOST_DOUBLINGS)
    ceiling = min(doubled, cap // _TICK)
    return timedelta(microseconds=max(1, round(ceiling * (1.0 - jitter))))
