"""How a content becomes a stored blob and comes back: address, compression, checks."""

from __future__ import annotations

import hashlib
import re
import threading

import zstandard

from models.enums import BlobKind
from pipeline.runtime.errors import Permanent

KINDS = frozenset(kind.value for kind in BlobKind)
MAX_CONTENT_BYTES = 256 * 1024 * 1024
LEVEL = 3

_HASH = re.compile(r"[0-9a-f]{64}\Z")


def blob_key(kind: str, content_hash: str) -> str:
    """Return `<kind>/<aa>/<sha256>.zst`; a `ValueError` names a wrong kind or hash (the caller's mistake).

    256 folders: making a folder costs more than the file in it, and a thousand times as many files still fit each.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of blob {kind!r}: use one of {', '.join(sorted(KINDS))}")
    if not _HASH.match(content_hash):
        raise ValueError(f"not a lower-case hex SHA-256: {content_hash!r}")
    return f"{kind}/{content_hash[:2]}/{content_hash}.zst"


class BlobCodec:
    """Compresses and checks contents; one zstandard context per thread, since a context serves one call at a time."""

    def __init__(self) -> None:
        self._local = threading.local()

    def verify(self, content_hash: str, content: bytes) -> None:
        """Raise `Permanent` when a content is too large for a blob or is not what its hash says."""
        if len(content) > MAX_CONTENT_BYTES:
            raise Permanent(f"content of {len(content)} bytes is larger than the {MAX_CONTENT_BYTES} bytes of a blob")
        actual = hashlib.sha256(content).hexdigest()
        if actual != content_hash:
            raise Permanent(f"content hashes to {actual}, but was given as {content_hash}")

    def pack(self, content: bytes) -> bytes:
        """Return the content as it is stored: one zstandard frame that states its size."""
        return self._compressor().compress(content)

    def unpack(self, content_hash: str, stored: bytes) -> bytes:
        """Return the content of a stored blob, never more than `MAX_CONTENT_BYTES`; `Permanent` when it is corrupt."""
        try:
            # The frame's header states the size; a lying one must not make the decompressor allocate it.
            if zstandard.frame_content_size(stored) > MAX_CONTENT_BYTES:
                raise Permanent(
                    f"blob {content_hash} is corrupt: it claims to unpack to more than {MAX_CONTENT_BYTES} bytes"
                )
            content = self._decompressor().decompress(stored, max_output_size=MAX_CONTENT_BYTES)
        except zstandard.ZstdError as error:
            raise Permanent(f"blob {content_hash} is corrupt: {error}") from error
        if hashlib.sha256(content).hexdigest() != content_hash:
            raise Permanent(f"blob {content_hash} is corrupt: its content has another hash")
        return content

    def _compressor(self) -> zstandard.ZstdCompressor:
        found: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if found is None:
            found = self._local.compressor = zstandard.ZstdCompressor(level=LEVEL)
        return found

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        found: zstandard.ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if found is None:
            found = self._local.decompressor = zstandard.ZstdDecompressor()
        return found
