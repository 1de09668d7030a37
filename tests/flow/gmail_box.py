"""A mailbox of the Gmail server as the whole chain mirrors it: mail and changes on one side, rows on the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.enums import Provider
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes, sync
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import conservation
from tests.gmail_server.server import GmailServer
from tests.worker_process import until

ADDRESS = "support@example.org"
#: When the first mail of a mailbox arrived; a mail a minute from then on.
LONG_AGO = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)

_ROWS = text("""
    SELECT provider_id, state, labels, encode(raw_sha256, 'hex') AS sha256,
           deleted_at IS NOT NULL OR vanished_at IS NOT NULL AS is_deleted
      FROM occurrences WHERE mailbox_id = :mailbox
""")
_ENDED = {"routed", "gone", "ignored", "quarantined"}


class GmailBox:
    """One mailbox at the server, connected to the database under test."""

    def __init__(self, server: GmailServer, db: Database, settings: Settings, folder: Path) -> None:
        self.server, self.db = server, db
        self.box = server.mailbox(ADDRESS)
        self._ever: dict[str, tuple[bytes, str, str]] = {}
        assert settings.secret_key is not None
        secrets = Secrets.of(settings)
        content = server.authorized_user_file(folder / "credentials.json", ADDRESS).read_bytes()
        with db.begin() as connection:
            org_id = mailboxes.ensure_organization(connection, "Acme")
            self.mailbox_id: UUID = mailboxes.add_mailbox(
                connection, org_id, ADDRESS, Provider.GMAIL,
                source={"endpoint": server.url}, credentials=secrets.seal(CREDENTIALS, ADDRESS, content),
            )  # fmt: skip

    def arrive(self, count: int, chance: Random, *, at: datetime | None = None) -> list[str]:
        """Let mails arrive, a quarter of them replies to an earlier one; a minute apart from `at`, else now."""
        return [
            self._arrive_one(chance, None if at is None else at + timedelta(minutes=number)) for number in range(count)
        ]

    def change(self, count: int, chance: Random) -> None:
        """Make changes of every kind: mails arrive, are deleted, labelled, read, trashed and taken back."""
        for _ in range(count):
            message_id = chance.choice(self.box.ids())
            match chance.randrange(6):
                case 0 | 1:
                    self._arrive_one(chance, None)
                case 2:
                    self.box.delete(message_id)
                case 3:
                    self.box.modify(message_id, add=("STARRED",), remove=("UNREAD",))
                case 4:
                    self.box.trash(message_id)
                case _:
                    self.box.modify(message_id, remove=tuple(self.box.get(message_id).labels))

    def backfill(self) -> None:
        """Ask for a listing of the whole mailbox."""
        with self.db.begin() as connection:
            sync.request_backfill(connection, self.mailbox_id)

    def settle(self, seconds: float = 120) -> None:
        """Wait until the rows equal the server's mailbox; fails with the differences."""
        try:
            until(lambda: not self.differences(), "the mirror to equal the mailbox", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.differences()[:5]}") from None

    def differences(self) -> list[str]:
        """Return how the rows differ from the server's mailbox, id by id; what it deleted must be marked so."""
        wanted = self.box.state()
        rows = {row.provider_id: row for row in self._rows()}
        missing = [f"{one} is missing" for one in sorted(self._ever.keys() - rows.keys())]
        strange = [f"{one} was never there" for one in sorted(rows.keys() - self._ever.keys())]
        return [*missing, *strange, *(said for one, row in rows.items() for said in _differences(row, wanted.get(one)))]

    def violations(self) -> list[str]:
        """Return every broken invariant, and each difference to the tickets of the reference."""
        served = {one: sha256 for one, (_, _, sha256) in self._ever.items()}
        with self.db.begin() as connection:
            broken = conservation.check(connection, self.mailbox_id, self._ever, served=served)
            found = conservation.partition(connection)
        read = {row.provider_id for row in self._rows() if row.sha256 is not None}
        mails = ((raw, thread) for one, (raw, thread, _) in self._ever.items() if one in read)
        wanted = conservation.reference(mails, [ADDRESS])
        return [*broken, *(f"other tickets: {sorted(group)}" for group in found ^ wanted)]

    def value(self, query: str) -> Any:
        """Return the one value a query answers."""
        with self.db.begin() as connection:
            return connection.execute(text(query), {"mailbox": self.mailbox_id}).scalar_one()

    def pending(self) -> int:
        """Return how many jobs are not finished, history apart: the schedule asks for that again and again."""
        return int(self.value("SELECT count(*) FROM jobs WHERE state <> 'dead' AND stage <> 'history'"))

    def _arrive_one(self, chance: Random, at: datetime | None) -> str:
        number = len(self._ever)
        parent = ""
        if number and chance.random() < 0.25:
            parent = f"In-Reply-To: <m{chance.randrange(number)}@example.com>\r\n"
        raw = (
            f"From: ann{number % 50}@example.com\r\nTo: {ADDRESS}\r\nSubject: Case {number}\r\n"
            f"Message-ID: <m{number}@example.com>\r\n{parent}Delivered-To: {ADDRESS}\r\n\r\nNumber {number}.\r\n"
        ).encode()
        message_id = self.box.add(raw, at=at)
        message = self.box.get(message_id)
        self._ever[message_id] = raw, message.thread_id, message.sha256
        return message_id

    def _rows(self) -> list[Any]:
        with self.db.begin() as connection:
            return list(connection.execute(_ROWS, {"mailbox": self.mailbox_id}))


def _differences(row: Any, wanted: dict[str, object] | None) -> list[str]:
    if row.state not in _ENDED:
        return [f"{row.provider_id} is still {row.state}"]
    if wanted is None:
        is_marked = row.is_deleted or row.state == "gone"
        return [] if is_marked else [f"{row.provider_id} was deleted and is not marked so"]
    if row.state != "routed" or row.is_deleted:
        return [f"{row.provider_id} is {row.state}, deleted: {row.is_deleted}"]
    found = {"sha256": row.sha256, "labels": sorted(row.labels)}
    expected = {name: wanted[name] for name in found}
    return [] if found == expected else [f"{row.provider_id} is {found}, at the provider {expected}"]
