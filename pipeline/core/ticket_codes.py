"""Ticket codes, and reply addresses that prove which ticket they belong to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

#: Bytes of randomness in a code: 80 bits make 16 base32 letters without padding (seed behaviours 2.2).
CODE_BYTES = 10
_MAC_BYTES = 10
#: Keeps this use of the secret apart from every other use of it.
_PURPOSE = b"fieldpost reply address 1\0"
_CODE = re.compile(r"tkt-[a-z2-7]{16}", re.ASCII)
_REPLY = re.compile(r"ticket\+(tkt-[a-z2-7]{16})\.([a-z2-7]{16})@[^@\s<>]+", re.ASCII)
#: RFC 5321 4.5.3.1.3: a path holds at most 256 octets, so nothing longer can be a reply address.
_ADDRESS_LIMIT = 256


def ticket_code(random_bytes: bytes) -> str:
    """Return the code made of exactly ten random bytes: `tkt-` and 16 lower-case base32 letters."""
    if len(random_bytes) != CODE_BYTES:
        raise ValueError(f"a ticket code is made of {CODE_BYTES} random bytes, not {len(random_bytes)}")
    return f"tkt-{_letters(random_bytes)}"


def reply_address(code: str, secret: bytes, domain: str) -> str:
    """Return `ticket+<code>.<mac>@<domain>`; only a holder of `secret` can make one that `verify` accepts.

    The local part has 44 characters of the 64 that RFC 5321 4.5.3.1.1 allows. The domain is not signed, so replies to
    an earlier domain still verify. Raises ValueError for a malformed code or domain, or an empty secret.
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"not a ticket code: {code!r}")
    if not domain or re.search(r"[@\s<>]", domain):
        raise ValueError(f"not a mail domain: {domain!r}")
    return f"ticket+{code}.{_mac(code, secret)}@{domain}"


def verify(address: str, secret: bytes) -> str | None:
    """Return the ticket code a reply address proves, or None when it is none of ours or its token is wrong.

    Case does not matter (some relays change it); surrounding spaces and angle brackets are ignored. The token is
    compared in constant time.
    """
    if len(address) > _ADDRESS_LIMIT:
        return None
    found = _REPLY.fullmatch(address.strip().strip("<>").lower())
    if found is None:
        return None
    code, token = found.groups()
    return code if hmac.compare_digest(token, _mac(code, secret)) else None


def _mac(code: str, secret: bytes) -> str:
    if not secret:
        raise ValueError("the reply secret is empty: anyone could forge reply addresses")
    return _letters(hmac.digest(secret, _PURPOSE + code.encode("ascii"), hashlib.sha256)[:_MAC_BYTES])


def _letters(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()
