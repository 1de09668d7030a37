"""A photo on its way in as one form: who may send it is known before it is judged, and no transaction waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection
from starlette.responses import Response

from models.enums import PhotoKind
from ops_api.answers import Refusal
from ops_api.commands import Caller, IdempotencyKey
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.photo_links import links_of
from ops_api.upload_bodies import Received
from ops_api.upload_door import CHECKS
from ops_api.uploads import RECEIVES, received
from ops_api.versions import Seen
from pipeline.commands.orders import MISSING, NOT_YOURS
from pipeline.commands.photo_arguments import AddPhoto, NewPhoto
from pipeline.core.canonical_json import canonical
from pipeline.core.principals import Principal
from pipeline.core.written import read_id
from pipeline.runtime import photo_rows
from pipeline.runtime.uploads import Kept

Form = TypeVar("Form", bound=BaseModel)
#: The whole body, spooled; gone when the route's function has ended.
Whole = Annotated[Received, Depends(received, scope="function", max_concurrency=RECEIVES)]


def read_form(form: type[Form], said: Mapping[str, str]) -> Form:
    """Return what a form says; what it says besides is left. Refuses with 422 by the names of its fields."""
    known = {field.alias or name for name, field in form.model_fields.items()}
    try:
        return form.model_validate({name: value for name, value in said.items() if name in known})
    except ValidationError as error:
        fields = {".".join(map(str, one["loc"])): str(one["msg"])[:200] for one in error.errors()}
        detail = "; ".join(f"{name}: {message}" for name, message in fields.items())
        raise Refusal(422, detail, fields=fields) from None


def must_reach(connection: Connection, principal: Principal, work_order_id: str) -> None:
    """Refuse who does not reach an order: 404 where there is none, 403 where it is somebody else's (contract 004)."""
    found = photo_rows.reaches_order(connection, principal, work_order_id)
    if not found:
        status, refusal = (404, MISSING) if found is None else (403, NOT_YOURS)
        raise Refusal(status, refusal.said, code=refusal.code)


def asked(found: Whole, session: SignedIn, services: Provided) -> NewPhoto:
    """Return what the form says, of an order that is within reach; no transaction is open afterwards."""
    wish = read_form(NewPhoto, found.fields)
    with services.begin(session) as connection:
        must_reach(connection, session, wish.work_order_id)
    return wish


Asked = Annotated[NewPhoto, Depends(asked, scope="function")]


def stored(found: Whole, _wish: Asked, session: SignedIn, services: Provided) -> Kept:
    """Judge and store the picture; anything else is refused. Whoever waits for its turn holds no thread."""
    return services.uploads.keep(found, session.org_id, services.begin(session), only_pictures=True)


Stored = Annotated[Kept, Depends(stored, scope="function", max_concurrency=CHECKS)]


def photo_caller(
    *,
    request: Request,
    wish: Asked,
    kept: Stored,
    connection: Transaction,
    session: SignedIn,
    version: Seen,
    key: IdempotencyKey = None,
) -> Caller:
    """Return the request for the command; its transaction begins when the picture is stored."""
    said = {"file": kept.received_sha256, "fields": wish.model_dump(mode="json")}
    return Caller(request, connection, session, canonical(said), key, version)


PhotoCalling = Annotated[Caller, Depends(photo_caller, scope="function")]


def arguments_of(kept: Kept, kind: PhotoKind, device: str | None) -> AddPhoto:
    """Return what the command is asked with."""
    small, place = kept.thumbnail, kept.position
    assert small is not None, "a picture has a small one"
    return AddPhoto(
        kind=kind,
        device=device,
        source_sha256=kept.received_sha256,
        sha256=kept.sha256,
        size=kept.size,
        packed_size=kept.stored.packed_size,
        thumbnail_sha256=small.sha256,
        thumbnail_size=small.size,
        thumbnail_packed_size=small.packed_size,
        content_type=kept.content_type,
        width=kept.width or 0,
        height=kept.height or 0,
        taken_at=kept.taken_at,
        lat=place.latitude if place else None,
        lon=place.longitude if place else None,
    )


def with_links(call: Caller, answer: Response) -> Response:
    """Return a command's answer with links that are good from now on: those of a replay would be over."""
    told = orjson.loads(answer.body)
    # What was answered of a photo that is erased is forgotten.
    photo_id = read_id(str(told.get("id")))
    photo = photo_id and photo_rows.find(call.connection, call.principal.org_id, photo_id)
    links = links_of(call.request, photo) if photo else {}
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    return Response(canonical({**told, **links}), answer.status_code, headers, media_type="application/json")
