"""How each job of a batch ends: the judgement of results, waits and errors, and the settling of all of them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dlq import letters
from models.enums import Cause, Lane, MailboxState
from pipeline.core import backoff
from pipeline.runtime import breaker, ledger
from pipeline.runtime.errors import Forbidden, NeedsAuthorization, OutOfBudget, Permanent, Suspended, Throttled
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Delay, Line
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Again, Blocked, Stage

_NEEDS_PERSON = text("""
    UPDATE mailboxes SET state = t.state, state_reason = t.reason, last_sync_error = t.reason, paused_until = NULL
      FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:reasons AS text[])) AS t(id, state, reason)
     WHERE mailboxes.id = t.id AND mailboxes.state NOT IN ('auth_required', 'blocked')
""")
#: Resuming a mailbox locks its row and then frees what is parked: whoever parks a job meanwhile waits for its end.
_STATES = text("SELECT id, state FROM mailboxes WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR SHARE")


@dataclass(slots=True)
class Verdict:
    """How the held jobs of one batch end, and the lines that have ready rows because of it."""

    done: list[Job] = field(default_factory=list)
    delays: list[Delay] = field(default_factory=list)
    #: Jobs that wait for the end of their mailbox's pause.
    paused: list[Delay] = field(default_factory=list)
    #: Jobs that go back behind their mailbox's budget.
    held: list[Job] = field(default_factory=list)
    blocked: list[Job] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    #: Mailboxes that stop until a person acts: the state they stop in, and why.
    stopped: dict[UUID, tuple[MailboxState, str]] = field(default_factory=dict)
    #: Mailboxes that the provider closed for now, and what it said.
    suspended: dict[UUID, str] = field(default_factory=dict)
    #: What each failed job of a mailbox said; its breaker counts a batch of which nothing passed.
    failures: dict[UUID, list[str]] = field(default_factory=dict)
    is_by_mailbox: bool = False
    deaths: list[letters.Death] = field(default_factory=list)
    lines: set[Line] = field(default_factory=set)


def judge(stage: Stage[Any, Any], job: Job, outcome: Again | Blocked | Exception, verdict: Verdict) -> None:
    """Decide how a job that did not succeed goes on (reliability, section 2.2; mission-peers, section 1.5)."""
    if isinstance(outcome, Again):
        waiting = verdict.paused if outcome.ends_with_pause else verdict.delays
        waiting.append(Delay(job, outcome.delay, is_failure=False))
    elif isinstance(outcome, OutOfBudget) and stage.by_budget and job.lane is not Lane.LIVE:
        verdict.held.append(job)
    elif isinstance(outcome, Throttled):
        verdict.delays.append(Delay(job, outcome.retry_after, is_failure=False))
    elif isinstance(outcome, Suspended):
        verdict.delays.append(Delay(job, breaker.SUSPENSION, is_failure=False))
        if job.mailbox_id is not None:
            verdict.suspended[job.mailbox_id] = str(outcome)
    elif isinstance(outcome, Blocked | NeedsAuthorization | Forbidden):
        _judge_stop(job, outcome, verdict)
    else:
        _judge_error(stage, job, outcome, verdict)


def _judge_stop(job: Job, outcome: Blocked | NeedsAuthorization | Forbidden, verdict: Verdict) -> None:
    reason = outcome.reason if isinstance(outcome, Blocked) else str(outcome)
    verdict.blocked.append(job)
    verdict.reasons.append(reason)
    if job.mailbox_id is not None and not isinstance(outcome, Blocked):
        state = MailboxState.BLOCKED if isinstance(outcome, Forbidden) else MailboxState.AUTH_REQUIRED
        verdict.stopped[job.mailbox_id] = (state, reason)


def _judge_error(stage: Stage[Any, Any], job: Job, error: Exception, verdict: Verdict) -> None:
    verdict.is_by_mailbox = stage.by_mailbox
    if stage.reads_mailbox and job.mailbox_id is not None:
        verdict.failures.setdefault(job.mailbox_id, []).append(short(error))
    if stage.by_mailbox:
        verdict.delays.append(_later(stage, job, error))
    elif isinstance(error, (Permanent, *stage.permanent)):
        verdict.deaths.append(letters.Death(job, Cause.PERMANENT, error, stage.by_occurrence))
    elif job.failures + 1 >= stage.attempts:
        verdict.deaths.append(letters.Death(job, Cause.EXHAUSTED, error, stage.by_occurrence))
    else:
        verdict.delays.append(_later(stage, job, error))


def _later(stage: Stage[Any, Any], job: Job, error: Exception) -> Delay:
    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
    wait = backoff.delay(job.failures + 1, base=stage.backoff, cap=stage.backoff_cap, jitter=jitter)
    return Delay(job, wait, is_failure=True, error=letters.describe(error, Cause.EXHAUSTED))


def settle(connection: Connection, verdict: Verdict) -> None:
    """Write how every job ends, in the transaction of the batch's effects."""
    verdict.lines |= ledger.settle(connection, [job.job_id for job in verdict.done])
    ledger.postpone(connection, [*verdict.delays, *_still_paused(connection, verdict)])
    ledger.hold_back(connection, [job.job_id for job in verdict.held])
    breaker.suspend(connection, verdict.suspended)
    breaker.fail(connection, _failed(verdict))
    _park(connection, verdict)
    letters.bury(connection, verdict.deaths)


def _failed(verdict: Verdict) -> dict[UUID, str]:
    """Return the mailboxes of which nothing passed: a job of the mailbox itself failed, or several of its messages.

    One message that fails again and again is that message's trouble, and so is a flood of mail that cannot be parsed.
    """
    passed = {job.mailbox_id for job in verdict.done}
    return {
        mailbox_id: said[-1]
        for mailbox_id, said in sorted(verdict.failures.items())
        if mailbox_id not in passed and (verdict.is_by_mailbox or len(said) > 1)
    }


def _still_paused(connection: Connection, verdict: Verdict) -> list[Delay]:
    """Return the waits for pauses; one whose mailbox was resumed since its batch was loaded goes on at once."""
    if not verdict.paused:
        return []
    active = _active(connection, [delay.job for delay in verdict.paused])
    return [replace(delay, delay=timedelta(0)) if delay.job.mailbox_id in active else delay for delay in verdict.paused]


def _active(connection: Connection, jobs: Iterable[Job]) -> set[UUID | None]:
    ids = sorted({job.mailbox_id for job in jobs if job.mailbox_id is not None})
    return {row.id for row in connection.execute(_STATES, {"ids": ids}) if row.state == MailboxState.ACTIVE}


def _park(connection: Connection, verdict: Verdict) -> None:
    """Block jobs until a person acts; one whose mailbox was opened again meanwhile goes on at once."""
    if not verdict.blocked:
        return
    marked = sorted(verdict.stopped.items())
    connection.execute(
        _NEEDS_PERSON,
        {
            "ids": [one for one, _ in marked],
            "states": [state.value for _, (state, _) in marked],
            "reasons": [why for _, (_, why) in marked],
        },
    )
    active = _active(connection, verdict.blocked)
    ledger.block(connection, [job.job_id for job in verdict.blocked if job.mailbox_id not in active])
    free = [Delay(job, timedelta(0), is_failure=False) for job in verdict.blocked if job.mailbox_id in active]
    ledger.postpone(connection, free)


def report(stage: str, verdict: Verdict, metrics: Metrics) -> None:
    """Count and log what was committed."""
    failed = sum(delay.is_failure for delay in verdict.delays)
    waiting = len(verdict.delays) + len(verdict.paused) - failed
    for outcome, number in (
        ("done", len(verdict.done)),
        ("failed", failed),
        ("again", waiting),
        ("held", len(verdict.held)),
        ("blocked", len(verdict.blocked)),
        ("dead", len(verdict.deaths)),
    ):
        if number:
            metrics.runs.labels(stage, outcome).inc(number)
    for death in verdict.deaths:
        metrics.dead.labels(stage, death.cause.value).inc()
    _log(verdict)


def _log(verdict: Verdict) -> None:
    log = get_logger()
    for job in verdict.done:
        log.debug("job.done", **_named(job))
    for death in verdict.deaths:
        log.error("job.buried", **_named(death.job), cause=death.cause.value, error=short(death.error))
    for delay in (*verdict.delays, *verdict.paused):
        said = None if delay.error is None else delay.error["text"][:200]
        log.info(
            "job.postponed",
            **_named(delay.job),
            seconds=round(delay.delay.total_seconds(), 3),
            failure=delay.is_failure,
            error=said,
        )
    for job, reason in zip(verdict.blocked, verdict.reasons, strict=True):
        log.warning("job.blocked", **_named(job), reason=reason[:200])


def _named(job: Job) -> dict[str, object]:
    return {"key": job.key, "attempt": job.attempt, "trace_id": job.trace_id}


def short(error: BaseException | None) -> str:
    """Return an error in one line of at most 200 characters."""
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return f"{type(error).__name__}: {said}".splitlines()[0][:200]
