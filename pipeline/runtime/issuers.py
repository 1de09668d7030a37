"""Other issuers whose bearer tokens are believed, as the operator lists them (FIELDPOST_JWT_ISSUERS)."""

from __future__ import annotations

import json
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: Whom our own access tokens are from (contract 004): they are read by their own rules, so nobody else's are called so.
OWN_ISSUER = "fieldpost"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class JwtIssuer(BaseModel):
    """One issuer: what its tokens must say, and where its keys are. Nothing of it ever comes from a token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str = Field(min_length=1, max_length=500)
    audience: str = Field(min_length=1, max_length=500)
    jwks_url: str = Field(max_length=2_000)
    #: Fixed per issuer, never taken from a token's header (RFC 8725, 3.1). None is symmetric: those keys are public.
    algorithms: tuple[Literal["RS256", "ES256", "EdDSA"], ...] = Field(min_length=1)
    #: The name or the id of the one organization that its tokens open.
    organization: str = Field(min_length=1, max_length=200)
    role_claim: str = Field(default="role", min_length=1, max_length=100)
    #: What this issuer leaves out: some write neither "not before" nor a type.
    may_lack: tuple[Literal["nbf", "typ"], ...] = ()

    @field_validator("jwks_url")
    @classmethod
    def _is_pinned(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return url
        if parts.scheme == "http" and parts.hostname in _LOOPBACK:
            return url
        raise ValueError("the jwks_url of an issuer starts with https://")

    @property
    def is_plain(self) -> bool:
        """True when its keys are asked for without TLS, which is for development only."""
        return urlsplit(self.jwks_url).scheme == "http"


def read_issuers(said: Any) -> Any:
    """Return what a JSON list of issuers holds. Raises `ValueError` that says what to give."""
    if not isinstance(said, str):
        return said
    try:
        found = json.loads(said) if said.strip() else []
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError(  # noqa: TRY004 - the settings take this one
            "give a JSON list of objects with issuer, audience, jwks_url, algorithms and organization"
        )
    return found


def no_twins(issuers: tuple[JwtIssuer, ...]) -> tuple[JwtIssuer, ...]:
    """Return the issuers; `ValueError` when one stands there twice."""
    if len({one.issuer for one in issuers}) != len(issuers):
        raise ValueError("an issuer stands there twice")
    return issuers
