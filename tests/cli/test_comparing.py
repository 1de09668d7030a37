"""`fieldpost reconcile`, `gaps`, `labels`, and what `status` tells of a mailbox at Gmail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import text

from models.queries import comparisons
from ops_api.cli import status
from pipeline.commands import sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.archive import ADDRESS as FILES
from tests.cli.archive import Archive
from tests.cli.conftest import Command
from tests.factories import rows
from tests.flow.gmail_box import ADDRESS, LONG_AGO, GmailBox
from tests.gmail_server.server import GmailServer


@pytest.fixture
def gmail(db: Database, served: Settings, tmp_path: Path) -> Iterator[GmailBox]:
    """A connected mailbox with three mails that nobody has listed yet."""
    with GmailServer() as server:
        box = GmailBox(server, db, served, tmp_path)
        box.arrive(3, Random(1), at=LONG_AGO)
        yield box


def know(gmail: GmailBox, *, but: int = 0) -> None:
    """Write the mailbox's ids into the ledger as read, except the last ones."""
    ids = gmail.box.ids()
    for one in ids[: len(ids) - but]:
        rows(
            gmail.db,
            """
            INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, labels)
            SELECT org_id, id, :one, 'ignored', '{INBOX,UNREAD}' FROM mailboxes WHERE id = :mailbox
            """,
            one=one,
            mailbox=gmail.mailbox_id,
        )


def write_gap(gmail: GmailBox, state: str = "open", missing: int | None = 2) -> None:
    rows(
        gmail.db,
        """
        INSERT INTO gaps (org_id, mailbox_id, cause, state, to_at, missing, sample_ids, filled_at)
        SELECT org_id, id, 'audit', :state, now(), :missing, '{m-1}', CASE WHEN :state = 'filled' THEN now() END
          FROM mailboxes WHERE id = :mailbox
        """,
        state=state,
        missing=missing,
        mailbox=gmail.mailbox_id,
    )


def test_gaps_are_listed_and_an_open_one_is_an_exit_code(fieldpost: Command, gmail: GmailBox) -> None:
    assert fieldpost("gaps", ADDRESS).out.strip() == "No gap was ever found."
    write_gap(gmail, "filled")
    assert fieldpost("gaps", ADDRESS).code == 0
    write_gap(gmail)
    result = fieldpost("gaps", ADDRESS)
    assert result.code == 1
    newest = result.out.splitlines()[1].split()
    assert newest[:2] == ["open", "audit"]
    assert "the oldest mail" in result.out
    assert [gap["sample_ids"] for gap in fieldpost("gaps", ADDRESS, "--json").json["gaps"]] == [["m-1"], ["m-1"]]


def test_filling_gaps_asks_for_one_comparison_however_often_it_is_said(fieldpost: Command, gmail: GmailBox) -> None:
    write_gap(gmail)
    write_gap(gmail)
    first, second = fieldpost("gaps", ADDRESS, "--fill", "--json"), fieldpost("gaps", ADDRESS, "--fill", "--json")
    assert (first.code, first.json["gaps_filling"], second.code, second.json["gaps_filling"]) == (0, 2, 0, 0)
    assert "no worker is alive" in first.err
    assert "no gap was open" in second.err
    assert {gap["filled_by"].partition(":")[0] for gap in first.json["gaps"]} == {"cli"}
    assert rows(gmail.db, "SELECT stage FROM jobs") == [("reconcile",)]


def test_a_comparison_is_asked_for_and_joins_one_under_way(fieldpost: Command, gmail: GmailBox) -> None:
    first, second = fieldpost("reconcile", ADDRESS, "--audit", "--json"), fieldpost("reconcile", ADDRESS, "--json")
    assert (first.code, second.code) == (0, 0)
    assert first.json["reconcile_id"] == second.json["reconcile_id"]
    ((scope, asked_by),) = rows(gmail.db, "SELECT scope, asked_by FROM reconciles")
    assert (scope, asked_by.partition(":")[0]) == ("full", "cli")
    assert f"fieldpost status {ADDRESS}" in fieldpost("reconcile", ADDRESS).out


def test_an_audit_that_is_waited_for_names_what_is_missing_and_changes_nothing(
    fieldpost: Command, gmail: GmailBox
) -> None:
    rows(gmail.db, "UPDATE mailboxes SET sync_cursor = :cursor", cursor=str(gmail.box.history_id))
    know(gmail, but=1)
    result = fieldpost("reconcile", ADDRESS, "--audit", "--wait", "--json")
    assert result.code == 1
    assert (result.json["scope"], result.json["listed"], result.json["missing"]) == ("audit", 3, 1)
    assert f"fieldpost gaps {ADDRESS} --fill" in result.err
    assert rows(gmail.db, "SELECT count(*) FROM occurrences") == [(2,)]
    found = fieldpost("status", ADDRESS).out
    assert "1 open, 0 being filled" in found
    assert "(audit): 3 ids, 1 missing" in found
    assert f"1 gap open (1 id missing): fill with `fieldpost gaps {ADDRESS} --fill`" in found


def test_waiting_for_a_comparison_ends_when_only_a_person_can_go_on(fieldpost: Command, gmail: GmailBox) -> None:
    rows(gmail.db, "UPDATE mailboxes SET state = 'auth_required', state_reason = 'consent is gone'")
    result = fieldpost("reconcile", ADDRESS, "--wait")
    assert result.code == 2
    assert "waits for a person to act" in result.err


def test_labels_agree_until_one_is_changed_at_the_provider(fieldpost: Command, gmail: GmailBox) -> None:
    know(gmail)
    assert fieldpost("labels", ADDRESS).code == 0
    gmail.box.modify(gmail.box.ids()[0], remove=("UNREAD",))
    result = fieldpost("labels", ADDRESS)
    assert result.code == 1
    lines = {line.split()[0]: line.split()[1:] for line in result.out.splitlines()}
    assert (lines["INBOX"], lines["UNREAD"]) == (["3", "3", "none"], ["2", "3", "+1"])
    assert "fieldpost reconcile" in result.err
    found = {one["label_id"]: one["difference"] for one in fieldpost("labels", ADDRESS, "--json").json["labels"]}
    assert (found["INBOX"], found["UNREAD"], found["STARRED"]) == (0, 1, 0)


def test_files_have_nobody_to_compare_with(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        Archive(connection)
    for line in ("reconcile", "gaps --fill"):
        result = fieldpost(*line.split()[:1], FILES, *line.split()[1:])
        assert result.code == 2
        assert "fieldpost audit" in result.err
    assert fieldpost("gaps", FILES).code == 0
    assert "compared" not in fieldpost("status", FILES).out


def test_the_status_shows_the_window_that_is_being_listed(fieldpost: Command, gmail: GmailBox) -> None:
    gmail.backfill()
    rows(gmail.db, "UPDATE backfills SET listed = 1500, fresh = 1400, estimate = 20000")
    rows(
        gmail.db,
        "INSERT INTO backfill_windows (backfill_id, number, state, after_at, before_at, pages, finished_at, restarts)"
        " SELECT id, n, CASE n WHEN 1 THEN 'open' ELSE 'done' END, '2026-03-01Z', '2026-04-01Z', 3,"
        "        CASE n WHEN 0 THEN now() END, 2 FROM backfills, generate_series(0, 1) AS n",
    )
    found = fieldpost("status", ADDRESS)
    assert "1,500 ids of about 20,000, 1,400 new" in found.out
    assert "2026-03-01 00:00 UTC to 2026-04-01 00:00 UTC, 3 pages; 1 window done" in found.out
    assert "began a window again 4 times" in found.out
    as_json = fieldpost("status", ADDRESS, "--json").json
    assert (as_json["to_fetch"], as_json["backfill"]["window"]["pages"]) == (18_500, 3)


def test_the_breakers_pause_is_told_apart_from_a_persons(fieldpost: Command, gmail: GmailBox) -> None:
    with gmail.db.begin() as connection:
        sync.pause(connection, gmail.mailbox_id, timedelta(hours=1), "moving", "ann@example.org")
    said = fieldpost("status", ADDRESS).out
    assert "by ann@example.org (moving)" in said
    assert "by ann@example.org" in fieldpost("mailbox", "list").out
    (listed,) = fieldpost("mailbox", "list", "--json").json
    assert (listed["paused_by"], listed["pause_reason"]) == ("ann@example.org", "moving")
    rows(gmail.db, "UPDATE mailboxes SET paused_by = 'breaker', failures_in_row = 5, state_reason = 'HTTP 503'")
    said = fieldpost("status", ADDRESS).out
    assert "5 failed readings in a row" in said
    assert "then tried with one call (HTTP 503)" in said


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [("failed", "HTTP 403", "only found by polling: HTTP 403"), ("silent", None, "finds mail that nobody announced")],
)
def test_a_watch_that_does_not_work_is_told(
    fieldpost: Command, gmail: GmailBox, state: str, error: str | None, said: str
) -> None:
    rows(
        gmail.db,
        "INSERT INTO watches (mailbox_id, state, topic, error, pushed_at)"
        " SELECT id, :state, 't', :error, now() FROM mailboxes",
        state=state,
        error=error,
    )
    found = fieldpost("status", ADDRESS)
    assert said in found.out
    assert f"{state}: 0 s ago" in found.out


def test_a_comparison_is_the_same_in_every_answer(db: Database, gmail: GmailBox) -> None:
    with db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO reconciles (mailbox_id, scope, asked_by, state, finished_at, listed)"
                " SELECT id, 'nightly', 'schedule', 'done', now(), 7 FROM mailboxes"
            )
        )
        (found,) = comparisons.last_finished(connection).values()
        assert comparisons.recent(connection, gmail.mailbox_id) == [found]
        assert comparisons.find(connection, found.reconcile_id) == found
        assert comparisons.last_whole(connection, gmail.mailbox_id) is None
    assert status.compared_as_json(found)["listed"] == 7
