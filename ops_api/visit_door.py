"""The customer's door: a link is looked up, its transaction is put behind the barrier, and strangers are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from ops_api import visit_pages
from ops_api.answers import error_response
from ops_api.audited import Trail
from ops_api.dependencies import Provided, Transaction
from ops_api.json_bodies import read
from ops_api.rate_limits import Rate, count_name, refuse
from pipeline.commands.customer_visits import Wish
from pipeline.commands.schedule_arguments import WindowBody
from pipeline.core.field_work import Window
from pipeline.runtime import visit_links
from pipeline.runtime.visit_links import Link

Token = Annotated[str, Path(max_length=100, description="What stands in the customer's link.")]
_FORM = "application/x-www-form-urlencoded"
_MISSING = "this link is not valid (any more)"
#: A page looks for free windows in every calendar: so many looks at it are let through for one change.
_LOOKS = 6
_NO_BODY = 'send a form of the page, or JSON like {"window": {"start": ..., "end": ...}}'


class WishBody(BaseModel):
    """The window that a customer chooses."""

    model_config = ConfigDict(extra="forbid")

    window: WindowBody
    key: str | None = Field(default=None, max_length=100, description="The customer's own name for this wish.")

    @field_validator("window", mode="before")
    @classmethod
    def _of_form(cls, said: Any) -> Any:
        """Take a window as the page writes it: both ends with a slash between."""
        start, slash, end = said.partition("/") if isinstance(said, str) else ("", "", "")
        return {"start": start, "end": end} if slash else said


@dataclass(frozen=True, slots=True)
class Caller:
    """Who came by a link, with the transaction that is theirs; `link` is None for one that is good for nothing."""

    request: Request
    connection: Connection
    token: str
    link: Link | None

    @property
    def wants_json(self) -> bool:
        """Whether a program asks: a browser names HTML."""
        accept = self.request.headers.get("accept", "").lower()
        return "application/json" in accept and "text/html" not in accept

    def missing(self) -> Response:
        """Return what is answered to every link that is not good, whatever the reason."""
        if self.wants_json:
            return error_response(self.request.scope, 404, _MISSING, headers=visit_pages.HEADERS)
        return HTMLResponse(visit_pages.missing(), 404, visit_pages.HEADERS)

    def refused(self, status: int, said: str, code: str, details: Mapping[str, Any]) -> Response:
        """Return a refusal to a program."""
        return error_response(self.request.scope, status, said, code=code, details=details, headers=visit_pages.HEADERS)


def looked_up(token: Token, request: Request, services: Provided, connection: Transaction) -> Caller:
    """Find the link and put the transaction behind its organization's barrier."""
    trail: Trail = request.state.trail
    # What is done by a link is recorded by the executor, under the link's id: its token is written nowhere.
    trail.is_written = True
    link = visit_links.find(connection, token)
    if link is not None:
        services.barrier.bind(connection, link.org_id)
    return Caller(request, connection, token, link)


async def counted(caller: Annotated[Caller, Depends(looked_up, scope="function")], services: Provided) -> Caller:
    """Count who tries links that are none like whoever looks for what is not there, and looks and changes by each link.

    Raises `Refusal` (429).
    """
    limiter = services.limiter
    if caller.link is None:
        address = caller.request.client.host if caller.request.client else None
        refuse(await limiter.take(*limiter.counts(Rate.STRAY, address=address)))
    elif caller.request.method == "POST":
        await count_name(limiter, "visit_link", str(caller.link.link_id))
    else:
        await count_name(limiter, "visit_page", str(caller.link.link_id), times=_LOOKS)
    return caller


async def wish_of(request: Request) -> Wish:
    """Read a wish: a form of the page, or JSON. Raises as every body that is not right.

    Stands before the caller in a signature: while a body comes slowly, no transaction is open.
    """
    body = await request.body()
    most: int = request.app.state.services.limits.json_depth
    try:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
            said: Any = {name: found[-1] for name, found in parse_qs(body.decode(), max_num_fields=10).items()}
        else:
            said = read(body, most)
        asked = WishBody.model_validate(said)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from None
    except ValueError:
        raise RequestValidationError([{"type": "value_error", "loc": ("body",), "msg": _NO_BODY}]) from None
    return Wish(Window(asked.window.start, asked.window.end), asked.key)


Called = Annotated[Caller, Depends(counted, scope="function")]
Wished = Annotated[Wish, Depends(wish_of)]
