"""Files that are given out, by a session or by a link: one check of links and one form of answers for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from models.permissions import Permission
from models.queries.ticket_detail import Attachment
from ops_api.answers import Refusal
from ops_api.dependencies import Services
from ops_api.downloads import LASTS, SAFE_HEADERS, Link, headers_of
from ops_api.routes.raw import Download, chunks
from pipeline.core.principals import Principal, Way
from pipeline.runtime import identity

#: Finds the file for somebody, within their reach. Raises `Refusal`.
Find = Callable[[Connection, Principal], Attachment]


@dataclass(frozen=True, slots=True)
class Given:
    """A file with its bytes, or where they are."""

    found: Attachment
    content: bytes = b""
    url: str | None = None


class LinkAnswer(BaseModel):
    """An address that needs no session; relative when it is at this server."""

    url: str
    expires_at: datetime = Field(description="Not good any more from then on.")


def make(services: Services, principal: Principal, path: str, found: Attachment) -> LinkAnswer:
    """Return an address of a file that was found for somebody, good for five minutes. 403 for who is no person."""
    if principal.person_id is None:
        raise Refusal(403, "a link is a person's; this token is nobody's that we know", code="FORBIDDEN")
    until = (found.asked_at + LASTS).replace(microsecond=0)
    token = services.links.make(Link(path, principal.org_id, principal.person_id, found.sha256, until))
    return LinkAnswer(url=f"{path}?token={token}", expires_at=until)


def read(request: Request, token: str, path: str, needed: Permission, find: Find) -> Attachment:
    """Return the file that a link is for, as long as its person may still read it; 403 otherwise."""
    services: Services = request.app.state.services
    link = services.links.read(token)
    asking: Principal | None = request.state.principal
    # Its path first: else whoever was handed a link could ask by it what else there is.
    if link is None or link.path != path or (asking is not None and asking.person_id != link.person_id):
        raise _not_good()
    with services.db.begin() as connection:
        services.barrier.bind(connection, link.org_id)
        person = identity.by_person(connection, link.org_id, link.person_id, Way.SESSION)
        if person is None or not person.may(needed):
            raise _not_good()
        found = find(connection, person)
    if not link.fits(path, found):
        raise _not_good()
    return found


def answer(ready: Given) -> Response:
    """Return a file to keep, or the way to it; never anything that a browser would show."""
    if ready.url is not None:
        return RedirectResponse(ready.url, status_code=307, headers=SAFE_HEADERS)
    headers = SAFE_HEADERS | headers_of(ready.found) | {"Content-Length": str(len(ready.content))}
    return Download(chunks(ready.content), headers=headers)


def _not_good() -> Refusal:
    return Refusal(403, "this link is not good, or not any more; ask for a new one", code="link_not_good")
