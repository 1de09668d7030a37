"""What people send about photos of work orders, and the gates over them (contract 004)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.enums import PhotoKind, WorkOrderState
from models.permissions import Permission
from pipeline.command import Ask
from pipeline.core.orders import OVER, Order
from pipeline.core.refusing import Because, Refusal
from pipeline.core.uploads import LIMITS
from pipeline.runtime.photo_rows import MOST_PHOTOS, Photo
from pipeline.runtime.resumable_rows import Standing

#: In `Order.known`: which attempt it proves; whether the order, or the person, takes one more; the photo that is named;
#: the upload that is begun or ends; the photo that the same bytes are already.
ATTEMPT, HAS_ROOM, PHOTO, UPLOAD, SAME = "attempt", "has_room", "photo", "upload", "same"
#: Somebody works on it, or is about to: what is proved by them may come.
_UNDER_WAY = frozenset({WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS})
_LINE = r"^[^\x00-\x1f\x7f]*$"

Gate = Callable[[Ask[Any], Order], Refusal | None]
Named = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=_LINE)]


class NewPhoto(BaseModel):
    """Which order a photo is of, and what it shows; `device` is what took it, for people to read."""

    model_config = ConfigDict(populate_by_name=True)

    work_order_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)] = Field(
        alias="workOrderId"
    )
    kind: PhotoKind
    device: Named | None = None


class NewUpload(NewPhoto):
    """The same of an upload that may break off, as its metadata say it."""

    client_id: Named | None = Field(default=None, alias="clientId")
    sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")] | None = None


class BeginUpload(BaseModel):
    """An upload to begin; `length` in bytes."""

    kind: PhotoKind
    length: Annotated[int, Field(gt=0, le=LIMITS.file_bytes)]
    device: str | None = None
    client_id: str | None = None
    sha256: str | None = None


class AddPhoto(BaseModel):
    """A photo that was taken in and is stored; hashes are hex. With an upload that it is the end of, where it is."""

    kind: PhotoKind
    device: str | None = None
    source_sha256: str
    sha256: str
    size: int
    #: As the store packed it; never 0, which says that the bytes are gone.
    packed_size: int
    thumbnail_sha256: str
    thumbnail_size: int
    thumbnail_packed_size: int
    content_type: str
    width: int
    height: int
    taken_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    upload_id: UUID | None = None
    #: How far the upload had come when its last bytes were sent.
    offset: int = 0
    begun_at: datetime | None = None


class RemovePhoto(BaseModel):
    """Nothing but the wish."""


def unless(is_done: Callable[[Order], bool], *gates: Gate) -> tuple[Gate, ...]:
    """Return gates that let through who asks again for what is done already: an answer may have been lost."""

    def again(gate: Gate) -> Gate:
        return lambda ask, order: None if is_done(order) else gate(ask, order)

    return tuple(again(gate) for gate in gates)


def by_whose_it_is(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse who may not show this kind of thing of this order.

    What is wrong is shown by who made the order or leads; what was done, or why it is given back, by its assignee.
    """
    who = ask.principal
    if _kind(ask, order) is PhotoKind.ISSUE:
        leads = who.may(Permission.WORK_ORDERS_CREATE) or who.may(Permission.WORK_ORDERS_ASSIGN)
        made = who.person_id is not None and who.person_id == order.created_by_id
        if leads or made:
            return None
        return Refusal("NOT_ASSIGNED", "only who made the order or leads shows what is wrong", Because.FORBIDDEN)
    if who.may(Permission.WORK_ORDERS_WORK) and who.person_id is not None and who.person_id == order.assigned_to_id:
        return None
    return Refusal("NOT_ASSIGNED", "only the technician it was given to may do this", Because.FORBIDDEN)


def while_open(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse photos of an order that is over, and proof of work that nobody has to do just now."""
    if order.state in OVER:
        said = f"this order is {order.state.value}: its photos stay as they are"
        return Refusal("ORDER_CLOSED", said, details={"state": order.state.value})
    if _kind(ask, order) is PhotoKind.ISSUE or order.state in _UNDER_WAY:
        return None
    said = f"this order is {order.state.value}: photos of the work are taken once it is given to you again"
    return Refusal("ORDER_NOT_UNDER_WAY", said, details={"state": order.state.value})


def order_has_room(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse one photo more of a kind than an attempt at an order takes."""
    if order.known[HAS_ROOM]:
        return None
    return Refusal("PHOTOS_TOO_MANY", f"there are {MOST_PHOTOS} photos of this already: take one away first")


def person_has_room(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse one open upload more than somebody may have, and more of their bytes."""
    if order.known[HAS_ROOM]:
        return None
    return Refusal("UPLOADS_TOO_MANY", "end or give up an upload first: too many of yours are open")


def is_the_same(ask: Ask[BeginUpload], order: Order) -> Refusal | None:
    """Refuse a name that its owner gave to another upload."""
    upload: Standing | None = order.known[UPLOAD]
    asked = ask.arguments
    if upload is None or (upload.order_id, upload.kind, upload.length) == (order.order_id, asked.kind, asked.length):
        return None
    return Refusal("CLIENT_ID_USED", "this clientId names another upload: give this one a name of its own")


def goes_on(ask: Ask[AddPhoto], order: Order) -> Refusal | None:
    """Refuse the end of an upload that is gone, or that has come to another place meanwhile."""
    if ask.arguments.upload_id is None:
        return None
    upload: Standing | None = order.known[UPLOAD]
    if upload is None:
        return NO_UPLOAD
    if upload.photo_id is not None or upload.progress.fits(ask.arguments.offset):
        return None
    return other_offset(upload)


def by_its_uploader(ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to take away what somebody else took."""
    photo: Photo = order.known[PHOTO]
    who = ask.principal
    if photo.uploaded_by == who.actor_id or (who.person_id is not None and who.person_id == photo.uploaded_by_id):
        return None
    return Refusal("NOT_UPLOADER", "only who uploaded this photo may take it away", Because.FORBIDDEN)


def of_this_attempt(_ask: Ask[Any], order: Order) -> Refusal | None:
    """Refuse to take away what an earlier attempt at the work showed: that is its history."""
    photo: Photo = order.known[PHOTO]
    if photo.kind is PhotoKind.ISSUE or photo.attempt == order.attempt:
        return None
    return Refusal("PHOTO_OF_EARLIER_ATTEMPT", "this photo shows an earlier attempt at the work, and stays")


NO_UPLOAD = Refusal("UPLOAD_NOT_FOUND", "you have no such upload, or its time is over: begin it anew", Because.MISSING)


def other_offset(upload: Standing) -> Refusal:
    """Return the refusal of bytes that do not begin where an upload is."""
    said = f"the upload goes on at byte {upload.received}"
    return Refusal("OFFSET_MISMATCH", said, details={"offset": upload.received})


def _kind(ask: Ask[Any], order: Order) -> PhotoKind:
    photo: Photo | None = order.known.get(PHOTO)
    kind: PhotoKind = ask.arguments.kind if photo is None else photo.kind
    return kind
