"""The rules of the workshop: those in force, every version before, and changes of them (contract 002)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from models.enums import RulesAction
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import AskedPage, Envelope, Results
from pipeline.commands import workshop_rules as commands
from pipeline.commands.workshop_rules import RulesChange, RulesRollback
from pipeline.core.repairs import enveloped
from pipeline.runtime import rules

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/rules/config", tags=["workshop rules"])


class RulesAnswer(BaseModel):
    """One version of the rules."""

    version: int
    action: RulesAction
    config: dict[str, dict[str, Any]] = Field(description="ticket_xp, attendance, work_session, progression.")
    checksum: str = Field(description="SHA-256, as hex, over the canonical JSON of `config`.")
    diff: dict[str, dict[str, Any]] = Field(description="By rule: its value before and after.")
    reason: str
    source_version: int | None = Field(description="Of a rollback: what it copies.")
    created_by: str
    created_at: datetime | None = Field(description="Null for the built-in rules that nobody changed.")


@router.get("/", response_model=Envelope[RulesAnswer])
def show(session: SignedIn, connection: Transaction) -> dict[str, Any]:
    """Return the rules in force."""
    return enveloped(commands.said(rules.active(connection, session.org_id)))


@router.put("/", response_model=Envelope[RulesAnswer])
def change(call: Calling, asked: RulesChange) -> Response:
    """Change rules: a new version. With `If-Match`, only of the version that was read."""
    return call.run(commands.UPDATE, None, asked)


@router.get("/history/", response_model=Results[RulesAnswer])
def history(session: SignedIn, connection: Transaction, page: AskedPage) -> dict[str, Any]:
    """List the versions, newest first."""
    found = [commands.said(one) for one in rules.page(connection, session.org_id, **page.bounds)]
    return page.of(found, rules.active(connection, session.org_id).number)


@router.post("/rollback/", response_model=Envelope[RulesAnswer])
def roll_back(call: Calling, asked: RulesRollback) -> Response:
    """Let an older version hold again: a new version that copies it."""
    return call.run(commands.ROLL_BACK, None, asked)
