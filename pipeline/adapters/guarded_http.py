"""Connections to addresses that users choose: looked up once, refused where they lead inside, bounded in size and time.

Against server-side request forgery (reliability, section 5): the address that was judged is the one that is connected
to, so a name that answers differently the second time gains nothing, while TLS still proves the name.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from pipeline.core.public_addresses import Address, Network, every_private, judged, networks, odd_name
from pipeline.runtime.errors import UserError
from pipeline.runtime.settings import Settings

#: Returns the addresses of a host and port, as `socket.getaddrinfo` does.
Resolver = Callable[[str, int], Sequence[tuple[Any, ...]]]
Dial = Callable[[tuple[str, int], float | None], socket.socket]
#: Connects to a host and port within some seconds.
Connect = Callable[[str, int, float | None], socket.socket]

_SECONDS = 5.0
_MOST_BYTES = 1 << 18
_PORTS: Mapping[str, int] = MappingProxyType({"http": 80, "https": 443})
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


class AddressRefused(UserError):
    """The address leads where nobody but the operator may send us; the text says which and why."""


def _resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def connect_anywhere(host: str, port: int, timeout: float | None) -> socket.socket:
    """Connect without a guard, for addresses that nobody but the operator gave."""
    return _dial((host, port), timeout)


def _dial(place: tuple[str, int], timeout: float | None) -> socket.socket:
    return socket.create_connection(place, timeout)


class Guard:
    """Decides where connections may go, and makes them; may be shared by threads."""

    def __init__(self, opened: Iterable[Network] = (), *, resolve: Resolver = _resolve, dial: Dial = _dial) -> None:
        self._opened, self._resolve, self._dial = tuple(opened), resolve, dial

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        """Return the guard of the settings; private addresses are open in development, unless they say not."""
        said = settings.allow_private_addresses
        if said in {"true", "false"}:
            return cls(every_private() if said == "true" else ())
        if said is not None:
            return cls(networks(said))
        return cls(every_private() if settings.environment == "development" else ())

    def addresses(self, host: str, port: int) -> list[Address]:
        """Look a host up once; return its addresses. Raises `AddressRefused` if one is closed, and `OSError`."""
        name = host[1:-1] if host.startswith("[") else host
        why = odd_name(name)
        if why is not None:
            raise AddressRefused(f"no connection to {_shown(host)}: {why}")
        try:
            found = [ipaddress.ip_address(answer[4][0]) for answer in self._resolve(name, port)]
        except UnicodeError:
            raise AddressRefused(f"no connection to {_shown(host)}: it is no name") from None
        for address in found:
            why = judged(address, self._opened)
            if why is not None:
                raise AddressRefused(
                    f"no connection to {_shown(host)}: its address {address} is closed, since {why}; "
                    "FIELDPOST_ALLOW_PRIVATE_ADDRESSES opens private networks"
                )
        if not found:
            raise OSError(f"{_shown(host)} has no address")
        return list(dict.fromkeys(found))

    def check(self, host: str, port: int) -> None:
        """Return when a host may be connected to now, or cannot be looked up; `AddressRefused` says why it may not."""
        with suppress(OSError):
            self.addresses(host, port)

    def connect(self, host: str, port: int, timeout: float | None = None) -> socket.socket:
        """Return a connection to the first address that takes one. Raises `AddressRefused` and `OSError`."""
        trouble: OSError | None = None
        for address in self.addresses(host, port):
            try:
                return self._dial((str(address), port), timeout)
            except OSError as error:
                trouble = error
        raise trouble or OSError(f"{_shown(host)} has no address")


class _Stream(httpcore.NetworkStream):
    """One connection for one request; it ends at a size and a time, however slowly the other side talks."""

    def __init__(self, stream: httpcore.NetworkStream, most: int, until: float) -> None:
        self._stream, self._left, self._until = stream, most, until

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came, within the bounds."""
        if self._left <= 0:
            raise httpcore.ReadError("the answer is too large")
        got = self._stream.read(min(max_bytes, self._left), self._remaining(timeout))
        self._left -= len(got)
        return got

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, within the time."""
        self._stream.write(buffer, self._remaining(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the connection within TLS; the name is proved, not the address."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._remaining(timeout))
        return _Stream(inner, self._left, self._until)

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection knows of itself."""
        return self._stream.get_extra_info(info)

    def _remaining(self, timeout: float | None) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the answer takes too long")
        return left if timeout is None else min(left, timeout)


class _Backend(httpcore.NetworkBackend):
    """Makes the connections of an HTTP pool by the guard."""

    def __init__(self, guard: Guard, seconds: float, most_bytes: int) -> None:
        self._guard, self._seconds, self._most = guard, seconds, most_bytes
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - the base's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to an address that was judged."""
        until = time.monotonic() + self._seconds
        try:
            found = self._guard.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        trouble: Exception = httpcore.ConnectError("it has no address")
        for address in found:
            try:
                stream = self._plain.connect_tcp(str(address), port, timeout, None, socket_options)
                return _Stream(stream, self._most, until)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise trouble


class GuardedTransport(httpx.HTTPTransport):
    """HTTP over the guard's connections, one for each request; an answer is cut off where it is too large or slow."""

    def __init__(self, guard: Guard, *, seconds: float = _SECONDS, most_bytes: int = _MOST_BYTES) -> None:
        context = ssl.create_default_context()
        super().__init__(verify=context, trust_env=False)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=10,
            max_keepalive_connections=0,
            network_backend=_Backend(guard, seconds, most_bytes),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; nothing that comes back may be larger than it looks."""
        request.headers["Accept-Encoding"] = "identity"
        answer = super().handle_request(request)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            answer.close()
            raise httpx.DecodingError("the answer is compressed, which was not asked for", request=request)
        return answer


def guarded_client(guard: Guard, *, seconds: float = _SECONDS, most_bytes: int = _MOST_BYTES) -> httpx.Client:
    """Return an HTTP client for addresses that users choose: no redirects, no proxies, nothing from the environment."""
    transport = GuardedTransport(guard, seconds=seconds, most_bytes=most_bytes)
    return httpx.Client(transport=transport, timeout=seconds, follow_redirects=False, trust_env=False)


def fetch(client: httpx.Client, url: str) -> bytes:
    """Return what stands at an address; one redirect after another is followed within the same host, up to three.

    Raises `AddressRefused` for another host or scheme, `httpx.HTTPError` for everything that goes wrong on the way.
    """
    asked = httpx.URL(url)
    for _ in range(4):
        answer = client.get(url)
        if answer.next_request is None:
            answer.raise_for_status()
            return answer.content
        found = answer.next_request.url
        if _place(found) != _place(asked):
            raise AddressRefused(f"{_shown(asked.host)} sends us on to another place, which is not followed")
        url = str(found)
    raise httpx.TooManyRedirects(f"{_shown(asked.host)} sends us in circles")


def _place(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def is_safe_url(url: str, *, is_production: bool) -> bool:
    """Say whether an address may be asked for secrets or keys: https, or plain http to this machine in development."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE and not is_production)


def _shown(host: str) -> str:
    return ascii(host[:100])
