"""Dead letters for people: found, counted and grouped, each with the message it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypedDict, Unpack
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Row,
    Select,
    Uuid,
    any_,
    case,
    cast,
    exists,
    func,
    or_,
    select,
)

from dlq import trends
from dlq.trends import Trend
from models import row_security
from models.dead_letters import dead_letters
from models.enums import Cause, Lane, Resolution
from models.mail import messages, occurrences
from models.outbound import outbound
from models.tenancy import mailboxes
from pipeline.table import STAGES

#: The stages whose keys are occurrences.
BY_OCCURRENCE = tuple(stage.name for stage in STAGES.values() if stage.by_occurrence)
#: The stages whose keys are messages.
BY_MESSAGE = ("triage", "acknowledge", "index")
#: The stage whose keys are rows of `outbound`.
BY_OUTBOUND = "send"


class Which(TypedDict, total=False):
    """Which letters are meant; what is absent or None does not narrow.

    `is_open` is True unless said otherwise: False means those replayed or discarded, None means all. `before_id` is
    the keyset of a next page: the last id of the page before. `text` stands somewhere in the error, the key, the
    subject, the provider's id or the mailbox's address, whatever its case. `since` and `until` (exclusive) bound the
    time of burying. `newest_id` leaves out what was buried after a count. Letters of one `job_id` share a `trace_id`:
    with both they are found by an index.
    """

    letter_id: int | None
    mailbox_id: UUID | None
    org_id: UUID | None
    stage: str | None
    cause: Cause | None
    group: str | None
    is_open: bool | None
    before_id: int | None
    error_class: str | None
    text: str | None
    since: datetime | None
    until: datetime | None
    newest_id: int | None
    letter_ids: Sequence[int] | None
    job_id: int | None
    trace_id: str | None
    resolution: Resolution | None


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
    #: What its first failure said, and when (class, text, at); None when it died of its first.
    first_error: Mapping[str, str] | None
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
    """Letters of one kind of error in one stage: `count` of those asked for, `example` the newest text among them.

    Everything else is about all letters of the kind that are kept, resolved ones too: the first and last time of
    burying, how many were buried in each of the last 24 hours (the oldest first), how many were replayed, and how
    many of a bulk's failed again.
    """

    group: str
    stage: str
    cause: Cause
    error_class: str
    example: str
    count: int
    first_at: datetime
    last_at: datetime
    hourly: tuple[int, ...]
    trend: Trend
    replayed: int
    failed_again: int


@dataclass(frozen=True, slots=True)
class Counted:
    """How many letters there are, and the newest of them: what came after it was not counted."""

    count: int
    newest_id: int | None


def find(connection: Connection, *, limit: int = 50, **which: Unpack[Which]) -> list[Letter]:
    """Return up to `limit` letters, newest first."""
    query = _letters().where(*conditions(which)).order_by(dead_letters.c.id.desc()).limit(limit)
    return [_letter(row) for row in rows_of(connection, query, which)]


def ids(connection: Connection, *, limit: int | None = None, **which: Unpack[Which]) -> list[int]:
    """Return the ids of the letters, oldest first; for replaying or discarding all of a kind."""
    query = select(dead_letters.c.id).where(*conditions(which)).order_by(dead_letters.c.id).limit(limit)
    return [row.id for row in rows_of(connection, query, which)]


def count(connection: Connection, **which: Unpack[Which]) -> int:
    """Return how many letters there are."""
    return counted(connection, **which).count


def counted(connection: Connection, **which: Unpack[Which]) -> Counted:
    """Return how many letters there are, and the newest id among them."""
    query = select(func.count(), func.max(dead_letters.c.id)).where(*conditions(which))
    (row,) = rows_of(connection, query, which)
    return Counted(row[0], row[1])


def open_by_mailbox(connection: Connection) -> dict[UUID | None, int]:
    """Return how many open letters each mailbox has; None stands for letters of no mailbox."""
    letter = dead_letters.c
    query = select(letter.mailbox_id, func.count()).where(letter.resolution.is_(None)).group_by(letter.mailbox_id)
    return {row[0]: row[1] for row in connection.execute(query)}


def groups(connection: Connection, *, limit: int = 50, **which: Unpack[Which]) -> list[LetterGroup]:
    """Return the kinds of error among the letters, the largest first: one cause often stands behind thousands."""
    letter = dead_letters.c
    size = func.count().label("letters")
    kinds = (
        select(
            letter.error_group,
            letter.stage,
            letter.cause,
            letter.error_class,
            func.max(letter.id).label("newest"),
            size,
        )
        .where(*conditions(which))
        .group_by(letter.error_group, letter.stage, letter.cause, letter.error_class)
        .order_by(size.desc(), func.max(letter.id).desc())
        .limit(limit)
        .subquery()
    )
    query = select(kinds, letter.error_text).join(dead_letters, letter.id == kinds.c.newest)
    rows = rows_of(connection, query.order_by(kinds.c.letters.desc(), kinds.c.newest.desc()), which)
    courses = trends.courses(connection, [(row.error_group, row.stage) for row in rows], which.get("org_id"))
    return [_group(row, courses[row.error_group, row.stage]) for row in rows]


def conditions(which: Which) -> list[ColumnElement[bool]]:
    """Return what a query over `dead_letters` must ask for."""
    letter, is_open = dead_letters.c, which.get("is_open", True)
    asked: list[tuple[object, Any]] = [
        (which.get("letter_id"), letter.id.__eq__),
        (which.get("mailbox_id"), letter.mailbox_id.__eq__),
        (which.get("org_id"), letter.org_id.__eq__),
        (which.get("stage"), letter.stage.__eq__),
        (which.get("cause"), letter.cause.__eq__),
        (which.get("group"), letter.error_group.__eq__),
        (which.get("error_class"), letter.error_class.__eq__),
        (which.get("before_id"), letter.id.__lt__),
        (which.get("newest_id"), letter.id.__le__),
        (which.get("since"), letter.buried_at.__ge__),
        (which.get("until"), letter.buried_at.__lt__),
        (which.get("letter_ids"), lambda ids: letter.id == any_(cast(list(ids), ARRAY(BigInteger)))),
        (which.get("job_id"), letter.job_id.__eq__),
        (which.get("trace_id"), letter.trace_id.__eq__),
        (which.get("resolution"), letter.resolution.__eq__),
        (which.get("text"), _says),
        (is_open, lambda wanted: letter.resolution.is_(None) if wanted else letter.resolution.is_not(None)),
    ]
    return [condition(value) for value, condition in asked if value is not None]


def rows_of(connection: Connection, query: Executable, which: Which) -> Sequence[Any]:
    """Run a query about letters. What their keys name is found by casts, for which the barrier allows no index.

    So it steps out where the query names the organization: a letter's key names what is its organization's.
    """
    if which.get("org_id") is None:
        return connection.execute(query).all()
    with row_security.unbarred(connection):
        return connection.execute(query).all()


def _says(words: str) -> ColumnElement[bool]:
    """Return the condition that some words stand in what people see of a letter; % and _ mean themselves."""
    letter, mailbox, occurrence, message = dead_letters.c, mailboxes.alias(), occurrences.alias(), messages.alias()
    seen = occurrence.outerjoin(message, message.c.id == occurrence.c.message_id)

    def stands(column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.icontains(words, autoescape=True)

    return or_(
        stands(letter.error_text),
        stands(letter.key),
        exists().where(mailbox.c.id == letter.mailbox_id, stands(mailbox.c.address)),
        exists()
        .select_from(seen)
        .where(occurrence.c.id == _occurrence_id(), or_(stands(occurrence.c.provider_id), stands(message.c.subject))),
        exists().where(message.c.id == _message_id(), stands(message.c.subject)),
    )


def _occurrence_id() -> ColumnElement[Any]:
    letter = dead_letters.c
    return case((letter.stage.in_(BY_OCCURRENCE), cast(letter.key, BigInteger)))


def _message_id() -> ColumnElement[Any]:
    """Return the message that a letter's key names without an occurrence."""
    letter, sent = dead_letters.c, outbound.alias()
    of_sent = select(sent.c.message_id).where(sent.c.id == case((letter.stage == BY_OUTBOUND, cast(letter.key, Uuid))))
    by_message = case((letter.stage.in_(BY_MESSAGE), cast(letter.key, BigInteger)))
    return func.coalesce(by_message, of_sent.correlate(dead_letters).scalar_subquery())


def _letters() -> Select[Any]:
    letter = dead_letters.c
    source = (
        dead_letters.outerjoin(mailboxes, mailboxes.c.id == letter.mailbox_id)
        .outerjoin(occurrences, occurrences.c.id == _occurrence_id())
        .outerjoin(messages, messages.c.id == func.coalesce(occurrences.c.message_id, _message_id()))
    )
    return select(
        dead_letters,
        letter.id.label("letter_id"),
        letter.error_group.label("group"),
        mailboxes.c.address.label("mailbox"),
        occurrences.c.id.label("occurrence_id"),
        occurrences.c.provider_id,
        messages.c.id.label("message_id"),
        messages.c.subject,
        messages.c.from_address.label("sender"),
        func.coalesce(occurrences.c.raw_sha256, messages.c.raw_sha256).label("raw_sha256"),
    ).select_from(source)


def _letter(row: Row[Any]) -> Letter:
    found = {field.name: row._mapping[field.name] for field in fields(Letter)}  # noqa: SLF001 - its public name
    return Letter(
        **found
        | {
            "lane": Lane(row.lane),
            "cause": Cause(row.cause),
            "args": row.args or {},
            "error_trace": row.error_trace or None,
            "resolution": Resolution(row.resolution) if row.resolution else None,
            "raw_sha256": bytes(row.raw_sha256).hex() if row.raw_sha256 else None,
        }
    )


def _group(row: Row[Any], course: trends.Course) -> LetterGroup:
    return LetterGroup(
        group=row.error_group,
        stage=row.stage,
        cause=Cause(row.cause),
        error_class=row.error_class,
        example=row.error_text,
        count=row.letters,
        first_at=course.first_at,
        last_at=course.last_at,
        hourly=course.hourly,
        trend=course.trend,
        replayed=course.replayed,
        failed_again=course.failed_again,
    )
