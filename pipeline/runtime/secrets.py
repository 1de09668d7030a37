"""Sealing what must not be read at rest, and signing what must not be made up; all from the secret keys."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pipeline.core import ticket_codes
from pipeline.runtime.errors import KeyUnknown, NeedsAuthorization, UserError
from pipeline.runtime.logs import get_logger
from pipeline.runtime.settings import Settings

_NONCE = 12
_SHORTEST_KEY = 16
_VERSION = b"\x01"
_KEY_ID = 4
#: Bytes of sealed text that name its form and key.
HEAD = len(_VERSION) + _KEY_ID
#: Purposes of the keys that prove mail.
_ADDRESS, _MESSAGE, _LOOP = "reply address", "outbound message", "loop header"
#: Until a restart with the right keys, or a worker that has them, may have helped.
_UNKNOWN_REST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Opened:
    """What was sealed, the id of the key that opened it, and whether sealing it anew would change the key or form."""

    content: bytes
    key_id: str
    is_outdated: bool


class Secrets:
    """The secret key, and the ones before it; every purpose uses keys of its own derived from them.

    Sealed text is a version byte, four bytes that name the key, a nonce, and the AES-256-GCM ciphertext. 0.1.0 wrote
    nonce and ciphertext only; that still opens.
    """

    def __init__(self, secret_key: str | None, previous: Sequence[str] = ()) -> None:
        if secret_key is not None and len(secret_key) < _SHORTEST_KEY:
            raise UserError(f"FIELDPOST_SECRET_KEY needs at least {_SHORTEST_KEY} characters")
        if any(len(key) < _SHORTEST_KEY for key in previous):
            raise UserError(f"each key in FIELDPOST_PREVIOUS_SECRET_KEYS needs at least {_SHORTEST_KEY} characters")
        self._current = secret_key
        self._previous = tuple(key for key in dict.fromkeys(previous) if key != secret_key)
        #: Unknown keys that were told of.
        self._missed: set[str] = set()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the secrets that the settings hold."""
        key = settings.secret_key
        return cls(key.get_secret_value() if key else None, settings.previous_keys)

    @property
    def key_id(self) -> str:
        """The id of the key that seals now, in hex. Raises `UserError` when no secret key is set."""
        return _key_id(self._secret()).hex()

    def key(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose. Raises `UserError` when no secret key is set."""
        return _derived(self._secret(), purpose)

    def keys(self, purpose: str) -> list[bytes]:
        """Return the keys of one purpose, the current one first; what was made with an earlier one still counts."""
        return [_derived(secret, purpose) for secret in self._all()]

    def seal(self, purpose: str, bound_to: str, content: bytes) -> bytes:
        """Encrypt with AES-256-GCM; the result opens only for the same purpose and the same thing it is bound to."""
        head = _VERSION + _key_id(self._secret())
        nonce = os.urandom(_NONCE)
        return head + nonce + AESGCM(self.key(purpose)).encrypt(nonce, content, _bound(head, purpose, bound_to))

    def unseal(self, purpose: str, bound_to: str, sealed: bytes) -> bytes:
        """Decrypt. Raises `KeyUnknown` when another key sealed it, `NeedsAuthorization` when a known one opens nothing.

        Each unknown key is told to the log once.
        """
        try:
            return self.opened(purpose, bound_to, sealed).content
        except KeyUnknown as error:
            key_id = named_key(sealed)
            if key_id is not None and key_id not in self._missed:
                self._missed.add(key_id)
                get_logger().error("key.unknown", key=key_id, bound_to=bound_to, error=str(error))
            raise

    def opened(self, purpose: str, bound_to: str, sealed: bytes) -> Opened:
        """Decrypt, and tell with which key. Raises as `unseal`."""
        secrets = self._all()
        head, rest = sealed[:HEAD], sealed[HEAD:]
        for secret in secrets:
            if head == _VERSION + _key_id(secret):
                content = _decrypted(_derived(secret, purpose), rest, _bound(head, purpose, bound_to))
                if content is not None:
                    return Opened(content, _key_id(secret).hex(), secret != self._current)
        for secret in secrets:
            content = _decrypted(_derived(secret, purpose), sealed, bound_to.encode())
            if content is not None:
                return Opened(content, _key_id(secret).hex(), is_outdated=True)
        raise self._why_not(sealed)

    def _why_not(self, sealed: bytes) -> KeyUnknown | NeedsAuthorization:
        named = named_key(sealed)
        if named is None or named in {_key_id(secret).hex() for secret in self._all()}:
            return NeedsAuthorization("the stored credentials cannot be opened with this secret key")
        return KeyUnknown(
            f"the stored credentials were sealed with the secret key {named}, which is not known here: "
            "put that key into FIELDPOST_PREVIOUS_SECRET_KEYS and restart, or connect the mailbox again",
            _UNKNOWN_REST,
        )

    def _secret(self) -> str:
        if self._current is None:
            raise UserError("FIELDPOST_SECRET_KEY is not set; set it to a long random text and keep it")
        return self._current

    def _all(self) -> tuple[str, ...]:
        return self._secret(), *self._previous


class SignedReplyTokens:
    """What proves that mail is about a ticket or our own, checked by its signature.

    Mail that is out keeps its proof over rotations of the key.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def address(self, code: str, mailbox_address: str) -> str | None:
        """Return the address whose mail reaches the mailbox and proves the ticket; None when it would be too long."""
        return ticket_codes.reply_address(code, self._secrets.key(_ADDRESS), mailbox_address)

    def verify(self, address: str) -> str | None:
        """Return the ticket code that `address` proves, or None."""
        codes = (ticket_codes.verify(address, key) for key in self._secrets.keys(_ADDRESS))
        return next((code for code in codes if code is not None), None)

    def proof(self, outbound_id: UUID) -> str:
        """Return the value of the header that proves a copy of an outbound message."""
        return ticket_codes.outbound_proof(outbound_id, self._secrets.key(_MESSAGE))

    def outbound_id(self, header_value: str) -> UUID | None:
        """Return which outbound message a header's value proves, or None."""
        found = (ticket_codes.read_outbound_proof(header_value, key) for key in self._secrets.keys(_MESSAGE))
        return next((one for one in found if one is not None), None)

    def loop_keys(self) -> Sequence[bytes]:
        """Return the keys of the loop header, the one that signs first."""
        return self._secrets.keys(_LOOP)


def named_key(sealed: bytes) -> str | None:
    """Return the id of the key that sealed text names, in hex; None for the form of 0.1.0, which names none."""
    return sealed[len(_VERSION) : HEAD].hex() if sealed.startswith(_VERSION) and len(sealed) > HEAD + _NONCE else None


def _derived(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), hashlib.sha256)


def _key_id(secret: str) -> bytes:
    """Name a key without telling anything of the keys derived from it."""
    return _derived(secret, "key id")[:_KEY_ID]


def _bound(head: bytes, purpose: str, bound_to: str) -> bytes:
    """Return the associated data: form and key, purpose, and the thing the content belongs to."""
    return head + purpose.encode() + b"\0" + bound_to.encode()


def _decrypted(key: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
    except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
        return None
