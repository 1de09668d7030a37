"""The piece of a text that answers a search, with the places of the words in it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.core.search_words import ALONE, fold
from pipeline.core.text import one_line

LENGTH = 240
#: Characters of a text that are looked through.
REACH = 100_000
_BEFORE = 40
_MOST_HITS = 500

_WORD = re.compile(rf"[{ALONE}]|[^\W_{ALONE}]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a text on one line; `marks` are where its hits begin and end, in characters, in order."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


def piece_of(text: str, words: Sequence[str]) -> Piece:
    """Return the piece with the most different words of a question, its beginning when it has none of them.

    `words` are folded; a star at the end stands for any ending (`pipeline.core.search_terms`).
    """
    wanted = _Wanted(words)
    reached = text[:REACH]
    start = _best_start([hit for hit, _ in zip(wanted.hits(reached), range(_MOST_HITS), strict=False)])
    begin = _at_word(reached, max(0, start - _BEFORE))
    shown = one_line(reached[begin : begin + 4 * LENGTH])
    if len(shown) > LENGTH:
        shown = shown[:LENGTH].rsplit(" ", 1)[0] if " " in shown[:LENGTH] else shown[:LENGTH]
    return Piece(shown, tuple((place, end) for place, end, _ in wanted.hits(shown)))


class _Wanted:
    """The words of a question, to find them in a text."""

    def __init__(self, words: Sequence[str]) -> None:
        self._whole = frozenset(word for word in words if not word.endswith("*"))
        self._starts = tuple(word[:-1] for word in words if word.endswith("*"))

    def hits(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield where each word of the question stands in `text`, and which it is."""
        if not self._whole and not self._starts:
            return
        for found in _WORD.finditer(text):
            word = fold(found[0])
            if word in self._whole or (self._starts and word.startswith(self._starts)):
                yield found.start(), found.end(), word


def _best_start(hits: Sequence[tuple[int, int, str]]) -> int:
    """Return where the piece with the most different words begins, the earliest of equal ones; 0 without a hit."""
    best, best_start, last = 0, 0, 0
    for first, (start, _, _) in enumerate(hits):
        last = max(last, first)
        while last < len(hits) and hits[last][1] <= start + LENGTH - _BEFORE:
            last += 1
        different = len({word for _, _, word in hits[first:last]})
        if different > best:
            best, best_start = different, start
    return best_start


def _at_word(text: str, place: int) -> int:
    """Return the begin of the next word, so that a piece does not begin inside one."""
    if place == 0:
        return 0
    space = text.find(" ", place, place + _BEFORE)
    return place if space < 0 else space + 1
