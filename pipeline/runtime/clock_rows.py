"""The rows of clocks and their ledgers: read for many tickets at once, and written where they differ."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import ClockKind, ClockState, IntervalState, TicketPriority
from pipeline.core.clocks import Clock, Interval, Moved, Told
from pipeline.core.service_levels import Facts
from pipeline.runtime.db import copy_rows

#: The first answer of a person of ours that left and did not come back, as far as it is known; a copy that is read in a
#: mailbox counts like our own.
_ANSWERED = """
    (SELECT min(coalesce(b.sent_at, m.received_at))
       FROM ticket_messages l JOIN messages m ON m.id = l.message_id LEFT JOIN outbound b ON b.message_id = m.id
      WHERE l.ticket_id = t.id AND m.direction = 'outbound' AND m.machine IS NULL
        AND (b.id IS NULL OR (b.state = 'sent' AND b.bounced_at IS NULL)))
"""
#: The queue that a ticket is in, or out of which a rule gave it to a person.
QUEUE = """
    coalesce(t.queue_id, CASE WHEN t.assignee_user_id IS NOT NULL THEN CAST(t.routing ->> 'queue_id' AS uuid) END)
"""
_TICKETS = text(f"""
    SELECT t.id, t.org_id, t.status, t.priority, {QUEUE} AS queue_id, t.mailbox_id, t.tags, t.routed_at,
           t.first_message_at, t.last_activity_at, t.response_due_at, t.resolution_due_at, t.sla_due_at, t.resolved_at,
           t.responded_at AS stored_responded_at,
           CASE WHEN t.responded_at IS NOT NULL THEN t.responded_at ELSE {_ANSWERED} END AS responded_at,
           clock_timestamp() AS at
      FROM tickets t WHERE t.id = ANY(CAST(:ids AS uuid[])) ORDER BY t.id
""")  # noqa: S608 - made of the constant above
_FRESH = text(f"""
    SELECT t.id, {_ANSWERED} AS responded_at, now() AS at
      FROM tickets t
     WHERE t.id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (SELECT FROM clock_intervals i WHERE i.ticket_id = t.id)
""")  # noqa: S608 - made of the constant above
_CLOCKS = """
    SELECT ticket_id, kind, state, policy_id, policy_version, target, started_at, warn_at, due_at, warned_at,
           breached_at, ended_at
      FROM ticket_clocks WHERE ticket_id = ANY(CAST(:ids AS uuid[])) ORDER BY ticket_id, kind
"""
_CLOCKS_SEEN, _CLOCKS_LOCKED = text(_CLOCKS), text(f"{_CLOCKS} FOR UPDATE")
#: By time: what a merge puts before a ledger is written last.
_INTERVALS = text("""
    SELECT ticket_id, state, because, began_at, ended_at FROM clock_intervals
     WHERE ticket_id = ANY(CAST(:ids AS uuid[])) ORDER BY ticket_id, began_at, ended_at, id
""")
_CLOSE = text("""
    UPDATE clock_intervals i SET ended_at = t.at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:ats AS timestamptz[])) AS t(ticket_id, at)
     WHERE i.ticket_id = t.ticket_id AND i.ended_at IS NULL
""")
_ADD = text("""
    INSERT INTO clock_intervals (org_id, ticket_id, state, because, began_at, ended_at)
    SELECT org_id, ticket_id, state, because, began_at, ended_at
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:becauses AS text[]),
                  CAST(:begans AS timestamptz[]), CAST(:endeds AS timestamptz[]))
           WITH ORDINALITY AS t(org_id, ticket_id, state, because, began_at, ended_at, number) ORDER BY number
""")
_SET = text("""
    INSERT INTO ticket_clocks AS c (org_id, ticket_id, kind, state, policy_id, policy_version, target, started_at,
                                    warn_at, due_at, warned_at, breached_at, ended_at)
    SELECT * FROM unnest(CAST(:orgs AS uuid[]), CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:states AS text[]),
                         CAST(:policies AS uuid[]), CAST(:versions AS int[]), CAST(:targets AS interval[]),
                         CAST(:started AS timestamptz[]), CAST(:warns AS timestamptz[]), CAST(:dues AS timestamptz[]),
                         CAST(:warned AS timestamptz[]), CAST(:breached AS timestamptz[]),
                         CAST(:ended AS timestamptz[]))
        ON CONFLICT (ticket_id, kind) DO UPDATE SET
           state = excluded.state, policy_id = excluded.policy_id, policy_version = excluded.policy_version,
           target = excluded.target, started_at = excluded.started_at, warn_at = excluded.warn_at,
           due_at = excluded.due_at, warned_at = excluded.warned_at, breached_at = excluded.breached_at,
           ended_at = excluded.ended_at, version = (c.version + 1) % 32767
""")
_DENORMALIZE = text("""
    UPDATE tickets SET response_due_at = t.response_at, resolution_due_at = t.resolution_at, sla_due_at = t.sla_at,
                       responded_at = t.responded_at, resolved_at = t.resolved_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:responses AS timestamptz[]), CAST(:resolutions AS timestamptz[]),
                  CAST(:slas AS timestamptz[]), CAST(:respondeds AS timestamptz[]), CAST(:resolveds AS timestamptz[]))
        AS t(id, response_at, resolution_at, sla_at, responded_at, resolved_at)
     WHERE tickets.id = t.id
""")
_EVENTS = text("""
    INSERT INTO events (org_id, ticket_id, kind, data)
    SELECT * FROM unnest(CAST(:orgs AS uuid[]), CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:datas AS jsonb[]))
""")
_COLUMNS = (
    "org_id", "ticket_id", "kind", "state", "policy_id", "policy_version", "target", "started_at", "warn_at", "due_at",
    "warned_at", "breached_at", "ended_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """A ticket's row, its ledger in order of time, and its clocks, as they are stored."""

    row: Row[Any]
    ledger: tuple[Interval, ...]
    clocks: Mapping[ClockKind, Clock]

    @property
    def facts(self) -> Facts:
        """What a policy may ask of it."""
        row = self.row
        return Facts(TicketPriority(row.priority), row.queue_id, row.mailbox_id, frozenset(row.tags))


@dataclass(frozen=True, slots=True)
class Dues:
    """What a ticket's own row repeats of its clocks."""

    response_at: datetime | None
    resolution_at: datetime | None
    #: What is due next; None while nothing runs.
    sla_at: datetime | None


@dataclass(frozen=True, slots=True)
class Made:
    """What is written for a new ticket."""

    org_id: UUID
    ticket_id: UUID
    ledger: Sequence[Interval]
    clocks: Sequence[Clock]
    told: Sequence[Told]


@dataclass(frozen=True, slots=True)
class Change:
    """What is written for one ticket: its ledger's move, the clocks that differ, what is told, its own columns."""

    org_id: UUID
    ticket_id: UUID
    moved: Moved
    clocks: Sequence[Clock]
    told: Sequence[Told]
    #: Due times, `responded_at` and `resolved_at`; None when they stay.
    columns: tuple[Dues, datetime | None, datetime | None] | None


def read(connection: Connection, ticket_ids: Collection[UUID], *, locks: bool = True) -> list[Standing]:
    """Return tickets with their clocks; whoever changes them holds the tickets' rows.

    The clocks are locked, so that a sweep that tells of one waits, or has told.
    """
    values = {"ids": list(ticket_ids)}
    clocks: dict[UUID, dict[ClockKind, Clock]] = {}
    for row in connection.execute(_CLOCKS_LOCKED if locks else _CLOCKS_SEEN, values):
        clock = clock_of(row)
        clocks.setdefault(row.ticket_id, {})[clock.kind] = clock
    ledgers = intervals_of(connection, ticket_ids)
    return [
        Standing(row, tuple(ledgers.get(row.id, ())), clocks.get(row.id, {}))
        for row in connection.execute(_TICKETS, values)
    ]


def fresh(connection: Connection, ticket_ids: Collection[UUID]) -> dict[UUID, Row[Any]]:
    """Return of the tickets that have no ledger yet when somebody first answered."""
    return {row.id: row for row in connection.execute(_FRESH, {"ids": list(ticket_ids)})}


def clock_of(row: Any) -> Clock:
    """Return a stored clock as a value."""
    return Clock(
        ClockKind(row.kind), ClockState(row.state), row.target, row.started_at, row.policy_id, row.policy_version,
        row.warn_at, row.due_at, row.warned_at, row.breached_at, row.ended_at,
    )  # fmt: skip


def intervals_of(connection: Connection, ticket_ids: Collection[UUID]) -> dict[UUID, list[Interval]]:
    """Return the ledgers of tickets, in order of time."""
    ledgers: dict[UUID, list[Interval]] = {}
    for row in connection.execute(_INTERVALS, {"ids": list(ticket_ids)}):
        interval = Interval(IntervalState(row.state), row.because, row.began_at, row.ended_at)
        ledgers.setdefault(row.ticket_id, []).append(interval)
    return ledgers


def dues(clocks: Sequence[Clock]) -> Dues:
    """Return what a ticket's own row says of its clocks."""
    by_kind = {one.kind: one for one in clocks}
    running = [one.due_at for one in clocks if one.state is ClockState.RUNNING and one.due_at is not None]
    return Dues(by_kind[ClockKind.RESPONSE].due_at, by_kind[ClockKind.RESOLUTION].due_at, min(running, default=None))


def insert(connection: Connection, made: Sequence[Made]) -> None:
    """Append the ledgers and clocks of new tickets (organization, ticket, both, what is told), by COPY."""
    clocks = [_clock_row(one.org_id, one.ticket_id, clock) for one in made for clock in one.clocks]
    copy_rows(connection, "ticket_clocks", _COLUMNS, clocks)
    intervals = [
        (one.org_id, one.ticket_id, part.state.value, part.because, part.began_at, part.ended_at)
        for one in made
        for part in one.ledger
    ]
    columns = ("org_id", "ticket_id", "state", "because", "began_at", "ended_at")
    copy_rows(connection, "clock_intervals", columns, intervals)
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "data"), _events(made))


def write(connection: Connection, changes: Sequence[Change]) -> None:
    """Write what differs; behind row security, too, where there is no COPY."""
    _write_ledgers(connection, changes)
    rows = [_clock_row(one.org_id, one.ticket_id, clock) for one in changes for clock in one.clocks]
    words: Sequence[str] = (
        "orgs", "ids", "kinds", "states", "policies", "versions", "targets", "started", "warns", "dues", "warned",
        "breached", "ended",
    )  # fmt: skip
    _execute(connection, _SET, words, rows)
    _execute(connection, _EVENTS, ("orgs", "ids", "kinds", "datas"), _events(changes))
    columns = [
        (one.ticket_id, kept[0].response_at, kept[0].resolution_at, kept[0].sla_at, kept[1], kept[2])
        for one in changes
        if (kept := one.columns) is not None
    ]
    names = ("ids", "responses", "resolutions", "slas", "respondeds", "resolveds")
    _execute(connection, _DENORMALIZE, names, columns)


def prepend(connection: Connection, org_id: UUID, ticket_id: UUID, interval: Interval) -> None:
    """Put an interval before a ledger."""
    row = (org_id, ticket_id, interval.state.value, interval.because, interval.began_at, interval.ended_at)
    _execute(connection, _ADD, ("orgs", "ids", "states", "becauses", "begans", "endeds"), [row])


def _events(changes: Sequence[Change | Made]) -> list[tuple[Any, ...]]:
    """Return the events of what is told because somebody looked before a sweep did."""
    return [(one.org_id, one.ticket_id, note.notice.value, _said(note)) for one in changes for note in one.told]


def _said(note: Told) -> str:
    return orjson.dumps({"clock": note.kind.value, "due_at": note.due_at.isoformat(), "noticed_by": "change"}).decode()


def _write_ledgers(connection: Connection, changes: Sequence[Change]) -> None:
    closed = [(one.ticket_id, one.moved.closes_at) for one in changes if one.moved.closes_at is not None]
    _execute(connection, _CLOSE, ("ids", "ats"), closed)
    added = [
        (one.org_id, one.ticket_id, new.state.value, new.because, new.began_at, new.ended_at)
        for one in changes
        for new in one.moved.added
    ]
    _execute(connection, _ADD, ("orgs", "ids", "states", "becauses", "begans", "endeds"), added)


def _clock_row(org_id: UUID, ticket_id: UUID, clock: Clock) -> tuple[Any, ...]:
    return (
        org_id, ticket_id, clock.kind.value, clock.state.value, clock.policy_id, clock.policy_version, clock.target,
        clock.started_at, clock.warn_at, clock.due_at, clock.warned_at, clock.breached_at, clock.ended_at,
    )  # fmt: skip


def _execute(connection: Connection, statement: Any, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        columns = list(zip(*rows, strict=True))
        connection.execute(statement, {name: list(column) for name, column in zip(names, columns, strict=True)})
