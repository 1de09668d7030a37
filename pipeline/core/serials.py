"""Serial numbers of a workshop's things: how one is written, and which known ones somebody may have meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

#: Of things that are made known (seed-behaviours, 3.5); what was known before keeps the number that it has.
PATTERN = re.compile(r"RM-[A-Z0-9-]{4,29}")
LONGEST = 32
MOST_SUGGESTIONS = 5
_SIMILAR = 0.6


def normal(said: str) -> str:
    """Return a serial number as it is kept: without white space, in capitals."""
    return "".join(said.split()).upper()


def is_well_formed(serial: str) -> bool:
    """Say whether a new thing may have this number."""
    return PATTERN.fullmatch(serial) is not None


def suggestions(serial: str, beginning: Sequence[str], containing: Sequence[str], others: Iterable[str]) -> list[str]:
    """Return up to five known numbers that may be meant, best first, each once.

    Those that begin with what was said go before those that contain it, and both before similar ones.
    """
    found = list(dict.fromkeys((*beginning, *containing)))[:MOST_SUGGESTIONS]
    if len(found) < MOST_SUGGESTIONS:
        left = sorted(set(others) - set(found))
        found += get_close_matches(serial, left, MOST_SUGGESTIONS - len(found), _SIMILAR)
    return found
