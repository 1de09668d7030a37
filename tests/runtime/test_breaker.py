"""The breaker of a mailbox: opens after failures in a row, is tried once when its pause is over, closes on success."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models.enums import MailboxState
from pipeline.runtime import breaker
from pipeline.runtime.breaker import FIRST_PAUSE, LONGEST_PAUSE, MOST_FAILURES
from pipeline.runtime.db import Database
from tests.factories import as_value, mailbox, organization, rows, value


@pytest.fixture
def mine(db: Database) -> UUID:
    with db.begin() as connection:
        return mailbox(connection, organization(connection), cursor="5")


def fail(db: Database, mine: UUID, times: int = 1) -> list[UUID]:
    paused: list[UUID] = []
    for _ in range(times):
        with db.begin() as connection:
            paused += breaker.fail(connection, {mine: "503"})
    return paused


def standing(db: Database) -> Any:
    return rows(db, "SELECT *, paused_until - now() AS rest FROM mailboxes")[0]


def wake(db: Database) -> int:
    rows(db, "UPDATE mailboxes SET paused_until = now() WHERE paused_until IS NOT NULL")
    with db.begin() as connection:
        return breaker.wake(connection)


def test_it_opens_at_the_fifth_failure_in_a_row_and_says_why(db: Database, mine: UUID):
    assert fail(db, mine, MOST_FAILURES - 1) == []
    assert standing(db).state == "active"
    assert fail(db, mine) == [mine]
    found = standing(db)
    assert (found.state, found.paused_by, found.state_reason) == ("paused", "breaker", "failed 5 times in a row: 503")
    assert timedelta(0) < found.rest <= FIRST_PAUSE


def test_a_success_in_between_begins_the_count_again(db: Database, mine: UUID):
    fail(db, mine, MOST_FAILURES - 1)
    with db.begin() as connection:
        breaker.close(connection, as_value(connection, mine))
    assert fail(db, mine, MOST_FAILURES - 1) == []
    assert standing(db).state == "active"


def test_when_its_pause_is_over_one_probe_decides_and_the_pauses_grow(db: Database, mine: UUID):
    fail(db, mine, MOST_FAILURES)
    rests = []
    for _ in range(8):
        assert wake(db) == 1
        assert standing(db).state == "probing"
        assert value(db, "SELECT count(*) FROM jobs WHERE stage = 'history' AND state = 'ready'") == 1
        assert fail(db, mine) == [mine]
        rests.append(standing(db).rest)
    assert rests[0] > FIRST_PAUSE
    rounded = [round(rest.total_seconds()) for rest in rests]
    assert rounded == sorted(rounded)
    assert LONGEST_PAUSE - timedelta(seconds=5) < rests[-1] <= LONGEST_PAUSE


def test_a_probe_that_succeeds_opens_the_mailbox_and_frees_what_waited(db: Database, mine: UUID):
    fail(db, mine, MOST_FAILURES)
    rows(
        db,
        """
        INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, state, run_at, trace_id)
        SELECT 'fetch', '1', org_id, id, 'live', 'waiting', now() + interval '1 hour', '' FROM mailboxes
    """,
    )
    wake(db)
    assert value(db, "SELECT run_at > now() FROM jobs WHERE stage = 'fetch'"), "nothing goes on before the probe"
    with db.begin() as connection:
        breaker.close(connection, as_value(connection, mine))
    found = standing(db)
    assert (found.state, found.failures_in_row, found.trips, found.paused_by, found.last_sync_error) == (
        "active", 0, 0, None, None,
    )  # fmt: skip
    assert value(db, "SELECT run_at <= now() FROM jobs WHERE stage = 'fetch'")


def test_a_person_s_pause_ends_without_a_probe(db: Database, mine: UUID):
    rows(db, "UPDATE mailboxes SET state = 'paused', paused_by = 'ann', paused_until = now()")
    assert wake(db) == 1
    assert (standing(db).state, standing(db).paused_by) == ("active", None)


def test_failures_do_not_lengthen_a_person_s_pause_nor_wake_a_stopped_mailbox(db: Database, mine: UUID):
    for state in (MailboxState.PAUSED, MailboxState.AUTH_REQUIRED, MailboxState.BLOCKED):
        rows(db, "UPDATE mailboxes SET state = :state, paused_by = 'ann', paused_until = NULL", state=state.value)
        assert fail(db, mine, 2 * MOST_FAILURES) == []
        assert wake(db) == 0
        assert standing(db).state == state.value


def test_a_suspended_mailbox_rests_for_an_hour_and_is_tried(db: Database, mine: UUID):
    with db.begin() as connection:
        breaker.suspend(connection, {mine: "Mail service not enabled"})
    found = standing(db)
    assert (found.state, found.state_reason) == ("suspended", "Mail service not enabled")
    assert timedelta(minutes=59) < found.rest <= timedelta(hours=1)
    assert wake(db) == 1
    assert standing(db).state == "probing"


def test_files_have_no_breaker(db: Database, mine: UUID):
    rows(db, "UPDATE mailboxes SET provider = 'files'")
    assert fail(db, mine, 2 * MOST_FAILURES) == []
    assert standing(db).state == "active"
