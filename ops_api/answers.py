"""How errors become refusals; `ops_api.shapes` knows how each contract says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from ops_api.access_rows import TABLE
from ops_api.shapes import COMMAND, ErrorAnswer, FieldProblem, Problem, Shape, command_code, shape_of
from pipeline.runtime.db import is_passing
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import get_logger

__all__ = [
    "CODES",
    "ErrorAnswer",
    "FieldProblem",
    "Refusal",
    "database_problem",
    "describe_for_log",
    "error_response",
    "install",
]

CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    414: "address_too_long",
    415: "unsupported_media_type",
    421: "misdirected",
    422: "invalid",
    423: "locked",
    424: "failed_dependency",
    428: "precondition_required",
    429: "too_many_requests",
    431: "headers_too_large",
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


class Refusal(HTTPException):
    """A request that is answered with words instead of a result.

    `fields` says what is wrong with which value; `details` are shown by contract 000, beside the code.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.code, self.fields, self.details = code, fields or {}, details or {}


def error_response(
    scope: Scope,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Response:
    """Return a refusal as a response, in the shape of the contract that the request's address belongs to."""
    shape = _shape(scope)
    problem = Problem(
        status, detail, code or CODES.get(status, "error"), scope["state"]["request_id"], fields or {}, details or {}
    )
    # For the log and what is counted: every contract's refusals by the words of one.
    scope["state"]["code"] = command_code(problem.code)
    content = orjson.dumps(shape.body(problem), default=str)
    return Response(content, shape.status(status), headers, media_type="application/json")


def _shape(scope: Scope) -> Shape:
    path: str = getattr(scope.get("route"), "path", None) or scope["path"]
    return shape_of(scope["method"], path)


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
    return error_response(request.scope, status, detail, **more)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refusal):
        more = {"code": error.code, "fields": error.fields, "details": error.details}
        return _answer(request, error.status_code, error.detail, headers=error.headers, **more)
    detail = _WORDS.get(error.status_code, error.detail)
    if error.status_code == 404:
        # Nothing is at this address: whoever looks for what is not there is counted too.
        wait = await request.app.state.services.limiter.stray(request)
        if wait is not None:
            return _answer(
                request, 429, f"too many requests; try again in {wait} s", headers={"Retry-After": str(wait)}
            )
    return _answer(request, error.status_code, detail, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()[:_MOST_FIELDS]
    if found and found[0]["type"] == "json_invalid":
        why = str(found[0].get("ctx", {}).get("error", ""))[:200]
        return _answer(request, 422, f"the body is no JSON that we read: {why}", code="invalid_json")
    fields = {".".join(map(str, one["loc"]))[:200]: str(one["msg"])[:200] for one in found}
    if "path.ticket_id" in fields and _shape(request.scope) is COMMAND:
        return _no_ticket_id(request)
    detail = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return _answer(request, 422, detail, fields=fields, code=_code_of(request, fields))


def _code_of(request: Request, fields: Mapping[str, str]) -> str | None:
    """Return the code of values that are invalid: contract 000 has one of its own for the filters of a reading."""
    is_query = request.method in {"GET", "HEAD"} and all(name.startswith("query.") for name in fields)
    return "INVALID_QUERY" if is_query and _shape(request.scope) is COMMAND else None


def _no_ticket_id(request: Request) -> Response:
    """Contract 000: a command for an id that is none has no address; a reading is told what is wrong with the id."""
    if request.method in {"GET", "HEAD"}:
        return _answer(request, 400, "the ticket's id must be a UUID", code="INVALID_TICKET_ID")
    return _answer(request, 404, _WORDS[404])


async def _refused_in_words(request: Request, error: Exception) -> Response:
    row = TABLE.get((request.method, getattr(request.scope.get("route"), "path", "")))
    return _answer(request, row.refusal if row else 400, str(error))


async def _database(request: Request, error: Exception) -> Response:
    status, said, is_passing_by = database_problem(error)
    return _answer(request, status, said, headers={"Retry-After": _RETRY_SECONDS} if is_passing_by else None)


def database_problem(error: Exception) -> tuple[int, str, bool]:
    """Return what a database's error is answered with, and whether it passes by itself; log its first line."""
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None))
    get_logger().warning("database.failed", state=state, error=describe_for_log(error))
    if is_passing(error) or state in _LATER:
        return 503, "the database does not answer; nothing was changed, try again", True
    if state.startswith("22") or isinstance(getattr(error, "orig", None), psycopg.DataError):
        return 422, "a value is out of the range that can be kept", False
    if state in _OTHER_SCHEMA:
        return 503, "the database is at another version's schema; run `fieldpost migrate`", False
    return 500, "the request failed here; the log has more under the request's id", False
