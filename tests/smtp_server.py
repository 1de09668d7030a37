"""An SMTP server in this process (aiosmtpd) that keeps what it accepts, and refuses, drops or holds as told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

HOST = "127.0.0.1"
#: The password of `tests.imap_server`, too: one account has one.
USER, PASSWORD = "support@example.org", "secret"


@dataclass(frozen=True)
class Accepted:
    """A mail that the server took: it said so, or was about to."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes


@dataclass
class Post:
    """What the server holds and how it behaves.

    `answers` are given to MAIL, RCPT (by address) and DATA in place of its own, each once. `drops` names the step at
    which the connection ends: `data` before anything is taken, `answer` after it was. While `hold` is set, the answer
    to the data waits; `held` tells that it does.
    """

    accepted: list[Accepted] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    hold: threading.Event | None = None
    held: threading.Event = field(default_factory=threading.Event)
    logins: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0

    def message_ids(self) -> list[str]:
        """Return the Message-ID of every mail that was taken."""
        lines = [line for mail in self.accepted for line in mail.raw.split(b"\r\n") if line.startswith(b"Message-ID:")]
        return [line.partition(b":")[2].strip().decode() for line in lines]

    def told(self, step: str) -> str | None:
        """Return the next answer for a step."""
        waiting = self.answers.get(step)
        return waiting.pop(0) if waiting else None

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        said = self.told("MAIL") if session.authenticated else "530 log in first"
        if said is None:
            envelope.mail_from = address
        return said or "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        said = self.told(address) or self.told("RCPT")
        if said is None:
            envelope.rcpt_tos.append(address)
        return said or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self._drops("data", server):
            return "421 never read"
        said = self.told("DATA")
        if said is not None:
            return said
        content = envelope.original_content or b""
        self.accepted.append(Accepted(str(envelope.mail_from), tuple(envelope.rcpt_tos), content))
        if self._drops("answer", server):
            return "250 never read"
        if self.hold is not None:
            self.held.set()
            while self.hold.is_set():
                await asyncio.sleep(0.01)
        return "250 taken"

    def _drops(self, step: str, server: SMTP) -> bool:
        if step not in self.drops:
            return False
        self.drops.remove(step)
        assert server.transport is not None
        server.transport.abort()
        return True

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any) -> Any:
        """Say whether a login is right; XOAUTH2 carries a token in place of a password."""
        login = data.login.decode(), data.password.decode()
        self.logins.append(login)
        return AuthResult(success=login == (USER, PASSWORD), handled=False)


class _Controller(Controller):
    """A server that hangs up on everybody when it stops: a client that was killed may have left a connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._served: list[SMTP] = []
        super().__init__(*arguments, **options)

    def factory(self) -> SMTP:
        self._served.append(super().factory())
        return self._served[-1]

    def hang_up(self) -> None:
        for server in self._served:
            if server.transport is not None:
                self.loop.call_soon_threadsafe(server.transport.abort)


@contextmanager
def smtp_server(*, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None) -> Iterator[Post]:
    """Serve on a free port of 127.0.0.1 while the block runs; logins are demanded."""
    post = Post()
    options: dict[str, Any] = {"authenticator": post.authenticate, "auth_require_tls": False}
    if starttls is not None:
        options |= {"tls_context": starttls, "require_starttls": True}
    controller = _Controller(post, hostname=HOST, port=_free_port(), ssl_context=tls, **options)
    controller.start()
    post.port = controller.port
    try:
        yield post
    finally:
        if post.hold is not None:
            post.hold.clear()
        controller.hang_up()
        controller.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
