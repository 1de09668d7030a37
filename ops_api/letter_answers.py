"""Dead letters as the API answers them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from dlq.history import Action
from dlq.reading import Letter
from dlq.trends import Trend
from models.enums import Cause, Lane, LetterAction
from ops_api.job_types import type_of
from pipeline.table import STAGES


class DeadLetterAnswer(BaseModel):
    """A job that cannot go on by itself, and why."""

    id: int = Field(description="The job's id: what replay and discard take.")
    letter_id: int
    type: str
    stage: str
    key: str
    status: str = Field(description="dead; or replayed, or discarded.")
    attempts: int
    max_attempts: int
    last_error: str
    cause: Cause
    error_group: str
    run_at: datetime = Field(description="When the job was queued.")
    buried_at: datetime
    updated_at: datetime = Field(description="When it was buried, or resolved.")
    mailbox_id: UUID | None
    mailbox: str | None
    provider_id: str | None
    subject: str | None
    payload: dict[str, Any]
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_reason: str | None

    @classmethod
    def of(cls, letter: Letter, **more: Any) -> Self:
        """Return the answer for a letter."""
        stage = STAGES.get(letter.stage)
        return cls(
            id=letter.job_id,
            letter_id=letter.letter_id,
            type=type_of(letter.stage),
            stage=letter.stage,
            key=letter.key,
            status=letter.resolution or "dead",
            attempts=letter.attempts,
            max_attempts=stage.attempts if stage else letter.attempts,
            last_error=f"{letter.error_class}: {letter.error_text}",
            cause=letter.cause,
            error_group=letter.group,
            run_at=letter.queued_at,
            buried_at=letter.buried_at,
            updated_at=letter.resolved_at or letter.buried_at,
            mailbox_id=letter.mailbox_id,
            mailbox=letter.mailbox,
            provider_id=letter.provider_id,
            subject=letter.subject,
            payload=dict(letter.args),
            resolved_at=letter.resolved_at,
            resolved_by=letter.resolved_by,
            resolved_reason=letter.resolved_reason,
            **more,
        )


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
    first_at: datetime = Field(description="Of all letters of this kind that are kept, resolved ones too.")
    last_at: datetime
    hourly: list[int] = Field(description="How many were buried in each of the last 24 hours, the oldest first.")
    trend: Trend


class LetterGroups(BaseModel):
    """The kinds of error among the open letters, the largest first."""

    items: list[LetterGroupAnswer]
    total: int = Field(description="Open letters in all groups.")


class CountAnswer(BaseModel):
    """How many open letters are meant: send both figures along with a bulk replay or discard."""

    count: int
    newest_letter_id: int | None = Field(description="Null when there is none.")
    groups: list[LetterGroupAnswer] = Field(description="Their ten largest kinds.")


class ActionAnswer(BaseModel):
    """What somebody did, and why."""

    model_config = ConfigDict(from_attributes=True)

    action: LetterAction
    actor: str
    reason: str
    at: datetime
    data: dict[str, Any] | None = Field(description="Of an edit: the arguments before and after.")
    letter_id: int | None
    bulk_id: int | None


class LetterAnswer(DeadLetterAnswer):
    """One letter whole: with its error, what was tried, and its like."""

    lane: Lane
    failures: int
    crashes: int
    first_error: dict[str, str] | None = Field(
        description="What its first failure said, and when (class, text, at); null when it died of its first."
    )
    error_class: str
    error_text: str
    error_trace: str | None
    trace_id: str
    sender: str | None
    occurrence_id: int | None
    message_id: int | None
    raw_sha256: str | None
    alike: int = Field(description="Open letters of this kind, this one included.")
    kind: LetterGroupAnswer | None = Field(description="Its kind of error; null when none of it is open.")
    history: list[ActionAnswer] = Field(description="What was done to it, the newest first.")
    earlier: list[DeadLetterAnswer] = Field(description="Earlier letters of the same job: what was already tried.")

    @classmethod
    def whole(cls, letter: Letter, kind: object, actions: Sequence[Action], earlier: Sequence[Letter]) -> Self:
        """Return the answer for a letter with what stands around it."""
        names = (
            "lane", "failures", "crashes", "first_error", "error_class", "error_text", "error_trace", "trace_id",
            "sender", "occurrence_id", "message_id", "raw_sha256",
        )  # fmt: skip
        known = None if kind is None else LetterGroupAnswer.model_validate(kind)
        return cls.of(
            letter,
            **{name: getattr(letter, name) for name in names},
            alike=known.count if known else 0,
            kind=known,
            history=[ActionAnswer.model_validate(action) for action in actions],
            earlier=[DeadLetterAnswer.of(one) for one in earlier],
        )
