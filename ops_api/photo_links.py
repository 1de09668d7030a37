"""Photos of work orders as they are answered, with short links to their bytes (contract 004)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from models.queries.ticket_detail import Attachment
from ops_api import file_links
from ops_api.dependencies import Services
from pipeline.core.principals import Principal
from pipeline.core.uploads import KINDS
from pipeline.runtime.photo_rows import Photo

_PATH = "/api/v1/uploads/photos"
#: The two pictures of a photo: as it is stored, and small.
CONTENT, THUMBNAIL = "content", "thumbnail"


class PositionAnswer(BaseModel):
    """Where a photo was taken, by its camera: degrees, north and east positive."""

    latitude: float
    longitude: float


class PhotoAnswer(BaseModel):
    """A photo of a work order."""

    model_config = ConfigDict(populate_by_name=True)

    id: UUID
    url: str = Field(description="At this server, relative to it; needs no session and is good for five minutes.")
    thumb_url: str = Field(alias="thumbUrl", description="The small picture, likewise.")
    kind: str
    work_order_id: UUID = Field(alias="workOrderId")
    attempt: int = Field(description="Which giving of the order it proves; 0 before the first.")
    taken_at: datetime | None = Field(alias="takenAt", description="When, by the camera; null where it does not tell.")
    position: PositionAnswer | None = Field(description="Where, likewise.")
    width: int
    height: int
    size: int
    checksum: str = Field(description="SHA-256 in hex of the file as it came.")
    device: str | None
    uploaded_at: datetime = Field(alias="uploadedAt")


def links_of(request: Request, photo: Photo) -> dict[str, str]:
    """Return `url` and `thumbUrl` of a photo that who asks may see, good for five minutes and for them alone.

    Who is no person that we know gets addresses that need the bearer token they came with.
    """
    services: Services = request.app.state.services
    principal: Principal = request.state.principal
    return {
        "url": _address(services, principal, photo, CONTENT),
        "thumbUrl": _address(services, principal, photo, THUMBNAIL),
    }


def file_of(photo: Photo, which: str) -> Attachment:
    """Return one of a photo's pictures as a file to give out, named by its kind alone."""
    is_small = which == THUMBNAIL
    kind = "image/jpeg" if is_small else photo.content_type
    name = "thumbnail.jpg" if is_small else KINDS[photo.content_type].file_name
    sha256 = photo.thumbnail_sha256 if is_small else photo.sha256
    return Attachment(0, sha256, name, kind, photo.size, False, photo.now)


def path_of(photo_id: UUID, which: str, *, is_signed: bool = False) -> str:
    """Return the one way to write the path of a picture, by a link or with a session."""
    return f"{_PATH}/{photo_id}/{'signed/' if is_signed else ''}{which}"


def _address(services: Services, principal: Principal, photo: Photo, which: str) -> str:
    if principal.person_id is None:
        return path_of(photo.photo_id, which)
    path = path_of(photo.photo_id, which, is_signed=True)
    return file_links.make(services, principal, path, file_of(photo, which)).url
