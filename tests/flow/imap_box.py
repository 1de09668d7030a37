"""A mailbox of a real IMAP server as the whole chain mirrors it: mail and changes on one side, rows on the other."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import Any
from uuid import UUID

import orjson
from imapclient import IMAPClient
from sqlalchemy import text

from models.enums import Provider
from pipeline.adapters.wiring import CREDENTIALS, open_source
from pipeline.commands import mailboxes, sync
from pipeline.core.imap_names import place_of
from pipeline.runtime.db import Database
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import conservation
from tests.adapters.imap_box import truth
from tests.dovecot import HOST, PASSWORD, Dovecot
from tests.worker_process import until

ADDRESS = "support@example.org"

_ROWS = text("""
    SELECT provider_id, state, labels, encode(raw_sha256, 'hex') AS sha256, vanished_at IS NOT NULL AS is_gone
      FROM occurrences WHERE mailbox_id = :mailbox
""")
_BEGIN = text("UPDATE mailboxes SET sync_cursor = :cursor WHERE id = :mailbox")


class ImapBox:
    """One account at the server, connected to the database under test, and another program that changes it."""

    def __init__(self, server: Dovecot, db: Database, settings: Settings) -> None:
        self.db, self.client = db, server.client(ADDRESS)
        self._settings = settings
        self._number = 0
        source = {"host": HOST, "port": server.port, "security": "none"}
        content = orjson.dumps({"type": "imap_password", "password": PASSWORD})
        with db.begin() as connection:
            org_id = mailboxes.ensure_organization(connection, "Acme")
            self.mailbox_id: UUID = mailboxes.add_mailbox(
                connection, org_id, ADDRESS, Provider.IMAP,
                source=source, credentials=Secrets.of(settings).seal(CREDENTIALS, ADDRESS, content),
            )  # fmt: skip

    def arrive(self, count: int, folder: str = "INBOX") -> None:
        """Let mails arrive; every fourth is a reply to the one before."""
        self.client.multiappend(folder, [self._letter() for _ in range(count)])

    def flag(self, uids: list[int], *flags: str, folder: str = "INBOX") -> None:
        """Give messages these flags and no others."""
        with _Selected(self.client, folder):
            self.client.set_flags(uids, flags, silent=True)

    def delete(self, uids: list[int], folder: str = "INBOX") -> None:
        """Delete messages for good."""
        with _Selected(self.client, folder):
            self.client.delete_messages(uids, silent=True)
            self.client.uid_expunge(uids)

    def move(self, uids: list[int], source: str, target: str) -> None:
        """Move messages to another folder."""
        with _Selected(self.client, source):
            self.client.move(uids, target)

    def begin_here(self) -> None:
        """Follow the mailbox from now on: what lies in it already is no news."""
        with self.db.begin() as connection:
            mailbox = load_mailboxes(connection, [self.mailbox_id])[self.mailbox_id]
        with closing(open_source(mailbox.ref, self._settings, Secrets.of(self._settings))) as source:
            cursor = source.profile().cursor
        with self.db.begin() as connection:
            connection.execute(_BEGIN, {"mailbox": self.mailbox_id, "cursor": cursor})

    def backfill(self) -> None:
        """Ask for a listing of the whole mailbox."""
        with self.db.begin() as connection:
            sync.request_backfill(connection, self.mailbox_id)

    def settle(self) -> None:
        """Wait until the rows equal the server's mailbox; fails with the differences."""
        try:
            until(lambda: not self.differences(), "the mirror to equal the mailbox")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.differences()[:5]}") from None

    def differences(self) -> list[str]:
        """Return how the rows differ from the server's mailbox, id by id; what vanished must be marked so."""
        wanted = truth(self.client)
        rows = {row.provider_id: row for row in self._rows()}
        missing = [f"{one} is missing" for one in sorted(wanted.keys() - rows.keys())]
        return [*missing, *(said for one, row in rows.items() for said in _differences(row, wanted.get(one)))]

    def bytes_differ(self) -> list[str]:
        """Return the ids whose stored bytes are not those that the server has."""
        return [
            row.provider_id for row in self._rows() if not row.is_gone and row.sha256 != self._sha256(row.provider_id)
        ]

    def violations(self) -> list[str]:
        """Return every broken invariant."""
        with self.db.begin() as connection:
            return conservation.check(connection, self.mailbox_id, [row.provider_id for row in self._rows()])

    def value(self, query: str) -> Any:
        """Return the one value a query answers."""
        with self.db.begin() as connection:
            return connection.execute(text(query), {"mailbox": self.mailbox_id}).scalar_one()

    def close(self) -> None:
        """Log out."""
        self.client.logout()

    def _letter(self) -> bytes:
        number, self._number = self._number, self._number + 1
        parent = f"In-Reply-To: <m{number - 1}@example.com>\r\n" if number % 4 == 3 else ""
        return (
            f"From: ann{number % 9}@example.com\r\nTo: {ADDRESS}\r\nSubject: Case {number}\r\n"
            f"Message-ID: <m{number}@example.com>\r\n{parent}Delivered-To: {ADDRESS}\r\n\r\nNumber {number}.\r\n"
        ).encode()

    def _sha256(self, provider_id: str) -> str:
        place = place_of(provider_id)
        with _Selected(self.client, place.folder):
            return hashlib.sha256(self.client.fetch([place.uid], ["BODY.PEEK[]"])[place.uid][b"BODY[]"]).hexdigest()

    def _rows(self) -> list[Any]:
        with self.db.begin() as connection:
            return list(connection.execute(_ROWS, {"mailbox": self.mailbox_id}))


class _Selected:
    """A folder that is open for a block."""

    def __init__(self, client: IMAPClient, folder: str) -> None:
        self._client, self._folder = client, folder

    def __enter__(self) -> None:
        self._client.select_folder(self._folder)

    def __exit__(self, *_: object) -> None:
        self._client.unselect_folder()


def _differences(row: Any, wanted: tuple[str, ...] | None) -> list[str]:
    if wanted is None:
        return [] if row.is_gone or row.state == "gone" else [f"{row.provider_id} vanished and is not marked so"]
    if row.state != "routed" or row.is_gone:
        return [f"{row.provider_id} is {row.state}, gone: {row.is_gone}"]
    labels = sorted(row.labels)
    return [] if labels == sorted(wanted) else [f"{row.provider_id} has {labels}, at the provider {sorted(wanted)}"]
