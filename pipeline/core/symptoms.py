"""Which symptoms a few sentences describe, and where: not what they deny, ask, fear, or say to be over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models.enums import SignalStatus
from pipeline.core.status_words import QUESTIONS
from pipeline.core.statuses import is_request, status_of
from pipeline.core.symptom_words import COMPILED, Kind, Symptom

#: A sentence is read this far.
_LONGEST = 600
_END = re.compile(r"[.!?;](?=\s|\Z)|\n[ \t\r]*\n|\n(?=[ \t]*[-*\u2022|])|[|\t]")
_CLAUSE_START = re.compile(
    r"[,:;.!?()|]|\b(?:but|and|so|because|although|though|while|however|since|with|aber|"
    r"und)\b"
)
_DENIES = re.compile(
    r"\b(?:not|no|never|cannot|nothing|none|nobody|neither|nor|without|unable|refuses|refused|refusing|stopped|"
    r"stops|quit|"
    r"ceased|kein|keine|nicht|cant|wont|dont|doesnt|didnt|isnt|arent|wasnt|hasnt|havent|couldnt|wouldnt|dosent|dosnt|"
    r"fail|fails|failed|failing)\b|n't\b|\bno longer\b"
)
_DOUBTS = re.compile(
    r"\b(?:not true|not sure|unsure|not certain|don't know|dont know|no idea|wonder(?:ing)?|if|unless|whether|"
    r"might|may|would|could (?:be|have)|possibly|in case|falls|ob|prevent|avoid|before it)\b"
)
#: What people bring along: its troubles are theirs.
_NOT_OURS = re.compile(
    r"\bmy (?:own )?(?:badge|fob|remote|phone|app|laptop|keys?|keycard|adapter)\b|"
    r"\bown (?:car|cable|plug|phone|connector)\b|\b(?:badge|fob|keycard)\b"
)
_ASKED = re.compile(r"\b(?:always|please|should|must|needs? to|want to|supposed to|when|until|once)\b")
_OVER = re.compile(
    r"(?:(?:is|was|were|has been|have been|had been|got|been|'s|now|are|problem|issue)\s+(?:now\s+|finally\s+|"
    r"all\s+|been\s+)?"
    r"(?:fixed|repaired|gone|resolved|solved|sorted|mended|cured|cleared|over|history|a thing of the past|"
    r"behoben|weg)|(?:has|"
    r"have)\s+(?:now\s+|all\s+|completely\s+|finally\s+)?(?:stopped|gone|ceased|disappeared|vanished|subsided)|"
    r"\b(?:vanished|disappeared|subsided|ceased)\b|"
    r"\A(?:(?!\b(?:and|but)\b|,).){0,30}?\bstopped[ \n]*(?:[.,;!]|\Z|now|after|since|when|by itself)|"
    r"\b(?:gone|cleared|fixed|resolved)[ \n]*(?:[.,;!]|\Z|now|after|since|again)|"
    r"(?:went|gone|goes) away|not any ?more|no more\b|no longer (?:there|present|heard))"
)
_NOT_OVER = re.compile(
    r"(?:not|n't|never|yet to be|needs? to be|to be|must be|should be|get|gets)\s*(?:be\s+|been\s+)?\Z"
)
#: What somebody is told not to do.
_FORBIDDEN = re.compile(r"\s*(?:please\s+)?(?:don't|do not|dont|never)\s*")
_NONE = re.compile(r"\s*[:=]\s*(?:none|no|nil|n/a|-|0)(?!\w)")
#: German denies after the verb.
_DENIES_AFTER = re.compile(r"[^,;:.!?]{0,30}?\bnicht\b")
_BEFORE, _AFTER = 48, 60


@dataclass(frozen=True, slots=True)
class Found:
    """A symptom and the characters [start, end) that tell it."""

    symptom: Symptom
    start: int
    end: int


#: What is out of order for its users, whatever else is told.
_STOPS = frozenset({Symptom.NO_POWER, Symptom.DISPLAY_DARK, Symptom.WONT_OPEN, Symptom.WONT_CLOSE})


def implied(symptoms: Iterable[Symptom]) -> SignalStatus:
    """Return the state that symptoms alone tell."""
    told = set(symptoms)
    if not told:
        return SignalStatus.UNKNOWN
    return SignalStatus.DOWN if told & _STOPS else SignalStatus.DEGRADED


def symptoms_in(folded: str, low: int, high: int) -> Iterator[Found]:
    """Yield each symptom that lower-case `folded[low:high]` describes, once each, in the order of `Symptom`."""
    seen: dict[Symptom, Found] = {}
    for start, end in _sentences(folded, low, high):
        sentence = folded[start:end].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        for found in _told(sentence):
            seen.setdefault(found.symptom, Found(found.symptom, start + found.start, start + found.end))
    yield from (seen[symptom] for symptom in Symptom if symptom in seen)


def _sentences(folded: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of statements; questions that ask whether state nothing."""
    start = low
    for end in [*(found.start() for found in _END.finditer(folded, low, high)), high]:
        is_question = folded[end : end + 1] == "?"
        words = folded[start:end].split()
        if words and not (is_question and _only_asks(words)):
            yield start, min(end, start + _LONGEST)
        start = end + 1


def _only_asks(words: list[str]) -> bool:
    words = [words[0].strip("-*\u2022\"'("), *words[1:]]
    return words[0] in QUESTIONS and not is_request(words)


def _told(sentence: str) -> Iterator[Found]:
    for symptom, kind, pattern in COMPILED:
        for match in pattern.finditer(sentence):
            if _holds(kind, sentence, match.start(), match.end()):
                yield Found(symptom, match.start(), match.end())
                break


def _holds(kind: Kind, sentence: str, start: int, end: int) -> bool:
    """Return whether a pattern's match tells its symptom where it stands."""
    before = sentence[max(0, start - _BEFORE) : start]
    clause = before[max((found.end() for found in _CLAUSE_START.finditer(before)), default=0) :]
    near = " ".join(clause.split()[-4:])
    if _DOUBTS.search(clause) or _NOT_OURS.search(clause) or _is_over(sentence, end) or _NONE.match(sentence, end):
        return False
    denied = _DENIES.search(near) is not None
    if kind is Kind.DUTY:
        return (
            not _FORBIDDEN.fullmatch(clause)
            and (denied or _DENIES_AFTER.match(sentence, end) is not None)
            and not _ASKED.search(near)
        )
    if kind is Kind.DENIED:
        return True
    if kind is Kind.HINT:
        return status_of(sentence) in (SignalStatus.DOWN, SignalStatus.DEGRADED)
    return not denied and _DENIES.search(sentence[start:end]) is None


def _is_over(sentence: str, end: int) -> bool:
    after = sentence[end : end + _AFTER]
    over = _OVER.search(after)
    return over is not None and not _NOT_OVER.search(after[: over.start()])
