"""What commands tell about a database: status, export, audit, summary, doctor."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from models import row_security
from models.enums import Lane, OccurrenceState
from models.queries import progress, queue, summary, sync
from pipeline.commands import sync as commands
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settings import Settings
from tests.adapters.mail import letter, write_mbox
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command


def test_an_occurrence_on_its_way_without_a_job_is_unaccounted_for(db: Database) -> None:
    with db.begin() as connection:
        archive = Archive(connection)
        archive.occurrence("done", "gone")
        archive.occurrence("lost")
        going = archive.occurrence("going")
        wrong = archive.occurrence("wrong", "fetched")
        for key in (going, wrong):
            emit = Emit("fetch", str(key), archive.org_id, archive.mailbox_id, Lane.BACKFILL, 0, "trace")
            ledger.put(connection, [emit])
        found = summary.summarise(connection, archive.mailbox_id)
    assert found.stranded == 2
    assert found.by_state == dict.fromkeys(OccurrenceState, 0) | {"gone": 1, "seen": 2, "fetched": 1}
    assert found.occurrences == 4


def test_counts_are_those_of_the_mailbox_and_leave_merged_tickets_out(db: Database) -> None:
    with db.begin() as connection:
        mine, other = Archive(connection), Archive(connection, "other@example.org")
        first, second = mine.message("one", "<1@x>"), mine.message("two", "<2@x>")
        mine.occurrence("1", "routed", first)
        mine.occurrence("1b", "routed", first)
        mine.occurrence("2", "routed", second)
        other.occurrence("3", "routed", other.message("three", "<3@x>"))
        kept = mine.ticket("kept", first)
        mine.ticket("merged", second, merged_into=kept)
        found = summary.summarise(connection, mine.mailbox_id)
    assert (found.messages, found.tickets, found.cases, found.work_orders) == (2, 1, 0, 0)


def test_tickets_leave_with_their_message_ids(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        archive = Archive(connection)
        messages = [archive.message("named", "<1@x>"), archive.message("nameless", None)]
        for message_id in messages:
            archive.occurrence(str(message_id), "routed", message_id)
        kept = archive.ticket("tkt-kept", *messages)
        archive.ticket("tkt-gone", merged_into=kept)
    result = fieldpost("export", ADDRESS, "--what", "tickets", "--jsonl")
    nameless = f"sha256:{hashlib.sha256(b'nameless').hexdigest()}"
    wanted = {"ticket": "tkt-kept", "status": "new", "subject": "tkt-kept", "message_ids": ["<1@x>", nameless]}
    assert result.code == 0
    assert [json.loads(line) for line in result.out.splitlines()] == [wanted]
    lines = [json.loads(line) for line in fieldpost("export", ADDRESS, "--what", "messages").out.splitlines()]
    assert [(line["message_id"], line["ticket"]) for line in lines] == [("<1@x>", "tkt-kept"), (nameless, "tkt-kept")]
    assert fieldpost("export", ADDRESS, "--what", "work-orders").out == ""


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "audit",
        "history",
        "backfill",
        "reconcile",
        "gaps",
        "labels",
        "mailbox pause",
        "mailbox resume",
        "export --what tickets",
    ],
)
def test_an_unknown_mailbox_is_told_with_those_that_are_known(
    fieldpost: Command, served: Settings, db: Database, line: str
) -> None:
    with db.begin() as connection:
        Archive(connection)
    result = fieldpost(*line.split(), "nobody@example.org")
    assert result.code == 2
    assert f"unknown mailbox 'nobody@example.org'; known: {ADDRESS}" in result.err


def test_status_says_why_a_mailbox_is_slow(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        archive = Archive(connection)
        commands.request_backfill(connection, archive.mailbox_id)
        commands.pause(connection, archive.mailbox_id, timedelta(minutes=5), "moving", "cli:ann")
        emit = Emit("fetch", "7", archive.org_id, archive.mailbox_id, Lane.LIVE, 0, "trace")
        ledger.put(connection, [emit.after(timedelta(minutes=9))])
    found = fieldpost("status", ADDRESS, "--json").json
    why = " | ".join(found["why_slow"])
    assert found["state"] == "paused"
    assert found["queued"] == {"backfill": 1, "fetch": 1}
    assert found["backfill"] == {
        "since": None,
        "listed": 0,
        "fresh": 0,
        "estimate": None,
        "windows_done": 0,
        "restarts": 0,
        "window": None,
    }
    assert (found["live_workers"], found["remaining"], found["eta_seconds"]) == (0, 1, None)
    assert "by cli:ann (moving)" in why
    assert "1 fetch job waits" in why
    assert "no worker is alive" in why
    everything = fieldpost("status", "--json").json
    assert [one["mailbox"] for one in everything] == [ADDRESS]
    assert "paused until" in fieldpost("status").out


def test_a_mailbox_without_authorization_says_what_to_do(db: Database, fieldpost: Command, served: Settings) -> None:
    with db.begin() as connection:
        Archive(connection)
        connection.execute(text("UPDATE mailboxes SET state = 'auth_required', last_sync_error = 'token revoked'"))
        (found,) = sync.sync_status(connection)
    assert not found.is_enabled
    assert "waits for authorization (token revoked)" in fieldpost("status", ADDRESS).out


def test_a_worker_lives_only_while_it_holds_its_lock(db: Database) -> None:
    with db.begin() as connection:
        connection.execute(
            text("INSERT INTO workers (number, host, pid, version) VALUES (7, 'h', 1, '0'), (8, 'h', 2, '0')")
        )
        connection.execute(text("SELECT pg_advisory_xact_lock(77, 8), pg_advisory_xact_lock(78, 7)"))
        assert [worker.number for worker in queue.live_workers(connection)] == [8]
    with db.begin() as connection:
        assert queue.live_workers(connection) == []


def test_audit_names_what_is_missing_and_counts_what_vanished(
    fieldpost: Command, served: Settings, db: Database, tmp_path: Path
) -> None:
    path = write_mbox(tmp_path / "mail.mbox", [letter(number) for number in range(3)])
    with db.begin() as connection:
        archive = Archive(connection)
        source = json.dumps({"paths": [str(path)], "spool": str(tmp_path / "spool")})
        connection.execute(text("UPDATE mailboxes SET source = CAST(:source AS jsonb)"), {"source": source})
        archive.occurrence("long-gone", "gone")
        known = hashlib.sha256(letter(1)).hexdigest()[:40]
        archive.occurrence(known, "gone")
    result = fieldpost("audit", ADDRESS, "--json")
    found = result.json
    assert result.code == 1
    assert (found["provider_ids"], found["unaccounted"], found["vanished"]) == (3, 2, 1)
    assert len(found["missing"]) == 2
    assert known not in found["missing"]
    assert "fieldpost backfill" in result.err


def test_a_request_says_when_nobody_works(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        Archive(connection)
    result = fieldpost("backfill", ADDRESS, "--since", "2026-01-01", "--json")
    assert result.code == 0
    assert result.json["job_type"] == "backfill"
    assert result.json["job_id"]
    assert "no worker is alive" in result.err
    with db.begin() as connection:
        (listing,) = progress.listings(connection).values()
    assert listing.since is not None
    assert listing.since.isoformat() == "2026-01-01T00:00:00+00:00"


def test_doctor_finds_a_healthy_database_without_workers(fieldpost: Command, served: Settings) -> None:
    result = fieldpost("doctor", "--json")
    grades = {check["name"]: check["grade"] for check in result.json}
    assert result.code == 0
    assert grades["workers"] == "warn"
    assert set(grades) == {
        "settings",
        "database",
        "migrations",
        "row security",
        "secret keys",
        "clock",
        "broker",
        "blob store",
        "pushes",
        "disk",
        "workers",
        "queue",
    }
    assert {name for name, grade in grades.items() if grade == "fail"} == set()


def test_doctor_warns_when_the_barrier_between_organizations_is_not_up(
    fieldpost: Command, served: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_security, "ROLE", "nobody_made_this_role")
    result = fieldpost("doctor", "--json")
    (found,) = (check for check in result.json if check["name"] == "row security")
    assert (found["grade"], "fieldpost migrate" in found["advice"]) == ("warn", True)


def test_doctor_fails_for_tables_of_another_version(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    result = fieldpost("doctor", "--json")
    assert result.code == 1
    assert "fieldpost migrate" in result.json[-1]["text"]


def test_doctor_warns_where_a_newer_version_has_migrated(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    result = fieldpost("doctor", "--json")
    (said,) = [check for check in result.json if check["name"] == "migrations"]
    assert (result.code, said["grade"], said["advice"]) == (0, "warn", "update Fieldpost on this host")


def test_doctor_fails_for_a_broker_and_a_blob_store_that_do_not_answer(
    fieldpost: Command, served: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FIELDPOST_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("FIELDPOST_BLOB_URL", f"file://{tmp_path}/file/blobs")
    result = fieldpost("doctor", "--json")
    assert result.code == 1
    assert {check["name"] for check in result.json if check["grade"] == "fail"} == {"broker", "blob store"}
