"""Service levels for people: calendars, policies, and how many clocks stand how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

_CALENDARS = text("""
    SELECT id, name, timezone, hours, version, created_at,
           (SELECT count(*) FROM holidays h WHERE h.calendar_id = c.id) AS holidays
      FROM calendars c
     WHERE org_id = :org AND (CAST(:id AS uuid) IS NULL OR id = :id) ORDER BY name
""")
_HOLIDAYS = text("SELECT day, name FROM holidays WHERE org_id = :org AND calendar_id = :id ORDER BY day")
_POLICIES = text("""
    SELECT p.id, p.name, p.position, p.is_enabled, p.calendar_id, c.name AS calendar, p.conditions, p.targets, p.pauses,
           p.warning_minutes, p.version, p.created_at
      FROM sla_policies p LEFT JOIN calendars c ON c.id = p.calendar_id
     WHERE p.org_id = :org AND (CAST(:id AS uuid) IS NULL OR p.id = :id) ORDER BY p.position, p.id
""")
#: Bounded, each part along its index: of very many, those are counted that are due first, and of each status the newest
#: that stand still.
_OVERVIEW = """
    WITH open AS (
        (SELECT t.queue_id, t.priority, t.id FROM tickets t
          WHERE t.org_id = :org AND t.sla_due_at IS NOT NULL AND {condition}
          ORDER BY t.sla_due_at, t.id LIMIT :limit)
        UNION ALL
        SELECT n.queue_id, n.priority, n.id
          FROM unnest(ARRAY['new', 'open', 'pending']) AS s(status)
          CROSS JOIN LATERAL (
              SELECT t.queue_id, t.priority, t.id, t.sla_due_at FROM tickets t
               WHERE t.org_id = :org AND t.status = s.status AND {condition}
               ORDER BY t.last_activity_at DESC, t.id DESC LIMIT :limit) AS n
         WHERE n.sla_due_at IS NULL
    ), stood AS (
        SELECT o.queue_id, o.priority, c.kind,
               CASE WHEN c.state = 'paused' THEN 'paused' WHEN c.due_at < now() THEN 'breach'
                    WHEN c.warn_at <= now() THEN 'warning' ELSE 'healthy' END AS standing
          FROM open o JOIN ticket_clocks c ON c.ticket_id = o.id
         WHERE c.state IN ('running', 'paused')
    )
    SELECT s.queue_id, q.name AS queue, s.priority, s.kind, s.standing, count(*) AS clocks,
           (SELECT count(*) FROM open) AS tickets
      FROM stood s LEFT JOIN queues q ON q.id = s.queue_id
     GROUP BY s.queue_id, q.name, s.priority, s.kind, s.standing
     ORDER BY q.name NULLS LAST, s.queue_id, s.priority, s.kind, s.standing LIMIT 5000
"""
#: So many running tickets an overview counts, and so many of each open status it looks at.
MOST_COUNTED = 20_000


@dataclass(frozen=True, slots=True)
class CalendarRow:
    """A calendar; `hours` by weekday, Monday is 0, as it was written, and how many holidays it has."""

    id: UUID
    name: str
    timezone: str
    hours: Mapping[str, Sequence[Sequence[str]]]
    version: int
    created_at: datetime
    holidays: int


@dataclass(frozen=True, slots=True)
class Holiday:
    """A day on which nothing counts."""

    day: date
    name: str


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy with the name of its calendar; targets are minutes by priority."""

    id: UUID
    name: str
    position: int
    is_enabled: bool
    calendar_id: UUID | None
    calendar: str | None
    conditions: Mapping[str, Any]
    targets: Mapping[str, Mapping[str, int]]
    pauses: Sequence[str]
    warning_minutes: int
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Count:
    """So many clocks of a kind, of tickets of a queue (None: of no queue) and a priority, stand like this."""

    queue_id: UUID | None
    queue: str | None
    priority: str
    kind: str
    standing: str
    clocks: int


def calendars(connection: Connection, org_id: UUID, calendar_id: UUID | None = None) -> list[CalendarRow]:
    """Return an organization's calendars by name, or the one."""
    return [CalendarRow(**row) for row in connection.execute(_CALENDARS, {"org": org_id, "id": calendar_id}).mappings()]


def holidays(connection: Connection, org_id: UUID, calendar_id: UUID) -> list[Holiday]:
    """Return the holidays of a calendar, in order."""
    return [Holiday(**row) for row in connection.execute(_HOLIDAYS, {"org": org_id, "id": calendar_id}).mappings()]


def policies(connection: Connection, org_id: UUID, policy_id: UUID | None = None) -> list[PolicyRow]:
    """Return an organization's policies, the first to try first, or the one."""
    return [PolicyRow(**row) for row in connection.execute(_POLICIES, {"org": org_id, "id": policy_id}).mappings()]


def overview(connection: Connection, org_id: UUID, reach: tuple[str, Mapping[str, Any]]) -> tuple[list[Count], bool]:
    """Return how the clocks of open tickets within reach stand, and whether all were counted."""
    condition, values = reach
    statement = text(_OVERVIEW.format(condition=condition))
    rows = connection.execute(statement, {**values, "org": org_id, "limit": MOST_COUNTED}).all()
    counts = [Count(row.queue_id, row.queue, row.priority, row.kind, row.standing, row.clocks) for row in rows]
    return counts, not rows or rows[0].tickets < MOST_COUNTED
