"""Searching: a person's question, answered with messages, their tickets, and the piece of each that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from models.enums import Direction, TicketStatus
from models.queries import search as queries
from models.queries.scoping import EVERYTHING, Reached
from models.queries.search import Asked, Place
from pipeline.core import search_hits, search_terms
from pipeline.core.search_hits import Piece
from pipeline.core.search_terms import BadQuery, Terms
from pipeline.runtime.errors import UserError

#: Where words were found, in the order of their weight.
PARTS = ("subject", "people", "body", "attachments")


@dataclass(frozen=True, slots=True)
class Hit:
    """One message; without a ticket while it waits in quarantine or in line. `matched_in` names its parts (`PARTS`)."""

    message_id: int
    ticket_id: UUID | None
    ticket_code: str | None
    ticket_status: TicketStatus | None
    direction: Direction
    from_address: str | None
    from_name: str | None
    subject: str
    received_at: datetime
    rank: float
    matched_in: tuple[str, ...]
    piece: Piece


@dataclass(frozen=True, slots=True)
class Answer:
    """One page. `total` counts what was ranked; when `is_capped`, older messages match, too, and were not ranked."""

    hits: Sequence[Hit]
    total: int
    is_capped: bool
    last: Place | None


def search(
    connection: Connection,
    org_id: UUID,
    question: str,
    *,
    limit: int,
    after: Place | None = None,
    reach: Reached = EVERYTHING,
) -> Answer:
    """Return the messages of an organization that answer a question (`pipeline.core.search_terms`), the best first.

    With a `reach`, those of the tickets within it. Raises `UserError` for a question that cannot be looked for.
    """
    terms = _read(question)
    asked = Asked(
        terms.text,
        terms.exact,
        " | ".join(f"'{word.rstrip('*')}'{':*' if word.endswith('*') else ''}" for word in terms.words),
        _midnight(terms.after),
        _midnight(terms.before),
    )
    found = queries.find(connection, org_id, asked, limit=limit, after=after, reach=reach)
    # Only the attachments answer: the piece is theirs.
    theirs = [row.message_id for row in found.rows if row.in_files and not row.in_body]
    texts = queries.file_texts(connection, theirs)
    hits = [_hit(row, terms, texts.get(row.message_id, row.body)) for row in found.rows]
    return Answer(hits, found.total, found.is_capped, found.last)


def _read(question: str) -> Terms:
    try:
        return search_terms.read(question)
    except BadQuery as error:
        raise UserError(str(error)) from None


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _hit(row: Any, terms: Terms, said: str) -> Hit:
    where = (row.in_subject, row.in_people, row.in_body, row.in_files)
    return Hit(
        row.message_id,
        row.ticket_id,
        row.code,
        None if row.status is None else TicketStatus(row.status),
        Direction(row.direction),
        row.from_address,
        row.from_name,
        row.subject,
        row.received_at,
        row.rank,
        tuple(part for part, is_there in zip(PARTS, where, strict=True) if is_there),
        search_hits.piece_of(said, terms.words),
    )
