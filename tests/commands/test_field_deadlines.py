"""Deadlines of field work are told once, whoever sweeps and whatever dies meanwhile, and not of what is arrived."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from pipeline.runtime import field_deadlines
from pipeline.runtime.db import Database
from pipeline.runtime.field_deadlines import DUE_SOON, OVERDUE
from tests.bench.plans import explained
from tests.commands.field_desk import FieldDesk, triage


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def due(desk: FieldDesk, ticket_id: UUID, minutes: float) -> None:
    desk.change(
        "UPDATE dispatches SET due_at = now() + :minutes * interval '1 minute', "
        "due_soon_at = now() + (:minutes - 45) * interval '1 minute' WHERE ticket_id = :id",
        id=ticket_id,
        minutes=minutes,
    )


def told(desk: FieldDesk, ticket_id: UUID) -> list[str]:
    return [kind for kind, _ in desk.events(ticket_id) if kind in {DUE_SOON, OVERDUE}]


def announce(db: Database, **options: Any) -> dict[str, int]:
    with db.begin() as connection:
        return {kind: found.told for kind, found in field_deadlines.announce(connection, **options).items()}


def test_what_is_near_is_told_once_and_once_more_when_it_has_passed(db: Database, ours: FieldDesk) -> None:
    near, far, late = ours.make(), ours.make(), ours.make()
    for ticket_id, minutes in ((near, 30), (far, 46), (late, -1)):
        due(ours, ticket_id, minutes)
    assert announce(db) == {OVERDUE: 1, DUE_SOON: 1}
    assert announce(db) == {OVERDUE: 0, DUE_SOON: 0}
    assert [told(ours, one) for one in (near, far, late)] == [[DUE_SOON], [], [OVERDUE]]
    due(ours, near, -1)
    assert announce(db) == {OVERDUE: 1, DUE_SOON: 0}
    assert told(ours, near) == [DUE_SOON, OVERDUE]
    (data,) = (data for kind, data in ours.events(near) if kind == OVERDUE)
    assert (data["priority"], data["state"]) == ("ROUTINE", "NEW")
    assert ours.one("SELECT trace_id FROM events WHERE kind = :kind AND ticket_id = :id", kind=OVERDUE, id=near)


def test_nobody_is_told_of_what_is_over_or_where_somebody_is_there(db: Database, ours: FieldDesk) -> None:
    arrived, over = ours.make(), ours.make()
    for ticket_id in (arrived, over):
        due(ours, ticket_id, -1)
    ours.change("UPDATE dispatches SET arrived_at = now() WHERE ticket_id = :id", id=arrived)
    ours.change("UPDATE dispatches SET queue_due_at = NULL WHERE ticket_id = :id", id=over)
    assert announce(db) == {OVERDUE: 0, DUE_SOON: 0}


def test_a_sweep_that_dies_has_told_nothing_and_the_next_one_tells_all(db: Database, ours: FieldDesk) -> None:
    late = ours.make()
    due(ours, late, -1)
    with db.begin() as connection:
        dying = connection.begin_nested()
        assert field_deadlines.announce(connection)[OVERDUE].told == 1
        dying.rollback()
    assert told(ours, late) == []
    assert announce(db)[OVERDUE] == 1
    assert told(ours, late) == [OVERDUE]


def test_many_sweeps_at_once_tell_each_once_and_wait_for_no_command(db: Database, ours: FieldDesk) -> None:
    tickets = [ours.make() for _ in range(6)]
    for ticket_id in tickets:
        due(ours, ticket_id, -1)
    held = tickets[0]
    with db.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM dispatches WHERE ticket_id = %s FOR UPDATE", (held,))
        with ThreadPoolExecutor(4) as pool:
            counted = list(pool.map(lambda _: announce(db, limit=2)[OVERDUE], range(8)))
    assert sum(counted) == 5
    assert announce(db)[OVERDUE] == 1
    assert [told(ours, one) for one in tickets] == [[OVERDUE]] * 6


def test_a_schedule_does_not_move_a_deadline_and_a_priority_does(ours: FieldDesk) -> None:
    ticket_id = ours.make()
    made = ours.row(ticket_id).created_at
    minutes = {"ROUTINE": 1440, "URGENT": 240}
    assert (ours.work(ticket_id).due_at - made).total_seconds() == minutes["ROUTINE"] * 60
    triage(ours, ticket_id)
    work = ours.work(ticket_id)
    assert (work.due_at - made).total_seconds() == minutes["URGENT"] * 60
    assert work.queue_due_at == work.due_at
    assert (work.due_at - work.due_soon_at).total_seconds() == 45 * 60
    scheduled = ours.work(ours.at("SCHEDULED"))
    created = ours.row(scheduled.ticket_id).created_at
    assert (scheduled.due_at - created).total_seconds() == minutes["URGENT"] * 60


def test_a_sweep_goes_by_the_index_of_what_is_due(db: Database, ours: FieldDesk) -> None:
    ours.make()
    with explained(db.engine) as plans, db.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        field_deadlines.announce(connection)
    said = "\n".join(plans)
    assert "ix_dispatches_overdue" in said
    assert "ix_dispatches_due_soon" in said
