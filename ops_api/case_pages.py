"""Pages of cases and of open questions: what an address asks for, and the cursor that goes on (contract 003)."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from models.enums import CaseState, TriageMode
from models.queries import cases
from models.queries.cases import Place
from ops_api.answers import Refusal
from ops_api.cursors import Cursors
from pipeline.core import case_answers
from pipeline.core.principals import Principal
from pipeline.core.written import plain
from pipeline.runtime import case_targets, triage_policies


class CaseQuery(BaseModel):
    """Which cases are asked for."""

    model_config = ConfigDict(extra="ignore")

    mode: TriageMode
    state: CaseState = CaseState.OPEN
    needs: Literal["verification"] | None = Field(default=None, description="Those that wait for an answer.")


def case_page(
    connection: Connection, session: Principal, cursors: Cursors, asked: CaseQuery, *, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return a page of cases within the reach of who asks. Raises `Refusal` for a strange cursor."""
    bound = {"list": "cases", "org": session.org_id, "who": session.actor_id, **asked.model_dump(mode="json")}
    place = cursors.read_place(cursor, bound)
    found = cases.listed(
        connection,
        session.org_id,
        asked.mode,
        asked.state,
        case_targets.reach(session),
        needs_verification=asked.needs is not None,
        after=None if place is None else Place(int(place["priority"]), str(place["code"])),
        limit=limit + 1,
    )
    more = None
    if len(found) > limit:
        last = found[limit - 1]
        more = cursors.make_place({"priority": last.priority_score, "code": last.code}, bound)
    listed = [case_answers.case(row) for row in found[:limit]]
    return {"mode": asked.mode, "cases": listed, "next_cursor": more}


def task_page(
    connection: Connection, session: Principal, cursors: Cursors, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return a page of open questions within the reach of who asks. Raises `Refusal` for a strange cursor."""
    bound = {"list": "verification-tasks", "org": session.org_id, "who": session.actor_id}
    place = cursors.read_place(cursor, bound)
    after = None if place is None else UUID(place["id"])
    found = cases.waiting(connection, session.org_id, case_targets.reach(session), after=after, limit=limit + 1)
    more = cursors.make_place({"id": str(found[limit - 1].id)}, bound) if len(found) > limit else None
    listed = [
        {
            **case_answers.task(row, row.case_code),
            "charger_id": row.charger_id,
            "priority_score": row.priority_score,
            "sla_hours": row.sla_hours,
            "created_at": plain(row.created_at),
        }
        for row in found[:limit]
    ]
    return {"verification_tasks": listed, "next_cursor": more}


def case_detail(connection: Connection, session: Principal, name: str, mode: TriageMode | None) -> dict[str, Any]:
    """Return a case with its history. Raises `Refusal` (404) when there is none within the reach of who asks."""
    place = case_targets.find(connection, session.org_id, name)
    lead = mode or triage_policies.active(connection, session.org_id).policy.mode
    row = place and cases.one(connection, session.org_id, place, lead, case_targets.reach(session))
    if not row or not row.is_reached:
        raise Refusal(404, "your organization has no such case", code="CASE_NOT_FOUND")
    found = cases.history(connection, row)
    return {
        "case": case_answers.case(row),
        "assessments": [_told(one) for one in found.assessments],
        "verification_tasks": [
            {
                **case_answers.task(one, one.case_code),
                "created_at": plain(one.created_at),
                "ended_at": plain(one.ended_at),
            }
            for one in found.tasks
        ],
        "outcomes": [_told(one) | {"task_id": one.task_code} for one in found.outcomes],
        "truths": [_told(one) for one in found.truths],
        "work_orders": [case_answers.work_order(one) for one in found.orders],
    }


def _told(row: Any) -> dict[str, Any]:
    return {name: plain(value) if name == "at" else value for name, value in row._asdict().items()}
