"""Logins with an identity provider that were begun: each comes back once, within ten minutes, in the same browser."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta

import orjson
from sqlalchemy import Connection, text

from pipeline.runtime.errors import KeyUnknown, NeedsAuthorization
from pipeline.runtime.secrets import Secrets

#: A person may have to look for a second factor.
LIFETIME = timedelta(minutes=10)
_PURPOSE = "openid login"

#: What is over goes away with whoever comes next, a few at a time.
_BEGIN = text("""
    WITH over AS (
        DELETE FROM login_states WHERE state_hash IN (
            SELECT state_hash FROM login_states WHERE expires_at < now() ORDER BY expires_at LIMIT 100
               FOR UPDATE SKIP LOCKED
        )
    )
    INSERT INTO login_states (state_hash, sealed, return_to, expires_at)
    VALUES (:hash, :sealed, :return_to, now() + CAST(:lifetime AS interval))
""")
_TAKE = text(
    "DELETE FROM login_states WHERE state_hash = :hash RETURNING sealed, return_to, expires_at > now() AS is_good"
)


@dataclass(frozen=True, slots=True)
class Login:
    """One login under way: what only its browser and we know, and where it goes on to."""

    state: str = field(repr=False)
    browser: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    return_to: str


def new(browser: str, return_to: str) -> Login:
    """Return a login that begins; everything in it is 256 random bits."""
    return Login(secrets.token_urlsafe(32), browser, secrets.token_urlsafe(32), secrets.token_urlsafe(48), return_to)


def begin(connection: Connection, keys: Secrets, login: Login) -> None:
    """Remember a login."""
    hashed = _hash(login.state)
    said = orjson.dumps({"nonce": login.nonce, "verifier": login.verifier, "browser": _hash(login.browser).hex()})
    sealed = keys.seal(_PURPOSE, hashed.hex(), said)
    values = {"hash": hashed, "sealed": sealed, "return_to": login.return_to, "lifetime": LIFETIME}
    connection.execute(_BEGIN, values)


def take(connection: Connection, keys: Secrets, state: str, browser: str) -> Login | None:
    """Return the login of a state and forget it; None for one that is unknown, over, used, or another browser's."""
    hashed = _hash(state)
    row = connection.execute(_TAKE, {"hash": hashed}).one_or_none()
    if row is None or not row.is_good:
        return None
    try:
        said = orjson.loads(keys.unseal(_PURPOSE, hashed.hex(), row.sealed))
    except (KeyUnknown, NeedsAuthorization):
        return None
    if not secrets.compare_digest(said["browser"], _hash(browser).hex()):
        return None
    return Login(state, browser, said["nonce"], said["verifier"], row.return_to)


def _hash(said: str) -> bytes:
    return hashlib.sha256(said.encode()).digest()
