"""Ticket codes, and what proves that mail belongs to a ticket or is our own: signed addresses and a signed header."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from uuid import UUID

#: Bytes of randomness in a code: 80 bits make 16 base32 letters without padding (seed behaviours 2.2).
CODE_BYTES = 10
_MAC_BYTES = 10
#: Keeps each use of a secret apart from every other use of it.
_ADDRESS, _MESSAGE = b"fieldpost reply address 1\0", b"fieldpost outbound message 1\0"
_CODE = re.compile(r"tkt-[a-z2-7]{16}", re.ASCII)
_REPLY = re.compile(r"[^@\s<>]*\+(tkt-[a-z2-7]{16})\.([a-z2-7]{16})@[^@\s<>]+", re.ASCII)
_PROOF = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([a-z2-7]{16})", re.ASCII)
#: RFC 5321 4.5.3.1.3: a path holds at most 256 octets, so nothing longer can be a reply address.
_ADDRESS_LIMIT = 256
#: RFC 5321 4.5.3.1.1.
_LOCAL_LIMIT = 64


def ticket_code(random_bytes: bytes) -> str:
    """Return the code made of exactly ten random bytes: `tkt-` and 16 lower-case base32 letters."""
    if len(random_bytes) != CODE_BYTES:
        raise ValueError(f"a ticket code is made of {CODE_BYTES} random bytes, not {len(random_bytes)}")
    return f"tkt-{_letters(random_bytes)}"


def reply_address(code: str, secret: bytes, mailbox_address: str) -> str | None:
    """Return `<mailbox>+<code>.<mac>@<its domain>`; only a holder of `secret` can make one that `verify` accepts.

    Such an address reaches the mailbox without any setup where the provider knows plus addressing, as Gmail does. None
    when its local part would exceed the 64 octets of RFC 5321 4.5.3.1.1 or the whole its 256. Neither the mailbox nor
    the domain is signed, so replies to earlier ones still verify. Raises ValueError for a malformed code or address, or
    an empty secret.
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"not a ticket code: {code!r}")
    local, _, domain = mailbox_address.rpartition("@")
    if not local or not domain or re.search(r"[@\s<>]", local + domain):
        raise ValueError(f"not a mail address: {mailbox_address!r}")
    tagged = f"{local}+{code}.{_mac(_ADDRESS + code.encode('ascii'), secret)}"
    address = f"{tagged}@{domain}"
    fits = len(tagged.encode()) <= _LOCAL_LIMIT and len(address.encode()) <= _ADDRESS_LIMIT
    return address if fits else None


def verify(address: str, secret: bytes) -> str | None:
    """Return the ticket code a reply address proves, or None when it is none of ours or its token is wrong.

    Whatever stands before `+tkt-` is accepted: a mailbox may be renamed, and 0.1.0 wrote `ticket+`. Case does not
    matter (some relays change it); surrounding spaces and angle brackets are ignored. The token is compared in constant
    time.
    """
    if len(address) > _ADDRESS_LIMIT:
        return None
    found = _REPLY.fullmatch(address.strip().strip("<>").lower())
    if found is None:
        return None
    code, token = found.groups()
    return code if hmac.compare_digest(token, _mac(_ADDRESS + code.encode("ascii"), secret)) else None


def outbound_proof(outbound_id: UUID, secret: bytes) -> str:
    """Return `<id>.<mac>`: the value of the header that names our own mail though a relay gave it another id."""
    return f"{outbound_id}.{_mac(_MESSAGE + outbound_id.bytes, secret)}"


def read_outbound_proof(value: str, secret: bytes) -> UUID | None:
    """Return which outbound message a header's value proves, or None; compared in constant time."""
    found = _PROOF.fullmatch(value[:_ADDRESS_LIMIT].strip().lower())
    if found is None:
        return None
    outbound_id = UUID(found[1])
    proved = hmac.compare_digest(found[2], _mac(_MESSAGE + outbound_id.bytes, secret))
    return outbound_id if proved else None


def _mac(said: bytes, secret: bytes) -> str:
    if not secret:
        raise ValueError("the reply secret is empty: anyone could forge reply addresses")
    return _letters(hmac.digest(secret, said, hashlib.sha256)[:_MAC_BYTES])


def _letters(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").lower()
