"""An uploaded file on its way in: counted while it comes, spooled to a file without a name, and checked to be whole."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import IO, Any, NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ops_api.answers import Refusal
from ops_api.body_limits import BODY_LIMIT, FORM_BYTES
from pipeline.core.filenames import display_name
from pipeline.core.uploads import LIMITS, TAKEN, Code, Limits, Refused, too_large
from pipeline.runtime.logs import get_logger

__all__ = ["BODY_LIMIT", "FORM_BYTES", "Received", "receive", "refusal"]

_MOST_FIELDS = 20
_FIELD_BYTES = 4_096
_FORM = "multipart/form-data"
#: What RFC 9530 calls active; others are not looked at.
_DIGESTS = MappingProxyType({"sha-256": hashlib.sha256, "sha-512": hashlib.sha512})
_DIGEST = re.compile(r"\s*([a-z0-9*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?")
_STATUS = MappingProxyType({Code.TOO_LARGE: 413, Code.TYPE_NOT_ALLOWED: 415, Code.TYPE_MISMATCH: 415})


@dataclass(frozen=True, slots=True)
class Received:
    """A file that came whole. `declared` and `label` are its sender's words for its type and its name."""

    file: IO[bytes] = field(repr=False)
    declared: str
    label: str
    #: Of the whole body.
    body_sha256: str
    #: What a form said beside its file.
    fields: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> bytes:
        """Return the content."""
        self.file.seek(0)
        return self.file.read()


def refusal(refused: Refused) -> Refusal:
    """Return a refused file as a refused request."""
    return Refusal(_STATUS.get(refused.code, 422), refused.said, code=refused.code)


@asynccontextmanager
async def receive(request: Request, limits: Limits = LIMITS) -> AsyncIterator[Received]:
    """Receive the request's body, the file itself or a form with one; its file is gone when the block ends.

    Raises `Refusal`: 413 as soon as the file is larger than its limit, 400 when the client leaves in the middle or the
    form is none, 422 when the body is not what `Content-Digest` (RFC 9530) says, and 503 without room for it.
    """
    body = _Body(request, limits)
    is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    try:
        file, declared, name, fields = await (_form(body, limits) if is_form else _raw(body, limits))
    except ClientDisconnect:
        raise Refusal(400, "the body ended before it was whole; send it again") from None
    except OSError as error:
        get_logger().error("upload.no_room", error=type(error).__name__, errno=error.errno)
        raise Refusal(503, "there is no room for the file now; try again later") from error
    try:
        body.verify()
        yield Received(file, declared, display_name(name), body.sha256, fields)
    finally:
        file.close()


class _Body:
    """The bytes of a request as they come: counted and hashed."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self.request, self._limits, self._promised = request, limits, _promised(request)
        self._hashes: dict[str, Any] = {name: _DIGESTS[name]() for name in {"sha-256", *self._promised}}

    @property
    def sha256(self) -> str:
        """The hash of what came, in hex."""
        return str(self._hashes["sha-256"].hexdigest())

    async def stream(self, most: int) -> AsyncGenerator[bytes, None]:
        """Yield the body piece by piece, and no more than so many bytes of it."""
        seen = 0
        async for chunk in self.request.stream():
            seen += len(chunk)
            if seen > most:
                raise refusal(too_large(self._limits))
            for one in self._hashes.values():
                one.update(chunk)
            yield chunk

    def verify(self) -> None:
        """Refuse a body that is not the promised one."""
        for name, promised in self._promised.items():
            if not hmac.compare_digest(self._hashes[name].digest(), promised):
                _other("the file that came is not the one that Content-Digest names: send it again")


def _promised(request: Request) -> dict[str, bytes]:
    """Return the digests that the request promises, by algorithm; of one that stands twice the last counts."""
    found: dict[str, bytes] = {}
    said = ", ".join(request.headers.getlist("content-digest"))
    for member in said.split(",") if said.strip() else ():
        match = _DIGEST.fullmatch(member)
        if match is None:
            _other("Content-Digest cannot be read: write sha-256=:BASE64: (RFC 9530)")
        if match[1] in _DIGESTS:
            found[match[1]] = _decoded(match[2])
    return found


def _decoded(said: str) -> bytes:
    try:
        return base64.b64decode(said, validate=True)
    except binascii.Error:
        _other("Content-Digest is no base64: write sha-256=:BASE64: (RFC 9530)")


def _other(said: str) -> NoReturn:
    raise refusal(Refused(Code.CHECKSUM_MISMATCH, said))


_Found = tuple[IO[bytes], str, str, Mapping[str, str]]


async def _raw(body: _Body, limits: Limits) -> _Found:
    """Spool a body that is the file itself; it has no name, so nothing is left of it whatever happens."""
    # Closed by whoever receives it; here only when it does not come whole.
    file = TemporaryFile()  # noqa: SIM115
    try:
        async for chunk in body.stream(limits.file_bytes):
            await run_in_threadpool(file.write, chunk)
    except BaseException:
        file.close()
        raise
    return file, body.request.headers.get("content-type", ""), "", {}


async def _form(body: _Body, limits: Limits) -> _Found:
    """Spool the one file of a form; the library keeps its first megabyte in memory."""
    parser = MultiPartParser(
        body.request.headers,
        body.stream(limits.file_bytes + FORM_BYTES),
        max_files=1,
        max_fields=_MOST_FIELDS,
        max_part_size=_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        said = getattr(error, "message", "its texts cannot be read")
        raise Refusal(400, f"this form cannot be read: {said}") from None
    files = [one for one in form.values() if isinstance(one, UploadFile)]
    if len(files) != 1:
        raise Refusal(400, f"a form brings its file in one part with a file name: {TAKEN}")
    if (files[0].size or 0) > limits.file_bytes:
        files[0].file.close()
        raise refusal(too_large(limits))
    fields = {name: said for name, said in form.multi_items() if isinstance(said, str)}
    return files[0].file, files[0].content_type or "", files[0].filename or "", fields
