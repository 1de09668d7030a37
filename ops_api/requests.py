"""The edge around every request: its id, its bounds, its headers, its line in the log, and an answer in any case."""

from __future__ import annotations

import asyncio
import traceback
from uuid import uuid4

from fastapi import Request
from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from ops_api.allowed_hosts import Hosts
from ops_api.answers import Refusal, describe_for_log, error_response
from ops_api.body_limits import BodyLimit, BodyLimits
from ops_api.command_metrics import CommandMetrics
from ops_api.connections import HEADERS
from ops_api.limits import Limits
from ops_api.origins import SAFE_ID
from ops_api.probes import HttpMetrics
from ops_api.rate_limits import Verdict
from ops_api.request_facts import facts_of
from pipeline.ports import Clock
from pipeline.runtime.logs import get_logger


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
        bodies: BodyLimits,
        is_https: bool = False,
    ) -> None:
        self._app, self._limits, self._clock, self._hosts, self._bodies = app, limits, clock, hosts, bodies
        self._metrics, self._commands = HttpMetrics(registry), CommandMetrics(registry)
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
        body = self._bodies.of(scope["method"], scope["path"])
        exchange = Exchange(scope, receive, send, self._headers, body)
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
            async with asyncio.timeout(exchange.body.deadline.total_seconds()) as patience:
                exchange.patience = patience
                await asyncio.wait({task})
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            exchange.patience = None
        if task.done() or exchange.has_begun:
            await task
            return
        # The thread behind it cannot be stopped; its answer, whenever it comes, is dropped.
        exchange.is_closed = True
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        await exchange.refuse(503, "no answer in time; it may still take effect, so look before you ask again")

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.bounded(), exchange.send)
        except Exception as error:  # noqa: BLE001 - the last catch: the client gets words, the log gets the place
            trace = "".join(traceback.format_tb(error.__traceback__))[-4_000:]
            self._log.error("request.failed", error=describe_for_log(error), trace=trace)
            await exchange.refuse(500, "the request failed here; the log has more under the request's id")

    def _note(self, exchange: Exchange, seconds: float) -> None:
        facts = facts_of(Request(exchange.scope), exchange.status)
        self._metrics.requests.labels(facts.method, facts.endpoint, facts.status).inc()
        self._metrics.seconds.labels(facts.method, facts.endpoint).observe(seconds)
        self._commands.note(facts)
        self._log.info("request.answered", **facts.line(seconds))


class Exchange:
    """One request under way and the state of its answer; `status` is 499 until an answer begins."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str], body: BodyLimit) -> None:
        self._given = given = Headers(scope=scope)
        asked = given.get("x-request-id", "")
        self.request_id = asked if SAFE_ID.fullmatch(asked) else uuid4().hex
        self.declared_size = _size(given.get("content-length"))
        self.scope, self.body, self.status = scope, body, 499
        #: How long the client is let wait, while it is.
        self.patience: asyncio.Timeout | None = None
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
            (413, self.body.said): self.declared_size > self.body.most,
        }
        return next((said for said, applies in found.items() if applies), None)

    async def send(self, message: Message) -> None:
        """Pass on a part of the app's answer."""
        if not self.is_closed:
            await self._emit(message)

    async def refuse(self, status: int, detail: str) -> None:
        """Answer in words, unless an answer has begun already."""
        if not self.has_begun:
            code = self.body.code if status == 413 else None
            await error_response(self.scope, status, detail, code=code)(self.scope, self._receive, self._emit)

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

    def bounded(self) -> Receive:
        """Return the body's receiver, which refuses (413) what a length was not declared for and is too long.

        A body that is let take its time is waited for as long as it comes fast enough.
        """
        seen, began = 0, asyncio.get_running_loop().time()

        async def receive() -> Message:
            nonlocal seen
            message = await self._receive()
            seen += len(message.get("body", b""))
            if seen > self.body.most:
                raise Refusal(413, self.body.said, code=self.body.code)
            if self.body.bytes_per_second is not None:
                self._wait_until(began, seen, is_over=not message.get("more_body", False))
            return message

        return receive

    def _wait_until(self, began: float, seen: int, *, is_over: bool) -> None:
        """Move the end of patience: behind a body that comes, and by the common time once it has come."""
        if self.patience is None or self.patience.expired():
            return
        since = asyncio.get_running_loop().time() if is_over else began
        wait = self.body.deadline if is_over else self.body.deadline_after(seen)
        self.patience.reschedule(since + wait.total_seconds())


def _size(declared: str | None) -> int:
    """Return a declared length; the server has refused one that is no number."""
    return int(declared) if declared and declared.isascii() and declared.isdecimal() else 0
