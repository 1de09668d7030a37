"""Dead letters: listed, grouped, replayed, discarded (contract 001, DLQ)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from dlq import letters, reading
from models.enums import Cause
from ops_api.dependencies import OwnDeadJob, Provided, SignedIn, Transaction, gone
from ops_api.guard import GuardedRoute
from ops_api.job_types import stage_of, type_of
from pipeline.table import STAGES

router = APIRouter(route_class=GuardedRoute, tags=["dead letters"])

Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    ),
]
Limit = Annotated[int, Query(ge=1, le=200)]


class DeadLetterAnswer(BaseModel):
    """A job that cannot go on by itself, and why."""

    id: int = Field(description="The job's id: what replay and discard take.")
    letter_id: int
    type: str
    stage: str
    key: str
    status: Literal["dead"] = "dead"
    attempts: int
    max_attempts: int
    last_error: str
    cause: Cause
    error_group: str
    run_at: datetime = Field(description="When the job was queued.")
    buried_at: datetime
    updated_at: datetime = Field(description="Equals buried_at.")
    mailbox_id: UUID | None
    mailbox: str | None
    provider_id: str | None
    subject: str | None
    payload: dict[str, Any]


class DeadLetters(BaseModel):
    """One page, the newest first."""

    items: list[DeadLetterAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class LetterGroupAnswer(BaseModel):
    """Letters of one kind of error: usually one cause, so usually one decision."""

    model_config = ConfigDict(from_attributes=True)

    group: str
    stage: str
    cause: Cause
    error_class: str
    example: str
    count: int
    first_at: datetime
    last_at: datetime


class LetterGroups(BaseModel):
    """The kinds of error among the open letters, the largest first."""

    items: list[LetterGroupAnswer]
    total: int = Field(description="Open letters in all groups.")


class ReplayRequest(BaseModel):
    """Why; kept with the letter."""

    reason: Reason = "replayed by an operator"


class DiscardRequest(BaseModel):
    """Why; kept with the letter."""

    reason: Reason


class ReplayedAnswer(BaseModel):
    """The job stands in line again, under the same id."""

    status: Literal["queued"] = "queued"
    job_id: int


class DiscardedAnswer(BaseModel):
    """The job is gone; its letter and what it was about are kept."""

    status: Literal["discarded"] = "discarded"
    job_id: int


@dataclass(frozen=True, slots=True)
class Filters:
    """Which of the organization's open letters are meant."""

    stage: str | None
    mailbox_id: UUID | None
    cause: Cause | None
    group: str | None

    def which(self, org_id: UUID) -> reading.Which:
        """Return what `dlq.reading` narrows by."""
        return reading.Which(
            org_id=org_id, stage=self.stage, mailbox_id=self.mailbox_id, cause=self.cause, group=self.group
        )


async def filters_of(
    stage: Annotated[str | None, Query(pattern=r"^[a-z_]{1,64}$", description="A stage, or a job type.")] = None,
    mailbox_id: UUID | None = None,
    cause: Cause | None = None,
    error_group: Annotated[str | None, Query(pattern=r"^[0-9a-f]{1,64}$")] = None,
) -> Filters:
    """Return the filters of a list."""
    return Filters(stage_of(stage) if stage else None, mailbox_id, cause, error_group)


Filtered = Annotated[Filters, Depends(filters_of)]


@router.get("/ops/jobs/dlq")
def list_dead_letters(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    filters: Filtered,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> DeadLetters:
    """Return the organization's open dead letters."""
    which = filters.which(session.org_id)
    bound: Mapping[str, object] = dict(which)
    which["before_id"] = services.cursors.read(cursor, bound)
    found = reading.find(connection, limit=limit + 1, **which)
    page = found[:limit]
    next_cursor = services.cursors.make(page[-1].letter_id, bound) if len(found) > limit else None
    return DeadLetters(items=[_answer(letter) for letter in page], next_cursor=next_cursor)


@router.get("/ops/jobs/dlq/groups")
def list_groups(session: SignedIn, connection: Transaction, filters: Filtered, limit: Limit = 50) -> LetterGroups:
    """Return the kinds of error among the open letters."""
    which = filters.which(session.org_id)
    found = reading.groups(connection, limit=limit, **which)
    return LetterGroups(
        items=[LetterGroupAnswer.model_validate(group) for group in found], total=reading.count(connection, **which)
    )


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
def discard(job: OwnDeadJob, session: SignedIn, connection: Transaction, asked: DiscardRequest) -> DiscardedAnswer:
    """End a dead job without running it; its message stays, accounted for as quarantined."""
    if not letters.discard(connection, [job.letter_id], actor=session.email, reason=asked.reason):
        raise gone(job.job_id)
    return DiscardedAnswer(job_id=job.job_id)


def _answer(letter: reading.Letter) -> DeadLetterAnswer:
    stage = STAGES.get(letter.stage)
    return DeadLetterAnswer(
        id=letter.job_id,
        letter_id=letter.letter_id,
        type=type_of(letter.stage),
        stage=letter.stage,
        key=letter.key,
        attempts=letter.attempts,
        max_attempts=stage.attempts if stage else letter.attempts,
        last_error=f"{letter.error_class}: {letter.error_text}",
        cause=letter.cause,
        error_group=letter.group,
        run_at=letter.queued_at,
        buried_at=letter.buried_at,
        updated_at=letter.buried_at,
        mailbox_id=letter.mailbox_id,
        mailbox=letter.mailbox,
        provider_id=letter.provider_id,
        subject=letter.subject,
        payload=dict(letter.args),
    )
