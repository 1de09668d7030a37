"""Intakes and their neighbours at the same moment: one open repair per thing, words for the others, no deadlock."""

from __future__ import annotations

import pytest

from models.enums import WorkOrderState
from pipeline.commands.inventory import ARCHIVE_ITEM
from pipeline.commands.workshop import ASSIGN, CANCEL, CREATE, REVIEW
from pipeline.commands.workshop_arguments import Cancelling, Nothing, RepairAssignment
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from tests.commands.racing import race
from tests.commands.workshop_desk import WorkshopDesk

_CROWD = 6
_VOUCHED = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "new"}
_OPEN = "SELECT count(*) FROM work_orders WHERE org_id = :org AND state NOT IN ('done', 'cancelled')"


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    return WorkshopDesk.of(db)


def codes(found: list[Answer | Refusal]) -> list[str]:
    return sorted(one.code for one in found if isinstance(one, Refusal))


@pytest.mark.parametrize("is_known", [True, False])
def test_of_many_intakes_of_one_thing_one_is_taken(desk: WorkshopDesk, is_known: bool) -> None:
    if is_known:
        desk.item("RM-0101")
    wishes = [(CREATE, desk.ask(desk.wish("RM-0101", **_VOUCHED), by="master")) for _ in range(_CROWD)]
    found = race(desk.db, wishes)
    assert len([one for one in found if isinstance(one, Answer)]) == 1
    assert set(codes(found)) <= {"ITEM_IN_REPAIR", "ITEM_MADE_MEANWHILE"}
    assert desk.rows(_OPEN) == [(1,)]
    assert desk.rows("SELECT count(*) FROM inventory_items WHERE org_id = :org") == [(1,)]
    assert desk.rows("SELECT count(*) FROM work_order_events WHERE org_id = :org") == [(1,)]


def test_a_thing_is_put_away_or_taken_in_but_not_both(desk: WorkshopDesk) -> None:
    for _ in range(3):
        serial = desk.serial()
        item_id = desk.item(serial)
        archive = (ARCHIVE_ITEM, desk.ask(Nothing(), by="ops_manager", target=str(item_id)))
        found = race(desk.db, [(CREATE, desk.ask(desk.wish(serial), by="master")), archive])
        assert codes(found) in (["ITEM_ARCHIVED"], ["ITEM_IN_REPAIR"])


def test_a_new_intake_waits_for_the_end_of_the_old_repair(desk: WorkshopDesk) -> None:
    for _ in range(3):
        serial = desk.serial()
        desk.item(serial)
        first = desk.intake(serial)
        cancel = (CANCEL, desk.ask(Cancelling(reason="again"), by="ops_manager", target=str(first)))
        found = race(desk.db, [cancel, (CREATE, desk.ask(desk.wish(serial), by="master"))])
        assert codes(found) in ([], ["ITEM_IN_REPAIR"])
        statement = f"{_OPEN} AND item_id IN (SELECT id FROM inventory_items WHERE serial_number = :serial)"
        assert desk.rows(statement, serial=serial) == [(1 - len(codes(found)),)]


def test_two_reviews_leave_one_reviewer_and_one_move(desk: WorkshopDesk) -> None:
    order_id = desk.intake()
    asks = [desk.ask(Nothing(), by=name, target=str(order_id)) for name in ("ops_manager", "admin")]
    assert codes(race(desk.db, [(REVIEW, ask) for ask in asks])) == []
    moves = [step for step in desk.steps(order_id) if step[1] == "under_review"]
    assert moves == [("workshop.review", "under_review", "new")]


def test_given_to_two_at_once_one_has_it_and_the_attempts_are_counted(desk: WorkshopDesk) -> None:
    order_id = desk.at(WorkOrderState.NEW).order_id
    asks = [
        desk.ask(RepairAssignment(technician_id=desk.person_id(name)), by="ops_manager", target=str(order_id))
        for name in ("tech", "other_tech")
    ]
    assert codes(race(desk.db, [(ASSIGN, ask) for ask in asks])) == []
    order = desk.read(order_id)
    assert order.attempt == 2
    assert order.assigned_to_id in {desk.person_id("tech"), desk.person_id("other_tech")}
