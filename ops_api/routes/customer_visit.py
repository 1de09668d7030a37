"""The customer's page for one visit, by a link instead of a login: seen, confirmed, moved, put into a calendar."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from ops_api import visit_pages
from ops_api.answers import CODES, ErrorAnswer
from ops_api.field_answers import StretchAnswer
from ops_api.guard import GuardedRoute
from ops_api.visit_door import Called, Caller, Wished
from pipeline.commands import customer_visits
from pipeline.core.invitations import Meeting, Method
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime.invitations import write

router = APIRouter(route_class=GuardedRoute, tags=["customer"])

_HTML: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "content": _HTML, "description": "A link that is unknown, over or revoked."}
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    **_MISSING,
    200: {"content": _HTML},
    303: {"description": "Done; the page shows it. For browsers.", "model": None},
    409: {"model": ErrorAnswer, "content": _HTML, "description": "Not possible (any more); the page shows what is."},
    422: {"model": ErrorAnswer, "content": _HTML, "description": "This window is none for the visit."},
}
_MOMENT = {"type": "string", "format": "date-time"}
_STRETCH = {"type": "object", "required": ["start", "end"], "properties": {"start": _MOMENT, "end": _MOMENT}}
_KEY = {"type": "string", "maxLength": 100}
_FORM = {"window": {"type": "string", "description": "Start and end with a slash between."}, "key": _KEY}
#: What a body holds; it is read by hand, since it may be a form or JSON (`ops_api.visit_door.WishBody`).
_WISH = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["window"],
                    "additionalProperties": False,
                    "properties": {"window": _STRETCH, "key": _KEY},
                }
            },
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "required": ["window"], "properties": _FORM}
            },
        },
    }
}
_STATUS = {Because.MISSING: 404, Because.FORBIDDEN: 403, Because.INVALID: 422, Because.MALFORMED: 422}


class CustomerVisit(BaseModel):
    """A visit as its customer sees it."""

    code: str
    company: str
    address: str | None
    timezone: str = Field(description="Of the place; the page shows its times.")
    standing: Literal["proposed", "held", "booked", "coming", "none"]
    window: StretchAnswer | None
    confirm_by: datetime | None
    options: list[StretchAnswer] = Field(description="Windows that were proposed and can be confirmed.")
    free_from: date = Field(description="The first day whose free windows are shown.")
    free: list[StretchAnswer] = Field(description="Windows that the visit can be moved to.")
    may_confirm: bool
    may_move: bool
    expires_at: datetime = Field(description="Until when the link is good.")


@router.get("/visit/{token}", response_model=CustomerVisit, responses={**_MISSING, 200: {"content": _HTML}})
def show(
    caller: Called,
    day: Annotated[date | None, Query(alias="from", description="The first day of free windows.")] = None,
    done: Annotated[Literal["confirmed", "moved"] | None, Query(description="What was just done.")] = None,
) -> Response:
    """Show the visit and what may be chosen: a page for browsers, JSON for who accepts that alone."""
    if caller.link is None:
        return caller.missing()
    view = customer_visits.view(caller.connection, caller.link, day)
    return _answer(caller, view, done=done)


@router.post("/visit/{token}/confirm", response_model=CustomerVisit, responses=_REFUSED, openapi_extra=_WISH)
def confirm(wish: Wished, caller: Called) -> Response:
    """Confirm one of the windows that were proposed, or the one that is held."""
    if caller.link is None:
        return caller.missing()
    return _acted(caller, customer_visits.confirm(caller.connection, caller.link, wish), "confirmed")


@router.post("/visit/{token}/move", response_model=CustomerVisit, responses=_REFUSED, openapi_extra=_WISH)
def move(wish: Wished, caller: Called) -> Response:
    """Move the visit to a free window."""
    if caller.link is None:
        return caller.missing()
    return _acted(caller, customer_visits.move(caller.connection, caller.link, wish), "moved")


@router.get(
    "/visit/{token}/invitation.ics",
    response_class=Response,
    responses={**_MISSING, 200: {"content": {"text/calendar": {"schema": {"type": "string"}}}}},
)
def invitation(caller: Called) -> Response:
    """Return the visit for a calendar (RFC 5545); 404 while none is booked."""
    view = customer_visits.view(caller.connection, caller.link) if caller.link else None
    if view is None or view.visit is None:
        return caller.missing()
    link, visit = view.link, view.visit
    meeting = Meeting(
        visit_id=visit.visit_id,
        sequence=visit.sequence,
        method=Method.REQUEST,
        window=visit.window,
        at=link.now,
        code=link.code,
        company=link.company,
        location=link.address,
    )
    named = {"Content-Disposition": 'attachment; filename="visit.ics"'}
    return Response(write(meeting), 200, visit_pages.HEADERS | named, media_type="text/calendar; charset=utf-8")


def _acted(caller: Caller, refusal: Refusal | None, done: str) -> Response:
    """Answer an act: a browser is sent to the page, so that reloading does nothing twice."""
    if refusal is None and not caller.wants_json:
        return RedirectResponse(f"/visit/{caller.token}?done={done}", 303, visit_pages.HEADERS)
    if refusal is not None and caller.wants_json:
        status = _STATUS.get(refusal.because, 409)
        return caller.refused(status, refusal.said, refusal.code or CODES[status], refusal.details)
    assert caller.link is not None
    status = 200 if refusal is None else _STATUS.get(refusal.because, 409)
    view = customer_visits.view_again(caller.connection, caller.token, caller.link)
    return _answer(caller, view, status=status, refused=refusal.said if refusal else None)


def _answer(
    caller: Caller,
    view: customer_visits.View,
    *,
    status: int = 200,
    done: str | None = None,
    refused: str | None = None,
) -> Response:
    if caller.wants_json:
        said = CustomerVisit.model_validate(visit_pages.as_text(view)).model_dump(mode="json")
        return JSONResponse(said, status, visit_pages.HEADERS)
    return HTMLResponse(visit_pages.page(view, caller.token, done=done, refused=refused), status, visit_pages.HEADERS)
