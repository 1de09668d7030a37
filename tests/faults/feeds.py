"""What makes work for each failpoint of a worker, in the company of the fault tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from models.enums import (
    BlobKind,
    Lane,
    NoticeKind,
    NotificationKind,
    Platform,
    ReconcileScope,
    ReprocessKind,
    TruthSource,
)
from pipeline.commands import erasing, push, reconcile, reprocessing, sync
from pipeline.core import levels
from pipeline.core.field_work import Window
from pipeline.core.notices import Words
from pipeline.runtime import (
    blob_rows,
    case_truths,
    clock_requests,
    device_rows,
    field_rows,
    ledger,
    level_rows,
    notices,
    notifying,
    order_rows,
    retriaging,
    visit_rows,
)
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.faults.office import TOPIC, Office

#: A number that no worker has: whatever it holds is lost.
_NOBODY = 999_999
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

_PERSON = "INSERT INTO people (email) VALUES (:name || '@example.org') RETURNING id"
_ITEM = """
    INSERT INTO inventory_items (org_id, serial_number) VALUES (:org, upper(left(:name, 32))) RETURNING id
"""
_SESSION = """
    INSERT INTO work_sessions (org_id, order_id, technician_id, state, started_at)
    VALUES (:org, :order, :person, 'paused', now() - interval '3 days') RETURNING id
"""
_PAUSED = """
    INSERT INTO work_session_events (org_id, session_id, order_id, technician_id, action, event_at, actor_id)
    VALUES (:org, :session, :order, :person, 'started', now() - interval '3 days', 'nobody'),
           (:org, :session, :order, :person, 'paused', now() - interval '2 days', 'nobody')
"""


class Feeds:
    """Makes work that passes a failpoint of a worker."""

    def __init__(self, office: Office) -> None:
        self._office, self._blank = office, 0

    def feed(self, point: str, mails: int = 2) -> None:
        """Make work that passes a failpoint; mails, where nothing more special does it."""
        name = point.rpartition(".")[0]
        for prefix, feed in self._feeds().items():
            if name.startswith(prefix):
                feed()
                return
        self._office.arrive(mails)

    def _feeds(self) -> dict[str, Callable[[], None]]:
        return {
            "stage.backfill": self._list,
            "stage.reconcile": self._compare,
            "stage.reprocess": self._repeat,
            "stage.watch": self._watch,
            "stage.clocks": self._time_anew,
            "stage.retriage": self._judge_cases_anew,
            "stage.settle": self._find_something_out,
            "stage.lapse": self._let_a_hold_lapse,
            "stage.invite": self._move_a_visit,
            "stage.erase": self._erase_nobody,
            "stage.forget": self._mark_bytes,
            "stage.notify": self._invite,
            "stage.judge": self._judge_a_week,
            "stage.resume": self._let_a_pause_run_out,
            "stage.push": self._tell_of_work,
            "runner.follow": self._fetch_again,
            "dlq.bury": self._blank_mail,
            "sweeper.reclaim": self._lose,
            "sweeper.promote": self._wait,
        }

    def _list(self) -> None:
        with self._office.db.begin() as connection:
            sync.request_backfill(connection, self._office.mailbox_id)

    def _compare(self) -> None:
        with self._office.db.begin() as connection:
            reconcile.request_reconcile(connection, self._office.mailbox_id, ReconcileScope.FULL, "ann")

    def _repeat(self) -> None:
        running = "SELECT id FROM reprocessings WHERE state IN ('comparing', 'applying')"
        with self._office.db.begin() as connection:
            for run_id in connection.execute(text(running)).scalars().all():
                reprocessing.cancel(connection, self._office.org_id, run_id)
            reprocessing.start(connection, self._office.org_id, None, ReprocessKind.PARSE, "ann")

    def _watch(self) -> None:
        with self._office.db.begin() as connection:
            connection.execute(text("UPDATE watches SET renew_at = now() - interval '1 second'"))
            push.request_watches(connection, TOPIC)

    def _time_anew(self) -> None:
        with self._office.db.begin() as connection:
            clock_requests.request(connection, self._office.org_id)

    def _judge_cases_anew(self) -> None:
        with self._office.db.begin() as connection:
            ledger.put(connection, retriaging.request(self._office.org_id))

    def _find_something_out(self) -> None:
        """Have somebody find that a case of an asset of its own was none."""
        with self._office.db.begin() as connection:
            asset_id = factories.asset(connection, self._office.org_id, f"A-{uuid4()}")
            case_id = factories.case(connection, self._office.org_id, asset_id)
            jobs = case_truths.tell(
                connection, case_id, TruthSource.PERSON, "feed", is_real=False, order_id=None, actor_id="ann"
            )
            ledger.put(connection, jobs)

    def _let_a_hold_lapse(self) -> None:
        """Have a schedule wait that nobody confirmed in time."""
        with self._office.db.begin() as connection:
            ticket_id = self._scheduled(connection)
            if ticket_id is None:
                return
            values = {"org": self._office.org_id, "ticket": ticket_id}
            connection.execute(text(_HOLD), values)
            connection.execute(text(_PENDING_TICKET), values)
            open_hold = text("SELECT id FROM schedule_holds WHERE ticket_id = :ticket AND state = 'open'")
            key = str(connection.execute(open_hold, values).scalar_one())
            ledger.put(connection, [Emit("lapse", key, self._office.org_id, None, Lane.LIVE, 0, "lapse")])

    def _move_a_visit(self) -> None:
        """Have the customer told of another time."""
        with self._office.db.begin() as connection:
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
            self._office.arrive(1)
            return None
        field_rows.save(connection, field_rows.read(connection, ticket_id), {})
        return ticket_id

    def _erase_nobody(self) -> None:
        """Forget an address that never wrote: what is here stays whole."""
        with self._office.db.begin() as connection:
            erasing.erase_address(
                connection, self._office.org_id, f"nobody{uuid4()}@nowhere.example", actor="ann", reason="asked"
            )

    def _mark_bytes(self) -> None:
        """Have bytes taken away that nothing needs."""
        with self._office.db.begin() as connection:
            blob_rows.note_blobs(connection, BlobKind.RAW, [(self._office.org_id, uuid4().bytes * 2, 1, 1)])
            connection.execute(text("UPDATE blobs SET erased_at = now() WHERE size = 1"))
            org_id = self._office.org_id
            ledger.put(connection, [Emit("forget", str(org_id), org_id, None, Lane.REPAIR, 0, "forget")])
            # Who looked before at marks that were not ripe waits for half a minute.
            ledger.hasten_stage(connection, "forget", [org_id])

    def _judge_a_week(self) -> None:
        """Have a week judged in which nobody worked."""
        with self._office.db.begin() as connection:
            now = connection.execute(text("SELECT now()")).scalar_one()
            key = level_rows.job_key(self._office.org_id, levels.last_week(now, ZoneInfo("UTC")))
            ledger.put(connection, [Emit("judge", key, self._office.org_id, None, Lane.REPAIR, 0, "judge")])

    def _let_a_pause_run_out(self) -> None:
        """Have somebody pause whose budget ran out long ago."""
        with self._office.db.begin() as connection:
            values = {"org": self._office.org_id, "name": uuid4().hex}
            person_id, item_id = (connection.execute(text(made), values).scalar_one() for made in (_PERSON, _ITEM))
            order = order_rows.make(
                connection,
                {"org_id": self._office.org_id, "policy": "workshop", "item_id": item_id, "state": "in_progress",
                 "assigned_to_id": person_id, "attempt": 1},
            )  # fmt: skip
            values = {"org": self._office.org_id, "order": order.order_id, "person": person_id}
            session_id = connection.execute(text(_SESSION), values).scalar_one()
            connection.execute(text(_PAUSED), {**values, "session": session_id})
            emit = Emit("resume", str(session_id), self._office.org_id, None, Lane.LIVE, 0, "resume")
            ledger.put(connection, [emit])

    def _invite(self) -> None:
        with self._office.db.begin() as connection:
            person = text("INSERT INTO people (email) VALUES (:email) RETURNING id")
            address = f"{uuid4()}@example.org"
            person_id = connection.execute(person, {"email": address}).scalar_one()
            notices.tell(
                connection, Secrets.of(self._office.settings), org_id=self._office.org_id, person_id=person_id,
                kind=NoticeKind.INVITATION, recipient=address, words=Words("Welcome", "come in"),
            )  # fmt: skip

    def _tell_of_work(self) -> None:
        """Have somebody with a device told of a work order."""
        with self._office.db.begin() as connection:
            person = text("INSERT INTO people (email) VALUES (:email) RETURNING id")
            person_id = connection.execute(person, {"email": f"{uuid4()}@example.org"}).scalar_one()
            device_rows.register(
                connection, Secrets.of(self._office.settings), org_id=self._office.org_id, person_id=person_id,
                session_id=None, platform=Platform.ANDROID, token=f"phone-{person_id}",
            )  # fmt: skip
            now = connection.execute(text("SELECT now()")).scalar_one()
            order = order_rows.make(connection, {"org_id": self._office.org_id, "title": "It squeals", "due_at": now})
            pushes = notifying.tell(connection, order, NotificationKind.ASSIGNED, [person_id], f"one:{order.order_id}")
            ledger.put(connection, pushes)

    def _fetch_again(self) -> None:
        self._put("fetch", lane=Lane.BACKFILL)

    def _blank_mail(self) -> None:
        self._blank += 1
        self._office.box.add(b"\r\n" * (self._blank + 1))

    def _lose(self) -> None:
        """Let a worker that is gone hold a job."""
        with self._office.db.begin() as connection:
            ledger.put(connection, [self._again("index")])
            line = Line("index", Lane.REPAIR)
            ledger.claim(connection, line, batch=1, worker=_NOBODY, lease=timedelta(hours=1))

    def _wait(self) -> None:
        self._put("index", delay=timedelta(milliseconds=1))

    def _put(self, stage: str, **options: Any) -> None:
        with self._office.db.begin() as connection:
            ledger.put(connection, [self._again(stage, **options)])

    def _again(self, stage: str, lane: Lane = Lane.REPAIR, delay: timedelta = timedelta(0)) -> Emit:
        """Return a step that was done before and has nothing more to do."""
        table = {"fetch": "occurrences", "index": "messages"}[stage]
        key = str(self._office.value(f"SELECT min(id) FROM {table}"))
        return Emit(stage, key, self._office.org_id, self._office.mailbox_id, lane, 0, "again", delay=delay)
