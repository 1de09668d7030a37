"""What may stand in `Authorization: Bearer`: each kind of token has its reader, and the first that knows it answers.

A reader returns None for a token that is not of its kind, and raises `Refusal` for one that is, and is no good. It runs
in one of few threads, holds no connection, and opens one where it needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ops_api import jwt_bearer
from ops_api.access import Access
from ops_api.answers import Refusal
from ops_api.jwt_bearer import Proof
from pipeline.adapters.clock import SystemClock
from pipeline.core.principals import Principal
from pipeline.runtime import access_tokens, api_tokens, identity
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

_LONGEST = 8_192


@dataclass(frozen=True, slots=True)
class Bearer:
    """One token as it was presented, and where."""

    token: str = field(repr=False)
    access: Access
    settings: Settings
    secrets: Secrets = field(repr=False)
    db: Database
    #: What came of proving it, for a token of the form that other issuers use.
    proof: Proof | None = None


Reader = Callable[[Bearer], Principal | None]


def bad_token(why: str = "the bearer token is not valid") -> Refusal:
    """Return the refusal of a token (contract 000, RFC 6750)."""
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return Refusal(401, why, code="INVALID_AUTH_TOKEN", headers=headers)


def api_token(asked: Bearer) -> Principal | None:
    """Return who acts by one of our API tokens."""
    if not asked.token.startswith(api_tokens.PREFIX):
        return None
    with asked.db.begin() as connection:
        found = identity.by_api_token(connection, asked.token)
    if found is None:
        raise bad_token("the API token is unknown, over or revoked")
    return found


def access_token(asked: Bearer) -> Principal | None:
    """Return who acts by one of our own access tokens; its family is looked up, so that a revoked one opens nothing."""
    if not access_tokens.is_ours(asked.token):
        return None
    with asked.db.begin() as connection:
        found = AccessTokens(asked.secrets, SystemClock()).principal(connection, asked.token)
    if found is None:
        raise bad_token("the access token is over or revoked")
    return found


def other_issuer(asked: Bearer) -> Principal | None:
    """Return who acts by a token of another issuer; any token of that form is one, so this reader comes last."""
    return None if asked.proof is None else jwt_bearer.principal(asked.db, asked.settings, asked.proof)


#: In the order in which they are asked.
READERS: tuple[Reader, ...] = (api_token, access_token, other_issuer)


def read(asked: Bearer) -> Principal:
    """Return who the token stands for. Raises `Refusal` (401) when nobody knows it, or whoever knows it refuses it."""
    if asked.token and len(asked.token) <= _LONGEST and asked.token.isascii():
        for reader in READERS:
            found = reader(asked)
            if found is not None:
                return found
    raise bad_token()
