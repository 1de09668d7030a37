"""The keys that one issuer publishes (RFC 7517): fetched from its pinned address, kept, renewed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.exceptions import PyJWTError

from pipeline.adapters.guarded_http import fetch
from pipeline.ports import Clock
from pipeline.runtime.errors import FieldpostError, UserError
from pipeline.runtime.logs import get_logger

#: Reliability, section 5.
KEPT = timedelta(minutes=10)
ASKED_AGAIN_AFTER = timedelta(seconds=30)
STALE = timedelta(hours=1)
#: Without any keys it is tried again sooner; meanwhile requests do not queue up behind a server that hangs.
REST = timedelta(seconds=5)
#: Whoever waits for keys that are not there yet waits no longer than this, the fetch itself a little less.
_PATIENCE_SECONDS = 4.0
FETCH_SECONDS = 3.0
_MOST_KEYS = 100
_RSA_BITS = range(2_048, 8_193)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
#: A key serves one algorithm only, so that none can be made to check what another signed.
Names = tuple[str, str]


class KeysAway(FieldpostError):
    """The keys cannot be had, and none are left from before; passes by itself."""


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: Mapping[Names, PublicKey]
    fetched_at: float


class Jwks:
    """The keys of one address, by key id and algorithm; may be shared by threads.

    They are kept for ten minutes. One that is not known makes them be fetched again, at most every 30 s, however many
    tokens name it. While the address does not answer they serve for an hour more.
    """

    def __init__(self, url: str, client: httpx.Client, clock: Clock) -> None:
        self._url, self._client, self._clock = url, client, clock
        self._lock = threading.Lock()
        self._kept: _Kept | None = None
        self._asked_at: float | None = None

    def key(self, key_id: str, algorithm: str) -> PublicKey | None:
        """Return the key of an id for an algorithm, None when there is none. Raises `KeysAway`."""
        kept = self._kept
        name = (key_id, algorithm)
        if kept is None or self._age(kept) >= KEPT.total_seconds() or name not in kept.keys:
            kept = self._renewed(kept)
        return kept.keys.get(name)

    def _age(self, kept: _Kept) -> float:
        return self._clock.monotonic() - kept.fetched_at

    def _renewed(self, seen: _Kept | None) -> _Kept:
        """Fetch once for all who ask at the same time; with keys in hand nobody waits for another's fetch."""
        is_usable = seen is not None and self._age(seen) < (KEPT + STALE).total_seconds()
        if not self._lock.acquire(timeout=0.0 if is_usable else _PATIENCE_SECONDS):
            return self._usable(seen)
        try:
            if self._kept is seen and self._may_ask(ASKED_AGAIN_AFTER if is_usable else REST):
                self._asked_at = self._clock.monotonic()
                self._fetch()
            return self._usable(self._kept)
        finally:
            self._lock.release()

    def _may_ask(self, after: timedelta) -> bool:
        asked = self._asked_at
        return asked is None or self._clock.monotonic() - asked >= after.total_seconds()

    def _usable(self, kept: _Kept | None) -> _Kept:
        if kept is None or self._age(kept) >= (KEPT + STALE).total_seconds():
            raise KeysAway("the issuer's keys cannot be had")
        return kept

    def _fetch(self) -> None:
        try:
            found = dict(_read(fetch(self._client, self._url)))
        except (httpx.HTTPError, httpx.InvalidURL, UserError, ValueError, RecursionError) as error:
            get_logger().warning("jwks.failed", url=self._url, error=f"{type(error).__name__}: {error}"[:200])
            return
        self._kept = _Kept(found, self._clock.monotonic())


def _read(content: bytes) -> Iterator[tuple[Names, PublicKey]]:
    """Yield the keys of a set that check signatures. Raises `ValueError` for what is no set, or has none of them."""
    said = json.loads(content)
    listed = said.get("keys") if isinstance(said, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ValueError("it is no set of keys")
    found = [one for key in listed if isinstance(key, dict) for one in _one(key)]
    if not found:
        raise ValueError("it holds no key that checks a signature")
    return iter(found)


def _one(key: Mapping[str, Any]) -> Iterator[tuple[Names, PublicKey]]:
    """Yield a key under its name, unless it is for something else; one key that cannot be read hurts no other."""
    key_id, operations = key.get("kid"), key.get("key_ops", ["verify"])
    if not isinstance(key_id, str) or key.get("use", "sig") != "sig":
        return
    if not isinstance(operations, list) or "verify" not in operations:
        return
    try:
        algorithm, found = _loaded(key)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return
    if key.get("alg", algorithm) == algorithm:
        yield (key_id, algorithm), found


def _loaded(key: Mapping[str, Any]) -> tuple[str, PublicKey]:
    """Return the algorithm of a key's kind, and the key. Raises `ValueError` for other kinds and private keys."""
    public = dict(key)
    found: object
    match key.get("kty"), key.get("crv"):
        case "RSA", None:
            found = RSAAlgorithm.from_jwk(public)
            if isinstance(found, RSAPublicKey) and found.key_size in _RSA_BITS:
                return "RS256", found
        case "EC", "P-256":
            found = ECAlgorithm.from_jwk(public)
            if isinstance(found, EllipticCurvePublicKey) and isinstance(found.curve, SECP256R1):
                return "ES256", found
        case "OKP", "Ed25519":
            found = OKPAlgorithm.from_jwk(public)
            if isinstance(found, Ed25519PublicKey):
                return "EdDSA", found
    raise ValueError("it is no key for RS256, ES256 or EdDSA")
