"""Tokens for cron and scripts: made, listed and revoked by people; a token makes no tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.grants import RESPONSES, grantor_of, in_words
from ops_api.guard import GuardedRoute
from pipeline.commands.api_tokens import LONGEST, SHORTEST, issue
from pipeline.runtime import api_tokens

router = APIRouter(route_class=GuardedRoute, tags=["auth"])

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$"),
]


class TokenRequest(BaseModel):
    """A name to know it by, what it may, and for how long."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    role: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
    days: int = Field(default=90, ge=SHORTEST, le=LONGEST)


class TokenAnswer(BaseModel):
    """A token without its value."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID = Field(validation_alias="token_id")
    name: str
    role: str
    person: str = Field(description="Whom it acts for: it never may more than they.")
    hint: str = Field(description="Its last four characters.")
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None
    is_good: bool = Field(description="It works now.")


class ApiTokens(BaseModel):
    """One page, the newest first."""

    items: list[TokenAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class IssuedAnswer(BaseModel):
    """A new token; its value is told here and never again."""

    id: UUID
    token: str = Field(description="Send it as `Authorization: Bearer ...`.")
    expires_at: datetime


@router.get("/api-tokens")
def list_tokens(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
) -> ApiTokens:
    """Return the organization's tokens."""
    bound = {"list": "api_tokens", "org": session.org_id}
    place = services.cursors.read_place(cursor, bound)
    before = None if place is None else UUID(place["id"])
    found = api_tokens.listed(connection, session.org_id, before=before, limit=limit + 1)
    page = found[:limit]
    next_cursor = services.cursors.make_place({"id": str(page[-1].token_id)}, bound) if len(found) > limit else None
    return ApiTokens(items=[TokenAnswer.model_validate(one) for one in page], next_cursor=next_cursor)


@router.post("/api-tokens", status_code=201, responses=RESPONSES)
def make_token(asked: TokenRequest, session: SignedIn, connection: Transaction) -> IssuedAnswer:
    """Make a token that acts for oneself, in a role that has no more than one's own."""
    if session.person_id is None:
        raise Refusal(403, "a token acts for a person, and you are none here")
    with in_words():
        issued = issue(
            connection,
            session.org_id,
            grantor_of(session),
            session.person_id,
            name=asked.name,
            role=asked.role,
            days=asked.days,
        )
    return IssuedAnswer(id=issued.token_id, token=issued.token, expires_at=issued.expires_at)


@router.delete("/api-tokens/{token_id}", status_code=204)
def revoke_token(token_id: UUID, session: SignedIn, connection: Transaction) -> None:
    """Revoke a token; it works no longer from the next request on."""
    if not api_tokens.revoke(connection, session.org_id, token_id, by=session.email):
        raise Refusal(404, "your organization has no such token")
