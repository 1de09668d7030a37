"""A small company whose one mailbox feeds every stage, so that a worker can be made to die anywhere on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from models.enums import BlobKind, Lane, NoticeKind, Provider, ReconcileScope, ReprocessKind
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import erasing, mailboxes, push, reconcile, reprocessing, sync
from pipeline.core.field_work import Window
from pipeline.core.notices import Words
from pipeline.runtime import blob_rows, clock_requests, field_rows, ledger, notices, visit_rows
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import conservation, factories
from tests.flow.imports import mailbox_letters
from tests.gmail_server.server import GmailServer
from tests.passing_time import let_time_pass
from tests.worker_process import until

ADDRESS = "support@example.org"
TOPIC = "projects/p/topics/t"
_ASSETS = 1_000
#: A number that no worker has: whatever it holds is lost.
_NOBODY = 999_999

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
#: One that is through, so that no stage has it at hand.
_TICKET = """
    SELECT t.id FROM tickets t
      JOIN ticket_messages l ON l.ticket_id = t.id JOIN outbound b ON b.message_id = l.message_id
     WHERE b.kind = 'acknowledgement' AND b.state = 'sent' ORDER BY t.id LIMIT 1
"""
_HOLD = """
    INSERT INTO schedule_holds (org_id, ticket_id, reason, starts_at, ends_at, from_state)
    VALUES (:org, :ticket, 'CUSTOMER_PENDING', now() - interval '2 hours', now() - interval '1 hour',
            'READY_TO_SCHEDULE') ON CONFLICT DO NOTHING
"""
_PENDING_TICKET = "UPDATE tickets SET dispatch_state = 'PENDING_CUSTOMER_CONFIRMATION' WHERE id = :ticket"


class Office:
    """One Gmail mailbox that is listed, read, answered from and compared; `feed` makes work for a failpoint."""

    def __init__(self, server: GmailServer, db: Database, settings: Settings, folder: Path) -> None:
        self.db, self.settings, self.box = db, settings, server.mailbox(ADDRESS)
        self._arrived = self._blank = 0
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

    def feed(self, point: str, mails: int = 2) -> None:
        """Make work that passes a failpoint of a worker."""
        name = point.rpartition(".")[0]
        for prefix, feed in self._feeds().items():
            if name.startswith(prefix):
                feed()
                return
        self.arrive(mails)

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
            found = conservation.partition(connection)
        mails = [self.box.get(one) for one in served]
        wanted = conservation.reference(((one.raw, one.thread_id) for one in mails if one.raw.strip()), [ADDRESS])
        return [
            *broken,
            *(f"other tickets: {sorted(group)}" for group in found ^ wanted),
            *(f"letter nobody expected: {kind}" for kind in mailbox_letters(self.db) if kind != ("parse", "permanent")),
            *self._sent_wrongly(),
        ]

    def value(self, statement: str, **values: Any) -> Any:
        """Return the single value a statement answers."""
        return factories.value(self.db, statement, **values)

    def _sent_wrongly(self) -> list[str]:
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
            *(f"is {state}: {one}" for one, state in meant.items() if state != "sent"),
            *odd,
        ]

    def _feeds(self) -> dict[str, Callable[[], None]]:
        return {
            "stage.backfill": self._list,
            "stage.reconcile": self._compare,
            "stage.reprocess": self._repeat,
            "stage.watch": self._watch,
            "stage.clocks": self._time_anew,
            "stage.lapse": self._let_a_hold_lapse,
            "stage.invite": self._move_a_visit,
            "stage.erase": self._erase_nobody,
            "stage.forget": self._mark_bytes,
            "stage.notify": self._invite,
            "runner.follow": self._fetch_again,
            "dlq.bury": self._blank_mail,
            "sweeper.reclaim": self._lose,
            "sweeper.promote": self._wait,
        }

    def _list(self) -> None:
        with self.db.begin() as connection:
            sync.request_backfill(connection, self.mailbox_id)

    def _compare(self) -> None:
        with self.db.begin() as connection:
            reconcile.request_reconcile(connection, self.mailbox_id, ReconcileScope.FULL, "ann")

    def _repeat(self) -> None:
        running = "SELECT id FROM reprocessings WHERE state IN ('comparing', 'applying')"
        with self.db.begin() as connection:
            for run_id in connection.execute(text(running)).scalars().all():
                reprocessing.cancel(connection, self.org_id, run_id)
            reprocessing.start(connection, self.org_id, None, ReprocessKind.PARSE, "ann")

    def _watch(self) -> None:
        with self.db.begin() as connection:
            connection.execute(text("UPDATE watches SET renew_at = now() - interval '1 second'"))
            push.request_watches(connection, TOPIC)

    def _time_anew(self) -> None:
        with self.db.begin() as connection:
            clock_requests.request(connection, self.org_id)

    def _let_a_hold_lapse(self) -> None:
        """Have a schedule wait that nobody confirmed in time."""
        with self.db.begin() as connection:
            ticket_id = self._scheduled(connection)
            if ticket_id is None:
                return
            values = {"org": self.org_id, "ticket": ticket_id}
            connection.execute(text(_HOLD), values)
            connection.execute(text(_PENDING_TICKET), values)
            open_hold = text("SELECT id FROM schedule_holds WHERE ticket_id = :ticket AND state = 'open'")
            key = str(connection.execute(open_hold, values).scalar_one())
            ledger.put(connection, [Emit("lapse", key, self.org_id, None, Lane.LIVE, 0, "lapse")])

    def _move_a_visit(self) -> None:
        """Have the customer told of another time."""
        with self.db.begin() as connection:
            ticket_id = self._scheduled(connection)
            if ticket_id is None:
                return
            ticket = field_rows.read(connection, ticket_id)
            before = visit_rows.current(connection, ticket_id)
            start = (before.window.starts_at if before else ticket.now) + timedelta(hours=1)
            visit = visit_rows.book(connection, ticket, Window(start, start + timedelta(hours=1)))
            ledger.put(connection, [visit_rows.invitation(visit)])

    def _scheduled(self, connection: Connection) -> UUID | None:
        """Return a ticket with field work; None, with mail on its way, while there is no ticket."""
        ticket_id: UUID | None = connection.execute(text(_TICKET)).scalar_one_or_none()
        if ticket_id is None:
            self.arrive(1)
            return None
        field_rows.save(connection, field_rows.read(connection, ticket_id), {})
        return ticket_id

    def _erase_nobody(self) -> None:
        """Forget an address that never wrote: what is here stays whole."""
        with self.db.begin() as connection:
            erasing.erase_address(
                connection, self.org_id, f"nobody{uuid4()}@nowhere.example", actor="ann", reason="asked"
            )

    def _mark_bytes(self) -> None:
        """Have bytes taken away that nothing needs."""
        with self.db.begin() as connection:
            blob_rows.note_blobs(connection, BlobKind.RAW, [(self.org_id, uuid4().bytes * 2, 1, 1)])
            connection.execute(text("UPDATE blobs SET erased_at = now() WHERE size = 1"))
            key = str(self.org_id)
            ledger.put(connection, [Emit("forget", key, self.org_id, None, Lane.REPAIR, 0, "forget")])

    def _invite(self) -> None:
        with self.db.begin() as connection:
            person = text("INSERT INTO people (email) VALUES (:email) RETURNING id")
            address = f"{uuid4()}@example.org"
            person_id = connection.execute(person, {"email": address}).scalar_one()
            notices.tell(
                connection, Secrets.of(self.settings), org_id=self.org_id, person_id=person_id,
                kind=NoticeKind.INVITATION, recipient=address, words=Words("Welcome", "come in"),
            )  # fmt: skip

    def _fetch_again(self) -> None:
        self._put("fetch", lane=Lane.BACKFILL)

    def _blank_mail(self) -> None:
        self._blank += 1
        self.box.add(b"\r\n" * (self._blank + 1))

    def _lose(self) -> None:
        """Let a worker that is gone hold a job."""
        with self.db.begin() as connection:
            ledger.put(connection, [self._again("index")])
            line = Line("index", Lane.REPAIR)
            ledger.claim(connection, line, batch=1, worker=_NOBODY, lease=timedelta(hours=1))

    def _wait(self) -> None:
        self._put("index", delay=timedelta(milliseconds=1))

    def _put(self, stage: str, **options: Any) -> None:
        with self.db.begin() as connection:
            ledger.put(connection, [self._again(stage, **options)])

    def _again(self, stage: str, lane: Lane = Lane.REPAIR, delay: timedelta = timedelta(0)) -> Emit:
        """Return a step that was done before and has nothing more to do."""
        table = {"fetch": "occurrences", "index": "messages"}[stage]
        key = str(self.value(f"SELECT min(id) FROM {table}"))
        return Emit(stage, key, self.org_id, self.mailbox_id, lane, 0, "again", delay=delay)
