"""The pump: how many held fetches are let go, in which order, never twice, and never while nothing can be paid."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import Lane, MailboxState
from pipeline.runtime import budgets, ledger, locks, pump
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Reach
from pipeline.runtime.ledger import Line
from tests.factories import claimed, emit, mailbox, organization, rows, value

#: What 1.5 seconds of a new project's pace pay for: 97 units a second, 20 a message.
WINDOW = 7
HOUR = timedelta(hours=1)


@pytest.fixture
def org_id(db: Database) -> UUID:
    with db.begin() as connection:
        return organization(connection)


@pytest.fixture
def box(db: Database, org_id: UUID) -> UUID:
    return make_box(db, org_id)


def make_box(db: Database, org_id: UUID, **options: object) -> UUID:
    """Make a mailbox whose calls were paid for before, and whose bucket is full again."""
    with db.begin() as connection:
        found = mailbox(connection, org_id, **options)  # type: ignore[arg-type]
        budgets.note_project(connection, found, "acme")
        budgets.take(connection, Account(found, "acme"), "messages.list", 1, is_live=False)
    return found


def hold(db: Database, mailbox_id: UUID, count: int, *, lane: Lane = Lane.BACKFILL, first: int = 0) -> None:
    rows(
        db,
        """
        INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, place, state, trace_id)
        SELECT 'fetch', concat(CAST(:mailbox AS uuid), CAST(:lane AS text), number), CAST(:mailbox AS uuid),
               CAST(:mailbox AS uuid), CAST(:lane AS text), number, 'held', 'x'
          FROM generate_series(:first, :first + :count - 1) AS number
        """,
        mailbox=mailbox_id, lane=lane.value, count=count, first=first,
    )  # fmt: skip


def release(db: Database, *mailbox_ids: UUID) -> set[Line]:
    with db.begin() as connection:
        return pump.release(connection, mailbox_ids or None)


def states(db: Database, mailbox_id: UUID) -> dict[str, int]:
    found = rows(db, "SELECT state, count(*) FROM jobs WHERE mailbox_id = :id GROUP BY 1", id=mailbox_id)
    return dict(tuple(row) for row in found)


def test_a_window_is_let_go_and_the_next_fetches_follow_as_room_is_made(db: Database, box: UUID) -> None:
    hold(db, box, 50)
    assert release(db) == {Line("fetch", Lane.BACKFILL)}
    assert states(db, box) == {"ready": WINDOW, "held": 50 - WINDOW}
    assert release(db) == set()
    with db.begin() as connection:
        jobs = claimed(connection, lane=Lane.BACKFILL, batch=3)
    assert release(db) == set()
    with db.begin() as connection:
        ledger.settle(connection, [job.job_id for job in jobs])
    assert release(db, box) == {Line("fetch", Lane.BACKFILL)}
    assert states(db, box) == {"ready": WINDOW, "held": 50 - WINDOW - 3}


def test_repair_goes_before_backfill_and_each_in_order_of_place(db: Database, box: UUID) -> None:
    hold(db, box, 20, first=100)
    hold(db, box, 3, lane=Lane.REPAIR, first=500)
    release(db)
    found = rows(db, "SELECT lane, place FROM jobs WHERE state = 'ready' ORDER BY lane DESC, place")
    assert [tuple(row) for row in found] == [
        *(("repair", place) for place in (500, 501, 502)),
        *(("backfill", place) for place in (100, 101, 102, 103)),
    ]


def test_a_fetch_that_waits_long_after_a_failure_leaves_its_room_to_others(db: Database, box: UUID) -> None:
    hold(db, box, 30)
    release(db)
    rows(db, "UPDATE jobs SET state = 'waiting', run_at = now() + interval '5 minutes' WHERE state = 'ready'")
    release(db)
    assert states(db, box) == {"waiting": WINDOW, "ready": WINDOW, "held": 30 - 2 * WINDOW}


@pytest.mark.parametrize("reach", [Reach.MAILBOX, Reach.PROJECT, Reach.BYTES])
def test_nothing_is_let_go_during_a_rest_one_fetch_after_it_and_none_beside_a_probe(
    db: Database, box: UUID, reach: Reach
) -> None:
    hold(db, box, 30)
    with db.begin() as connection:
        budgets.refuse(connection, Account(box, "acme"), reach, HOUR, "no", is_told=True)
    assert release(db) == set()
    rows(db, "UPDATE budgets SET rest_until = now() WHERE rest_until IS NOT NULL")
    rows(db, "UPDATE budgets SET bytes_rest_until = now() WHERE bytes_rest_until IS NOT NULL")
    release(db)
    assert states(db, box)["ready"] == 1
    with db.begin() as connection:
        assert budgets.take(connection, Account(box, "acme"), "messages.get", 1, is_live=True).is_probe
    rows(db, "UPDATE jobs SET state = 'held'")
    assert release(db) == set()


def test_nothing_is_let_go_when_the_day_is_spent(db: Database, box: UUID) -> None:
    hold(db, box, 10)
    rows(db, "UPDATE budgets SET day_bytes = 2500000000, day = (now() AT TIME ZONE 'America/Los_Angeles')::date"
             " WHERE scope LIKE 'mailbox:%'")  # fmt: skip
    assert release(db) == set()
    rows(db, "UPDATE budgets SET day_bytes = 2375000000")
    assert release(db) == set()  # the last twentieth is live mail's
    rows(db, "UPDATE budgets SET day_bytes = 0")
    rows(db, "UPDATE budgets SET day_units = 76000000 WHERE scope LIKE 'project:%'")
    assert release(db) == set()
    rows(db, "UPDATE budgets SET day = day - 1")
    assert release(db)


@pytest.mark.parametrize("state", [each for each in MailboxState if each is not MailboxState.ACTIVE])
def test_a_mailbox_that_may_not_be_read_keeps_what_it_holds(db: Database, org_id: UUID, state: MailboxState) -> None:
    closed, active = make_box(db, org_id, state=state), make_box(db, org_id)
    hold(db, closed, 10)
    hold(db, active, 10)
    release(db)
    assert states(db, closed) == {"held": 10}
    assert states(db, active) == {"ready": WINDOW, "held": 10 - WINDOW}


def test_the_window_follows_the_pace(db: Database, box: UUID) -> None:
    hold(db, box, 100)
    rows(db, "UPDATE budgets SET ramp_at = now() WHERE scope LIKE 'mailbox:%'")
    release(db)
    assert states(db, box)["ready"] == 4
    rows(db, "INSERT INTO projects (name, units_per_user_minute) VALUES ('acme', 60000)")
    rows(db, "UPDATE budgets SET ramp_at = NULL")
    release(db)
    assert states(db, box)["ready"] == 73


def test_a_mailbox_without_units_has_nothing_let_go_until_some_come_soon(db: Database, box: UUID) -> None:
    hold(db, box, 100)
    rows(db, "UPDATE budgets SET level = 0, level_at = now(), ramp_at = now() WHERE scope LIKE 'mailbox:%'")
    assert release(db) == set()


def test_several_pumps_at_once_let_nothing_go_twice(db: Database, org_id: UUID) -> None:
    boxes = [make_box(db, org_id) for _ in range(5)]
    for box in boxes:
        hold(db, box, 60)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: release(db), range(40)))
    found = Counter(row.mailbox_id for row in rows(db, "SELECT mailbox_id FROM jobs WHERE state = 'ready'"))
    assert found == dict.fromkeys(boxes, WINDOW)


def test_each_look_takes_some_mailboxes_and_all_have_their_turn(db: Database, org_id: UUID) -> None:
    boxes = sorted(make_box(db, org_id) for _ in range(5))
    for each in boxes:
        hold(db, each, 60)
    turning, found = pump.Pump(most=2), []
    for _ in range(4):
        with db.begin() as connection:
            turning.release(connection)
        found.append([each for each in boxes if states(db, each).get("ready")])
    assert found == [boxes[:2], boxes[:4], boxes, boxes]
    rows(db, "UPDATE jobs SET state = 'held'")
    with db.begin() as connection:
        turning.release(connection)
    assert [each for each in boxes if states(db, each).get("ready")] == boxes[2:4]


@pytest.mark.parametrize("whose", ["mailbox", "project"])
def test_mailboxes_that_rest_take_no_turn_of_others(db: Database, org_id: UUID, whose: str) -> None:
    resting = [make_box(db, org_id) for _ in range(4)]
    awake = make_box(db, org_id)
    with db.begin() as connection:
        budgets.note_project(connection, awake, "other")
        for each in resting:
            reach = Reach(whose)
            budgets.refuse(connection, Account(each, "acme"), reach, HOUR, "no", is_told=True)
    for each in (*resting, awake):
        hold(db, each, 60)
    turning = pump.Pump(most=1)
    with db.begin() as connection:
        assert turning.release(connection) == {Line("fetch", Lane.BACKFILL)}
        assert turning.release(connection, resting) == set()
    assert states(db, awake)["ready"] == WINDOW
    # A rest that no clock can have meant holds nobody back.
    rows(db, "UPDATE budgets SET rest_until = now() + interval '10 years' WHERE rest_until IS NOT NULL")
    assert release(db, resting[0])
    assert states(db, resting[0])["ready"] == 1


def test_many_that_rest_are_passed_by_in_steps(db: Database, org_id: UUID) -> None:
    resting = [make_box(db, org_id) for _ in range(4)]
    with db.begin() as connection:
        for each in resting:
            budgets.refuse(connection, Account(each, "acme"), Reach.MAILBOX, HOUR, "no", is_told=True)
    awake = make_box(db, org_id)
    for each in (*resting, awake):
        hold(db, each, 60)
    turning, found = pump.Pump(steps=2), []
    for _ in range(3):
        with db.begin() as connection:
            found.append(turning.release(connection))
    assert found == [set(), set(), {Line("fetch", Lane.BACKFILL)}]


def test_other_locks_on_a_mailbox_do_not_stop_the_pump(db: Database, box: UUID) -> None:
    hold(db, box, 60)
    take = text("SELECT pg_try_advisory_xact_lock(:class, hashtext(CAST(:id AS text)))")
    with db.begin() as other:
        for each in (locks.WORKER, locks.LISTENER):
            other.execute(take, {"class": each, "id": box})
        assert release(db)
    rows(db, "UPDATE jobs SET state = 'held'")
    with db.begin() as other:
        other.execute(take, {"class": locks.PUMP, "id": box})
        assert release(db) == set()
    assert len({locks.WORKER, locks.PUMP, locks.LISTENER}) == 3


def test_a_held_step_waits_though_nobody_pumps(db: Database, box: UUID) -> None:
    step = replace(emit("1", lane=Lane.BACKFILL, mailbox_id=box), is_held=True)
    with db.begin() as connection:
        assert ledger.put(connection, [step]) == set()
    assert states(db, box) == {"held": 1}
    release(db)
    with db.begin() as connection:
        (job,) = claimed(connection, lane=Lane.BACKFILL)
        ledger.hold_back(connection, [job.job_id])
    assert states(db, box) == {"held": 1}
    assert value(db, "SELECT failures FROM jobs") == 0


def test_a_hundred_thousand_held_fetches_cost_a_sweep_one_step_of_the_index(db: Database, box: UUID) -> None:
    hold(db, box, 100_000)
    rows(db, "ANALYZE jobs")
    with db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        look = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {pump._NEXT.text}")
        values = {"after": UUID(int=0), "most": 200, "steps": 1_000, "longest": HOUR}
        plan = connection.execute(look, values).scalar_one()
    assert _most_rows(plan[0]["Plan"]) < 100


def _most_rows(plan: dict[str, object]) -> float:
    below = [_most_rows(each) for each in plan.get("Plans", [])]  # type: ignore[attr-defined]
    return max([float(str(plan["Actual Rows"])), *below])
