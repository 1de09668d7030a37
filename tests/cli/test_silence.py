"""`doctor` and `status` say what stands still, with what to do, and nothing while all is well."""

from __future__ import annotations

from sqlalchemy import Connection, text

from dlq.letters import Death, bury
from models.enums import Cause, Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command
from tests.factories import claimed

_LATE = "UPDATE jobs SET run_at = now() - interval '4 minutes'"


def _put(connection: Connection, archive: Archive, stage: str, *keys: str) -> None:
    emits = [Emit(stage, key, archive.org_id, archive.mailbox_id, Lane.LIVE, 0, "trace") for key in keys]
    ledger.put(connection, emits)


def test_doctor_says_that_nobody_takes_due_jobs_and_how_to_start_a_worker(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    with db.begin() as connection:
        _put(connection, Archive(connection), "parse", "1", "2", "3")
        connection.execute(text(_LATE))
    result = fieldpost("doctor", "--json")
    (said,) = [check for check in result.json if check["name"] == "overdue jobs"]
    assert result.code == 0, "a stopped system has not failed"
    assert said["grade"] == "warn"
    assert "3 parse jobs (lane live, such as 1) are due since 4 min" in said["text"]
    assert "nobody takes them, and no worker is alive" in said["text"]
    assert "fieldpost worker" in said["advice"]


def test_doctor_fails_for_a_strand_and_tells_of_dead_letters(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    with db.begin() as connection:
        archive = Archive(connection)
        archive.occurrence("lost")
        _put(connection, archive, "parse", "1", "2", "3")
        for job in claimed(connection, "parse"):
            bury(connection, [Death(job, Cause.PERMANENT, ValueError("x" if job.key == "1" else "bad date"), False)])
    result = fieldpost("doctor")
    assert result.code == 1
    words = " ".join(result.out.split())
    assert "1 message is on the way without a job" in words
    assert "fieldpost audit ADDRESS" in words
    assert "3 dead letters open; 2 of them in parse: bad date" in words


def test_doctor_waits_out_what_a_sweep_is_about_to_mend(fieldpost: Command, served: Settings, db: Database) -> None:
    """With a worker alive it looks twice; what is there both times is told, and fails where it does not mend itself."""
    with db.begin() as connection:
        _put(connection, Archive(connection), "fetch", "1")
        connection.execute(text("UPDATE jobs SET state = 'waiting', run_at = now() - interval '2 minutes'"))
        connection.execute(text("INSERT INTO workers (number, host, pid, version) VALUES (8, 'h', 2, '0')"))
    with db.engine.connect() as alive:
        alive.execute(text("SELECT pg_advisory_lock(77, 8)"))
        result = fieldpost("doctor", "--json")
        alive.rollback()
    (said,) = [check for check in result.json if check["name"] == "overdue jobs"]
    assert result.code == 1
    assert said["grade"] == "fail"
    assert said["text"].startswith("1 fetch job (lane live, such as 1) is to go on since 2 min")
    assert said["text"].endswith("not made ready")


def test_status_says_what_stands_still_beside_the_mailboxes(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        archive = Archive(connection)
        _put(connection, archive, "parse", "1")
    assert "due since" not in fieldpost("status").out
    with db.begin() as connection:
        connection.execute(text(_LATE))
        connection.execute(
            text("INSERT INTO backfills (mailbox_id, started_at) SELECT id, now() - interval '2 min' FROM mailboxes")
        )
    result = fieldpost("status")
    assert result.code == 0
    assert "1 parse job (lane live, such as 1) is due since 4 min" in result.out
    assert f"1 listing is under way without a job (such as {ADDRESS}, for 2 min" in result.out
    as_json = fieldpost("status", "--json")
    assert [one["mailbox"] for one in as_json.json] == [ADDRESS]
    assert "is due since 4 min" in as_json.err


def test_status_says_of_a_mailbox_that_it_was_never_read(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        factories.mailbox(connection, factories.organization(connection), "new@example.org")
    assert fieldpost("status", "new@example.org", "--json").json["unsynced_seconds"] is None
    with db.begin() as connection:
        connection.execute(text("UPDATE mailboxes SET created_at = now() - interval '1 hour'"))
    found = fieldpost("status", "new@example.org", "--json").json
    assert found["unsynced_seconds"] >= 3_600
    assert any("has never been read since it was added" in why for why in found["why_slow"])
    assert "never been read" in fieldpost("status").out
