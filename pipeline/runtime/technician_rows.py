"""Technicians and jobs as matching and planning need them, each kind of fact by one statement for all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.technicians import IS_TECHNICIAN, MEMBERS
from pipeline.core.duty import Leave, Shift
from pipeline.core.field_work import Window
from pipeline.core.objectives import Familiar
from pipeline.core.technicians import Booked, Job, Place, Technician, skill_name
from pipeline.core.travel import position

#: Technicians of one organization that are looked at for one job.
MOST = 1_000
#: Checks of somebody's work that say how good it is, the latest.
_MOST_CHECKS = 20
#: How far before and after a job other visits matter: the way there, and that day.
_AROUND = timedelta(days=1)
_DAY = timedelta(days=1)

_MEMBERS = text(f"""
    SELECT m.person_id, p.full_name, m.skills, m.capacity, coalesce(t.is_available, true) AS is_available,
           coalesce(t.zones, '{{}}') AS zones, t.home_lat, t.home_lon, t.most_visits, {IS_TECHNICIAN} AS is_technician
      {MEMBERS}
     WHERE m.org_id = :org
       AND CASE WHEN CAST(:only AS uuid[]) IS NOT NULL THEN m.person_id = ANY(CAST(:only AS uuid[]))
                ELSE m.person_id = CAST(:also AS uuid) OR {IS_TECHNICIAN} END
     ORDER BY m.person_id IS NOT DISTINCT FROM CAST(:also AS uuid) DESC, m.person_id LIMIT :most
""")  # noqa: S608 - conditions from `models.queries.technicians`
_CERTIFICATES = text("""
    SELECT person_id, name, valid_until FROM certificates
     WHERE org_id = :org AND person_id = ANY(CAST(:people AS uuid[]))
""")
_SHIFTS = text("""
    SELECT person_id, weekday, begins, ends, timezone FROM shifts
     WHERE org_id = :org AND person_id = ANY(CAST(:people AS uuid[])) ORDER BY person_id, weekday, begins, id
""")
_LEAVES = text("""
    SELECT person_id, begins_at, ends_at FROM leaves
     WHERE org_id = :org AND person_id = ANY(CAST(:people AS uuid[])) AND ends_at > :begins AND begins_at < :ends
     ORDER BY person_id, begins_at, id
""")
#: A visit takes a day at most.
_VISITS = text("""
    SELECT v.technician_id AS person_id, v.ticket_id, v.starts_at, v.ends_at, t.site_id, v.state = 'done' AS is_done,
           CASE WHEN s.lat IS NULL THEN a.lat ELSE s.lat END AS lat,
           CASE WHEN s.lat IS NULL THEN a.lon ELSE s.lon END AS lon
      FROM visits v
      JOIN tickets t ON t.id = v.ticket_id
      LEFT JOIN sites s ON s.id = t.site_id
      LEFT JOIN dispatches d ON d.ticket_id = t.id
      LEFT JOIN assets a ON a.id = d.asset_id
     WHERE v.org_id = :org AND v.technician_id = ANY(CAST(:people AS uuid[]))
       AND v.starts_at > CAST(:begins AS timestamptz) - interval '1 day' AND v.starts_at < :ends AND v.ends_at > :begins
       AND v.state <> 'cancelled'
     ORDER BY v.technician_id, v.starts_at, v.id
""")
#: What they were sent to and have not finished, and what is booked for them.
_OPEN = text("""
    SELECT a.technician_id AS person_id, a.ticket_id
      FROM assignments a JOIN tickets t ON t.id = a.ticket_id
     WHERE a.org_id = :org AND a.technician_id = ANY(CAST(:people AS uuid[])) AND a.ended_at IS NULL
       AND t.dispatch_state IN ('DISPATCHED', 'ON_SITE', 'IN_PROGRESS', 'ON_HOLD', 'APPROVAL_REQUIRED')
     UNION
    SELECT v.technician_id, v.ticket_id FROM visits v JOIN tickets t ON t.id = v.ticket_id
     WHERE v.org_id = :org AND v.technician_id = ANY(CAST(:people AS uuid[]))
       AND v.starts_at > now() - interval '7 days' AND v.state IN ('booked', 'under_way')
       AND t.dispatch_state <> 'COMPLETED_PENDING_VERIFICATION'
""")
_CHECKS = text("""
    SELECT p.person_id, count(*) AS checks, count(*) FILTER (WHERE q.result = 'PASS') AS passes
      FROM unnest(CAST(:people AS uuid[])) AS p(person_id)
      CROSS JOIN LATERAL (SELECT result FROM qa_checks
                           WHERE technician_id = p.person_id AND org_id = :org ORDER BY id DESC LIMIT :most) q
     GROUP BY p.person_id
""")
#: Visits long ago are no continuity; each technician's are found by their calendar.
_FAMILIAR = text("""
    SELECT person_id, min(rank) AS rank FROM (
        SELECT technician_id AS person_id, 0 AS rank FROM assignments WHERE ticket_id = :ticket AND org_id = :org
         UNION ALL
        SELECT v.technician_id, CASE WHEN d.asset_id = CAST(:asset AS uuid) THEN 1 ELSE 2 END
          FROM visits v
          JOIN tickets t ON t.id = v.ticket_id
          LEFT JOIN dispatches d ON d.ticket_id = v.ticket_id
         WHERE v.org_id = :org AND v.technician_id = ANY(CAST(:people AS uuid[])) AND v.ticket_id <> :ticket
           AND v.starts_at BETWEEN now() - interval '180 days' AND now() AND v.state = 'done'
           AND (d.asset_id = CAST(:asset AS uuid) OR t.site_id = CAST(:site AS uuid))
    ) found GROUP BY person_id
""")
_RANKS = (Familiar.TICKET, Familiar.ASSET, Familiar.SITE)
_JOBS = text("""
    SELECT t.id, now() AS now, coalesce(s.timezone, 'UTC') AS timezone, coalesce(s.zone, a.zone) AS zone, t.site_id,
           CASE WHEN s.lat IS NULL THEN a.lat ELSE s.lat END AS lat,
           CASE WHEN s.lat IS NULL THEN a.lon ELSE s.lon END AS lon,
           d.due_at, d.incident_type, d.scheduled_start, d.scheduled_end,
           coalesce(i.skills, '{}') AS skills, coalesce(i.certificates, '{}') AS certificates,
           coalesce(i.visit_minutes, 60) AS visit_minutes
      FROM tickets t
      LEFT JOIN dispatches d ON d.ticket_id = t.id
      LEFT JOIN sites s ON s.id = t.site_id
      LEFT JOIN assets a ON a.id = d.asset_id
      LEFT JOIN incident_templates i ON i.id = d.template_id
     WHERE t.org_id = :org AND t.id = ANY(CAST(:tickets AS uuid[]))
""")


def technicians(
    connection: Connection,
    org_id: UUID,
    around: Window,
    *,
    only: Collection[UUID] | None = None,
    also: UUID | None = None,
) -> list[Technician]:
    """Return an organization's technicians with their duty and visits around a time, at most `MOST`, by id.

    `only` these members, or all who work in the field and `also` one who may not; who is no member is left out.
    """
    named = None if only is None else sorted(only)
    values = {"org": org_id, "only": named, "also": also, "most": MOST}
    members = connection.execute(_MEMBERS, values).all()
    facts = _facts(connection, org_id, [row.person_id for row in members], around)
    found = [_technician(row, facts) for row in members]
    return sorted(found, key=lambda one: one.person_id)


def familiar(
    connection: Connection, org_id: UUID, job: Job, asset_id: UUID | None, people: Collection[UUID]
) -> Mapping[UUID, Familiar]:
    """Return who of these was at a job's ticket, asset or site before: what is nearest, for each."""
    values = {"org": org_id, "ticket": job.ticket_id, "asset": asset_id, "site": job.place.site_id}
    found = connection.execute(_FAMILIAR, values | {"people": sorted(people)})
    return {row.person_id: _RANKS[row.rank] for row in found}


def jobs(connection: Connection, org_id: UUID, ticket_ids: Collection[UUID]) -> dict[UUID, Job]:
    """Return what matching needs to know of tickets, by ticket; of those without field work, too."""
    found = connection.execute(_JOBS, {"org": org_id, "tickets": sorted(ticket_ids)})
    return {row.id: _job(row) for row in found}


def around(job: Job) -> Window:
    """Return the time in which a technician's other work matters for a job: its day and those beside it."""
    window = job.window or Window(job.now, job.now + _DAY)
    return Window(window.starts_at - _AROUND, window.ends_at + _AROUND)


Facts = Mapping[str, Mapping[UUID, Sequence[Row[Any]]]]


def _facts(connection: Connection, org_id: UUID, people: Sequence[UUID], window: Window) -> Facts:
    """Return rows of every kind by person."""
    values = {"org": org_id, "people": list(people), "begins": window.starts_at, "ends": window.ends_at}
    statements = {
        "certificates": _CERTIFICATES,
        "shifts": _SHIFTS,
        "leaves": _LEAVES,
        "visits": _VISITS,
        "open": _OPEN,
        "checks": _CHECKS,
    }
    found: dict[str, Mapping[UUID, Sequence[Row[Any]]]] = {}
    for kind, statement in statements.items():
        by_person: dict[UUID, list[Row[Any]]] = defaultdict(list)
        for row in connection.execute(statement, values | {"most": _MOST_CHECKS}):
            by_person[row.person_id].append(row)
        found[kind] = by_person
    return found


def _technician(row: Row[Any], facts: Facts) -> Technician:
    def of(kind: str) -> Sequence[Row[Any]]:
        return facts[kind].get(row.person_id, ())

    (checks, passes) = next(((one.checks, one.passes) for one in of("checks")), (0, 0))
    return Technician(
        person_id=row.person_id,
        name=row.full_name,
        is_technician=row.is_technician,
        is_available=row.is_available,
        skills=frozenset(skill_name(one) for one in row.skills),
        zones=frozenset(row.zones),
        certificates=MappingProxyType({one.name.lower(): one.valid_until for one in of("certificates")}),
        shifts=tuple(Shift(one.weekday, one.begins, one.ends, one.timezone) for one in of("shifts")),
        leaves=tuple(Leave(one.begins_at, one.ends_at) for one in of("leaves")),
        visits=tuple(_booked(one) for one in of("visits") if not one.is_done),
        visited_at=tuple(one.starts_at for one in of("visits") if one.is_done),
        home=position(row.home_lat, row.home_lon),
        capacity=row.capacity,
        most_visits=row.most_visits,
        open_tickets=frozenset(one.ticket_id for one in of("open")),
        checks=checks,
        passes=passes,
    )


def _booked(row: Row[Any]) -> Booked:
    return Booked(row.ticket_id, row.starts_at, row.ends_at, Place(row.site_id, position(row.lat, row.lon)))


def _job(row: Row[Any]) -> Job:
    return Job(
        ticket_id=row.id,
        now=row.now,
        window=_window(row.scheduled_start, row.scheduled_end),
        timezone=row.timezone,
        due_at=row.due_at,
        incident_type=row.incident_type,
        skills=frozenset(row.skills),
        certificates=frozenset(row.certificates),
        zone=row.zone,
        place=Place(row.site_id, position(row.lat, row.lon)),
        visit=timedelta(minutes=row.visit_minutes),
    )


def _window(starts_at: datetime | None, ends_at: datetime | None) -> Window | None:
    return None if starts_at is None or ends_at is None else Window(starts_at, ends_at)
