"""Sockets: one connection with its requests in order, and the thread whose event loop holds all of them."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Callable
from typing import cast

from tests.gmail_server.errors import ApiError
from tests.gmail_server.http11 import Answer, Ending, HttpError, Request, RequestParser

Handler = Callable[[Request], Answer]

_LOG = logging.getLogger(__name__)
_MAX_PIPELINED = 1024 * 1024


class Connection(asyncio.Protocol):
    """Answers the requests of one client connection one after another."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._parser = RequestParser(listener.max_body)
        self._timer: asyncio.TimerHandle | None = None
        self._answer: Answer | None = None
        self._keep_alive = True
        self._writable = True
        self._closing = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection as open."""
        self._transport = cast("asyncio.Transport", transport)
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was being answered: its client is gone."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._release()
        self._listener.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer as many requests as they complete."""
        self._parser.feed(data)
        if self._answer is None:
            self._advance()
        elif self._parser.buffered > _MAX_PIPELINED:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Keep a half-closed connection only while its last answer is on the way."""
        self._keep_alive = False
        return self._answer is not None

    def pause_writing(self) -> None:
        """Start no further answer while the client does not read."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on with waiting requests."""
        self._writable = True
        if self._answer is None:
            self._advance()

    def abort(self) -> None:
        """Close at once with a TCP reset."""
        self._closing = True
        raw = self._transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _advance(self) -> None:
        while self._answer is None and self._writable and not self._closing:
            try:
                request = self._parser.next()
            except HttpError as refusal:
                self._refuse(refusal)
                return
            if request is None:
                if self._parser.take_continue():
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._transport.resume_reading()
                return
            self._keep_alive = self._keep_alive and request.keep_alive
            self._start(self._listener.answer(request))

    def _refuse(self, refusal: HttpError) -> None:
        self._keep_alive = False
        self._start(Answer(refusal.status, ApiError(refusal.status, "badRequest", str(refusal)).body()))

    def _start(self, answer: Answer) -> None:
        self._answer = answer
        if answer.delay > 0:
            self._later(answer.delay, self._send_and_advance)
        else:
            self._send()

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _send_and_advance(self) -> None:
        self._send()
        self._advance()

    def _send(self) -> None:
        answer = self._answer
        assert answer is not None
        head = answer.head(self._keep_alive)
        if answer.ending is Ending.RESET:
            self.abort()
        elif answer.ending is Ending.CUT:
            self._keep_alive = False
            self._transport.write(head + answer.body[: len(answer.body) // 2])
            self._finish()
        elif answer.pace is not None:
            self._transport.write(head)
            self._dribble(0)
        else:
            self._transport.write(head + answer.body)
            self._finish()

    def _dribble(self, position: int) -> None:
        answer = self._answer
        assert answer is not None
        assert answer.pace is not None
        size, seconds = answer.pace
        self._transport.write(answer.body[position : position + size])
        if position + size < len(answer.body):
            self._later(seconds, lambda: self._dribble(position + size))
            return
        self._finish()
        self._advance()

    def _finish(self) -> None:
        self._release()
        if not self._keep_alive:
            self._closing = True
            self._transport.close()

    def _release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and answer.release is not None:
            answer.release()


async def _accepting() -> None:
    """Wait for connections that were accepted and not made yet."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


class Listener:
    """A listening socket on a thread of its own. `start` returns when it listens, `stop` when nothing is left open."""

    def __init__(self, handler: Handler, host: str, port: int, max_body: int) -> None:
        self.max_body = max_body
        self.connections_opened = 0
        self._handler = handler
        self.host = host
        self.port = port
        self._open: set[Connection] = set()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._empty: asyncio.Event | None = None

    def start(self) -> int:
        """Listen and give the port. OSError when the address cannot be had."""
        sock = socket.create_server((self.host, self.port), backlog=1024)
        port: int = sock.getsockname()[1]
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(sock)), name=f"gmail-server-{port}")
        self._thread.daemon = True
        self._thread.start()
        self._ready.wait()
        return port

    def stop(self) -> None:
        """Reset every connection, close the socket, end the thread. Does nothing when not started."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def answer(self, request: Request) -> Answer:
        """The handler's answer; a defect of the handler is logged and answered as 500."""
        try:
            return self._handler(request)
        except Exception:  # noqa: BLE001 - one defect must not take the other connections down
            _LOG.exception("no answer to %s %s", request.method, request.path)
            return Answer(500, ApiError(500, "backendError", "the test server failed, see its log").body())

    def opened(self, connection: Connection) -> None:
        """Count a connection in."""
        self.connections_opened += 1
        self._open.add(connection)
        if self._stopping is not None and self._stopping.is_set():
            connection.abort()

    def closed(self, connection: Connection) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        if not self._open and self._empty is not None:
            self._empty.set()

    async def _serve(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping, self._empty = asyncio.Event(), asyncio.Event()
        server = await self._loop.create_server(lambda: Connection(self), sock=sock)
        self._ready.set()
        await self._stopping.wait()
        # Whoever is being let in comes in first: a closed server leaves such a connection to nobody.
        self._loop.remove_reader(sock)
        await _accepting()
        server.close()
        while self._open:
            self._empty.clear()
            for connection in list(self._open):
                connection.abort()
            await self._empty.wait()
        await server.wait_closed()
