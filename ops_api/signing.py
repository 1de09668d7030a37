"""Small values that a client carries for us: readable by anyone, made by nobody else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

_LONGEST = 4096


class Signer:
    """Signs compact JSON with HMAC-SHA256 under one key, and reads back only what it signed."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, values: Mapping[str, Any]) -> str:
        """Return `values` as `body.signature`, both unpadded base64url."""
        body = _encode(orjson.dumps(values, option=orjson.OPT_SORT_KEYS))
        return f"{body}.{self._signature(body)}"

    def read(self, signed: str) -> dict[str, Any] | None:
        """Return what was signed; None for anything that this key did not sign."""
        body, _, signature = signed.partition(".")
        if len(signed) > _LONGEST or not hmac.compare_digest(self._signature(body).encode(), _bytes(signature)):
            return None
        try:
            values = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (binascii.Error, orjson.JSONDecodeError):
            return None
        return values if isinstance(values, dict) else None

    def _signature(self, body: str) -> str:
        return _encode(hmac.digest(self._key, _bytes(body), hashlib.sha256))


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
