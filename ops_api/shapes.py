"""The shape of every refusal: which contract an address belongs to, and how that contract says no."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, before any contract puts it into its own words."""

    status: int
    detail: str
    code: str
    request_id: str
    #: What is wrong with which value; the values themselves are never repeated.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: More for programs, like the states of an illegal move; only contract 000 shows it.
    details: Mapping[str, Any] = field(default_factory=dict)


class FieldProblem(BaseModel):
    """What is wrong with one value of a request; the value itself is never repeated."""

    field: str = Field(description="Where the value stood, like `body.email`.")
    message: str


class ErrorAnswer(BaseModel):
    """Every answer of contract 001 that is not a success."""

    detail: str = Field(description="What happened and what to do, for people.")
    code: str = Field(description="The same for programs.")
    request_id: str = Field(description="Names this request in the logs; equals the header X-Request-Id.")
    fields: list[FieldProblem] | None = Field(default=None, description="With status 422 only.")


class CommandProblem(BaseModel):
    """What contract 000 says of a command that was refused; some codes bring more fields."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Why, for programs; like INVALID_REQUEST.")
    message: str = Field(description="What happened and what to do, for people.")
    request_id: str = Field(description="Names this request in the logs; equals the header X-Request-Id.")
    fields: dict[str, str] | None = Field(default=None, description="What is wrong with which value.")
    reference: str | None = Field(default=None, description="With INTERNAL_ERROR: what to tell an operator.")


class CommandError(BaseModel):
    """Every answer of contract 000 that is not a success."""

    error: CommandProblem


class SharedError(ErrorAnswer):
    """A refusal where contracts 000 and 001 share an address: the fields of both."""

    error: CommandProblem


class TechnicianProblem(BaseModel):
    """What contract 004 says of a request that was refused."""

    code: str = Field(description="Why, for programs.")
    message: str = Field(description="What happened and what to do, for people.")
    fields: dict[str, str] | None = Field(default=None, description="What is wrong with which value.")
    request_id: str = Field(description="Names this request in the logs; equals the header X-Request-Id.")


class TechnicianError(BaseModel):
    """Every answer of contract 004 that is not a success."""

    error: TechnicianProblem


class CaseError(BaseModel):
    """Every answer of contract 003 that is not a success."""

    ok: Literal[False] = False
    data: None = None
    error: str = Field(description="What happened and what to do.")


class WorkshopError(BaseModel):
    """Every answer of contract 002 that is not a success."""

    success: Literal[False] = False
    message: str = Field(description="What happened and what to do, for people.")
    error: str = Field(description="The same for programs.")


@dataclass(frozen=True, slots=True)
class Shape:
    """How one contract refuses."""

    contract: str
    model: type[BaseModel]
    _say: Callable[[Problem], Mapping[str, Any]]
    #: Statuses that the contract knows by another number.
    statuses: Mapping[int, int] = field(default_factory=dict)

    def status(self, status: int) -> int:
        """Return the status that this contract answers with."""
        return self.statuses.get(status, status)

    def body(self, problem: Problem) -> Mapping[str, Any]:
        """Return the refusal as this contract says it."""
        return self._say(problem)


#: Our words for programs, and those that contract 000 fixed for the same thing (seed-behaviours, 1.4 and 1.6).
_COMMAND_CODES: Mapping[str, str] = MappingProxyType(
    {
        "bad_request": "INVALID_REQUEST",
        "invalid": "INVALID_REQUEST",
        "unauthenticated": "AUTH_REQUIRED",
        "internal": "INTERNAL_ERROR",
        "unavailable": "SERVICE_UNAVAILABLE",
        "too_large": "PAYLOAD_TOO_LARGE",
    }
)
#: The way back, for a refusal raised in the words of contract 000 at an address of another one.
_PLAIN_CODES: Mapping[str, str] = MappingProxyType(
    {"INVALID_REQUEST": "invalid", "AUTH_REQUIRED": "unauthenticated", "FORBIDDEN": "forbidden"}
)


def _plain(problem: Problem) -> str:
    return _PLAIN_CODES.get(problem.code, problem.code)


def _mail(problem: Problem) -> dict[str, Any]:
    said = {"detail": problem.detail, "code": _plain(problem), "request_id": problem.request_id}
    fields = [{"field": name, "message": message} for name, message in problem.fields.items()]
    return said | ({"fields": fields} if fields else {})


def command_code(code: str) -> str:
    """Return a code in the words of contract 000."""
    return _COMMAND_CODES.get(code, code.upper())


def _command(problem: Problem) -> dict[str, Any]:
    said = {"code": command_code(problem.code), "message": problem.detail, "request_id": problem.request_id}
    more = {"reference": problem.request_id} if problem.status == 500 else {}
    return {"error": {**_short(problem), **problem.details, **more, **said}}


def _shared(problem: Problem) -> dict[str, Any]:
    return _mail(problem) | _command(problem)


def _technician(problem: Problem) -> dict[str, Any]:
    said = {"code": _plain(problem), "message": problem.detail, "request_id": problem.request_id}
    return {"error": said | _short(problem)}


def _case(problem: Problem) -> dict[str, Any]:
    return {"ok": False, "data": None, "error": problem.detail}


def _workshop(problem: Problem) -> dict[str, Any]:
    # Its domain errors have this one code (seed-behaviours, 3).
    code = _plain(problem)
    return {"success": False, "message": problem.detail, "error": "validation_error" if code == "invalid" else code}


def _short(problem: Problem) -> dict[str, Any]:
    """Return the fields as an object, each by its name in the body, the query or the path."""
    names = {name.partition(".")[2] or name: message for name, message in problem.fields.items()}
    return {"fields": names} if names else {}


MAIL = Shape("001", ErrorAnswer, _mail)
COMMAND = Shape("000", CommandError, _command, MappingProxyType({422: 400}))
SHARED = Shape("000 and 001", SharedError, _shared)
TECHNICIAN = Shape("004", TechnicianError, _technician)
#: Seed-behaviours, 4.4: whatever is wrong with a request is 400 there.
CASE = Shape("003", CaseError, _case, MappingProxyType({422: 400}))
WORKSHOP = Shape("002", WorkshopError, _workshop, MappingProxyType({409: 400, 422: 400}))

_COMMANDS = (
    r"/tickets/intake|/tickets/[^/]+/(?:(?:schedule|assignment|tech|approval|qa|billing)/.*|triage|timeline|delays"
    r"|(?:evidence|closeout)(?:/.*)?|request-info|classify|approvals|cancel|reopen|close|work-items|(?:parts|time)(?:/.*)?|invoice|schedule)"
    r"|/dispatch/plans(?:/.*)?|/dispatch/queue|/ops/alerts"
)
#: The one table: the first row whose methods and whole address match decides, and what matches none is contract 001's.
TABLE: tuple[tuple[frozenset[str] | None, re.Pattern[str], Shape], ...] = tuple(
    (frozenset(methods) if methods else None, re.compile(address, re.DOTALL), shape)
    for methods, address, shape in (
        (("POST",), r"/tickets", COMMAND),
        (("GET", "HEAD"), r"/tickets/(?:\{[^/]+\}|[0-9A-Fa-f-]{32,36})", SHARED),
        ((), _COMMANDS, COMMAND),
        ((), r"/api/v1/(?:tickets|inventory|xp|rules|attendance|levels|leaderboard)(?:/.*)?", WORKSHOP),
        ((), r"/api/v1(?:/.*)?", TECHNICIAN),
        ((), r"/api(?:/.*)?", CASE),
    )
)


def shape_of(method: str, path: str) -> Shape:
    """Return the shape in which requests to an address, or to a route's template, are refused."""
    for methods, address, shape in TABLE:
        if (methods is None or method in methods) and address.fullmatch(path):
            return shape
    return MAIL
