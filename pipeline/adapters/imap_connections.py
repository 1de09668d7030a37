"""Connections to one IMAP account: opened when needed, kept, at most four, replaced once when one was lost."""

from __future__ import annotations

import imaplib
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from google.auth.exceptions import GoogleAuthError
from imapclient import SocketTimeout
from imapclient.tls import create_default_context
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_credentials import ImapLogin
from pipeline.adapters.imap_errors import LOGIN, Dropped, from_exception
from pipeline.runtime.errors import FieldpostError, Gone, Reach, Throttled, UserError

#: Gmail allows 15 for all programs of an account together.
MOST_CONNECTIONS = 4
TIMEOUT_SECONDS = 30.0
#: How long a caller waits for one of the connections before it is told to come back.
WAIT_SECONDS = 60.0
TRIES = 2

#: What the library, the network and answers that are not as they should be raise.
_TROUBLE = (
    FieldpostError, GoogleAuthError, imaplib.IMAP4.error, OSError, ValueError, TypeError, LookupError, AttributeError,
)  # fmt: skip

OnCall = Callable[[str, str, int], None]
Value = TypeVar("Value")

PORTS = {"tls": 993, "starttls": 143, "none": 143}


@dataclass(frozen=True, slots=True)
class ImapServer:
    """Where an account is and how it is reached."""

    host: str
    port: int
    security: str
    user: str

    @classmethod
    def read(cls, source: Mapping[str, Any], address: str) -> ImapServer:
        """Return the server that the `source` of a mailbox describes. `UserError` says what is wrong with it."""
        host, security = str(source.get("host") or "").strip(), str(source.get("security") or "tls")
        if not host or any(character.isspace() or character == "/" for character in host):
            raise UserError(f"{address} has no IMAP host; give a name such as imap.example.org")
        if security not in PORTS:
            raise UserError(f"the security of an IMAP mailbox is tls, starttls or none, not {security!r}")
        if security == "none" and not is_loopback(host):
            raise UserError(f"mail of {host} would cross the network in the clear; use tls or starttls")
        port = source.get("port") or PORTS[security]
        if not isinstance(port, int) or not 0 < port < 65_536:
            raise UserError(f"{port!r} is no port")
        return cls(host, port, security, str(source.get("user") or address))


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class ImapConnections:
    """The connections of one account; each serves one caller at a time."""

    def __init__(
        self, server: ImapServer, login: ImapLogin, *, tls: ssl.SSLContext | None = None, on_call: OnCall | None = None
    ) -> None:
        self._server, self._login, self._tls, self._on_call = server, login, tls, on_call
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._guard = threading.Lock()
        self._idle: list[ImapClient] = []
        self._all: set[ImapClient] = set()

    def run(self, method: str, work: Callable[[ImapClient], Value]) -> Value:
        """Return what `work` makes of a connection; errors of the tree otherwise. A lost one is replaced once."""
        retrying = Retrying(stop=stop_after_attempt(TRIES), retry=retry_if_exception_type(Dropped), reraise=True)
        value: Value = retrying(self._once, method, work)
        return value

    def told(self, method: str, work: Callable[[], Value]) -> Value:
        """Return what `work` makes of a connection of its own; errors of the tree otherwise."""
        with self._told(method):
            return work()

    def open(self) -> ImapClient:
        """Return a new connection, logged in, that belongs to the caller. Raises errors of the tree."""
        with self._told(LOGIN):
            return self._connect()

    def close(self) -> None:
        """Close every connection, one that serves a caller after its call; the next call opens new ones."""
        with self._guard:
            clients, self._idle = self._idle, []
            self._all.clear()
        for client in clients:
            end(client)

    def _once(self, method: str, work: Callable[[ImapClient], Value]) -> Value:
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise Throttled(f"IMAP {method}: all {MOST_CONNECTIONS} connections are busy", reach=Reach.CALLS)
        try:
            client = self._take() or self._keep(self.open())
            with self._returned(client), self._told(method):
                return work(client)
        finally:
            self._places.release()

    @contextmanager
    def _told(self, method: str) -> Iterator[None]:
        """Turn what goes wrong into the tree, and tell how the call ended."""
        status = "ok"
        try:
            yield
        except _TROUBLE as error:
            found = from_exception(method, error)
            status = type(found).__name__.lower()
            if found is error:
                raise
            raise found from error
        finally:
            if self._on_call is not None:
                self._on_call(f"imap.{method}", status, 0)

    @contextmanager
    def _returned(self, client: ImapClient) -> Iterator[None]:
        """Keep a connection for the next caller, unless something went wrong on it: half an answer may be left."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Gone):
                self._discard(client, others=isinstance(error, Dropped))
            else:
                self._give_back(client)
            raise
        self._give_back(client)

    def _give_back(self, client: ImapClient) -> None:
        with self._guard:
            is_ours = client in self._all
            if is_ours:
                self._idle.append(client)
        if not is_ours:
            end(client)

    def _discard(self, client: ImapClient, *, others: bool) -> None:
        """End a connection; when the server ended it, those that were idle are lost most likely, too."""
        with self._guard:
            lost = [client, *(self._idle if others else ())]
            self._idle = [one for one in self._idle if one not in lost]
            self._all.difference_update(lost)
        for one in lost:
            end(one)

    def _take(self) -> ImapClient | None:
        with self._guard:
            return self._idle.pop() if self._idle else None

    def _keep(self, client: ImapClient) -> ImapClient:
        with self._guard:
            self._all.add(client)
        return client

    def _connect(self) -> ImapClient:
        where = self._server
        context = None if where.security == "none" else self._tls or create_default_context()
        client = ImapClient(
            where.host,
            where.port,
            tls=context if where.security == "tls" else None,
            timeout=SocketTimeout(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
        )
        try:
            if where.security == "starttls":
                client.starttls(context)
            self._login.log_in(client, where.user)
        except BaseException:
            end(client)
            raise
        return client


def end(client: ImapClient) -> None:
    """Close a connection without a word: it may be in any state, and waiting for a goodbye may take long."""
    with suppress(OSError, imaplib.IMAP4.error):
        client.shutdown()
