"""Connections that are lent to one caller at a time: few at once, and hardly any while nobody calls."""

from __future__ import annotations

import imaplib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_errors import Lost
from pipeline.runtime.errors import CursorExpired, Gone, PageExpired, Reach, Throttled

#: Gmail allows 15 for all programs of an account together, other servers 10.
MOST_CONNECTIONS = 4
#: How long a caller waits for a connection before it is told to come back.
WAIT_SECONDS = 60.0

_WHOLE_ANSWERS = (Gone, CursorExpired, PageExpired)


class ImapPool:
    """Lends connections of one account; may be shared by threads.

    Servers count connections, those of other processes too: while no call is under way only one is kept. Where the
    server refuses another one, callers share those that are open.
    """

    def __init__(self, connect: Callable[[], ImapClient]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._idle: list[ImapClient] = []
        self._lent: set[ImapClient] = set()
        self._opening = 0
        self._closings = 0

    @contextmanager
    def lend(self) -> Iterator[ImapClient]:
        """Give the block a connection. `Throttled` when none is free in time; whatever opening one raises.

        A block that fails ends its connection, since half an answer may be left on it; but not when something is gone.
        """
        client, closings = self._borrow(), self._closings
        try:
            yield client
        except _WHOLE_ANSWERS:
            self._return(client, keep=closings == self._closings)
            raise
        except BaseException as error:
            # A server that ended one connection, or is silent there, has most likely ended those, too, that were idle.
            self._return(client, keep=False, others=not isinstance(error, Lost))
            raise
        self._return(client, keep=closings == self._closings)

    def close(self) -> None:
        """End what is idle now, and what is lent when it comes back."""
        with self._changed:
            self._closings += 1
            idle, self._idle = self._idle, []
        for client in idle:
            end(client)

    def _borrow(self) -> ImapClient:
        while True:
            client = self._free()
            if client is not None:
                return client
            try:
                return self._open()
            except Throttled as error:
                # Others of ours are open: one of them will do.
                if error.reach is not Reach.CALLS or not self._wait_for_return():
                    raise

    def _free(self) -> ImapClient | None:
        """Return an idle connection, or None when another may be opened, which is counted already."""
        with self._changed:
            if not self._changed.wait_for(self._has_room, WAIT_SECONDS):
                raise Throttled(f"all {MOST_CONNECTIONS} IMAP connections are busy", reach=Reach.CALLS)
            if self._idle:
                client = self._idle.pop()
                self._lent.add(client)
                return client
            self._opening += 1
            return None

    def _has_room(self) -> bool:
        return bool(self._idle) or len(self._lent) + self._opening < MOST_CONNECTIONS

    def _open(self) -> ImapClient:
        client = None
        try:
            client = self._connect()
        finally:
            with self._changed:
                self._opening -= 1
                if client is not None:
                    self._lent.add(client)
                self._changed.notify_all()
        return client

    def _wait_for_return(self) -> bool:
        """Wait until a connection is idle; False when there is none to wait for, or not in time."""
        with self._changed:
            if not self._lent and not self._idle:
                return False
            return self._changed.wait_for(lambda: bool(self._idle) or not self._lent, WAIT_SECONDS) and bool(self._idle)

    def _return(self, client: ImapClient, *, keep: bool, others: bool = True) -> None:
        with self._changed:
            self._lent.discard(client)
            kept = [*(self._idle if others else ()), *((client,) if keep else ())]
            if not self._lent and not self._opening:
                kept = kept[-1:]
            ended = [one for one in (*self._idle, client) if one not in kept]
            self._idle = kept
            self._changed.notify_all()
        for one in ended:
            end(one)


def end(client: ImapClient) -> None:
    """Close a connection without a word: it may be in any state, and waiting for a goodbye may take long."""
    with suppress(OSError, imaplib.IMAP4.error):
        client.shutdown()
