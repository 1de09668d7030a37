"""A bad network: requests that arrive whole, in part, twice, or whose answer nobody hears."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.deploy.probes import until
from tests.ops_api.serving import Api, Person

_ANSWERED = "fieldpost_http_requests_total"


@dataclass
class Wire:
    """The way to one running server; used from several threads."""

    api: Api
    _sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._sent = self._answered()

    def ask(self, who: Person, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and hear its answer."""
        self._count()
        return who.ask(method, path, **options)

    def cut(self, who: Person, method: str, path: str, share: float, **options: Any) -> None:
        """Send a share of a request's body, and hang up; its head is whole. With all of it, it may be done."""
        request = who.http.build_request(method, path, **options)
        content = request.read()
        head = f"{request.method} {request.url.raw_path.decode()} HTTP/1.1\r\n".encode()
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        place = urlsplit(self.api.base_url)
        self._count()
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as connection:
            connection.sendall(head + lines + b"\r\n" + content[: int(len(content) * share)])
            # What came must not be thrown away with the connection.
            connection.shutdown(socket.SHUT_WR)

    def settle(self) -> None:
        """Return when the server has done with all that was ever sent to it."""
        until(lambda: self._answered() >= self._sent, 30)

    def _count(self) -> None:
        with self._lock:
            self._sent += 1

    def _answered(self) -> int:
        registry = self.api.app.state.services.registry.restricted_registry([_ANSWERED])
        return int(sum(one.value for family in registry.collect() for one in family.samples if one.name == _ANSWERED))
