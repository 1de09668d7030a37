"""What the tests of the adapters share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.adapters.desk import LETTERS, Desk
from tests.gmail_server import GmailServer
from tests.other_gmail import why_not

#: `tests/test_other_gmail.py` says why, once.
collect_ignore = ["test_other_gmail.py"] if why_not() else []


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with GmailServer() as server:
        desk = Desk(server, tmp_path)
        yield desk
        desk.close()


@pytest.fixture
def full(desk: Desk) -> Desk:
    for number, raw in enumerate(LETTERS):
        desk.mailbox.add(raw, at=datetime(2026, 1, 1 + number, tzinfo=UTC))
    return desk
