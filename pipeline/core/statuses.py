"""Which state a few sentences tell of one thing: what holds at their end, with what denies and doubts it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from models.enums import SignalStatus
from pipeline.core.asset_names import Trie, folded_text
from pipeline.core.status_lexicon import (
    A_WHILE,
    CONDITIONS,
    DEEDS,
    EVENTS,
    FILLERS,
    LEXICON,
    REQUESTED,
    REQUESTS,
)
from pipeline.core.status_words import (
    AGAIN,
    AUXILIARIES,
    BAD_GUARDS,
    BREAKS,
    COMMON,
    GOOD_GUARDS,
    LESSER_PARTS,
    NEGATIONS,
    OTHERS,
    PAST,
    PHRASES,
    QUESTIONS,
    TELLERS,
    Cue,
)

_CUES: Final[Trie[Cue]] = Trie()
for _cue, _phrases in chain(LEXICON.items(), PHRASES.items()):
    for _phrase in _phrases:
        _CUES.add(_phrase.split(), _cue)

#: Too common to tell a telling text by.
_COMMON = NEGATIONS | AUXILIARIES | PAST | QUESTIONS | COMMON


def _keys(*cues: Cue) -> frozenset[bytes]:
    """Return a rare word of each phrase, as tokens are compared."""
    rare = ([word for word in phrase.split() if word not in _COMMON] for cue in cues for phrase in PHRASES[cue])
    return frozenset(max(words, key=len).encode() for words in rare if words)


_TROUBLE: Final = _keys(Cue.DOWN, Cue.DEGRADED) | {
    phrase.encode() for cue in (Cue.DOWN, Cue.DEGRADED) for phrase in LEXICON[cue] if " " not in phrase
}
_DUTIES: Final = frozenset(
    word.encode()
    for cue in (Cue.ACTION, Cue.ONLINE, Cue.PROPERLY)
    for phrase in PHRASES[cue]
    for word in phrase.split()
)
_OUT_OF: Final = frozenset({b"order", b"service", b"action"})
_DENYING: Final = frozenset(word.encode() for word in NEGATIONS) | {b"t"}

_SILENT = frozenset({Cue.HEDGE, Cue.NOTHING, Cue.DOUBT})
#: German denies after the verb.
_DENYING_AFTER = frozenset({"nicht", "nichts"})
_ONCE_MORE = frozenset({"again", "wieder"})
#: What somebody is told not to do.
_FORBIDDEN = (["dont"], ["do", "not"], ["never"], ["please", "dont"], ["please", "do", "not"])
_PAUSES = frozenset((",", ":", ";"))
_SHORT_QUESTION = 4
_WHY = frozenset({"why", "how", "warum", "wieso"})
_PEOPLE = frozenset(
    {"i", "we", "you", "people", "they", "he", "she", "customers", "nobody", "somebody", "someone", "who"}
)
#: Somebody who cannot is hindered; somebody who does not may have other reasons.
_HINDERED = frozenset({"cannot", "cant", "couldnt", "unable", "can", "could", "able", "nothing"})
_FUTURE = frozenset({"could", "will", "shall", "going", "scheduled", "planned"})
_WAS = {Cue.DOWN: Cue.WAS_DOWN, Cue.DEGRADED: Cue.WAS_DEGRADED}
_TROUBLES = frozenset({*_WAS, *_WAS.values(), Cue.FELL})
#: What a "not" before the first of two reaches over.
_JOINTS = frozenset({"and", "or", "nor", "und", "oder"})
_REASONS = frozenset({",", ":", "because", "as", "since"})
_PARTLY = (["only", "the"], ["just", "the"], ["only", "one"], ["only", "a"])
_APART = BREAKS | {"with", "by", "when", "after", "at", "for", "from", "in", "on", "to"}
_TO_COME = (["next", "week"], ["next", "month"], ["next", "monday"], ["next", "year"], ["next", "friday"])
_APOSTROPHE = re.compile("['`\N{RIGHT SINGLE QUOTATION MARK}]")
_IS = re.compile(r"\b(it|that|there|what|which|who|everything|nothing|something|one|all|here|now|he|she)'s\b")
_SENTENCE_WORD = re.compile(r"[^\W_]+|[.,;:!?](?!\d)|\n\s*\n|\n\s*[-*\u2022|]|[|\t()]")
#: A cell of a table or list that says this alone says that it is well.
_WELL = frozenset({"ok", "okay", "fine", "good", "up", "yes", "normal", "passed", "oké", "well"})
_UNWELL = frozenset({"stopped", "off", "no", "ko", "nok", "fail", "fault", "stop", "out", "tot"})
_AGAIN_NOW = (["now", "it", "is"], ["now", "it", "does"], ["it", "is", "now"], ["it", "does", "now"])
_ENDED = (
    ["has", "stopped"],
    ["is", "stopped"],
    ["still", "isnt"],
    ["still", "doesnt"],
    ["still", "not"],
    ["still", "wont"],
    ["still", "nothing"],
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A state, and how far it goes."""

    status: SignalStatus
    #: Told of the past alone: it may be over.
    is_past: bool = False
    #: Told by a symptom alone: it may be worse.
    is_weak: bool = False
    #: Told as a recovery: it ends what was told before.
    is_recovered: bool = False


def may_tell(tokens: Sequence[bytes]) -> bool:
    """Return whether a text of these words may tell of trouble: quick, and true too often rather than too seldom."""
    if not _TROUBLE.isdisjoint(tokens) or (b"out" in tokens and not _OUT_OF.isdisjoint(tokens)):
        return True
    return not _DUTIES.isdisjoint(tokens) and not _DENYING.isdisjoint(tokens)


def status_of(text: str) -> SignalStatus:
    """Return the state that a few sentences tell about one thing; unknown when they tell none."""
    return verdict_of(text).status


def cues_of(text: str) -> list[Cue]:
    """Return what the statements of a text tell, in order."""
    plain = _IS.sub(r"\1 is", _APOSTROPHE.sub("'", folded_text(text)))
    words = _SENTENCE_WORD.findall(plain.replace("'", ""))
    return list(chain.from_iterable(map(_told_by, _sentences(words))))


def verdict_of(text: str) -> Verdict:
    """Return the state that a few sentences tell, and whether it may be over."""
    return _verdict(cues_of(text))


def opposite(status: SignalStatus) -> SignalStatus:
    """Return what holds for the exception of a statement about all."""
    if status in (SignalStatus.DOWN, SignalStatus.DEGRADED):
        return SignalStatus.ONLINE
    return SignalStatus.DOWN if status is SignalStatus.ONLINE else SignalStatus.UNKNOWN


def _sentences(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the statements in `words`; a question such as "is it down?" states nothing."""
    sentence: list[str] = []
    for word in words:
        if word not in (".", "!", "?", "|", "\t") and not word[0].isspace():
            sentence.append("," if word in "()" else word)
            continue
        if sentence:
            yield _stated(sentence) if word == "?" else sentence
        sentence = []
    if sentence:
        yield sentence


def only_asks(sentence: str) -> bool:
    """Return whether a sentence is a question that states nothing: "is it down?"."""
    if not sentence.rstrip().endswith("?"):
        return False
    words = _SENTENCE_WORD.findall(sentence)
    return words[0] in QUESTIONS and not is_request(words)


def _stated(question: list[str]) -> list[str]:
    """Return what a question states: of "why is it down?" all, of "it is down, can you come?" what comes before."""
    if is_request(question):
        return question if not DEEDS.isdisjoint(question[2:8]) else _reason(question)
    if question[0] in QUESTIONS or len(question) <= _SHORT_QUESTION:
        return question if question[0] in _WHY else []
    asking = (
        at
        for at, word in enumerate(question)
        if word in _PAUSES and question[at + 1 : at + 2] and question[at + 1] in QUESTIONS
    )
    return question[: next(asking, len(question))]


def is_request(question: Sequence[str]) -> bool:
    """Return whether a question asks somebody to do something: "could you look at the broken gate?"."""
    return len(question) > _SHORT_QUESTION and question[0] in REQUESTS and question[1] in REQUESTED


def _reason(request: list[str]) -> list[str]:
    """Return what stands behind a request: "can you check, it is down", "... because it is down"."""
    at = next((at for at, word in enumerate(request) if word in _REASONS), len(request))
    return [] if request[at + 1 : at + 2] and request[at + 1] in QUESTIONS else request[at + 1 :]


def _told_by(words: list[str]) -> list[Cue]:
    """Return what one sentence tells, in order."""
    alone = _alone(words)
    return _Sentence(words).read() if alone is None else [alone]


@dataclass(slots=True)
class _Sentence:
    """One sentence as it is read, phrase after phrase."""

    words: list[str]
    told: list[Cue] = field(default_factory=list)
    is_hedged: bool = False
    #: Where the last words of trouble end, and the last that were denied.
    trouble: int = -1
    denied: tuple[int, Cue] = (-1, Cue.NOTHING)

    def read(self) -> list[Cue]:
        """Return what it tells."""
        self.told = [Cue.DOWN] if _begins_unwell(self.words) else []
        at = 0
        for start, word in enumerate(self.words):
            if start < at or word not in _CUES.after:
                continue
            at, cue = _phrase_at(self.words, start)
            if cue is Cue.ENDED:
                self._end(start, at)
            elif cue is not None:
                self._tell(cue, start, at)
        is_over = self.trouble >= 0 and self.told[-1:] == [Cue.RECOVERED]
        told = self.told if is_over else [*self.told, *_elliptic(self.words)]
        return [Cue.DEGRADED for _ in told] if self.is_hedged else told

    def _is_after_trouble(self, start: int) -> bool:
        return self.trouble >= 0 and BREAKS.isdisjoint(self.words[self.trouble : start])

    def _end(self, start: int, end: int) -> None:
        """Read "is gone" behind words of trouble."""
        if self._is_after_trouble(start) and _is_over(self.words, start, end):
            self.told.append(Cue.RECOVERED)

    def _tell(self, cue: Cue, start: int, end: int) -> None:
        words = self.words
        self.is_hedged = self.is_hedged or cue is Cue.HEDGE
        is_denied = _is_denied(words, start, end) or _shares_denial(words, start, cue, self.denied)
        if is_denied:
            self.denied = (end, cue)
        meant = _meant(cue, words, start, end, is_denied)
        is_return = meant is Cue.RECOVERED and words[end - 1] == "back" and self._is_after_trouble(start)
        if meant is not None and not is_return:
            self.told.append(meant)
            self.trouble = end if meant in _TROUBLES else self.trouble
        if cue is Cue.DOUBT:
            words[start:end] = ["whether"] * (end - start)
        elif cue is Cue.NOTHING or not NEGATIONS.isdisjoint(words[start:end]):
            words[start:end] = [""] * (end - start)  # its "not" belongs to it and negates nothing that follows


def _is_over(words: Sequence[str], start: int, end: int) -> bool:
    """Return whether what was told before is said to be gone, and not "not gone", "when gone", or "over 90"."""
    if words[end - 1] == "over" and words[end : end + 1] and words[end] not in BREAKS | AGAIN:
        return False
    before = _clause_before(words, start)
    return NEGATIONS.isdisjoint(before[-3:]) and GOOD_GUARDS.isdisjoint(before)


def _shares_denial(words: Sequence[str], start: int, cue: Cue, denied: tuple[int, Cue]) -> bool:
    """Return whether "no leak and" stands before a noise: the second is denied with the first."""
    end, before = denied
    return start == end + 1 and words[end] in _JOINTS and cue in _WAS and before in _WAS


def _begins_unwell(words: Sequence[str]) -> bool:
    """Return whether a sentence begins with one word that tells all: "off, alarm A3"."""
    first = [word for word in words[:3] if word != "it"][:2]
    return len(first) == 2 and first[0] in _UNWELL - {"no", "out"} and first[1] == ","


def _alone(words: Sequence[str]) -> Cue | None:
    """Return what a sentence of one word tells, or the one word behind a colon or between commas."""
    clauses: list[list[str]] = [[]]
    for word in words:
        if word in _PAUSES:
            clauses.append([])
        elif word != "it":
            clauses[-1].append(word)
    last = next((clause for clause in reversed(clauses) if clause), [])
    if len(last) != 1 or (len(clauses) == 1 and len(words) > 2):
        return None
    if last[0] in _UNWELL:
        return Cue.DOWN
    return Cue.ONLINE if last[0] in _WELL else None


def _elliptic(words: Sequence[str]) -> list[Cue]:
    """Return what "now it is" and "it still isn't" tell at the end of a sentence."""
    if list(words[-3:]) in _AGAIN_NOW:
        return [Cue.RECOVERED]
    return [Cue.DOWN] if list(words[-2:]) in _ENDED else []


def _phrase_at(words: Sequence[str], at: int) -> tuple[int, Cue | None]:
    """Return the end and cue of the longest phrase that begins at `at`."""
    end, cue = at, None
    node = _CUES.after.get(words[at])
    while node is not None:
        at += 1
        if node.value is not None:
            end, cue = at, node.value
        node = node.after.get(words[at]) if at < len(words) else None
    return end, cue


def _is_denied(words: Sequence[str], start: int, end: int) -> bool:
    """Return whether a phrase is denied where it stands; "does not seem to be working" denies from afar."""
    before = _clause_before(words, start)
    near = [word for word in before if word not in FILLERS][-3:]
    return (
        not NEGATIONS.isdisjoint([*near, *before[-3:]])
        or "longer" in before[-5:]
        or not _DENYING_AFTER.isdisjoint(words[end : end + 4])
    )


def _meant(cue: Cue, words: Sequence[str], start: int, end: int, is_denied: bool) -> Cue | None:
    """Return what a phrase tells in its sentence, None when it tells nothing there."""
    before = _clause_before(words, start)
    near = before[-3:]
    if is_denied and cue is Cue.ACTION and _is_choice(before):
        return None
    meant = _negated(cue, near) if is_denied else _affirmed(cue, {*near, *words[end : end + 2]}, words[end : end + 5])
    if cue is Cue.MENDED and meant is None and not is_denied and before in ([], ["it"]):
        meant = Cue.RECOVERED
    if meant is None or _is_guarded(meant, words, start, end):
        return None
    if meant is Cue.DOWN and (_is_of_a_part(before) or (cue is Cue.ACTION and _is_about_cards(words, end))):
        meant = Cue.DEGRADED
    if meant in (Cue.ONLINE, Cue.RECOVERED) and _is_for_a_while(words, end):
        return Cue.DEGRADED
    if not PAST.isdisjoint(before[-4:]):
        return None if meant is Cue.ONLINE else _WAS.get(meant, meant)
    return Cue.FELL if meant is cue is Cue.DOWN and " ".join(words[start:end]) in EVENTS else meant


def _is_choice(before: Sequence[str]) -> bool:
    """Return whether a denied deed is somebody's own: what is told not to be done, or what people do not do."""
    return before in _FORBIDDEN or (not _PEOPLE.isdisjoint(before) and _HINDERED.isdisjoint(before))


def _is_guarded(meant: Cue, words: Sequence[str], start: int, end: int) -> bool:
    """Return whether it is wished, feared, supposed, still to come, or told of what is no asset."""
    before = _clause_before(words, start)
    guards, reach = (BAD_GUARDS, 4) if meant in _WAS else (GOOD_GUARDS, 6)
    if not guards.isdisjoint(before[-reach:]) or _is_of_another_time_or_thing(before):
        return True
    joint = start - len(before) - 1
    if joint > 0 and words[joint] in _JOINTS and not CONDITIONS.isdisjoint(_clause_before(words, joint)):
        return True  # "if it stops and does not start again"
    return "tomorrow" in words[end : end + 2] or list(words[end : end + 2]) in _TO_COME


def _is_of_a_part(before: Sequence[str]) -> bool:
    """Return whether what troubles is a lesser part, or a part alone: "only the lamp is broken"."""
    return not LESSER_PARTS.isdisjoint(before) or list(before[:2]) in _PARTLY


def _is_about_cards(words: Sequence[str], end: int) -> bool:
    """Return whether a deed is done to cards: "does not recognise my card", not "does not open with my card"."""
    following = words[end : end + 4]
    at = next((at for at, word in enumerate(following) if word in _APART), len(following))
    return not LESSER_PARTS.isdisjoint(following[:at])


def _is_for_a_while(words: Sequence[str], end: int) -> bool:
    """Return whether it works no longer than that: "for a few minutes", "until you touch it"."""
    following = list(words[end : end + 5])
    if following[:1] == ["until"]:
        return True
    return following[:1] == ["for"] and not A_WHILE.isdisjoint(following) and "now" not in following


def _is_of_another_time_or_thing(before: Sequence[str]) -> bool:
    """Return whether a clause speaks of what will be, or of things that are no assets."""
    if "be" in before and not _FUTURE.isdisjoint(before):
        return True
    return not OTHERS.isdisjoint(before) and TELLERS.isdisjoint(before)


def _negated(cue: Cue, near: Sequence[str]) -> Cue | None:
    if cue in _WAS:
        # "failed to start", "never failed": what fails is down already.
        return Cue.RECOVERED
    if cue is Cue.PROPERLY:
        return Cue.DEGRADED
    if cue is Cue.RECOVERED or (cue is Cue.MENDED and "stopped" in near):
        return Cue.DOWN
    return None if cue in _SILENT else Cue.DOWN


def _affirmed(cue: Cue, around: set[str], after: Sequence[str]) -> Cue | None:
    if cue in (Cue.ONLINE, Cue.PROPERLY):
        return Cue.ONLINE if around.isdisjoint(AGAIN) else Cue.RECOVERED
    if cue is Cue.ACTION:
        return Cue.RECOVERED if not _ONCE_MORE.isdisjoint((*around, *after)) else None
    if cue is Cue.MENDED:
        return Cue.RECOVERED if "be" not in around and not AUXILIARIES.isdisjoint(around) else None
    return None if cue in _SILENT else cue


def _clause_before(words: Sequence[str], start: int) -> list[str]:
    """Return up to six words before `start`, none from beyond a comma or conjunction."""
    clause: list[str] = []
    for word in reversed(words[max(0, start - 6) : start]):
        if word in BREAKS:
            break
        clause.append(word)
    clause.reverse()
    return clause


def _verdict(told: Sequence[Cue]) -> Verdict:
    """Return the worst that still holds: a recovery ends what came before it, any present ends a past."""
    recovered = max((at for at, cue in enumerate(told) if cue is Cue.RECOVERED), default=-1)
    present = told[recovered + 1 :]
    fell = max((at for at, cue in enumerate(present) if cue is Cue.FELL), default=len(present))
    if Cue.DOWN in present or (fell < len(present) and Cue.ONLINE not in present[fell:]):
        return Verdict(SignalStatus.DOWN)
    if Cue.DEGRADED in present:
        return Verdict(SignalStatus.DEGRADED)
    if recovered >= 0 or Cue.ONLINE in present:
        return Verdict(SignalStatus.ONLINE, is_recovered=recovered >= 0)
    if Cue.WAS_DOWN in present:
        return Verdict(SignalStatus.DOWN, is_past=True)
    was_degraded = Cue.WAS_DEGRADED in present
    return Verdict(SignalStatus.DEGRADED if was_degraded else SignalStatus.UNKNOWN, is_past=was_degraded)
