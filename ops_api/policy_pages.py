"""Pages of policies of triage and of what a shadow says otherwise, and what they are answered with."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from models.enums import PolicyState, RecommendedAction
from models.queries import policy_differences
from models.queries.policy_differences import Place, Shadow
from ops_api.answers import Refusal
from ops_api.cursors import Cursors
from pipeline.commands.triage_policies import body_of
from pipeline.core.triage_policy import difference
from pipeline.runtime import triage_policies
from pipeline.runtime.triage_policies import Kept


class TriagePolicyAnswer(BaseModel):
    """One version of the policy of triage."""

    version: int = Field(description="0 is the built-in one.")
    state: PolicyState
    policy: dict[str, Any] = Field(description="Every rule, by part.")
    checksum: str = Field(description="SHA-256, as hex, as it was when it was written.")
    diff: dict[str, dict[str, Any]] = Field(description="By rule, what it changed of what was in force then.")
    reason: str
    source_version: int | None = Field(description="Of a rollback: what it copies.")
    created_by: str
    created_at: datetime | None
    shadowed_at: datetime | None
    activated_at: datetime | None
    activated_by: str | None
    retired_at: datetime | None


class TriagePolicyDetail(TriagePolicyAnswer):
    """One version beside the one that is in force now."""

    active_version: int
    to_active: dict[str, dict[str, Any]] = Field(description="By rule, `before` as it is in force, `after` as here.")


class TriagePolicyList(BaseModel):
    """One page, the newest first."""

    items: list[TriagePolicyAnswer]
    active_version: int
    next_cursor: str | None = Field(description="Null on the last page.")


class ActionCount(BaseModel):
    """How many open cases have these two actions."""

    action: RecommendedAction = Field(description="By the policy in force.")
    shadow_action: RecommendedAction
    cases: int


class CaseDifference(BaseModel):
    """One open case that the shadow would treat otherwise."""

    case_id: str = Field(description="Its code.")
    charger_id: str
    priority_score: int
    confidence: float
    sla_hours: int
    recommended_action: RecommendedAction
    shadow_priority_score: int
    shadow_confidence: float
    shadow_sla_hours: int
    shadow_recommended_action: RecommendedAction
    at: datetime = Field(description="When the shadow said so.")


class PolicyDifferences(BaseModel):
    """What the shadow says of open cases."""

    version: int
    active_version: int
    counts: list[ActionCount] = Field(description="Of all that it has spoken of, those alike too.")
    waiting: int = Field(description="Open cases that it has said nothing of yet.")
    items: list[CaseDifference]
    next_cursor: str | None = Field(description="Null on the last page.")


def policy_page(
    connection: Connection, org_id: UUID, cursors: Cursors, *, limit: int, cursor: str | None
) -> tuple[dict[str, Any], int]:
    """Return a page of versions, and which is in force. Raises `Refusal` for a strange cursor."""
    bound = {"list": "triage policies", "org": org_id}
    before = cursors.read(cursor, bound)
    found = triage_policies.page(connection, org_id, before=before, limit=limit + 1)
    more = cursors.make(found[limit - 1].number, bound) if len(found) > limit else None
    active = triage_policies.active(connection, org_id).number
    return {"items": [body_of(one) for one in found[:limit]], "active_version": active, "next_cursor": more}, active


def policy_detail(connection: Connection, org_id: UUID, number: int) -> dict[str, Any]:
    """Return a version and what it changes of the one in force. Raises `Refusal` (404) when there is none."""
    kept, active = _kept(connection, org_id, number), triage_policies.active(connection, org_id)
    compared = {"active_version": active.number, "to_active": difference(active.policy, kept.policy)}
    return body_of(kept) | compared


def differences(
    connection: Connection, org_id: UUID, cursors: Cursors, number: int, *, limit: int, cursor: str | None
) -> dict[str, Any]:
    """Return what the version in the shadow says otherwise. Raises `Refusal` for one that is not there (409)."""
    kept, active = _kept(connection, org_id, number), triage_policies.active(connection, org_id)
    if kept.state is not PolicyState.SHADOW or kept.policy_id is None or kept.shadowed_at is None:
        raise Refusal(409, f"version {number} is not in the shadow, so it says nothing of cases", code="NOT_SHADOW")
    shadow = Shadow(org_id, kept.policy_id, kept.shadowed_at, active.policy.mode)
    bound = {"list": "triage differences", "org": org_id, "version": number, "since": kept.shadowed_at}
    place = cursors.read_place(cursor, bound)
    after = None if place is None else Place(datetime.fromisoformat(place["at"]), UUID(place["case"]))
    found = policy_differences.page(connection, shadow, after=after, limit=limit + 1)
    more = None
    if len(found) > limit:
        last = found[limit - 1]
        more = cursors.make_place({"at": last.at.isoformat(), "case": str(last.id)}, bound)
    return {
        "version": number,
        "active_version": active.number,
        "counts": [one._asdict() for one in policy_differences.counts(connection, shadow)],
        "waiting": policy_differences.waiting(connection, shadow),
        "items": [_difference(one) for one in found[:limit]],
        "next_cursor": more,
    }


def _difference(row: Any) -> dict[str, Any]:
    said: dict[str, Any] = row._asdict()
    return {**said, "case_id": row.code}


def _kept(connection: Connection, org_id: UUID, number: int) -> Kept:
    kept = triage_policies.one(connection, org_id, number)
    if kept is None:
        raise Refusal(404, "your organization has no such version of its policy", code="UNKNOWN_VERSION")
    return kept
