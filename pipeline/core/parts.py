"""Bodies and attachments out of a bounded tree; the one module that knows the mail-parser library.

The library computes everything it can at once and trusts what it is given. So it is given little: a flat mail that
holds only the leaves, each with header fields in canonical form. It undoes the transfer encodings and the charsets;
what it reports as doubtful, or cannot do well, is read here from the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.policy import compat32
from typing import Literal

from mailparser import MailParser

from pipeline.core import large
from pipeline.core.filenames import display_name, made_up_name
from pipeline.core.flags import Flag
from pipeline.core.sniffing import verify
from pipeline.core.structure import Part, containers, leaves
from pipeline.core.text import STATEFUL_CODECS, clean, codec_for, decode, is_unlabelled, plain_lines
from pipeline.core.words import decode_base64, decode_parameter

_CONTENT_ID_LENGTH = 998
_TYPE_LENGTH = 255
_TEXT_TYPES = {"text/plain": "plain", "text/html": "html"}
_ENCRYPTED = frozenset({"multipart/encrypted", "application/pgp-encrypted"})
_SIGNED = frozenset(
    {"multipart/signed", "application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_PKCS7 = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_CALENDAR = frozenset({"text/calendar", "application/ics"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
_ARMOUR = re.compile(r"^-----BEGIN PGP (SIGNED )?MESSAGE-----\s*$", re.MULTILINE)
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}["']?([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_META_REACH = 4_096
_ENCODINGS = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue"})


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a mail: a harmless display name, its bytes, and their size and SHA-256 (hex)."""

    filename: str
    content_type: str
    size: int
    sha256: str
    disposition: Literal["attachment", "inline"]
    content_id: str | None
    payload: bytes
    #: The declared type contradicted the content; `content_type` is what the content is.
    is_mismatch: bool = False
    #: A program or script; kept, and not to be given out without a warning.
    is_dangerous: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail holds: text and HTML bodies joined by a blank line, files in order, what was odd."""

    text: str
    html: str
    attachments: tuple[Attachment, ...]
    flags: frozenset[Flag]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One leaf with the two decisions about it: which body it belongs to, and whether it is a file."""

    part: Part
    content_type: str
    charset: str | None
    encoding: str
    body: Literal["plain", "html"] | None
    filename: str | None
    disposition: Literal["attachment", "inline"]


@dataclass(frozen=True, slots=True)
class _Extracted:
    plain: list[str]
    html: list[str]
    payloads: list[bytes]
    flags: set[Flag]


def extract(root: Part) -> Content:
    """Return the bodies and attachments of a tree. Never fails: a damaged part is read as far as it goes, and flagged.

    A body is text/plain or text/html that is not an attachment. A file is a part with a disposition and a name, or any
    leaf that is no body; message/* is one opaque file.
    """
    found = [_leaf(part, attached, number) for number, (part, attached) in enumerate(leaves(root), 1)]
    extracted = _by_library(found)
    files = [leaf for leaf in found if leaf.filename is not None]
    text = _joined(extracted.plain)
    flags = extracted.flags | _kinds(root, found) | _armour(text)
    attachments = tuple(map(_attachment, files, extracted.payloads))
    if any(attachment.is_mismatch for attachment in attachments):
        flags.add(Flag.TYPE_MISMATCH)
    if any(attachment.is_dangerous for attachment in attachments):
        flags.add(Flag.DANGEROUS_ATTACHMENT)
    return Content(text, _joined(extracted.html), attachments, frozenset(flags))


def _leaf(part: Part, attached: bool, number: int) -> _Leaf:
    declared = part.declared_type()
    content_type = "text/plain" if declared.startswith("multipart/") else declared  # a container that holds no part
    parameters = part.parameters("content-type")
    described = part.parameters("content-disposition")
    disposition = part.token("content-disposition")
    label = described.get("filename") or parameters.get("name")
    name = decode_parameter(label)[0] if label else ""
    is_attachment = attached or disposition == "attachment"
    body = None if is_attachment else _TEXT_TYPES.get(content_type)
    filename = None
    if body is None or (disposition == "inline" and name):
        filename = display_name(name) or made_up_name(number, content_type)
    charset = parameters.get("charset")
    return _Leaf(
        part,
        content_type,
        decode_parameter(charset)[0] if charset else None,
        _encoding(part),
        "plain" if body == "plain" else "html" if body == "html" else None,
        filename,
        "inline" if disposition == "inline" or (part.content_id() and disposition != "attachment") else "attachment",
    )


def _encoding(part: Part) -> str:
    token = part.token("content-transfer-encoding")
    return token if token in _ENCODINGS else ""


def _by_library(found: Sequence[_Leaf]) -> _Extracted:
    """Let the library read the canonical leaves; take its bodies only when it is sure of them."""
    if any(map(_is_doubtful, found)) or all(map(_needs_no_decoding, found)):
        return _by_hand(found)
    canonical = list(_canonical(found))
    try:
        answer = MailParser(_flat([message for _, message in canonical]))
    except Exception:  # noqa: BLE001 - no mail may be lost to a defect of the library, and it names no error class
        return _by_hand(found)
    sure = "CharsetDecodeDefect" not in answer.defects_categories
    damaged = any(message.defects for leaf, message in canonical if leaf.body)
    if not sure or damaged or len(answer.attachments) != sum(leaf.filename is not None for leaf in found):
        return _by_hand(found)
    plain, html = list(map(plain_lines, answer.text_plain)), list(map(plain_lines, answer.text_html))
    payloads, flags = [], set()
    for attachment in answer.attachments:
        payload, flawless = decode_base64(attachment["payload"].encode("ascii", "replace"))
        payloads.append(payload)
        if not flawless:
            flags.add(Flag.BAD_BASE64)
    return _Extracted(plain, html, payloads, flags)


def _is_doubtful(leaf: _Leaf) -> bool:
    """Say whether the library would take too long or guess: what is long, or a body whose label cannot be trusted."""
    if leaf.part.pieces is not None or not leaf.body:
        return leaf.part.pieces is not None
    codec = codec_for(leaf.charset)
    return codec in STATEFUL_CODECS or (codec is None and not is_unlabelled(leaf.charset))


def _needs_no_decoding(leaf: _Leaf) -> bool:
    """Say whether a leaf stands in the mail as it was written: ASCII, no file, no transfer encoding to undo.

    HTML without a label may name a charset of its own, in which ASCII means something else.
    """
    written_plainly = leaf.filename is None and not leaf.encoding and (leaf.body == "plain" or bool(leaf.charset))
    return written_plainly and leaf.part.leaf_text().isascii()


def _canonical(found: Sequence[_Leaf]) -> Iterator[tuple[_Leaf, Message]]:
    for leaf in found:
        if leaf.body:
            codec = codec_for(leaf.charset) or "utf-8"
            label = "" if codec == "utf-8" else f'; charset="{codec}"'
            yield leaf, _message(f"text/{leaf.body}{label}", leaf)
        if leaf.filename is not None:
            message = _message("application/octet-stream", leaf)
            message.set_raw("Content-Disposition", 'attachment; filename="part"')
            yield leaf, message


def _message(content_type: str, leaf: _Leaf) -> Message:
    message = Message(policy=compat32)
    message.set_raw("Content-Type", content_type)
    if leaf.encoding:
        message.set_raw("Content-Transfer-Encoding", leaf.encoding)
    message.set_payload(leaf.part.leaf_text())
    return message


def _flat(messages: Sequence[Message]) -> Message:
    if len(messages) == 1:
        return messages[0]
    root = Message(policy=compat32)
    root.set_raw("Content-Type", "multipart/mixed")
    for message in messages:
        root.attach(message)
    return root


def _by_hand(found: Sequence[_Leaf]) -> _Extracted:
    """Read the same leaves without the library: slower to trust, for what is damaged or mislabelled."""
    result = _Extracted([], [], [], set())
    for leaf in found:
        payload, flawless = _payload(leaf)
        if not flawless:
            result.flags.add(Flag.BAD_BASE64)
        if leaf.body:
            kept, is_cut = large.body(payload) if leaf.part.pieces is not None else (payload, False)
            if is_cut:
                result.flags.add(Flag.TEXT_TRUNCATED if leaf.body == "plain" else Flag.HTML_TRUNCATED)
            text, guessed = decode(kept, leaf.charset or _inner_charset(leaf, payload))
            (result.plain if leaf.body == "plain" else result.html).append(plain_lines(text))
            if guessed:
                result.flags.add(Flag.CHARSET_GUESSED)
        if leaf.filename is not None:
            result.payloads.append(payload)
    return result


def _inner_charset(leaf: _Leaf, payload: bytes) -> str | None:
    """Return what an HTML page says about its charset; it counts when the mail says nothing."""
    found = _META_CHARSET.search(payload, 0, _META_REACH) if leaf.body == "html" else None
    return found[1].decode("ascii") if found else None


def _payload(leaf: _Leaf) -> tuple[bytes, bool]:
    if leaf.part.pieces is not None and not leaf.encoding.endswith(("uu", "uue", "uuencode")):
        return large.payload(leaf.part.pieces, leaf.encoding)
    if leaf.encoding == "base64":
        return decode_base64(leaf.part.leaf_text().encode("ascii", "surrogateescape"))
    payload = _message("application/octet-stream", leaf).get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b"", True


def _joined(bodies: Sequence[str]) -> str:
    return clean("\n\n".join(body.strip("\n") for body in bodies if body.strip()))


def _attachment(leaf: _Leaf, payload: bytes) -> Attachment:
    content_id = clean("".join(decode_parameter(leaf.part.content_id())[0].split()).strip("<>"))
    verified = verify(clean(leaf.content_type)[:_TYPE_LENGTH], leaf.filename or "", payload)
    return Attachment(
        filename=leaf.filename or "",
        content_type=verified.content_type,
        size=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
        disposition=leaf.disposition,
        content_id=content_id[:_CONTENT_ID_LENGTH] or None,
        payload=payload,
        is_mismatch=verified.is_mismatch,
        is_dangerous=verified.is_dangerous,
    )


def _kinds(root: Part, found: Sequence[_Leaf]) -> set[Flag]:
    types = {leaf.content_type for leaf in found} | {part.declared_type() for part in containers(root)}
    smime = {
        str(leaf.part.parameters("content-type").get("smime-type", "")).lower()
        for leaf in found
        if leaf.content_type in _PKCS7
    }
    is_tnef = bool(types & _TNEF) or any((leaf.filename or "").lower() == "winmail.dat" for leaf in found)
    observed = {
        Flag.ENCRYPTED: bool(types & _ENCRYPTED) or bool(smime - {"signed-data", "certs-only"}),
        Flag.SIGNED: bool(types & _SIGNED) or "signed-data" in smime,
        Flag.CALENDAR: bool(types & _CALENDAR),
        Flag.TNEF: is_tnef,
        Flag.REPORT: "multipart/report" in types,
    }
    return {flag for flag, holds in observed.items() if holds}


def _armour(text: str) -> set[Flag]:
    if "-----BEGIN PGP " not in text:
        return set()
    return {Flag.SIGNED if found[1] else Flag.ENCRYPTED for found in _ARMOUR.finditer(text)}
