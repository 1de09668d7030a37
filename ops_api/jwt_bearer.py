"""Bearer tokens of other issuers (contract 000): proved first, in threads of their own, and then looked up."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import anyio.to_thread

from ops_api.answers import Refusal
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.jwks import KeysAway
from pipeline.adapters.jwt_verifier import JwtVerifier, Misconfigured, Proven
from pipeline.core.jwt_rules import BadClaims, BadToken, looks_like_one
from pipeline.core.principals import Principal
from pipeline.ports import Clock
from pipeline.runtime import access_tokens, token_bearers
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger
from pipeline.runtime.settings import Settings

_INVALID = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
#: An issuer's keys may have to be waited for: never in the threads that look everybody up.
_PROVED_AT_ONCE = 4

Trouble = BadToken | BadClaims | Misconfigured | KeysAway


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of proving a token: one of the two."""

    proven: Proven | None = None
    trouble: Trouble | None = None


class JwtBearers:
    """Proves tokens for one API process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Prepare; nothing is asked for yet."""
        self._verifier = JwtVerifier(settings, Guard.of(settings), clock)
        self._limiter = anyio.CapacityLimiter(_PROVED_AT_ONCE)

    async def prove(self, token: str) -> Proof | None:
        """Return what a token proves, None for one that is of another kind. No connection is held meanwhile.

        One that claims to be ours is of another kind: its reader knows it or refuses it.
        """
        if not looks_like_one(token) or access_tokens.is_ours(token):
            return None
        return await anyio.to_thread.run_sync(self._prove, token, limiter=self._limiter)

    def close(self) -> None:
        """Let go of connections."""
        self._verifier.close()

    def _prove(self, token: str) -> Proof:
        try:
            return Proof(proven=self._verifier.verify(token))
        except (BadToken, BadClaims, Misconfigured, KeysAway) as error:
            return Proof(trouble=error)


def principal(db: Database, settings: Settings, proof: Proof) -> Principal:
    """Return who acts. Raises `Refusal`: 401, and 500 or 503 where the token could not be judged."""
    proven = proof.proven
    if proven is None:
        raise refusal(proof.trouble or BadToken("it proves nothing"))
    try:
        with db.begin() as connection:
            return token_bearers.principal(
                connection,
                proven.said,
                issuer=proven.issuer,
                pinned=proven.organization,
                otherwise=settings.jwt_organization,
            )
    except (BadToken, BadClaims) as error:
        raise refusal(error) from None


def refusal(trouble: Trouble) -> Refusal:
    """Return how a token is refused, in the codes of contract 000; nothing of the token is repeated."""
    get_logger().warning("bearer.refused", reason=str(trouble)[:200])
    match trouble:
        case BadClaims():
            return Refusal(401, f"the token does not fit: {trouble}", code="INVALID_AUTH_CLAIMS", headers=_INVALID)
        case Misconfigured():
            return Refusal(500, "tokens cannot be checked here; the log says why", code="AUTH_CONFIG_ERROR")
        case KeysAway():
            why = "the keys that the token is checked with cannot be had; try again"
            return Refusal(503, why, headers={"Retry-After": "5"})
        case _:
            return Refusal(401, f"the token is not good: {trouble}", code="INVALID_AUTH_TOKEN", headers=_INVALID)
