"""Who somebody is to the technicians' app, and where it leads them (contract 004, bootstrap)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from models.permissions import Permission
from models.queries import people
from models.queries.people import Member, SiteRow
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.core import navigation

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["technician"])

#: The contract's names for what is called otherwise here.
_CODES = {"technician": "TECH"}
_SCOPES = {"organization": "all", "account": "account", "site": "own", "team": "team", "own": "own"}


class UserAnswer(BaseModel):
    """Who asks; what is not known of them is null."""

    id: str
    fullName: str
    email: str | None
    phone: str | None


class MyRoleAnswer(BaseModel):
    """A role by the contract's code."""

    code: str = Field(description="TECH for a technician.")
    name: str


class ZoneAnswer(BaseModel):
    """A site, as technicians call it."""

    id: UUID
    name: str


class BossAnswer(BaseModel):
    """Whom somebody reports to."""

    id: UUID
    fullName: str


class NavigationAnswer(BaseModel):
    """One place of the app's navigation."""

    key: str
    label: str
    path: str
    screen: str | None


class MeAnswer(BaseModel):
    """Everything the app needs to begin."""

    user: UserAnswer
    role: MyRoleAnswer
    gameZoneScope: str = Field(description="own, team, account or all.")
    gameZone: ZoneAnswer | None = Field(description="The first of the zones.")
    gameZones: list[ZoneAnswer]
    reportsTo: BossAnswer | None
    skills: list[str]
    nav: list[NavigationAnswer] = Field(description="At most five, in order.")
    permissions: list[Permission]


class ProfileAnswer(BaseModel):
    """Oneself, as shown to oneself."""

    fullName: str
    email: str | None
    phone: str | None
    role: MyRoleAnswer
    gameZone: ZoneAnswer | None
    team: str | None
    reportsTo: BossAnswer | None
    skills: list[str]


def own_membership(session: SignedIn, connection: Transaction) -> Member | None:
    """Return the membership of who asks; None for a token's subject that is nobody we know."""
    return None if session.person_id is None else people.member(connection, session.org_id, session.person_id)


def own_zones(session: SignedIn, connection: Transaction) -> list[SiteRow]:
    """Return the sites that who asks is narrowed to."""
    only = session.scope.site_ids
    return people.sites(connection, session.org_id, only=only) if only else []


OwnMembership = Annotated[Member | None, Depends(own_membership, scope="function")]
OwnZones = Annotated[list[SiteRow], Depends(own_zones, scope="function")]


@router.get("/me")
def me(session: SignedIn, member: OwnMembership, zones: OwnZones) -> MeAnswer:
    """Return who asks, how far they reach, and where they may go."""
    found = [ZoneAnswer(id=zone.id, name=zone.name) for zone in zones]
    return MeAnswer(
        user=UserAnswer(
            id=str(session.person_id or session.actor_id),
            fullName=member.full_name if member else "",
            email=member.email if member else None,
            phone=member.phone if member else None,
        ),
        role=_role(session.role, member),
        gameZoneScope=_SCOPES[session.scope.reach],
        gameZone=found[0] if found else None,
        gameZones=found,
        reportsTo=_boss(member),
        skills=member.skills if member else [],
        nav=[_slot(slot) for slot in navigation.slots(session.permissions)],
        permissions=sorted(session.permissions),
    )


@router.get("/me/profile")
def profile(session: SignedIn, member: OwnMembership, zones: OwnZones) -> ProfileAnswer:
    """Return oneself."""
    return ProfileAnswer(
        fullName=member.full_name if member else "",
        email=member.email if member else None,
        phone=member.phone if member else None,
        role=_role(session.role, member),
        gameZone=ZoneAnswer(id=zones[0].id, name=zones[0].name) if zones else None,
        team=member.team if member else None,
        reportsTo=_boss(member),
        skills=member.skills if member else [],
    )


def _role(code: str, member: Member | None) -> MyRoleAnswer:
    return MyRoleAnswer(code=_CODES.get(code, code.upper()), name=member.role_name if member else code)


def _boss(member: Member | None) -> BossAnswer | None:
    if member is None or member.reports_to_id is None:
        return None
    return BossAnswer(id=member.reports_to_id, fullName=member.reports_to or "")


def _slot(slot: navigation.Slot) -> NavigationAnswer:
    return NavigationAnswer(key=slot.key, label=slot.label, path=slot.path, screen=slot.screen)
