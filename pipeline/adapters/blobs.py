"""Where blobs live: a URL opens a local folder, or a bucket of S3, Google Cloud Storage or Azure through obstore."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from pipeline.adapters.blob_codec import BlobCodec, blob_key
from pipeline.adapters.local_blobs import LocalBlobs
from pipeline.ports import BlobStore
from pipeline.runtime.errors import Gone, Transient, UserError

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

    def link(self, kind: str, content_hash: str, *, headers: Mapping[str, str], lasts: timedelta) -> str | None:
        """Return a signed address of a plain copy with these headers, which is made when it is not there.

        What is stored is compressed, and a bucket answers with the headers that an object was given; so what is fetched
        directly is an object of its own below `served/`, which a rule of the bucket may delete after a day.
        """
        if not isinstance(self._store, S3Store | GCSStore | AzureStore):
            return None
        key = _served_key(kind, content_hash, headers)
        try:
            signed: str = obstore.sign(self._store, "GET", key, lasts)
        except BaseError:  # these credentials cannot sign
            return None
        self._serve(key, kind, content_hash, headers)
        return signed

    def _serve(self, key: str, kind: str, content_hash: str, headers: Mapping[str, str]) -> None:
        try:
            with _bucket_trouble():
                self._store.head(key)
        except FileNotFoundError:
            content = self.get(kind, [content_hash]).get(content_hash)
            if content is None:
                raise Gone(f"there is no {kind} {content_hash} in the bucket") from None
            with _bucket_trouble():
                self._store.put(key, content, attributes=dict(headers))

    def delete(self, kind: str, hashes: Sequence[str]) -> None:
        """Take contents away, with the copies that links were made to; an absent one is fine."""

        def delete_one(name: str) -> None:
            for key in (blob_key(kind, name), *self._copies(kind, name)):
                with suppress(FileNotFoundError), _bucket_trouble():
                    self._store.delete(key)

        self._each(delete_one, hashes)

    def _copies(self, kind: str, content_hash: str) -> list[str]:
        with _bucket_trouble():
            listed = self._store.list(prefix=_served_folder(kind, content_hash))
            return [one["path"] for chunk in listed for one in chunk]

    def _each(self, function: Callable[[str], Value], names: Sequence[str]) -> list[Value]:
        return list(self._pool.map(function, names))


def _served_key(kind: str, content_hash: str, headers: Mapping[str, str]) -> str:
    """Return where a copy with these headers stands; all copies of one content stand beside each other."""
    said = "\n".join(f"{name}: {value}" for name, value in sorted(headers.items()))
    return f"{_served_folder(kind, content_hash)}/{hashlib.sha256(said.encode()).hexdigest()[:32]}"


def _served_folder(kind: str, content_hash: str) -> str:
    return f"served/{blob_key(kind, content_hash).removesuffix('.zst')}"


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
