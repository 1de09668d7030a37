"""Tells whether a push request comes from our own Pub/Sub subscription: its bearer token, signed by Google."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWKClientConnectionError,
    PyJWKClientError,
    PyJWTError,
)

from pipeline.runtime.errors import FieldpostError

_ISSUERS = ("accounts.google.com", "https://accounts.google.com")
_CLAIMS = ("iss", "aud", "email", "email_verified", "iat", "exp")
_LEEWAY = timedelta(seconds=60)
#: Google lets its keys be kept for hours and publishes a new one a day before it signs with it.
_KEEP_KEYS = timedelta(hours=1)
_TIMEOUT = timedelta(seconds=3)
#: Google's tokens have about 900 characters.
_LONGEST = 8192


class Reason(StrEnum):
    """Why a token is refused, in a word for the log."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown_key"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    FUTURE = "future"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    ACCOUNT = "account"
    UNVERIFIED = "email_unverified"
    CLAIMS = "claims"
    KEYS_AWAY = "keys_away"


class PushRefused(FieldpostError):
    """The token proves nothing here; neither it nor anything of it is in the text."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"push token refused: {reason.value}")
        self.reason = reason

    @property
    def is_proven(self) -> bool:
        """True when Google did sign it, for somebody or something else."""
        return self.reason in {Reason.AUDIENCE, Reason.ACCOUNT, Reason.UNVERIFIED}

    @property
    def passes(self) -> bool:
        """True when nothing is wrong with the token: the keys to check it with could not be had."""
        return self.reason is Reason.KEYS_AWAY


#: The first that matches; the library's errors build on one another.
_REASONS: tuple[tuple[type[PyJWTError], Reason], ...] = (
    (PyJWKClientConnectionError, Reason.KEYS_AWAY),
    (PyJWKClientError, Reason.UNKNOWN_KEY),
    (ExpiredSignatureError, Reason.EXPIRED),
    (ImmatureSignatureError, Reason.FUTURE),
    (InvalidSignatureError, Reason.SIGNATURE),
    (InvalidIssuerError, Reason.ISSUER),
    (InvalidAudienceError, Reason.AUDIENCE),
    (MissingRequiredClaimError, Reason.CLAIMS),
    (PyJWTError, Reason.MALFORMED),
)


class PushTokens:
    """Verifies the tokens of one push subscription; may be shared by threads.

    An unknown key id makes the keys be asked for again, at most once per `refetch_after`; when they cannot be had they
    are left alone for `rest`, so that requests do not queue up behind a server that hangs.
    """

    def __init__(
        self,
        keys_url: str,
        audience: str,
        service_account: str,
        *,
        refetch_after: timedelta = timedelta(minutes=1),
        rest: timedelta = timedelta(seconds=5),
    ) -> None:
        self._audience, self._account = audience, service_account
        self._keys = _Keys(keys_url, refetch_after, rest)

    def verify(self, token: str) -> None:
        """Return when the token is good; `PushRefused` says in one word why it is not."""
        if not token:
            raise PushRefused(Reason.MISSING)
        if len(token) > _LONGEST or not token.isascii():
            raise PushRefused(Reason.MALFORMED)
        try:
            claims = self._claims(token)
        except PyJWTError as error:
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            raise PushRefused(reason) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            # JSON that is nested too deeply, a number that is none: the library lets some of it through.
            raise PushRefused(Reason.MALFORMED) from None
        if claims["email"] != self._account:
            raise PushRefused(Reason.ACCOUNT)
        if claims["email_verified"] is not True:
            raise PushRefused(Reason.UNVERIFIED)

    def _claims(self, token: str) -> Mapping[str, Any]:
        header = jwt.get_unverified_header(token)
        # Before any key is asked for: only a token that could be good may cost a request.
        if header.get("alg") != "RS256":
            raise PushRefused(Reason.ALGORITHM)
        key_id = header.get("kid")
        if not isinstance(key_id, str):
            raise PushRefused(Reason.UNKNOWN_KEY)
        claims: Mapping[str, Any] = jwt.decode(
            token,
            self._keys.get_signing_key(key_id),
            algorithms=["RS256"],
            audience=self._audience,
            issuer=_ISSUERS,
            leeway=_LEEWAY,
            options={"require": list(_CLAIMS), "strict_aud": True},
        )
        return claims


class _Keys(jwt.PyJWKClient):
    """Google's keys, kept for an hour."""

    def __init__(self, url: str, refetch_after: timedelta, rest: timedelta) -> None:
        super().__init__(
            url,
            lifespan=_KEEP_KEYS.total_seconds(),
            timeout=_TIMEOUT.total_seconds(),
            cooldown_duration=refetch_after.total_seconds(),
        )
        self._rest, self._away_until = rest.total_seconds(), 0.0

    def fetch_data(self) -> Any:
        """Ask for the keys, unless they could not be had a moment ago."""
        if time.monotonic() < self._away_until:
            raise PyJWKClientConnectionError("the keys could not be had a moment ago")
        try:
            return super().fetch_data()
        except (PyJWTError, ValueError, OSError) as error:
            self._away_until = time.monotonic() + self._rest
            raise PyJWKClientConnectionError("the keys could not be had") from error
