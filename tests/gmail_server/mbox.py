"""Mail read from mbox files, plain or gzip, byte for byte."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Sequence

from tests.gmail_server.state import Mailbox

_SEPARATOR = re.compile(rb"^From [^\r\n]*\r?\n", re.MULTILINE)


def messages_in(data: bytes) -> Iterator[bytes]:
    """The mails of an mbox without their `From ` lines and the empty line that ends each.

    A `From ` line counts only at the start or after an empty line, so one inside a paragraph does not split a mail.
    """
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    starts = [match for match in _SEPARATOR.finditer(data) if _begins_mail(data, match.start())]
    ends = [match.start() for match in starts[1:]] + [len(data)]
    # Without any separator there is one end and no start.
    for match, end in zip(starts, ends, strict=False):
        body = data[match.end() : end]
        last_line = body[body.rfind(b"\n", 0, -1) + 1 :]
        yield body[: -len(last_line)] if last_line in {b"\n", b"\r\n"} else body


def load(mailbox: Mailbox, data: bytes, labels: Sequence[str] = ("INBOX", "UNREAD")) -> list[str]:
    """Add every mail of an mbox, dated by its Date header (now when it has none); answers the new ids."""
    return [mailbox.add(raw, labels, dated_by_header=True) for raw in messages_in(data)]


def _begins_mail(data: bytes, position: int) -> bool:
    return position == 0 or data[max(0, position - 3) : position].endswith((b"\n\n", b"\n\r\n"))
