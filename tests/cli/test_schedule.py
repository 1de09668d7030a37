"""`fieldpost schedule --list`: last and next slots, what was missed, and that nobody takes them."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command


def write_slots(db: Database, *slots: tuple[str, str, str]) -> None:
    """Write slots of the net: how long ago, with what outcome, and for how many jobs."""
    with db.begin() as connection:
        for ago, outcome, jobs in slots:
            connection.execute(
                text(f"""
                    INSERT INTO slots (schedule, slot_at, outcome, taken_by, jobs)
                    SELECT 'history', date_bin('5 min', now() - interval '{ago}', '2000-01-01Z'), '{outcome}', 'w:1',
                           {jobs}
                """)
            )


def test_before_anybody_looked_the_list_says_so(fieldpost: Command, served: Settings) -> None:
    result = fieldpost("schedule", "--list")
    assert result.code == 0
    assert result.out.count("nobody has looked yet") == 8
    assert "*/5 * * * *" in result.out


def test_the_list_tells_the_last_slot_and_those_missed_within_seven_days(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    write_slots(
        db,
        ("9 days", "skipped", "0"),
        ("8 days", "skipped", "0"),
        ("2 hours", "skipped", "0"),
        ("1 hour", "skipped", "0"),
        ("0", "caught_up", "7"),
    )
    history = next(line for line in fieldpost("schedule", "--list").out.splitlines() if line.startswith("history"))
    assert "caught up, 7 jobs" in history
    assert "overdue" not in history
    (found,) = [one for one in fieldpost("schedule", "--json").json if one["name"] == "history"]
    assert (found["last_outcome"], found["last_jobs"], found["missed_last_7_days"]) == ("caught_up", 7, 2)
    assert found["last_slot_at"] < found["next_slot_at"]
    assert found["is_overdue"] is False


def test_slots_that_nobody_takes_are_overdue(fieldpost: Command, served: Settings, db: Database) -> None:
    write_slots(db, ("3 hours", "ran", "1"))
    history = next(line for line in fieldpost("schedule", "--list").out.splitlines() if line.startswith("history"))
    assert "overdue 2 h 5" in history
    assert "fieldpost up" in history


@pytest.mark.parametrize("name", ["HISTORY_SCHEDULE", "RECONCILE_SCHEDULE"])
def test_an_operators_expression_is_obeyed_and_a_bad_one_refused_at_the_start(
    fieldpost: Command, served: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"FIELDPOST_{name}", "3 4 * * *")
    assert [one["cron"] for one in fieldpost("schedule", "--json").json].count("3 4 * * *") == 1
    monkeypatch.setenv(f"FIELDPOST_{name}", "every minute")
    result = fieldpost("schedule")
    assert result.code == 2
    assert name in result.err
    assert "write minute, hour, day, month and weekday" in result.err
