"""Accounts and sites: the customers of an organization and their places (contracts 000 and 004)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import Reach
from models.queries import people
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.grants import RESPONSES, in_words
from ops_api.guard import GuardedRoute
from pipeline.commands import places
from pipeline.core.principals import Scope

router = APIRouter(route_class=GuardedRoute, tags=["people"])

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_CONTROLS)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=300, pattern=_NO_CONTROLS)]
Words = Annotated[str, StringConstraints(max_length=5_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$")]
Cursor = Annotated[str | None, Query(max_length=4096)]
Limit = Annotated[int, Query(ge=1, le=200)]


class AccountAnswer(BaseModel):
    """A customer."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    sites: int
    created_at: datetime


class Accounts(BaseModel):
    """One page, the oldest first."""

    items: list[AccountAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class AccountRequest(BaseModel):
    """A customer's name."""

    name: Name


class SiteAnswer(BaseModel):
    """A place of a customer."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    account_id: UUID
    account: str
    name: str
    address1: str
    address2: str | None
    city: str
    region: str | None
    postal_code: str | None
    country: str
    timezone: str
    access_instructions: str | None
    created_at: datetime


class Sites(BaseModel):
    """One page, the oldest first."""

    items: list[SiteAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class SiteChange(BaseModel):
    """What is left out stays as it is."""

    name: Name | None = None
    address1: Line | None = None
    address2: Line | None = None
    city: Line | None = None
    region: Line | None = None
    postal_code: Line | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")] | None = None
    timezone: Line | None = Field(default=None, description="Such as Europe/Berlin.")
    access_instructions: Words | None = None


class SiteRequest(SiteChange):
    """A new place of a customer."""

    account_id: UUID
    name: Name


@router.get("/accounts")
def list_accounts(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    cursor: Cursor = None,
    q: Annotated[Name | None, Query(description="Part of a name.")] = None,
    limit: Limit = 50,
) -> Accounts:
    """List the accounts within reach."""
    filters = {"q": q, "list": "accounts", "org": session.org_id}
    found = people.accounts(
        connection, session.org_id, only=_accounts_within(session.scope), at=session.scope.site_ids,
        after=_after(services, cursor, filters), words=q, limit=limit + 1,
    )  # fmt: skip
    items = [AccountAnswer.model_validate(one) for one in found[:limit]]
    more = services.cursors.make_place({"after": items[-1].id}, filters) if len(found) > limit else None
    return Accounts(items=items, next_cursor=more)


@router.post("/accounts", status_code=201, responses=RESPONSES)
def add_account(asked: AccountRequest, session: SignedIn, connection: Transaction) -> AccountAnswer:
    """Add a customer."""
    with in_words():
        return AccountAnswer.model_validate(places.add_account(connection, session.org_id, asked.name))


@router.patch("/accounts/{account_id}", responses=RESPONSES)
def change_account(
    account_id: UUID, asked: AccountRequest, session: SignedIn, connection: Transaction
) -> AccountAnswer:
    """Give a customer another name."""
    with in_words():
        return AccountAnswer.model_validate(places.change_account(connection, session.org_id, account_id, asked.name))


@router.get("/sites")
def list_sites(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    cursor: Cursor = None,
    q: Annotated[Name | None, Query(description="Part of a name or city.")] = None,
    account_id: UUID | None = None,
    limit: Limit = 50,
) -> Sites:
    """List the sites within reach."""
    filters = {"q": q, "account_id": account_id, "list": "sites", "org": session.org_id}
    within = _accounts_within(session.scope)
    if account_id is not None:
        within = frozenset({account_id}) if within is None else within & {account_id}
    found = people.sites(
        connection, session.org_id, only=session.scope.site_ids, account_ids=within,
        after=_after(services, cursor, filters), words=q, limit=limit + 1,
    )  # fmt: skip
    items = [SiteAnswer.model_validate(one) for one in found[:limit]]
    more = services.cursors.make_place({"after": items[-1].id}, filters) if len(found) > limit else None
    return Sites(items=items, next_cursor=more)


@router.post("/sites", status_code=201, responses=RESPONSES)
def add_site(asked: SiteRequest, session: SignedIn, connection: Transaction) -> SiteAnswer:
    """Add a place to an account."""
    fields = asked.model_dump(exclude_none=True, exclude={"account_id"})
    with in_words():
        return SiteAnswer.model_validate(places.add_site(connection, session.org_id, asked.account_id, fields))


@router.patch("/sites/{site_id}", responses=RESPONSES)
def change_site(site_id: UUID, asked: SiteChange, session: SignedIn, connection: Transaction) -> SiteAnswer:
    """Change a place; null takes a value away that need not be there."""
    fields = asked.model_dump(exclude_unset=True)
    with in_words():
        return SiteAnswer.model_validate(places.change_site(connection, session.org_id, site_id, fields))


def _accounts_within(scope: Scope) -> frozenset[UUID] | None:
    """Return the accounts that a reach has, None for all; a team's, or one's own, is of tickets and of no place."""
    is_of_tickets = scope.reach in {Reach.TEAM, Reach.OWN} and scope.account_ids is None and scope.site_ids is None
    return frozenset() if is_of_tickets else scope.account_ids


def _after(services: Provided, cursor: str | None, filters: Mapping[str, object]) -> UUID | None:
    place = services.cursors.read_place(cursor, filters)
    return UUID(str(place["after"])) if place else None
