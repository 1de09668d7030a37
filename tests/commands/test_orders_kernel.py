"""What every command on a work order shares: the lock, reach, version, moves, steps and the audit trail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.enums import Reach, WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.orders import by_assignee, changed, lifecycle, order_target
from pipeline.core.orders import Order
from pipeline.core.principals import Scope
from pipeline.runtime.db import Database
from tests.commands.work_desk import WorkDesk


class Nothing(BaseModel):
    """Nothing but the wish."""


def _begin(connection: Any, ask: Ask[Nothing], order: Order) -> Effect:
    return changed(
        connection, order, lambda _, now: {"state": now.state.value}, {}, WorkOrderState.IN_PROGRESS,
        details={"why": "a test"},
    )  # fmt: skip


BEGIN: Command[Nothing, Order] = Command(
    **lifecycle(WorkPolicy.FIELD, "work_order.start"),
    about="Begin, for a test.",
    arguments=Nothing,
    permission=Permission.WORK_ORDERS_WORK,
    target=order_target(WorkPolicy.FIELD),
    effect=_begin,
    gates=(by_assignee,),
)


@pytest.fixture
def desk(db: Database) -> WorkDesk:
    """Return a place of work."""
    return WorkDesk.of(db)


def test_a_change_moves_the_order_counts_its_version_up_and_keeps_the_step(desk: WorkDesk) -> None:
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    answer = desk.run(BEGIN, Nothing(), order.order_id)
    assert (answer.body, answer.version) == ({"state": "in_progress"}, order.version + 1)
    assert desk.read(order.order_id).state is WorkOrderState.IN_PROGRESS
    assert desk.steps(order.order_id) == [("work_order.start", "assigned", "in_progress")]
    assert desk.trail(order.order_id) == [("work_order.start", "done", None)]


def test_an_order_is_found_by_its_code_as_well(desk: WorkDesk) -> None:
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    assert desk.run(BEGIN, Nothing(), order.code.upper()).version == order.version + 1


@pytest.mark.parametrize("name", ["other_tech", "store"])
def test_an_order_of_somebody_else_is_forbidden_and_an_unknown_one_is_missing(desk: WorkDesk, name: str) -> None:
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    assert desk.refused(BEGIN, Nothing(), order.order_id, by=name).code == "FORBIDDEN"
    assert desk.refused(BEGIN, Nothing(), desk.org_id).code == "WORK_ORDER_NOT_FOUND"
    assert desk.refused(BEGIN, Nothing(), "wo_1" + "0" * 30).code == "WORK_ORDER_NOT_FOUND"
    assert desk.steps(order.order_id) == []


def test_a_technician_of_another_zone_does_not_reach_even_their_own_order(desk: WorkDesk) -> None:
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    elsewhere = replace(desk.people["tech"], scope=Scope(reach=Reach.SITE, site_ids=frozenset({desk.other_site_id})))
    assert desk.refused(BEGIN, Nothing(), order.order_id, by=elsewhere).code == "FORBIDDEN"


def test_a_stale_version_is_told_before_a_wrong_state(desk: WorkDesk) -> None:
    order = desk.order(WorkOrderState.CREATED, "tech")
    assert desk.refused(BEGIN, Nothing(), order.order_id, version=7).code == "STALE_VERSION"
    assert desk.refused(BEGIN, Nothing(), order.order_id, version=0).code == "INVALID_STATE_TRANSITION"


def test_steps_are_append_only_and_hold_to_the_lifecycle(desk: WorkDesk) -> None:
    order = desk.order(WorkOrderState.ASSIGNED, "tech")
    desk.run(BEGIN, Nothing(), order.order_id)
    for statement in (
        "UPDATE work_order_events SET to_state = 'done'",
        "DELETE FROM work_order_events",
        """INSERT INTO work_order_events (org_id, order_id, policy, command, attempt, from_state, to_state, actor_id,
                                          audit_number)
           SELECT org_id, order_id, 'workshop', command, 1, 'done', 'rework', actor_id, audit_number
             FROM work_order_events""",
    ):
        with pytest.raises(DBAPIError), desk.db.begin() as connection:
            connection.execute(text(statement))
