"""What is understood of a mail that no process could read: a few header fields, and that its raw text is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pipeline.core import fingerprints, mime
from pipeline.core.flags import Flag
from pipeline.core.mime import Parsed

BODY = "[This mail could not be read safely; its raw text is kept.]"
_HEAD = 65_536
_LINES = 2_000
_VALUE = 2_000
_FIELD = re.compile(rb"([!-9;-~]{1,76}):")
_NEEDED = frozenset(
    b"from to cc subject date message-id in-reply-to references reply-to delivered-to x-gm-original-to x-original-to "
    b"auto-submitted precedence list-id return-path".split()
)


def understand(raw: bytes) -> Parsed:
    """Return a message with the sender, recipients, subject, date and ids of a mail, a fixed text and `poison_mail`.

    Only the first of each field within the first 64 KB is read, 2,000 bytes of it at most. Its signature is bound to
    its bytes: no two such mails are taken for one.
    """
    text = b"\r\n\r\n" + BODY.encode()
    try:
        parsed = mime.parse(b"\r\n".join(_fields(raw)) + text)
    except Exception:  # noqa: BLE001 - what made the mail unreadable may stand in its header
        parsed = mime.parse(b"Subject: " + BODY.encode() + text)
    flags = tuple(sorted({*parsed.flags, Flag.POISON_MAIL.value}))
    return replace(parsed, flags=flags, signature=fingerprints.bound_to(parsed.signature, raw))


def _fields(raw: bytes) -> Iterator[bytes]:
    wanted = set(_NEEDED)
    field: list[bytes] = []
    for line in [*raw[:_HEAD].splitlines()[:_LINES], b""]:
        if line[:1] in {b" ", b"\t"} and field:
            field.append(line.strip())
            continue
        if field:
            yield b" ".join(field)[:_VALUE]
        if not line:
            return
        found = _FIELD.match(line)
        name = found[1].lower() if found else b""
        field = [line] if name in wanted else []
        wanted.discard(name)
