"""Work orders of a ticket through its field work: whose they are, where they stand, and their steps in the trail."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from pipeline.commands import assigning_work, visits
from pipeline.commands.assignment_arguments import Reassignment, Unassignment
from pipeline.commands.endings import CANCEL, REOPEN, Ending
from pipeline.commands.field_arguments import GivenReason
from pipeline.runtime.db import Database
from tests import factories
from tests.commands.field_desk import FieldDesk, send
from tests.commands.site_steps import check_in, finish, verify

WHY = Ending(reason="it mends itself")


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def give_order(ours: FieldDesk, made: UUID) -> UUID:
    """Give a ticket a work order of a case of its own."""
    with ours.db.begin() as connection:
        asset_id = factories.asset(connection, ours.org_id, f"A-{made}")
        return factories.work_order(connection, ours.org_id, factories.case(connection, ours.org_id, asset_id), made)


def row(ours: FieldDesk, order_id: UUID) -> Any:
    return ours.one("SELECT * FROM work_orders WHERE id = :id", id=order_id)


def steps(ours: FieldDesk, order_id: UUID) -> list[Any]:
    """Return the steps of an order with what the audit trail says under their numbers."""
    return ours.rows(
        """
        SELECT a.action, e.from_state, e.to_state, e.command, a.target_id
          FROM work_order_events e JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
         WHERE e.order_id = :id ORDER BY e.id
        """,
        id=order_id,
    )


def told(ours: FieldDesk) -> list[tuple[str, UUID]]:
    return ours.rows("SELECT kind, person_id FROM notifications WHERE org_id = :org ORDER BY id")


def reassign(ours: FieldDesk, made: UUID, name: str) -> None:
    tech_id = ours.people[name].person_id
    assert tech_id is not None
    asked = Reassignment(tech_id=tech_id, reason="nearer", override_reason="nobody else is near")
    ours.run(assigning_work.REASSIGN, asked, made)


def test_an_order_goes_the_way_of_its_ticket_and_each_step_stands_under_the_command_that_made_it(
    ours: FieldDesk,
) -> None:
    made = ours.at("SCHEDULED")
    order_id, tech, other = give_order(ours, made), ours.people["tech"].person_id, ours.people["other_tech"].person_id
    send(ours, made)
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.attempt, found.version) == ("assigned", tech, 1, 1)
    assert (found.assigned_by_id, found.site_id) == (ours.people["dispatcher"].person_id, ours.site_id)
    reassign(ours, made, "other_tech")
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.attempt) == ("assigned", other, 2)
    ours.run(assigning_work.UNASSIGN, Unassignment(reason="ill"), made)
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.attempt) == ("created", None, 2)
    send(ours, made)
    check_in(ours, made)
    assert (row(ours, order_id).state, row(ours, order_id).started_at is not None) == ("in_progress", True)
    finish(ours, made)
    verify(ours, made)
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.attempt, found.closed_at is not None) == ("done", tech, 3, True)
    actions = (
        *(("assignment.dispatch", "created", "assigned"), ("assignment.reassign", "assigned", "assigned")),
        *(("assignment.unassign", "assigned", "created"), ("assignment.dispatch", "created", "assigned")),
        *(("tech.check_in", "assigned", "in_progress"), ("qa.verify", "in_progress", "done")),
    )
    assert steps(ours, order_id) == [(*action, "stage.follow", str(made)) for action in actions]
    assert sorted(told(ours)) == sorted(
        [*([("WO_ASSIGNED", tech)] * 2), ("WO_REASSIGNED", tech), ("WO_ASSIGNED", other), ("WO_REASSIGNED", other)]
    )


def test_who_is_at_work_is_exchanged_and_the_order_is_still_under_way(ours: FieldDesk) -> None:
    made = ours.at("DISPATCHED")
    order_id = give_order(ours, made)
    # It was made after somebody was sent: it follows with the next step.
    check_in(ours, made)
    assert (row(ours, order_id).state, row(ours, order_id).attempt) == ("in_progress", 1)
    reassign(ours, made, "other_tech")
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.attempt) == (
        "in_progress", ours.people["other_tech"].person_id, 2,
    )  # fmt: skip
    ours.run(visits.HOLD, GivenReason(reason="a part is missing"), made, by="other_tech")
    assert row(ours, order_id).version == found.version


def test_a_cancelled_order_tells_who_had_it_and_is_nobody_s_when_it_is_taken_up(ours: FieldDesk) -> None:
    made = ours.at("DISPATCHED")
    order_id = give_order(ours, made)
    reassign(ours, made, "other_tech")
    ours.run(CANCEL, WHY, made)
    found = row(ours, order_id)
    assert (found.state, found.closed_at is not None) == ("cancelled", True)
    assert told(ours)[-1] == ("WO_CANCELLED", ours.people["other_tech"].person_id)
    ours.run(REOPEN, WHY, made)
    found = row(ours, order_id)
    assert (found.state, found.assigned_to_id, found.closed_at) == ("created", None, None)
    assert [one[:3] for one in steps(ours, order_id)] == [
        ("assignment.reassign", "created", "assigned"),
        ("ticket.cancel", "assigned", "cancelled"),
        ("ticket.reopen", "cancelled", "created"),
    ]


def test_a_ticket_whose_command_is_refused_leaves_its_orders_as_they_are(ours: FieldDesk) -> None:
    made = ours.at("SCHEDULED")
    order_id = give_order(ours, made)
    assert ours.refused(CANCEL, WHY, made, version=99).code == "STALE_VERSION"
    assert (row(ours, order_id).version, steps(ours, order_id), told(ours)) == (0, [], [])
