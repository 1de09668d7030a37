"""Day plans in the database: what is to be planned, read set-wise, and the plans as they are kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import DispatchPriority, DispatchState, PlanState
from pipeline.core.field_work import Window
from pipeline.core.plan_days import DayProblem, Frame, Wanted, day_problem
from pipeline.core.plans import Weights
from pipeline.core.technicians import Technician
from pipeline.runtime import technician_rows

#: Tickets of one plan at most.
MOST = 1_000
PLANNABLE = frozenset({DispatchState.READY_TO_SCHEDULE, DispatchState.SCHEDULE_PROPOSED, DispatchState.SCHEDULED})
#: A technician's work of the days beside it matters for a day: nights, and what is counted by day elsewhere.
_AROUND = timedelta(days=1)

_NOW = text("SELECT now()")
_COLUMNS = """
    t.id, t.code, t.version, t.dispatch_state, d.priority, d.asset_id, t.site_id, d.scheduled_start, d.scheduled_end,
    t.dispatch_state IN ('READY_TO_SCHEDULE', 'SCHEDULE_PROPOSED', 'SCHEDULED')
        AND t.status <> 'merged' AND NOT EXISTS (
            SELECT FROM visits v WHERE v.ticket_id = t.id AND v.state IN ('booked', 'under_way')
                                   AND v.technician_id IS NOT NULL) AS is_plannable
"""
_NAMED = text(f"""
    SELECT {_COLUMNS} FROM tickets t JOIN dispatches d ON d.ticket_id = t.id
     WHERE t.org_id = :org AND t.id = ANY(CAST(:tickets AS uuid[]))
""")  # noqa: S608 - columns from above
#: Due by the end of the day, or offered or agreed for it; the most urgent first where there are too many.
_OF_DAY = text(f"""
    SELECT * FROM (
        SELECT {_COLUMNS}, d.due_at FROM dispatches d JOIN tickets t ON t.id = d.ticket_id
         WHERE d.org_id = :org AND d.queue_due_at IS NOT NULL AND CASE t.dispatch_state
               WHEN 'READY_TO_SCHEDULE' THEN d.queue_due_at < :ends
               WHEN 'SCHEDULED' THEN d.scheduled_start < :ends AND d.scheduled_end > :begins
               WHEN 'SCHEDULE_PROPOSED' THEN EXISTS (
                   SELECT FROM proposed_windows w
                    WHERE w.ticket_id = t.id AND w.starts_at < :ends AND w.ends_at > :begins)
               ELSE false END
    ) found WHERE is_plannable
     ORDER BY CASE priority WHEN 'EMERGENCY' THEN 0 WHEN 'URGENT' THEN 1 ELSE 2 END, due_at, id LIMIT :most
""")  # noqa: S608 - columns from above
_OFFERED = text("""
    SELECT ticket_id, starts_at, ends_at, technician_id FROM proposed_windows
     WHERE org_id = :org AND ticket_id = ANY(CAST(:tickets AS uuid[])) ORDER BY ticket_id, position
""")
#: Who was sent to a ticket before, or finished work on its asset or at its site within half a year.
_KNOWN = text("""
    WITH asked AS (
        SELECT t.id, t.site_id, d.asset_id FROM tickets t JOIN dispatches d ON d.ticket_id = t.id
         WHERE t.org_id = :org AND t.id = ANY(CAST(:tickets AS uuid[]))
    ), past AS (
        SELECT DISTINCT v.technician_id, v.ticket_id FROM visits v
         WHERE v.org_id = :org AND v.technician_id = ANY(CAST(:people AS uuid[])) AND v.state = 'done'
           AND v.starts_at BETWEEN now() - interval '180 days' AND now()
    ), places AS (
        SELECT DISTINCT p.technician_id, t.site_id, d.asset_id
          FROM past p JOIN tickets t ON t.id = p.ticket_id LEFT JOIN dispatches d ON d.ticket_id = p.ticket_id
    )
    SELECT a.id, s.technician_id FROM asked a JOIN assignments s ON s.ticket_id = a.id
     UNION SELECT a.id, p.technician_id FROM asked a JOIN places p ON p.site_id = a.site_id
     UNION SELECT a.id, p.technician_id FROM asked a JOIN places p ON p.asset_id = a.asset_id
""")
_KEEP = text("""
    INSERT INTO day_plans (org_id, day, asked, result, created_by)
    VALUES (:org, :day, CAST(:asked AS jsonb), CAST(:result AS jsonb), :by) RETURNING *
""")
_LOCK = text("SELECT * FROM day_plans WHERE org_id = :org AND id = :plan FOR UPDATE")
_READ = text("SELECT * FROM day_plans WHERE org_id = :org AND id = :plan")
_LIST = text("""
    SELECT id, org_id, day, state, asked, jsonb_build_object('summary', result -> 'summary') AS result, created_by,
           created_at, applied_at, applied_by
      FROM day_plans
     WHERE org_id = :org AND (CAST(:day AS date) IS NULL OR day = :day)
       AND (CAST(:before AS uuid) IS NULL OR id < :before)
     ORDER BY id DESC LIMIT :limit
""")
_APPLIED = text("""
    UPDATE day_plans SET state = 'applied', applied_at = now(), applied_by = :by WHERE id = :plan RETURNING *
""")
_LOCK_TICKETS = text("""
    SELECT id, code, version FROM tickets WHERE org_id = :org AND id = ANY(CAST(:tickets AS uuid[]))
     ORDER BY id FOR NO KEY UPDATE
""")
_NAMES = text("SELECT id, full_name FROM people WHERE id = ANY(CAST(:people AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is kept."""

    plan_id: UUID
    day: date
    state: PlanState
    asked: Mapping[str, Any]
    result: Mapping[str, Any]
    created_by: str
    created_at: datetime
    applied_at: datetime | None
    applied_by: str | None


class Unplannable(Exception):
    """Tickets cannot be planned: some are not there, others are not to be scheduled or have their technician."""

    def __init__(self, missing: Sequence[UUID], unfit: Sequence[tuple[UUID, str]]) -> None:
        super().__init__()
        self.missing, self.unfit = missing, unfit


def database_now(connection: Connection) -> datetime:
    """Return the database's time."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found


def wanted_of_day(connection: Connection, org_id: UUID, frame: Frame) -> list[Wanted]:
    """Return the tickets that are to be planned for a day, at most `MOST`."""
    values = {"org": org_id, "begins": frame.begins_at, "ends": frame.ends_at, "most": MOST}
    return _wanted(connection, org_id, connection.execute(_OF_DAY, values).all())


def wanted_named(connection: Connection, org_id: UUID, ticket_ids: Collection[UUID]) -> list[Wanted]:
    """Return these tickets. Raises `Unplannable`."""
    rows = connection.execute(_NAMED, {"org": org_id, "tickets": sorted(ticket_ids)}).all()
    missing = sorted(set(ticket_ids) - {row.id for row in rows})
    unfit = sorted((row.id, row.code) for row in rows if not row.is_plannable)
    if missing or unfit:
        raise Unplannable(missing, unfit)
    return _wanted(connection, org_id, rows)


def technicians(
    connection: Connection, org_id: UUID, around: Window, only: Collection[UUID] | None = None
) -> list[Technician]:
    """Return who may be planned for around a day."""
    around = Window(around.starts_at - _AROUND, around.ends_at + _AROUND)
    return technician_rows.technicians(connection, org_id, around, only=only)


def usual_timezone(people: Sequence[Technician]) -> str:
    """Return the time zone that most shifts are written in, the first by name of equals; UTC without any."""
    counts = Counter(shift.timezone for one in people for shift in one.shifts)
    return min(counts, key=lambda name: (-counts[name], name), default="UTC")


def problem(
    connection: Connection,
    org_id: UUID,
    frame: Frame,
    *,
    wanted: Sequence[Wanted],
    people: Sequence[Technician],
    weights: Weights,
) -> DayProblem:
    """Return the problem of a day, with who was where before."""
    values = {
        "org": org_id,
        "tickets": [one.asked.ticket_id for one in wanted],
        "people": [one.person_id for one in people],
    }
    known: dict[UUID, set[UUID]] = defaultdict(set)
    for ticket_id, person_id in connection.execute(_KNOWN, values):
        known[ticket_id].add(person_id)
    with_known = [replace(one, known=frozenset(known.get(one.asked.ticket_id, ()))) for one in wanted]
    return day_problem(frame, with_known, people, weights)


def keep(
    connection: Connection, org_id: UUID, day: date, *, asked: Mapping[str, Any], result: Mapping[str, Any], by: str
) -> Plan:
    """Keep a draft."""
    values = {
        "org": org_id,
        "day": day,
        "asked": orjson.dumps(asked).decode(),
        "result": orjson.dumps(result).decode(),
        "by": by,
    }
    return _plan(connection.execute(_KEEP, values).one())


def lock(connection: Connection, org_id: UUID, plan_id: UUID) -> Plan | None:
    """Return a plan and lock it; None when the organization has none such."""
    row = connection.execute(_LOCK, {"org": org_id, "plan": plan_id}).one_or_none()
    return None if row is None else _plan(row)


def read(connection: Connection, org_id: UUID, plan_id: UUID) -> Plan | None:
    """Return a plan; None when the organization has none such."""
    row = connection.execute(_READ, {"org": org_id, "plan": plan_id}).one_or_none()
    return None if row is None else _plan(row)


def listed(connection: Connection, org_id: UUID, *, day: date | None, before: UUID | None, limit: int) -> list[Plan]:
    """Return plans, the newest first, with the summary of their results alone."""
    values = {"org": org_id, "day": day, "before": before, "limit": limit}
    return [_plan(row) for row in connection.execute(_LIST, values)]


def applied(connection: Connection, plan_id: UUID, by: str) -> Plan:
    """Note that a plan was applied."""
    return _plan(connection.execute(_APPLIED, {"plan": plan_id, "by": by}).one())


def lock_tickets(connection: Connection, org_id: UUID, ticket_ids: Collection[UUID]) -> dict[UUID, tuple[str, int]]:
    """Lock tickets in the order of their ids; return the code and version of each."""
    rows = connection.execute(_LOCK_TICKETS, {"org": org_id, "tickets": sorted(ticket_ids)})
    return {row.id: (row.code, row.version) for row in rows}


def names(connection: Connection, person_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return people's names."""
    return {row.id: row.full_name for row in connection.execute(_NAMES, {"people": sorted(person_ids)})}


def _wanted(connection: Connection, org_id: UUID, rows: Sequence[Row[Any]]) -> list[Wanted]:
    ids = [row.id for row in rows]
    asked = technician_rows.jobs(connection, org_id, ids)
    offered: dict[UUID, list[Row[Any]]] = defaultdict(list)
    for window in connection.execute(_OFFERED, {"org": org_id, "tickets": ids}):
        offered[window.ticket_id].append(window)
    found = []
    for row in rows:
        windows, only = _windows(row, offered.get(row.id, ()))
        state, priority = DispatchState(row.dispatch_state), DispatchPriority(row.priority)
        found.append(Wanted(asked[row.id], row.code, row.version, state, priority, windows, only))
    return found


def _windows(row: Row[Any], offered: Sequence[Row[Any]]) -> tuple[tuple[Window, ...], UUID | None]:
    """Return when the customer may be visited, and whose free time that is where it is one technician's."""
    if row.dispatch_state == DispatchState.SCHEDULED and row.scheduled_start is not None:
        return (Window(row.scheduled_start, row.scheduled_end),), None
    if row.dispatch_state != DispatchState.SCHEDULE_PROPOSED:
        return (), None
    people = {one.technician_id for one in offered}
    only: UUID | None = people.pop() if len(people) == 1 else None
    return tuple(Window(one.starts_at, one.ends_at) for one in offered), only


def _plan(row: Row[Any]) -> Plan:
    return Plan(
        plan_id=row.id,
        day=row.day,
        state=PlanState(row.state),
        asked=row.asked,
        result=row.result,
        created_by=row.created_by,
        created_at=row.created_at,
        applied_at=row.applied_at,
        applied_by=row.applied_by,
    )
