"""What the audit trail learns of a request: one row for each change, in its own transaction, and one for a refusal.

Refusals are written after the rollback, and only so many a minute: a hostile client cannot make the trail grow.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from models.enums import AuditOutcome
from ops_api.access import Access
from ops_api.answers import CODES, Refusal, describe_for_log
from ops_api.origins import origin_of
from pipeline.core.principals import Principal
from pipeline.ports import Clock
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import get_logger

#: What a request is refused with.
REFUSALS = (HTTPException, RequestValidationError, UserError)
#: Rows that are written at once beside requests' own transactions, each with a connection of its own.
RECORDERS = 2
#: Refusals a minute that one actor, and one organization, may write; what is more is counted and told with the next.
PER_ACTOR, PER_ORGANIZATION = 30, 120
_WINDOW_SECONDS = 60.0
_MOST_WINDOWS = 10_000
#: Nobody is known yet, too much was asked, or it is nobody's doing: the log has these.
_UNRECORDED = frozenset({401, 413, 429})

Begin = Callable[[], AbstractContextManager[Connection]]


class CommandRefused(Refusal):
    """A refusal of the executor; the trail may know more of it than the client."""

    recorded_as: str | None = None


@dataclass(slots=True)
class _Window:
    began: float
    written: int = 0
    left_out: int = 0


class Trails:
    """The trails of one process: how many refusals may still be written this minute. Used from several threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._windows: dict[tuple[UUID, str | None], _Window] = {}
        self._limiter: anyio.CapacityLimiter | None = None

    def take(self, principal: Principal) -> int | None:
        """Count a refusal; return how many were left out since the last that was written, None to leave this out."""
        now = self._clock.monotonic()
        with self._lock:
            windows = [
                (self._window((principal.org_id, principal.actor_id), now), PER_ACTOR),
                (self._window((principal.org_id, None), now), PER_ORGANIZATION),
            ]
            if any(window.written >= most for window, most in windows):
                windows[0][0].left_out += 1
                return None
            for window, _ in windows:
                window.written += 1
            left_out, windows[0][0].left_out = windows[0][0].left_out, 0
            return left_out

    async def aside(self, action: Callable[[], None]) -> None:
        """Run what writes a row beside the request's transaction, in one of few threads."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(RECORDERS)
        await anyio.to_thread.run_sync(action, limiter=self._limiter)

    def _window(self, key: tuple[UUID, str | None], now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _MOST_WINDOWS:
                self._windows.clear()
            window = self._windows.setdefault(key, _Window(now))
        if now - window.began >= _WINDOW_SECONDS:
            window.began, window.written = now, 0
        return window


class Trail:
    """What is recorded of one request; of one that only reads, nothing."""

    def __init__(self, request: Request, access: Access, trails: Trails, ids: Mapping[str, Any] | None = None) -> None:
        """`ids` are those of the path; a request that asks for several things has one trail for each."""
        self._request, self._access, self._trails = request, access, trails
        self._ids = ids
        self._actor: Principal | None = None
        #: The request's own transaction does the writing.
        self.has_transaction = False
        #: What was done is recorded already, such as by the executor.
        self.is_written = not access.is_change

    def acts_as(self, principal: Principal) -> None:
        """Say who somebody turned out to be, at a public route such as a login."""
        self._actor = principal

    def done(self, connection: Connection, status: int | None = None) -> None:
        """Append, last in the request's transaction, that it did what it was asked for."""
        principal = self._principal()
        if self.is_written or principal is None or (status is not None and status >= 400):
            return
        auditing.append(connection, self._entry(principal))
        self.is_written = True

    def refused(self, begin: Begin, error: Exception) -> None:
        """Append, in a transaction of its own, that and why it was refused; whatever that raises, the answer stays."""
        principal = self._principal()
        status, code = _said(error, self._access)
        if principal is None or not self._access.is_change or status in _UNRECORDED or status >= 500:
            return
        left_out = self._trails.take(principal)
        if left_out is None:
            return
        more: dict[str, object] = {"status": status, **_details(error)}
        more |= {"left_out": left_out} if left_out else {}
        try:
            with begin() as connection:
                auditing.append(connection, self._entry(principal, AuditOutcome.REFUSED, code, more))
        except SQLAlchemyError as failure:
            get_logger().warning("audit.failed", action=self._action, error=describe_for_log(failure))

    async def refused_aside(self, begin: Begin, error: Exception) -> None:
        """Append a refusal of a request that has no transaction of its own, such as one of the guard."""
        if not self.has_transaction and self._principal() is not None and self._access.is_change:
            await self._trails.aside(lambda: self.refused(begin, error))

    async def done_aside(self, begin: Begin, status: int) -> None:
        """Append what a request did that has no transaction of its own."""
        if not self.has_transaction and not self.is_written and self._principal() is not None:
            await self._trails.aside(lambda: self._done_in(begin, status))

    def _done_in(self, begin: Begin, status: int) -> None:
        with begin() as connection:
            self.done(connection, status)

    def _principal(self) -> Principal | None:
        asking: Principal | None = self._request.state.principal
        return self._actor or (None if self._access.is_public else asking)

    @property
    def _action(self) -> str:
        access = self._access
        return access.action or (access.permission.value if access.permission else access.path)

    def _entry(
        self,
        principal: Principal,
        outcome: AuditOutcome = AuditOutcome.DONE,
        code: str | None = None,
        more: dict[str, object] | None = None,
    ) -> Entry:
        ids = dict(self._request.path_params if self._ids is None else self._ids)
        return auditing.by(
            principal,
            self._action,
            outcome=outcome,
            code=code,
            target_kind=self._access.scope.value if ids else None,
            target_id=str(next(iter(ids.values()))) if ids else None,
            details={"method": self._access.method, "route": self._access.path, **ids, **(more or {})},
            **origin_of(self._request),
        )


def _said(error: Exception, access: Access) -> tuple[int, str]:
    """Return a refusal's status and code."""
    if isinstance(error, HTTPException):
        status = error.status_code
    else:
        status = 422 if isinstance(error, RequestValidationError) else access.refusal
    recorded = error.recorded_as if isinstance(error, CommandRefused) else None
    return status, recorded or getattr(error, "code", None) or CODES.get(status, "error")


def _details(error: Exception) -> dict[str, Any]:
    if isinstance(error, CommandRefused):
        return dict(error.details)
    if isinstance(error, RequestValidationError):
        return {"fields": [".".join(map(str, found["loc"]))[:100] for found in error.errors()[:20]]}
    return {}
