"""Tickets given to people of queues, a batch at a time: the people locked, looked at, and their turns written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import AssignmentStrategy
from pipeline.core.assigning import Assignment, Person, Roster
from pipeline.core.duty import Leave, Shift, away_until, is_on_shift, next_begin

#: Whoever gives something to one of these people waits here for the others, in one order: so turns are fair and
#: nobody gets more than they may have, whichever queues the tickets come from.
_LOCK = text("""
    SELECT m.id FROM memberships m
     WHERE m.is_active AND (m.org_id, m.person_id) IN (
           SELECT q.org_id, q.person_id FROM queue_memberships q WHERE q.queue_id = ANY(CAST(:queues AS uuid[])))
     ORDER BY m.id FOR NO KEY UPDATE
""")
_MEMBERS = text("""
    SELECT q.org_id, q.queue_id, q.person_id, q.assigned_at, m.skills, m.capacity, clock_timestamp() AS now
      FROM queue_memberships q
      JOIN memberships m ON m.org_id = q.org_id AND m.person_id = q.person_id AND m.is_active
      JOIN people p ON p.id = q.person_id AND p.is_active
     WHERE q.queue_id = ANY(CAST(:queues AS uuid[]))
""")
_SHIFTS = text("""
    SELECT org_id, person_id, weekday, begins, ends, timezone FROM shifts
     WHERE org_id = ANY(CAST(:orgs AS uuid[])) AND person_id = ANY(CAST(:people AS uuid[]))
""")
_LEAVES = text("""
    SELECT org_id, person_id, begins_at, ends_at FROM leaves
     WHERE org_id = ANY(CAST(:orgs AS uuid[])) AND person_id = ANY(CAST(:people AS uuid[]))
       AND ends_at > clock_timestamp()
""")
_LOADS = text("""
    SELECT org_id, assignee_user_id AS person_id, count(*) AS open_tickets FROM tickets
     WHERE assignee_user_id = ANY(CAST(:people AS uuid[])) AND org_id = ANY(CAST(:orgs AS uuid[]))
       AND status IN ('new', 'open', 'pending')
     GROUP BY org_id, assignee_user_id
""")
#: Always later than any turn of the queue, also where two batches end within one tick of the clock.
_TURNS = text("""
    UPDATE queue_memberships q SET assigned_at = b.base + t.place * interval '1 microsecond'
      FROM unnest(CAST(:queues AS uuid[]), CAST(:people AS uuid[]), CAST(:places AS int[]))
             AS t(queue_id, person_id, place),
           (SELECT queue_id, greatest(clock_timestamp(), max(assigned_at)) AS base FROM queue_memberships
             WHERE queue_id = ANY(CAST(:queues AS uuid[])) GROUP BY queue_id) AS b
     WHERE q.queue_id = t.queue_id AND q.person_id = t.person_id AND b.queue_id = t.queue_id
""")


@dataclass(frozen=True, slots=True)
class Wish:
    """One ticket that wants somebody of a queue."""

    org_id: UUID
    queue_id: UUID
    strategy: AssignmentStrategy
    skills: frozenset[str] = frozenset()


Whom = tuple[UUID, UUID]


def assign(connection: Connection, wishes: Sequence[Wish]) -> list[Assignment]:
    """Choose somebody for each wish, in their order, and write whose turn it was; the caller writes the tickets.

    The people of the queues stay locked until the transaction ends, so lock tickets before.
    """
    if not wishes:
        return []
    queues = sorted({wish.queue_id for wish in wishes})
    connection.execute(_LOCK, {"queues": queues})
    rosters = _rosters(connection, queues)
    given = [
        rosters.get(wish.org_id, Roster((), {})).assign(wish.queue_id, wish.strategy, wish.skills) for wish in wishes
    ]
    turns = [turn for roster in rosters.values() for turn in roster.taken]
    if turns:
        people = [person_id for _, person_id in turns]
        places = list(range(1, len(turns) + 1))
        connection.execute(_TURNS, {"queues": [queue_id for queue_id, _ in turns], "people": people, "places": places})
    return given


def _rosters(connection: Connection, queues: Sequence[UUID]) -> dict[UUID, Roster]:
    """Return by organization everybody who works one of its queues, as they are now."""
    rows = connection.execute(_MEMBERS, {"queues": queues}).all()
    whom = {"orgs": sorted({row.org_id for row in rows}), "people": sorted({row.person_id for row in rows})}
    shifts = _grouped(connection.execute(_SHIFTS, whom), _shift)
    leaves = _grouped(connection.execute(_LEAVES, whom), lambda row: Leave(row.begins_at, row.ends_at))
    loads = {(row.org_id, row.person_id): row.open_tickets for row in connection.execute(_LOADS, whom)}
    people: dict[UUID, dict[UUID, Person]] = {}
    members: dict[UUID, dict[UUID, dict[UUID, datetime | None]]] = {}
    for row in rows:
        key = (row.org_id, row.person_id)
        found = people.setdefault(row.org_id, {})
        if row.person_id not in found:
            found[row.person_id] = _person(row, shifts.get(key), leaves.get(key, ()), loads.get(key, 0))
        members.setdefault(row.org_id, {}).setdefault(row.queue_id, {})[row.person_id] = row.assigned_at
    return {org_id: Roster(people[org_id].values(), members[org_id]) for org_id in people}


def _person(row: Any, shifts: Collection[Shift | None] | None, leaves: Iterable[Leave], open_tickets: int) -> Person:
    # A shift that cannot be read (its zone is gone) is none; somebody with nothing but such is never on duty.
    readable = [shift for shift in shifts or () if shift is not None]
    on_shift = is_on_shift(readable, row.now) if readable else not shifts
    away = away_until(leaves, row.now)
    return Person(
        person_id=row.person_id,
        skills=frozenset(row.skills),
        capacity=row.capacity,
        open_tickets=open_tickets,
        is_on_shift=on_shift,
        is_on_leave=away is not None,
        back_at=away or (None if on_shift else next_begin(readable, row.now)),
    )


def _shift(row: Any) -> Shift | None:
    try:
        return Shift(row.weekday, row.begins, row.ends, row.timezone)
    except ValueError:
        return None


def _grouped(rows: Iterable[Row[Any]], made: Any) -> Mapping[Whom, list[Any]]:
    found: dict[Whom, list[Any]] = {}
    for row in rows:
        found.setdefault((row.org_id, row.person_id), []).append(made(row))
    return found
