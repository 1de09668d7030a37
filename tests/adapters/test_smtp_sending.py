"""Sending by SMTP: all recipients or none, and doubt only when the answer to the end of the data was lost."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pipeline.adapters import imap_credentials
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.smtp_sending import SmtpSender, SmtpServer
from pipeline.core.handing_over import Finding, HandOver, Outgoing
from pipeline.core.moments import Moment
from pipeline.runtime.errors import FieldpostError, UserError
from tests.adapters.sent_mail import FROM, outgoing
from tests.dovecot import _write_certificate
from tests.imap_server import Box, imap_server
from tests.smtp_server import HOST, PASSWORD, Post, smtp_server

CLOCK = SystemClock()


def opened(port: int, security: str = "none", *, password: str = PASSWORD, **options: Any) -> SmtpSender:
    imap = options.pop("imap_port", 1)
    source = {
        "host": HOST,
        "port": imap,
        "security": "none",
        "smtp": {"host": HOST, "port": port, "security": security},
    }
    login = imap_credentials.load({"type": "imap_password", "password": password})
    return SmtpSender(FROM, source, login, **options)


@pytest.fixture
def post() -> Iterator[Post]:
    with smtp_server() as found:
        yield found


@pytest.fixture
def sender(post: Post) -> SmtpSender:
    return opened(post.port)


def letter(**options: Any) -> Outgoing:
    return outgoing(CLOCK.now(), **options)


def test_a_mail_is_taken_byte_by_byte_for_all_its_recipients(post: Post, sender: SmtpSender) -> None:
    given = letter(to=("ann@customer.example", "bob@customer.example"), body=".\n..\n.hidden\nFrom x\n\nGrüße")
    assert sender.send(given).how is HandOver.ACCEPTED
    (taken,) = post.accepted
    assert (taken.sender, taken.recipients, taken.raw) == (FROM, given.recipients, given.raw)
    assert post.logins == [(FROM, PASSWORD)]


@pytest.mark.parametrize(
    ("step", "answer", "how"),
    [
        ("MAIL", "451 try again", HandOver.LATER),
        ("MAIL", "553 not your address", HandOver.REFUSED),
        ("bob@customer.example", "450 greylisted", HandOver.LATER),
        ("bob@customer.example", "550 no such user", HandOver.REFUSED),
        ("DATA", "452 no room", HandOver.LATER),
        ("DATA", "554 looks like spam", HandOver.REFUSED),
        ("DATA", "552 too large", HandOver.REFUSED),
    ],
)
def test_a_refusal_leaves_no_doubt_and_nothing_at_the_server(
    post: Post, sender: SmtpSender, step: str, answer: str, how: HandOver
) -> None:
    post.answers[step] = [answer]
    handed = sender.send(letter(to=("ann@customer.example", "bob@customer.example")))
    assert (handed.how, post.accepted) == (how, [])
    assert answer[4:] in handed.said
    assert sender.send(letter()).how is HandOver.ACCEPTED


def test_greylisting_passes_the_next_time(post: Post, sender: SmtpSender) -> None:
    post.answers["RCPT"] = ["450 4.2.0 greylisted"]
    given = letter()
    assert [sender.send(given).how for _ in range(2)] == [HandOver.LATER, HandOver.ACCEPTED]
    assert post.message_ids() == [given.message_id]


def test_an_answer_that_is_lost_leaves_doubt(post: Post, sender: SmtpSender) -> None:
    post.drops = ["answer"]
    given = letter()
    assert sender.send(given).how is HandOver.DOUBTFUL
    assert post.message_ids() == [given.message_id]


def test_a_connection_that_ends_at_the_end_of_the_data_leaves_doubt(post: Post, sender: SmtpSender) -> None:
    post.drops = ["data"]
    assert sender.send(letter()).how is HandOver.DOUBTFUL
    assert post.accepted == []


@pytest.mark.parametrize(
    "answer",
    ["OK queued as 4711", "354 go on", "2x0 taken", "", "150 wait", "601 no", "421 closing", "421-closing\r\n421 now"],
)
def test_an_answer_to_the_end_of_the_data_that_says_neither_yes_nor_no_leaves_doubt(answer: str) -> None:
    """The server may have taken the mail, and then said something else."""
    with _Odd(answer) as port:
        assert opened(port).send(letter()).how is HandOver.DOUBTFUL


@pytest.mark.parametrize(
    ("answer", "how"),
    [("250-well\r\n250 taken", HandOver.ACCEPTED), ("451 later", HandOver.LATER), ("554 no", HandOver.REFUSED)],
)
def test_an_answer_to_the_end_of_the_data_that_says_yes_or_no_is_believed(answer: str, how: HandOver) -> None:
    with _Odd(answer) as port:
        assert opened(port).send(letter()).how is how


@pytest.mark.parametrize("after", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_a_connection_that_ends_before_the_end_of_the_data_leaves_no_doubt(after: str) -> None:
    with _Ending(after) as port:
        handed = opened(port).send(letter())
    assert handed.how is HandOver.LATER


def test_a_server_that_is_away_leaves_no_doubt() -> None:
    with smtp_server() as post:
        sender = opened(post.port)
    assert sender.send(letter()).how is HandOver.LATER


def test_a_wrong_password_leaves_no_doubt_and_is_not_told(post: Post) -> None:
    handed = opened(post.port, password="a wrong one").send(letter())
    assert (handed.how, post.accepted) == (HandOver.LATER, [])
    assert "a wrong one" not in handed.said


def test_a_sender_that_comes_too_late_ends_nothing(post: Post, sender: SmtpSender) -> None:
    handed = sender.send(letter(begin_by=Moment.of(CLOCK).after(-timedelta(seconds=1))))
    assert (handed.how, post.accepted) == (HandOver.LATER, [])


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_the_connection_is_protected_and_the_certificate_looked_at(tmp_path: Path, security: str) -> None:
    _write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    with smtp_server(**{security: context}) as post:
        refused = opened(post.port, security).send(letter())
        assert (refused.how, post.accepted, post.logins) == (HandOver.LATER, [], [])
        assert opened(post.port, security, tls=trusted).send(letter()).how is HandOver.ACCEPTED


def test_a_mail_that_stands_among_the_sent_was_sent_and_absence_proves_nothing(post: Post) -> None:
    given = letter()
    with imap_server() as imap:
        imap.boxes["Sent"] = Box(attributes="\\HasNoChildren \\Sent")
        imap.boxes["INBOX"].add("copy", given.raw)
        sender = opened(post.port, imap_port=imap.port)
        assert sender.find(given) == (Finding.UNSURE, None)
        imap.boxes["Sent"].add("one", given.raw)
        assert sender.find(given) == (Finding.THERE, None)
        assert sender.find(letter()) == (Finding.UNSURE, None)
    with pytest.raises(FieldpostError):
        sender.find(given)


def test_nobody_tells_as_whom_it_may_send(sender: SmtpSender) -> None:
    assert sender.allowed() is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("smtp", "problem"),
    [
        (None, "--smtp-host"),
        ({}, "--smtp-host"),
        ({"host": "smtp.example.org /x"}, "no SMTP host"),
        ({"host": "smtp.example.org", "security": "none"}, "in the clear"),
        ({"host": "smtp.example.org", "security": "ssl"}, "tls, starttls or none"),
        ({"host": "smtp.example.org", "port": 70_000}, "no port"),
    ],
)
def test_a_server_that_cannot_be_is_told_so(smtp: Any, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        SmtpServer.read({"smtp": smtp}, FROM)


def test_ports_follow_the_protection() -> None:
    def port(**said: Any) -> int:
        return SmtpServer.read({"smtp": {"host": "smtp.example.org", **said}}, FROM).port

    assert (port(), port(security="tls"), port(security="tls", port=2465)) == (587, 465, 2465)


class _Server:
    """A server that speaks to one sender, as `_serve` says."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 hello\r\n")
            self._serve(connection, lines)

    def _serve(self, connection: socket.socket, lines: BinaryIO) -> None:
        raise NotImplementedError


class _Ending(_Server):
    """A server that ends the connection after it read one step."""

    def __init__(self, after: str) -> None:
        super().__init__()
        self._after = after

    def _serve(self, connection: socket.socket, lines: BinaryIO) -> None:
        while line := lines.readline():
            if _word(line) == self._after:
                return
            connection.sendall(b"250 fine\r\n")


class _Odd(_Server):
    """A server that takes everything, and answers the end of the data as it likes."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self._answer = answer

    def _serve(self, connection: socket.socket, lines: BinaryIO) -> None:
        while line := lines.readline():
            connection.sendall(b"354 go on\r\n" if _word(line) == "DATA" else b"250 fine\r\n")
            if _word(line) == "DATA":
                while lines.readline() != b".\r\n":
                    pass
                connection.sendall(f"{self._answer}\r\n".encode())
            if _word(line) == "QUIT":
                return


def _word(line: bytes) -> str:
    """Return the command of a line."""
    return line.split(b":")[0].split()[0].decode().upper()
