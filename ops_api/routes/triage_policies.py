"""Policies of triage in versions: those there are, what one would change, and putting one into force."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from ops_api import policy_pages
from ops_api.commands import Calling
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.policy_pages import PolicyDifferences, TriagePolicyAnswer, TriagePolicyDetail, TriagePolicyList
from ops_api.versions import etag
from pipeline.commands import triage_policies as commands
from pipeline.commands.triage_policy_arguments import (
    LARGEST,
    PolicyActivation,
    PolicyDraft,
    PolicyNote,
    PolicyRollback,
)

router = APIRouter(route_class=GuardedRoute, prefix="/triage/policies", tags=["triage policies"])

Number = Annotated[int, Path(ge=0, le=LARGEST)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1024)]
_CONFLICTS: dict[int | str, dict[str, Any]] = {
    409: {"description": "Another version is in force by now, or this one does not stand where that may be done."}
}


@router.get("")
def list_policies(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    response: Response,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> TriagePolicyList:
    """Return the versions, newest first. The ETag is the one in force: send it as If-Match to put another there."""
    found, active = policy_pages.policy_page(connection, session.org_id, services.cursors, limit=limit, cursor=cursor)
    response.headers["ETag"] = etag(active)
    return TriagePolicyList.model_validate(found)


@router.post("", status_code=201, response_model=TriagePolicyAnswer, responses=_CONFLICTS)
def draft_policy(call: Calling, asked: PolicyDraft) -> Response:
    """Write down another policy as a draft. With If-Match, only if that version is still in force."""
    return call.run(commands.DRAFT, None, asked)


@router.get("/{policy_version}")
def show_policy(
    policy_version: Number, session: SignedIn, connection: Transaction, response: Response
) -> TriagePolicyDetail:
    """Return a version and what it would change of the one in force, whose number is the ETag."""
    found = policy_pages.policy_detail(connection, session.org_id, policy_version)
    response.headers["ETag"] = etag(found["active_version"])
    return TriagePolicyDetail.model_validate(found)


@router.get("/{policy_version}/differences", responses=_CONFLICTS)
def show_differences(
    *,
    policy_version: Number,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PolicyDifferences:
    """Return what the version in the shadow says otherwise of open cases, the newest first."""
    found = policy_pages.differences(
        connection, session.org_id, services.cursors, policy_version, limit=limit, cursor=cursor
    )
    return PolicyDifferences.model_validate(found)


@router.post("/{policy_version}/shadow", response_model=TriagePolicyAnswer, responses=_CONFLICTS)
def shadow_policy(policy_version: Number, call: Calling, asked: PolicyNote) -> Response:
    """Let a version say beside the one in force what it would do, of every open case; it decides nothing."""
    return call.run(commands.SHADOW, str(policy_version), asked)


@router.post("/{policy_version}/stop-shadow", response_model=TriagePolicyAnswer, responses=_CONFLICTS)
def stop_shadow(policy_version: Number, call: Calling, asked: PolicyNote) -> Response:
    """Take the version out of the shadow."""
    return call.run(commands.STOP_SHADOW, str(policy_version), asked)


@router.post("/{policy_version}/activate", response_model=TriagePolicyAnswer, responses=_CONFLICTS)
def activate_policy(policy_version: Number, call: Calling, asked: PolicyActivation) -> Response:
    """Put a version into force; open cases follow. Say what it replaces, here or as If-Match: stale is 409."""
    return call.run(commands.ACTIVATE, str(policy_version), asked)


@router.post("/{policy_version}/rollback", response_model=TriagePolicyAnswer, responses=_CONFLICTS)
def roll_back(policy_version: Number, call: Calling, asked: PolicyRollback) -> Response:
    """Let a version that was in force hold again: as a new one, which copies it."""
    return call.run(commands.ROLL_BACK, str(policy_version), asked)
