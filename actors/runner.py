"""The runner: answers a doorbell by claiming a batch, running its stage, and settling every row of it.

    claim (commits) ─► load ─► work ─► hold (fence) ─► save, next steps, settle (commits) ─► ring

A pure stage runs in one transaction and holds last: rows that it locked all along would make whoever emits its next
step wait, with tickets locked that it needs itself.

One bad row never hurts its batch: an error in one item settles that item, an error of the whole batch in load or
save is run again item by item, and only a database that is away is waited for. Throttling is not failing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from actors.holdings import Holdings
from actors.turnstile import Turnstile
from actors.verdicts import Verdict, judge, report, settle, short
from models.enums import Lane
from pipeline.core.moments import Moment
from pipeline.ports import Ports
from pipeline.runtime import ledger, pump
from pipeline.runtime.db import Database, is_passing
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Again, Blocked, Stage, Work

AnyStage = Stage[Any, Any]
T = TypeVar("T")
#: What was loaded for a job, by the job's id; a job without an entry has nothing left to do.
Items = Mapping[int, Any]
#: What the work made of a job: a result, an outcome that waits, or an error.
Outcomes = Mapping[int, Any]
#: So long suspects may follow each other while others wait for the process.
_SUSPECTS_SECONDS = 0.5
#: So often suspects are tried in a line that always has others.
_THEIR_TURN_SECONDS = 2.0


class UndeclaredEmit(Exception):
    """A stage asked for a step that its row in the table does not list."""


class _NotHeld(Exception):
    """The fence refused some jobs of a batch: its transaction must not commit."""

    def __init__(self, held: Sequence[Job]) -> None:
        super().__init__()
        self.held = held


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a runner works with: the database, the outside world, who it is, whom it tells, what it counts."""

    db: Database
    ports: Ports
    holdings: Holdings
    ring: Callable[[set[Line]], None]
    metrics: Metrics
    is_stopping: Callable[[], bool]
    #: Lets jobs of some mailboxes go that wait for their budget.
    let_go: Callable[[Connection, Iterable[UUID]], set[Line]] = pump.release


class Runner:
    """Runs stages for one worker process; safe to call from many threads."""

    def __init__(self, stages: Mapping[str, AnyStage], around: Surroundings) -> None:
        self._stages, self._around = stages, around
        self._turnstile = Turnstile()
        #: When suspects of a line were tried last.
        self._tried_at: dict[Line, float] = {}
        self._log = get_logger()

    def answer(self, line: Line) -> int:
        """Claim one batch of a line, run it and settle it; return how many rows were claimed.

        A suspect, whose process died before, has this process for itself: when nothing else is in the line, and now
        and then while there is. A dead batch leaves many of them, so some follow each other without a doorbell.
        """
        with self._turnstile.together():
            claimed, has_suspects = self._answer(line, suspects=False)
        return claimed + self._answer_suspects(line) if has_suspects else claimed

    def _answer_suspects(self, line: Line) -> int:
        began, total, claimed, has_suspects = time.monotonic(), 0, 1, True
        while claimed and has_suspects and not self._around.is_stopping():
            if time.monotonic() - began > _SUSPECTS_SECONDS:
                self._around.ring({line})
                break
            with self._turnstile.alone():
                claimed, has_suspects = self._answer(line, suspects=True)
            total += claimed
        self._tried_at[line] = time.monotonic()
        return total

    def _answer(self, line: Line, *, suspects: bool) -> tuple[int, bool]:
        """Return how many rows were claimed and run, and whether there are suspects that should be tried now."""
        stage, around = self._stages[line.stage], self._around
        started_at, cpu = time.monotonic(), time.thread_time()
        with around.db.begin() as connection:
            jobs = ledger.claim(
                connection,
                line,
                batch=stage.batch,
                worker=around.holdings.worker,
                lease=stage.lease,
                suspects=suspects,
            )
            has_suspects = (suspects or not jobs or self._is_their_turn(line)) and ledger.has_suspects(connection, line)
        if not jobs:
            return 0, has_suspects
        if len(jobs) >= stage.batch:
            around.ring({line})
        with around.holdings.holding(jobs, stage.lease), structlog.contextvars.bound_contextvars(stage=stage.name):
            lines = self._run(stage, jobs)
        if stage.by_budget and line.lane is not Lane.LIVE:
            lines |= self._follow(jobs)
        around.ring(lines)
        around.metrics.wait.labels(stage.name, line.lane.value).observe(max(job.waited for job in jobs))
        around.metrics.batch.labels(stage.name).observe(len(jobs))
        around.metrics.seconds.labels(stage.name).observe(time.monotonic() - started_at)
        around.metrics.cpu.labels(stage.name).inc(time.thread_time() - cpu)
        return len(jobs), has_suspects

    def _is_their_turn(self, line: Line) -> bool:
        """Say whether suspects have waited long enough behind others: a long backlog must not keep them for hours."""
        return time.monotonic() - self._tried_at.setdefault(line, time.monotonic()) > _THEIR_TURN_SECONDS

    def _follow(self, jobs: Sequence[Job]) -> set[Line]:
        """Let go what comes after a batch, so that its mailboxes' budgets never wait for a sweep."""
        mailbox_ids = {job.mailbox_id for job in jobs if job.mailbox_id is not None}

        def attempt() -> set[Line]:
            with self._around.db.begin() as connection:
                return self._around.let_go(connection, mailbox_ids)

        return self._patiently(attempt)

    def _run(self, stage: AnyStage, jobs: Sequence[Job]) -> set[Line]:
        try:
            return self._run_outside(stage, jobs) if stage.io else self._run_inside(stage, jobs)
        except Exception as error:
            if self._around.is_stopping():
                raise
            if len(jobs) == 1:
                return self._fail(stage, jobs[0], error)
            self._log.warning("batch.split", jobs=len(jobs), error=short(error))
        return set().union(*(self._run(stage, [job]) for job in jobs))

    def _run_inside(self, stage: AnyStage, jobs: Sequence[Job]) -> set[Line]:
        """Run a pure stage: load, work, save and settle in one transaction; again without those the fence refuses."""

        def change(connection: Connection) -> Verdict:
            items = stage.load(connection, jobs)
            verdict = self._effect(connection, stage, jobs, items, self._work(stage, jobs, items))
            held = self._hold(connection, jobs)
            if len(held) < len(jobs):
                raise _NotHeld(held)
            settle(connection, verdict)
            return verdict

        try:
            return self._commit(stage, change)
        except _NotHeld as refused:
            return self._run_inside(stage, refused.held) if refused.held else set()

    def _run_outside(self, stage: AnyStage, jobs: Sequence[Job]) -> set[Line]:
        """Run a stage that touches the world: no transaction is open meanwhile, and work done is saved item by item
        when saving it together fails, so that it need not be done twice."""
        items = self._patiently(partial(self._load, stage, jobs))
        outcomes = self._work(stage, jobs, items)

        def change(some: Sequence[Job], connection: Connection) -> Verdict:
            verdict = self._effect(connection, stage, self._hold(connection, some), items, outcomes)
            settle(connection, verdict)
            return verdict

        try:
            return self._commit(stage, partial(change, jobs))
        except Exception as error:
            if len(jobs) == 1 or self._around.is_stopping():
                raise
            self._log.warning("save.split", jobs=len(jobs), error=short(error))
        return set().union(*(self._save_alone(stage, job, partial(change, [job])) for job in jobs))

    def _save_alone(self, stage: AnyStage, job: Job, change: Callable[[Connection], Verdict]) -> set[Line]:
        try:
            return self._commit(stage, change)
        except Exception as error:
            if self._around.is_stopping():
                raise
            return self._fail(stage, job, error)

    def _fail(self, stage: AnyStage, job: Job, error: Exception) -> set[Line]:
        def change(connection: Connection) -> Verdict:
            verdict = Verdict()
            for held in self._hold(connection, [job]):
                judge(stage, held, error, verdict)
            settle(connection, verdict)
            return verdict

        return self._commit(stage, change)

    def _load(self, stage: AnyStage, jobs: Sequence[Job]) -> Items:
        taken = Moment.of(self._around.ports.clock)
        with self._around.db.begin() as connection:
            return stage.load(connection, [replace(job, taken=taken) for job in jobs])

    def _work(self, stage: AnyStage, jobs: Sequence[Job], items: Items) -> Outcomes:
        present = [job.job_id for job in jobs if job.job_id in items]
        if not present:
            return {}
        results = stage.work([items[job_id] for job_id in present], self._around.ports)
        return dict(zip(present, results, strict=True))

    def _hold(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:
        held = ledger.hold(connection, jobs, self._around.holdings.worker)
        if len(held) < len(jobs):
            self._log.warning("fence.refused", jobs=len(jobs) - len(held))
        return [job for job in jobs if job.job_id in held]

    def _effect(
        self, connection: Connection, stage: AnyStage, jobs: Sequence[Job], items: Items, outcomes: Outcomes
    ) -> Verdict:
        verdict, works = Verdict(), []
        for job in jobs:
            outcome = outcomes.get(job.job_id)
            if isinstance(outcome, Again | Blocked | Exception):
                judge(stage, job, outcome, verdict)
                continue
            verdict.done.append(job)
            if job.job_id in items:
                works.append(Work(job, items[job.job_id], outcome))
        emits = stage.save(connection, works) if works else []
        verdict.lines |= ledger.put(connection, _declared(stage, emits))
        return verdict

    def _commit(self, stage: AnyStage, change: Callable[[Connection], Verdict]) -> set[Line]:
        """Apply a change in one transaction; waits for a database that is away. The fence makes a repetition after a
        lost answer to COMMIT harmless."""

        def attempt() -> Verdict:
            with self._around.db.begin() as connection:
                return change(connection)

        verdict = self._patiently(attempt)
        report(stage.name, verdict, self._around.metrics)
        return verdict.lines

    def _patiently(self, attempt: Callable[[], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception(lambda error: is_passing(error) and not self._around.is_stopping()),
            wait=wait_random_exponential(multiplier=0.05, max=1.0),
            before_sleep=self._log_wait,
            reraise=True,
        )
        return retrying(attempt)

    def _log_wait(self, state: RetryCallState) -> None:
        if state.attempt_number in {1, 10, 100, 1000}:
            error = state.outcome.exception() if state.outcome else None
            self._log.warning("database.waiting", tries=state.attempt_number, error=short(error))


def _declared(stage: AnyStage, emits: Sequence[Emit]) -> Sequence[Emit]:
    strange = {emit.stage for emit in emits} - set(stage.emits)
    if strange:
        raise UndeclaredEmit(f"{stage.name} emitted {', '.join(sorted(strange))}; its row lists {stage.emits}")
    return emits
