"""Phrases of a mail that may be a misspelt name of an asset: what the registry is asked for when nothing is named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from pipeline.core.status_words import AUXILIARIES, NEGATIONS, PAST, QUESTIONS, phrases

#: A mail asks for so many phrases at most, each of so many words and letters.
MOST_PHRASES = 12
_MOST_WORDS, _LEAST_LETTERS, _MOST_LETTERS = 5, 6, 80
#: How alike a name and a phrase must be, as pg_trgm counts, and how much more than the second-best asset.
LEAST_ALIKE, LEAST_AHEAD = 0.6, 0.08

_RUN_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_BREAK = re.compile(r"[.,;:!?()\[\]|\"<>\n]")
_DIGITS = re.compile(r"\d+")
_ORDINARY = (
    NEGATIONS
    | AUXILIARIES
    | PAST
    | QUESTIONS
    | phrases(
        "the/a/an/this/that/these/those/it/its/our/your/my/their/his/her/they/them/you/he/she/who/which/what/"
        "where/why/how, "
        "and/or/but/so/because/since/until/while/when/if/as/then/than/to/of/in/on/at/by/for/with/from/into/about/"
        "after/before, "
        "be/being/do/done/go/goes/went/get/gets/please/hello/hi/dear/thanks/thank/regards/good/morning/afternoon/"
        "evening/day/team, "
        "yesterday/tomorrow/monday/tuesday/wednesday/thursday/friday/saturday/sunday/week/weeks/days/hours/"
        "minutes/time/year, "
        "very/still/just/only/there/here/some/any/all/more/most/much/many/again/also/too/really/quite/completely/"
        "totally, "
        "down/offline/dead/broken/slow/slowly/working/works/work/online/stuck/jammed/fixed/repaired/leak/leaking/"
        "error/fault, "
        "noise/noisy/hot/open/opens/close/closes/start/starts/screen/display/card/cards/power/problem/problems/"
        "issue/issues, "
        "der/die/das/den/dem/ein/eine/ist/sind/und/oder/seit/bei/beim/am/im/wir/ich/sie/es/bitte/hallo/danke"
    )
)


class Phrase(NamedTuple):
    """Characters [start, end) of a document, as the registry is asked for them."""

    start: int
    end: int
    said: str


class Alike(NamedTuple):
    """An asset whose name is nearly a phrase."""

    asset_id: UUID
    name: str
    phrase: str
    likeness: float


def guessed_phrases(folded: str, places: Sequence[tuple[int, int]]) -> list[Phrase]:
    """Return the phrases in `places` of lower-case text that may be names, those of most words first."""
    found = {phrase.said: phrase for low, high in places for phrase in _phrases(folded, low, high)}
    ordered = sorted(found.values(), key=lambda one: (-len(one.said.split()), one.start))
    return ordered[:MOST_PHRASES]


def best_guess(candidates: Sequence[Alike]) -> Alike | None:
    """Return the one asset that was meant; None when none is alike enough, or two are.

    Numbers are no matter of spelling: those of the phrase must be those of the name.
    """
    alike = [one for one in candidates if one.likeness >= LEAST_ALIKE and _numbers(one.name) == _numbers(one.phrase)]
    ranked = sorted(alike, key=lambda one: (-one.likeness, str(one.asset_id), one.phrase))
    others = [one for one in ranked if one.asset_id != ranked[0].asset_id]
    if not ranked or (others and others[0].likeness > ranked[0].likeness - LEAST_AHEAD):
        return None
    return ranked[0]


def _numbers(said: str) -> list[int]:
    return sorted(map(int, _DIGITS.findall(said)))


def _phrases(folded: str, low: int, high: int) -> Iterator[Phrase]:
    for run in _runs(folded, low, high):
        for first in range(len(run)):
            for last in range(first, min(first + _MOST_WORDS, len(run))):
                beside = (*run[max(0, first - 1) : first], *run[last + 1 : last + 2])
                if any(_DIGITS.search(folded, *place) for place in beside):
                    continue  # a number beside a name belongs to it
                start, end = run[first][0], run[last][1]
                said = " ".join(folded[at:stop] for at, stop in run[first : last + 1])
                if _LEAST_LETTERS <= len(said) <= _MOST_LETTERS and not said.isdigit():
                    yield Phrase(start, end, said)


def _runs(folded: str, low: int, high: int) -> Iterator[list[tuple[int, int]]]:
    """Yield runs of words that are not ordinary and stand in one clause."""
    run: list[tuple[int, int]] = []
    for found in _RUN_WORD.finditer(folded, low, high):
        is_apart = bool(run) and _BREAK.search(folded, run[-1][1], found.start()) is not None
        is_ordinary = found.group() in _ORDINARY
        if run and (is_apart or is_ordinary):
            yield run
            run = []
        if not is_ordinary:
            run.append(found.span())
    if run:
        yield run
