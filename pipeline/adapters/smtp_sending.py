"""Mail sent by SMTP submission (RFC 6409), handed over at most once per call, and looked for by IMAP."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from google.auth.exceptions import GoogleAuthError

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.guarded_http import Connect, Guard, connect_anywhere
from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_connections import ImapConnections, ImapServer, OnCall, is_loopback
from pipeline.adapters.imap_credentials import ImapLogin, OAuthLogin, PasswordLogin
from pipeline.core.handing_over import Finding, Handed, HandOver, Outgoing
from pipeline.ports import Clock
from pipeline.runtime.errors import FieldpostError, Permanent, UserError

PORTS = {"tls": 465, "starttls": 587, "none": 25}
#: For each answer of the server; the last one may take longer, while it looks at the mail (RFC 5321 4.5.3.2.6).
_SECONDS, _LAST_SECONDS = 20.0, 60.0
_SENT = "SENT"
_SHOWN = 300
_GOES_AWAY = 421
_LONE_DOT = re.compile(rb"^\.", re.MULTILINE)
#: What the library, the network and the token endpoint raise.
_TROUBLE = (smtplib.SMTPException, OSError, GoogleAuthError, FieldpostError, ValueError)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail of an account is submitted."""

    host: str
    port: int
    security: str
    user: str

    @classmethod
    def read(cls, source: Mapping[str, Any], address: str) -> SmtpServer:
        """Return the server that `smtp` in the `source` of a mailbox describes. `UserError` says what is wrong."""
        said = source.get("smtp")
        if not isinstance(said, Mapping) or not str(said.get("host") or "").strip():
            raise UserError(f"{address} has no SMTP server: connect it anew with --smtp-host")
        host, security = str(said["host"]).strip(), str(said.get("security") or "starttls")
        if any(character.isspace() or character == "/" for character in host):
            raise UserError(f"{host!r} is no SMTP host; give a name such as smtp.example.org")
        if security not in PORTS:
            raise UserError(f"the security of an SMTP server is tls, starttls or none, not {security!r}")
        if security == "none" and not is_loopback(host):
            raise UserError(f"mail to {host} would cross the network in the clear; use tls or starttls")
        port = said.get("port") or PORTS[security]
        if not isinstance(port, int) or not 0 < port < 65_536:
            raise UserError(f"{port!r} is no port")
        return cls(host, port, security, str(said.get("user") or source.get("user") or address))


class _Refused(Exception):
    """The server said no to a step: for now (4xx) or for good (5xx)."""

    def __init__(self, step: str, code: int, said: bytes) -> None:
        super().__init__(f"SMTP {step} answered {code}: {said.decode('utf-8', 'replace')}")
        self.is_final = 500 <= code < 600


class _Smtp(smtplib.SMTP):
    """The standard library's protocol over a connection that somebody else makes, within TLS where that is given."""

    def __init__(self, host: str, port: int, name: str, tls: ssl.SSLContext | None, connect: Connect) -> None:
        self._tls, self._connect_to = tls, connect
        super().__init__(host, port, name, timeout=_SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._connect_to(host, port, timeout)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise


class SmtpSender:
    """The Sender port over SMTP: one connection per mail, nothing kept.

    SMTP has no question "did you take it?", and not every server files what it takes under sent mail. So after a lost
    answer a mail that is found there was sent, and one that is not found may have been: `UNSURE`, never `NOT_THERE`.
    """

    def __init__(
        self,
        address: str,
        source: Mapping[str, Any],
        login: ImapLogin,
        *,
        clock: Clock | None = None,
        on_call: OnCall | None = None,
        tls: ssl.SSLContext | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._address, self._source, self._login = address, source, login
        self._server = SmtpServer.read(source, address)
        self._clock = clock or SystemClock()
        self._on_call, self._tls = on_call, tls

    def send(self, mail: Outgoing) -> Handed:
        """Hand over once, to all or none; only a lost or strange answer to the end of the data leaves doubt."""
        handed = self._send(mail)
        if self._on_call is not None:
            self._on_call("smtp.send", handed.how.value, 0)
        return handed

    def _send(self, mail: Outgoing) -> Handed:
        may_have_left = False
        try:
            with self._session() as smtp:
                _transmit(smtp, mail)
                if mail.begin_by.is_over(self._clock):
                    return Handed(HandOver.LATER, "the time to begin is over")
                may_have_left = True
                code, said = _end_of_data(smtp)
                with suppress(smtplib.SMTPException, OSError):
                    smtp.quit()
        except _Refused as error:
            return Handed(HandOver.REFUSED if error.is_final else HandOver.LATER, short(error))
        except _TROUBLE as error:
            how = HandOver.DOUBTFUL if may_have_left else HandOver.LATER
            return Handed(how, f"SMTP {self._server.host}: {short(error)}")
        return _at_the_end(code, said)

    def find(self, mail: Outgoing) -> tuple[Finding, str | None]:
        """Look for the Message-ID in the folders of sent mail."""
        server = ImapServer.read(self._source, self._address)
        connections = ImapConnections(server, self._login, on_call=self._on_call, guard=self._guard)

        def look(client: ImapClient) -> bool:
            folders = [folder.name for folder in client.folders(None) if folder.role == _SENT]
            return any(_holds(client, folder, mail.message_id) for folder in folders)

        try:
            found = connections.run("find", look)
        finally:
            connections.close()
        return (Finding.THERE if found else Finding.UNSURE), None

    def allowed(self) -> None:
        """Return None: a submission server does not tell as whom an account may send."""

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Give the block a connection that is logged in; how it is left decides nothing."""
        where = self._server
        name = self._address.rpartition("@")[2]
        context = self._tls or ssl.create_default_context()
        connect = connect_anywhere if self._guard is None else self._guard.connect
        smtp = _Smtp(where.host, where.port, name, context if where.security == "tls" else None, connect)
        try:
            if where.security == "starttls":
                smtp.starttls(context=context)
            smtp.ehlo_or_helo_if_needed()
            if smtp.has_extn("auth"):
                self._log_in(smtp)
            yield smtp
        finally:
            smtp.close()

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        user = self._server.user
        if isinstance(self._login, PasswordLogin):
            smtp.login(user, self._login.password)
            return
        if not isinstance(self._login, OAuthLogin):
            raise Permanent("these credentials log in to no SMTP server")
        token = self._login.token()
        try:
            _bear(smtp, user, token)
        except smtplib.SMTPAuthenticationError:
            _bear(smtp, user, self._login.token(refused=token))


def _transmit(smtp: smtplib.SMTP, mail: Outgoing) -> None:
    """Send everything but the end of the data: before that the server has taken nothing (RFC 5321 4.1.1.4)."""
    size = [f"SIZE={len(mail.raw)}"] if smtp.has_extn("size") else []
    _expect("MAIL", smtp.mail(mail.from_address, size))
    for recipient in mail.recipients:
        _expect(f"RCPT {recipient}", smtp.rcpt(recipient))
    code, said = smtp.docmd("DATA")
    if code != 354:
        raise _Refused("DATA", code, said)
    smtp.send(_LONE_DOT.sub(b"..", mail.raw))


def _end_of_data(smtp: smtplib.SMTP) -> tuple[int, bytes]:
    if smtp.sock is not None:
        smtp.sock.settimeout(_LAST_SECONDS)
    smtp.send(b".\r\n")
    return smtp.getreply()


def _at_the_end(code: int, said: bytes) -> Handed:
    """Return what the answer to the end of the data says; one that says neither yes nor no leaves doubt.

    So does 421, which a server that goes away may give to anything, whatever it did with the mail (RFC 5321, 3.8).
    """
    if 200 <= code < 300:
        return Handed(HandOver.ACCEPTED, short(said.decode("utf-8", "replace")))
    refused = _Refused("end of data", code, said)
    if code == _GOES_AWAY or not 400 <= code < 600:
        return Handed(HandOver.DOUBTFUL, short(refused))
    return Handed(HandOver.REFUSED if refused.is_final else HandOver.LATER, short(refused))


def _expect(step: str, answer: tuple[int, bytes]) -> None:
    code, said = answer
    if not 200 <= code < 300:
        raise _Refused(step, code, said)


def _bear(smtp: smtplib.SMTP, user: str, token: str) -> None:
    """Send a token; a second challenge holds the server's reason and only wants to be acknowledged."""
    said = f"user={user}\1auth=Bearer {token}\1\1"
    smtp.auth("XOAUTH2", lambda challenge=None: said if challenge is None else "")


def _holds(client: ImapClient, folder: str, message_id: str) -> bool:
    client.open(folder)
    return bool(client.uids(["HEADER", "Message-ID", f'"{_quotable(message_id)}"']))


def _quotable(message_id: str) -> str:
    if not message_id.isascii() or not message_id.isprintable() or '"' in message_id or "\\" in message_id:
        raise ValueError("a Message-ID of ours holds nothing that must be quoted")
    return message_id


def short(said: object) -> str:
    """Return what a server or an error said, on one line and not too long."""
    return " ".join(str(said).split())[:_SHOWN] or type(said).__name__
