"""The organization's audit trail: read in pages, and checked in pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.enums import ActorKind, AuditOutcome
from models.queries import audit_trail
from models.queries.audit_trail import Filter
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.core.audit_chain import Wrong
from pipeline.runtime import audit_checking
from pipeline.runtime.secrets import Secrets

router = APIRouter(route_class=GuardedRoute, tags=["audit"])

Word: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200)]
_Row = ConfigDict(from_attributes=True)


class AuditRowAnswer(BaseModel):
    """Who did what to which thing, or was refused and why."""

    model_config = _Row

    number: int
    at: datetime
    actor_kind: ActorKind
    actor_id: str
    actor_role: str | None
    action: str
    outcome: AuditOutcome
    code: str | None = Field(description="With a refusal.")
    target_kind: str | None
    target_id: str | None
    request_id: str | None
    correlation_id: str | None
    trace_id: str | None
    hash: str = Field(description="SHA-256 over the hash before and this row.")
    details: dict[str, Any] | None = Field(description="Null when there are none, or they were erased.")
    is_erased: bool


class AuditPage(BaseModel):
    """Rows, the newest first. A page may be short, or empty, and yet have a next one."""

    items: list[AuditRowAnswer]
    next_cursor: str | None = Field(description="Null at the end of the trail.")


class ProblemAnswer(BaseModel):
    """One thing that is wrong with the trail."""

    model_config = _Row

    number: int
    wrong: Wrong
    said: str


class CheckedAnswer(BaseModel):
    """What a check of some rows found; `next` is where to go on, null when the newest row was reached."""

    is_whole: bool = Field(description="Nothing is wrong with these rows.")
    rows: int
    seals: int
    problems: list[ProblemAnswer]
    newest: int
    newest_hash: str
    next: int | None


@router.get("/audit")
def list_audit(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    actor: Word = None,
    action: Word = None,
    target: Word = None,
    outcome: AuditOutcome | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> AuditPage:
    """Return rows of the trail; `action` may end in a dot to mean all that begin with it."""
    wanted = Filter(actor, action, target, outcome, since, until)
    bound = {"list": "audit", "org": session.org_id, "wanted": wanted}
    before = services.cursors.read(cursor, bound)
    page = audit_trail.find(connection, session.org_id, wanted, before=before, limit=limit)
    next_cursor = None if page.before is None else services.cursors.make(page.before, bound)
    return AuditPage(items=[AuditRowAnswer.model_validate(row) for row in page.rows], next_cursor=next_cursor)


@router.get("/audit/verify")
def verify_audit(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    after: Annotated[int, Query(ge=0, lt=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 5_000,
) -> CheckedAnswer:
    """Check the rows that follow row `after`: each hash, each place in the chain, seals, and at the end the head."""
    found = audit_checking.check_page(connection, Secrets.of(services.settings), session.org_id, after, limit)
    return CheckedAnswer(
        is_whole=not found.problems,
        rows=found.rows,
        seals=found.seals,
        problems=[ProblemAnswer.model_validate(one) for one in found.problems],
        newest=found.newest.number,
        newest_hash=found.newest.hash.hex(),
        next=found.next,
    )
