"""JSON in one form only: equal values have equal bytes, so that a hash over them means something."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> bytes:
    """Return a JSON value with sorted keys and no spaces, in UTF-8 (contract 000: keys sorted at every depth).

    Raises `ValueError` for what JSON cannot say (NaN, infinity) and `RecursionError` for what is nested too deep.
    """
    said = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Half of a surrogate pair is a legal JSON string.
    return said.encode("utf-8", "surrogatepass")


def sha256_of(value: object) -> bytes:
    """Return SHA-256 of a value's canonical form. Raises as `canonical`."""
    return hashlib.sha256(canonical(value)).digest()


def sha256_of_body(body: bytes) -> bytes:
    """Return SHA-256 of a request's body: of its canonical form when it is JSON, else of its bytes; nothing is `{}`."""
    try:
        return sha256_of(json.loads(body) if body.strip() else {})
    except (ValueError, RecursionError):
        return hashlib.sha256(body).digest()
