"""HTTP/1.1 as bytes: requests read from a stream of them, answers written to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

_MAX_HEAD = 64 * 1024
_MAX_LINE = 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class HttpError(Exception):
    """The bytes are not a request that can be answered; the connection closes after `status` is sent."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Ending(StrEnum):
    """What happens to the connection with an answer."""

    KEEP = "keep"
    RESET = "reset"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: target split at `?` and still percent-encoded, header names in lower case, the whole body."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer and how it is delivered.

    `delay` real seconds pass before the first byte. `pace` (bytes, seconds) sends the body in pieces. `release` runs
    once the answer is written or its connection is gone.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    ending: Ending = Ending.KEEP
    pace: tuple[int, float] | None = None
    release: Callable[[], None] | None = None

    def head(self, keep_alive: bool) -> bytes:
        """Status line and headers up to and including the empty line."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}\r\n"]
        if self.status != 204:
            lines.append(f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        if not keep_alive:
            lines.append("Connection: close\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")


@dataclass(frozen=True, slots=True)
class _Head:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    keep_alive: bool
    length: int
    chunked: bool


class RequestParser:
    """Turns fed bytes into requests, however they are cut up (RFC 9112). Bodies above `max_body` are refused."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._chunks = bytearray()
        self._trailers = False
        self._continue = False

    @property
    def buffered(self) -> int:
        """Bytes fed and not yet part of a request."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the socket."""
        self._buffer += data

    def take_continue(self) -> bool:
        """True once after a head that waits for `100 Continue`."""
        wanted, self._continue = self._continue, False
        return wanted

    def next(self) -> Request | None:
        """The next whole request, or None while bytes are missing. HttpError when it can never become one."""
        head = self._head or self._read_head()
        if head is None:
            return None
        self._head = head
        body = self._read_chunked() if head.chunked else self._read_sized(head.length)
        if body is None:
            return None
        self._head, self._continue = None, False
        return Request(head.method, head.path, head.query, head.headers, body, head.keep_alive)

    def _read_head(self) -> _Head | None:
        while self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
        if self._buffer and self._buffer[0] != ord("\r") and not self._buffer[:1].isalpha():
            # A TLS greeting, most likely: saying no at once spares the client a timeout.
            raise HttpError(400, "this port speaks plain HTTP")
        end = self._buffer.find(b"\r\n\r\n")
        if end > _MAX_HEAD or (end < 0 and len(self._buffer) > _MAX_HEAD):
            raise HttpError(431, "request head too large")
        if end < 0:
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        head = _parse_head(lines)
        if head.length > self._max_body:
            raise HttpError(413, "request body too large")
        self._continue = head.headers.get("expect", "").lower() == "100-continue"
        return head

    def _read_sized(self, length: int) -> bytes | None:
        if not length:
            return b""
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _read_chunked(self) -> bytes | None:
        while not self._trailers:
            end = self._buffer.find(b"\r\n", 0, _MAX_LINE)
            if end < 0:
                if len(self._buffer) >= _MAX_LINE:
                    raise HttpError(400, "bad chunk size")
                return None
            size = _chunk_size(bytes(self._buffer[:end]))
            if len(self._chunks) + size > self._max_body:
                raise HttpError(413, "request body too large")
            if size == 0:
                del self._buffer[: end + 2]
                self._trailers = True
                break
            if len(self._buffer) < end + size + 4:
                return None
            if self._buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise HttpError(400, "chunk does not end where it says")
            self._chunks += self._buffer[end + 2 : end + 2 + size]
            del self._buffer[: end + 4 + size]
        return self._skip_trailers()

    def _skip_trailers(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n")) > 0:
            del self._buffer[: end + 2]
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise HttpError(431, "trailers too large")
            return None
        del self._buffer[:2]
        body, self._chunks, self._trailers = bytes(self._chunks), bytearray(), False
        return body


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise HttpError(400, "bad chunk size")
    return int(digits, 16)


def _parse_head(lines: list[str]) -> _Head:
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or not parts[2].startswith("HTTP/1."):
        raise HttpError(400, "bad request line")
    method, target, version = parts
    if not target.startswith("/"):
        # The absolute form that proxies and some clients send (RFC 9112 3.2.2).
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    headers = _parse_headers(lines[1:])
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if version != "HTTP/1.0" else "keep-alive" in connection
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    if "transfer-encoding" in headers and (not chunked or "content-length" in headers):
        raise HttpError(400, "bad transfer encoding")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise HttpError(400, "bad content length")
    return _Head(method, path, query, headers, keep_alive, int(length), chunked)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise HttpError(400, "bad header line")
        key = name.lower()
        value = value.strip()
        if key == "content-length" and headers.get(key, value) != value:
            raise HttpError(400, "two content lengths")
        headers[key] = value
    return headers
