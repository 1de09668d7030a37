"""Waiting for news of an IMAP mailbox: IDLE (RFC 2177) on INBOX, over a connection of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_connections import ImapConnections
from pipeline.adapters.imap_pool import end
from pipeline.core.imap_names import INBOX
from pipeline.ports import Clock
from pipeline.runtime.errors import Permanent, Transient

#: Servers may log out who idles for 30 minutes.
LONGEST_IDLE = timedelta(minutes=25)

_NEWS = frozenset({b"EXISTS", b"EXPUNGE", b"FETCH", b"VANISHED"})


class NewsWaiter:
    """Waits on INBOX; the folder stays open between waits, so that news of the time between are told at once."""

    def __init__(self, connections: ImapConnections, clock: Clock) -> None:
        self._connections, self._clock = connections, clock
        self._waiting = threading.Lock()
        self._client: ImapClient | None = None
        self._closings = 0

    def wait(self, duration: timedelta) -> bool:
        """Return True as soon as something changed, False after `duration`. Raises errors of the tree.

        What changed before the first wait is no news.
        """
        with self._waiting:
            until = self._clock.monotonic() + duration.total_seconds()
            return self._connections.told("idle", lambda: self._wait(until))

    def close(self) -> None:
        """End the connection; a wait under way ends with an error."""
        self._closings += 1
        client = self._client
        if client is None:
            return
        if self._waiting.acquire(blocking=False):
            self._client = None
            self._waiting.release()
            end(client)
            return
        # The waiting thread notices, and ends the connection that is its own.
        with suppress(OSError):
            client.socket().shutdown(socket.SHUT_RDWR)

    def _wait(self, until: float) -> bool:
        closings = self._closings
        client = self._client or self._start()
        try:
            self._check_open(closings)
            has_news = _are_news(client.noop()[1])
            while not has_news and (left := until - self._clock.monotonic()) > 0:
                has_news = self._idle(client, min(left, LONGEST_IDLE.total_seconds()))
        except BaseException:
            self._client = None
            end(client)
            raise
        return has_news

    def _check_open(self, closings: int) -> None:
        """Notice a `close` that came while the connection was made."""
        if self._closings != closings:
            raise Transient("IMAP idle: the mailbox was closed")

    def _start(self) -> ImapClient:
        client = self._connections.open()
        if not client.has_capability("IDLE"):
            end(client)
            raise Permanent("this IMAP server cannot announce news (no IDLE)")
        client.open(INBOX)
        self._client = client
        return client

    def _idle(self, client: ImapClient, seconds: float) -> bool:
        client.idle()
        said = client.idle_check(timeout=seconds)
        # Also where nothing was said: a lost connection shows here, not in the wait.
        return _are_news([*said, *client.idle_done()[1]])


def _are_news(answers: Iterable[Any]) -> bool:
    """Tell whether any answer speaks of messages; a server also says that it is still there."""
    return any(
        isinstance(part, bytes) and part.upper() in _NEWS
        for answer in answers
        if isinstance(answer, tuple)
        for part in answer
    )
