"""The Gmail server of a demonstration: a child process, filled and asked over its control addresses."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from deploy.demo.home import DemoFailed, pause
from deploy.demo.specs import Mail
from deploy.local.processes import Launch, Spawner, end, tail
from pipeline.ports import Clock
from pipeline.runtime.errors import UserError
from pipeline.runtime.settings import environment

_CHECKOUT = Path(__file__).resolve().parents[2]
_READY = "ready "
_START_LIMIT = timedelta(seconds=30)
_POLL = timedelta(milliseconds=20)
_STOP = ((signal.SIGTERM, timedelta(seconds=10)),)
_TIMEOUT = 60
#: Raw bytes per request; the server takes far more, but Ctrl-C is looked for between two requests.
_PORTION = 1_000_000


class Gmail:
    """The control side of the server at `url`. Every method raises `DemoFailed` when it does not answer well.

    `has_ended` says whether its process is gone.
    """

    def __init__(self, url: str, has_ended: Callable[[], bool]) -> None:
        self.url, self._has_ended = url, has_ended
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT)

    def deliver(self, mails: Sequence[Mail]) -> None:
        """Let mails arrive, each in its mailbox with its own time and labels, in their order."""
        for portion in _portions(mails):
            for address in dict.fromkeys(mail.mailbox for mail in portion):
                said = [_as_json(mail) for mail in portion if mail.mailbox == address]
                self._call("POST", f"mailboxes/{quote(address)}/messages", {"messages": said})
            pause()

    def ids(self, address: str) -> list[str]:
        """Return the id of every message in a mailbox."""
        found: list[str] = self._call("GET", f"mailboxes/{quote(address)}/ids")["ids"]
        return found

    def credentials(self, address: str) -> bytes:
        """Return the authorized_user file of a mailbox, whose tokens this server gives."""
        return json.dumps(self._call("GET", f"credentials/authorized_user?address={quote(address)}")).encode()

    def check(self) -> None:
        """Raise `DemoFailed` when the server's process ended: its mail is gone with it."""
        if self._has_ended():
            raise DemoFailed("the Gmail server ended by itself")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, f"/_control/{path}", content, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DemoFailed(f"the Gmail server does not answer: {type(error).__name__} {error}") from error
        if answer.status != http.client.OK:
            raise DemoFailed(f"the Gmail server refused {method} {path}: {answer.status} {text[:300]!r}")
        found: dict[str, Any] = json.loads(text)
        return found


@contextmanager
def gmail_server(log: Path, clock: Clock) -> Iterator[Gmail]:
    """Run the server for the length of the block; its output goes to `log`."""
    if not (_CHECKOUT / "tests" / "gmail_server").is_dir():
        raise UserError("the demonstration needs the Gmail server in tests/: run it from a checkout")
    spawner = Spawner()
    argv = (sys.executable, "-m", "tests.gmail_server", "--seed", "7", "--quiet")
    process = spawner.spawn(Launch(argv, environment(), log, cwd=_CHECKOUT))

    def has_ended() -> bool:
        return process.poll() is not None

    try:
        gmail = Gmail(_address(has_ended, log, clock), has_ended)
        try:
            yield gmail
        finally:
            gmail.close()
    finally:
        end(process, _STOP)
        spawner.close()


def _address(has_ended: Callable[[], bool], log: Path, clock: Clock) -> str:
    """Wait for the line that says where the server listens."""
    deadline = clock.monotonic() + _START_LIMIT.total_seconds()
    while True:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(_READY):
                return line.removeprefix(_READY).strip()
        if has_ended() or clock.monotonic() > deadline:
            raise DemoFailed(f"the Gmail server did not start:\n{tail(log)}")
        pause(_POLL)


def _portions(mails: Iterable[Mail]) -> Iterator[list[Mail]]:
    portion: list[Mail] = []
    size = 0
    for mail in mails:
        portion.append(mail)
        size += len(mail.raw)
        if size >= _PORTION:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _as_json(mail: Mail) -> dict[str, object]:
    raw = base64.b64encode(mail.raw).decode("ascii")
    return {"raw": raw, "labels": list(mail.labels), "at": mail.at.isoformat()}
