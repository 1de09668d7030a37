"""Fair queueing: a big mailbox never delays a small one's new mail, and past use is not held against anyone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.fairness import take_places
from pipeline.runtime.jobs import Job
from pipeline.runtime.occurrences import CHAIN
from tests.factories import claimed, emit, mailbox, organization, value

LANE = Lane.BACKFILL


@pytest.fixture
def mailboxes(db: Database) -> list[UUID]:
    with db.begin() as connection:
        org_id = organization(connection)
        return [mailbox(connection, org_id) for _ in range(51)]


def enqueue(db: Database, mailbox_id: UUID, count: int, *, prefix: str = "") -> range:
    with db.begin() as connection:
        places = take_places(connection, mailbox_id, LANE, count, list(CHAIN))
        steps = [
            emit(f"{prefix}{mailbox_id}:{place}", lane=LANE, place=place, mailbox_id=mailbox_id) for place in places
        ]
        ledger.put(connection, steps)
    return places


def work_off(db: Database, batch: int = 100) -> list[Job]:
    with db.begin() as connection:
        jobs = claimed(connection, lane=LANE, batch=batch, lease=timedelta(hours=1))
        ledger.settle(connection, [job.job_id for job in jobs])
    return jobs


def test_fifty_small_mailboxes_do_not_wait_behind_ten_thousand_of_a_big_one(db: Database, mailboxes: list[UUID]):
    big, *small = mailboxes
    enqueue(db, big, 10_000)
    for _ in range(5):
        work_off(db)
    for mailbox_id in small:
        enqueue(db, mailbox_id, 1)
    waiting, of_the_big_one = set(small), 0
    while waiting:
        jobs = work_off(db)
        assert jobs
        of_the_big_one += sum(job.mailbox_id == big for job in jobs)
        waiting -= {job.mailbox_id for job in jobs}
    assert of_the_big_one < 500


def test_two_busy_mailboxes_take_turns(db: Database, mailboxes: list[UUID]):
    one, other = mailboxes[:2]
    enqueue(db, one, 1_000)
    enqueue(db, other, 1_000)
    taken = [job.mailbox_id for _ in range(4) for job in work_off(db)]
    assert abs(taken.count(one) - taken.count(other)) <= 2


def test_what_a_mailbox_used_of_an_idle_lane_is_not_held_against_it(db: Database, mailboxes: list[UUID]):
    big, small = mailboxes[:2]
    enqueue(db, big, 2_000)
    while work_off(db, 500):
        pass
    newcomer = enqueue(db, small, 300)
    returning = enqueue(db, big, 300)
    assert returning.start <= newcomer.start + 1
    taken = [job.mailbox_id for job in work_off(db)]
    assert abs(taken.count(big) - taken.count(small)) <= 2


def test_a_newcomer_starts_where_the_line_stands_and_gains_nothing_by_having_been_away(
    db: Database, mailboxes: list[UUID]
):
    busy, newcomer = mailboxes[:2]
    enqueue(db, busy, 500)
    for _ in range(3):
        work_off(db)
    assert enqueue(db, newcomer, 1).start == 300


def test_a_mailbox_that_was_away_comes_back_to_where_the_line_stands(db: Database, mailboxes: list[UUID]):
    busy, returning = mailboxes[:2]
    enqueue(db, returning, 1)
    enqueue(db, busy, 500)
    for _ in range(3):
        work_off(db)
    assert enqueue(db, returning, 1).start >= 299


def test_places_of_a_mailbox_are_consecutive_however_many_ask_at_once(db: Database, mailboxes: list[UUID]):
    def ask(_: int) -> range:
        with db.begin() as connection:
            return take_places(connection, mailboxes[0], LANE, 5, list(CHAIN))

    with ThreadPoolExecutor(8) as pool:
        taken = sorted(place for places in pool.map(ask, range(80)) for place in places)
    assert taken == list(range(taken[0], taken[0] + 400))


def test_lanes_have_lines_of_their_own(db: Database, mailboxes: list[UUID]):
    enqueue(db, mailboxes[0], 1_000)
    with db.begin() as connection:
        assert take_places(connection, mailboxes[0], Lane.LIVE, 3, list(CHAIN)) == range(3)


def test_asking_for_no_place_takes_none(db: Database, mailboxes: list[UUID]):
    with db.begin() as connection:
        assert take_places(connection, mailboxes[0], LANE, 0, list(CHAIN)) == range(0)
    assert value(db, "SELECT count(*) FROM flows") == 0
