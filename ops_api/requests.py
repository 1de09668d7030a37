"""The edge around every request: its id, its bounds, its headers, its line in the log, and an answer in any case."""

from __future__ import annotations

import asyncio
import re
import traceback
from uuid import uuid4

from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from ops_api.allowed_hosts import Hosts
from ops_api.answers import describe_for_log, error_response
from ops_api.connections import HEADERS
from ops_api.limits import Limits
from ops_api.probes import HttpMetrics
from ops_api.rate_limits import Verdict
from pipeline.ports import Clock
from pipeline.runtime.logs import get_logger

SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """The outermost middleware: nothing leaves without it, and it never fails."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        clock: Clock,
        registry: CollectorRegistry,
        hosts: Hosts,
        is_https: bool = False,
    ) -> None:
        self._app, self._limits, self._clock, self._hosts = app, limits, clock, hosts
        self._metrics = HttpMetrics(registry)
        self._headers = dict(HEADERS)
        if is_https:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"
        self._late: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is no request goes on untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock.monotonic()
        exchange = Exchange(scope, receive, send, self._headers)
        with bound_contextvars(request_id=exchange.request_id):
            await self._answer(exchange)
            self._note(exchange, self._clock.monotonic() - began)

    async def _answer(self, exchange: Exchange) -> None:
        problem = exchange.problem(self._limits, self._hosts)
        if problem is not None:
            await exchange.refuse(*problem)
            return
        task = asyncio.create_task(self._run(exchange))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._limits.deadline.total_seconds())
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done or exchange.has_begun:
            await task
            return
        # The thread behind it cannot be stopped; its answer, whenever it comes, is dropped.
        exchange.is_closed = True
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await exchange.refuse(503, "no answer in time; it may still take effect, so look before you ask again")

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.bounded(self._limits.body_bytes), exchange.send)
        except Exception as error:  # noqa: BLE001 - the last catch: the client gets words, the log gets the place
            trace = "".join(traceback.format_tb(error.__traceback__))[-4_000:]
            self._log.error("request.failed", error=describe_for_log(error), trace=trace)
            await exchange.refuse(500, "the request failed here; the log has more under the request's id")

    def _note(self, exchange: Exchange, seconds: float) -> None:
        method = exchange.scope["method"] if exchange.scope["method"] in _METHODS else "other"
        route = getattr(exchange.scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(method, route, exchange.status).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        self._log.info(
            "request.answered", method=method, route=route, status=exchange.status, ms=round(seconds * 1000, 1)
        )


class Exchange:
    """One request under way and the state of its answer; `status` is 499 until an answer begins."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        self._given = given = Headers(scope=scope)
        asked = given.get("x-request-id", "")
        self.request_id = asked if SAFE_ID.fullmatch(asked) else uuid4().hex
        self.declared_size = _size(given.get("content-length"))
        self.scope, self.status = scope, 499
        self._receive, self._send, self._headers = receive, send, headers
        self.has_begun = False
        #: True when the client has had its answer: what the app still sends is dropped.
        self.is_closed = False
        scope.setdefault("state", {})["request_id"] = self.request_id

    def problem(self, limits: Limits, hosts: Hosts) -> tuple[int, str] | None:
        """Return the status and the words when the request is refused by what its head says."""
        address = bytes(self.scope.get("raw_path") or b"") + b"?" + self.scope["query_string"]
        encoding = self._given.get("content-encoding", "identity").strip().lower()
        found = {
            (431, f"there are more than {limits.headers} headers"): len(self.scope["headers"]) > limits.headers,
            (414, f"the address is longer than {limits.address_bytes} bytes"): len(address) > limits.address_bytes + 1,
            (421, "this is not the host that you ask for"): not hosts.know(self._given.get("host", "")),
            (422, "the address holds a NUL"): b"%00" in address,
            # Nothing is unpacked, so nothing can grow while it is.
            (415, "send the body as it is, without Content-Encoding"): encoding not in {"", "identity"},
            (413, f"the body is larger than {limits.body_bytes} bytes"): self.declared_size > limits.body_bytes,
        }
        return next((said for said, applies in found.items() if applies), None)

    async def send(self, message: Message) -> None:
        """Pass on a part of the app's answer."""
        if not self.is_closed:
            await self._emit(message)

    async def refuse(self, status: int, detail: str) -> None:
        """Answer in words, unless an answer has begun already."""
        if not self.has_begun:
            await error_response(self.scope, status, detail)(self.scope, self._receive, self._emit)

    async def _emit(self, message: Message) -> None:
        """Send, the head with the headers that every answer carries."""
        if message["type"] == "http.response.start":
            self.has_begun, self.status = True, message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            rate: Verdict | None = self.scope["state"].get("rate")
            headers.update(rate.headers if rate else {})
        await self._send(message)

    def bounded(self, limit: int) -> Receive:
        """Return the body's receiver, which refuses (413) what a length was not declared for and is too long."""
        seen = 0

        async def receive() -> Message:
            nonlocal seen
            message = await self._receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413)
            return message

        return receive


def _size(declared: str | None) -> int:
    """Return a declared length; the server has refused one that is no number."""
    return int(declared) if declared and declared.isascii() and declared.isdecimal() else 0
