"""What one file is, judged by its first bytes: an mbox, a compressed mbox, a message, or no mail and why."""

from __future__ import annotations

import gzip
import re
import stat
import zlib
from enum import StrEnum
from pathlib import Path

from pipeline.adapters.mbox import is_separator

_HEAD = 4096
_MAGIC = (
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"!BDN", "an Outlook data file: export it as mbox or .eml first"),
    (b"\xd0\xcf\x11\xe0", "an Outlook or Office file: export it as .eml first"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]+\S")
_MAIL_HEADER = re.compile(
    rb"(?:return-path|delivered-to|x-original-to|received|from|to|subject|date|message-id|mime-version|sender|reply-to)"
    rb"[ \t]*:",
    re.IGNORECASE,
)


class FileForm(StrEnum):
    """What one regular file is."""

    MBOX = "mbox"
    MBOX_GZ = "mbox.gz"
    MESSAGE = "message"


class NotMailError(Exception):
    """A file is no mail; the text completes the sentence `PATH is ...`."""


def look(path: Path) -> FileForm:
    """Return what a regular file is, from its first bytes and its name; `NotMailError` says what it is instead."""
    head = _head_of(path)
    if head.startswith(b"\x1f\x8b"):
        return _look_into_gzip(path)
    _refuse_binary(head)
    if path.suffix.lower() == ".eml":
        return FileForm.MESSAGE
    if _begins_mbox(head):
        return FileForm.MBOX
    if _begins_message(head):
        return FileForm.MESSAGE
    raise NotMailError("neither an mbox (no From_ line at its start) nor a message (no mail header at its start)")


def look_at_message(path: Path) -> FileForm:
    """Return `MESSAGE` for a file of a Maildir, where the place says what it is; `NotMailError` for no text at all."""
    _refuse_binary(_head_of(path))
    return FileForm.MESSAGE


def _head_of(path: Path) -> bytes:
    """Return the first bytes; a pipe or device is refused unopened, since opening it may block."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotMailError("not a regular file")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise NotMailError("empty")
    return head


def _look_into_gzip(path: Path) -> FileForm:
    try:
        with gzip.open(path, "rb") as file:
            head = file.read(_HEAD)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise NotMailError(f"a damaged gzip file ({error})") from error
    if _begins_mbox(head):
        return FileForm.MBOX_GZ
    raise NotMailError("a gzip file without an mbox in it: unpack it first")


def _refuse_binary(head: bytes) -> None:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            raise NotMailError(f"{name}, not mail" if ":" not in name else name)
    first = head[:1024]
    nuls = first.count(0)
    # Real mail may carry a stray NUL; a tenth of them is no text.
    if nuls > 4 and nuls * 10 > len(first):
        raise NotMailError("a binary file, not mail")


def _begins_mbox(head: bytes) -> bool:
    return is_separator(head.lstrip(b"\r\n").partition(b"\n")[0])


def _begins_message(head: bytes) -> bool:
    """Tell whether the first lines are header fields, one of them of mail: a message needs no .eml in its name."""
    lines = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0].splitlines()
    whole = lines[:-1] if len(head) == _HEAD and len(lines) > 1 else lines
    return all(_HEADER.match(line) for line in whole) and any(_MAIL_HEADER.match(line) for line in whole)
