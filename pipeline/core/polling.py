"""How often a mailbox is asked for changes: soon again after mail came, less and less often while none does."""

from __future__ import annotations

from datetime import timedelta

#: The pace at which stored distances are measured; a schedule that keeps another pace scales them by it.
STANDARD = timedelta(seconds=30)
#: An idle mailbox is asked this much less often than a busy one.
SLOWEST = 10
#: While the provider announces changes by itself, polling is only the net below: again so much less often.
PUSHED = 2


def next_interval(
    current: timedelta,
    *,
    found: bool,
    is_pushed: bool = False,
    shortest: timedelta = STANDARD,
    longest: timedelta | None = None,
) -> timedelta:
    """Return the distance to the next poll: `shortest` after a find, else half as much again as `current`.

    Never below `shortest` nor above `longest` (unless given 10 times `shortest`), which doubles while push is healthy.
    """
    if found:
        return shortest
    ceiling = (shortest * SLOWEST if longest is None else longest) * (PUSHED if is_pushed else 1)
    # Adding before comparing would overflow for a distance that nobody should have stored.
    return max(shortest, min(ceiling, min(current, ceiling) * 3 / 2))
