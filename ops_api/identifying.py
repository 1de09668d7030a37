"""Who asks: read from what a request presents, once, before its body is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from fastapi import Request

from ops_api import actor_headers, bearers
from ops_api.access import Access
from ops_api.actor_headers import ActorHeaders
from ops_api.answers import Refusal
from ops_api.bearers import Bearer
from ops_api.jwt_bearer import JwtBearers, Proof
from ops_api.sessions import session_token
from pipeline.core.principals import Principal
from pipeline.runtime import identity
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

#: Requests that are looked up at once. Each has a connection of its own, so that those who hold a transaction and
#: those who are only being looked up never wait for each other.
LOOKUPS = 4


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request shows of who it is from: at most one of these is believed, and the first one that is there."""

    bearer: str | None = field(default=None, repr=False)
    actor: ActorHeaders | None = None
    session: str | None = field(default=None, repr=False)


class Identifier:
    """Turns what a request presents into a `Principal`, in a bounded number of threads."""

    def __init__(self, settings: Settings, secrets: Secrets, db: Database, jwts: JwtBearers) -> None:
        self._settings, self._secrets, self._db, self._jwts = settings, secrets, db, jwts
        self._limiter = anyio.CapacityLimiter(LOOKUPS)

    async def identify(self, request: Request, access: Access) -> Principal | None:
        """Return who asks; None when nobody is named. Raises `Refusal` (400, 401) for a token or headers in vain."""
        presented = self._presented(request, access)
        if presented == Presented():
            return None
        proof = None if presented.bearer is None else await self._jwts.prove(presented.bearer)
        return await anyio.to_thread.run_sync(self._look, presented, access, proof, limiter=self._limiter)

    def _presented(self, request: Request, access: Access) -> Presented:
        """Read the headers: who shows a token means it, whatever cookies came along; a public route sees cookies."""
        if access.is_public:
            return Presented(session=session_token(request, self._settings))
        bearer = _bearer(request.headers.get("authorization"))
        if bearer is not None:
            return Presented(bearer=bearer)
        actor = actor_headers.presented(request, self._settings)
        if actor is not None:
            return Presented(actor=actor)
        return Presented(session=session_token(request, self._settings))

    def _look(self, presented: Presented, access: Access, proof: Proof | None) -> Principal | None:
        if presented.bearer is not None:
            return bearers.read(Bearer(presented.bearer, access, self._settings, self._secrets, self._db, proof))
        with self._db.begin() as connection:
            if presented.actor is not None:
                return actor_headers.principal(connection, presented.actor)
            return identity.by_session(connection, presented.session or "")


def _bearer(authorization: str | None) -> str | None:
    """Return the token of the header; None without one. Raises `Refusal` (401) for another scheme."""
    if authorization is None:
        return None
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(
            401,
            "write it as `Authorization: Bearer TOKEN`",
            code="INVALID_AUTH_TOKEN",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return token.strip()
