"""Times and texts as people read them, on a terminal and over HTTP."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

#: What a terminal would obey: all of C0, DEL and C1 but newline and tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def ago(then: datetime | None, now: datetime) -> str | None:
    """Return how long ago something was, in words; None when it never was."""
    return None if then is None else f"{span(now - then)} ago"


def span(duration: timedelta) -> str:
    """Return a duration with its two largest units, such as "3 min 20 s"."""
    seconds = max(0, round(duration.total_seconds()))
    units = (("d", seconds // 86_400), ("h", seconds // 3600 % 24), ("min", seconds // 60 % 60), ("s", seconds % 60))
    found = [f"{number} {unit}" for unit, number in units if number]
    return " ".join(found[:2]) or "0 s"


def line_of(said: str, limit: int = 160) -> str:
    """Return the first line of a text, cut to `limit` characters; a terminal obeys none of them."""
    first = plain((said.strip().splitlines() or [""])[0])
    return first if len(first) <= limit else first[: limit - 1] + "…"


def plain(said: str) -> str:
    """Return a text with U+FFFD for each character that a terminal would obey; only newlines and tabs stay."""
    return _CONTROL.sub("\ufffd", said)


def clock(at: datetime) -> str:
    """Return a time to the minute."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def counted(number: int, what: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
