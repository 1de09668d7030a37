"""Signing in with a password, refreshing, signing out, and new passwords (contract 004, auth)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ops_api.answers import Refusal
from ops_api.dependencies import Provided
from ops_api.guard import GuardedRoute
from ops_api.origins import origin_of
from ops_api.rate_limits import count_name
from ops_api.shapes import TechnicianError
from pipeline.core import contacts
from pipeline.runtime.refreshing import Issued

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/auth", tags=["technician auth"])

Identifier = Annotated[
    str, StringConstraints(min_length=1, max_length=320), Field(description="A mail address, or a telephone number.")
]
Token = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: Longer ones are refused in words, or are wrong; they are never cut.
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Login(BaseModel):
    """Who signs in, and by what."""

    model_config = ConfigDict(hide_input_in_errors=True)

    identifier: Identifier
    password: Password
    organizationId: UUID | None = Field(
        default=None, description="For who works in several; without, the one that was signed in to last."
    )


class Tokens(BaseModel):
    """A bearer token for a while, and what gets the next one. A refresh token is good once."""

    accessToken: str
    refreshToken: str
    expiresIn: int = Field(description="Seconds for which the access token is good.")


class RefreshRequest(BaseModel):
    """The refresh token that was given out last."""

    model_config = ConfigDict(hide_input_in_errors=True)

    refreshToken: Token


class ForgotRequest(BaseModel):
    """Who forgot their password."""

    identifier: Identifier


class ResetRequest(BaseModel):
    """The token of the mail, and the password to be."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token: Token
    newPassword: Password


def _errors(**about: str) -> dict[int | str, dict[str, object]]:
    return {int(status[1:]): {"model": TechnicianError, "description": said} for status, said in about.items()}


@router.post("/login", responses=_errors(_401="Wrong, or nobody.", _423="Locked after five wrong passwords in a row."))
async def login(asked: Login, request: Request, services: Provided) -> Tokens:
    """Sign in by mail address or telephone number, and password."""
    await count_name(services.limiter, "login", contacts.identifier(asked.identifier) or asked.identifier)
    door = services.password_door
    return _tokens(await door.login(asked.identifier, asked.password, asked.organizationId, origin_of(request)))


@router.post("/refresh", responses=_errors(_401="Unknown, used or over: sign in again."))
async def refresh(asked: RefreshRequest, services: Provided) -> Tokens:
    """Return new tokens for a refresh token; one that was used before ends everything that came of it.

    Sent again within ten seconds, as after a lost answer, it gives the same new refresh token.
    """
    return _tokens(await services.password_door.refresh(asked.refreshToken))


@router.post("/logout", status_code=204)
async def logout(asked: RefreshRequest, services: Provided) -> None:
    """Sign out: neither the refresh token nor the access tokens that came of it open anything any more."""
    await services.password_door.end(asked.refreshToken)


@router.post("/forgot-password", status_code=204)
async def forgot_password(asked: ForgotRequest, services: Provided) -> None:
    """Send somebody a mail with a token for a new password, if they are known; the answer never tells."""
    try:
        await count_name(services.limiter, "forgot", contacts.identifier(asked.identifier) or asked.identifier)
    except Refusal:
        return
    await services.password_door.forget(asked.identifier)


@router.post(
    "/reset-password",
    status_code=204,
    responses=_errors(_401="The token is unknown, used or over.", _422="The password is too weak; see fields."),
)
async def reset_password(asked: ResetRequest, services: Provided) -> None:
    """Set a new password; every session and token of the person ends."""
    await services.password_door.reset(asked.token, asked.newPassword)


def _tokens(issued: Issued) -> Tokens:
    return Tokens(accessToken=issued.access_token, refreshToken=issued.refresh_token, expiresIn=issued.expires_in)
