"""A small company whose one mailbox feeds every stage, so that a worker can be made to die anywhere on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import text

from models.enums import (
    Provider,
)
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.gmail_sending import _MOST_LOOKED_AT
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes, push, sync
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import conservation, factories
from tests.fcm_server import FcmServer
from tests.flow.imports import mailbox_letters
from tests.gmail_server.server import GmailServer
from tests.passing_time import let_time_pass
from tests.worker_process import until

ADDRESS = "support@example.org"
TOPIC = "projects/p/topics/t"
_ASSETS = 1_000

_PENDING = "SELECT count(*) FROM jobs WHERE state <> 'dead' AND stage <> 'history'"
_UNCALM = """
    SELECT count(*) FROM jobs
     WHERE is_suspect AND state <> 'dead'
        OR state = 'running' AND worker NOT IN (SELECT number FROM workers WHERE pid = :pid)
"""
_LISTED = """
    SELECT sync_cursor IS NOT NULL AND NOT EXISTS (SELECT FROM jobs WHERE stage = 'backfill')
      FROM mailboxes WHERE id = :id
"""
#: What is fed ends by itself, and that is told once to the trail and to the order's steps.
_ENDED_WRONGLY = """
    SELECT s.id AS session_id, count(e.id) AS times
      FROM work_sessions s LEFT JOIN work_session_events e ON e.session_id = s.id AND e.action = 'resumed'
     GROUP BY s.id, s.order_id, s.state
    HAVING count(e.id) <> 1 OR s.state <> 'running'
        OR (SELECT count(*) FROM work_order_events w WHERE w.order_id = s.order_id) <> 1
"""


class Office:
    """One Gmail mailbox that is listed, read, answered from and compared."""

    def __init__(
        self, server: GmailServer, db: Database, settings: Settings, folder: Path, *, pushes: FcmServer | None = None
    ) -> None:
        self._pushes = pushes
        self.db, self.settings, self.box = db, settings, server.mailbox(ADDRESS)
        self._arrived = 0
        content = server.authorized_user_file(folder / "credentials.json", ADDRESS).read_bytes()
        sealed = Secrets.of(settings).seal(CREDENTIALS, ADDRESS, content)
        source = {"endpoint": server.url}
        with db.begin() as connection:
            self.org_id = mailboxes.ensure_organization(connection, "Acme")
            self.mailbox_id: UUID = mailboxes.add_mailbox(
                connection, self.org_id, ADDRESS, Provider.GMAIL, source=source, credentials=sealed
            )
            factories.identity(connection, self.org_id, self.mailbox_id, ADDRESS)
            factories.team(connection, self.org_id, "Field", capacity=_ASSETS)
            values = {"org": self.org_id, "count": _ASSETS, "policy": Jsonb({"acknowledge": True})}
            connection.execute(text("UPDATE organizations SET policy = policy || :policy"), values)
            connection.execute(
                text("INSERT INTO assets (org_id, tag) SELECT :org, 'AUS_' || to_char(n, 'FM0000')"
                     "  FROM generate_series(1, :count) AS n"), values,
            )  # fmt: skip
            sync.request_backfill(connection, self.mailbox_id)

    def arrive(self, count: int = 2) -> None:
        """Let mails of different people arrive, each about an asset that nobody named before."""
        for _ in range(count):
            self._arrived += 1
            number = self._arrived
            raw = (
                f"From: ann@customer{number}.example\r\nTo: {ADDRESS}\r\nSubject: Case {number}\r\n"
                f"Message-ID: <m{number}@customer{number}.example>\r\nDelivered-To: {ADDRESS}\r\n\r\n"
                f"AUS_{number:04} is down, the connector is bent and it does not charge at all.\r\n"
            )
            self.box.add(raw.encode())
        with self.db.begin() as connection:
            push.announce(connection, {ADDRESS})

    def is_listed(self) -> bool:
        """Say whether the mailbox was listed once."""
        return bool(self.value(_LISTED, id=self.mailbox_id))

    def charged(self) -> int:
        """Return how many jobs a failure, a death or a suspicion was charged to."""
        return int(self.value("SELECT count(*) FROM jobs WHERE crashes > 0 OR failures > 0 OR is_suspect"))

    def running(self) -> int:
        """Return how many jobs somebody holds."""
        return int(self.value("SELECT count(*) FROM jobs WHERE state = 'running'"))

    def is_calm(self, pid: int) -> bool:
        """Say whether the worker with a process id has made good everything that deaths before it left."""
        return not self.value(_UNCALM, pid=pid)

    def finish(self) -> None:
        """Let time pass until nothing is left to do."""

        def is_over() -> bool:
            let_time_pass(self.db)
            return not self.unseen() and not self.value(_PENDING) and not self.unseen()

        until(is_over, "the end of all jobs")

    def unseen(self) -> set[str]:
        """Return the ids at the provider that have no occurrence."""
        known = {row.provider_id for row in factories.rows(self.db, "SELECT provider_id FROM occurrences")}
        return set(self.box.ids()) - known

    def violations(self) -> list[str]:
        """Return every broken invariant, and what left twice or not at all."""
        blobs = open_blob_store(str(self.settings.blob_url))
        served = {one: str(said["sha256"]) for one, said in self.box.state().items()}
        with self.db.begin() as connection:
            broken = conservation.check(connection, self.mailbox_id, served, served=served, blobs=blobs)
            parted = conservation.partition(connection)
        untold = self._untold()
        found = {group - untold for group in parted}
        mails = [self.box.get(one) for one in served]
        wanted = conservation.reference(((one.raw, one.thread_id) for one in mails if one.raw.strip()), [ADDRESS])
        return [
            *broken,
            *(f"other tickets: {sorted(group)}" for group in found ^ wanted),
            *(f"letter nobody expected: {kind}" for kind in mailbox_letters(self.db) if kind != ("parse", "permanent")),
            *self._sent_wrongly(untold),
            *self._never_pushed(),
            *(f"ended {row.times} times: pause of {row.session_id}" for row in factories.rows(self.db, _ENDED_WRONGLY)),
        ]

    def value(self, statement: str, **values: Any) -> Any:
        """Return the single value a statement answers."""
        return factories.value(self.db, statement, **values)

    def _untold(self) -> frozenset[str]:
        """Return the ids of answers that never left, where so much did that the product leaves it to a person.

        Time passes by leaps here, so that all mail of a long test was sent since.
        """
        taken = {one.rfc_id for one in self.box.messages.values() if "SENT" in one.labels}
        if len(taken) < _MOST_LOOKED_AT:
            return frozenset()
        unknown = factories.rows(self.db, "SELECT id || '@example.org' AS id FROM outbound WHERE state = 'unknown'")
        return frozenset(row.id for row in unknown if f"<{row.id}>" not in taken)

    def _sent_wrongly(self, untold: frozenset[str]) -> list[str]:
        """Return what differs between the answers we mean to have sent and those that the provider took."""
        statement = "SELECT '<' || b.id || '@example.org>' AS id, state FROM outbound b"
        meant = {row.id: row.state for row in factories.rows(self.db, statement)}
        taken = [one.rfc_id for one in self.box.messages.values() if "SENT" in one.labels]
        twice = {one for one in taken if taken.count(one) > 1}
        lost = {one for one, state in meant.items() if state == "sent"} - set(taken)
        tickets = self.value("SELECT count(*) FROM tickets WHERE status <> 'merged'")
        answers = self.value("SELECT count(*) FROM outbound WHERE kind = 'acknowledgement'")
        odd = [] if answers == tickets == self._arrived else [f"{answers} answers to {tickets} tickets"]
        return [
            *(f"left twice: {one}" for one in sorted(twice)),
            *(f"never left: {one}" for one in sorted(lost)),
            *(
                f"is {state}: {one}"
                for one, state in meant.items()
                if state != "sent" and one.strip("<>") not in untold
            ),
            *odd,
        ]

    def _never_pushed(self) -> list[str]:
        """Return the notifications that no device had, or that are not known to have been pushed."""
        rows = factories.rows(self.db, "SELECT CAST(id AS text) AS id, pushed_at FROM notifications")
        taken = [] if self._pushes is None else self._pushes.taken
        had = {one["data"]["notificationId"] for one in taken}
        return [f"never pushed: {row.id}" for row in rows if row.id not in had or row.pushed_at is None]
