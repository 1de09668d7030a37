"""Attachments of tickets: redirected to the store where it signs links, sent from here otherwise; always as files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response, StreamingResponse

from models.permissions import Permission
from models.queries import conversations, ticket_detail
from models.queries.ticket_detail import Attachment
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, TicketName
from ops_api.downloads import LASTS, SAFE_HEADERS, Link, headers_of, path_of
from ops_api.guard import GuardedRoute
from ops_api.raws import READS
from ops_api.routes.raw import Download, chunks
from pipeline.core.principals import Principal, Way
from pipeline.runtime import identity

router = APIRouter(route_class=GuardedRoute, tags=["tickets"])

AttachmentId = Annotated[int, Path(ge=1, lt=2**63)]
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes, as a file.", "content": {"application/octet-stream": {}}},
    409: {"description": "The file looks dangerous and is not given out."},
    502: {"description": "The blob store has lost the bytes."},
}
_REDIRECT: dict[int | str, dict[str, Any]] = {307: {"description": "The bytes are at the store, for 5 minutes."}}


@dataclass(frozen=True, slots=True)
class Given:
    """An attachment with its bytes, or where they are."""

    found: Attachment
    content: bytes = b""
    url: str | None = None


class LinkAnswer(BaseModel):
    """An address that needs no session; relative when it is at this server."""

    url: str
    expires_at: datetime = Field(description="Not good any more from then on.")


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
    services: Provided,
) -> Attachment:
    """Return the attachment that a link is for, as long as its person may still read the ticket. 403 otherwise."""
    link = services.links.read(token)
    asking: Principal | None = request.state.principal
    path = path_of(ticket_id, attachment_id)
    # Its path first: else whoever was handed a link could ask by it what else there is.
    if link is None or link.path != path or (asking is not None and asking.person_id != link.person_id):
        raise _not_good()
    with services.db.begin() as connection:
        services.barrier.bind(connection, link.org_id)
        person = identity.by_person(connection, link.org_id, link.person_id, Way.SESSION)
        if person is None or not person.may(Permission.TICKETS_READ):
            raise _not_good()
        _, found = _find(connection, person, str(ticket_id), attachment_id)
    if not link.fits(path, found):
        raise _not_good()
    return found


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
    if ready.url is not None:
        return RedirectResponse(ready.url, status_code=307, headers=SAFE_HEADERS)
    return _file(ready)


@router.get("/tickets/{ticket_id}/attachments/{attachment_id}/link", responses={409: _BYTES[409]})
def make_link(ticket_id: TicketName, attachment_id: AttachmentId, session: SignedIn, services: Provided) -> LinkAnswer:
    """Return an address for this attachment that is good for five minutes, to hand to a program without a session."""
    if session.person_id is None:
        raise Refusal(403, "a link is a person's; this token is nobody's that we know")
    with services.begin(session) as connection:
        true_id, found = _find(connection, session, ticket_id, attachment_id)
    path = path_of(true_id, attachment_id)
    until = (found.asked_at + LASTS).replace(microsecond=0)
    token = services.links.make(Link(path, session.org_id, session.person_id, found.sha256, until))
    return LinkAnswer(url=f"{path}?token={token}", expires_at=until)


@router.get(
    "/tickets/{ticket_id}/attachments/{attachment_id}/signed/download",
    response_class=StreamingResponse,
    responses=_BYTES | {403: {"description": "The link is over, or not for this."}},
)
async def download_by_link(
    ready: Annotated[Given, Depends(signed_content, scope="request", max_concurrency=READS)],
) -> Response:
    """Return the attachment that a link is for; no session is needed."""
    return _file(ready)


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


def _not_good() -> Refusal:
    return Refusal(403, "this link is not good, or not any more; ask for a new one", code="link_not_good")


def _file(ready: Given) -> Response:
    headers = SAFE_HEADERS | headers_of(ready.found) | {"Content-Length": str(len(ready.content))}
    return Download(chunks(ready.content), headers=headers)
