"""What a mail tells of one asset: by the rules, and as a model judges that has read many mails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from models.enums import SignalStatus
from pipeline.core.extractions import Extraction, Told, placed
from pipeline.core.symptom_words import Symptom
from pipeline.core.symptoms import implied
from pipeline.core.telling_terms import Statement, terms_of

#: A state is told from here on, below it is unknown; a symptom likewise, sooner where the rules found it too. Chosen on
#: mails that no model learned from (decision 51).
LEAST_SURE_STATE, LEAST_SURE_STATE_OF_RULES = 0.85, 0.8
#: Of a few words the rules are right ("it is broken"); the model, which read "broken" in longer mails, need but agree.
FEW_WORDS, LEAST_SURE_OF_FEW = 16, 0.5
LEAST_SURE_SYMPTOM, LEAST_SURE_OF_RULES = 0.8, 0.5
#: Symptoms are told of what is down or degraded: of which of the two need not be sure.
LEAST_SURE_OF_TROUBLE = 0.5


@dataclass(frozen=True, slots=True)
class Judgement:
    """How likely each state is, together 1, and each symptom on its own."""

    states: Mapping[SignalStatus, float]
    symptoms: Mapping[Symptom, float]


#: Judges what a mail tells of an asset by the terms of it.
Judge = Callable[[Collection[str]], Judgement]


@dataclass(frozen=True, slots=True)
class Telling:
    """What the rules found of one asset, and the sentences about it; `split` is where the mail's subject ends."""

    extraction: Extraction
    statements: Sequence[Statement]
    split: int
    #: What the last clause that names it tells, what the mail as a whole tells, and whether it names no other.
    hints: tuple[SignalStatus, SignalStatus, bool]

    def terms(self) -> frozenset[str]:
        """Return what a model weighs."""
        return terms_of(self.statements, self._by_rules())

    def judged(self, judge: Judge) -> Extraction:
        """Return what is told of the asset as a model judges; what works has no symptoms."""
        judgement = judge(self.terms())
        status = max(judgement.states, key=lambda one: (judgement.states[one], one.value))
        if judgement.states[status] < self._least(status):
            status = SignalStatus.UNKNOWN
        trouble = sum(judgement.states.get(one, 0.0) for one in (SignalStatus.DOWN, SignalStatus.DEGRADED))
        told = tuple(self._symptoms(judgement, judge)) if trouble >= LEAST_SURE_OF_TROUBLE else ()
        if status is SignalStatus.UNKNOWN:
            status = implied(one.symptom for one in told)
        return replace(self.extraction, status=status, symptoms=told)

    def _least(self, status: SignalStatus) -> float:
        """Return how sure a model must be of a state."""
        if status is not self.extraction.status:
            return LEAST_SURE_STATE
        is_short = sum(len(statement.words()) for statement in self.statements) <= FEW_WORDS
        return LEAST_SURE_OF_FEW if is_short else LEAST_SURE_STATE_OF_RULES

    def _by_rules(self) -> Iterator[str]:
        last, whole, is_one = (*(one.value for one in self.hints[:2]), "one" if self.hints[2] else "many")
        status = self.extraction.status.value
        yield from (status, is_one, f"clause {last}", f"clause {last} {status}")
        yield from (f"whole {whole}", f"whole {whole} {last} {is_one}")
        yield from (f"symptom {one.symptom.value}" for one in self.extraction.symptoms)

    def _symptoms(self, judgement: Judgement, judge: Judge) -> Iterator[Told]:
        by_rules = {one.symptom: one for one in self.extraction.symptoms}
        likely = [
            one
            for one in Symptom
            if judgement.symptoms.get(one, 0.0) >= (LEAST_SURE_OF_RULES if one in by_rules else LEAST_SURE_SYMPTOM)
        ]
        alone = [judge(terms_of([one], ())).symptoms for one in self.statements] if set(likely) - set(by_rules) else []
        for symptom in likely:
            if symptom in by_rules:
                yield by_rules[symptom]
            else:
                at = max(range(len(alone)), key=lambda at: alone[at].get(symptom, 0.0))
                place = self.statements[at]
                yield Told(symptom, *placed(self.split, place.low, place.high))
