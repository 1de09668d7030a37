"""Sealing what must not be read at rest, and signing what must not be made up; both from one secret key."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.core import ticket_codes
from pipeline.runtime.errors import NeedsAuthorization, UserError

_NONCE = 12
_SHORTEST_KEY = 16


class Secrets:
    """One secret key; every purpose uses a key of its own derived from it."""

    def __init__(self, secret_key: str | None) -> None:
        if secret_key is not None and len(secret_key) < _SHORTEST_KEY:
            raise UserError(f"FIELDPOST_SECRET_KEY needs at least {_SHORTEST_KEY} characters")
        self._key = secret_key

    def key(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose. Raises `UserError` when no secret key is set."""
        if self._key is None:
            raise UserError("FIELDPOST_SECRET_KEY is not set; set it to a long random text and keep it")
        return hmac.digest(self._key.encode(), purpose.encode(), hashlib.sha256)

    def seal(self, purpose: str, bound_to: str, content: bytes) -> bytes:
        """Encrypt with AES-256-GCM; the result opens only for the same purpose and the same thing it is bound to."""
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self.key(purpose)).encrypt(nonce, content, bound_to.encode())

    def unseal(self, purpose: str, bound_to: str, sealed: bytes) -> bytes:
        """Decrypt. Raises `NeedsAuthorization` when the secret key is another one, or the content was moved."""
        try:
            return AESGCM(self.key(purpose)).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise NeedsAuthorization("the stored credentials cannot be opened with this secret key") from None


class SignedReplyTokens:
    """The reply addresses of tickets, checked by their signature."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def verify(self, address: str) -> str | None:
        """Return the ticket code that `address` proves, or None."""
        return ticket_codes.verify(address, self._secrets.key("reply address"))
