"""Proves bearer tokens of other issuers: by the shared secret of contract 000, or by the keys an issuer publishes.

Each way has a verifier of its own, which knows one algorithm and takes one kind of key: a public key can never be used
as a shared secret (RFC 8725, 2.1 and 3.1). Only what the operator set decides which one is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from pipeline.adapters.guarded_http import Guard, guarded_client
from pipeline.adapters.jwks import FETCH_SECONDS, Jwks, PublicKey
from pipeline.core import jwt_rules
from pipeline.core.jwt_rules import BadToken, Said, Token
from pipeline.ports import Clock
from pipeline.runtime.errors import FieldpostError
from pipeline.runtime.issuers import JwtIssuer
from pipeline.runtime.settings import Settings

_SHORTEST_SECRET = 32
_SHARED = PyJWS(["HS256"])
_PUBLISHED: Mapping[str, PyJWS] = MappingProxyType({name: PyJWS([name]) for name in ("RS256", "ES256", "EdDSA")})
_REQUIRED = ("iat", "nbf")


class Misconfigured(FieldpostError):
    """The operator's settings are such that no token can be proved (AUTH_CONFIG_ERROR)."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A token that is what it says: from whom, what it says, and the one organization that its issuer may open."""

    said: Said
    #: None where the shared secret proves it and no issuer is asked for.
    issuer: str | None
    #: By name or id; None where the shared secret proves it: whoever has that may name any organization.
    organization: str | None


class JwtVerifier:
    """Proves tokens; may be shared by threads. It may wait for an issuer's keys, at most a few seconds."""

    def __init__(self, settings: Settings, guard: Guard, clock: Clock) -> None:
        """Prepare; nothing is asked for yet."""
        secret = settings.dispatch_auth_jwt_secret
        self._secret = secret.get_secret_value().encode() if secret else None
        self._issuer, self._audience = settings.dispatch_auth_jwt_issuer, settings.dispatch_auth_jwt_audience
        self._clock = clock
        self._issuers = {one.issuer: one for one in settings.jwt_issuers}
        self._client = guarded_client(guard, seconds=FETCH_SECONDS) if self._issuers else None
        self._keys = {
            one.issuer: Jwks(one.jwks_url, self._client, clock) for one in settings.jwt_issuers if self._client
        }

    def verify(self, text: str) -> Proven:
        """Return what a token proves. Raises `BadToken`, `BadClaims`, `Misconfigured`, and `KeysAway`."""
        token = jwt_rules.take_apart(text)
        if token.algorithm == "HS256":
            return self._shared(token)
        found = self._issuers.get(token.issuer or "")
        if found is None:
            raise BadToken("nobody here knows its issuer")
        return self._published(token, found)

    def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            self._client.close()

    def _shared(self, token: Token) -> Proven:
        if self._secret is None:
            raise BadToken("no tokens signed with HS256 are taken here")
        if len(self._secret) < _SHORTEST_SECRET:
            raise Misconfigured(f"DISPATCH_AUTH_JWT_SECRET needs at least {_SHORTEST_SECRET} bytes (RFC 7518, 3.2)")
        _check_signature(_SHARED, token, self._secret)
        jwt_rules.check_place(token, issuer=self._issuer, audience=self._audience)
        jwt_rules.check_times(token, self._clock.now())
        return Proven(jwt_rules.read(token), self._issuer, None)

    def _published(self, token: Token, issuer: JwtIssuer) -> Proven:
        if token.algorithm not in issuer.algorithms:
            raise BadToken("its issuer does not sign with this algorithm")
        jwt_rules.check_type(token.header, may_lack="typ" in issuer.may_lack)
        if token.key_id is None:
            raise BadToken("it does not name its key")
        # What costs no request comes first: only a token that could be good may make keys be fetched.
        jwt_rules.check_place(token, issuer=issuer.issuer, audience=issuer.audience)
        required = [name for name in _REQUIRED if name not in issuer.may_lack]
        jwt_rules.check_times(token, self._clock.now(), leeway=jwt_rules.LEEWAY, required=required)
        key = self._keys[issuer.issuer].key(token.key_id, token.algorithm)
        if key is None:
            raise BadToken("its issuer publishes no such key")
        check_published(token, key)
        said = jwt_rules.read(token, role_claim=issuer.role_claim, may_lack_places=True)
        return Proven(said, issuer.issuer, issuer.organization)


def check_published(token: Token, key: PublicKey) -> None:
    """Return when a published key signed a token. Raises `BadToken`; `KeyError` for an algorithm not ours."""
    _check_signature(_PUBLISHED[token.algorithm], token, key)


def _check_signature(verifier: PyJWS, token: Token, key: Any) -> None:
    try:
        verifier.decode_complete(token.text, key, algorithms=[token.algorithm])
    except (PyJWTError, ValueError, TypeError):
        raise BadToken("its signature is not good") from None
