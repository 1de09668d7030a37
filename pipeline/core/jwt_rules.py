"""What a JSON Web Token must look like and say, whoever signed it (RFC 7515, 7519, 8725; claims of contract 000).

The signature is checked elsewhere (`pipeline.adapters.jwt_verifier`); here is everything that needs no key.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from models.enums import ActorKind

#: Real ones have one or two thousand characters.
LONGEST = 8_192
#: Between our clock and an issuer's (reliability, section 5).
LEEWAY = timedelta(seconds=30)
#: They tell the reader which key to use, or change what is signed: whoever wrote the token must not decide that.
FORBIDDEN_HEADERS = frozenset(
    {"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty", "epk", "p2s", "p2c", "apu", "apv", "url", "nonce"}
)
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})

_PART = re.compile(r"[A-Za-z0-9_-]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LATEST = 253_402_300_799  # the last second of the year 9999
_LONGEST_TEXT = 255
_MOST_PLACES = 200
_ALL = "*"


class BadToken(Exception):
    """It proves nothing: its form, its signature, its time or the place it is for (INVALID_AUTH_TOKEN)."""


class BadClaims(Exception):
    """It is proved, and does not say what it must say (INVALID_AUTH_CLAIMS)."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token taken apart; nothing of it is proved yet."""

    text: str = field(repr=False)
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        """What the header calls its algorithm; only ever compared, never followed."""
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        """The name of the key, as far as it can be one."""
        found = self.header.get("kid")
        return found if isinstance(found, str) and 0 < len(found) <= _LONGEST_TEXT else None

    @property
    def issuer(self) -> str | None:
        """Who it says it is from."""
        found = self.claims.get("iss")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Places:
    """Where a token reaches; None is everywhere, an empty set nowhere. `is_said` is False where it names no places."""

    account_ids: frozenset[UUID] | None
    site_ids: frozenset[UUID] | None
    is_said: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """What a proved token says."""

    subject: str
    role: str
    kind: ActorKind
    places: Places
    org_id: UUID | None
    expires_at: datetime


def looks_like_one(text: str) -> bool:
    """Say whether a bearer token has the form of a JSON Web Token, if not of a good one."""
    return text.count(".") >= 2


def take_apart(text: str) -> Token:
    """Return the parts of a token. Raises `BadToken` for whatever is not exactly a signed token of the compact form."""
    if len(text) > LONGEST:
        raise BadToken(f"it is longer than {LONGEST} characters")
    parts = text.split(".")
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise BadToken("it has not three parts in base64url")
    header, claims, _ = (_decoded(part) for part in parts)
    token = Token(text, _object(header), _object(claims))
    _check_header(token.header)
    return token


def check_times(
    token: Token, now: datetime, *, leeway: timedelta = timedelta(0), required: Collection[str] = ()
) -> None:
    """Return when a token is in force. Raises `BadToken`; `BadClaims` for a time that is missing or no number."""
    for name in ("exp", *required):
        if name not in token.claims:
            raise BadClaims(f"it has no {name}")
    at, slack = now.timestamp(), leeway.total_seconds()
    times = {name: _seconds(token.claims, name) for name in ("exp", "nbf", "iat") if name in token.claims}
    if times["exp"] <= at - slack:
        raise BadToken("it has expired")
    if times.get("nbf", at) > at + slack:
        raise BadToken("it is not valid yet")
    if "iat" in required and times["iat"] > at + slack:
        raise BadToken("it was issued in the future")


def check_place(token: Token, *, issuer: str | None, audience: str | None) -> None:
    """Return when a token is from one issuer and for one audience; None asks for none. Raises `BadToken`."""
    if issuer is not None and token.claims.get("iss") != issuer:
        raise BadToken("it is from another issuer")
    if audience is None:
        return
    said = token.claims.get("aud")
    named = said if isinstance(said, list) else [said]
    if audience not in named or not all(isinstance(one, str) for one in named):
        raise BadToken("it is for another audience")


def check_type(header: Mapping[str, Any], *, may_lack: bool) -> None:
    """Return when it says that it is such a token (RFC 8725, 3.11; RFC 9068, 2.1). Raises `BadToken`."""
    said = header.get("typ")
    if "typ" not in header and may_lack:
        return
    if not isinstance(said, str) or said.lower() not in TYPES:
        raise BadToken("its typ is not JWT or at+jwt")


def read(token: Token, *, role_claim: str = "role", may_lack_places: bool = False) -> Said:
    """Return what a proved token says. Raises `BadClaims` for what is missing or cannot be meant (contract 000)."""
    return Said(
        subject=text_of(token.claims, "sub"),
        role=text_of(token.claims, role_claim),
        kind=_kind(token.claims.get("actor_type", ActorKind.AGENT.value)),
        places=_places(token.claims, may_lack=may_lack_places),
        org_id=_organization(token.claims),
        expires_at=datetime.fromtimestamp(_seconds(token.claims, "exp"), UTC),
    )


def as_uuid(said: object) -> UUID | None:
    """Return the UUID that a text is in its usual form, None for anything else."""
    return UUID(said) if isinstance(said, str) and _UUID.fullmatch(said) else None


def _check_header(header: Mapping[str, Any]) -> None:
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or not algorithm or algorithm.lower() == "none":
        raise BadToken("it is not signed")
    found = FORBIDDEN_HEADERS & {name.lower() for name in header}
    if found:
        raise BadToken(f"its header carries {', '.join(sorted(found))}, which is not taken from a token")
    check_type(header, may_lack=True)


def _decoded(part: str) -> bytes:
    try:
        content = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise BadToken("a part of it is no base64url") from None
    # One content, one spelling: else a token could be known by two texts.
    if base64.urlsafe_b64encode(content).rstrip(b"=").decode() != part:
        raise BadToken("a part of it is no base64url in its one spelling")
    return content


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise BadToken("a part of it is no JSON, or names something twice") from None
    if not isinstance(found, dict):
        raise BadToken("a part of it is no JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_number(said: str) -> NoReturn:
    raise ValueError(f"{said} is no JSON")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    said = claims.get(name)
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise BadClaims(f"its {name} is no number")
    if not 0 <= said <= _LATEST:
        raise BadClaims(f"its {name} is no time")
    return float(said)


def text_of(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim that names something, without blanks around it. Raises `BadClaims`."""
    said = claims.get(name)
    if not isinstance(said, str) or not said.strip():
        raise BadClaims(f"it has no {name}")
    if len(said) > _LONGEST_TEXT or not said.isprintable():
        raise BadClaims(f"its {name} is too long, or not to be printed")
    return said.strip()


def _kind(said: object) -> ActorKind:
    try:
        return ActorKind(said.upper() if isinstance(said, str) else "")
    except ValueError:
        raise BadClaims("its actor_type is HUMAN, AGENT, SERVICE or SYSTEM") from None


def _organization(claims: Mapping[str, Any]) -> UUID | None:
    if "org_id" not in claims:
        return None
    found = as_uuid(claims["org_id"])
    if found is None:
        raise BadClaims("its org_id is no UUID")
    return found


def _places(claims: Mapping[str, Any], *, may_lack: bool) -> Places:
    accounts, sites = _named(claims, "account_id"), _named(claims, "site_id")
    if accounts is None and sites is None and may_lack:
        return Places(None, None, is_said=False)
    if accounts is None or sites is None:
        raise BadClaims(f"it has no {'account_ids' if accounts is None else 'site_ids'}")
    return Places(_ids(accounts[0], "account_ids"), _ids(sites[0], "site_ids"))


def _named(claims: Mapping[str, Any], name: str) -> tuple[Any] | None:
    """Return what stands under one of the names of a kind of places; the same said twice is not guessed at."""
    scope = claims.get("scope")
    layers = (claims, scope) if isinstance(scope, dict) else (claims,)
    found = [layer[one] for layer in layers for one in (f"{name}s", name) if one in layer]
    if len(found) > 1:
        raise BadClaims(f"it says {name}s more than once")
    return (found[0],) if found else None


def _ids(said: object, name: str) -> frozenset[UUID] | None:
    parts = said.split(",") if isinstance(said, str) and said.strip() else said or []
    if not isinstance(parts, list) or len(parts) > _MOST_PLACES:
        raise BadClaims(f"its {name} are no list")
    words = [part.strip() if isinstance(part, str) else part for part in parts]
    ids = [as_uuid(word) for word in words if word != _ALL]
    if None in ids:
        raise BadClaims(f"one of its {name} is neither a UUID nor *")
    return None if _ALL in words else frozenset(one for one in ids if one is not None)
