"""Cookies: of which name and how protected, the session's value in one, and the CSRF tokens that belong to sessions."""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request, Response

from ops_api.hosts import is_loopback
from ops_api.signing import Signer
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.sessions import LIFETIME, Begun
from pipeline.runtime.settings import Settings

#: Over TLS the prefix binds the cookie to this host and path (RFC 6265bis): no neighbour can plant one.
SECURE_SESSION_COOKIE = "__Host-oss_session"
SESSION_COOKIE = "oss_session"
CSRF_COOKIE = "oss_csrf"
CSRF_HEADER = "x-csrf-token"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class CsrfTokens:
    """Makes and checks the tokens that every change by cookie carries twice; each belongs to one session."""

    def __init__(self, keys: Secrets) -> None:
        self._signer = Signer(keys.key("csrf"))

    def make(self, session_id: UUID | None, held: str | None = None) -> str:
        """Return a CSRF token for this session, or for somebody not signed in; one `held` already is kept."""
        if held and self.is_good(held, session_id):
            return held
        return self._signer.sign({"nonce": secrets.token_urlsafe(18), "sid": _binding(session_id)})

    def is_good(self, token: str, session_id: UUID | None) -> bool:
        """Say whether the token was made here, for this session."""
        values = self._signer.read(token)
        return values is not None and values.get("sid") == _binding(session_id)


def is_secure(request: Request, settings: Settings) -> bool:
    """Say whether cookies may travel over TLS only: always, but for plain HTTP on this machine."""
    is_https = request.url.scheme == "https" or urlsplit(settings.public_url or "").scheme == "https"
    return is_https or not is_loopback(request.url.hostname or "")


def session_token(request: Request, settings: Settings) -> str | None:
    """Return the value of the session's cookie; None when there is none, or it cannot be one."""
    found = request.cookies.get(_session_cookie(request, settings), "")
    return found if _TOKEN.fullmatch(found) else None


def let_in(request: Request, response: Response, settings: Settings, csrf: CsrfTokens, begun: Begun) -> str:
    """Let the client keep a session that has begun, with a CSRF token for it; return that token.

    The session's cookie is out of reach of scripts, and not sent along by other sites' forms.
    """
    _set(request, response, settings, _session_cookie(request, settings), begun.token, is_for_scripts=False)
    token = csrf.make(begun.session_id)
    set_csrf(request, response, settings, token)
    return token


def set_csrf(request: Request, response: Response, settings: Settings, token: str) -> None:
    """Let the client keep the token, where its scripts can read it."""
    _set(request, response, settings, CSRF_COOKIE, token, is_for_scripts=True)


def forget(request: Request, response: Response, settings: Settings) -> None:
    """Take both cookies back."""
    for name in (_session_cookie(request, settings), CSRF_COOKIE):
        is_private = name != CSRF_COOKIE
        response.delete_cookie(name, path="/", secure=is_secure(request, settings), httponly=is_private, samesite="lax")


def _session_cookie(request: Request, settings: Settings) -> str:
    return SECURE_SESSION_COOKIE if is_secure(request, settings) else SESSION_COOKIE


def _set(
    request: Request, response: Response, settings: Settings, name: str, value: str, *, is_for_scripts: bool
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        secure=is_secure(request, settings),
        httponly=not is_for_scripts,
        samesite="lax",
    )


def _binding(session_id: UUID | None) -> str | None:
    return None if session_id is None else str(session_id)
