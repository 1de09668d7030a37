"""The guard before every route: it reads the access table and lets through, or refuses, before a body is read."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.responses import Response

from ops_api import request_keys
from ops_api.access import Access
from ops_api.access_rows import TABLE
from ops_api.actor_headers import missing_actor
from ops_api.answers import Refusal
from ops_api.audited import REFUSALS, Trail
from ops_api.dependencies import Services
from ops_api.json_bodies import StrictRequest
from ops_api.preconditions import demand_version
from ops_api.rate_limits import count_address, count_principal, rate_of
from ops_api.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE
from ops_api.shapes import ErrorAnswer, shape_of
from pipeline.core.principals import Principal, Way
from pipeline.core.uploads import KINDS

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Document the ways in for OpenAPI; the guard is what checks them.
_SCHEMES = (
    Depends(APIKeyCookie(name=SESSION_COOKIE, scheme_name="session", auto_error=False)),
    Depends(HTTPBearer(scheme_name="bearer", auto_error=False)),
)
_ABOUT = {
    400: "The request cannot be read, or does not say who asks.",
    401: "No session or token, or one that is over.",
    403: "The role lacks the permission, the CSRF token does not match, or the origin is another host.",
    404: "No such object within the reach of who asks.",
    413: "The body is too large.",
    414: "The address is too long.",
    415: "The body has a Content-Encoding; send it as it is.",
    422: "A value of the request is invalid.",
    428: "No version was sent as If-Match.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "The request failed here.",
    503: "The database does not answer.",
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_ABOUT_FILE = "The file as it is, or a form with it; `Content-Digest` (RFC 9530) is verified."
_FORM = {"type": "object", "required": ["file"], "properties": {"file": _BYTES["schema"]}}
#: The body of a route that takes a file.
_FILE = {
    "required": True,
    "description": _ABOUT_FILE,
    "content": {**dict.fromkeys(sorted(KINDS), _BYTES), "multipart/form-data": {"schema": _FORM}},
}
_OTHERWISE = "Refused; the detail says why."
_FIRST_REFUSAL = 400


class GuardedRoute(APIRoute):
    """A route that has its row in the access table, and does what the row demands; without a row it cannot be made.

    A dependency would come too late: the framework reads and parses the body before it.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        (method,) = options["methods"]
        self.access = TABLE[method, path]
        options["summary"] = options.get("summary") or _summary(endpoint)
        options["responses"] = _responses(self.access, options.get("responses") or {})
        options["openapi_extra"] = _extra(self.access) | (options.get("openapi_extra") or {})
        if not self.access.is_public:
            options["dependencies"] = [*(options.get("dependencies") or ()), *_SCHEMES]
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with the guard before it."""
        handle = super().get_route_handler()
        access = self.access

        async def guarded(request: Request) -> Response:
            services: Services = request.app.state.services
            request.state.access, request.state.principal = access, None
            request.state.trail = trail = Trail(request, access, services.trails)
            try:
                request.state.principal = await check(request, access)
                response = await handle(StrictRequest(request.scope, request.receive))
            except REFUSALS as error:
                await trail.refused_aside(lambda: services.begin(request.state.principal), error)
                raise
            await trail.done_aside(lambda: services.begin(request.state.principal), response.status_code)
            return response

        return guarded


async def check(request: Request, access: Access) -> Principal | None:
    """Return who asks, None for nobody at a public route.

    Raises `Refusal`: 404 switched off, 429, 401, 403 origin or CSRF token, 403 way, tool, permission or reach, 400 no
    good `Idempotency-Key`, 428 no `If-Match`, where one is needed; in this order.
    """
    services: Services = request.app.state.services
    if access.switch and not getattr(services.settings, access.switch):
        raise Refusal(404, "there is nothing at this address")
    await count_address(request, services.limiter, access)
    principal = await services.identifier.identify(request, access) if access.asks_who else None
    # Who is refused is named too, for the audit trail.
    request.state.principal = principal
    await count_principal(request, services.limiter, access, principal)
    if principal is None and not access.is_public:
        raise _nobody(services, access)
    if access.needs_csrf and (principal is None or principal.way is Way.SESSION):
        _check_origin(request, services)
        _check_token(request, services, principal)
    if principal is not None and not access.is_public:
        _check_permission(request, principal, access)
    return principal


def _nobody(services: Services, access: Access) -> Refusal:
    if not access.tools:
        return Refusal(401, "sign in first")
    if services.settings.is_dev_login_served:
        return missing_actor()
    return Refusal(401, "sign in first, or send a bearer token", code="AUTH_REQUIRED")


def _check_permission(request: Request, principal: Principal, access: Access) -> None:
    if access.ways is not None and principal.way not in access.ways:
        ways = " or ".join(sorted(way.value for way in access.ways))
        raise _forbidden(access, f"this takes another way in: {ways}")
    if not principal.may(access.permission):
        needed = access.permission.value if access.permission else "nothing"
        raise _forbidden(access, f"the role {principal.role} may not do this; it needs {needed}")
    tool = request.headers.get("x-tool-name", "").strip()
    if tool and access.tools and tool not in access.tools:
        raise Refusal(403, f"this address is the tool {' or '.join(access.tools)}", code="TOOL_NOT_ALLOWED")
    if not principal.scope.is_whole and not access.is_reach_kept:
        raise _forbidden(access, "this is for people who reach the whole organization")
    if access.needs_key:
        _check_key(request)
    if access.needs_version:
        demand_version(request.headers.get("if-match"))


def _check_key(request: Request) -> None:
    """Refuse a request without a good name before its body is looked at (seed-behaviours, 1.4)."""
    wrong = request_keys.problem(request.headers.get("idempotency-key"), needs_uuid=True)
    if wrong is not None:
        raise Refusal(400, wrong.said, code=wrong.code)


def _forbidden(access: Access, why: str) -> Refusal:
    return Refusal(403, why, code="FORBIDDEN" if access.tools else None)


def _check_origin(request: Request, services: Services) -> None:
    origin = request.headers.get("origin")
    if origin is None:
        return
    asked = {request.headers.get("host", ""), urlsplit(services.settings.public_url or "").netloc}
    scheme, _, netloc = origin.partition("://")
    if not netloc or _place(netloc, scheme) not in {_place(host, scheme) for host in asked}:
        raise Refusal(403, "the request comes from another site", code="foreign_origin")


def _place(netloc: str, scheme: str) -> tuple[str, int | None]:
    """Return host and port; the origin's scheme tells the port that is not written."""
    try:
        parts = urlsplit(f"//{netloc}")
        return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return "", None


def _check_token(request: Request, services: Services, principal: Principal | None) -> None:
    cookie, header = request.cookies.get(CSRF_COOKIE, ""), request.headers.get(CSRF_HEADER, "")
    is_same = hmac.compare_digest(cookie.encode(), header.encode())
    if not is_same or not services.csrf.is_good(header, principal.session_id if principal else None):
        raise Refusal(
            403, f"get a token from /auth/csrf and send it as the header {CSRF_HEADER} with its cookie", code="csrf"
        )


def _summary(endpoint: Callable[..., Any]) -> str | None:
    """Return the first sentence of what is said of a handler: its name alone says too little in a list."""
    first = (endpoint.__doc__ or "").strip().split("\n\n")[0]
    return re.split(r"(?<=\w)[.:;] ", " ".join(first.split()))[0].rstrip(".") or None


def _responses(access: Access, more: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """Return how the route refuses, in the shape and the numbers of its contract; `more` is what it says itself."""
    shape = shape_of(access.method, access.path)
    said: dict[int | str, dict[str, Any]] = {
        status: {"description": _ABOUT.get(status, _OTHERWISE)} for status in sorted(_statuses(access))
    }
    found: dict[int | str, dict[str, Any]] = {}
    for status, about in (said | more).items():
        is_plain = int(status) >= _FIRST_REFUSAL and about.get("model") in {None, ErrorAnswer}
        found[shape.status(int(status))] = about | ({"model": shape.model} if is_plain else {})
    return found


def _statuses(access: Access) -> set[int]:
    statuses = {414, 422, 500, 503}
    if not access.is_public:
        statuses |= {401, 403}
    if access.needs_csrf:
        statuses |= {403, access.refusal}
    if access.is_change:
        statuses |= {413, 415}
    # A file that did not come whole, and a tool's caller who does not say who they are.
    if access.body_limit is not None or access.tools:
        statuses.add(400)
    if access.needs_version:
        statuses.add(428)
    if access.switch or "{" in access.path:
        statuses.add(404)
    if rate_of(access) is not None:
        statuses.add(429)
    return statuses


def _extra(access: Access) -> dict[str, Any]:
    extra: dict[str, Any] = {"x-scope": access.scope.value}
    if access.permission:
        extra["x-permission"] = access.permission.value
    if access.body_limit is not None:
        extra["requestBody"] = _FILE
    if access.needs_csrf:
        about = f"With a session's cookie: equals the cookie {CSRF_COOKIE}; from /auth/csrf or the login."
        extra["parameters"] = [
            {"name": CSRF_HEADER, "in": "header", "required": False, "description": about, "schema": {"type": "string"}}
        ]
    return extra
