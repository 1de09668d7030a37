"""An IMAP mailbox behind the MailSource port, on the library IMAPClient."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.imap_changes import ChangesReader
from pipeline.adapters.imap_client import ImapClient
from pipeline.adapters.imap_connections import ImapConnections, ImapServer, OnCall
from pipeline.adapters.imap_credentials import ImapLogin
from pipeline.adapters.imap_folders import snapshot
from pipeline.adapters.imap_idle import NewsWaiter
from pipeline.adapters.imap_listing import list_page
from pipeline.adapters.imap_reading import MessageReader
from pipeline.core.imap_names import Folder
from pipeline.core.imap_state import mailbox_state, progress
from pipeline.ports import ALL, Changes, Clock, Fetched, Label, Listed, Missed, Page, Profile, Span, Watch
from pipeline.runtime.errors import CursorExpired, Gone, Permanent, UserError

MAX_MESSAGE_BYTES = 150 * 1024 * 1024


class ImapSource:
    """The MailSource port over IMAP4rev1. Keep one per mailbox and process: it keeps up to four connections.

    A message's id is X-GM-MSGID or EMAILID (RFC 8474) where the server has them: they are kept when it moves, and a
    message in two folders is one id with both labels. Elsewhere the id is `folder/uidvalidity/uid`, and a move is a
    deletion and an addition. Folders that only show what lies elsewhere (\\All, \\Flagged, \\Important) are left out,
    unless `source["folders"]` names them. Nothing at the server is changed: folders are opened for reading.

    IMAP does not tell whose mailbox it is, so credentials of another account are not noticed here: the user name that
    logs in is the only proof. `source` holds host, port, security (`tls`, `starttls`, `none`), user and folders.
    """

    has_dates = False

    def __init__(
        self,
        address: str,
        source: Mapping[str, Any],
        login: ImapLogin,
        *,
        clock: Clock | None = None,
        on_call: OnCall | None = None,
        tls: ssl.SSLContext | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._address = address
        self._wanted = _wanted(source)
        self._most_bytes = _most_bytes(source)
        server = ImapServer.read(source, address)
        self._connections = ImapConnections(server, login, tls=tls, on_call=on_call, guard=guard)
        self._waiter = NewsWaiter(self._connections, clock or SystemClock())

    def profile(self) -> Profile:
        """Return the address given at creation, and a cursor that remembers what lies in every folder now."""
        state = self._connections.run("profile", lambda client: snapshot(client, self._folders(client)))
        return Profile(self._address, state.text(), state.messages)

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        """Return one page, INBOX first, each folder from its newest message down; the cursor never runs out.

        `span.after` narrows by the server's days, `span.before` does not. `label_id` is a folder, or SPAM, TRASH, SENT
        or DRAFT. With stable ids a message in two folders is listed twice, each time with that folder's labels.
        `PageExpired` when the folder was made anew at the server, or for a cursor that is none.
        """
        return self._connections.run(
            "list",
            lambda client: list_page(
                client, self._folders(client), cursor, span=span, limit=max(1, limit), label_id=label_id
            ),
        )

    def changes(self, cursor: str, page: str | None) -> Changes:
        """Return one page of changes, at most one folder's; `CursorExpired` when a folder was made anew at the server.

        Additions and deletions are exact on every server. Changed flags are, too, with CONDSTORE; without it those of
        the newest 500 messages of a folder are compared.
        """
        try:
            before = mailbox_state(cursor)
            now = None if page is None else progress(page)
        except ValueError as error:
            raise CursorExpired(f"{self._address}: {error}") from error

        def read(client: ImapClient) -> Changes:
            folders = {folder.name: folder for folder in self._folders(client)}
            return ChangesReader(client, folders, before).page(now, cursor)

        return self._connections.run("changes", read)

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        """Return the raw messages in order of the items; none is marked as seen by it."""
        return MessageReader(self._connections, self._folders, self._most_bytes).read(items) if items else []

    def labels(self) -> Sequence[Label]:
        """Return every folder that is read, and how many messages lie in it."""
        return self._connections.run("labels", lambda client: list(self._counted(client)))

    def watch(self, topic: str) -> Watch:  # noqa: ARG002 - the port's signature
        """Raise `Permanent`: IMAP announces nothing to a topic; `wait_for_news` waits on it."""
        raise Permanent("an IMAP server announces nothing to a topic")

    def wait_for_news(self, duration: timedelta) -> bool:
        """Wait until INBOX changes, up to `duration`; one wait at a time. `Permanent` where IDLE is not offered."""
        return self._waiter.wait(duration)

    def close(self) -> None:
        """Close every connection; a wait for news under way ends with `Transient`."""
        self._waiter.close()
        self._connections.close()

    def _folders(self, client: ImapClient) -> list[Folder]:
        return client.folders(self._wanted)

    def _counted(self, client: ImapClient) -> Iterator[Label]:
        for folder in self._folders(client):
            with suppress(Gone):
                messages = client.counters(folder.name).messages or 0
                yield Label(folder.words[0], folder.words[0], messages)


def _wanted(source: Mapping[str, Any]) -> Sequence[str] | None:
    folders = source.get("folders")
    if not folders:
        return None
    if not isinstance(folders, list | tuple) or not all(isinstance(name, str) and name for name in folders):
        raise UserError("the folders of an IMAP mailbox are a list of names")
    return tuple(folders)


def _most_bytes(source: Mapping[str, Any]) -> int:
    most = source.get("max_message_bytes", MAX_MESSAGE_BYTES)
    if not isinstance(most, int) or most < 1:
        raise UserError(f"max_message_bytes is a number of bytes, not {most!r}")
    return most
