"""Which mail is read in a process of its own: the large, and those whose structure is no ordinary mailer's."""

from __future__ import annotations

#: Below this nothing that a mail may hold costs much.
_SMALL = 32_768
_HEAD = 65_536
_LINES = 500_000
_DASHED = 500
_MULTIPARTS = 20
#: From here on a mail takes noticeable memory, so one at a time is read (reliability, section 4).
HEAVY = 10 * 1_048_576


def is_suspicious(raw: bytes) -> bool:
    """Say whether a mail may be costly or deadly to read, by a scan that costs next to nothing itself.

    So are: more than 10 MB, a header that does not end within 64 KB, more than 500,000 lines, more than 500 lines that
    may be boundaries, more than 20 multiparts.
    """
    if len(raw) <= _SMALL:
        return False
    return (
        len(raw) > HEAVY
        or not _has_short_header(raw)
        or raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n") > _LINES
        or _is_crowded(raw)
    )


def _has_short_header(raw: bytes) -> bool:
    return any(raw.find(mark, 0, _HEAD) >= 0 for mark in (b"\n\n", b"\n\r\n", b"\r\r"))


def _is_crowded(raw: bytes) -> bool:
    multiparts = raw.lower().count(b"multipart/")
    if not multiparts:
        return False
    return multiparts > _MULTIPARTS or raw.count(b"\n--") + raw.count(b"\r--") > _DASHED
