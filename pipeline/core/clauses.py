"""Which words of a sentence belong to which of the things it names: "A and B are down, C works, no power at D"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from models.enums import SignalStatus
from pipeline.core.asset_names import Mention
from pipeline.core.status_words import phrases
from pipeline.core.statuses import Verdict, only_asks, opposite, status_of, verdict_of
from pipeline.core.symptoms import implied, symptoms_in

_JOINING = phrases(
    "and/or/as/well/plus/und/oder/bzw/nor/also/then/both/the/charger/chargers/unit/units/door/doors/gate/gates/no/number/"
    "station/stations/asset/assets/stall/bay/lift/pump/pumps/numbers/with/tag/our/my/sowie/id/called/is/aka/amp"
) - {"is", "with", "no"}
_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\([^()]{0,120}\)")
_BREAK = re.compile(
    r"[,;:]|\b(?:but|and|so|because|although|though|while|whereas|however|yet|aber|und)\b|\s[-\u2013\u2014]+\s"
)
_SAME_BEFORE = re.compile(
    r"(?:\bso (?:is|does|has|are|did|was)|\bsame (?:for|with|at|on|goes for|(?:problem|issue|thing|story|fault) "
    r"(?:at|with|on|for))"
    r"|\blikewise|\bditto|\bneither (?:is|does|can|will)|\bnor (?:is|does|can|will))[\s:,]*(?:the\s*)?\Z"
)
_SAME_AFTER = re.compile(
    r"[\s,:]*(?:(?:is|has|does|shows|with)\s+)?(?:too|as well|also|likewise|ditto|the same|same (?:thing|"
    r"problem|here|issue|story|fault))\b"
)
_OTHERWISE = re.compile(
    r"\s*(?:still |yet )?(?:(?:is|does|has|did|was)(?:n't|nt| not)|won't|not|is|does|has|did)(?: yet| though| "
    r"either)?[\s.,!]*"
)
_OTHERS = re.compile(
    r"\b(?:(?:all |both )?(?:of )?(?:the|our|my) other(?: (?:one|ones|two|three|four|five))?(?: (?:charger|"
    r"unit|door|gate|lift|"
    r"stall|pump|machine|device|asset|kiosk|point)s?)?(?= (?:is|are|was|were|has|have|had|does|do|works?|"
    r"still|just|also|"
    r"seems?|looks?|runs?|next|beside|at|in|on|can|can\'t|won\'t|doesn\'t|isn\'t|aren\'t|don\'t|charges?|"
    r"opens?)\b|[.,;:!?]| -)"
    r"|(?:the|all|all the) others|everything else|the rest(?= (?:of them )?(?:is|are|was|were|seems?|works?|"
    r"looks?|runs?)\b))"
)
_NOTHING = Verdict(SignalStatus.UNKNOWN)
#: Of what only says where something is: "the lamp next to A is broken".
ELSEWHERE = Verdict(SignalStatus.UNKNOWN, is_weak=True)
_EXCEPT = re.compile(
    r"\b(?:except(?: for)?|apart from|other than|bar|excluding|aside from|außer|but not)\s*(?:the\s*)?\Z"
)
_INSTEAD = re.compile(
    r"\b(?:unlike|instead of|rather than|as opposed to|not at|not on|not from|not|compared to|than)\s+(?:the\s+)?\Z"
)
_PLACE = re.compile(
    r"\b(?:next to|near|opposite|behind|beside|besides|across from|close to|in front of|left of|right of|"
    r"around the corner from|neben|hinter|gegenüber)\s+(?:the\s+)?(?:charger\s+|gate\s+|door\s+|unit\s+)?\Z"
)


@dataclass(frozen=True, slots=True)
class Clause:
    """What is said of some mentions together: text before them from `low`, and after them up to `high`."""

    mentions: tuple[Mention, ...]
    low: int
    high: int
    verdict: Verdict


def clauses(folded: str, low: int, high: int, mentions: Sequence[Mention]) -> Iterator[Clause]:
    """Yield what `folded[low:high]`, one sentence, says of each of the things that it names."""
    groups = list(_groups(folded, mentions))
    if only_asks(folded[low:high]):
        for group in groups:
            yield Clause(group, group[0].start, group[-1].end, _NOTHING)
        return
    leads = [low, *(_lead(folded, one[-1].end, other[0].start) for one, other in pairwise(groups))]
    ends = [*leads[1:], high]
    before: Verdict | None = None
    for group, lead, end in zip(groups, leads, ends, strict=True):
        verdict = _said(folded, (low, lead, end), group, before)
        if verdict is _NOTHING and before is not None and lead == group[0].start and _is_list(folded, groups):
            verdict = before
        before = verdict
        yield Clause(group, lead, end, verdict)


def same_as_before(folded: str, mention: Mention) -> bool:
    """Return whether a mention is followed by words such as "has the same problem"."""
    return _SAME_AFTER.match(folded, mention.end) is not None


def _said(folded: str, bounds: tuple[int, int, int], group: Sequence[Mention], before: Verdict | None) -> Verdict:
    """Return what is said of a group: of `bounds`, the sentence begins at the first, its clause at the second."""
    low, lead, end = bounds
    start, stop = group[0].start, group[-1].end
    ahead = folded[max(low, start - 80) : start]
    if _EXCEPT.search(ahead):
        before_it = status_of(folded[low:start])
        return Verdict(opposite(before_it if before_it is not SignalStatus.UNKNOWN else status_of(folded[stop:end])))
    if before is not None and (_SAME_BEFORE.search(ahead) or _SAME_AFTER.match(folded, stop)):
        return before
    if before is not None and _OTHERWISE.fullmatch(folded, stop, end):
        return Verdict(opposite(before.status))
    if _PLACE.search(ahead):
        return ELSEWHERE
    lead = start if _INSTEAD.search(ahead) else lead
    said = folded[lead:start] if _is_heading(folded[lead:start]) else f"{folded[lead:start]} it {folded[stop:end]}"
    verdict = verdict_of(said)
    if verdict.status is SignalStatus.UNKNOWN:
        verdict = Verdict(implied(one.symptom for one in symptoms_in(folded, lead, end)), is_weak=True)
    return verdict if verdict.status is not SignalStatus.UNKNOWN else _NOTHING


def _is_heading(ahead: str) -> bool:
    """Return whether names follow what is told of them: "Down: A, B"."""
    return ahead.rstrip().endswith(":") and status_of(ahead) is not SignalStatus.UNKNOWN


def _groups(folded: str, mentions: Sequence[Mention]) -> Iterator[tuple[Mention, ...]]:
    """Yield mentions that are named in one breath."""
    group: list[Mention] = []
    for mention in mentions:
        if group and not _joined(folded[group[-1].end : mention.start]):
            yield tuple(group)
            group = []
        group.append(mention)
    if group:
        yield tuple(group)


def _joined(gap: str) -> bool:
    asides = _ASIDE.findall(gap)
    if any(status_of(aside) is not SignalStatus.UNKNOWN for aside in asides):
        return False
    rest = _ASIDE.sub(" ", gap)
    return "." not in rest.strip() and ":" not in rest and all(word in _JOINING for word in _WORD.findall(rest))


def _lead(folded: str, low: int, high: int) -> int:
    """Return where the last clause between two names begins: what follows it is said of the second."""
    last = max((found.end() for found in _BREAK.finditer(folded, low, high)), default=high)
    return last if folded[last:high].strip() else high


def _is_list(folded: str, groups: Sequence[Sequence[Mention]]) -> bool:
    """Return whether the first was told of by what stands ahead of it, and no clause follows any other."""
    return all(
        len(_WORD.findall(_ASIDE.sub(" ", folded[one[-1].end : other[0].start]))) <= 3
        for one, other in pairwise(groups)
    )


def others(folded: str, asset_id: UUID) -> Iterator[Mention]:
    """Yield where a mail speaks of "the other one" or "the rest", as mentions of a stand-in."""
    for found in _OTHERS.finditer(folded):
        yield Mention(found.start(), found.end(), asset_id)
