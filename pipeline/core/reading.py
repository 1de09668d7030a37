"""One mail as it is read: what its sentences, its tables and the mail as a whole say of each asset that it means."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from models.enums import ExtractedBy, SignalStatus
from pipeline.core.asset_guesses import Phrase
from pipeline.core.asset_names import Mention
from pipeline.core.clauses import ELSEWHERE, Clause, clauses, same_as_before
from pipeline.core.extractions import Extraction, Part, Told, placed
from pipeline.core.sentence_bounds import sentence_ends, sentences, trimmed
from pipeline.core.statuses import Verdict, status_of, verdict_of
from pipeline.core.symptom_words import Symptom
from pipeline.core.symptoms import Found, implied, symptoms_in
from pipeline.core.telling_terms import ANOTHER, THE_OTHER, THIS, Statement
from pipeline.core.tellings import Telling

#: Stands for what a mail calls "the other one".
OTHERS: Final = UUID(int=0)
#: People state their matter at the start.
WHOLE_TEXT: Final = 4_096

_MOST_READ = 4
_SENTENCE_REACH = 400
_QUOTE_REACH = 150
#: What stands between two names is about the first one this far.
_FOLLOWING_REACH = 600

_NOTHING = Verdict(SignalStatus.UNKNOWN)
#: A line that stands above a list, how far above an item it may stand, and one that ends what is said of an item.
_HEADING = re.compile(r"^[ \t]*([^\n:]{2,60}):[ \t\r]*$", re.MULTILINE)
_HEADED_REACH = 600
_LONGEST_ITEM = 80
_NEXT_HEADING = re.compile(r"(?:\A|\n)[^\n:]{2,60}:\s*\Z")
#: What makes a sentence go on about the same thing.
_LINKED = re.compile(
    r"\b(?:it|its|they|both|all|again|today|now|still|but|however|unfortunately|since|meanwhile|update|later|"
    r"problem|fault|issue|es|wieder|jetzt)\b"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One mail with its mentions in order; `split` is where the subject ends."""

    document: str
    folded: str
    split: int
    mentions: Sequence[Mention]
    is_answer: bool
    #: Words that may be a misspelt name, of a mail that names nothing and tells of a state or symptom.
    phrases: Sequence[Phrase] = ()
    #: Names nothing, and tells of a state or symptom: here.
    telling: tuple[int, int] | None = None

    def meaning(self, asset_id: UUID, by: ExtractedBy, said: str | None = None) -> Reading:
        """Return the reading of a mail that means an asset without naming it."""
        place = next(((one.start, one.end) for one in self.phrases if one.said == said), self.telling) or (0, 0)
        return replace(self, mentions=(Mention(*place, asset_id, by),), phrases=(), telling=None)

    def extractions(self) -> list[Extraction]:
        """Return one extraction per asset by the rules alone, subject first, then in order of the text.

        The state comes from the clause or sentence around a mention. The last telling mention in the text counts, since
        people tell what changed in order; then the subject's; then the whole text and subject are read. The subject of
        an answer ("Re:") repeats an earlier mail and tells nothing.
        """
        return [telling.extraction for telling in self.tellings()]

    def tellings(self) -> list[Telling]:
        """Return what the mail tells of each asset, subject first, then in order of the text."""
        found = list(self._tellings())
        return sorted(found, key=lambda one: (one.extraction.part is Part.TEXT, one.extraction.span.start))

    def _tellings(self) -> Iterator[Telling]:
        by_asset: dict[UUID, list[Mention]] = {}
        for mention in self.mentions:
            by_asset.setdefault(mention.asset_id, []).append(mention)
        said = self._clauses()
        rest = by_asset.pop(OTHERS, [])
        own = {asset_id: self._telling(mine, said) for asset_id, mine in by_asset.items()}
        if len(own) > 1:
            self._look_further(own, by_asset, said)
            self._tell_of_others(own, rest, said)
        is_one = len(own) == 1
        is_shared = is_one or _is_shared([verdict for _, verdict in own.values()])
        whole = self._general()
        for asset_id, (mention, verdict) in own.items():
            apart = self.whole() if is_one else self._places(by_asset[asset_id], said)
            found = self._extraction(
                mention,
                _together(verdict, whole if is_shared else SignalStatus.UNKNOWN),
                self.whole() if is_shared else apart,
            )
            last = said[by_asset[asset_id][-1]].verdict.status
            yield Telling(found, tuple(self._statements(asset_id, apart)), self.split, (last, whole, is_one))

    def _statements(self, asset_id: UUID, places: Sequence[tuple[int, int]]) -> Iterator[Statement]:
        """Yield the sentences of some places, with names as words that tell whether they mean this asset."""
        for low, high in places:
            for sentence in sentences(self.folded, low, high):
                start, end = trimmed(self.folded, *sentence)
                yield Statement(self._marked(asset_id, start, end), start, end)

    def _marked(self, asset_id: UUID, low: int, high: int) -> str:
        parts, at = [], low
        for mention in self.mentions[bisect_left(self.mentions, low, key=lambda one: one.start) :]:
            if mention.start >= high:
                break
            if mention.by is ExtractedBy.SITE or mention.start < at:
                continue
            word = THIS if mention.asset_id == asset_id else THE_OTHER if mention.asset_id == OTHERS else ANOTHER
            parts += [self.folded[at : mention.start], f" {word} "]
            at = min(mention.end, high)
        return "".join([*parts, self.folded[at:high]])

    def _look_further(
        self,
        own: dict[UUID, tuple[Mention, Verdict]],
        by_asset: Mapping[UUID, Sequence[Mention]],
        said: Mapping[Mention, Clause],
    ) -> None:
        """Fill in what sentences that name none of several assets say of the one that was named before."""
        before = Verdict(SignalStatus.UNKNOWN)
        for asset_id, (mention, verdict) in sorted(own.items(), key=lambda one: one[1][0].start):
            if _is_open(verdict):
                found = before if same_as_before(self.folded, mention) else self._later(by_asset[asset_id], said)
                if found.status is not SignalStatus.UNKNOWN:
                    own[asset_id] = (mention, found)
            before = own[asset_id][1]

    def _tell_of_others(
        self, own: dict[UUID, tuple[Mention, Verdict]], rest: Sequence[Mention], said: Mapping[Mention, Clause]
    ) -> None:
        """Fill in what is said of "the other one" and "the rest" for those of which nothing else is told."""
        verdicts = [said[mention].verdict for mention in rest]
        told = next((one for one in verdicts if one.status is not SignalStatus.UNKNOWN), None)
        for asset_id, (mention, verdict) in own.items():
            if told is not None and verdict.status is SignalStatus.UNKNOWN and verdict is not ELSEWHERE:
                own[asset_id] = (mention, told)

    def _clauses(self) -> dict[Mention, Clause]:
        """Return what each sentence says of each of the things that it names."""
        by_sentence: dict[tuple[int, int], list[Mention]] = {}
        for mention in self.mentions:
            by_sentence.setdefault(self._sentence(mention), []).append(mention)
        return {
            mention: clause
            for (low, high), named in by_sentence.items()
            for clause in clauses(self.folded, low, high, named)
            for mention in clause.mentions
        }

    def _telling(self, own: Sequence[Mention], said: Mapping[Mention, Clause]) -> tuple[Mention, Verdict]:
        """Return the mention of one asset that tells its state, else the first one and unknown."""
        in_text = [mention for mention in reversed(own) if mention.start > self.split][:_MOST_READ]
        in_subject = [] if self.is_answer else [mention for mention in own if mention.start < self.split][:_MOST_READ]
        for mention in (*in_text, *in_subject):
            if said[mention].verdict.status is not SignalStatus.UNKNOWN:
                return mention, _updated(said[mention].verdict, self._went_on(mention, said))
        for mention in in_text:
            if (headed := self._headed(mention)).status is not SignalStatus.UNKNOWN:
                return mention, headed
        is_elsewhere = any(said[mention].verdict is ELSEWHERE for mention in own)
        return own[0], ELSEWHERE if is_elsewhere else Verdict(SignalStatus.UNKNOWN)

    def _headed(self, mention: Mention) -> Verdict:
        """Return what the heading of a list tells of an item that tells nothing: "Out of order:", and names below."""
        low = max(self.split, mention.start - _HEADED_REACH)
        heading = next(iter(reversed(list(_HEADING.finditer(self.folded, low, mention.start)))), None)
        if heading is None:
            return _NOTHING
        items = self.folded[heading.end() : mention.end].strip("\r\n")
        is_list = "\n\n" not in items and all(len(line) <= _LONGEST_ITEM for line in items.splitlines())
        return verdict_of(heading.group()) if is_list else _NOTHING

    def _went_on(self, mention: Mention, said: Mapping[Mention, Clause]) -> Verdict:
        """Return what sentences that follow and name nothing tell of the same asset: "It works again since noon"."""
        if mention.start < self.split:
            is_named_there = any(one.start > self.split for one in self.mentions)
            return _NOTHING if is_named_there else verdict_of(self.folded[self.split : self.split + WHOLE_TEXT])
        low, high = self._following(said[mention].mentions[-1])
        following = (self.folded[at:end] for at, end in sentences(self.folded, low, high))
        return verdict_of(" ".join(filter(_LINKED.search, following)))

    def _later(self, own: Sequence[Mention], said: Mapping[Mention, Clause]) -> Verdict:
        """Return what follows an asset's mentions and names no other: "Asset: A", and below it "Status: down"."""
        for mention in own[-_MOST_READ:]:
            low, high = self._following(said[mention].mentions[-1])
            verdict = verdict_of(_NEXT_HEADING.sub("", self.folded[low:high]))
            if verdict.status is not SignalStatus.UNKNOWN:
                return verdict
        return Verdict(SignalStatus.UNKNOWN)

    def _general(self) -> SignalStatus:
        """Return what the mail tells as a whole: its text, else its subject unless that repeats an earlier mail."""
        status = status_of(self.folded[self.split : self.split + WHOLE_TEXT])
        if status is SignalStatus.UNKNOWN and not self.is_answer:
            status = status_of(self.folded[: self.split])
        if status is SignalStatus.UNKNOWN:
            status = implied(told.symptom for told in self._symptoms(self.whole()))
        return status

    def whole(self) -> list[tuple[int, int]]:
        """Return the subject, unless it repeats an earlier mail, and the beginning of the text."""
        text = (self.split + 2, min(len(self.folded), self.split + 2 + WHOLE_TEXT))
        return [text] if self.is_answer else [(0, self.split), text]

    def _places(self, own: Sequence[Mention], said: Mapping[Mention, Clause]) -> list[tuple[int, int]]:
        """Return what is said of one of several assets."""
        read = [mention for mention in own if not (self.is_answer and mention.start < self.split)][-_MOST_READ:]
        found = [(said[mention].low, said[mention].high) for mention in read]
        return found + [self._following(said[one].mentions[-1]) for one in read if one.start > self.split]

    def _following(self, mention: Mention) -> tuple[int, int]:
        """Return what stands after a mention's sentence, before any sentence that names another asset."""
        low = self._sentence(mention)[1]
        part_end = self.split if mention.start < self.split else len(self.folded)
        others = [one for one in self.mentions if one.asset_id != mention.asset_id and one.start >= mention.end]
        until = self._sentence(others[0])[0] if others else part_end
        return low, max(low, min(until, part_end, low + _FOLLOWING_REACH))

    def _sentence(self, mention: Mention) -> tuple[int, int]:
        """Return the bounds of the sentence around a mention, within the subject or the text."""
        low, high = (0, self.split) if mention.start < self.split else (self.split, len(self.folded))
        low, high = max(low, mention.start - _SENTENCE_REACH), min(high, mention.end + _SENTENCE_REACH)
        before = max(sentence_ends(self.folded, low, mention.start), default=low)
        return before, next(sentence_ends(self.folded, mention.end, high), high)

    def _extraction(self, mention: Mention, status: SignalStatus, places: Sequence[tuple[int, int]]) -> Extraction:
        low, high = self._sentence(mention)
        quote = self.document[max(low, mention.start - _QUOTE_REACH) : min(high, mention.end + _QUOTE_REACH)]
        told = () if status is SignalStatus.ONLINE else self._symptoms(places)
        if status is SignalStatus.UNKNOWN:
            status = implied(one.symptom for one in told)
        part, span = placed(self.split, mention.start, mention.end)
        return Extraction(mention.asset_id, status, part, span, " ".join(quote.split()), mention.by, told)

    def _symptoms(self, places: Sequence[tuple[int, int]]) -> tuple[Told, ...]:
        seen: dict[Symptom, Found] = {}
        for low, high in places:
            for found in symptoms_in(self.folded, low, high):
                seen.setdefault(found.symptom, found)
        return tuple(
            Told(symptom, *placed(self.split, seen[symptom].start, seen[symptom].end))
            for symptom in Symptom
            if symptom in seen
        )


def _is_shared(verdicts: Sequence[Verdict]) -> bool:
    """Return whether what a mail tells as a whole holds for all: it tells nothing, or the past alone, of each."""
    is_past = {verdict.is_past for verdict in verdicts}
    return len(is_past) == 1 and all(map(_is_open, verdicts))


def _updated(verdict: Verdict, later: Verdict) -> Verdict:
    """Return what holds after what was told later: a recovery, or trouble that is new or worse."""
    if later.status is SignalStatus.UNKNOWN or later.is_past:
        return verdict
    if later.is_recovered and verdict.status is not SignalStatus.ONLINE:
        return later
    is_new = verdict.status is SignalStatus.ONLINE and later.status is not SignalStatus.ONLINE
    is_worse = verdict.status is SignalStatus.DEGRADED and later.status is SignalStatus.DOWN
    return later if is_new or is_worse else verdict


def _is_open(verdict: Verdict) -> bool:
    """Return whether more must be read: nothing is told yet, or of the past alone."""
    return verdict.is_past or (verdict.status is SignalStatus.UNKNOWN and verdict is not ELSEWHERE)


def _together(verdict: Verdict, general: SignalStatus) -> SignalStatus:
    """Return the state by what a sentence says of an asset, and by what the whole mail says where that counts."""
    if verdict is ELSEWHERE or general is SignalStatus.UNKNOWN:
        return verdict.status
    is_worse = verdict.status is SignalStatus.DEGRADED and general is SignalStatus.DOWN
    return general if _is_open(verdict) or is_worse else verdict.status
