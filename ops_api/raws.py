"""The bytes of messages and attachments for the API: the blob store, opened when somebody first asks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import timedelta

from models.enums import BlobKind
from ops_api.answers import Refusal
from pipeline.adapters.blobs import open_blob_store
from pipeline.ports import BlobStore, LinkingBlobs
from pipeline.runtime.errors import FieldpostError, Gone
from pipeline.runtime.logs import get_logger
from pipeline.runtime.settings import Settings

#: Downloads that are read at once; each may hold a mail of 64 MB.
READS = 4
_LOST = "the file is known, but the blob store has lost its bytes; tell an administrator"


class Raws:
    """Reads raw bytes by their hash; safe to call from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.blob_url
        self._guard = threading.Lock()
        self._store: BlobStore | None = None

    def read(self, sha256: str) -> bytes:
        """Return the bytes. Refuses with 503 when the store is not set, does not answer or does not have them."""
        content = self._read(BlobKind.RAW, sha256)
        if content is None:
            raise Refusal(503, "these bytes are not in the blob store")
        return content

    def read_attachment(self, sha256: str) -> bytes:
        """Return an attachment's bytes. Refuses as `read` does, but with 502 when the store does not have them."""
        return self.read_kept(BlobKind.ATTACHMENT, sha256)

    def read_kept(self, kind: BlobKind, sha256: str) -> bytes:
        """Return the bytes of a file of any kind. Refuses as `read_attachment` does."""
        content = self._read(kind, sha256)
        if content is None:
            raise Refusal(502, _LOST, code="blob_missing")
        return content

    def link_to_attachment(self, sha256: str, headers: Mapping[str, str], lasts: timedelta) -> str | None:
        """Return a short-lived address at the store itself; None when it cannot sign one. Refuses with 502 as above."""
        return self.link_to(BlobKind.ATTACHMENT, sha256, headers, lasts)

    def link_to(self, kind: BlobKind, sha256: str, headers: Mapping[str, str], lasts: timedelta) -> str | None:
        """Return the same for a file of any kind."""
        try:
            store = self.store()
            if not isinstance(store, LinkingBlobs):
                return None
            return store.link(kind, sha256, headers=headers, lasts=lasts)
        except Gone:
            raise Refusal(502, _LOST, code="blob_missing") from None
        except FieldpostError as error:
            # The bytes themselves may still be given out.
            get_logger().warning("download.no_link", error=str(error))
            return None

    def _read(self, kind: BlobKind, sha256: str) -> bytes | None:
        try:
            return self.store().get(kind, [sha256]).get(sha256)
        except FieldpostError as error:
            raise Refusal(503, "the blob store does not give out these bytes; the server's log has more") from error

    def store(self) -> BlobStore:
        """Return the blob store. Refuses with 503 when it is not set."""
        if self._url is None:
            raise Refusal(503, "this server knows no blob store; set FIELDPOST_BLOB_URL for it")
        with self._guard:
            self._store = self._store or open_blob_store(self._url)
        return self._store
