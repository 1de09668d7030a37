"""Signing in with an identity provider (OpenID Connect, code flow)."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse

from ops_api import sessions
from ops_api.answers import ErrorAnswer
from ops_api.dependencies import Provided, Services
from ops_api.guard import GuardedRoute
from ops_api.openid_door import Return
from pipeline.core.principals import Principal
from pipeline.runtime.logins import LIFETIME

router = APIRouter(route_class=GuardedRoute, tags=["auth"])

_BROWSER = re.compile(r"[A-Za-z0-9_-]{43}")
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "No page of ours, or a login that is over; begin again."},
    403: {"model": ErrorAnswer, "description": "The provider said no, or vouches for somebody who is nobody here."},
    502: {"model": ErrorAnswer, "description": "The provider does not answer, or its answer does not fit."},
}
Said = Annotated[str | None, Query(max_length=4_096)]


@router.get("/auth/oidc/start", status_code=303, response_class=RedirectResponse, responses=_REFUSED)
async def start(
    request: Request,
    services: Provided,
    return_to: Annotated[str, Query(max_length=2_000, description="A path here, to go on to.")] = "/",
) -> RedirectResponse:
    """Send the browser to the identity provider; it comes back to /auth/oidc/callback within ten minutes."""
    held = request.cookies.get(_cookie(request, services), "")
    browser = held if _BROWSER.fullmatch(held) else secrets.token_urlsafe(32)
    url = await services.openid.start(browser, return_to, _callback(request, services))
    answer = RedirectResponse(url, 303)
    answer.set_cookie(
        _cookie(request, services),
        browser,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        secure=sessions.is_secure(request, services.settings),
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/auth/oidc/callback", status_code=303, response_class=RedirectResponse, responses=_REFUSED)
async def callback(
    request: Request, services: Provided, state: Said = None, code: Said = None, error: Said = None
) -> RedirectResponse:
    """Take who comes back from the provider: a session begins, and the browser goes on to where it wanted to be."""
    browser = request.cookies.get(_cookie(request, services), "")
    principal: Principal | None = request.state.principal
    held = None if principal is None else principal.session_id
    back = Return(state=state, code=code, error=error, browser=browser, held=held)
    begun, return_to = await services.openid.finish(back, _callback(request, services), request.state.request_id)
    answer = RedirectResponse(return_to, 303)
    sessions.let_in(request, answer, services.settings, services.csrf, begun)
    return answer


def _callback(request: Request, services: Services) -> str:
    """Return the address that is registered with the provider."""
    base = services.settings.public_url or str(request.base_url)
    return base.rstrip("/") + "/auth/oidc/callback"


def _cookie(request: Request, services: Services) -> str:
    """Return the name of the cookie that tells the browser in which a login was begun."""
    return "__Host-oss_login" if sessions.is_secure(request, services.settings) else "oss_login"
