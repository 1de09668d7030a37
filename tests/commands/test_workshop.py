"""Repairs before and beside the work: intake by seed-behaviours 3.5, review, metrics, assignment, an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from models.enums import InventoryState, WorkOrderState, WorkPolicy
from models.permissions import Permission
from models.work_lifecycle import BEGINNINGS, MOVES, STATES, moves_of, states_before
from pipeline.command import Command
from pipeline.commands.workshop import ASSIGN, CANCEL, CREATE, REVIEW, SET_METRICS
from pipeline.commands.workshop_arguments import Cancelling, ManualMetrics, NewRepair, Nothing, RepairAssignment
from pipeline.runtime.db import Database
from pipeline.table import COMMANDS as TABLE
from tests.commands.workshop_desk import WorkshopDesk

_S = WorkOrderState
_RED = ManualMetrics(flag_color="red", xp_amount=9)
_WHY = Cancelling(reason="scrapped")


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    return WorkshopDesk.of(db)


def told(desk: WorkshopDesk, order_id: UUID) -> list[tuple[str, str]]:
    """Return who was told of an order, and of what."""
    names = {desk.person_id(name): name for name in desk.people}
    found = desk.rows("SELECT person_id, kind FROM notifications WHERE order_id = :id ORDER BY id", id=order_id)
    return [(names[person], kind) for person, kind in found]


def last_step(desk: WorkshopDesk, order_id: UUID) -> dict[str, Any]:
    """Return what the last step of an order says."""
    statement = "SELECT data FROM work_order_events WHERE order_id = :id ORDER BY id DESC LIMIT 1"
    ((data,),) = desk.rows(statement, id=order_id)
    return dict(data)


def test_a_known_thing_comes_in_with_metrics_by_the_rules_and_one_step(desk: WorkshopDesk) -> None:
    desk.item("RM-0101")
    answer = desk.run(CREATE, desk.wish(" rm- 0101", (20, 41), title="Brakes"), by="master")
    said = answer.body["data"]
    assert (answer.status, answer.body["success"], answer.body["message"]) == (201, True, "OK")
    assert (said["status"], said["total_duration"], said["flag_color"], said["xp_amount"]) == (
        *("under_review", 61, "red"),
        4,
    )
    assert (said["serial_number"], said["title"], said["is_manual"], said["approved_by"]) == (
        *("RM-0101", "Brakes", False),
        None,
    )
    assert (said["master"], said["technician"], said["work_session"]) == (str(desk.person_id("master")), None, None)
    assert [(one["part_name"], one["minutes"], one["color"]) for one in said["ticket_parts"]] == [
        ("Frame", 20, "green"),
        ("Wheel", 41, "green"),
    ]
    order_id = UUID(said["id"])
    assert desk.steps(order_id) == [("workshop.create", None, "under_review")]
    assert desk.trail(order_id) == [("workshop.create", "done", None)]
    assert last_step(desk, order_id) == {
        "serial_number": "RM-0101",
        "item_id": said["inventory_item"],
        "inventory_item_created_during_intake": False,
        "inventory_item_creation_reason": None,
        "total_duration": 61,
        "total_minutes": 61,
        "part_specs_count": 2,
        "flag_color": "red",
        "xp_amount": 4,
        "is_manual": False,
        "review_approved": False,
    }
    # It is in service when the work begins, not before.
    assert desk.item_state(UUID(said["inventory_item"])) == "ready"


def test_the_rules_in_force_say_what_it_is_worth(desk: WorkshopDesk) -> None:
    desk.change("""
        INSERT INTO rules_versions (org_id, version, action, rules, checksum, created_by)
        VALUES (:org, 1, 'bootstrap', '{"ticket_xp": {"base_divisor": 7, "flag_green_max_minutes": 5}}', 'x', 'test')
    """)
    said = desk.run(CREATE, desk.wish(minutes=(15,)), by="master").body["data"]
    assert (said["flag_color"], said["xp_amount"]) == ("yellow", 3)


def test_a_person_may_set_colour_and_points_at_once_with_both(desk: WorkshopDesk) -> None:
    said = desk.run(CREATE, desk.wish(flag_color="red", xp_amount=0), by="master").body["data"]
    assert (said["flag_color"], said["xp_amount"], said["is_manual"]) == ("red", 0, True)


def test_an_unknown_number_needs_a_confirmation_and_a_reason_and_tells_the_known_ones_that_are_alike(
    desk: WorkshopDesk,
) -> None:
    for serial in ("RM-0101", "RM-0102", "RM-9999"):
        desk.item(serial)
    for more in (
        {},
        {"confirm_create_inventory_item": True},
        {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "  "},
        {"inventory_item_creation_reason": "new bike"},
    ):
        refusal = desk.refused(CREATE, desk.wish("RM-0109", **more), by="master")
        assert refusal.code == "INVALID_REQUEST"
        assert "confirm_create_inventory_item" in refusal.said
        assert "inventory_item_creation_reason" in refusal.said
        assert "RM-0102, RM-0101" in refusal.said
        assert "RM-9999" not in refusal.said
    known = desk.rows("SELECT count(*) FROM inventory_items WHERE org_id = :org")
    assert known == [(3,)]
    more = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": " new bike "}
    said = desk.run(CREATE, desk.wish("rm-0109", **more), by="master").body["data"]
    assert (said["serial_number"], said["category"]) == ("RM-0109", str(desk.category_id))
    step = last_step(desk, UUID(said["id"]))
    assert (step["inventory_item_created_during_intake"], step["inventory_item_creation_reason"]) == (True, "new bike")
    assert desk.one("SELECT made_because FROM inventory_items WHERE serial_number = 'RM-0109'") == ("new bike",)


def test_the_form_of_a_number_is_asked_of_unknown_ones_alone(desk: WorkshopDesk) -> None:
    desk.item("BIKE1")
    assert desk.run(CREATE, desk.wish("bike 1"), by="master").status == 201
    vouched = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "new"}
    refusal = desk.refused(CREATE, desk.wish("BIKE2", **vouched), by="master")
    assert (refusal.code, "RM-" in refusal.said, "BIKE1" in refusal.said) == ("INVALID_REQUEST", True, True)
    assert desk.refused(CREATE, desk.wish("Ä" * 150, **vouched), by="master").code == "INVALID_REQUEST"


def test_an_archived_thing_is_refused_even_when_it_is_vouched_for(desk: WorkshopDesk) -> None:
    desk.item("RM-0101")
    desk.change("UPDATE inventory_items SET archived_at = now()")
    vouched = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "new"}
    for more in ({}, vouched):
        refusal = desk.refused(CREATE, desk.wish("RM-0101", **more), by="master")
        assert (refusal.code, "restore" in refusal.said) == ("ITEM_ARCHIVED", True)


def test_a_thing_has_one_open_repair(desk: WorkshopDesk) -> None:
    desk.item("RM-0101")
    first = desk.intake("RM-0101")
    assert desk.refused(CREATE, desk.wish("RM-0101"), by="master").code == "ITEM_IN_REPAIR"
    desk.run(CANCEL, _WHY, first, by="ops_manager")
    assert desk.intake("RM-0101") != first


def test_parts_are_known_in_use_and_of_one_category_which_is_the_things(desk: WorkshopDesk) -> None:
    desk.item("RM-0101")
    deck = {"part_id": str(desk.other_part_id), "color": "red", "minutes": 5}
    frame = desk.specs()[0]
    for specs, said in (
        ([{**frame, "part_id": str(uuid4())}], "no part"),
        ([frame, deck], "one category"),
        ([deck], "own category"),
    ):
        refusal = desk.refused(CREATE, desk.wish("RM-0101", part_specs=specs), by="master")
        assert (refusal.code, said in refusal.said) == ("INVALID_REQUEST", True), refusal
    desk.change("UPDATE parts SET is_active = false WHERE id = :id", id=desk.part_ids[0])
    assert "no part" in desk.refused(CREATE, desk.wish("RM-0101"), by="master").said
    theirs = WorkshopDesk.of(desk.db)
    assert "no part" in desk.refused(CREATE, desk.wish("RM-0101", part_specs=theirs.specs()), by="master").said


def test_a_thing_without_a_category_gets_that_of_its_parts(desk: WorkshopDesk) -> None:
    desk.item("RM-0101", category=None)
    said = desk.run(CREATE, desk.wish("RM-0101"), by="master").body["data"]
    assert said["category_name"] == "Bikes"


def test_nobody_approves_what_they_take_in(desk: WorkshopDesk) -> None:
    wish = desk.wish(approve_review=True)
    assert desk.refused(CREATE, wish, by="admin").code == "FOUR_EYES"
    held = desk.people["master"].permissions - {Permission.WORKSHOP_REVIEW}
    only_takes_in = replace(desk.people["master"], permissions=held)
    assert desk.refused(CREATE, wish, by=only_takes_in).code == "INVALID_REQUEST"
    order_id = desk.intake(by="admin")
    for command, asked in ((REVIEW, Nothing()), (SET_METRICS, _RED)):
        assert desk.refused(command, asked, order_id, by="admin").code == "FOUR_EYES"
    assert desk.steps(order_id) == [("workshop.create", None, "under_review")]


def test_a_refused_intake_leaves_nothing(desk: WorkshopDesk) -> None:
    vouched = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "new"}
    wish = desk.wish("RM-0101", part_specs=[{**desk.specs()[0], "part_id": str(uuid4())}], **vouched)
    desk.refused(CREATE, wish, by="master")
    for table in ("inventory_items", "work_orders", "repairs", "repair_parts", "work_order_events"):
        assert desk.rows(f"SELECT count(*) FROM {table} WHERE org_id = :org") == [(0,)]
    assert desk.trail() == [("workshop.create", "refused", "INVALID_REQUEST")]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"serial_number": " \t"}, {"serial_number": 5}, {"part_specs": []}, {"part_specs": [{}]}),
        *({"flag_color": "red"}, {"xp_amount": 4}, {"flag_color": "blue", "xp_amount": 1}),
        *({"flag_color": "red", "xp_amount": -1}, {"flag_color": "red", "xp_amount": 1.5}),
        *({"confirm_create_inventory_item": "yes"}, {"approve_review": 1}, {"title": "a\x00b"}),
    ],
    ids=str,
)
def test_an_intake_is_checked_whole(wrong: dict[str, Any]) -> None:
    spec = {"part_id": str(UUID(int=1)), "color": "green", "minutes": 1}
    with pytest.raises(ValidationError):
        NewRepair(**{"serial_number": "RM-0101", "part_specs": [spec], **wrong})


@pytest.mark.parametrize(
    "wrong",
    [{"minutes": 0}, {"minutes": "5"}, {"minutes": True}, {"color": "blue"}, {"part_id": 7}, {"comment": None}],
    ids=str,
)
def test_a_part_spec_is_checked_whole(wrong: dict[str, Any]) -> None:
    spec = {"part_id": str(UUID(int=1)), "color": "green", "minutes": 1}
    with pytest.raises(ValidationError):
        NewRepair(serial_number="RM-0101", part_specs=[spec | wrong])
    with pytest.raises(ValidationError):
        NewRepair(serial_number="RM-0101", part_specs=[spec, spec])


def test_a_review_is_approved_once_and_keeps_who_was_first(desk: WorkshopDesk) -> None:
    order_id = desk.intake()
    first = desk.review(order_id).body["data"]
    assert (first["status"], first["approved_by"]) == ("new", str(desk.person_id("ops_manager")))
    again = desk.review(order_id, by="admin").body["data"]
    assert (again["approved_by"], again["approved_at"], again["version"]) == (
        *(first["approved_by"], first["approved_at"]),
        first["version"],
    )
    assert desk.steps(order_id)[1:] == [
        ("workshop.review", "under_review", "new"),
        ("workshop.review", "new", "new"),
    ]


def test_metrics_by_hand_approve_the_review_as_well(desk: WorkshopDesk) -> None:
    order_id = desk.intake()
    said = desk.run(SET_METRICS, _RED, order_id, by="ops_manager").body["data"]
    assert (said["status"], said["flag_color"], said["xp_amount"], said["is_manual"]) == ("new", "red", 9, True)
    assert said["approved_by"] == str(desk.person_id("ops_manager"))
    assert last_step(desk, order_id)["xp_amount"] == {"before": 1, "after": 9}
    later = desk.run(SET_METRICS, ManualMetrics(flag_color="green", xp_amount=0), order_id, by="admin").body["data"]
    assert (later["xp_amount"], later["approved_by"]) == (0, said["approved_by"])


def test_who_works_on_it_does_not_say_what_it_is_worth(desk: WorkshopDesk) -> None:
    order_id = desk.at(_S.ASSIGNED, "admin").order_id
    assert desk.refused(SET_METRICS, _RED, order_id, by="admin").code == "FOUR_EYES"
    assert desk.run(SET_METRICS, _RED, order_id, by="ops_manager").status == 200


def test_who_said_what_it_is_worth_does_not_get_it(desk: WorkshopDesk) -> None:
    """In the other order: an admin could set the points and then do the work."""
    order_id = desk.intake()
    desk.run(SET_METRICS, _RED, order_id, by="admin")
    give = RepairAssignment(technician_id=desk.person_id("admin"))
    assert desk.refused(ASSIGN, give, order_id, by="ops_manager").code == "FOUR_EYES"
    assert desk.assign(order_id, "tech").body["data"]["status"] == "assigned"


def test_it_is_given_to_a_technician_after_its_review_alone(desk: WorkshopDesk) -> None:
    order_id = desk.intake()
    give = RepairAssignment(technician_id=desk.person_id("tech"))
    assert desk.refused(ASSIGN, give, order_id, by="ops_manager").code == "REVIEW_REQUIRED"
    desk.review(order_id)
    answer = desk.run(ASSIGN, give, order_id, by="ops_manager").body["data"]
    assert (answer["status"], answer["technician"]) == ("assigned", str(desk.person_id("tech")))
    assert answer["assigned_at"] is not None
    order = desk.read(order_id)
    assert (order.attempt, order.assigned_by_id) == (1, desk.person_id("ops_manager"))
    assert told(desk, order_id) == [("tech", "WO_ASSIGNED")]


@pytest.mark.parametrize("who", ["inspector", "master", "viewer", "nobody", "stranger", "gone"])
def test_it_is_given_to_no_one_who_does_not_work_in_the_workshop(desk: WorkshopDesk, who: str) -> None:
    order_id = desk.at(_S.NEW).order_id
    if who == "stranger":
        person_id = WorkshopDesk.of(desk.db).person_id("tech")
    elif who == "gone":
        person_id = desk.person_id("tech")
        desk.change("UPDATE memberships SET is_active = false WHERE person_id = :id", id=person_id)
    else:
        person_id = uuid4() if who == "nobody" else desk.person_id(who)
    assert desk.refused(ASSIGN, RepairAssignment(technician_id=person_id), order_id, by="ops_manager").code == (
        "INVALID_REQUEST"
    )
    assert desk.read(order_id).assigned_to_id is None


def test_given_to_somebody_else_both_are_told_and_to_the_same_person_again_nothing_changes(desk: WorkshopDesk) -> None:
    order_id = desk.at(_S.ASSIGNED).order_id
    before = desk.read(order_id)
    assert desk.assign(order_id, "tech").version == before.version
    assert desk.assign(order_id, "other_tech").body["data"]["status"] == "assigned"
    assert (desk.read(order_id).attempt, desk.read(order_id).version) == (2, before.version + 1)
    assert sorted(told(desk, order_id)) == [
        ("other_tech", "WO_ASSIGNED"),
        ("tech", "WO_ASSIGNED"),
        ("tech", "WO_REASSIGNED"),
    ]


def test_rework_may_go_to_somebody_else_and_stays_rework(desk: WorkshopDesk) -> None:
    order_id = desk.repair(_S.REWORK, "tech").order_id
    assert desk.assign(order_id, "other_tech").body["data"]["status"] == "rework"
    assert desk.steps(order_id) == [("workshop.assign", "rework", "rework")]


@pytest.mark.parametrize("state", [one for one in _S if one in {_S(s) for s in states_before(
    WorkPolicy.WORKSHOP, "workshop.cancel")}])  # fmt: skip
def test_every_open_repair_can_be_given_up_and_what_was_in_service_is_ready_again(
    desk: WorkshopDesk, state: WorkOrderState
) -> None:
    to = None if state in {_S.UNDER_REVIEW, _S.NEW} else "tech"
    order = desk.repair(state, to)
    said = desk.run(CANCEL, _WHY, order.order_id, by="ops_manager").body["data"]
    assert (said["status"], said["finished_at"]) == ("cancelled", None)
    assert said["cancelled_at"] is not None
    assert desk.item_state(order.item_id) == "ready"
    assert last_step(desk, order.order_id) == {"reason": "scrapped"}
    assert told(desk, order.order_id) == ([] if to is None else [("tech", "WO_CANCELLED")])


def test_giving_up_what_somebody_works_on_stops_the_session_and_frees_them(desk: WorkshopDesk) -> None:
    order = desk.at(_S.IN_PROGRESS)
    assert desk.item_state(order.item_id) == "in_service"
    said = desk.run(CANCEL, _WHY, order.order_id, by="ops_manager").body["data"]
    assert said["work_session"] is None
    assert desk.rows("SELECT state FROM work_sessions") == [("stopped",)]
    assert desk.rows("SELECT action, data FROM work_session_events ORDER BY id")[-1] == (
        *("stopped",),
        {"reason": "scrapped"},
    )
    assert desk.item_state(order.item_id) == "ready"
    assert desk.at(_S.IN_PROGRESS).state is _S.IN_PROGRESS


def test_every_move_of_the_workshop_is_a_commands_and_every_open_state_has_a_way_out() -> None:
    named = {name: one for name, one in TABLE.items() if name.startswith("workshop.")}
    moves, begun = MOVES[WorkPolicy.WORKSHOP], BEGINNINGS[WorkPolicy.WORKSHOP]
    assert {name for name, one in named.items() if one.moves} == set(moves)
    assert {name for name, one in named.items() if one.beginnings} == set(begun)
    for name, one in named.items():
        assert one.moves == moves_of(WorkPolicy.WORKSHOP, name)
        assert one.beginnings or one.from_states == states_before(WorkPolicy.WORKSHOP, name)
    reached = {"under_review"}
    while more := {there for one in moves for here, there in moves_of(WorkPolicy.WORKSHOP, one) if here in reached} - (
        reached
    ):
        reached |= more
    assert reached == set(STATES[WorkPolicy.WORKSHOP])
    assert {here for one in moves for here, _ in moves_of(WorkPolicy.WORKSHOP, one)} == reached - {"done", "cancelled"}


def test_a_blocked_thing_stays_blocked_when_its_repair_is_given_up_before_it_began(desk: WorkshopDesk) -> None:
    order = desk.repair(_S.ASSIGNED, "tech", item_id=desk.item(state=InventoryState.BLOCKED))
    desk.run(CANCEL, _WHY, order.order_id, by="ops_manager")
    assert desk.item_state(order.item_id) == "blocked"


_ONE = [
    (REVIEW, Nothing()),
    (SET_METRICS, _RED),
    (ASSIGN, RepairAssignment(technician_id=UUID(int=1))),
    (CANCEL, _WHY),
]


@pytest.mark.parametrize(("command", "asked"), _ONE, ids=lambda one: getattr(one, "name", ""))
def test_a_command_is_refused_in_every_other_state_and_changes_nothing(
    desk: WorkshopDesk, command: Command[Any, Any], asked: Any
) -> None:
    assert command.from_states is not None
    for state in WorkOrderState:
        if state in {_S.CREATED, _S.RETURNED, _S.OUTSOURCED} or state.value in command.from_states:
            continue
        order = desk.repair(state, None if state in {_S.UNDER_REVIEW, _S.NEW} else "tech")
        refusal = desk.refused(command, asked, order.order_id, by="ops_manager")
        assert refusal.code == "INVALID_STATE_TRANSITION", state
        assert replace(desk.read(order.order_id), now=order.now) == order
        # In progress holds its technician; the next one must be free.
        desk.change("UPDATE work_orders SET state = 'cancelled' WHERE id = :id", id=order.order_id)


@pytest.mark.parametrize(("command", "asked"), _ONE, ids=lambda one: getattr(one, "name", ""))
def test_an_order_of_the_field_or_of_another_organization_is_not_there(
    desk: WorkshopDesk, command: Command[Any, Any], asked: Any
) -> None:
    field = desk.order(_S.CREATED)
    theirs = WorkshopDesk.of(desk.db).repair()
    for name in (field.order_id, field.code, theirs.order_id, theirs.code, uuid4(), "nothing"):
        assert desk.refused(command, asked, name, by="admin").code == "WORK_ORDER_NOT_FOUND"


def test_a_system_that_is_nobody_reviews_nothing(desk: WorkshopDesk) -> None:
    order_id = desk.intake()
    nobody = replace(desk.people["admin"], person_id=None)
    for command, asked in ((REVIEW, Nothing()), (SET_METRICS, _RED)):
        assert desk.refused(command, asked, order_id, by=nobody).code == "FORBIDDEN"
