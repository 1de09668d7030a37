"""Levels in the database: where somebody stands, and the judgement of a week over all technicians of a workshop.

Whoever judges, or sets a level by hand, holds the rows of `levels`; what is in force is read from these alone and not
from the history (seed-behaviours, 3.8.13). A week is judged once per person, however often it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import LevelSource, LevelStatus
from models.queries.workshop_people import IS_TECHNICIAN
from pipeline.core.levels import WEEK, Standing, Verdict, bounded, coupon_reference, judge
from pipeline.core.pause_budget import first_moment
from pipeline.core.workshop_rules import Rules

_WEEKS = """
    unnest(CAST(:orgs AS uuid[]), CAST(:weeks AS date[]), CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]))
        AS w(org_id, week_start, since_at, until_at)
"""
#: Who joined after a week was not there to miss its target.
_TECHNICIANS = f"""
    {_WEEKS} JOIN memberships m ON m.org_id = w.org_id AND m.created_at < w.until_at AND {IS_TECHNICIAN}
"""
_ENSURE = text(f"""
    INSERT INTO levels (org_id, person_id) SELECT m.org_id, m.person_id FROM {_TECHNICIANS}
     ORDER BY m.org_id, m.person_id ON CONFLICT DO NOTHING
""")  # noqa: S608 - conditions from above
_LOCK = text(f"""
    SELECT l.person_id FROM levels l
     WHERE (l.org_id, l.person_id) IN (SELECT m.org_id, m.person_id FROM {_TECHNICIANS})
     ORDER BY l.org_id, l.person_id FOR UPDATE
""")  # noqa: S608 - conditions from above
#: A statement after the lock: who was judged meanwhile is seen. Weeks are judged in order, so one before the newest is
#: over for good: what stood then is not known any more.
_READ = text(f"""
    SELECT l.org_id, l.person_id, l.level, l.is_warned, coalesce(x.week_xp, 0) AS week_xp,
           coalesce(x.total_xp, 0) AS total_xp
      FROM {_TECHNICIANS} JOIN levels l ON l.org_id = m.org_id AND l.person_id = m.person_id
      LEFT JOIN LATERAL (
          SELECT sum(x.amount) FILTER (WHERE x.created_at >= w.since_at) AS week_xp, sum(x.amount) AS total_xp
            FROM xp_transactions x
           WHERE x.org_id = l.org_id AND x.person_id = l.person_id AND x.created_at < w.until_at
      ) x ON true
     WHERE NOT EXISTS (SELECT FROM level_events e
                        WHERE e.org_id = l.org_id AND e.person_id = l.person_id AND e.week_start >= w.week_start)
     ORDER BY l.org_id, l.person_id
""")  # noqa: S608 - conditions from above
_EVENTS = text("""
    INSERT INTO level_events (org_id, person_id, status, source, week_start, week_xp, total_xp, from_level, to_level,
                              reason, created_by)
    SELECT * FROM unnest(CAST(:orgs AS uuid[]), CAST(:people AS uuid[]), CAST(:statuses AS text[]),
                         CAST(:sources AS text[]), CAST(:weeks AS date[]), CAST(:week_xp AS int[]),
                         CAST(:total_xp AS int[]), CAST(:before AS smallint[]), CAST(:after AS smallint[]),
                         CAST(:reasons AS text[]), CAST(:by AS text[]))
""")
_SET = text("""
    UPDATE levels SET level = s.level, is_warned = s.is_warned
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:people AS uuid[]), CAST(:levels AS smallint[]),
                  CAST(:warned AS boolean[])) AS s(org_id, person_id, level, is_warned)
     WHERE levels.org_id = s.org_id AND levels.person_id = s.person_id
""")
_COUPONS = text("""
    INSERT INTO level_coupons (org_id, person_id, reference, amount, currency)
    SELECT * FROM unnest(CAST(:orgs AS uuid[]), CAST(:people AS uuid[]), CAST(:references AS text[]),
                         CAST(:amounts AS bigint[]), CAST(:currencies AS text[]))
        ON CONFLICT (org_id, reference) DO NOTHING
""")
_ENSURE_ONE = text("INSERT INTO levels (org_id, person_id) VALUES (:org, :person) ON CONFLICT DO NOTHING")
_LOCK_ONE = text("SELECT level, is_warned FROM levels WHERE org_id = :org AND person_id = :person FOR UPDATE")
#: Where points were ever given and somebody is to be judged, with the newest week that anybody was judged for; where
#: that never was, with the first points.
_WORKSHOPS = text(f"""
    SELECT o.id AS org_id, now() AS now, e.judged,
           CASE WHEN e.judged IS NULL
                THEN (SELECT min(x.created_at) FROM xp_transactions x WHERE x.org_id = o.id) END AS begun_at
      FROM organizations o
     CROSS JOIN LATERAL (SELECT max(e.week_start) AS judged FROM level_events e WHERE e.org_id = o.id) e
     WHERE EXISTS (SELECT FROM xp_transactions x WHERE x.org_id = o.id)
       AND EXISTS (SELECT FROM memberships m WHERE m.org_id = o.id AND {IS_TECHNICIAN})
     ORDER BY o.id
""")  # noqa: S608 - a condition from a module of ours


@dataclass(frozen=True, slots=True)
class Week:
    """One week of one workshop, with the rules by which it is judged."""

    org_id: UUID
    week_start: date
    rules: Rules

    @property
    def since(self) -> datetime:
        """Its first moment."""
        return first_moment(self.week_start, self.rules.work_session.zone)

    @property
    def until(self) -> datetime:
        """The first moment after it."""
        return first_moment(self.week_start + WEEK, self.rules.work_session.zone)


@dataclass(frozen=True, slots=True)
class Event:
    """One row of somebody's history."""

    org_id: UUID
    person_id: UUID
    status: LevelStatus
    source: LevelSource
    total_xp: int
    before: int
    after: int
    by: str
    reason: str = ""
    week_start: date | None = None
    week_xp: int | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Somebody's week."""

    week: Week
    event: Event
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Workshop:
    """An organization whose weeks are judged."""

    org_id: UUID
    now: datetime
    #: The newest week that anybody was judged for, and when the first points were given where there is none.
    judged: date | None
    begun_at: datetime | None


def workshops(connection: Connection) -> list[Workshop]:
    """Return the organizations that have something to judge."""
    return [Workshop(row.org_id, row.now, row.judged, row.begun_at) for row in connection.execute(_WORKSHOPS)]


def evaluate(connection: Connection, weeks: Sequence[Week], by: str) -> list[Judged]:
    """Judge weeks that are over, older ones first; return what came of it, without those who were judged before."""
    in_order = sorted(weeks, key=lambda one: (one.week_start, one.org_id))
    return [
        judged
        for _, group in groupby(in_order, key=lambda one: one.week_start)
        for judged in _evaluate(connection, list(group), by)
    ]


def job_key(org_id: UUID, week_start: date) -> str:
    """Return what the job that judges a week is called: one for all who ask for it."""
    return f"{org_id}:{week_start.isoformat()}"


def lock(connection: Connection, org_id: UUID, person_id: UUID) -> Standing:
    """Lock where somebody stands and return it; who never was anywhere stands at the beginning."""
    values = {"org": org_id, "person": person_id}
    connection.execute(_ENSURE_ONE, values)
    row = connection.execute(_LOCK_ONE, values).one()
    return Standing(row.level, row.is_warned)


def put(connection: Connection, org_id: UUID, person_id: UUID, standing: Standing, events: Sequence[Event]) -> None:
    """Set where somebody stands, whose row is locked, and keep how that came about."""
    values = {"orgs": [org_id], "people": [person_id], "levels": [standing.level], "warned": [standing.is_warned]}
    connection.execute(_SET, values)
    _keep(connection, events)


def _evaluate(connection: Connection, weeks: Sequence[Week], by: str) -> list[Judged]:
    values = {
        "orgs": [one.org_id for one in weeks],
        "weeks": [one.week_start for one in weeks],
        "since": [one.since for one in weeks],
        "until": [one.until for one in weeks],
    }
    connection.execute(_ENSURE, values)
    connection.execute(_LOCK, values)
    by_org = {one.org_id: one for one in weeks}
    found = [_judged(by_org[row.org_id], row, by) for row in connection.execute(_READ, values)]
    if found:
        _keep(connection, [one.event for one in found])
        _save(connection, found)
    return found


def _judged(week: Week, row: Any, by: str) -> Judged:
    verdict = judge(Standing(row.level, row.is_warned), row.week_xp, row.total_xp, week.rules.progression)
    event = Event(
        org_id=row.org_id,
        person_id=row.person_id,
        status=verdict.status,
        source=LevelSource.WEEKLY,
        total_xp=bounded(row.total_xp),
        before=row.level,
        after=verdict.level,
        by=by,
        week_start=week.week_start,
        week_xp=bounded(row.week_xp),
    )
    return Judged(week, event, verdict)


def _save(connection: Connection, found: Sequence[Judged]) -> None:
    people = {"orgs": [one.event.org_id for one in found], "people": [one.event.person_id for one in found]}
    levels = [one.verdict.level for one in found]
    connection.execute(_SET, {**people, "levels": levels, "warned": [one.verdict.is_warned for one in found]})
    earned = [one for one in found if one.verdict.is_up]
    if earned:
        values = {
            "orgs": [one.event.org_id for one in earned],
            "people": [one.event.person_id for one in earned],
            "references": [coupon_reference(one.week.week_start, one.event.person_id) for one in earned],
            "amounts": [one.week.rules.progression.weekly_coupon_amount for one in earned],
            "currencies": [one.week.rules.progression.currency for one in earned],
        }
        connection.execute(_COUPONS, values)


def _keep(connection: Connection, events: Sequence[Event]) -> None:
    values = {
        "orgs": [one.org_id for one in events],
        "people": [one.person_id for one in events],
        "statuses": [one.status.value for one in events],
        "sources": [one.source.value for one in events],
        "weeks": [one.week_start for one in events],
        "week_xp": [one.week_xp for one in events],
        "total_xp": [one.total_xp for one in events],
        "before": [one.before for one in events],
        "after": [one.after for one in events],
        "reasons": [one.reason for one in events],
        "by": [one.by for one in events],
    }
    connection.execute(_EVENTS, values)
