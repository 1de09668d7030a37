"""Tickets as a list: newest activity first, narrowed by anything, at a cost that does not grow with their number.

An index gives the order for all tickets, those of a status, of a person and of a queue. What no index gives in that
order is looked for in two ways: a bounded walk over the newest, which finds what is common, and then an index of words,
tags or deadlines, which finds what is rare. What is neither ends the page early, and its cursor goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from models.queries.ticket_clauses import MOST_FOUND, SLA_STATE, Question, Wanted, is_rare, question_of, source

#: A walk stops early, which the planner cannot know: it must not gather and sort everything first, nor read on when a
#: table that was empty a minute ago is full.
_WALKING, _LOOKING = (
    text(f"""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', '{said}', true),
           set_config('enable_sort', '{said}', true)
    """)
    for said in ("off", "on")
)
#: By the rules that lowered the haystack.
_LOWER = text("SELECT lower(:words)")

_SHOWN = text(f"""
    SELECT t.id, t.code, t.status, t.dispatch_state, t.priority, t.subject, t.requester_email, t.requester_name,
           t.assignee_user_id, t.queue_id AS assignee_queue_id, p.full_name AS assignee_name, q.name AS queue_name,
           t.tags, t.account_id, t.site_id, t.mailbox_id, t.first_message_at, t.last_message_at, t.last_activity_at,
           t.closed_at, t.created_at, t.merged_into, t.version, t.sla_due_at,
           {SLA_STATE} AS sla_state
      FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS w(id, place) JOIN tickets t ON t.id = w.id
      LEFT JOIN people p ON p.id = t.assignee_user_id LEFT JOIN queues q ON q.id = t.queue_id
     ORDER BY w.place
""")  # noqa: S608 - made of the constants above


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    at: datetime
    ticket_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """One page of rows; `last` is where the next one begins, None when nothing can follow."""

    rows: Sequence[Any]
    last: Place | None


def find(
    connection: Connection,
    org_id: UUID,
    wanted: Wanted,
    reach: tuple[str, dict[str, Any]] = ("TRUE", {}),
    *,
    limit: int,
    after: Place | None = None,
) -> Found:
    """Return a page of an organization's tickets, the one with the newest activity first.

    `reach` is what `models.queries.scoping.ticket_condition` says for whoever asks. A page may be shorter than `limit`,
    even empty, and yet not be the last: what is asked for was not among the `WALK` newest after `after`.
    """
    words = wanted.words and connection.execute(_LOWER, {"words": wanted.words}).scalar_one()
    question = question_of(org_id, wanted, words, reach)
    hits, last = _hits(connection, question, wanted, limit, after)
    ids = [ticket_id for ticket_id, _ in hits[:limit]]
    connection.execute(_LOOKING)
    rows = connection.execute(_SHOWN, {"ids": ids}).all() if ids else ()
    if len(hits) > limit:
        last = Place(hits[limit - 1][1], hits[limit - 1][0])
    return Found(rows, last)


def _hits(
    connection: Connection, question: Question, wanted: Wanted, limit: int, after: Place | None
) -> tuple[list[tuple[UUID, datetime]], Place | None]:
    """Return up to one ticket more than the limit, and where to go on when these are not all there are."""
    if after is not None:
        question.go_on(after.at, after.ticket_id)
    is_few = is_rare(wanted)
    if is_few and (named := _found(connection, question, wanted)) is not None:
        return _among(connection, question, named, limit + 1), None
    connection.execute(_WALKING)
    looked = connection.execute(question.walk(limit + 1), question.values).all()
    hits = [(row.id, row.last_activity_at) for row in looked if row.is_hit]
    last = next((Place(row.last_activity_at, row.id) for row in looked if not row.is_hit), None)
    if last is None:
        return hits, None
    # Where the walk met some, the index would name very many: a short page costs less, and goes on.
    found = None if is_few or len(hits) > limit // 4 else _found(connection, question, wanted)
    if found is None:
        return hits, last
    question.go_on(last.at, last.ticket_id)
    return [*hits, *_among(connection, question, found, limit + 1 - len(hits))], None


def _found(connection: Connection, question: Question, wanted: Wanted) -> list[UUID] | None:
    """Return the tickets that an index names; None when there is no index for what is asked, or they are too many."""
    statement = source(question, wanted)
    if statement is None:
        return None
    connection.execute(_LOOKING)
    found = connection.execute(statement, question.values).scalars().all()
    # A ticket may be named twice, by its code and by its words.
    return list(dict.fromkeys(found)) if len(found) <= MOST_FOUND else None


def _among(
    connection: Connection, question: Question, found: Sequence[UUID], limit: int
) -> list[tuple[UUID, datetime]]:
    return _pairs(connection, question.among(limit), {**question.values, "ids": found}) if found else []


def _pairs(connection: Connection, statement: TextClause, values: dict[str, Any]) -> list[tuple[UUID, datetime]]:
    return [(row.id, row.last_activity_at) for row in connection.execute(statement, values)]
