"""Attachments of tickets: redirected to the store where it signs links, sent from here otherwise; always as files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response, StreamingResponse

from models.permissions import Permission
from models.queries import conversations, ticket_detail
from models.queries.ticket_detail import Attachment
from ops_api import file_links
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, TicketName
from ops_api.downloads import LASTS, headers_of, path_of
from ops_api.file_links import Given, LinkAnswer
from ops_api.guard import GuardedRoute
from ops_api.raws import READS
from pipeline.core.principals import Principal
from pipeline.runtime import identity

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])

AttachmentId = Annotated[int, Path(ge=1, lt=2**63)]
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes, as a file.", "content": {"application/octet-stream": {}}},
    409: {"description": "The file looks dangerous and is not given out."},
    502: {"description": "The blob store has lost the bytes."},
}
_REDIRECT: dict[int | str, dict[str, Any]] = {307: {"description": "The bytes are at the store, for 5 minutes."}}


def own_attachment(
    ticket_id: TicketName, attachment_id: AttachmentId, session: SignedIn, services: Provided
) -> Attachment:
    """Return an attachment of a ticket that is within reach; 404 otherwise, 409 for one that looks dangerous."""
    with services.begin(session) as connection:
        return _find(connection, session, ticket_id, attachment_id)[1]


def given(found: Annotated[Attachment, Depends(own_attachment)], services: Provided) -> Iterator[Given]:
    """Return the bytes, or where the store gives them out; no transaction is open meanwhile.

    Its turn lasts until the answer has ended, so that no more files than turns are ever held.
    """
    url = services.raws.link_to_attachment(found.sha256, headers_of(found), LASTS)
    yield Given(found, url=url) if url else Given(found, services.raws.read_attachment(found.sha256))


def signed_attachment(
    ticket_id: UUID,
    attachment_id: AttachmentId,
    token: Annotated[str, Query(min_length=1, max_length=2048)],
    request: Request,
) -> Attachment:
    """Return the attachment that a link is for, as long as its person may still read the ticket. 403 otherwise."""

    def find(connection: Connection, person: Principal) -> Attachment:
        return _find(connection, person, str(ticket_id), attachment_id)[1]

    return file_links.read(request, token, path_of(ticket_id, attachment_id), Permission.TICKETS_READ, find)


def signed_content(found: Annotated[Attachment, Depends(signed_attachment)], services: Provided) -> Iterator[Given]:
    """Return the bytes that a link is for; a turn as above."""
    yield Given(found, services.raws.read_attachment(found.sha256))


@router.get(
    "/tickets/{ticket_id}/attachments/{attachment_id}/download",
    response_class=StreamingResponse,
    responses=_BYTES | _REDIRECT,
)
async def download(
    ready: Annotated[Given, Depends(given, scope="request", max_concurrency=READS)],
) -> Response:
    """Return an attachment as a file to keep; never anything that a browser would show."""
    return file_links.answer(ready)


@router.get("/tickets/{ticket_id}/attachments/{attachment_id}/link", responses={409: _BYTES[409]})
def make_link(ticket_id: TicketName, attachment_id: AttachmentId, session: SignedIn, services: Provided) -> LinkAnswer:
    """Return an address for this attachment that is good for five minutes, to hand to a program without a session."""
    with services.begin(session) as connection:
        true_id, found = _find(connection, session, ticket_id, attachment_id)
    return file_links.make(services, session, path_of(true_id, attachment_id), found)


@router.get(
    "/tickets/{ticket_id}/attachments/{attachment_id}/signed/download",
    response_class=StreamingResponse,
    responses=_BYTES | {403: {"description": "The link is over, or not for this."}},
)
async def download_by_link(
    ready: Annotated[Given, Depends(signed_content, scope="request", max_concurrency=READS)],
) -> Response:
    """Return the attachment that a link is for; no session is needed."""
    return file_links.answer(ready)


def _find(connection: Connection, principal: Principal, ticket_id: str, attachment_id: int) -> tuple[UUID, Attachment]:
    head = conversations.find_head(connection, ticket_id, principal.org_id, identity.ticket_reach(principal))
    if head is None:
        raise Refusal(404, "your organization has no such ticket")
    found = ticket_detail.attachment(connection, principal.org_id, head.ticket_id, attachment_id)
    if found is None:
        raise Refusal(404, "this ticket has no such attachment")
    if found.is_quarantined:
        raise Refusal(409, "this file looks dangerous, so it is not given out; ask an administrator for the raw mail")
    return head.ticket_id, found
