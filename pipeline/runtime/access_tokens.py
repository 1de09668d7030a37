"""Our own bearer tokens (contract 004): short-lived JWTs that name a family of refresh tokens; it must still go on."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import orjson
from sqlalchemy import Connection

from pipeline.core.principals import Principal
from pipeline.ports import Clock
from pipeline.runtime import identity
from pipeline.runtime.issuers import OWN_ISSUER
from pipeline.runtime.secrets import Secrets

LIFETIME = timedelta(minutes=15)
AUDIENCE = "fieldpost-api"
#: RFC 9068, section 2.1: no other kind of token is taken for one of these.
_TYPE = "at+jwt"
_ALGORITHM = "HS256"
_PURPOSE = "access token"
#: Two machines' clocks may differ by this (reliability, section 5).
_LEEWAY_SECONDS = 30
_LONGEST = 2_048
_NEEDED = ["iss", "aud", "sub", "org", "sid", "iat", "exp", "jti"]
#: Times are compared with the Clock port's.
_OPTIONS: Any = {"require": _NEEDED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}


class AccessTokens:
    """Makes and reads access tokens, under a key that serves nothing else; earlier secret keys still open them."""

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        self._secrets, self._clock = secrets, clock

    def make(self, *, org_id: UUID, person_id: UUID, session_id: UUID) -> str:
        """Return a token for a person in an organization that is good for `LIFETIME`, while its family goes on."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": OWN_ISSUER,
            "aud": AUDIENCE,
            "sub": str(person_id),
            "org": str(org_id),
            "sid": str(session_id),
            "iat": now,
            "exp": now + int(LIFETIME.total_seconds()),
            "jti": uuid4().hex,
        }
        return jwt.encode(claims, self._secrets.key(_PURPOSE), algorithm=_ALGORITHM, headers={"typ": _TYPE})

    def family(self, token: str) -> UUID | None:
        """Return the family that a token names; None when it is not ours, changed, or its time is over."""
        claims = next(
            (found for key in self._secrets.keys(_PURPOSE) if (found := _claims(token, key)) is not None), None
        )
        if claims is None or not self._is_now(claims):
            return None
        try:
            return UUID(claims["sid"])
        except (ValueError, AttributeError, TypeError):
            return None

    def principal(self, connection: Connection, token: str) -> Principal | None:
        """Return who bears a token, with what they may do at this moment; None when it opens nothing (any more)."""
        session_id = self.family(token)
        return None if session_id is None else identity.by_family(connection, session_id)

    def _is_now(self, claims: dict[str, Any]) -> bool:
        now = self._clock.now().timestamp()
        begins, ends = claims["iat"], claims["exp"]
        if not isinstance(begins, int) or not isinstance(ends, int):
            return False
        return begins - _LEEWAY_SECONDS <= now < ends + _LEEWAY_SECONDS


def is_ours(token: str) -> bool:
    """Say whether a bearer token claims to be ours, so that no other issuer's rules are asked; proves nothing.

    Asked twice for every request, so that nothing is read but the claims.
    """
    parts = token.split(".")
    if len(token) > _LONGEST or len(parts) != 3:
        return False
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return False
    return isinstance(claims, dict) and claims.get("iss") == OWN_ISSUER


def _claims(token: str, key: bytes) -> dict[str, Any] | None:
    if len(token) > _LONGEST:
        return None
    try:
        found = jwt.decode_complete(
            token, key, algorithms=[_ALGORITHM], audience=AUDIENCE, issuer=OWN_ISSUER, options=_OPTIONS
        )
    except (jwt.PyJWTError, RecursionError):
        return None
    claims: dict[str, Any] = found["payload"]
    return claims if found["header"].get("typ") == _TYPE else None
