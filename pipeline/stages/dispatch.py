"""Dispatch: the work order of a case, for the best team, due as the organization's policy says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.lifecycle import AUTOMATIC_DISPATCH
from models.work_lifecycle import OPEN
from pipeline.core import dispatching
from pipeline.core.triage_policy import TriagePolicy
from pipeline.runtime import automatic_moves, case_orders, case_rows, settling, triage_policies
from pipeline.runtime.case_orders import Wanted
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, each

_LOAD = text(f"""
    SELECT c.id, c.org_id, c.mode, c.priority_score, c.sla_hours, c.confidence, c.recommended_action,
           c.verification_required, coalesce(c.verified_result = 'confirmed_issue', false) AS is_confirmed,
           (SELECT max(s.at) FROM cases k JOIN signals s ON s.case_id = k.id
             WHERE k.asset_id = c.asset_id AND k.number = c.number AND s.status = 'online' AND s.at > c.verified_at)
               AS contradicted_at, (SELECT max(n.at) FROM signals n WHERE n.asset_id = c.asset_id) AS newest_at,
           c.asset_id, coalesce(nullif(a.name, ''), a.tag) AS asset, a.kind, a.zone, now() AS now,
           (SELECT l.ticket_id FROM signals s JOIN ticket_messages l ON l.message_id = s.message_id
             WHERE s.case_id = c.id ORDER BY s.at DESC, s.id DESC LIMIT 1) AS ticket_id
      FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.state = 'open'
       AND NOT EXISTS (SELECT FROM cases k JOIN work_orders w ON w.case_id = k.id AND w.{OPEN}
                        WHERE k.asset_id = c.asset_id AND k.number = c.number)
     ORDER BY c.id
""")  # noqa: S608 - a constant
_TEAMS = text(f"""
    SELECT t.id, t.org_id, t.name, t.skills, t.zones, t.capacity, t.is_active,
           (SELECT count(*) FROM work_orders w WHERE w.team_id = t.id AND w.{OPEN}) AS load
      FROM teams t WHERE t.org_id = ANY(CAST(:orgs AS uuid[])) AND t.is_active ORDER BY t.id
""")  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Request:
    """A case without open work, the policy of its organization, and the teams that could take it."""

    row: Any
    policy: TriagePolicy
    teams: tuple[dispatching.Team, ...]

    @property
    def is_confirmed(self) -> bool:
        """Whether a person confirmed it, and nothing that counts as evidence says the contrary since (decision 48)."""
        row = self.row
        is_forgotten = row.contradicted_at is None or row.contradicted_at < row.newest_at - self.policy.evidence.reach
        return bool(row.is_confirmed and is_forgotten)


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Request]:
    """Lock the assets of the cases; return those that are open, lead, and whose trouble has no open work order.

    The one that led before the policy's mode changed asks for nobody any more: when the other one does, it says so.
    """
    case_ids = [UUID(job.key) for job in jobs]
    case_rows.lock(connection, settling.assets_of(connection, case_ids).values())
    found = connection.execute(_LOAD, {"ids": case_ids}).all()
    judges = triage_policies.judging(connection, [row.org_id for row in found])
    rows = {str(row.id): row for row in found if row.mode == judges[row.org_id].active.policy.mode}
    teams: dict[UUID, list[dispatching.Team]] = {}
    for team in connection.execute(_TEAMS, {"orgs": [row.org_id for row in rows.values()]}):
        teams.setdefault(team.org_id, []).append(_team(team))
    return {
        job.job_id: Request(row, judges[row.org_id].active.policy, tuple(teams.get(row.org_id, ())))
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def _team(row: Any) -> dispatching.Team:
    skills, zones = frozenset(row.skills), frozenset(row.zones)
    return dispatching.Team(row.id, row.name, skills, zones, row.load, row.capacity, row.is_active)


def _choose(request: Request) -> dispatching.Choice | None:
    """Return the team; None while the policy wants a person to decide."""
    row, rules = request.row, request.policy.dispatch
    if not dispatching.should_dispatch(row, rules, is_confirmed=request.is_confirmed)[0]:
        return None
    return dispatching.choose_team(request.teams, skill=row.kind or None, zone=row.zone)


def save(connection: Connection, works: Sequence[Work[Request, dispatching.Choice | None]]) -> Sequence[Emit]:
    """Create one work order per case; a second one is refused by the database."""
    wanted = [_wanted(done, done.result) for done in works if done.result is not None]
    begun = case_orders.begin(connection, wanted)
    automatic_moves.record(connection, begun.moved, AUTOMATIC_DISPATCH, begun.made)
    return []


def _wanted(done: Work[Request, Any], choice: dispatching.Choice) -> Wanted:
    row = done.item.row
    return Wanted(
        org_id=row.org_id,
        case_id=row.id,
        ticket_id=row.ticket_id,
        asset_id=row.asset_id,
        asset=row.asset,
        sla_hours=row.sla_hours,
        team_id=choice.team_id,
        due_at=dispatching.due_at(row.now, row.sla_hours),
        choice=[asdict(one) for one in choice.candidates],
        trace_id=done.job.trace_id,
    )


STAGE = Stage(
    name="dispatch",
    about="The work order of a case, for the best team.",
    load=load,
    work=each(_choose),
    save=save,
    batch=50,
)
