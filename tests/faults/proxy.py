"""A proxy before PostgreSQL or Valkey with the faults of a network: silence, refusal, lost replies, delay.

    with before_postgres(settings.database_url) as network:
        mine = settings.model_copy(update={"database_url": network.url})
        network.blackhole()      # nothing comes through and nobody is told; `heal` lets what was sent arrive
        network.refuse()         # nobody listens, and what was connected is cut
        network.drop_replies(after=b"COMMIT")   # the server does it, the client never learns
        network.delay(0.2)       # every packet takes longer
        network.heal()           # all of the above is over

Over TCP (`tcp=True`) a black hole drops packets in the kernel by a socket filter, which needs no privilege: nothing is
acknowledged, so that keepalives and `tcp_user_timeout` see what they see when a cable is pulled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import make_url

#: A path of a Unix socket, or a host and a port.
Address = str | tuple[str, int]

_CHUNK = 1 << 16
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # <asm-generic/socket.h>
_DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0 bytes


@dataclass(eq=False)
class _Link:
    """One client's connection and the one that was made to the server for it."""

    client: socket.socket
    server: socket.socket
    has_ended: threading.Event = field(default_factory=threading.Event)
    #: The next reply is lost; afterwards the link is cut, or it hangs.
    loses_reply: bool = False
    hangs: bool = False

    def cut(self) -> None:
        """Close both ends."""
        self.has_ended.set()
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens, and connects each client to the server; a context manager. `url` is where the clients go.

    All methods may be called from any thread and take effect at once, on open connections too. Counts what happened:
    `accepted` connections, `lost` replies.
    """

    def __init__(self, server: Address, listen: Address) -> None:
        """Prepare; nothing is opened before the block. Port 0 becomes a free one."""
        self._server, self.address = server, listen
        self.url = ""
        self.accepted = self.lost = 0
        self._links: set[_Link] = set()
        self._guard = threading.RLock()
        self._open = threading.Event()
        self._open.set()
        self._seconds = 0.0
        self._pattern, self._losses, self._then_hang = b"", 0, False
        self._listener: socket.socket | None = None
        self._has_ended = False

    def __enter__(self) -> Proxy:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._has_ended = True
            self._deafen()
        self._cut_all()
        self._open.set()

    @property
    def connections(self) -> int:
        """Return how many clients are connected."""
        with self._guard:
            return len(self._links)

    def heal(self) -> None:
        """End every fault; what was sent into a black hole arrives, as TCP would send it again."""
        with self._guard:
            self._seconds, self._losses = 0.0, 0
            self._filter(_DETACH_FILTER)
            self._open.set()
            if self._listener is None and not self._has_ended:
                self._listen()

    def blackhole(self) -> None:
        """Let nothing through in either way, and tell nobody: no reset, no end; new connections get no answer."""
        with self._guard:
            self._open.clear()
            self._filter(_ATTACH_FILTER)

    def refuse(self) -> None:
        """Cut what is connected and refuse new connections."""
        with self._guard:
            self._deafen()
        self._cut_all()

    def cut(self) -> None:
        """Cut what is connected; new connections are served."""
        self._cut_all()

    def drop_replies(self, times: int = 1, *, after: bytes = b"", then_hang: bool = False) -> None:
        """Lose the replies to the next `times` requests that hold the bytes `after` (any, when empty).

        The server gets and answers the request; its client is cut off when the answer is there, or hangs for ever.
        """
        with self._guard:
            self._pattern, self._losses, self._then_hang = after, times, then_hang

    def delay(self, seconds: float) -> None:
        """Hold each packet for some seconds in both ways; 0 ends it."""
        self._seconds = seconds

    def _listen(self) -> None:
        family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.address)
        if not isinstance(self.address, str):
            self.address = listener.getsockname()
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="proxy", daemon=True).start()

    def _deafen(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), name="proxy", daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._open.wait()
        server = socket.socket(socket.AF_UNIX if isinstance(self._server, str) else socket.AF_INET, socket.SOCK_STREAM)
        link = _Link(client, server)
        try:
            server.connect(self._server)
        except OSError:
            link.cut()
            return
        with self._guard:
            if self._listener is None:
                link.cut()
                return
            self.accepted += 1
            self._links.add(link)
        for pump in (self._requests, self._replies):
            threading.Thread(target=self._pump, args=(pump, link), name="proxy", daemon=True).start()

    def _pump(self, pump: object, link: _Link) -> None:
        assert callable(pump)
        with contextlib.suppress(OSError):
            pump(link)
        # Whoever ends inside a black hole is not heard by the other side, either.
        self._pass(link)
        link.cut()
        with self._guard:
            self._links.discard(link)

    def _requests(self, link: _Link) -> None:
        while chunk := link.client.recv(_CHUNK):
            if not self._pass(link):
                return
            with self._guard:
                if self._losses and self._pattern in chunk:
                    self._losses -= 1
                    link.loses_reply, link.hangs = True, self._then_hang
            link.server.sendall(chunk)

    def _replies(self, link: _Link) -> None:
        while chunk := link.server.recv(_CHUNK):
            if not self._pass(link):
                return
            if not link.loses_reply:
                link.client.sendall(chunk)
                continue
            with self._guard:
                self.lost += 1
            if link.hangs:
                link.has_ended.wait()
            return

    def _pass(self, link: _Link) -> bool:
        """Wait as long as the network says; return False when the link was cut meanwhile."""
        if self._seconds:
            link.has_ended.wait(self._seconds)
        while not link.has_ended.is_set():
            if self._open.wait(0.05):
                return True
        return False

    def _cut_all(self) -> None:
        with self._guard:
            links, self._links = self._links, set()
        for link in links:
            link.cut()

    def _filter(self, option: int) -> None:
        """Drop every packet that comes for our sockets, or no more; Unix sockets have no packets."""
        if isinstance(self.address, str) or sys.platform != "linux":
            return
        program = ctypes.create_string_buffer(_DROP_EVERYTHING)
        value = struct.pack("HP", 1, ctypes.addressof(program))
        for end in [*(link.client for link in self._links), *filter(None, [self._listener])]:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, option, value)


@contextmanager
def before_postgres(url: str, *, tcp: bool = False) -> Iterator[Proxy]:
    """Stand before the PostgreSQL of a database URL, on a Unix socket or, with `tcp`, on a port of this machine."""
    parsed = make_url(url)
    host = str(parsed.query.get("host") or parsed.host or "localhost")
    port = parsed.port or int(str(parsed.query.get("port", 5432)))
    bare = parsed.difference_update_query(["host", "port"])
    server: Address = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    with _standing(server, ".s.PGSQL.5432", tcp=tcp) as proxy:
        if isinstance(proxy.address, str):
            found = bare.set(host=None, port=None).update_query_dict({"host": os.path.dirname(proxy.address)})  # noqa: PTH120 - a text
        else:
            found = bare.set(host=proxy.address[0], port=proxy.address[1])
        proxy.url = found.render_as_string(hide_password=False)
        yield proxy


@contextmanager
def before_valkey(url: str, *, tcp: bool = False) -> Iterator[Proxy]:
    """Stand before the Valkey of a URL, on a Unix socket or, with `tcp`, on a port of this machine."""
    parsed = urlsplit(url)
    is_unix = parsed.scheme == "unix"
    server: Address = unquote(parsed.path) if is_unix else (parsed.hostname or "localhost", parsed.port or 6379)
    with _standing(server, "valkey.sock", tcp=tcp) as proxy:
        if isinstance(proxy.address, str):
            proxy.url = f"unix://{proxy.address}?db=0"
        else:
            proxy.url = f"redis://{proxy.address[0]}:{proxy.address[1]}/0"
        yield proxy


@contextmanager
def _standing(server: Address, name: str, *, tcp: bool) -> Iterator[Proxy]:
    folder = tempfile.mkdtemp(prefix="fpx-")
    try:
        with Proxy(server, ("127.0.0.1", 0) if tcp else f"{folder}/{name}") as proxy:
            yield proxy
    finally:
        shutil.rmtree(folder, ignore_errors=True)
