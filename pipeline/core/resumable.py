"""The rules of uploads that go on where they broke off: tus 1.0.0, its offsets, metadata and checksums.

Core, creation, creation-with-upload, expiration, checksum and termination, as https://tus.io/protocols/resumable-upload
words them. Nothing here knows of HTTP or of rows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
#: The one algorithm; SHA-1, which the extension names first, proves too little.
ALGORITHM = "sha256"
#: What may be open at once for one person, and for how long.
MOST_OPEN = 20
MOST_OPEN_BYTES = 100 * 1024 * 1024
LASTS = timedelta(hours=24)
#: Bytes of one row of what waits.
PART_BYTES = 1024 * 1024

_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_KEY = re.compile(r"[!-+\--~]{1,64}", re.ASCII)
_MOST_METADATA = 4_096


class BadHeader(ValueError):
    """A header that cannot be read; says what to write."""


def read_number(name: str, said: str | None) -> int:
    """Return a length or an offset in bytes. Raises `BadHeader`."""
    if said is None or _NUMBER.fullmatch(said.strip()) is None:
        raise BadHeader(f"send a header {name} with a number of bytes")
    return int(said)


def read_metadata(said: str | None) -> dict[str, str]:
    """Return what `Upload-Metadata` says: pairs of a key and its value in base64, between commas.

    A value that is no UTF-8 text, or a key twice, is refused. Raises `BadHeader`.
    """
    if said is None or not said.strip():
        return {}
    if len(said) > _MOST_METADATA:
        raise BadHeader(f"Upload-Metadata is longer than {_MOST_METADATA} bytes")
    found: dict[str, str] = {}
    for pair in said.split(","):
        key, _, value = pair.strip().partition(" ")
        if _KEY.fullmatch(key) is None or key in found:
            raise BadHeader("Upload-Metadata is `key BASE64` between commas, each key once")
        found[key] = _text(key, value.strip())
    return found


def write_metadata(values: Mapping[str, str | None]) -> str:
    """Return the header that says these values; those that are None are left out."""
    return ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items() if value is not None
    )


def read_checksum(said: str | None) -> bytes | None:
    """Return the SHA-256 that `Upload-Checksum` promises of a request's body; None without one. Raises `BadHeader`."""
    if said is None:
        return None
    algorithm, _, value = said.strip().partition(" ")
    if algorithm.lower() != ALGORITHM:
        raise BadHeader(f"Upload-Checksum: write `{ALGORITHM} BASE64`; no other algorithm is taken")
    try:
        found = base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 32:
        raise BadHeader(f"Upload-Checksum: `{ALGORITHM}` is followed by its 32 bytes in base64")
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload has come, in bytes; every byte before `received` is kept."""

    length: int
    received: int = 0

    @property
    def left(self) -> int:
        """The bytes that are still to come."""
        return self.length - self.received

    def fits(self, offset: int) -> bool:
        """Say whether bytes that begin at an offset go on where the upload is: not earlier, not later."""
        return offset == self.received

    def ends_with(self, size: int) -> bool:
        """Say whether so many bytes more make it whole."""
        return size == self.left

    def after(self, size: int) -> Progress:
        """Return it with so many bytes more. Raises `ValueError` for more than are left."""
        if not 0 <= size <= self.left:
            raise ValueError(f"{size} bytes do not fit into {self.left}")
        return Progress(self.length, self.received + size)


def parts(begins_at: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where each row of so many bytes begins, and how many it holds."""
    for at in range(begins_at, begins_at + size, PART_BYTES):
        yield at, min(PART_BYTES, begins_at + size - at)


def _text(key: str, value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BadHeader(f"Upload-Metadata: the value of {key} is no text in base64") from None
