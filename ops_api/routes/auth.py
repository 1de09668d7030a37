"""Signing in during development, the CSRF token, signing out, and who one is (contract 001, local dev auth)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from models.permissions import Permission
from models.queries import overview
from ops_api import sessions
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, Services, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.hosts import is_unforgeable
from ops_api.origins import origin_of
from ops_api.sessions import CSRF_COOKIE
from pipeline.commands import signing_in
from pipeline.core.principals import Principal
from pipeline.runtime import sessions as session_rows

router = APIRouter(route_class=GuardedRoute, tags=["auth"])

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"


class CsrfToken(BaseModel):
    """Send it as the header `x-csrf-token` with every change."""

    csrf_token: str


class DevLogin(BaseModel):
    """Who to be, and in which organization; the organization is made when it is new."""

    email: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, to_lower=True, max_length=320, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"
        ),
    ]
    organization_name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_NO_CONTROLS)
    ]


class SwitchRequest(BaseModel):
    """Which of one's organizations to go on in."""

    organization_id: UUID


class User(BaseModel):
    """Somebody: a person's id, or what a token or a header calls its actor."""

    id: str
    email: str


class Organization(BaseModel):
    """An organization."""

    id: UUID
    name: str


class SessionAnswer(BaseModel):
    """A session and its absolute end."""

    id: UUID
    created_at: datetime
    expires_at: datetime


class Me(BaseModel):
    """Who asks, for which organization, and what they may do."""

    user: User
    organization: Organization
    role: str = Field(description="The role's code.")
    permissions: list[Permission]
    session: SessionAnswer | None = Field(description="Null for who came in by something else than a session.")


class LoggedIn(Me):
    """As `Me`, with the CSRF token for the changes to come."""

    csrf_token: str = Field(description="Also set as a cookie.")


class Done(BaseModel):
    """It is done."""

    status: Literal["ok"] = "ok"


@router.get("/auth/csrf")
async def csrf(request: Request, response: Response, services: Provided) -> CsrfToken:
    """Return a CSRF token and set its cookie; a token that is still good is kept, so tabs do not disturb each other."""
    principal: Principal | None = request.state.principal
    token = services.csrf.make(_session_id(principal), request.cookies.get(CSRF_COOKIE))
    sessions.set_csrf(request, response, services.settings, token)
    return CsrfToken(csrf_token=token)


@router.post("/auth/dev/login")
def dev_login(
    login: DevLogin, request: Request, response: Response, services: Provided, connection: Transaction
) -> LoggedIn:
    """Sign in without a password, as admin; exists only with ALLOW_DEV_LOGIN, for development."""
    _check_host(request, services)
    held = _session_id(request.state.principal)
    begun, principal = signing_in.dev_login(connection, login.email, login.organization_name, instead_of=held)
    request.state.trail.acts_as(principal)
    token = sessions.let_in(request, response, services.settings, services.csrf, begun)
    return LoggedIn(**_me(principal, login.organization_name).model_dump(), csrf_token=token)


@router.post("/auth/switch-org")
def switch_org(
    *,
    asked: SwitchRequest,
    request: Request,
    response: Response,
    session: SignedIn,
    services: Provided,
    connection: Transaction,
) -> LoggedIn:
    """Go on in another organization that one is a member of: this session ends, and a new one begins there."""
    begun, principal = signing_in.switch(connection, session, asked.organization_id, origin_of(request))
    request.state.trail.is_written = True
    name = overview.organization_name(connection, asked.organization_id) or ""
    token = sessions.let_in(request, response, services.settings, services.csrf, begun)
    return LoggedIn(**_me(principal, name).model_dump(), csrf_token=token)


@router.post("/auth/logout")
def logout(
    request: Request, response: Response, session: SignedIn, services: Provided, connection: Transaction
) -> Done:
    """End the session, wherever its cookie may be kept, and take the cookies back."""
    if session.session_id is not None:
        session_rows.end(connection, session.session_id, "signed out")
    sessions.forget(request, response, services.settings)
    return Done()


@router.get("/me")
def me(session: SignedIn, connection: Transaction) -> Me:
    """Return who asks."""
    name = overview.organization_name(connection, session.org_id)
    if name is None:
        raise Refusal(401, "the session's organization is gone; sign in again")
    return _me(session, name)


def _me(principal: Principal, organization_name: str) -> Me:
    return Me(
        user=User(id=str(principal.person_id or principal.actor_id), email=principal.email),
        organization=Organization(id=principal.org_id, name=organization_name),
        role=principal.role,
        permissions=sorted(principal.permissions),
        session=_session(principal),
    )


def _session(principal: Principal) -> SessionAnswer | None:
    began, ends = principal.created_at, principal.expires_at
    if principal.session_id is None or began is None or ends is None:
        return None
    return SessionAnswer(id=principal.session_id, created_at=began, expires_at=ends)


def _session_id(principal: Principal | None) -> UUID | None:
    return None if principal is None else principal.session_id


def _check_host(request: Request, services: Services) -> None:
    """Refuse a login without a password under a name that another site could have pointed here (DNS rebinding)."""
    host = request.url.hostname or ""
    if not is_unforgeable(host) and host != urlsplit(services.settings.public_url or "").hostname:
        raise Refusal(403, "the dev login answers to an address, to localhost, and to the host of FIELDPOST_PUBLIC_URL")
