"""Mail, folders of mail and a clock for the tests of the adapters."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

STARTED_AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SEPARATOR = b"From sender@example.org Fri Nov 20 12:00:00 2026\n"


class StepClock:
    """A clock that waits by moving on, and remembers how long it was asked to."""

    def __init__(self, now: datetime = STARTED_AT) -> None:
        self._now = now
        self.waits: list[timedelta] = []

    def now(self) -> datetime:
        """Return the time reached so far."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds since the epoch of the time reached so far."""
        return self._now.timestamp()

    def wait(self, duration: timedelta) -> None:
        """Move on at once."""
        self.waits.append(duration)
        self._now += duration


def letter(number: int, body: str = "Hello.\n") -> bytes:
    """Return a small message that no other number has."""
    return f"From: a@example.org\nSubject: number {number}\nMessage-ID: <{number}@example.org>\n\n{body}".encode()


def mbox_of(*messages: bytes, separator: bytes = SEPARATOR, newline: bytes = b"\n") -> bytes:
    """Return an mbox as a delivery agent writes it: each message ends with an empty line of the mbox."""
    return b"".join(separator + message + newline for message in messages)


def write_mbox(path: Path, messages: Sequence[bytes]) -> Path:
    """Write an mbox, compressed when the name ends in .gz."""
    content = mbox_of(*messages)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_maildir(path: Path, messages: Sequence[bytes]) -> Path:
    """Write a Maildir with every second message already seen."""
    for part in ("cur", "new", "tmp"):
        (path / part).mkdir(parents=True)
    for number, message in enumerate(messages):
        name = f"cur/{1000 + number}.M{number}.host:2,S" if number % 2 else f"new/{1000 + number}.M{number}.host"
        (path / name).write_bytes(message)
    return path


def write_folder(path: Path, messages: Sequence[bytes]) -> Path:
    """Write one .eml file per message."""
    path.mkdir(parents=True)
    for number, message in enumerate(messages):
        (path / f"{number:05}.eml").write_bytes(message)
    return path
