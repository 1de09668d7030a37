"""Uploads that go on where they broke off: what came is kept, also when its sender goes away in the middle.

While a body comes no transaction is open. The last bytes are acknowledged by the transaction that makes the photo, so
whatever dies, either both are there or neither is.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Annotated
from uuid import UUID

import orjson
from fastapi import Depends, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from ops_api import tus_headers
from ops_api.answers import Refusal
from ops_api.commands import Caller
from ops_api.dependencies import TRANSACTIONS, Provided, Services, SignedIn
from ops_api.photo_uploads import arguments_of, read_form
from ops_api.tus_headers import speaking
from ops_api.upload_bodies import Received
from ops_api.uploads import RECEIVES
from pipeline.commands import photos
from pipeline.commands.photo_arguments import NO_UPLOAD, AddPhoto, BeginUpload, NewUpload, other_offset
from pipeline.core.principals import Principal
from pipeline.core.resumable import read_metadata
from pipeline.runtime import resumable_rows
from pipeline.runtime.logs import get_logger
from pipeline.runtime.resumable_rows import Standing
from pipeline.runtime.uploads import Kept


@dataclass(frozen=True, slots=True)
class Going:
    """An upload that goes on, as it stood when the request came; `is_new` where this request began it."""

    upload: Standing
    #: The hash that the request promises of its body.
    promised: bytes | None = None
    is_new: bool = False
    has_body: bool = True


@dataclass(frozen=True, slots=True)
class Came:
    """The bytes of a request, as far as they came."""

    size: int = 0
    file: IO[bytes] = field(default_factory=io.BytesIO, repr=False)

    def read(self) -> bytes:
        """Return them."""
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True, slots=True)
class Landed:
    """What came, and where it makes the upload whole, the picture as it is stored."""

    going: Going
    came: Came
    kept: Kept | None = None


def find(connection: Connection, who: Principal, upload_id: UUID) -> Standing:
    """Return somebody's own upload; 404 for another's, and for one whose time is over."""
    found = resumable_rows.find(connection, who.org_id, who.actor_id, upload_id)
    if found is None:
        raise Refusal(404, NO_UPLOAD.said, code=NO_UPLOAD.code)
    return found


def own_upload(upload_id: UUID, request: Request, session: SignedIn, services: Provided) -> Standing:
    """Return the upload of the path; no transaction is open afterwards."""
    with speaking():
        with services.begin(session) as connection:
            found = find(connection, session, upload_id)
        tus_headers.must_speak(request)
        return found


OwnUpload = Annotated[Standing, Depends(own_upload, scope="function")]


def going_on(upload: OwnUpload, request: Request) -> Going:
    """Return the upload that a request goes on with. Refuses what does not begin where it is (409)."""
    with speaking():
        tus_headers.must_go_on(request)
        offset = tus_headers.offset_of(request)
        if not upload.progress.fits(offset):
            raise elsewhere(upload)
        return Going(upload, tus_headers.promised_by(request))


def begun(request: Request, session: SignedIn, services: Provided) -> Going:
    """Begin an upload, or find the one that its owner calls by the same name, in a transaction of its own."""
    with speaking():
        tus_headers.must_speak(request)
        length = tus_headers.length_of(request)
        wish = read_form(NewUpload, read_metadata(request.headers.get("upload-metadata")))
        has_body = _has_body(request)
        if has_body:
            tus_headers.must_go_on(request)
        promised = tus_headers.promised_by(request)
        said = BeginUpload(
            kind=wish.kind, length=length, device=wish.device, client_id=wish.client_id, sha256=wish.sha256
        )
        with services.begin(session) as connection:
            call = Caller(request, connection, session, b"", None, None)
            answer = call.run(photos.BEGIN, wish.work_order_id, said)
            upload = find(connection, session, UUID(orjson.loads(answer.body)["id"]))
        is_new = answer.status_code == 201
        return Going(upload, promised, is_new=is_new, has_body=has_body and upload.received == 0)


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


GoingOn = Annotated[Going, Depends(going_on, scope="function")]
Begun = Annotated[Going, Depends(begun, scope="function", max_concurrency=TRANSACTIONS)]


async def came_to_new(going: Begun, request: Request) -> AsyncIterator[Came]:
    """Receive the first bytes of an upload; what it has already is not sent twice, so they are left then."""
    with speaking():
        if not going.has_body:
            yield Came()
            return
        async with receive(request, going) as found:
            yield found


async def came_to_old(going: GoingOn, request: Request) -> AsyncIterator[Came]:
    """Receive bytes that an upload goes on with."""
    with speaking():
        async with receive(request, going) as found:
            yield found


@asynccontextmanager
async def receive(request: Request, going: Going) -> AsyncGenerator[Came, None]:
    """Receive what comes of a body; its file is gone when the block ends.

    A body that breaks off is what came of it, unless a checksum was promised of the whole: then nothing can be said of
    a part, and it is refused. Refuses more than the upload has room for (413), and what is not as promised (460).
    """
    size, digest, is_whole = 0, hashlib.sha256(), True
    with TemporaryFile() as file:
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > going.upload.progress.left:
                    raise Refusal(413, "these are more bytes than the upload said that it has", code="UPLOAD_TOO_LONG")
                digest.update(chunk)
                await run_in_threadpool(file.write, chunk)
        except ClientDisconnect:
            is_whole = False
        except OSError as error:
            get_logger().error("upload.no_room", error=type(error).__name__, errno=error.errno)
            raise Refusal(503, "there is no room for the file now; try again later") from error
        if going.promised is not None and not (is_whole and hmac.compare_digest(digest.digest(), going.promised)):
            said = "the bytes that came are not those that Upload-Checksum names: send them again"
            raise Refusal(tus_headers.MISMATCH, said, code="CHECKSUM_MISMATCH")
        yield Came(size, file)


async def land(going: Going, came: Came, session: Principal, services: Services) -> Landed:
    """Judge and store the picture where these bytes make it whole."""
    if came.size == 0 or not going.upload.progress.ends_with(came.size):
        return Landed(going, came)
    with speaking():
        kept = await services.uploads.in_turn(partial(_whole, going.upload, came, session, services))
        return Landed(going, came, kept)


def _whole(upload: Standing, came: Came, session: Principal, services: Services) -> Kept:
    with services.begin(session) as connection:
        before = resumable_rows.content(connection, upload)
    if len(before) != upload.received:
        # Another request went on with it, or ended it, meanwhile.
        with services.begin(session) as connection:
            now = find(connection, session, upload.upload_id)
        raise elsewhere(now)
    content = before + came.read()
    digest = hashlib.sha256(content).hexdigest()
    if upload.sha256 is not None and upload.sha256 != digest:
        with services.begin(session) as connection:
            _start_over(connection, session, upload)
        said = "the file that came is not the one that was promised: send it again from the beginning"
        raise Refusal(tus_headers.MISMATCH, said, code="CHECKSUM_MISMATCH", headers={"Upload-Offset": "0"})
    found = Received(io.BytesIO(content), "", "", digest)
    return services.uploads.keep(found, session.org_id, services.begin(session), only_pictures=True)


def _start_over(connection: Connection, session: Principal, upload: Standing) -> None:
    locked = resumable_rows.lock(connection, session.org_id, session.actor_id, upload.upload_id)
    # Where another request went on with it meanwhile, it is its bytes that are judged.
    if locked is not None and locked.photo_id is None and locked.received == upload.received:
        resumable_rows.start_over(connection, locked)


def keep(connection: Connection, who: Principal, landed: Landed) -> Standing:
    """Keep the bytes that came of an upload which goes on where it was; 409 where it does not any more."""
    upload = landed.going.upload
    locked = resumable_rows.lock(connection, who.org_id, who.actor_id, upload.upload_id)
    if locked is None:
        raise Refusal(404, NO_UPLOAD.said, code=NO_UPLOAD.code)
    if landed.came.size == 0:
        # Asked for again while another request went on with it: it is where it is.
        return locked
    if locked.received != upload.received:
        raise elsewhere(locked)
    return resumable_rows.keep(connection, locked, landed.came.read())


def whole_photo(upload: Standing, kept: Kept) -> AddPhoto:
    """Return what the command is asked with that makes an upload a photo."""
    more = {"upload_id": upload.upload_id, "offset": upload.received, "begun_at": upload.created_at}
    return arguments_of(kept, upload.kind, upload.device).model_copy(update=more)


def elsewhere(upload: Standing) -> Refusal:
    """Return the refusal (409) of bytes that do not begin where an upload is, with where it is."""
    refusal = other_offset(upload)
    return Refusal(409, refusal.said, code=refusal.code, headers=tus_headers.standing(upload))


CameToNew = Annotated[Came, Depends(came_to_new, scope="function", max_concurrency=RECEIVES)]
CameToOld = Annotated[Came, Depends(came_to_old, scope="function", max_concurrency=RECEIVES)]


async def land_new(going: Begun, came: CameToNew, session: SignedIn, services: Provided) -> Landed:
    """Return the first bytes of an upload, and perhaps all of it."""
    return await land(going, came, session, services)


async def land_old(going: GoingOn, came: CameToOld, session: SignedIn, services: Provided) -> Landed:
    """Return bytes that an upload goes on with, and perhaps its last."""
    return await land(going, came, session, services)


LandedNew = Annotated[Landed, Depends(land_new, scope="function")]
LandedOld = Annotated[Landed, Depends(land_old, scope="function")]
