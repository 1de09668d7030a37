"""Where blobs live: a URL opens a local folder, or a bucket of S3, Google Cloud Storage or Azure through obstore."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from pipeline.adapters.blob_codec import BlobCodec, blob_key
from pipeline.adapters.local_blobs import LocalBlobs
from pipeline.ports import BlobStore
from pipeline.runtime.errors import Transient, UserError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

PARALLEL_REQUESTS = 16
REMOTE_SCHEMES = frozenset({"s3", "gs", "az"})

Value = TypeVar("Value")

_FORMS = "file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix"


class ObjectBlobs:
    """The BlobStore port over a bucket; a put replaces an object as a whole, as every bucket promises."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._codec = BlobCodec()
        self._pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="blobs")

    def put(self, kind: str, contents: Mapping[str, bytes]) -> Mapping[str, int]:
        """Store each content under its hash, several requests at a time; return the stored sizes."""

        def put_one(name: str) -> int:
            self._codec.verify(name, contents[name])
            encoded = self._codec.pack(contents[name])
            with _bucket_trouble():
                self._store.put(blob_key(kind, name), encoded)
            return len(encoded)

        return dict(zip(contents, self._each(put_one, list(contents)), strict=True))

    def get(self, kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Return the contents by hash, without the absent ones; `Permanent` for a corrupt one."""

        def get_one(name: str) -> bytes | None:
            key = blob_key(kind, name)
            try:
                with _bucket_trouble():
                    stored = self._store.get(key).bytes()
            except FileNotFoundError:
                return None
            return self._codec.unpack(name, bytes(stored))

        found = zip(hashes, self._each(get_one, hashes), strict=True)
        return {name: content for name, content in found if content is not None}

    def _each(self, function: Callable[[str], Value], names: Sequence[str]) -> list[Value]:
        return list(self._pool.map(function, names))


def open_blob_store(url: str) -> BlobStore:
    """Return the store at `url`; `UserError` for a URL of another form.

    Credentials of buckets come from where each cloud's own tools look for them (variables, profiles, instance roles).
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return LocalBlobs(_local_folder(url))
    if scheme not in REMOTE_SCHEMES:
        raise UserError(f"a blob URL cannot start with {scheme or 'no scheme'!r}: use {_FORMS}")
    client: ClientConfig = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
    retry: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
    try:
        return ObjectBlobs(from_url(url, client_options=client, retry_config=retry))
    except (BaseError, ValueError) as error:
        raise UserError(f"cannot open the {scheme} blob URL: {_first_line(error)}; use {_FORMS}") from error


def local_folder(url: str) -> Path | None:
    """Return the folder that a `file` URL names, None for a bucket; `UserError` for a URL of another form."""
    return _local_folder(url) if urlsplit(url).scheme == "file" else None


def _local_folder(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or not parts.path.strip("/") or parts.query or parts.fragment:
        raise UserError(f"{url!r} names no local folder: write file:///folder, with three slashes")
    return Path(unquote(parts.path))


@contextmanager
def _bucket_trouble() -> Iterator[None]:
    """Turn what a bucket answers into `Transient`: once a person or the cloud has helped, the same put works."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Transient(f"the bucket refuses these credentials: {_first_line(error)}") from error
    except (BaseError, OSError) as error:
        raise Transient(f"the bucket did not answer as it should: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
