"""The headers of tus 1.0.0: what requests say in them, and what every answer carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import format_datetime
from types import MappingProxyType

from fastapi import Request
from starlette.exceptions import HTTPException

from ops_api.answers import Refusal
from pipeline.core.resumable import (
    ALGORITHM,
    EXTENSIONS,
    VERSION,
    BadHeader,
    read_checksum,
    read_number,
    write_metadata,
)
from pipeline.core.uploads import LIMITS, too_large
from pipeline.runtime.resumable_rows import Standing

#: The type of a body that goes on with an upload.
CONTENT_TYPE = "application/offset+octet-stream"
#: The checksum extension's own status: the bytes that came are not those that were promised.
MISMATCH = 460
SPOKEN = MappingProxyType({"Tus-Resumable": VERSION})
#: What OPTIONS answers.
ABLE = MappingProxyType(
    {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(LIMITS.file_bytes),
        "Tus-Checksum-Algorithm": ALGORITHM,
    }
)
_OTHER_VERSION = MappingProxyType({"Tus-Version": VERSION})


@contextmanager
def speaking() -> Iterator[None]:
    """Say which version is spoken with every refusal, too, and put headers that cannot be read into words (400)."""
    try:
        yield
    except BadHeader as error:
        raise Refusal(400, str(error), headers=SPOKEN) from None
    except HTTPException as error:
        error.headers = {**(error.headers or {}), **SPOKEN}
        raise


def must_speak(request: Request) -> None:
    """Refuse (412) who speaks another version, or does not say which."""
    if request.headers.get("tus-resumable", "").strip() != VERSION:
        said = f"say Tus-Resumable: {VERSION}; no other version is spoken here"
        raise Refusal(412, said, headers=_OTHER_VERSION)


def must_go_on(request: Request) -> None:
    """Refuse (415) a body of another type than bytes that go on with an upload."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
        raise Refusal(415, f"bytes of an upload come as {CONTENT_TYPE}")


def length_of(request: Request) -> int:
    """Return how long an upload will be. Refuses one that is empty (400), too large (413), or does not say it yet."""
    if "upload-defer-length" in request.headers:
        raise BadHeader("say Upload-Length when the upload begins; it cannot be told later")
    length = read_number("Upload-Length", request.headers.get("upload-length"))
    if length > LIMITS.file_bytes:
        refused = too_large()
        raise Refusal(413, refused.said, code=refused.code)
    if length == 0:
        raise BadHeader("Upload-Length: a photo has at least one byte")
    return length


def offset_of(request: Request) -> int:
    """Return where the bytes of a request begin."""
    return read_number("Upload-Offset", request.headers.get("upload-offset"))


def promised_by(request: Request) -> bytes | None:
    """Return the hash that a request promises of its body."""
    return read_checksum(request.headers.get("upload-checksum"))


def standing(upload: Standing, received: int | None = None, photo_id: object = None) -> dict[str, str]:
    """Return what is told of an upload: how far it is, until when it waits, and what it became."""
    photo_id = photo_id or upload.photo_id
    told = {
        **SPOKEN,
        "Upload-Offset": str(upload.received if received is None else received),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }
    return told | ({"Upload-Photo-Id": str(photo_id)} if photo_id else {})


def about(upload: Standing) -> Mapping[str, str]:
    """Return what is told of an upload where it is asked about: its length and what it was begun with, too."""
    said = {
        "workOrderId": str(upload.order_id),
        "kind": upload.kind.value,
        "device": upload.device,
        "clientId": upload.client_id,
        "sha256": upload.sha256,
    }
    return standing(upload) | {"Upload-Length": str(upload.length), "Upload-Metadata": write_metadata(said)}
