"""Replays what was reported of many assets under one policy of triage, against what really was the matter.

At each report the asset's case is assessed as the product does. A question is answered after a while by somebody who
may err; the first time a case asks for a technician one is sent, drives when one is free (what is due first is served
first), finds the truth and closes the case. Who repairs something ends the reports about it. The same history,
policy and surroundings give the same result.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from random import Random

from models.enums import RecommendedAction, SignalStatus, TaskResult, TriageMode
from pipeline.core import scoring
from pipeline.core.dispatching import due_at
from pipeline.core.histories import History, Report, Stretches, Trouble, first_heard
from pipeline.core.outcomes import Critical, Outcome, Saying, Stretch, Visit
from pipeline.core.scoring import Case, Signal, Verdict
from pipeline.core.surroundings import Surroundings
from pipeline.core.triage_policy import TriagePolicy


class _Kind(Enum):
    """What happens in a replay; on equal times the earlier member first."""

    ANSWER = auto()
    ARRIVAL = auto()
    FREE = auto()


@dataclass(slots=True)
class _Open:
    """An open case."""

    number: int
    evidence: list[Signal]
    first_at: datetime
    heard_at: datetime
    verdict: Verdict | None = None
    #: Of the open question; 0: none is open.
    question: int = 0
    is_sent: bool = False
    is_driven_to: bool = False
    is_decided: bool = False
    #: What it says, and what it said last before somebody was sent or found out.
    case: Case | None = None
    said: Case | None = None
    is_told: bool = False


@dataclass(slots=True)
class _Asset:
    """One asset in a replay."""

    troubles: list[Trouble] = field(default_factory=list)
    #: Good news that opened no case: it counts as evidence of the next one.
    loose: list[Signal] = field(default_factory=list)
    open: _Open | None = None
    cases: int = 0
    questions: int = 0


def replay(history: History, policy: TriagePolicy, around: Surroundings, *, technicians: int | None = None) -> Outcome:
    """Return what a policy costs; `technicians` are on duty, None: always enough of them."""
    return _Replay(history, policy, around, technicians).run()


class _Replay:
    def __init__(self, history: History, policy: TriagePolicy, around: Surroundings, technicians: int | None) -> None:
        self.history, self.policy, self.around, self.free = history, policy, around, technicians
        self.assets: dict[str, _Asset] = {}
        self.troubles = {one.trouble_id: one for one in history.troubles}
        for trouble in history.troubles:
            self._asset(trouble.asset).troubles.append(trouble)
        self.stretches = Stretches(history.reports)
        self.repaired: dict[int, datetime] = {}
        self.came: dict[int, datetime] = {}
        self.events: list[tuple[datetime, int, int, str, int]] = []
        self.waiting: list[tuple[datetime, int, str, int]] = []
        self.sequence = 0
        self.drawn: Counter[tuple[str, str, int]] = Counter()
        self.visits: list[Visit] = []
        self.sayings: list[Saying] = []
        self.minutes: list[float] = []
        self.questions = 0

    def run(self) -> Outcome:
        """Let everything happen in order of time."""
        for report in self.history.reports:
            self._happen(before=report.heard_at)
            if self._exists(report):
                self._hear(report)
        self._happen(before=self.history.until)
        for tag, asset in self.assets.items():
            if asset.open is not None and not asset.open.is_sent:
                self._settle_saying(tag, asset.open, self.history.until)
        return Outcome(
            tuple(self.visits), tuple(self._criticals()), tuple(self.sayings), tuple(self.minutes), self.questions,
            sum(asset.cases for asset in self.assets.values()), self._on_the_way(),
        )  # fmt: skip

    # Reports.

    def _exists(self, report: Report) -> bool:
        """Whether it is told in this replay: nobody reports what was repaired, or hides behind what was not."""
        at = report.signal.at
        if report.during is not None and (mended := self.repaired.get(report.during)) is not None and mended <= at:
            return False
        return report.after is None or self._is_over(report.after, at)

    def _is_over(self, trouble_id: int, at: datetime) -> bool:
        trouble = self.troubles[trouble_id]
        mended = self.repaired.get(trouble_id)
        return (mended is not None and mended <= at) or (trouble.ended_at is not None and trouble.ended_at <= at)

    def _hear(self, report: Report) -> None:
        now, signal = report.heard_at, report.signal
        asset = self._asset(signal.asset)
        self._close_quiet(signal.asset, asset, now)
        if asset.open is None:
            asset.loose.append(signal)
            if signal.status is SignalStatus.ONLINE:
                return
            asset.cases += 1
            asset.open = _Open(asset.cases, asset.loose, now, now)
            asset.loose = []
        else:
            asset.open.evidence.append(signal)
            asset.open.heard_at = now
        self._assess(signal.asset, asset, asset.open, now)

    def _close_quiet(self, tag: str, asset: _Asset, now: datetime) -> None:
        case = asset.open
        if case is None or case.is_sent or case.question:
            return
        ends = case.heard_at + timedelta(days=self.policy.quiet_days)
        if ends < now:
            self._settle_saying(tag, case, ends)
            asset.open = None

    # Cases.

    def _assess(self, tag: str, asset: _Asset, case: _Open, now: datetime) -> None:
        """Judge a case by all that is known, as the product does, and do what it asks for."""
        case.evidence = self._within_reach(case.evidence)
        case.case = said = scoring.assess(case.evidence, self.policy, asset=tag, verdict=case.verdict)
        if not case.is_sent:
            case.said = said
        if said.verification_required:
            self._ask(tag, asset, case, now)
            return
        case.question = 0
        self._decide(case, now)
        if said.recommended_action is RecommendedAction.DISPATCH and not case.is_sent:
            self._send(tag, case, now)

    def _within_reach(self, evidence: list[Signal]) -> list[Signal]:
        """Leave out what the database would not give any more either."""
        oldest = max(signal.at for signal in evidence) - self.policy.evidence.reach
        return [signal for signal in evidence if signal.at >= oldest]

    def _ask(self, tag: str, asset: _Asset, case: _Open, now: datetime) -> None:
        if case.question:
            return
        asset.questions += 1
        case.question = asset.questions
        self.questions += 1
        delay = self.around.answering.draw_delay(self._draws("delay", tag, case))
        self._plan(now + delay, _Kind.ANSWER, tag, case.question)

    def _answer(self, tag: str, question: int, now: datetime) -> None:
        asset = self.assets[tag]
        case = asset.open
        if case is None or case.question != question:
            return  # it was taken back, or the case was closed
        case.question = 0
        draws = self._draws("answer", tag, case)
        result = self.around.answering.draw(draws, is_real=self._is_real(asset, now))
        case.verdict = Verdict(result, now)
        if result is not TaskResult.NEEDS_MORE_DATA:
            self._settle_saying(tag, case, now)
        # Who is on the way already comes; work that nobody has begun is taken back.
        if result is TaskResult.FALSE_ALARM and not case.is_driven_to:
            self._decide(case, now)
            asset.open = None
            return
        self._assess(tag, asset, case, now)

    def _decide(self, case: _Open, now: datetime) -> None:
        if not case.is_decided:
            case.is_decided = True
            self.minutes.append((now - case.first_at) / timedelta(minutes=1))

    def _settle_saying(self, tag: str, case: _Open, now: datetime) -> None:
        """Keep what a case said on evidence alone beside what is true now; each case once."""
        if case.said is None or case.is_told:
            return
        case.is_told = True
        goes, formula = case.said.priority_score >= self.policy.dispatch.from_priority, case.said.formula_hundredths
        told = formula if self.policy.mode is TriageMode.BASELINE else self.policy.calibration.meaning(formula)
        was_right = goes is self._is_real(self.assets[tag], now)
        self.sayings.append(Saying(self._stretch(tag, case), formula, told, was_right))

    def _stretch(self, tag: str, case: _Open) -> Stretch:
        return self.stretches.of(tag, case.first_at)

    # Technicians.

    def _send(self, tag: str, case: _Open, now: datetime) -> None:
        assert case.case is not None
        case.is_sent = True
        heapq.heappush(self.waiting, (due_at(now, case.case.sla_hours), self._next(), tag, case.number))
        self._drive(now)

    def _drive(self, now: datetime) -> None:
        while self.waiting and self.free != 0:
            _, _, tag, number = heapq.heappop(self.waiting)
            case = self.assets[tag].open
            if case is None or case.number != number:
                continue  # it was taken back
            case.is_driven_to = True
            if self.free is not None:
                self.free -= 1
            travel = self.around.driving.draw_travel(self._draws("travel", tag, case))
            self._plan(now + travel, _Kind.ARRIVAL, tag, number)

    def _arrive(self, tag: str, now: datetime) -> None:
        asset = self.assets[tag]
        case = asset.open
        assert case is not None
        is_real = self._is_real(asset, now)
        self._settle_saying(tag, case, now)
        self.visits.append(Visit(self._stretch(tag, case), now, is_wasted=not is_real))
        done = now + (self.around.driving.repair if is_real else self.around.driving.look)
        for trouble in self._active(asset, now):
            self.came.setdefault(trouble.trouble_id, now)
            self.repaired.setdefault(trouble.trouble_id, done)
        self._plan(done, _Kind.FREE, tag, case.number)

    def _leave(self, tag: str, now: datetime) -> None:
        """The work is done: its case is closed, and what is due next is driven to."""
        self.assets[tag].open = None
        if self.free is not None:
            self.free += 1
        self._drive(now)

    # Truth.

    def _active(self, asset: _Asset, now: datetime) -> list[Trouble]:
        return [one for one in asset.troubles if one.began_at <= now and not self._is_over(one.trouble_id, now)]

    def _is_real(self, asset: _Asset, now: datetime) -> bool:
        return any(one.is_found for one in self._active(asset, now))

    def _criticals(self) -> Iterable[Critical]:
        """Yield the critical troubles that were reported early enough to be counted, by policy or not."""
        for trouble, heard_at in first_heard(self.history):
            if heard_at + self.around.settling > self.history.until:
                continue
            came = self.came.get(trouble.trouble_id)
            caught = came is not None and came <= heard_at + self.around.critical_within
            yield Critical(self.stretches.of(trouble.asset, heard_at), trouble.trouble_id, heard_at, came, caught)

    # Time.

    def _happen(self, *, before: datetime) -> None:
        while self.events and self.events[0][0] < before:
            at, kind, _, tag, number = heapq.heappop(self.events)
            if kind == _Kind.ANSWER.value:
                self._answer(tag, number, at)
            elif kind == _Kind.ARRIVAL.value:
                self._arrive(tag, at)
            else:
                self._leave(tag, at)

    def _plan(self, at: datetime, kind: _Kind, tag: str, number: int) -> None:
        heapq.heappush(self.events, (at, kind.value, self._next(), tag, number))

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _on_the_way(self) -> int:
        kinds = Counter(event[1] for event in self.events)
        return len(self.waiting) + kinds[_Kind.ARRIVAL.value]

    def _draws(self, what: str, tag: str, case: _Open) -> Random:
        """Return the same numbers for the same question about the same stretch of trouble, under every policy."""
        about = (what, *self._stretch(tag, case))
        self.drawn[about] += 1
        return self.around.random(*about, self.drawn[about])

    def _asset(self, tag: str) -> _Asset:
        return self.assets.setdefault(tag, _Asset())
