"""What the server itself has to know of a mail: headers, thread keys, a snippet, the full payload tree."""

from __future__ import annotations

import base64
import binascii
import email
import html
import quopri
import re
from datetime import UTC
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message as MimePart
from email.utils import parsedate_to_datetime

Header = tuple[str, str]

_ID = re.compile(r"<[^<>\s]+>")
_PREFIX = re.compile(r"^\s*(?:(?:re|fwd?|aw|wg|sv|vs|tr|rv|antw)(?:\[\d+\])?\s*:\s*)+", re.IGNORECASE)
_TEXT_PART = re.compile(rb"^content-type:\s*text/(plain|html)", re.IGNORECASE | re.MULTILINE)
_ENCODING = re.compile(rb"^content-transfer-encoding:\s*([\w-]+)", re.IGNORECASE | re.MULTILINE)
_NOT_TEXT = re.compile(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>")
_SCAN = 64 * 1024
_SNIPPET = 200


def headers_of(raw: bytes) -> list[Header]:
    """Every header in order, unfolded, bytes that are no UTF-8 replaced. Lines that are no header are left out."""
    text = raw[: body_start(raw) or None].decode("utf-8", "replace").replace("\r\n", "\n")
    found: list[Header] = []
    for line in text.split("\n"):
        if line[:1] in {" ", "\t"} and found:
            name, value = found[-1]
            found[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        if colon and name and " " not in name.rstrip():
            found.append((name.rstrip(), value.strip()))
    return found


def body_start(raw: bytes, begin: int = 0) -> int:
    """Where the first empty line after `begin` ends; 0 when there is none."""
    ends = [place + len(mark) for mark in (b"\n\n", b"\n\r\n") if (place := raw.find(mark, begin)) >= 0]
    return min(ends, default=0)


def decoded(value: str) -> str:
    """A header value with its encoded words read (RFC 2047); as it stands when they are broken."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError, MessageError):
        return value


def first(headers: list[Header], name: str) -> str:
    """The first header of that name, any case, or an empty string."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), "")


def message_ids(value: str) -> list[str]:
    """The `<...>` identifiers in a Message-ID, In-Reply-To or References value, in order."""
    return _ID.findall(value)


def base_subject(subject: str) -> str:
    """A subject without reply and forward prefixes, case and runs of blanks."""
    return " ".join(_PREFIX.sub("", subject).casefold().split())


def sent_at(headers: list[Header]) -> float | None:
    """The Date header in seconds since 1970; None when missing, unreadable or before 1970."""
    try:
        moment = parsedate_to_datetime(first(headers, "Date"))
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None


def snippet_of(raw: bytes) -> str:
    """The first words of the first text part, found without a full MIME parse."""
    head = raw[:_SCAN]
    end = body_start(head)
    if not end:
        return ""
    part = _TEXT_PART.search(head)
    if part is not None and (start := body_start(head, part.end())):
        top = head.rfind(b"\n\n", 0, part.start()) + 1 or head.rfind(b"\r\n\r\n", 0, part.start()) + 1
        encoding = _ENCODING.search(head, top, start)
        body = head[start : start + 2000]
        text = _transfer_decoded(body, encoding.group(1).lower() if encoding else b"").decode("utf-8", "replace")
        if part.group(1).lower() == b"html":
            text = html.unescape(_NOT_TEXT.sub(" ", text))
    elif b"multipart/" in head[:end].lower():
        return ""
    else:
        text = head[end : end + 1000].decode("utf-8", "replace")
    return html.escape(" ".join(text.split())[:_SNIPPET], quote=True)


def _transfer_decoded(body: bytes, encoding: bytes) -> bytes:
    if encoding == b"quoted-printable":
        return quopri.decodestring(body)
    if encoding == b"base64":
        letters = b"".join(body.partition(b"--")[0].split())
        try:
            return binascii.a2b_base64(letters[: len(letters) // 4 * 4])
        except binascii.Error:
            return b""
    return body


def payload_tree(raw: bytes) -> dict[str, object]:
    """The `payload` of format=full: parts with partId, mimeType, filename, headers, body and parts.

    A part with a filename carries an `attachmentId` (its part id) instead of data, as Gmail does.
    """
    return _part(email.message_from_bytes(raw), "")


def attachment(raw: bytes, part_id: str) -> bytes | None:
    """The decoded bytes of one part, or None when there is no such part."""
    part: MimePart = email.message_from_bytes(raw)
    for step in filter(None, part_id.split(".")):
        children = part.get_payload()
        if not isinstance(children, list) or not step.isdigit() or int(step) >= len(children):
            return None
        child = children[int(step)]
        assert isinstance(child, MimePart)
        part = child
    return _content(part)


def _content(part: MimePart) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _part(part: MimePart, part_id: str) -> dict[str, object]:
    filename = decoded(str(part.get_filename() or ""))
    tree: dict[str, object] = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": filename,
        "headers": [{"name": name, "value": decoded(_clean(value))} for name, value in part.items()],
    }
    children = part.get_payload()
    if isinstance(children, list):
        prefix = f"{part_id}." if part_id else ""
        parts = [_part(child, f"{prefix}{n}") for n, child in enumerate(children) if isinstance(child, MimePart)]
        return tree | {"body": {"size": 0}, "parts": parts}
    content = _content(part)
    body: dict[str, object] = {"size": len(content)}
    if filename:
        body["attachmentId"] = f"ANGjdJ{part_id or '0'}"
    elif content:
        body["data"] = base64.urlsafe_b64encode(content).decode("ascii")
    return tree | {"body": body}


def _clean(value: object) -> str:
    """A header as text that JSON can carry: raw 8-bit bytes arrive as lone surrogates."""
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return " ".join(text.split())
