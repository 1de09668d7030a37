"""Photos of work orders: added, taken away before the work is done, and uploaded in pieces (contract 004)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from models.enums import BlobKind, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target
from pipeline.commands.orders import NOT_YOURS, not_of_ticket, order_target, record
from pipeline.commands.photo_arguments import (
    ATTEMPT,
    HAS_ROOM,
    PHOTO,
    SAME,
    UPLOAD,
    AddPhoto,
    BeginUpload,
    RemovePhoto,
    by_its_uploader,
    by_whose_it_is,
    goes_on,
    is_the_same,
    of_this_attempt,
    order_has_room,
    person_has_room,
    unless,
    while_open,
)
from pipeline.core.orders import Order
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain, read_id
from pipeline.runtime import order_rows, photo_rows, resumable_rows
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.errors import BeingErased
from pipeline.runtime.photo_rows import Photo
from pipeline.runtime.resumable_rows import Begun

#: Of the bytes in the store, or of the upload.
_NOT_KEPT = {"packed_size", "thumbnail_size", "thumbnail_packed_size", "upload_id", "offset", "begun_at"}
_MISSING = Refusal("PHOTO_NOT_FOUND", "your organization has no such photo", Because.MISSING)


def described(photo: Photo) -> dict[str, Any]:
    """Return a photo as contract 004 serves it, and what else is known of it; without links, which last minutes."""
    place = None if photo.lat is None else {"latitude": photo.lat, "longitude": photo.lon}
    return {
        "id": str(photo.photo_id),
        "kind": photo.kind.value,
        "workOrderId": str(photo.order_id),
        "attempt": photo.attempt,
        "takenAt": plain(photo.taken_at),
        "position": place,
        "width": photo.width,
        "height": photo.height,
        "size": photo.size,
        "checksum": photo.source_sha256,
        "device": photo.device,
        "uploadedAt": plain(photo.created_at),
    }


def _look(connection: Connection, ask: Ask[AddPhoto], order: Order) -> Mapping[str, Any]:
    asked, who = ask.arguments, ask.principal
    upload = None
    if asked.upload_id is not None:
        upload = resumable_rows.lock(connection, who.org_id, who.actor_id, asked.upload_id)
    attempt = photo_rows.attempt_at(connection, order, asked.begun_at)
    return {
        UPLOAD: upload,
        ATTEMPT: attempt,
        SAME: photo_rows.same(connection, order.order_id, asked.kind, asked.source_sha256),
        HAS_ROOM: photo_rows.has_room(connection, order.order_id, attempt, asked.kind),
    }


def _is_there(order: Order) -> bool:
    return order.known[SAME] is not None


def _add(connection: Connection, ask: Ask[AddPhoto], order: Order) -> Effect:
    asked, upload = ask.arguments, order.known[UPLOAD]
    if upload is not None and upload.photo_id is not None:
        photo = photo_rows.find(connection, order.org_id, upload.photo_id)
        assert photo is not None, "a photo is marked as removed, and never deleted"
        return _told(photo, order, is_again=True)
    photo = order.known[SAME]
    is_again = photo is not None
    if photo is None:
        _note_bytes(connection, order, asked)
        photo = photo_rows.add(connection, _values(ask, order))
    if upload is not None:
        resumable_rows.finish(connection, upload, photo.photo_id)
    return _told(photo, order, is_again=is_again)


def _told(photo: Photo, order: Order, *, is_again: bool) -> Effect:
    details = {"photo_id": photo.photo_id, "kind": photo.kind.value, "attempt": photo.attempt}
    details |= {"is_again": True} if is_again else {}
    return Effect(described(photo), status=200 if is_again else 201, details=details, subject=order)


def _values(ask: Ask[AddPhoto], order: Order) -> dict[str, Any]:
    return ask.arguments.model_dump(exclude=_NOT_KEPT) | {
        "org_id": order.org_id,
        "order_id": order.order_id,
        "kind": ask.arguments.kind.value,
        "attempt": order.known[ATTEMPT],
        "uploaded_by": ask.principal.actor_id,
        "uploaded_by_id": ask.principal.person_id,
    }


def _note_bytes(connection: Connection, order: Order, asked: AddPhoto) -> None:
    """Hold on to bytes that were stored before this transaction: something else may be erasing the same ones."""
    rows = [
        (order.org_id, bytes.fromhex(asked.sha256), asked.size, asked.packed_size),
        (order.org_id, bytes.fromhex(asked.thumbnail_sha256), asked.thumbnail_size, asked.thumbnail_packed_size),
    ]
    try:
        note_blobs(connection, BlobKind.EVIDENCE, rows)
    except BeingErased:
        said = "the same picture is being erased just now; upload it again in a moment"
        raise Refused(Refusal("PHOTO_BEING_ERASED", said)) from None


def _lock_photo(connection: Connection, ask: Ask[RemovePhoto]) -> Locked[Order] | None:
    """Lock the order of a photo; whose order it is never changes, so it may be read before."""
    photo_id, who = read_id(ask.target or ""), ask.principal
    photo = None if photo_id is None else photo_rows.find(connection, who.org_id, photo_id)
    if photo is None:
        return None
    found = order_rows.lock(connection, who, str(photo.order_id), WorkPolicy.FIELD, order_rows.reach(who))
    if found is None:
        return None
    order, is_reached = found
    # Read again: it may have been taken away while this waited.
    photo = photo_rows.find(connection, who.org_id, photo.photo_id)
    order = replace(order, known=MappingProxyType({PHOTO: photo}))
    return Locked(ask.target or "", order, order.version, is_reached, trace_id=order.trace_id)


def _is_gone(order: Order) -> bool:
    return order.known[PHOTO].removed_at is not None


def _remove(connection: Connection, ask: Ask[RemovePhoto], order: Order) -> Effect:
    photo: Photo = order.known[PHOTO]
    removed = photo_rows.remove(connection, photo.photo_id, ask.principal.actor_id)
    details = {"photo_id": photo.photo_id, "kind": photo.kind.value, "attempt": photo.attempt}
    details |= {} if removed else {"is_again": True}
    return Effect({"id": str(photo.photo_id)}, status=204, details=details, subject=order)


def _look_for_begun(connection: Connection, ask: Ask[BeginUpload], _order: Order) -> Mapping[str, Any]:
    who, asked = ask.principal, ask.arguments
    resumable_rows.take_turn(connection, who.actor_id)
    upload = resumable_rows.of_client(connection, who.org_id, who.actor_id, asked.client_id)
    has_room = upload is not None or resumable_rows.has_room(connection, who, asked.length)
    return {UPLOAD: upload, HAS_ROOM: has_room}


def _has_ended(order: Order) -> bool:
    upload = order.known[UPLOAD]
    return upload is not None and upload.photo_id is not None


def _begin(connection: Connection, ask: Ask[BeginUpload], order: Order) -> Effect:
    upload, asked, who = order.known[UPLOAD], ask.arguments, ask.principal
    is_again = upload is not None
    if upload is None:
        resumable_rows.make_room(connection, who, asked.length)
        begun = Begun(
            who.org_id, order.order_id, who.actor_id, asked.kind, asked.length, asked.device, asked.client_id,
            asked.sha256,
        )  # fmt: skip
        upload = resumable_rows.begin(connection, begun)
    details = {"upload_id": upload.upload_id, "kind": upload.kind.value, "length": upload.length}
    return Effect({"id": str(upload.upload_id)}, status=200 if is_again else 201, details=details)


#: Sent again it is the same photo, with or without a key.
ADD = Command(
    name="work_order.add_photo",
    about="Adds a photo to a work order; the same bytes twice are one photo.",
    arguments=AddPhoto,
    permission=Permission.WORK_ORDERS_READ,
    target=order_target(WorkPolicy.FIELD, _look),
    gates=(not_of_ticket, by_whose_it_is, goes_on, *unless(_is_there, while_open, order_has_room)),
    effect=_add,
)
REMOVE = Command(
    name="work_order.remove_photo",
    about="Takes away a photo before the work is done.",
    arguments=RemovePhoto,
    permission=Permission.WORK_ORDERS_READ,
    target=Target("photo", _lock_photo, _MISSING, NOT_YOURS, record),
    gates=unless(_is_gone, by_its_uploader, by_whose_it_is, while_open, of_this_attempt),
    effect=_remove,
)
#: No step of the order: what counts is the photo, when its last byte has come.
BEGIN = Command(
    name="work_order.begin_upload",
    about="Begins an upload of a photo that may break off and go on.",
    arguments=BeginUpload,
    permission=Permission.WORK_ORDERS_READ,
    target=replace(order_target(WorkPolicy.FIELD, _look_for_begun), record=None),
    gates=(is_the_same, *unless(_has_ended, not_of_ticket, by_whose_it_is, while_open, person_has_room)),
    effect=_begin,
)
COMMANDS = (ADD, REMOVE, BEGIN)
