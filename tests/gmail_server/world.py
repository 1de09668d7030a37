"""Everything one server holds, shared by its endpoints."""

from __future__ import annotations

import threading

from tests.gmail_server.announcing import Announcer
from tests.gmail_server.clock import TimeSource
from tests.gmail_server.faults import Faults
from tests.gmail_server.oauth import Tokens
from tests.gmail_server.paging import PageTokens
from tests.gmail_server.quota import Gate, Quota
from tests.gmail_server.state import Mailbox
from tests.gmail_server.stats import Stats


class World:
    """Mailboxes by address (lower case), tokens, faults, quotas, counts and the clock, under one lock."""

    def __init__(self, *, seed: int, speed: float, require_auth: bool) -> None:
        self.seed = seed
        self.require_auth = require_auth
        self.padded_base64 = True
        self.url = ""
        self.lock = threading.RLock()
        self.clock = TimeSource(speed)
        self.announcer = Announcer(self.clock)
        self.mailboxes: dict[str, Mailbox] = {}
        self.tokens = Tokens(self.mailboxes)
        self.page_tokens = PageTokens(self.clock)
        self.faults = Faults(seed)
        self.quota = Quota(self.clock)
        self.gate = Gate()
        self.stats = Stats()

    @property
    def token_uri(self) -> str:
        """Where tokens are given out."""
        return f"{self.url}/token"

    def mailbox(self, address: str) -> Mailbox:
        """The mailbox of an address, made when it is new."""
        key = address.lower()
        with self.lock:
            if key not in self.mailboxes:
                self.mailboxes[key] = Mailbox(key, self.clock, self.lock, self.seed)
                self.mailboxes[key].on_change = self.announcer.changed
            return self.mailboxes[key]

    def statistics(self) -> dict[str, object]:
        """The counts of `Stats` with peaks of concurrency and of units in one minute, by mailbox."""
        with self.lock:
            return self.stats.as_dict() | {
                "peak_concurrency": dict(self.gate.peak),
                "peak_units_per_minute": dict(self.quota.peak_user_minute),
            }

    def reset_statistics(self) -> None:
        """Begin counting again; quota windows and calls in flight stay as they are."""
        with self.lock:
            self.stats.reset()
            self.gate.peak.clear()
            self.quota.peak_user_minute.clear()
