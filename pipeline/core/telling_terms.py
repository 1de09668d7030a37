"""The terms by which a model weighs what a mail tells of one asset: words and their order, and what the rules found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.core.status_words import BREAKS, NEGATIONS, Cue
from pipeline.core.statuses import cues_of

#: How the asset in question stands in its statements, another one, and "the other one".
THIS, ANOTHER, THE_OTHER = "thisone", "anotherone", "theother"
#: Longer mails are weighed by their beginning: people state their matter at the start.
MOST_STATEMENTS = 60
_WORD = re.compile(r"[^\W\d_]+|\d+|[,:()|?!]")
_APOSTROPHES = re.compile("['`\N{RIGHT SINGLE QUOTATION MARK}]")
#: Who hardly does something nearly does not.
_DENYING = NEGATIONS | {"hardly", "barely"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence about an asset, lower-case, with the asset as `THIS`; and where it stands in the mail."""

    text: str
    low: int
    high: int

    def words(self) -> list[str]:
        """Return its words; each number is 0, since no model should learn numbers by heart."""
        found = _WORD.findall(_APOSTROPHES.sub("", self.text))
        return ["0" if word[0].isdigit() else word for word in found]


def terms_of(statements: Sequence[Statement], by_rules: Iterable[str]) -> frozenset[str]:
    """Return the terms of what a mail tells of an asset; `by_rules` says what the rules made of it."""
    terms = {f"r {one}" for one in by_rules}
    told: list[Cue] = []
    last = len(statements) - 1
    for at, statement in enumerate(statements[:MOST_STATEMENTS]):
        words = statement.words()
        is_near = THIS in words
        terms.update(_words(words, is_near=is_near, is_last=at == last > 0))
        cues = cues_of(statement.text)
        told += cues
        if is_near:
            terms.update(f"near cue {cue.name}" for cue in cues)
            terms.update(f"last near cue {cue.name}" for cue in cues[-1:])
    terms.update(f"cue {cue.name}" for cue in told)
    terms.update(f"cues {one} {other}" for one, other in pairwise(["^", *(cue.name for cue in told), "$"]))
    return frozenset(terms)


def _words(words: Sequence[str], *, is_near: bool, is_last: bool) -> Iterator[str]:
    """Yield a statement's words and neighbours; words once more where they are denied, near the name, or last."""
    is_denied = False
    for word in words:
        is_denied = is_denied and word not in BREAKS
        yield word
        if is_denied:
            yield f"not {word}"
        if is_near:
            yield f"near {word}"
        if is_last:
            yield f"last {word}"
        is_denied = is_denied or word in _DENYING
    bounded = ["^", *words, "$"]
    for one, other in pairwise(bounded):
        yield f"{one}_{other}"
        if is_near:
            yield f"near {one}_{other}"
    # Threes with any word between are as good as threes that name it, and a fifth fewer terms.
    for one, other in zip(bounded, bounded[2:], strict=False):
        yield f"{one}_*_{other}"
