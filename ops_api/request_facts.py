"""What is told of a request once it is answered: its line in the log, and what is counted of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from models.enums import TransitionKind
from ops_api.origins import origin_of
from pipeline.command import Command, Move
from pipeline.core.principals import Principal
from pipeline.executor import Answer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: What may stand in a line of all that a path names: ids and days. Anybody may write anything else there, even a
#: secret; and whoever has a customer's link is the customer.
_ID = re.compile(r"(?i)[0-9]{1,19}|[0-9a-f-]{32,36}|tkt-[a-z2-7]{16}|[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SECRET = frozenset({"token"})
_PARAMETER = re.compile(r"{(\w+)[^}]*}")
#: Codes are our own words; anything else is no label.
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,59}")


@dataclass(frozen=True, slots=True)
class Commanded:
    """What a command did, to be counted once it is committed."""

    command: str
    ticket_id: str | None
    trace_id: str | None
    is_replayed: bool
    moves: Sequence[Move]
    #: Of who was sent: whether a recommendation stood behind it; None for what sends nobody.
    has_snapshot: bool | None
    #: Of a case: who found out (a word of ours), and whether something was wrong; None for what tells nothing.
    truth: tuple[str, bool] | None = None


def note_command(request: Request, command: Command[Any, Any], answer: Answer) -> None:
    """Remember what a request's command did; it counts when the answer leaves, which is after the commit."""
    snapshot = answer.details.get("has_snapshot")
    request.state.commanded = Commanded(
        command.name,
        answer.target_id if command.target.kind == "ticket" else None,
        answer.trace_id,
        answer.is_replayed,
        answer.moves if command.kind is TransitionKind.DISPATCH else (),
        snapshot if isinstance(snapshot, bool) else None,
        _truth(answer.details.get("truth")),
    )


def _truth(told: object) -> tuple[str, bool] | None:
    """Return what `case_truths.said` told."""
    return (str(told["kind"]), bool(told["is_real"])) if isinstance(told, Mapping) else None


@dataclass(frozen=True, slots=True)
class Facts:
    """One answered request."""

    method: str
    #: The route's template: few, whatever is asked for.
    endpoint: str
    #: With its ids; None where nothing is at the address.
    path: str | None
    status: int
    code: str | None
    commanded: Commanded | None
    _more: Mapping[str, Any]

    def line(self, seconds: float) -> dict[str, Any]:
        """Return the request's line in the log; nothing secret, and nobody by name."""
        return {
            "method": self.method,
            "path": self.path,
            "endpoint": self.endpoint,
            "status": self.status,
            "code": self.code,
            "duration_ms": round(seconds * 1000, 1),
            **self._more,
        }


def facts_of(request: Request, status: int) -> Facts:
    """Return what is told of a request that was answered with a status."""
    state, scope = request.scope.get("state", {}), request.scope
    commanded: Commanded | None = state.get("commanded")
    principal: Principal | None = state.get("principal")
    access = state.get("access")
    ids = {name: str(value) for name, value in scope.get("path_params", {}).items() if _is_id(name, str(value))}
    ticket_id = (commanded.ticket_id if commanded else None) or ids.get("ticket_id")
    tool = commanded.command if commanded else access.action or next(iter(access.tools), None) if access else None
    origin = origin_of(request)
    more = {
        "correlation_id": origin["correlation_id"],
        # A command follows the trace of what it was done to, where the request names none.
        "trace_id": origin["trace_id"] or (commanded.trace_id if commanded else None),
        "request_id": state.get("request_id"),
        "actor_id": principal.actor_id if principal else None,
        "actor_role": principal.role if principal else None,
        "tool": tool,
        "ticket_id": ticket_id,
        "is_replayed": commanded is not None and commanded.is_replayed,
    }
    method = scope["method"] if scope["method"] in _METHODS else "other"
    template: str | None = getattr(scope.get("route"), "path", None)
    path = template and _PARAMETER.sub(lambda named: ids.get(named[1], named[0]), template)
    code = state.get("code") if status >= 400 else None
    return Facts(method, template or "unmatched", path, status, _known(code), commanded, more)


def _is_id(name: str, said: str) -> bool:
    return name not in _SECRET and _ID.fullmatch(said) is not None


def _known(code: str | None) -> str | None:
    return code if code is None or _CODE.fullmatch(code) else "OTHER"
