"""The bytes of evidence: always as files, only within reach, and by links that need no session."""

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
from models.queries import evidence as queries
from models.queries.ticket_detail import Attachment
from ops_api import field_tickets, file_links
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, Services, SignedIn, TicketName
from ops_api.downloads import LASTS, headers_of
from ops_api.evidence_answers import as_file
from ops_api.file_links import Given, LinkAnswer
from ops_api.guard import GuardedRoute
from ops_api.raws import READS
from pipeline.core.principals import Principal

router = APIRouter(route_class=GuardedRoute, tags=["evidence"])

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes, as a file.", "content": {"application/octet-stream": {}}},
    502: {"description": "The blob store has lost the bytes."},
}
_REDIRECT: dict[int | str, dict[str, Any]] = {307: {"description": "The bytes are at the store, for 5 minutes."}}


def own_file(ticket_id: TicketName, evidence_id: UUID, session: SignedIn, services: Provided) -> Attachment:
    """Return the file of a piece of a ticket that is within reach; 404 otherwise."""
    with services.begin(session) as connection:
        return _find(connection, session, ticket_id, evidence_id)[1]


def own_picture(ticket_id: TicketName, evidence_id: UUID, session: SignedIn, services: Provided) -> Attachment:
    """Return the small picture of a piece; 404 where there is none."""
    with services.begin(session) as connection:
        return _find(connection, session, ticket_id, evidence_id, is_small=True)[1]


def given(found: Annotated[Attachment, Depends(own_file)], services: Provided) -> Iterator[Given]:
    """Return the bytes, or where the store gives them out; no transaction is open meanwhile."""
    yield _given(found, services)


def given_small(found: Annotated[Attachment, Depends(own_picture)], services: Provided) -> Iterator[Given]:
    """Return the small picture as above."""
    yield _given(found, services)


def signed(
    ticket_id: UUID,
    evidence_id: UUID,
    token: Annotated[str, Query(min_length=1, max_length=2048)],
    request: Request,
) -> Attachment:
    """Return the file that a link is for, as long as its person may still read the ticket's evidence; 403 otherwise."""

    def find(connection: Connection, person: Principal) -> Attachment:
        return _find(connection, person, str(ticket_id), evidence_id)[1]

    return file_links.read(request, token, _path(ticket_id, evidence_id), Permission.READ_EVIDENCE, find)


def signed_content(found: Annotated[Attachment, Depends(signed)], services: Provided) -> Iterator[Given]:
    """Return the bytes that a link is for."""
    yield Given(found, services.raws.read_kept(BlobKind.EVIDENCE, found.sha256))


_turn = partial(Depends, scope="request", max_concurrency=READS)


@router.get(
    "/tickets/{ticket_id}/evidence/{evidence_id}/content",
    response_class=StreamingResponse,
    responses=_BYTES | _REDIRECT,
)
async def content(ready: Annotated[Given, _turn(given)]) -> Response:
    """Return a piece of evidence as a file to keep."""
    return file_links.answer(ready)


@router.get(
    "/tickets/{ticket_id}/evidence/{evidence_id}/thumbnail",
    response_class=StreamingResponse,
    responses=_BYTES | _REDIRECT,
)
async def thumbnail(ready: Annotated[Given, _turn(given_small)]) -> Response:
    """Return the small picture of a piece of evidence, a JPEG."""
    return file_links.answer(ready)


@router.get("/tickets/{ticket_id}/evidence/{evidence_id}/link")
def make_link(ticket_id: TicketName, evidence_id: UUID, session: SignedIn, services: Provided) -> LinkAnswer:
    """Return an address for this file that is good for five minutes, to hand to a program without a session."""
    with services.begin(session) as connection:
        true_id, found = _find(connection, session, ticket_id, evidence_id)
    return file_links.make(services, session, _path(true_id, evidence_id), found)


@router.get(
    "/tickets/{ticket_id}/evidence/{evidence_id}/signed/content",
    response_class=StreamingResponse,
    responses=_BYTES | {403: {"description": "The link is over, or not for this."}},
)
async def content_by_link(ready: Annotated[Given, _turn(signed_content)]) -> Response:
    """Return the file that a link is for; no session is needed."""
    return file_links.answer(ready)


def _find(
    connection: Connection, who: Principal, ticket_id: str, evidence_id: UUID, *, is_small: bool = False
) -> tuple[UUID, Attachment]:
    head = field_tickets.find(connection, who, ticket_id)
    found = queries.file_of(connection, who.org_id, head.ticket_id, evidence_id)
    file = None if found is None else as_file(found, is_small=is_small)
    if file is None:
        raise Refusal(404, "this ticket has no such file, or its bytes are not kept here", code="EVIDENCE_NOT_FOUND")
    return head.ticket_id, file


def _given(found: Attachment, services: Services) -> Given:
    url = services.raws.link_to(BlobKind.EVIDENCE, found.sha256, headers_of(found), LASTS)
    return Given(found, url=url) if url else Given(found, services.raws.read_kept(BlobKind.EVIDENCE, found.sha256))


def _path(ticket_id: UUID, evidence_id: UUID) -> str:
    return f"/tickets/{ticket_id}/evidence/{evidence_id}/signed/content"
