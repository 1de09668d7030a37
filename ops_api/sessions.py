"""Sessions and the CSRF tokens that belong to them: signed values in cookies, nothing stored."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from ops_api.access import Role
from ops_api.signing import Signer
from pipeline.ports import Clock
from pipeline.runtime.secrets import Secrets

SESSION_COOKIE = "oss_session"
CSRF_COOKIE = "oss_csrf"
CSRF_HEADER = "x-csrf-token"
#: Absolute: nothing prolongs a session (OWASP ASVS 5.0, 7.3.2).
LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Session:
    """Who asks, for which organization, in which role, until when."""

    session_id: UUID
    email: str
    org_id: UUID
    role: Role
    created_at: datetime
    expires_at: datetime


class Sessions:
    """Opens and reads sessions. One cannot be ended before it expires: the token is its only memory."""

    def __init__(self, keys: Secrets, clock: Clock) -> None:
        self._sessions, self._csrf = Signer(keys.key("session")), Signer(keys.key("csrf"))
        self._clock = clock

    def open(self, email: str, org_id: UUID, role: Role) -> Session:
        """Begin a session that expires after `LIFETIME`."""
        now = self._clock.now().replace(microsecond=0)
        return Session(uuid4(), email, org_id, role, now, now + LIFETIME)

    def token(self, session: Session) -> str:
        """Return the cookie's value for a session."""
        return self._sessions.sign(
            {
                "sid": session.session_id,
                "email": session.email,
                "org": session.org_id,
                "role": session.role.value,
                "iat": int(session.created_at.timestamp()),
                "exp": int(session.expires_at.timestamp()),
            }
        )

    def read(self, token: str | None) -> Session | None:
        """Return the session of a cookie's value; None when it is absent, forged, damaged or expired."""
        values = self._sessions.read(token) if token else None
        session = None if values is None else _session(values)
        return session if session and session.expires_at > self._clock.now() else None

    def csrf_token(self, session: Session | None, held: str | None = None) -> str:
        """Return a CSRF token for this session, or for somebody not signed in; one `held` already is kept."""
        if held and self.is_csrf_token(held, session):
            return held
        return self._csrf.sign({"nonce": secrets.token_urlsafe(18), "sid": _binding(session)})

    def is_csrf_token(self, token: str, session: Session | None) -> bool:
        """Say whether the token was made here, for this session."""
        values = self._csrf.read(token)
        return values is not None and values.get("sid") == _binding(session)


def _binding(session: Session | None) -> str | None:
    return None if session is None else str(session.session_id)


def _session(values: dict[str, Any]) -> Session | None:
    try:
        return Session(
            session_id=UUID(values["sid"]),
            email=str(values["email"]),
            org_id=UUID(values["org"]),
            role=Role(values["role"]),
            created_at=datetime.fromtimestamp(values["iat"], UTC),
            expires_at=datetime.fromtimestamp(values["exp"], UTC),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
