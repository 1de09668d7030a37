"""Photos of work orders: uploaded, taken away before the work is done, and given out by short links (contract 004)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response, StreamingResponse

from models.enums import BlobKind
from models.permissions import Permission
from models.queries.ticket_detail import Attachment
from ops_api import file_links
from ops_api.answers import Refusal
from ops_api.commands import Calling
from ops_api.dependencies import Provided, Services, SignedIn
from ops_api.downloads import LASTS, headers_of
from ops_api.file_links import Given
from ops_api.guard import GuardedRoute
from ops_api.photo_links import CONTENT, THUMBNAIL, PhotoAnswer, file_of, path_of
from ops_api.photo_uploads import Asked, PhotoCalling, Stored, arguments_of, with_links
from ops_api.raws import READS
from pipeline.commands import photos
from pipeline.commands.orders import NOT_YOURS
from pipeline.commands.photo_arguments import RemovePhoto
from pipeline.core.principals import Principal
from pipeline.runtime import photo_rows

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["photos"])

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture, as a file.", "content": {"application/octet-stream": {}}},
    502: {"description": "The blob store has lost the bytes."},
}
_REDIRECT: dict[int | str, dict[str, Any]] = {307: {"description": "The bytes are at the store, for 5 minutes."}}
_BY_LINK: dict[int | str, dict[str, Any]] = {403: {"description": "The link is over, or not for this."}}
Token = Annotated[str, Query(min_length=1, max_length=2048)]


@router.post(
    "/uploads/photos",
    status_code=201,
    response_model=PhotoAnswer,
    responses={200: {"model": PhotoAnswer, "description": "The same picture is there already."}},
)
def upload(call: PhotoCalling, wish: Asked, kept: Stored) -> Response:
    """Add a photo to a work order: a form with `file`, `workOrderId`, `kind` and perhaps `device`."""
    return with_links(call, call.run(photos.ADD, wish.work_order_id, arguments_of(kept, wish.kind, wish.device)))


@router.delete("/uploads/photos/{photo_id}", status_code=204)
def remove(photo_id: UUID, call: Calling) -> Response:
    """Take away a photo of one's own before the work is done; again it is the same."""
    call.run(photos.REMOVE, str(photo_id), RemovePhoto())
    return Response(status_code=204)


def own_picture(photo_id: UUID, session: SignedIn, services: Provided) -> Attachment:
    """Return a photo within reach as a file."""
    return _own(photo_id, session, services, CONTENT)


def own_thumbnail(photo_id: UUID, session: SignedIn, services: Provided) -> Attachment:
    """Return its small picture likewise."""
    return _own(photo_id, session, services, THUMBNAIL)


def given(found: Annotated[Attachment, Depends(own_picture)], services: Provided) -> Iterator[Given]:
    """Return the bytes, or where the store gives them out; no transaction is open meanwhile."""
    yield _given(found, services)


def given_small(found: Annotated[Attachment, Depends(own_thumbnail)], services: Provided) -> Iterator[Given]:
    """Return the small picture likewise."""
    yield _given(found, services)


def signed(photo_id: UUID, token: Token, request: Request) -> Iterator[Given]:
    """Return the photo that a link is for, as long as its person may still see it."""
    yield _signed(photo_id, token, request, CONTENT)


def signed_small(photo_id: UUID, token: Token, request: Request) -> Iterator[Given]:
    """Return its small picture likewise."""
    yield _signed(photo_id, token, request, THUMBNAIL)


_turn = partial(Depends, scope="request", max_concurrency=READS)


@router.get("/uploads/photos/{photo_id}/content", response_class=StreamingResponse, responses=_BYTES | _REDIRECT)
async def content(ready: Annotated[Given, _turn(given)]) -> Response:
    """Return a photo as a file to keep."""
    return file_links.answer(ready)


@router.get("/uploads/photos/{photo_id}/thumbnail", response_class=StreamingResponse, responses=_BYTES | _REDIRECT)
async def thumbnail(ready: Annotated[Given, _turn(given_small)]) -> Response:
    """Return the small picture of a photo, a JPEG."""
    return file_links.answer(ready)


@router.get("/uploads/photos/{photo_id}/signed/content", response_class=StreamingResponse, responses=_BYTES | _BY_LINK)
async def content_by_link(ready: Annotated[Given, _turn(signed)]) -> Response:
    """Return the photo that a link is for; no session is needed."""
    return file_links.answer(ready)


@router.get(
    "/uploads/photos/{photo_id}/signed/thumbnail", response_class=StreamingResponse, responses=_BYTES | _BY_LINK
)
async def thumbnail_by_link(ready: Annotated[Given, _turn(signed_small)]) -> Response:
    """Return the small picture that a link is for; no session is needed."""
    return file_links.answer(ready)


def _own(photo_id: UUID, session: Principal, services: Services, which: str) -> Attachment:
    with services.begin(session) as connection:
        return _find(connection, session, photo_id, which)


def _find(connection: Connection, who: Principal, photo_id: UUID, which: str) -> Attachment:
    found = photo_rows.reached(connection, who, photo_id)
    if found is None:
        raise Refusal(
            404, "your organization has no such photo, or its bytes are not kept here", code="PHOTO_NOT_FOUND"
        )
    photo, is_reached = found
    if not is_reached:
        raise Refusal(403, NOT_YOURS.said, code=NOT_YOURS.code)
    return file_of(photo, which)


def _given(found: Attachment, services: Services) -> Given:
    url = services.raws.link_to(BlobKind.EVIDENCE, found.sha256, headers_of(found), LASTS)
    return Given(found, url=url) if url else Given(found, services.raws.read_kept(BlobKind.EVIDENCE, found.sha256))


def _signed(photo_id: UUID, token: str, request: Request, which: str) -> Given:
    services: Services = request.app.state.services

    def find(connection: Connection, person: Principal) -> Attachment:
        return _find(connection, person, photo_id, which)

    path = path_of(photo_id, which, is_signed=True)
    found = file_links.read(request, token, path, Permission.WORK_ORDERS_READ, find)
    return Given(found, services.raws.read_kept(BlobKind.EVIDENCE, found.sha256))
