"""Uploads of photos that go on where they broke off, by tus 1.0.0 (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from ops_api import tus_headers, tus_uploads
from ops_api.answers import Refusal
from ops_api.commands import Caller
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.tus_uploads import Landed, LandedNew, LandedOld, OwnUpload
from pipeline.commands import photos
from pipeline.commands.photo_arguments import NO_UPLOAD
from pipeline.core.principals import Principal
from pipeline.runtime import resumable_rows

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["photos"])

_OFFSET_BODY = {
    "requestBody": {"content": {tus_headers.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
_STANDING: dict[int | str, dict[str, Any]] = {
    409: {"description": "The upload is at another byte: Upload-Offset says where."},
    412: {"description": "Another version than tus 1.0.0."},
    460: {"description": "The bytes are not those that were promised."},
}


class UploadAnswer(BaseModel):
    """An upload that was begun, as its headers tell it, too."""

    id: UUID
    offset: int = Field(description="The byte that it goes on at.")
    length: int
    expires_at: datetime = Field(alias="expiresAt")
    photo_id: UUID | None = Field(alias="photoId", description="What it became, once it is whole.")


@router.options("/uploads/resumable", status_code=204)
async def able() -> Response:
    """Return what of tus is spoken here."""
    return Response(status_code=204, headers=dict(tus_headers.ABLE))


@router.post(
    "/uploads/resumable",
    status_code=201,
    response_model=UploadAnswer,
    responses=_STANDING
    | {200: {"model": UploadAnswer, "description": "The upload that is called by this clientId already."}},
    openapi_extra=_OFFSET_BODY,
)
def begin(request: Request, landed: LandedNew, connection: Transaction, session: SignedIn) -> Response:
    """Begin an upload; its first bytes may come at once. `Upload-Metadata`: workOrderId, kind, device, clientId."""
    headers = _go_on(request, landed, connection, session)
    upload, status = landed.going.upload, 201 if landed.going.is_new else 200
    photo_id = headers.get("Upload-Photo-Id")
    headers["Location"] = f"/api/v1/uploads/resumable/{upload.upload_id}"
    body = UploadAnswer(
        id=upload.upload_id,
        offset=int(headers["Upload-Offset"]),
        length=upload.length,
        expiresAt=upload.expires_at,
        photoId=UUID(photo_id) if photo_id else None,
    )
    return Response(body.model_dump_json(by_alias=True), status, headers, media_type="application/json")


@router.head("/uploads/resumable/{upload_id}", status_code=200, responses={412: _STANDING[412]})
def ask(upload: OwnUpload) -> Response:
    """Return how far an upload has come, and what it became."""
    return Response(status_code=200, headers=dict(tus_headers.about(upload)))


@router.patch("/uploads/resumable/{upload_id}", status_code=204, responses=_STANDING, openapi_extra=_OFFSET_BODY)
def go_on(request: Request, landed: LandedOld, connection: Transaction, session: SignedIn) -> Response:
    """Go on with an upload where it is; its last bytes make the photo, which `Upload-Photo-Id` names."""
    return Response(status_code=204, headers=_go_on(request, landed, connection, session))


@router.delete("/uploads/resumable/{upload_id}", status_code=204, responses={412: _STANDING[412]})
def give_up(upload_id: UUID, _upload: OwnUpload, connection: Transaction, session: SignedIn) -> Response:
    """Give an upload up; a photo that it became stays."""
    with tus_headers.speaking():
        if not resumable_rows.end(connection, session.org_id, session.actor_id, upload_id):
            raise Refusal(404, NO_UPLOAD.said, code=NO_UPLOAD.code)
    return Response(status_code=204, headers=dict(tus_headers.SPOKEN))


def _go_on(request: Request, landed: Landed, connection: Connection, session: Principal) -> dict[str, str]:
    """Keep what came, or make the photo of it; return what is told of the upload then."""
    upload = landed.going.upload
    if landed.kept is None:
        # Bytes that wait change nothing that anybody sees; the photo is told of when it is there.
        request.state.trail.is_written = True
        return tus_headers.standing(tus_uploads.keep(connection, session, landed))
    call = Caller(request, connection, session, b"", None, None)
    answer = call.run(photos.ADD, str(upload.order_id), tus_uploads.whole_photo(upload, landed.kept))
    return tus_headers.standing(upload, upload.length, orjson.loads(answer.body)["id"])
