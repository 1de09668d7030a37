"""Dead letters: listed, grouped, counted, explained; one replayed, discarded, restored, edited (contract 001, DLQ)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from dlq import history, letters, reading
from dlq.reading import Which
from ops_api.answers import Refusal
from ops_api.dependencies import OwnDeadJob, OwnLetter, Provided, SignedIn, Transaction, gone
from ops_api.guard import GuardedRoute
from ops_api.letter_answers import (
    CountAnswer,
    DeadLetterAnswer,
    DeadLetters,
    LetterAnswer,
    LetterGroupAnswer,
    LetterGroups,
)
from ops_api.letter_filters import LetterQuery, LetterState, Reason

router = APIRouter(route_class=GuardedRoute, tags=["dead letters"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1024)]
#: Kinds of error that a count names.
_KINDS = 10
#: Earlier letters of a job, and actions, that an explanation shows.
_EARLIER, _ACTIONS = 20, 100


async def filters_of(asked: Annotated[LetterQuery, Query()]) -> LetterQuery:
    """Return the filters of an address."""
    return asked


Filtered = Annotated[LetterQuery, Depends(filters_of)]


class ReplayRequest(BaseModel):
    """Why; kept with the letter."""

    reason: Reason = "replayed by an operator"


class WhyRequest(BaseModel):
    """Why; kept with the letter."""

    reason: Reason


class EditRequest(BaseModel):
    """The arguments that a later replay uses, whole, and why."""

    model_config = ConfigDict(extra="forbid")

    args: dict[str, Any]
    reason: Reason


class ReplayedAnswer(BaseModel):
    """The job stands in line again, under the same id."""

    status: Literal["queued"] = "queued"
    job_id: int


class DiscardedAnswer(BaseModel):
    """The job is gone; its letter and what it was about are kept."""

    status: Literal["discarded"] = "discarded"
    job_id: int


class RestoredAnswer(BaseModel):
    """The discard is undone: the job is dead again, under the same id, and may be replayed."""

    status: Literal["dead"] = "dead"
    job_id: int
    letter_id: int


class EditedAnswer(BaseModel):
    """The arguments were replaced; the former ones are kept with the letter."""

    job_id: int
    before: dict[str, Any]
    after: dict[str, Any]


@router.get("/ops/jobs/dlq")
def list_dead_letters(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    filters: Filtered,
    state: LetterState = LetterState.OPEN,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> DeadLetters:
    """Return the organization's dead letters: the open ones, unless another state is asked for."""
    which: Which = {**filters.which(session.org_id), **state.which()}
    bound: Mapping[str, object] = dict(which)
    which["before_id"] = services.cursors.read(cursor, bound)
    found = reading.find(connection, limit=limit + 1, **which)
    page = found[:limit]
    next_cursor = services.cursors.make(page[-1].letter_id, bound) if len(found) > limit else None
    return DeadLetters(items=[DeadLetterAnswer.of(letter) for letter in page], next_cursor=next_cursor)


@router.get("/ops/jobs/dlq/groups")
def list_groups(session: SignedIn, connection: Transaction, filters: Filtered, limit: Limit = 50) -> LetterGroups:
    """Return the kinds of error among the open letters, with what is known of each since it was first seen."""
    which = filters.which(session.org_id)
    found = reading.groups(connection, limit=limit, **which)
    return LetterGroups(
        items=[LetterGroupAnswer.model_validate(group) for group in found], total=reading.count(connection, **which)
    )


@router.get("/ops/jobs/dlq/count")
def count(session: SignedIn, connection: Transaction, filters: Filtered) -> CountAnswer:
    """Count the open letters that a bulk with these filters would mean, and say what kinds they are."""
    which = filters.which(session.org_id)
    found = reading.counted(connection, **which)
    kinds = reading.groups(connection, limit=_KINDS, **which)
    return CountAnswer(
        count=found.count,
        newest_letter_id=found.newest_id,
        groups=[LetterGroupAnswer.model_validate(kind) for kind in kinds],
    )


@router.get("/ops/jobs/dlq/letters/{letter_id}")
def show(letter: OwnLetter, connection: Transaction) -> LetterAnswer:
    """Explain one letter: its error with the trace, its like, and everything that was done to it or tried before."""
    kinds = reading.groups(connection, limit=1, org_id=letter.org_id, group=letter.group, stage=letter.stage)
    of_job = Which(job_id=letter.job_id, trace_id=letter.trace_id, is_open=None, before_id=letter.letter_id)
    earlier = reading.find(connection, limit=_EARLIER, **of_job)
    actions = history.actions(connection, letter_id=letter.letter_id, limit=_ACTIONS)
    return LetterAnswer.whole(letter, kinds[0] if kinds else None, actions, earlier)


@router.post("/ops/jobs/dlq/letters/{letter_id}/restore")
def restore(letter: OwnLetter, session: SignedIn, connection: Transaction, asked: WhyRequest) -> RestoredAnswer:
    """Undo a discard within its time: the letter is open again. 409 says why not."""
    done = letters.restore(connection, [letter.letter_id], actor=session.email, reason=asked.reason)
    if not done.letter_ids:
        raise Refusal(409, f"letter {letter.letter_id} cannot be restored: {done.refused[letter.letter_id]}")
    return RestoredAnswer(job_id=letter.job_id, letter_id=letter.letter_id)


@router.post("/ops/jobs/{job_id}/replay")
def replay(
    job: OwnDeadJob, session: SignedIn, connection: Transaction, asked: ReplayRequest | None = None
) -> ReplayedAnswer:
    """Run a dead job again with a fresh budget. Of equal calls one replays, the others get 404."""
    reason = (asked or ReplayRequest()).reason
    done = letters.replay(connection, [job.letter_id], actor=session.email, reason=reason)
    if not done.letter_ids:
        raise gone(job.job_id)
    return ReplayedAnswer(job_id=job.job_id)


@router.post("/ops/jobs/{job_id}/discard")
def discard(job: OwnDeadJob, session: SignedIn, connection: Transaction, asked: WhyRequest) -> DiscardedAnswer:
    """End a dead job without running it; its message stays, accounted for as quarantined."""
    if not letters.discard(connection, [job.letter_id], actor=session.email, reason=asked.reason):
        raise gone(job.job_id)
    return DiscardedAnswer(job_id=job.job_id)


@router.post("/ops/jobs/{job_id}/args")
def edit(job: OwnDeadJob, session: SignedIn, connection: Transaction, asked: EditRequest) -> EditedAnswer:
    """Replace a dead job's arguments; a later replay uses them, and the former ones are kept."""
    done = letters.edit(connection, job.letter_id, asked.args, actor=session.email, reason=asked.reason)
    if done is None:
        raise gone(job.job_id)
    return EditedAnswer(job_id=job.job_id, before=dict(done.before), after=dict(done.after))
