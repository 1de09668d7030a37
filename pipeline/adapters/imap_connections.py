"""Where an IMAP account is, and calls to it: each over a connection of a pool, tried again once when that was lost."""

from __future__ import annotations

import imaplib
import ipaddress
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from google.auth.exceptions import GoogleAuthError
from imapclient.tls import create_default_context
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from pipeline.adapters.guarded_http import AddressRefused, Connect, Guard, connect_anywhere
from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_credentials import ImapLogin
from pipeline.adapters.imap_errors import LOGIN, Dropped, from_exception
from pipeline.adapters.imap_pool import ImapPool, end
from pipeline.runtime.errors import FieldpostError, Forbidden, UserError

#: For each answer until the connection is logged in, and afterwards.
LOGIN_SECONDS, ANSWER_SECONDS = 10.0, 30.0
#: A second one only where the connection was lost: a server that keeps silent would hold the thread twice.
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
        self,
        server: ImapServer,
        login: ImapLogin,
        *,
        tls: ssl.SSLContext | None = None,
        on_call: OnCall | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._connect_to: Connect = connect_anywhere if guard is None else guard.connect
        self._server, self._login, self._tls, self._on_call = server, login, tls, on_call
        self._pool = ImapPool(self.open)

    def run(self, method: str, work: Callable[[ImapClient], Value]) -> Value:
        """Return what `work` makes of a connection; errors of the tree otherwise. One that ended is replaced once."""
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
        self._pool.close()

    def _once(self, method: str, work: Callable[[ImapClient], Value]) -> Value:
        with self._pool.lend() as client, self._told(method):
            return work(client)

    @contextmanager
    def _told(self, method: str) -> Iterator[None]:
        """Turn what goes wrong into the tree, and tell how the call ended."""
        status = "ok"
        try:
            yield
        except _TROUBLE as error:
            found = from_exception(method, error)
            status = type(found).__name__.lower()
            if isinstance(found, AddressRefused):
                found = Forbidden(f"IMAP {method}: {found}")
            if found is error:
                raise
            raise found from error
        finally:
            if self._on_call is not None:
                self._on_call(f"imap.{method}", status, 0)

    def _connect(self) -> ImapClient:
        where = self._server
        context = None if where.security == "none" else self._tls or create_default_context()
        client = ImapClient(
            where.host,
            where.port,
            tls=context if where.security == "tls" else None,
            timeout=LOGIN_SECONDS,
            connect=self._connect_to,
        )
        try:
            if where.security == "starttls":
                client.starttls(context)
            self._login.log_in(client, where.user)
            client.wait_up_to(ANSWER_SECONDS)
        except BaseException:
            end(client)
            raise
        return client
