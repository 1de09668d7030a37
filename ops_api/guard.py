"""The guard before every route: it reads the access table and lets through, or refuses, before a body is read."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie
from starlette.responses import Response

from ops_api.access import ROLES, TABLE, Access
from ops_api.answers import ErrorAnswer, Refusal
from ops_api.dependencies import Services
from ops_api.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE, Session

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Documents the session in OpenAPI; the guard is what checks it.
_SCHEME = Depends(APIKeyCookie(name=SESSION_COOKIE, scheme_name="session", auto_error=False))
_ABOUT = {
    401: "No session, or an expired one.",
    403: "The role lacks the permission, the CSRF token does not match, or the origin is another host.",
    404: "No such object in the session's organization.",
    413: "The body is too large.",
    422: "A value of the request is invalid.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "The request failed here.",
    503: "The database does not answer.",
}


class GuardedRoute(APIRoute):
    """A route that has its row in the access table, and does what the row demands; without a row it cannot be made.

    A dependency would come too late: the framework reads and parses the body before it.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        (method,) = options["methods"]
        self.access = TABLE[method, path]
        options["responses"] = _responses(self.access) | (options.get("responses") or {})
        options["openapi_extra"] = _extra(self.access)
        if not self.access.is_public:
            options["dependencies"] = [*(options.get("dependencies") or ()), _SCHEME]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with the guard before it."""
        handle = super().get_route_handler()
        access = self.access

        async def guarded(request: Request) -> Response:
            request.state.session = check(request, access)
            return await handle(request)

        return guarded


def check(request: Request, access: Access) -> Session | None:
    """Return who asks. Raises `Refusal`: 404 switched off, 429, 401, 403 origin or token, 403 role; in this order."""
    services: Services = request.app.state.services
    if access.switch and not getattr(services.settings, access.switch):
        raise Refusal(404, "there is nothing at this address")
    if access.is_limited:
        _count(request, services, access)
    session = services.sessions.read(request.cookies.get(SESSION_COOKIE))
    if session is None and not access.is_public:
        raise Refusal(401, "sign in first")
    if access.needs_csrf:
        _check_origin(request, services)
        _check_token(request, services, session)
    if session and access.permission and access.permission not in ROLES[session.role]:
        raise Refusal(403, f"the role {session.role.value} may not do this; it needs {access.permission.value}")
    return session


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_unforgeable(host: str) -> bool:
    """Say whether a Host could not be another site's name pointed at this machine (DNS rebinding)."""
    return is_loopback(host) or _address(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _count(request: Request, services: Services, access: Access) -> None:
    # The peer's address: a header would let anybody be anybody.
    wait = services.auth_limit.take(request.client.host if request.client else None, access.path)
    if wait is not None:
        raise Refusal(429, f"too many requests; try again in {wait} s", headers={"Retry-After": str(wait)})


def _check_origin(request: Request, services: Services) -> None:
    origin = request.headers.get("origin")
    if origin is None:
        return
    asked = {request.headers.get("host", ""), urlsplit(services.settings.public_url or "").netloc}
    found = urlsplit(origin)
    if not found.netloc or _place(found.netloc, found.scheme) not in {_place(host, found.scheme) for host in asked}:
        raise Refusal(403, "the request comes from another site", code="foreign_origin")


def _place(netloc: str, scheme: str) -> tuple[str, int | None]:
    """Return host and port; the origin's scheme tells the port that is not written."""
    try:
        parts = urlsplit(f"//{netloc}")
        return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return "", None


def _check_token(request: Request, services: Services, session: Session | None) -> None:
    cookie, header = request.cookies.get(CSRF_COOKIE, ""), request.headers.get(CSRF_HEADER, "")
    is_same = hmac.compare_digest(cookie.encode(), header.encode())
    if not is_same or not services.sessions.is_csrf_token(header, session):
        raise Refusal(
            403, f"get a token from /auth/csrf and send it as the header {CSRF_HEADER} with its cookie", code="csrf"
        )


def _responses(access: Access) -> dict[int | str, dict[str, Any]]:
    statuses = {422, 500, 503}
    if not access.is_public:
        statuses |= {401, 403}
    if access.needs_csrf:
        statuses |= {403, 413, access.refusal}
    if access.switch or "{" in access.path:
        statuses.add(404)
    if access.is_limited:
        statuses.add(429)
    return {
        status: {"model": ErrorAnswer, "description": _ABOUT.get(status, "Refused; the detail says why.")}
        for status in sorted(statuses)
    }


def _extra(access: Access) -> dict[str, Any]:
    extra: dict[str, Any] = {"x-scope": access.scope.value}
    if access.permission:
        extra["x-permission"] = access.permission.value
    if access.needs_csrf:
        about = f"Equals the cookie {CSRF_COOKIE}; from /auth/csrf or the login."
        extra["parameters"] = [
            {"name": CSRF_HEADER, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
        ]
    return extra
