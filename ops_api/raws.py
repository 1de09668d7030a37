"""The raw bytes of messages for the API: the blob store, opened when somebody first asks."""

from __future__ import annotations

import threading

from models.enums import BlobKind
from ops_api.answers import Refusal
from pipeline.adapters.blobs import open_blob_store
from pipeline.ports import BlobStore
from pipeline.runtime.errors import FieldpostError
from pipeline.runtime.settings import Settings

#: Downloads that are read at once; each may hold a mail of 64 MB.
READS = 4


class Raws:
    """Reads raw bytes by their hash; safe to call from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.blob_url
        self._guard = threading.Lock()
        self._store: BlobStore | None = None

    def read(self, sha256: str) -> bytes:
        """Return the bytes. Refuses with 503 when the store is not set, does not answer or does not have them."""
        if self._url is None:
            raise Refusal(503, "this server knows no blob store; set FIELDPOST_BLOB_URL for it")
        try:
            with self._guard:
                self._store = self._store or open_blob_store(self._url)
            content = self._store.get(BlobKind.RAW, [sha256]).get(sha256)
        except FieldpostError as error:
            raise Refusal(503, "the blob store does not give out these bytes; the server's log has more") from error
        if content is None:
            raise Refusal(503, "these bytes are not in the blob store")
        return content
