"""The case that a command is about: who reaches it, found by its id or code, and locked after its asset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import CaseState
from models.queries import cases
from models.queries.case_scoping import case_condition
from models.queries.cases import Named
from models.queries.scoping import Reached
from pipeline.core.principals import Principal
from pipeline.core.triage_policy import TriagePolicy
from pipeline.core.written import read_id
from pipeline.runtime import case_rows, triage_policies

#: Its asset is locked, as for whoever else changes it.
_LOCK = """
    SELECT c.id, c.code, c.number, c.state, c.version, c.verification_required, c.sla_hours, c.recommended_action,
           a.tag, coalesce(nullif(a.name, ''), a.tag) AS asset, now() AS now, ({reached}) AS is_reached,
           EXISTS (SELECT FROM verification_tasks v WHERE v.case_id = c.id AND v.status = 'open') AS is_asked,
           (SELECT l.ticket_id FROM cases k JOIN signals s ON s.case_id = k.id
              JOIN ticket_messages l ON l.message_id = s.message_id
             WHERE k.asset_id = c.asset_id AND k.number = c.number ORDER BY s.at DESC, s.id DESC LIMIT 1) AS ticket_id
      FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.org_id = :org AND c.asset_id = :asset AND (CAST(:number AS int) IS NULL OR c.number = :number)
     ORDER BY c.number DESC, (c.mode = :mode) DESC LIMIT 1 FOR NO KEY UPDATE OF c
"""


@dataclass(frozen=True, slots=True)
class CaseTarget:
    """A locked case as its commands see it: the one that leads."""

    case_id: UUID
    org_id: UUID
    asset_id: UUID
    code: str
    number: int
    state: CaseState
    version: int
    #: The contract's `charger_id`, and what people call it.
    tag: str
    asset: str
    sla_hours: int
    recommended_action: str
    #: It waits for an answer, and somebody was asked.
    is_waiting: bool
    ticket_id: UUID | None
    now: datetime
    policy: TriagePolicy
    #: What the gates of one command looked up under its lock.
    known: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def reach(principal: Principal) -> Reached:
    """Return the condition on `cases c` and their `assets a` within the principal's reach, with its parameters."""
    scope = principal.scope
    if scope.ticket_id is not None:
        return "FALSE", {}
    return case_condition(
        reach=scope.reach,
        person_id=principal.person_id,
        account_ids=scope.account_ids,
        site_ids=scope.site_ids,
        team_id=scope.team_id,
    )


def find(connection: Connection, org_id: UUID, name: str) -> Named | None:
    """Return what an id or a code leads to."""
    return cases.named(connection, org_id, read_id(name) or name)


def lock(connection: Connection, principal: Principal, name: str) -> tuple[CaseTarget, bool] | None:
    """Lock the asset of a case, then the case that leads; None when there is none. Also says whether it is reached."""
    place = find(connection, principal.org_id, name)
    if place is None:
        return None
    case_rows.lock(connection, [place.asset_id])
    policy = triage_policies.active(connection, principal.org_id).policy
    condition, values = reach(principal)
    known = {
        "org": principal.org_id, "asset": place.asset_id, "number": place.number, "mode": policy.mode.value,
    }  # fmt: skip
    row = connection.execute(text(_LOCK.format(reached=condition)), {**values, **known}).one_or_none()
    if row is None:
        return None
    found = CaseTarget(
        case_id=row.id,
        org_id=principal.org_id,
        asset_id=place.asset_id,
        code=row.code,
        number=row.number,
        state=CaseState(row.state),
        version=row.version,
        tag=row.tag,
        asset=row.asset,
        sla_hours=row.sla_hours,
        recommended_action=row.recommended_action,
        is_waiting=row.verification_required and row.is_asked,
        ticket_id=row.ticket_id,
        now=row.now,
        policy=policy,
    )
    return found, row.is_reached
