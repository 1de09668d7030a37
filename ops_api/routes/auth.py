"""Signing in during development, the CSRF token, signing out, and who one is (contract 001, local dev auth)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, StringConstraints

from models.queries import overview
from ops_api.access import ROLES, Permission, Role
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, Services, SignedIn, Transaction
from ops_api.guard import GuardedRoute, is_loopback, is_unforgeable
from ops_api.sessions import CSRF_COOKIE, LIFETIME, SESSION_COOKIE, Session
from pipeline.commands.mailboxes import ensure_organization

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


class User(BaseModel):
    """A person; the id follows from organization and address."""

    id: UUID
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
    role: Role
    permissions: list[Permission]
    session: SessionAnswer


class LoggedIn(Me):
    """As `Me`, with the CSRF token for the changes to come."""

    csrf_token: str = Field(description="Also set as a cookie.")


class Done(BaseModel):
    """It is done."""

    status: Literal["ok"] = "ok"


@router.get("/auth/csrf")
async def csrf(request: Request, response: Response, services: Provided) -> CsrfToken:
    """Return a CSRF token and set its cookie; a token that is still good is kept, so tabs do not disturb each other."""
    session: Session | None = request.state.session
    token = services.sessions.csrf_token(session, request.cookies.get(CSRF_COOKIE))
    _set_cookie(request, response, services, CSRF_COOKIE, token)
    return CsrfToken(csrf_token=token)


@router.post("/auth/dev/login")
def dev_login(
    login: DevLogin, request: Request, response: Response, services: Provided, connection: Transaction
) -> LoggedIn:
    """Sign in without a password, as admin; exists only with ALLOW_DEV_LOGIN, for development."""
    _check_host(request, services)
    org_id = ensure_organization(connection, login.organization_name)
    session = services.sessions.open(login.email, org_id, Role.ADMIN)
    token = services.sessions.csrf_token(session)
    _set_cookie(request, response, services, SESSION_COOKIE, services.sessions.token(session))
    _set_cookie(request, response, services, CSRF_COOKIE, token)
    return LoggedIn(**_me(session, login.organization_name).model_dump(), csrf_token=token)


@router.post("/auth/logout")
async def logout(request: Request, response: Response, services: Provided) -> Done:
    """Take the cookies back."""
    for name in (SESSION_COOKIE, CSRF_COOKIE):
        response.delete_cookie(
            name,
            path="/",
            secure=_is_secure(request, services),
            httponly=name == SESSION_COOKIE,
            samesite="lax",
        )
    return Done()


@router.get("/me")
def me(session: SignedIn, connection: Transaction) -> Me:
    """Return who asks."""
    name = overview.organization_name(connection, session.org_id)
    if name is None:
        raise Refusal(401, "the session's organization is gone; sign in again")
    return _me(session, name)


def _me(session: Session, organization_name: str) -> Me:
    return Me(
        user=User(id=uuid5(session.org_id, session.email), email=session.email),
        organization=Organization(id=session.org_id, name=organization_name),
        role=session.role,
        permissions=sorted(ROLES[session.role]),
        session=SessionAnswer(id=session.session_id, created_at=session.created_at, expires_at=session.expires_at),
    )


def _set_cookie(request: Request, response: Response, services: Services, name: str, value: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        secure=_is_secure(request, services),
        httponly=name == SESSION_COOKIE,
        samesite="lax",
    )


def _is_secure(request: Request, services: Services) -> bool:
    """Say whether cookies may travel over TLS only: always, but for plain HTTP on this machine."""
    is_https = request.url.scheme == "https" or urlsplit(services.settings.public_url or "").scheme == "https"
    return is_https or not is_loopback(request.url.hostname or "")


def _check_host(request: Request, services: Services) -> None:
    """Refuse a login without a password under a name that another site could have pointed here (DNS rebinding)."""
    host = request.url.hostname or ""
    if not is_unforgeable(host) and host != urlsplit(services.settings.public_url or "").hostname:
        raise Refusal(403, "the dev login answers to an address, to localhost, and to the host of FIELDPOST_PUBLIC_URL")
