"""Dead letters for people: found, counted and grouped, each with the message it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, case, cast, func, select

from models.dead_letters import dead_letters
from models.enums import Cause, Lane, Resolution
from models.mail import messages, occurrences
from models.tenancy import mailboxes
from pipeline.table import STAGES

_BY_OCCURRENCE = [stage.name for stage in STAGES.values() if stage.by_occurrence]
#: The stages whose keys are messages.
_BY_MESSAGE = ["triage", "acknowledge"]


class Which(TypedDict, total=False):
    """Which letters are meant; what is absent or None does not narrow.

    `is_open` is True unless said otherwise: False means those replayed or discarded, None means all. `before_id` is
    the keyset of a next page: the last id of the page before.
    """

    letter_id: int | None
    mailbox_id: UUID | None
    org_id: UUID | None
    stage: str | None
    cause: Cause | None
    group: str | None
    is_open: bool | None
    before_id: int | None


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, its mailbox's address, and what is known of its message; `raw_sha256` is lower-case hex."""

    letter_id: int
    job_id: int
    org_id: UUID
    mailbox_id: UUID | None
    mailbox: str | None
    stage: str
    key: str
    lane: Lane
    cause: Cause
    error_class: str
    error_text: str
    error_trace: str | None
    group: str
    attempts: int
    failures: int
    crashes: int
    args: Mapping[str, Any]
    trace_id: str
    queued_at: datetime
    buried_at: datetime
    resolution: Resolution | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolved_reason: str | None
    occurrence_id: int | None
    provider_id: str | None
    message_id: int | None
    subject: str | None
    sender: str | None
    raw_sha256: str | None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Letters of one kind of error in one stage: `example` is the newest text, the times are those of burying."""

    group: str
    stage: str
    cause: Cause
    error_class: str
    example: str
    count: int
    first_at: datetime
    last_at: datetime


def find(connection: Connection, *, limit: int = 50, **which: Unpack[Which]) -> list[Letter]:
    """Return up to `limit` letters, newest first."""
    query = _letters().where(*_conditions(which)).order_by(dead_letters.c.id.desc()).limit(limit)
    return [_letter(row) for row in connection.execute(query)]


def ids(connection: Connection, *, limit: int | None = None, **which: Unpack[Which]) -> list[int]:
    """Return the ids of the letters, oldest first; for replaying or discarding all of a kind."""
    query = select(dead_letters.c.id).where(*_conditions(which)).order_by(dead_letters.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def count(connection: Connection, **which: Unpack[Which]) -> int:
    """Return how many letters there are."""
    query = select(func.count()).select_from(dead_letters).where(*_conditions(which))
    return int(connection.execute(query).scalar_one())


def open_by_mailbox(connection: Connection) -> dict[UUID | None, int]:
    """Return how many open letters each mailbox has; None stands for letters of no mailbox."""
    letter = dead_letters.c
    query = select(letter.mailbox_id, func.count()).where(letter.resolution.is_(None)).group_by(letter.mailbox_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def groups(connection: Connection, *, limit: int = 50, **which: Unpack[Which]) -> list[LetterGroup]:
    """Return the kinds of error among the letters, the largest first: one cause often stands behind thousands."""
    letter = dead_letters.c
    counted = func.count().label("letters")
    query = (
        select(
            letter.error_group,
            letter.stage,
            letter.cause,
            letter.error_class,
            func.max(letter.id).label("newest"),
            counted,
            func.min(letter.buried_at).label("first_at"),
            func.max(letter.buried_at).label("last_at"),
        )
        .where(*_conditions(which))
        .group_by(letter.error_group, letter.stage, letter.cause, letter.error_class)
        .order_by(counted.desc(), func.max(letter.id).desc())
        .limit(limit)
        .subquery()
    )
    found = (
        select(query, letter.error_text)
        .join(dead_letters, letter.id == query.c.newest)
        .order_by(query.c.letters.desc(), query.c.newest.desc())
    )
    return [_group(row) for row in connection.execute(found)]


def _letters() -> Select[Any]:
    letter = dead_letters.c
    number = cast(letter.key, BigInteger)
    occurrence = occurrences.c.id == case((letter.stage.in_(_BY_OCCURRENCE), number))
    by_message = case((letter.stage.in_(_BY_MESSAGE), number))
    message = messages.c.id == func.coalesce(occurrences.c.message_id, by_message)
    source = (
        dead_letters.outerjoin(mailboxes, mailboxes.c.id == letter.mailbox_id)
        .outerjoin(occurrences, occurrence)
        .outerjoin(messages, message)
    )
    return select(
        dead_letters,
        mailboxes.c.address,
        occurrences.c.id.label("occurrence_id"),
        occurrences.c.provider_id,
        messages.c.id.label("message_id"),
        messages.c.subject,
        messages.c.from_address,
        func.coalesce(occurrences.c.raw_sha256, messages.c.raw_sha256).label("raw_sha256"),
    ).select_from(source)


def _conditions(which: Which) -> list[ColumnElement[bool]]:
    letter = dead_letters.c
    columns = {
        "letter_id": letter.id,
        "mailbox_id": letter.mailbox_id,
        "org_id": letter.org_id,
        "stage": letter.stage,
        "cause": letter.cause,
        "group": letter.error_group,
    }
    found = [column == which[name] for name, column in columns.items() if which.get(name) is not None]  # type: ignore[literal-required]
    before_id, is_open = which.get("before_id"), which.get("is_open", True)
    if before_id is not None:
        found.append(letter.id < before_id)
    if is_open is not None:
        found.append(letter.resolution.is_(None) if is_open else letter.resolution.is_not(None))
    return found


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        letter_id=row.id,
        job_id=row.job_id,
        org_id=row.org_id,
        mailbox_id=row.mailbox_id,
        mailbox=row.address,
        stage=row.stage,
        key=row.key,
        lane=Lane(row.lane),
        cause=Cause(row.cause),
        error_class=row.error_class,
        error_text=row.error_text,
        error_trace=row.error_trace or None,
        group=row.error_group,
        attempts=row.attempts,
        failures=row.failures,
        crashes=row.crashes,
        args=row.args or {},
        trace_id=row.trace_id,
        queued_at=row.queued_at,
        buried_at=row.buried_at,
        resolution=Resolution(row.resolution) if row.resolution else None,
        resolved_at=row.resolved_at,
        resolved_by=row.resolved_by,
        resolved_reason=row.resolved_reason,
        occurrence_id=row.occurrence_id,
        provider_id=row.provider_id,
        message_id=row.message_id,
        subject=row.subject,
        sender=row.from_address,
        raw_sha256=bytes(row.raw_sha256).hex() if row.raw_sha256 else None,
    )


def _group(row: Row[Any]) -> LetterGroup:
    return LetterGroup(
        group=row.error_group,
        stage=row.stage,
        cause=Cause(row.cause),
        error_class=row.error_class,
        example=row.error_text,
        count=row.letters,
        first_at=row.first_at,
        last_at=row.last_at,
    )
