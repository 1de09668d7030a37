"""What a provider's announcement says: which mailbox changed, and nothing else that is believed."""

from __future__ import annotations

import base64
import binascii
import re

import orjson

_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
_LONGEST_ADDRESS = 320
_STANDARD = str.maketrans("-_", "+/")


def in_envelope(body: bytes) -> str | None:
    """Return the address in the body of a Pub/Sub push; None when there is none."""
    try:
        return in_message(orjson.loads(body)["message"]["data"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def in_message(data: object) -> str | None:
    """Return the address in a message's base64 (either alphabet) in lower case; None when there is none.

    Its historyId is left unread: it is a hint that something newer exists (mission-peers, section 1.4).
    """
    try:
        text = str(data).translate(_STANDARD).rstrip("=")
        address = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))["emailAddress"]
    except (ValueError, KeyError, TypeError, IndexError, binascii.Error):
        return None
    if not isinstance(address, str) or len(address) > _LONGEST_ADDRESS or not _ADDRESS.fullmatch(address):
        return None
    return address.lower()
