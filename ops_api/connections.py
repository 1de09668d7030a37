"""What a connection may do before and after its requests: slow and endless ones are closed, every answer is shaped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import uuid4

import h11
import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from ops_api.limits import Limits
from ops_api.shapes import MAIL, Problem

#: The headers that every answer carries, whoever gives it.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 that gives a client so long to say its head, and so long to finish a body nobody waits for any more.

    The server's own time limit is for silence between requests only: a byte now and then would hold a connection for
    ever. How long a body may take while it is waited for is the edge's deadline (`ops_api.requests`).
    """

    limits: ClassVar[Limits]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head; one connection too many is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on with the connection, unless its client is still talking of a request that was answered."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the base's name; our words are the same for all
        """Answer what is no HTTP as everything else is answered."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
            return
        request_id = uuid4().hex
        problem = Problem(400, "this is no HTTP request that we read", "bad_request", request_id)
        content = orjson.dumps(MAIL.body(problem))
        headers = {"Content-Type": "application/json", "Connection": "close", "X-Request-Id": request_id} | HEADERS
        for event in self._events(content, headers.items()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _events(self, content: bytes, headers: Iterable[tuple[str, str]]) -> list[h11.Event]:
        head = [*headers, ("Content-Length", str(len(content)))]
        return [
            h11.Response(status_code=400, headers=head, reason=b"Bad Request"),
            h11.Data(content),
            h11.EndOfMessage(),
        ]

    def _look(self) -> None:
        """Arm the clock, once, while the client owes us the rest of something; what it sends does not set it back."""
        state = self.conn.their_state
        owes = state is h11.IDLE or (state is h11.SEND_BODY and self.cycle.response_complete)
        if not owes:
            self._stop()
        elif self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(self.limits.head.total_seconds(), self.transport.close)

    def _stop(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def bounded(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol with these limits."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits})
