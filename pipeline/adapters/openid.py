"""One OpenID provider: where its login is, and who somebody is that comes back from it with a code.

Code flow with PKCE (RFC 7636) and a nonce; the id token is checked by the same rules as other issuers' tokens, and by
Authlib's for what only id tokens say (OpenID Connect Core, 3.1.3.7).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
from authlib.oauth2 import OAuth2Client, OAuth2Error
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError

from pipeline.adapters.guarded_http import Guard, fetch, guarded_client, is_safe_url
from pipeline.adapters.jwks import FETCH_SECONDS, Jwks, KeysAway
from pipeline.adapters.jwt_verifier import check_published
from pipeline.core import contacts, jwt_rules
from pipeline.core.jwt_rules import BadClaims, BadToken
from pipeline.ports import Clock
from pipeline.runtime.errors import FieldpostError, UserError
from pipeline.runtime.settings import Settings

_SCOPE = "openid email profile"
_ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_KEPT = timedelta(minutes=10)
_LONGEST_NAME = 200


class ProviderAway(FieldpostError):
    """The provider does not answer, or answers what cannot be believed; nothing is wrong with who signs in."""


class CodeRefused(FieldpostError):
    """The provider takes the code for nothing: used, too old, or another's."""


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody as the provider knows them; `email` only where it says that it proved the address."""

    issuer: str
    subject: str
    email: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """What only the one who began a login may know: it comes back within the id token, and proves the code."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the provider says of itself, at a moment of ours."""

    said: Mapping[str, Any]
    keys: Jwks
    at: float


class OpenIdProvider:
    """The provider that the settings name; may be shared by threads. Every method may take some seconds."""

    def __init__(self, settings: Settings, guard: Guard, clock: Clock) -> None:
        """Prepare; nothing is asked for yet."""
        secret = settings.oidc_client_secret
        self._issuer, self._client_id = settings.oidc_issuer or "", settings.oidc_client_id or ""
        self._secret = secret.get_secret_value() if secret else ""
        self._is_production = settings.environment == "production"
        self._clock = clock
        self._http = guarded_client(guard, seconds=FETCH_SECONDS)
        self._lock = threading.Lock()
        self._found: _Found | None = None

    def login_url(self, state: str, secret: Secret, redirect_uri: str) -> str:
        """Return where the browser goes to sign in. Raises `ProviderAway`."""
        found = self._discover()
        url, _ = self._client(found, redirect_uri).create_authorization_url(
            found.said["authorization_endpoint"], state=state, code_verifier=secret.verifier, nonce=secret.nonce
        )
        return str(url)

    def who(self, code: str, secret: Secret, redirect_uri: str) -> Who:
        """Return who came back with a code, which is used up. Raises `ProviderAway` and `CodeRefused`."""
        found = self._discover()
        token = self._exchange(found, code, secret, redirect_uri)
        try:
            return self._read(found, token, secret.nonce)
        except KeysAway:
            raise ProviderAway("the keys of the identity provider cannot be had") from None
        except (BadToken, BadClaims) as error:
            raise ProviderAway(f"the identity provider's answer does not fit: {error}") from None
        except JoseError as error:
            raise ProviderAway(f"the identity provider's answer does not fit: {error.error}") from None

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _client(self, found: _Found, redirect_uri: str) -> _Client:
        methods = found.said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        return _Client(self._http, self._client_id, self._secret, redirect_uri, method)

    def _discover(self) -> _Found:
        """Return what the provider says of itself, ten minutes old at most, or older while it does not answer."""
        with self._lock:
            found, now = self._found, self._clock.monotonic()
            if found is not None and now - found.at < _KEPT.total_seconds():
                return found
            try:
                said = self._asked()
            except ProviderAway:
                if found is None:
                    raise
                return found
            keys = found.keys if found is not None and found.said["jwks_uri"] == said["jwks_uri"] else None
            self._found = _Found(said, keys or Jwks(said["jwks_uri"], self._http, self._clock), now)
            return self._found

    def _asked(self) -> Mapping[str, Any]:
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        if not is_safe_url(url, is_production=self._is_production):
            raise ProviderAway("FIELDPOST_OIDC_ISSUER does not start with https://")
        try:
            said = json.loads(fetch(self._http, url))
        except (httpx.HTTPError, httpx.InvalidURL, UserError, ValueError, RecursionError) as error:
            raise ProviderAway(f"the identity provider does not answer: {type(error).__name__}") from error
        if not isinstance(said, dict) or said.get("issuer") != self._issuer:
            raise ProviderAway("the identity provider calls itself by another name than FIELDPOST_OIDC_ISSUER")
        for name in _ENDPOINTS:
            if not isinstance(said.get(name), str) or not is_safe_url(said[name], is_production=self._is_production):
                raise ProviderAway(f"the identity provider's {name} is no safe address")
        return said

    def _exchange(self, found: _Found, code: str, secret: Secret, redirect_uri: str) -> str:
        try:
            answer = self._client(found, redirect_uri).fetch_token(
                found.said["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=secret.verifier,
            )
            token = answer.get("id_token")
        except OAuth2Error as error:
            if error.error == "invalid_grant":
                raise CodeRefused("the identity provider does not take this login any more") from None
            raise ProviderAway(f"the identity provider refuses us: {str(error.error)[:100]!r}") from None
        except (httpx.HTTPError, httpx.InvalidURL, UserError, ValueError, RecursionError) as error:
            raise ProviderAway(f"the identity provider does not answer: {type(error).__name__}") from error
        if not isinstance(token, str):
            raise ProviderAway("the identity provider gave no id token")
        return token

    def _read(self, found: _Found, text: str, nonce: str) -> Who:
        token = jwt_rules.take_apart(text)
        if token.algorithm not in _ALGORITHMS or token.key_id is None:
            raise BadToken("it is signed in a way that is not taken")
        jwt_rules.check_place(token, issuer=self._issuer, audience=self._client_id)
        now = self._clock.now()
        jwt_rules.check_times(token, now, leeway=jwt_rules.LEEWAY, required=("iat",))
        key = found.keys.key(token.key_id, token.algorithm)
        if key is None:
            raise BadToken("its key is not published")
        check_published(token, key)
        params = {"nonce": nonce, "client_id": self._client_id}
        claims = CodeIDToken(dict(token.claims), dict(token.header), params=params)
        claims.validate(now=int(now.timestamp()), leeway=int(jwt_rules.LEEWAY.total_seconds()))
        return _who(self._issuer, token.claims)


class _Client(OAuth2Client):  # type: ignore[misc]
    """Authlib's client over our own HTTP: its adapters for HTTP libraries would make connections of their own."""

    def __init__(self, http: httpx.Client, client_id: str, secret: str, redirect_uri: str, method: str) -> None:
        super().__init__(
            session=self,
            client_id=client_id,
            client_secret=secret,
            token_endpoint_auth_method=method,
            scope=_SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        self._over = http

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> httpx.Response:
        """Send a form; what proves the client to the provider is put in by Authlib."""
        found, said, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return self._over.post(found, content=body, headers=said)


def _who(issuer: str, claims: Mapping[str, Any]) -> Who:
    subject = jwt_rules.text_of(claims, "sub")
    email = claims.get("email")
    is_proved = claims.get("email_verified") is True and isinstance(email, str)
    name = claims.get("name")
    shown = name if isinstance(name, str) and name.isprintable() else ""
    return Who(issuer, subject, contacts.email(str(email)) if is_proved else None, shown[:_LONGEST_NAME])
