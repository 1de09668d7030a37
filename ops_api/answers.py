"""The shape of every refusal, and how errors become one: contract 001's `{detail}` with a code and the request's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ops_api.access import TABLE
from pipeline.runtime.db import is_passing
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import get_logger

CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "invalid",
    429: "too_many_requests",
    500: "internal",
    502: "provider_failed",
    503: "unavailable",
}
#: Words for what the framework says itself.
_WORDS: Mapping[int, str] = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    413: "the body is too large",
}
#: A statement that waited too long, a standby that takes no changes.
_LATER = ("57014", "25006")
#: A table or column that does not exist: the schema is another version's.
_OTHER_SCHEMA = ("42P01", "42703")
_RETRY_SECONDS = "2"
_MOST_FIELDS = 20


class FieldProblem(BaseModel):
    """What is wrong with one value of a request; the value itself is never repeated."""

    field: str = Field(description="Where the value stood, like `body.email`.")
    message: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a success."""

    detail: str = Field(description="What happened and what to do, for people.")
    code: str = Field(description="The same for programs.")
    request_id: str = Field(description="Names this request in the logs; equals the header X-Request-Id.")
    fields: list[FieldProblem] | None = Field(default=None, description="With status 422 only.")


class Refusal(HTTPException):
    """A request that is answered with words instead of a result."""

    def __init__(
        self, status: int, detail: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.code = code


def error_response(
    request_id: str,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    fields: Sequence[FieldProblem] = (),
) -> Response:
    """Return a refusal as a response."""
    answer = ErrorAnswer(
        detail=detail, code=code or CODES.get(status, "error"), request_id=request_id, fields=list(fields) or None
    )
    content = orjson.dumps(answer.model_dump(exclude_none=True))
    return Response(content, status, headers, media_type="application/json")


def describe_for_log(error: BaseException) -> str:
    """Return an error's class and first line: a database's parameters and details stand further down."""
    said = str(getattr(error, "orig", None) or error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0][:200]}" if said else type(error).__name__


def install(app: FastAPI) -> None:
    """Teach an app to answer every expected error in words. What is left is caught at the edge and becomes a 500."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UserError, _refused_in_words)
    app.add_exception_handler(DBAPIError, _database)
    app.add_exception_handler(PoolTimeout, _database)


def _answer(request: Request, status: int, detail: str, **more: Any) -> Response:
    return error_response(request.state.request_id, status, detail, **more)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error, Refusal) else _WORDS.get(error.status_code, error.detail)
    return _answer(request, error.status_code, detail, code=getattr(error, "code", None), headers=error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        FieldProblem(field=".".join(map(str, found["loc"]))[:200], message=str(found["msg"])[:200])
        for found in error.errors()[:_MOST_FIELDS]
    ]
    detail = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
    return _answer(request, 422, detail, fields=problems)


async def _refused_in_words(request: Request, error: Exception) -> Response:
    row = TABLE.get((request.method, getattr(request.scope.get("route"), "path", "")))
    return _answer(request, row.refusal if row else 400, str(error))


async def _database(request: Request, error: Exception) -> Response:
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None))
    get_logger().warning("database.failed", state=state, error=describe_for_log(error))
    if is_passing(error) or state in _LATER:
        return _answer(
            request,
            503,
            "the database does not answer; nothing was changed, try again",
            headers={"Retry-After": _RETRY_SECONDS},
        )
    if state in _OTHER_SCHEMA:
        return _answer(request, 503, "the database is at another version's schema; run `fieldpost migrate`")
    return _answer(request, 500, "the request failed here; the log has more under the request's id")
