"""Sets of IMAP message numbers (UIDs): the sequence-set text of RFC 3501, pieces of bounded size, and windows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

#: UIDs are 32-bit numbers from 1 up (RFC 3501, 2.3.1.1).
GREATEST = 2**32 - 1

_SET = re.compile(r"\d{1,10}(?::\d{1,10})?(?:,\d{1,10}(?::\d{1,10})?)*")


def pack(uids: Iterable[int]) -> str:
    """Return a set as text with its runs joined: {1, 2, 3, 7} is `1:3,7`; the empty set is an empty text."""
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in _runs(sorted(set(uids))))


def unpack(text: str) -> list[int]:
    """Return the UIDs of a text that `pack` made, ascending. Raises `ValueError` for any other text."""
    if not text:
        return []
    if _SET.fullmatch(text) is None:
        raise ValueError("this is no set of UIDs")
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found += _run(int(first), int(last or first), found[-1] if found else 0)
    return found


def batches(uids: Iterable[int], most: int, characters: int = 4_000) -> Iterator[list[int]]:
    """Yield the UIDs in ascending pieces of at most `most`; no piece is longer than `characters` when packed.

    Servers need not read command lines of more than 8,000 characters (RFC 7162, 4).
    """
    piece: list[int] = []
    length = 0
    for first, last in _runs(sorted(set(uids))):
        for low, high in windows_up(last + 1, most, first):
            cost = len(f"{low}:{high},")
            if piece and (len(piece) + high - low + 1 > most or length + cost > characters):
                yield piece
                piece, length = [], 0
            piece += range(low, high + 1)
            length += cost
    if piece:
        yield piece


def windows_down(below: int, first_width: int, widest: int = GREATEST) -> Iterator[tuple[int, int]]:
    """Yield the ranges of UIDs under `below`, highest first; each is four times as wide, so that sparse ones end."""
    width = max(1, min(first_width, widest))
    while below > 1:
        low = max(1, below - width)
        yield low, below - 1
        below, width = low, min(width * 4, widest)


def windows_up(end: int, width: int, start: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the ranges of UIDs from `start` up to `end`, not included, each of one width."""
    for low in range(start, end, width):
        yield low, min(low + width, end) - 1


def _runs(ordered: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for place in range(1, len(ordered) + 1):
        if place == len(ordered) or ordered[place] != ordered[place - 1] + 1:
            yield ordered[start], ordered[place - 1]
            start = place


def _run(first: int, last: int, after: int) -> range:
    if not after < first <= last <= GREATEST:
        raise ValueError("this set of UIDs is not in order")
    return range(first, last + 1)
