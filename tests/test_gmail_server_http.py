"""The Gmail server's HTTP/1.1: odd, hostile and pipelined requests, and a clean end."""

from __future__ import annotations

import gc
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gmail_server import GmailServer
from tests.gmail_server.http11 import HttpError, Request, RequestParser
from tests.gmail_server.samples import mail

ROOT = Path(__file__).parent.parent
HEALTH = b"GET /_control/health HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer(max_body=100_000) as running:
        yield running


def exchanged(server: GmailServer, sent: bytes) -> bytes:
    """Everything the server says to these bytes until it closes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(sent)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def parsed(data: bytes, step: int) -> list[Request]:
    """The requests in a byte stream that arrives `step` bytes at a time."""
    parser, found = RequestParser(1000), []
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
        while (request := parser.next()) is not None:
            found.append(request)
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_requests_are_the_same_however_their_bytes_are_cut(step: int) -> None:
    chunked = b"POST /b?q=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
    sized = b"\r\nPUT /c HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
    absolute = b"GET http://x/d?e=f HTTP/1.0\r\n\r\n"
    found = parsed(chunked + sized + chunked + absolute, step)
    assert [(request.method, request.path, request.query, request.body) for request in found] == [
        ("POST", "/b", "q=1", b"abc0123456789"),
        ("PUT", "/c", "", b"hi"),
        ("POST", "/b", "q=1", b"abc0123456789"),
        ("GET", "/d", "e=f", b""),
    ]
    assert [request.keep_alive for request in found] == [True, True, True, False]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nSpace : x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_bytes_that_are_no_request_are_refused(data: bytes, status: int) -> None:
    parser = RequestParser(1000)
    parser.feed(data)
    with pytest.raises(HttpError) as caught:
        parser.next()
    assert caught.value.status == status


def test_a_refused_request_is_answered_and_its_connection_closed(server: GmailServer) -> None:
    answer = exchanged(server, b"POST /token HTTP/1.1\r\nContent-Length: 999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer


def test_pipelined_requests_are_answered_in_order(server: GmailServer) -> None:
    other = b"GET /$discovery/rest?version=v1 HTTP/1.1\r\nHost: x\r\n\r\n"
    said = exchanged(server, HEALTH + b"\r\n" + other + HEALTH + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+) ", said) == [b"200", b"404", b"200"]


def test_a_client_that_asks_before_its_body_is_told_to_go_on(server: GmailServer) -> None:
    head = b"POST /_control/oauth/expire HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert sock.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_stopping_leaves_no_thread_and_no_open_port(server: GmailServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    idle = socket.create_connection((host, int(port)), timeout=10)
    idle.sendall(HEALTH + b"\r\n")
    assert idle.recv(15) == b"HTTP/1.1 200 OK"
    server.stop()
    server.stop()
    with pytest.raises(ConnectionError):
        list(iter(lambda: idle.recv(65536), b""))
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=10)
    assert not [thread for thread in threading.enumerate() if thread.name == f"gmail-server-{port}"]


def test_a_client_that_is_just_being_let_in_is_hung_up_on(server: GmailServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=10):
            server.stop()
        # A connection left to nobody warns when it is collected, and a warning is an error here.
        gc.collect()
        server.start()


def test_a_stopped_server_comes_back_on_its_port_with_its_mail(server: GmailServer) -> None:
    url = server.url
    message_id = server.mailbox("a@example.org").add(mail())
    server.stop()
    server.start()
    said = exchanged(server, b"GET /_control/mailboxes/a@example.org/ids HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert server.url == url
    assert json.loads(said.partition(b"\r\n\r\n")[2]) == {"ids": [message_id]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_an_mbox_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    box = tmp_path / "mail.mbox"
    box.write_bytes(b"From a Thu Jan  1 00:00:00 2026\n" + mail() + b"\nFrom b Thu Jan  1 00:00:00 2026\n" + mail())
    command = [sys.executable, "-m", "tests.gmail_server", "--port", "0", "--quiet"]
    command += ["--mbox", str(box), "--address", "a@example.org"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        word, url = process.stdout.readline().split()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(b"GET /_control/mailboxes/a@example.org HTTP/1.1\r\nConnection: close\r\n\r\n")
            said = b"".join(iter(lambda: sock.recv(65536), b""))
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        assert (word, process.stdout.read(), process.stderr.read()) == ("ready", "", "")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["messages"] == 2
