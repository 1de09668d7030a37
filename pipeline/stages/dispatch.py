"""Dispatch: the work order of a case, for the best team, due as the organization's policy says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import DispatchState
from models.lifecycle import AUTOMATIC_DISPATCH
from models.work_lifecycle import OPEN
from pipeline.core import dispatching
from pipeline.core.intakes import priority_of
from pipeline.core.order_following import PRIORITIES
from pipeline.core.orders import code_of
from pipeline.core.triage_policy import Dispatch
from pipeline.runtime import automatic_moves, mail_work, triage_policies
from pipeline.runtime.automatic_moves import Made, Moved
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.mail_work import MailWork
from pipeline.stage import Stage, Work, each

_LOAD = text(f"""
    SELECT c.id, c.org_id, c.priority_score, c.sla_hours, c.confidence, c.recommended_action, c.verification_required,
           c.asset_id, coalesce(nullif(a.name, ''), a.tag) AS asset, a.kind, a.zone, now() AS now,
           (SELECT l.ticket_id FROM signals s JOIN ticket_messages l ON l.message_id = s.message_id
             WHERE s.case_id = c.id ORDER BY s.at DESC, s.id DESC LIMIT 1) AS ticket_id
      FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.state = 'open'
       AND NOT EXISTS (SELECT FROM work_orders w WHERE w.case_id = c.id AND w.{OPEN})
     ORDER BY c.id FOR NO KEY UPDATE OF c
""")  # noqa: S608 - a constant
_TEAMS = text(f"""
    SELECT t.id, t.org_id, t.name, t.skills, t.zones, t.capacity, t.is_active,
           (SELECT count(*) FROM work_orders w WHERE w.team_id = t.id AND w.{OPEN}) AS load
      FROM teams t WHERE t.org_id = ANY(CAST(:orgs AS uuid[])) AND t.is_active ORDER BY t.id
""")  # noqa: S608 - a constant
#: Waits for a merge under way, and shows where it led.
_LOCK_TICKETS = text("""
    SELECT id, coalesce(merged_into, id) AS now_id FROM tickets
     WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE
""")
_INSERT = text(f"""
    INSERT INTO work_orders (org_id, case_id, ticket_id, team_id, due_at, choice, trace_id, title, priority, asset_id,
                             site_id)
    SELECT org, case_id, ticket, team, due_at, choice, trace, title, priority, asset,
           (SELECT k.site_id FROM tickets k WHERE k.id = ticket)
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:cases AS uuid[]), CAST(:tickets AS uuid[]), CAST(:teams AS uuid[]),
                  CAST(:due_ats AS timestamptz[]), CAST(:choices AS jsonb[]), CAST(:traces AS text[]),
                  CAST(:titles AS text[]), CAST(:priorities AS text[]), CAST(:assets AS uuid[]))
        AS t(org, case_id, ticket, team, due_at, choice, trace, title, priority, asset)
        ON CONFLICT (case_id) WHERE {OPEN} DO NOTHING
    RETURNING id, number, org_id, case_id, ticket_id, trace_id
""")  # noqa: S608 - a constant
_READY = text("""
    WITH locked AS (
        SELECT id, dispatch_state FROM tickets
         WHERE id = ANY(CAST(:ids AS uuid[])) AND dispatch_state IN ('NEW', 'TRIAGED')
         ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE tickets SET dispatch_state = 'READY_TO_SCHEDULE', version = version + 1
      FROM locked WHERE tickets.id = locked.id
    RETURNING tickets.id, tickets.org_id, locked.dispatch_state AS before
""")
_READY_STATE = DispatchState.READY_TO_SCHEDULE.value
_EVENT = text("""
    INSERT INTO events (org_id, ticket_id, kind, data, trace_id)
    VALUES (:org_id, :ticket_id, 'work_order.created', :data, :trace_id)
""")


@dataclass(frozen=True, slots=True)
class Request:
    """A case without open work, the rules of its organization, and the teams that could take it."""

    row: Any
    rules: Dispatch
    teams: tuple[dispatching.Team, ...]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Request]:
    """Return the open cases that have no open work order."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [UUID(job.key) for job in jobs]})}
    teams: dict[UUID, list[dispatching.Team]] = {}
    for team in connection.execute(_TEAMS, {"orgs": [row.org_id for row in rows.values()]}):
        teams.setdefault(team.org_id, []).append(_team(team))
    judges = triage_policies.judging(connection, [row.org_id for row in rows.values()])
    return {
        job.job_id: Request(row, judges[row.org_id].active.policy.dispatch, tuple(teams.get(row.org_id, ())))
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def _team(row: Any) -> dispatching.Team:
    skills, zones = frozenset(row.skills), frozenset(row.zones)
    return dispatching.Team(row.id, row.name, skills, zones, row.load, row.capacity, row.is_active)


def _choose(request: Request) -> dispatching.Choice | None:
    """Return the team; None while the policy wants a person to decide."""
    row = request.row
    if not dispatching.should_dispatch(row, request.rules)[0]:
        return None
    return dispatching.choose_team(request.teams, skill=row.kind or None, zone=row.zone)


def save(connection: Connection, works: Sequence[Work[Request, dispatching.Choice | None]]) -> Sequence[Emit]:
    """Create one work order per case; a second one is refused by the database."""
    chosen = [(done, done.result) for done in works if done.result is not None]
    if not chosen:
        return []
    tickets = _locked_tickets(connection, {done.item.row.ticket_id for done, _ in chosen})
    created = connection.execute(
        _INSERT,
        {
            "orgs": [done.item.row.org_id for done, _ in chosen],
            "cases": [done.item.row.id for done, _ in chosen],
            "tickets": [tickets.get(done.item.row.ticket_id) for done, _ in chosen],
            "teams": [choice.team_id for _, choice in chosen],
            "due_ats": [dispatching.due_at(done.item.row.now, done.item.row.sla_hours) for done, _ in chosen],
            "choices": [orjson.dumps([asdict(one) for one in choice.candidates]).decode() for _, choice in chosen],
            "traces": [done.job.trace_id for done, _ in chosen],
            "titles": [done.item.row.asset for done, _ in chosen],
            "priorities": [PRIORITIES[priority_of(done.item.row.sla_hours)].value for done, _ in chosen],
            "assets": [done.item.row.asset_id for done, _ in chosen],
        },
    ).all()
    if created:
        connection.execute(_EVENT, [_event(row) for row in created])
        _make_ready(connection, created, {done.item.row.id: done.item.row.sla_hours for done, _ in chosen})
    return []


def _make_ready(connection: Connection, created: Sequence[Any], hours: Mapping[UUID, int]) -> None:
    """Give the tickets of new work orders their field work, let them wait for a schedule, and record both."""
    orders = [row for row in created if row.ticket_id is not None]
    mail_work.begin(
        connection,
        [MailWork(row.ticket_id, row.case_id, priority_of(hours[row.case_id]), row.trace_id) for row in orders],
    )
    traces = {row.ticket_id: row.trace_id for row in reversed(orders)}
    ready = connection.execute(_READY, {"ids": list(traces)})
    moved = [Moved(row.org_id, row.id, row.before, _READY_STATE, traces[row.id]) for row in ready]
    made = [Made(row.org_id, row.id, row.ticket_id, row.case_id, row.trace_id) for row in created]
    automatic_moves.record(connection, moved, AUTOMATIC_DISPATCH, made)


def _locked_tickets(connection: Connection, wanted: set[UUID | None]) -> dict[UUID | None, UUID]:
    """Lock the tickets that work orders will hang on; one that was merged since leads to the ticket it is now."""
    places: dict[UUID | None, UUID] = {one: one for one in wanted if one is not None}
    while True:
        found = connection.execute(_LOCK_TICKETS, {"ids": list(places.values())})
        moved = {row.id: row.now_id for row in found if row.id != row.now_id}
        if not moved:
            return places
        places = {one: moved.get(place, place) for one, place in places.items()}


def _event(row: Any) -> dict[str, Any]:
    said = {"work_order_id": str(row.id), "code": code_of(row.number)}
    event = {"org_id": row.org_id, "ticket_id": row.ticket_id, "trace_id": row.trace_id}
    return {**event, "data": orjson.dumps(said).decode()}


STAGE = Stage(
    name="dispatch",
    about="The work order of a case, for the best team.",
    load=load,
    work=each(_choose),
    save=save,
    batch=50,
)
