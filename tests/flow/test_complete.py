"""Completeness through the whole engine and a real HTTP Gmail: gaps, comparisons, tombstones, labels, pauses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import structlog

from models.enums import Lane, ReconcileScope
from pipeline.adapters.gmail import GmailSource
from pipeline.commands import push, reconcile, sync
from pipeline.ports import Page
from pipeline.runtime import differences
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.settings import Settings
from tests.factories import rows, value
from tests.flow.mailbox_life import MailboxLife
from tests.gmail_server.server import GmailServer


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Drop log lines."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.configure(**before)


@pytest.fixture
def life(db: Database, settings: Settings, tmp_path: Path) -> Iterator[MailboxLife]:
    """Give the test a mailbox of twenty mails that was read to the end."""
    chance = Random(1)
    with GmailServer(seed=1) as server:
        found = MailboxLife(server, db, settings.model_copy(update={"quota_minute_seconds": 0.05}), tmp_path)
        for _ in range(20):
            found.arrive_with_an_old_date(chance)
        found.come_to_rest()
        assert found.differences() == []
        yield found
        found.close()


def compare(life: MailboxLife, scope: ReconcileScope) -> None:
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, scope, "ann")
    life.engine.run()


def lose(life: MailboxLife, count: int) -> list[str]:
    """Make the ledger forget ids, as if they had never been listed; return them."""
    lost = life.box.ids()[:count]
    for table in ("ticket_messages", "occurrence_recipients"):
        key = "message_id" if table == "ticket_messages" else "occurrence_id"
        column = "message_id" if table == "ticket_messages" else "id"
        rows(
            life.db,
            f"DELETE FROM {table} WHERE {key} IN (SELECT {column} FROM occurrences WHERE provider_id = ANY(:ids))",
            ids=lost,
        )
    rows(life.db, "DELETE FROM occurrences WHERE provider_id = ANY(:ids)", ids=lost)
    return lost


def calls(life: MailboxLife, method: str) -> int:
    found = life.server.stats()["calls"]
    assert isinstance(found, dict)
    return int(sum(found.get(method, {}).values()))


@pytest.mark.fault("F-41")
def test_a_forgotten_cursor_fetches_exactly_what_is_missing(life: MailboxLife):
    life.box.expire_history()
    chance = Random(2)
    for _ in range(3):
        life._add(chance, ("INBOX",), None)
    life.server.reset_stats()
    life.come_to_rest()
    assert life.differences() == []
    assert calls(life, "messages.get") == 3
    assert [tuple(row) for row in rows(life.db, "SELECT cause, state FROM gaps WHERE cause = 'history_expired'")] == [
        ("history_expired", "filled")
    ]
    assert value(life.db, "SELECT sum(missing) FROM reconciles") == 3


def test_what_a_forgotten_cursor_hid_of_deletions_and_labels_is_found(life: MailboxLife):
    deleted, starred, read = life.box.ids()[:3]
    life.box.delete(deleted)
    life.box.modify(starred, add=("STARRED",))
    life.box.modify(read, remove=tuple(life.box.get(read).labels))
    life.box.expire_history()
    life.come_to_rest()
    assert life.differences() == []
    assert value(life.db, "SELECT count(*) FROM occurrences WHERE deleted_at IS NOT NULL") == 1


def test_one_listing_without_an_id_is_no_proof_that_it_is_gone(life: MailboxLife):
    gone = life.box.ids()[0]
    life.box.delete(gone)
    rows(life.db, "UPDATE mailboxes SET sync_cursor = :cursor", cursor=str(life.box.history_id))
    compare(life, ReconcileScope.FULL)
    assert value(life.db, "SELECT absences FROM occurrences WHERE provider_id = :id", id=gone) == 1
    assert value(life.db, "SELECT count(*) FROM occurrences WHERE deleted_at IS NOT NULL") == 0
    assert value(life.db, "SELECT started_at > now() + interval '1 minute' FROM reconciles WHERE state = 'running'")
    life.come_to_rest()
    assert life.differences() == []


def test_an_audit_tells_what_is_missing_and_changes_nothing_until_the_gap_is_filled(life: MailboxLife):
    lost = lose(life, 4)
    compare(life, ReconcileScope.AUDIT)
    (gap,) = rows(life.db, "SELECT cause, state, missing, sample_ids FROM gaps")
    assert (gap.cause, gap.state, gap.missing, sorted(gap.sample_ids)) == ("audit", "open", 4, sorted(lost))
    assert value(life.db, "SELECT count(*) FROM occurrences") == 16
    life.server.reset_stats()
    with life.db.begin() as connection:
        assert reconcile.fill_gaps(connection, life.mailbox_id, "ann") == 1
        assert reconcile.fill_gaps(connection, life.mailbox_id, "ann") == 0
    life.engine.run()
    assert life.differences() == []
    assert calls(life, "messages.get") == 4
    filled = rows(life.db, "SELECT state, filled_by FROM gaps WHERE cause = 'audit'")
    assert [tuple(row) for row in filled] == [("filled", "ann")]


def test_mail_that_arrives_during_an_audit_is_not_missing(life: MailboxLife):
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.AUDIT, "ann")
    life.arrive(Random(3))
    life.come_to_rest()
    assert rows(life.db, "SELECT * FROM gaps") == []
    assert life.differences() == []


def test_the_nightly_comparison_finds_lost_ids_of_the_last_days_and_says_so(life: MailboxLife):
    chance = Random(4)
    life._add(chance, ("INBOX",), life._now() - timedelta(days=2))
    life.come_to_rest()
    newest = life.box.ids()[-1]
    rows(life.db, "DELETE FROM ticket_messages WHERE message_id IN (SELECT message_id FROM occurrences WHERE"
                  " provider_id = :id)", id=newest)  # fmt: skip
    rows(life.db, "DELETE FROM occurrence_recipients WHERE occurrence_id IN (SELECT id FROM occurrences WHERE"
                  " provider_id = :id)", id=newest)  # fmt: skip
    rows(life.db, "DELETE FROM occurrences WHERE provider_id = :id", id=newest)
    compare(life, ReconcileScope.NIGHTLY)
    assert value(life.db, "SELECT missing FROM reconciles WHERE scope = 'nightly'") == 1
    life.come_to_rest()
    assert life.differences() == []


def test_the_nightly_request_asks_for_every_id_once_a_week(life: MailboxLife):
    rows(life.db, "UPDATE mailboxes SET last_full_sync_at = now()")
    for expected in ("full", "nightly", "nightly"):
        with life.db.begin() as connection:
            assert reconcile.request_nightly(connection) == 1
        life.engine.run()
        assert value(life.db, "SELECT scope FROM reconciles ORDER BY started_at DESC LIMIT 1") == expected
    rows(life.db, "UPDATE reconciles SET started_at = started_at - interval '8 days'")
    with life.db.begin() as connection:
        reconcile.request_nightly(connection)
    assert value(life.db, "SELECT scope FROM reconciles ORDER BY started_at DESC LIMIT 1") == "full"


def test_asking_while_a_comparison_runs_joins_it(life: MailboxLife):
    with life.db.begin() as connection:
        first = reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.NIGHTLY, "ann")
        assert reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.FULL, "bob") == first
    assert value(life.db, "SELECT scope FROM reconciles") == "full"


def test_a_backfill_asked_for_while_paused_is_kept_and_done_when_the_pause_ends(life: MailboxLife):
    lose(life, 5)
    with life.db.begin() as connection:
        sync.pause(connection, life.mailbox_id, timedelta(minutes=30), "migration", "ann")
        sync.request_backfill(connection, life.mailbox_id)
    life.engine.run()
    assert value(life.db, "SELECT count(*) FROM occurrences") == 15
    assert tuple(rows(life.db, "SELECT state, paused_by, state_reason FROM mailboxes")[0]) == (
        "paused", "ann", "migration",
    )  # fmt: skip
    life.engine.pass_time()
    life.engine.run()
    assert life.differences() == []


@pytest.mark.fault("F-48")
def test_a_suspended_mailbox_is_asked_once_an_hour_and_goes_on_by_itself(life: MailboxLife):
    fault = life.server.faults.add("suspended_400")
    life.arrive(Random(5))
    life.poll(Random(5))
    assert value(life.db, "SELECT state FROM mailboxes") == "suspended"
    for hour in range(3):
        struck = life.server.faults.hits(fault)
        life.engine.pass_time()
        life.engine.run()
        assert life.server.faults.hits(fault) == struck + 1, f"hour {hour}"
        assert value(life.db, "SELECT state FROM mailboxes") == "suspended"
    life.come_to_rest()
    assert value(life.db, "SELECT state FROM mailboxes") == "active"
    assert life.differences() == []


def test_repeated_failures_pause_a_mailbox_and_a_probe_resumes_it(life: MailboxLife):
    life.server.faults.add("error_503")
    life.arrive(Random(6))
    for _ in range(12):
        life.poll(Random(6))
        rows(life.db, "UPDATE jobs SET run_at = now() WHERE state = 'waiting'")
        life.engine.run(most=4)
        if value(life.db, "SELECT state FROM mailboxes") == "paused":
            break
    (row,) = rows(life.db, "SELECT state, paused_by, trips, state_reason FROM mailboxes")
    assert (row.state, row.paused_by, row.trips) == ("paused", "breaker", 1)
    assert "503" in row.state_reason
    for trips in (2, 3):
        life.engine.pass_time()
        life.engine.run()
        (row,) = rows(life.db, "SELECT state, trips, paused_until - now() AS rest FROM mailboxes")
        assert (row.state, row.trips) == ("paused", trips)
        assert row.rest > timedelta(minutes=trips - 1)
    life.come_to_rest()
    assert value(life.db, "SELECT state FROM mailboxes") == "active"
    assert life.differences() == []
    assert value(life.db, "SELECT count(*) FROM dead_letters") == 0


@pytest.mark.fault("F-47")
def test_the_wrong_account_at_a_new_consent_reads_nothing_into_the_mailbox(life: MailboxLife, tmp_path: Path):
    other = life.server.mailbox("other@example.org")
    other.add(b"From: x@example.com\r\nSubject: not ours\r\n\r\nx\r\n")
    life.connect_as("other@example.org", tmp_path)
    life.arrive(Random(7))
    life.poll(Random(7))
    life.engine.run()
    (row,) = rows(life.db, "SELECT state, state_reason FROM mailboxes")
    assert row.state == "auth_required"
    assert "other@example.org" in row.state_reason
    assert value(life.db, "SELECT count(*) FROM occurrences") == 20
    life.connect_as("support@example.org", tmp_path)
    life.come_to_rest()
    assert life.differences() == []


def test_reading_how_a_mailbox_stands_moves_no_cursor(life: MailboxLife):
    life.arrive(Random(8))
    before = value(life.db, "SELECT sync_cursor FROM mailboxes")
    with life.db.begin() as connection:
        source = life.engine.ports.sources.open(life.reference(connection))
    source.profile()
    source.labels()
    source.list_page(None, limit=10)
    assert value(life.db, "SELECT sync_cursor FROM mailboxes") == before
    life.come_to_rest()
    assert life.differences() == []


def test_mail_between_the_first_page_and_a_cursor_set_meanwhile_is_not_lost(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """An announcement starts history while the first page of the first listing is on its way."""
    with GmailServer(seed=2) as server:
        life = MailboxLife(server, db, settings, tmp_path)
        life.arrive(Random(1))
        listed, raced = GmailSource.list_page, []

        def race(source: GmailSource, *arguments: object, **options: object) -> Page:
            page = listed(source, *arguments, **options)  # type: ignore[arg-type]
            if not raced:
                raced.append(True)
                life.arrive(Random(2))
                with db.begin() as connection:
                    sync.request_history(connection, life.mailbox_id)
                life.engine._runner.answer(Line("history", Lane.LIVE))
            return page

        monkeypatch.setattr(GmailSource, "list_page", race)
        life.list_all(Random(0))
        life.engine.run()
        assert raced
        assert value(db, "SELECT count(*) FROM occurrences") == 2
        life.close()


def test_a_label_that_is_deleted_during_a_comparison_does_not_stop_it(life: MailboxLife):
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.FULL, "ann")
    life.engine.run(most=2)
    assert value(life.db, "SELECT state FROM reconciles") == "running"
    life.box.label_names.clear()
    life.come_to_rest()
    assert value(life.db, "SELECT state FROM reconciles") == "done"
    assert life.differences() == []


@pytest.mark.fault("F-41")
def test_mail_is_read_though_the_provider_forgets_the_cursor_at_every_reading(life: MailboxLife):
    life.server.faults.add("history_expired")
    for _ in range(12):
        life.arrive_many(Random(9))
        life.poll(Random(9))
        life.engine.run()
        life.engine.pass_time()
    life.engine.run()
    assert value(life.db, "SELECT count(*) FROM occurrences") >= len(life.bytes) - 8
    life.come_to_rest()
    assert life.differences() == []


def test_a_provider_that_lists_nothing_for_a_while_buries_nothing(life: MailboxLife):
    order, life.box.order = life.box.order, []
    for _ in range(3):
        compare(life, ReconcileScope.FULL)
        life.engine.pass_time()
        life.engine.run()
    assert value(life.db, "SELECT bool_and(is_doubted) FROM reconciles")
    assert value(life.db, "SELECT count(*) FROM occurrences WHERE vanished_at IS NOT NULL") == 0
    life.box.order = order
    life.come_to_rest()
    assert life.differences() == []


def test_a_mailbox_listed_since_a_date_is_compared_back_to_there_only(db: Database, settings: Settings, tmp_path: Path):
    with GmailServer(seed=3) as server:
        life = MailboxLife(server, db, settings, tmp_path)
        for days in (1, 5, 40, 400):
            life._add(Random(days), ("INBOX",), life._now() - timedelta(days=days))
        with db.begin() as connection:
            sync.request_backfill(connection, life.mailbox_id, life._now() - timedelta(days=10))
        life.engine.run()
        assert value(db, "SELECT count(*) FROM occurrences") == 2
        with db.begin() as connection:
            reconcile.request_nightly(connection)
        life.box.expire_history()
        life.come_to_rest()
        assert value(db, "SELECT count(*) FROM occurrences") == 2
        assert value(db, "SELECT coalesce(sum(missing), 0) FROM reconciles") == 0
        life.close()


def test_an_audit_is_refused_while_a_comparison_corrects_and_left_alone_by_the_night(life: MailboxLife):
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.FULL, "ann")
        with pytest.raises(UserError, match="when it is finished"):
            reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.AUDIT, "bob")
    life.engine.run()
    with life.db.begin() as connection:
        reconcile.request_reconcile(connection, life.mailbox_id, ReconcileScope.AUDIT, "bob")
        assert reconcile.request_nightly(connection) == 0


def test_a_mailbox_that_was_never_listed_is_not_listed_because_its_pause_ends_or_it_is_announced(
    db: Database, settings: Settings, tmp_path: Path
):
    with GmailServer(seed=4) as server:
        life = MailboxLife(server, db, settings, tmp_path)
        life.arrive(Random(1))
        rows(db, "UPDATE mailboxes SET state = 'paused', paused_by = 'breaker', paused_until = now()")
        life.engine.run()
        with db.begin() as connection:
            push.announce(connection, ["support@example.org"])
        life.engine.run()
        assert value(db, "SELECT state FROM mailboxes") == "active"
        assert value(db, "SELECT count(*) FROM backfills") == 0
        life.close()


def test_many_missing_ids_are_recorded_in_pieces(life: MailboxLife, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(differences, "_PIECE", 3)
    lost = lose(life, 8)
    compare(life, ReconcileScope.FULL)
    assert value(life.db, "SELECT missing FROM reconciles") == len(lost)
    assert [tuple(row) for row in rows(life.db, "SELECT cause, state FROM gaps")] == [("reconcile", "filled")]
    life.come_to_rest()
    assert life.differences() == []
