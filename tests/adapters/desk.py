"""A Gmail server with one mailbox, and a source that reads it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.gmail_credentials import load
from pipeline.ports import Listed
from tests.adapters.mail import StepClock, letter
from tests.gmail_server import GmailServer, Mailbox

ADDRESS = "support@example.org"
LETTERS = [letter(number) for number in range(7)]


class Desk:
    """A server with one mailbox, a source that reads it, and every call that source made."""

    def __init__(self, server: GmailServer, folder: Path) -> None:
        self.server = server
        self.mailbox: Mailbox = server.mailbox(ADDRESS)
        self.clock = StepClock(SystemClock().now())
        self.calls: list[tuple[str, str, int]] = []
        self.file = server.authorized_user_file(folder / "user.json", ADDRESS)
        self.opened: list[GmailSource] = []
        self.source = self.open(ADDRESS)

    def open(self, address: str, **options: object) -> GmailSource:
        credentials = load(json.loads(self.file.read_text()))
        source = GmailSource(
            address,
            credentials,
            self.server.url,
            clock=self.clock,
            on_call=lambda *call: self.calls.append(call),
            **options,  # type: ignore[arg-type]
        )
        self.opened.append(source)
        return source

    def close(self) -> None:
        for source in self.opened:
            source.close()

    def items(self) -> list[Listed]:
        return list(self.source.list_page(None, limit=500).items)

    def statuses(self, method: str = "messages.get") -> Counter[str]:
        return Counter(status for name, status, _ in self.calls if name == method)
