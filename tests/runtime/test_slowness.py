"""Why a mailbox is slow, in words that name the time, the reason and the figure."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from pipeline.runtime import budgets
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Reach
from pipeline.runtime.slowness import explain
from tests.factories import mailbox, organization, rows


@pytest.fixture
def box(db: Database) -> UUID:
    with db.begin() as connection:
        found = mailbox(connection, organization(connection))
        budgets.note_project(connection, found, "acme")
        budgets.take(connection, Account(found, "acme"), "messages.list", 1, is_live=False)
    return found


def said(db: Database, box: UUID) -> list[str]:
    with db.begin() as connection:
        return explain(connection, box)


def refuse(db: Database, box: UUID, reach: Reach, wait: timedelta = timedelta(hours=2)) -> None:
    with db.begin() as connection:
        budgets.refuse(connection, Account(box, "acme"), reach, wait, "Gmail answered 429", is_told=True)


def test_nothing_is_said_of_a_mailbox_that_is_not_slow(db: Database, box: UUID) -> None:
    assert said(db, box) == []


def test_a_rest_names_its_end_and_what_the_provider_said(db: Database, box: UUID) -> None:
    refuse(db, box, Reach.MAILBOX)
    (sentence,) = said(db, box)
    assert sentence.startswith("the mailbox rests until 20")
    assert sentence.endswith("Gmail answered 429")
    rows(db, "UPDATE budgets SET rest_until = now() WHERE rest_until IS NOT NULL")
    assert "until a call proves that the wait to 20" in said(db, box)[0]


def test_rests_of_the_project_and_of_bytes_are_told_apart(db: Database, box: UUID) -> None:
    refuse(db, box, Reach.PROJECT)
    refuse(db, box, Reach.BYTES)
    project, size = said(db, box)
    assert project.startswith("the project rests until 20")
    assert size.startswith("no mail is fetched until 20")


def test_limits_of_the_day_name_midnight_pacific_time(db: Database, box: UUID) -> None:
    rows(db, "UPDATE budgets SET day_bytes = 2500000000, day_units = 80000000")
    units, size = said(db, box)
    assert "80,000,000 units of the day are spent until" in units
    assert "2,500 MB of the day are fetched until" in size
    assert "midnight Pacific time" in size


def test_what_is_kept_for_live_mail_is_told_apart(db: Database, box: UUID) -> None:
    rows(db, "UPDATE budgets SET day_bytes = 2375000000, day_units = 76000000")
    units, size = said(db, box)
    assert "units of the day are spent but for what is kept for live mail, until" in units
    assert "MB of the day are fetched but for what is kept for live mail, until" in size


def test_what_waits_has_a_pace_and_a_time(db: Database, box: UUID) -> None:
    rows(
        db,
        "INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, state, trace_id)"
        " SELECT 'fetch', CAST(n AS text), :box, :box, 'backfill', 'held', 'x' FROM generate_series(1, 58200) AS n",
        box=box,
    )
    assert said(db, box) == ["messages waiting for their turn: 58,200; about 3.3 h at 5,820 of 6,000 units a minute"]
    rows(db, "UPDATE budgets SET ramp_at = now()")
    assert said(db, box)[0].startswith("after a rest the pace grows slowly: 58")


def test_fewer_calls_at_once_are_said(db: Database, box: UUID) -> None:
    refuse(db, box, Reach.CALLS)
    assert said(db, box) == ["2 of 4 calls at once: the provider said that there were too many"]
