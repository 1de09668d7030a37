"""What Gmail publishes about watched mailboxes: that something changed, never what."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from tests.gmail_server.clock import TimeSource

if TYPE_CHECKING:
    from tests.gmail_server.state import Mailbox

Publish = Callable[[str, bytes], object]


class Announcer:
    """Announces each change of a watched mailbox through `publish(topic, data)`, which must not block.

    At most one event a second per mailbox, by the server's clock; what comes sooner is dropped, as Gmail does, unless
    `is_limited` is off. `sent` and `dropped` count.
    """

    def __init__(self, clock: TimeSource) -> None:
        self.publish: Publish | None = None
        self.is_limited = True
        self.sent = 0
        self.dropped = 0
        self._clock = clock
        self._last_ms: dict[str, int] = {}

    def changed(self, mailbox: Mailbox) -> None:
        """Hear of a change; called with the mailbox locked."""
        now = self._clock.now_ms()
        if self.publish is None or mailbox.watched is None or mailbox.watched[1] <= now:
            return
        if self.is_limited and now - self._last_ms.get(mailbox.address, -1_000_000) < 1000:
            self.dropped += 1
            return
        self._last_ms[mailbox.address] = now
        self.sent += 1
        event = {"emailAddress": mailbox.address, "historyId": mailbox.history.current}
        self.publish(mailbox.watched[0], orjson.dumps(event))
