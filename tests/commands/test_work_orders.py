"""What technicians and leads do to work orders: states, gates, attempts, who is told, and the checklist behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from models.enums import PhotoKind, Reach, TicketPriority, WorkOrderState
from models.work_lifecycle import BEGINNINGS, FIELD, FOLLOWED, MOVES, STATES, STAYS
from pipeline.command import Command
from pipeline.commands.work_order_arguments import (
    Finish,
    NewOrder,
    Nothing,
    OutsourcedEnd,
    Outsourcing,
    Reasoned,
    SourceChecklist,
)
from pipeline.commands.work_orders import DONE, RETURN, START
from pipeline.commands.work_orders_create import CREATE
from pipeline.commands.work_orders_lead import ASSIGN, CANCEL, COMPLETE_OUTSOURCED, OUTSOURCE
from pipeline.core.principals import Scope
from pipeline.runtime.db import Database
from pipeline.table import COMMANDS
from tests import factories
from tests.commands.order_work import assignment, at_work, checklist, make, new_order, parent, prove, told
from tests.commands.work_desk import WorkDesk
from tests.ops_api import people

S = WorkOrderState
WHY = Reasoned(reason=" the bolt is missing ")
VENDOR = Outsourcing(vendor="Acme Rides")


@pytest.fixture
def desk(db: Database) -> WorkDesk:
    return WorkDesk.of(db)


def test_the_commands_make_the_moves_of_the_lifecycle_and_no_others() -> None:
    ours = {name: one for name, one in COMMANDS.items() if name.startswith("work_order.")}
    movers = {name for name, one in ours.items() if one.moves}
    assert movers == set(MOVES[FIELD]) - {FOLLOWED}
    for name in movers:
        assert ours[name].moves == {(before.value, after.value) for before, after in MOVES[FIELD][name]}
        stays = {state.value for state in STAYS.get(name, ())}
        assert ours[name].from_states == {before for before, _ in ours[name].moves} | stays
    assert {CREATE.name: CREATE.beginnings} == {name: {"created"} for name, one in ours.items() if one.beginnings}
    assert WorkOrderState.CREATED in BEGINNINGS[FIELD][CREATE.name]


def test_from_every_open_state_an_end_is_come_to() -> None:
    out: dict[str, set[str]] = {}
    for pairs in MOVES[FIELD].values():
        for before, after in pairs:
            out.setdefault(before.value, set()).add(after.value)
    for state in STATES[FIELD]:
        reached, edge = {state.value}, {state.value}
        while edge:
            edge = {there for here in edge for there in out.get(here, ())} - reached
            reached |= edge
        assert "done" in reached or state is S.CANCELLED


def test_an_order_goes_from_hand_to_hand_to_its_end(desk: WorkDesk) -> None:
    order = desk.order(created_by_id=desk.person_id("ops_lead"))
    given = desk.run(ASSIGN, assignment(desk, "tech"), order.order_id, by="lead", version=0)
    assert given.body["state"] == "ASSIGNED"
    assert (given.body["assignedToId"], given.body["attempt"]) == (str(desk.person_id("tech")), 1)
    begun = desk.run(START, Nothing(), order.order_id, version=1)
    assert begun.body == {"state": "IN_PROGRESS", "startedAt": begun.body["startedAt"], "version": 2}
    assert begun.body["startedAt"].endswith("Z")
    prove(desk, order.order_id)
    ended = desk.run(DONE, Finish(fix_note="new brake"), order.order_id, version=2)
    assert set(ended.body) == {"state", "closedAt", "version", "parentReleased"}
    assert (ended.body["state"], ended.body["version"], ended.body["parentReleased"]) == ("DONE", 3, False)
    now = desk.read(order.order_id)
    assert (now.fix_note, now.closed_at is not None, now.attempt) == ("new brake", True, 1)
    assert desk.steps(order.order_id) == [
        ("work_order.assign", "created", "assigned"),
        ("work_order.start", "assigned", "in_progress"),
        ("work_order.done", "in_progress", "done"),
    ]
    assert told(desk) == [("WO_ASSIGNED", desk.person_id("tech"))]


def test_a_technician_starts_ends_and_gives_back_from_the_states_of_the_decision_only(desk: WorkDesk) -> None:
    for state in STATES[FIELD]:
        why = {"return_reason": "x"} if state is S.RETURNED else {}
        order = desk.order(state, "tech", **why, outsourced_to="Acme")
        prove(desk, order.order_id)
        for command, asked, allowed in (
            (START, Nothing(), {S.ASSIGNED}),
            (DONE, Finish(), {S.IN_PROGRESS}),
            (RETURN, WHY, {S.ASSIGNED, S.IN_PROGRESS}),
        ):
            if state not in allowed:
                refusal = desk.refused(command, asked, order.order_id)
                assert (refusal.code, refusal.details["from_state"]) == ("INVALID_STATE_TRANSITION", state.value)
        assert desk.read(order.order_id).version == 0


def test_who_reaches_every_order_does_the_technician_s_part_of_none(desk: WorkDesk) -> None:
    begun, given = at_work(desk), desk.order(S.ASSIGNED, "tech")
    for command, asked, order in ((START, Nothing(), given), (RETURN, WHY, given), (DONE, Finish(), begun)):
        assert desk.refused(command, asked, order.order_id, by="admin").code == "NOT_ASSIGNED"


def test_done_asks_for_a_photo_of_the_finished_work_of_this_attempt_that_nobody_removed(desk: WorkDesk) -> None:
    order = desk.order(S.IN_PROGRESS, "tech")
    desk.change("UPDATE work_orders SET attempt = 2 WHERE id = :id", id=order.order_id)
    prove(desk, order.order_id, attempt=1)
    prove(desk, order.order_id, attempt=2, kind=PhotoKind.ISSUE)
    prove(desk, order.order_id, attempt=2)
    desk.change(
        "UPDATE order_photos SET removed_at = now(), removed_by = 'x' WHERE attempt = 2 AND kind = 'COMPLETION'"
    )
    refusal = desk.refused(DONE, Finish(), order.order_id)
    assert (refusal.code, list(refusal.details["fields"])) == ("FIX_PHOTO_MISSING", ["fixPhoto"])
    prove(desk, order.order_id, attempt=2)
    assert desk.run(DONE, Finish(), order.order_id).body["state"] == "DONE"


def test_a_reason_must_say_something(desk: WorkDesk) -> None:
    order = desk.order(S.ASSIGNED, "tech")
    for reason in (None, "", " \t\n", "\N{ZERO WIDTH SPACE}\N{NO-BREAK SPACE}"):
        for command, by in ((RETURN, "tech"), (CANCEL, "lead")):
            refusal = desk.refused(command, Reasoned(reason=reason), order.order_id, by=by)
            assert (refusal.code, list(refusal.details["fields"])) == ("INVALID_REQUEST", ["reason"])


def test_what_was_given_back_stays_with_its_technician_until_it_is_given_again(desk: WorkDesk) -> None:
    order = at_work(desk, checklist_id=checklist(desk))
    body = desk.run(RETURN, WHY, order.order_id).body
    assert body == {"state": "RETURNED", "version": 1}
    now = desk.read(order.order_id)
    assert (now.return_reason, now.assigned_to_id) == ("the bolt is missing", desk.person_id("tech"))
    # Nobody gave it: whoever may is told.
    assert set(told(desk)) == {("WO_RETURNED", desk.person_id(name)) for name in ("lead", "admin")}
    for command, asked in ((START, Nothing()), (DONE, Finish()), (RETURN, WHY)):
        assert desk.refused(command, asked, order.order_id).code == "INVALID_STATE_TRANSITION"
    desk.run(ASSIGN, assignment(desk, "tech"), order.order_id, by="lead")
    again = desk.read(order.order_id)
    assert (again.state, again.attempt, again.started_at, again.due_at) == (S.ASSIGNED, 2, None, order.due_at)
    desk.run(START, Nothing(), order.order_id)
    assert desk.refused(DONE, Finish(), order.order_id).code == "FIX_PHOTO_MISSING"


def test_given_to_another_both_are_told_and_the_first_reads_it_no_more(desk: WorkDesk) -> None:
    order = at_work(desk)
    desk.change("UPDATE work_orders SET started_at = now(), due_soon_told_at = now(), overdue_told_at = now()")
    desk.run(ASSIGN, assignment(desk, "other_tech"), order.order_id, by="lead")
    now = desk.one("SELECT * FROM work_orders WHERE id = :id", id=order.order_id)
    assert (now.state, now.attempt, now.started_at) == ("assigned", 2, None)
    assert (now.assigned_by_id, now.due_soon_told_at, now.overdue_told_at) == (desk.person_id("lead"), None, None)
    assert sorted(told(desk)) == [
        ("WO_ASSIGNED", desk.person_id("other_tech")),
        ("WO_REASSIGNED", desk.person_id("tech")),
    ]
    assert desk.refused(START, Nothing(), order.order_id).code == "FORBIDDEN"
    step = desk.one("SELECT data FROM work_order_events WHERE order_id = :id", id=order.order_id)
    assert step.data == {"from": str(desk.person_id("tech")), "to": str(desk.person_id("other_tech"))}


def test_given_to_who_has_it_nothing_changes(desk: WorkDesk) -> None:
    for state in (S.ASSIGNED, S.IN_PROGRESS):
        order = desk.order(state, "tech")
        answer = desk.run(ASSIGN, assignment(desk, "tech"), order.order_id, by="lead")
        assert (answer.status, answer.version, answer.body["state"]) == (200, 0, state.value.upper())
        assert (desk.read(order.order_id).attempt, told(desk)) == (1, [])


def test_it_is_given_to_active_technicians_of_its_zone_alone(desk: WorkDesk) -> None:
    order = desk.order()
    for name in ("viewer", "store"):
        refusal = desk.refused(ASSIGN, assignment(desk, name), order.order_id, by="lead")
        assert (refusal.code, list(refusal.details["fields"])) == ("UNKNOWN_TECHNICIAN", ["technicianId"])
    desk.change("UPDATE memberships SET is_active = false WHERE person_id = :id", id=desk.person_id("tech"))
    assert desk.refused(ASSIGN, assignment(desk, "tech"), order.order_id, by="lead").code == "UNKNOWN_TECHNICIAN"
    person_id = desk.person_id("other_tech")
    with desk.db.begin() as connection:
        people.narrow(connection, desk.org_id, person_id, Reach.SITE, sites=(desk.other_site_id,))
    refusal = desk.refused(ASSIGN, assignment(desk, "other_tech"), order.order_id, by="lead")
    assert (refusal.code, list(refusal.details["fields"])) == ("TECHNICIAN_OUT_OF_ZONE", ["technicianId"])
    theirs = desk.order(site_id=desk.other_site_id)
    assert desk.run(ASSIGN, assignment(desk, "other_tech"), theirs.order_id, by="lead").status == 200


def test_a_lead_of_another_zone_gives_nothing_there(desk: WorkDesk) -> None:
    order = desk.order()
    lead = replace(desk.people["lead"], scope=Scope(reach=Reach.SITE, site_ids=frozenset({desk.other_site_id})))
    assert desk.refused(ASSIGN, assignment(desk, "tech"), order.order_id, by=lead).code == "FORBIDDEN"


def test_what_goes_out_is_ended_by_the_store_manager_or_taken_back(desk: WorkDesk) -> None:
    order = desk.order(S.ASSIGNED, "tech", checklist_id=(held := checklist(desk)))
    assert desk.refused(COMPLETE_OUTSOURCED, OutsourcedEnd(), order.order_id, by="store").code == "FORBIDDEN"
    body = desk.run(OUTSOURCE, VENDOR, order.order_id, by="lead").body
    assert (body["state"], body["outsourcedTo"], body["assignedToId"]) == ("OUTSOURCED", "Acme Rides", None)
    assert told(desk) == [("WO_REASSIGNED", desk.person_id("tech"))]
    desk.run(ASSIGN, assignment(desk, "tech"), order.order_id, by="lead")
    desk.run(OUTSOURCE, VENDOR, order.order_id, by="lead")
    body = desk.run(COMPLETE_OUTSOURCED, OutsourcedEnd(note="new brake"), order.order_id, by="store").body
    assert (body["state"], body["parentReleased"], parent(desk, held)) == ("DONE", True, "released")
    assert desk.read(order.order_id).fix_note == "new brake"


def test_what_is_given_up_releases_its_checklist_and_who_had_it_is_told(desk: WorkDesk) -> None:
    held = checklist(desk)
    first, last = (desk.order(S.ASSIGNED, "tech", checklist_id=held) for _ in range(2))
    assert desk.run(CANCEL, WHY, first.order_id, by="ops_lead").body["parentReleased"] is False
    body = desk.run(CANCEL, WHY, last.order_id, by="lead").body
    assert (body["state"], body["parentReleased"], parent(desk, held)) == ("CANCELLED", True, "released")
    assert told(desk) == [("WO_CANCELLED", desk.person_id("tech"))] * 2
    assert desk.refused(CANCEL, WHY, last.order_id, by="lead").code == "INVALID_STATE_TRANSITION"


def test_an_order_of_a_ticket_is_changed_there(desk: WorkDesk) -> None:
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id)
    orders = {state: desk.order(state, "tech", ticket_id=ticket_id) for state in (S.ASSIGNED, S.IN_PROGRESS)}
    for command, asked, by, state in (
        (START, Nothing(), "tech", S.ASSIGNED),
        (DONE, Finish(), "tech", S.IN_PROGRESS),
        (RETURN, WHY, "tech", S.ASSIGNED),
        (ASSIGN, assignment(desk, "other_tech"), "lead", S.ASSIGNED),
        (OUTSOURCE, VENDOR, "lead", S.ASSIGNED),
        (CANCEL, WHY, "lead", S.ASSIGNED),
    ):
        refusal = desk.refused(command, asked, orders[state].order_id, by=by)
        assert (refusal.code, refusal.details) == ("FOLLOWS_TICKET", {"ticket_id": str(ticket_id)})


def test_a_failed_item_becomes_an_order_and_holds_its_checklist(desk: WorkDesk) -> None:
    answer = make(desk, instructions="lock the ride first")
    body = answer.body
    assert (answer.status, answer.version, body["state"], body["assignedToId"]) == (201, 0, "CREATED", None)
    assert (body["title"], body["priority"], body["instructions"]) == (
        "The brake squeals", "normal", "lock the ride first",
    )  # fmt: skip
    assert body["gameZone"] == {"id": str(desk.site_id), "name": "North"}
    assert (body["ride"]["id"], body["sourceChecklist"]["state"]) == (str(desk.ride_id), "HELD")
    assert body["aItem"] == {"id": "b7", "text": "The brake squeals", "note": None}
    order = desk.read(body["id"])
    assert (order.code, order.created_by_id) == (body["code"], desk.person_id("ops_lead"))
    assert order.due_at is not None
    assert order.due_at - order.created_at == timedelta(hours=24)
    assert desk.steps(order.order_id) == [("work_order.create", None, "created")]
    assert desk.trail(order.order_id) == [("work_order.create", "done", None)]
    urgent = desk.read(make(desk, "b8", priority=TicketPriority.URGENT).body["id"])
    assert urgent.due_at is not None
    assert urgent.due_at - urgent.created_at == timedelta(hours=1)
    assert urgent.checklist_id == order.checklist_id


def test_a_failed_item_has_one_open_order_and_a_new_one_once_that_is_over(desk: WorkDesk) -> None:
    first = make(desk).body
    refusal = desk.refused(CREATE, new_order(desk), by="ops_lead")
    assert (refusal.code, refusal.details) == ("DUPLICATE_WORK_ORDER", {"code": first["code"]})
    make(desk, "b8")
    desk.run(CANCEL, WHY, first["id"], by="ops_lead")
    assert make(desk).body["sourceChecklist"]["id"] == first["sourceChecklist"]["id"]


def test_a_released_checklist_is_held_again_by_its_id_and_its_name_begins_a_new_round(desk: WorkDesk) -> None:
    first = make(desk).body
    held = first["sourceChecklist"]["id"]
    assert desk.run(CANCEL, WHY, first["id"], by="lead").body["parentReleased"] is True
    assert parent(desk, held) == "released"
    anew = make(desk).body["sourceChecklist"]["id"]
    assert (anew != held, parent(desk, held)) == (True, "released")
    again = make(desk, source=SourceChecklist(id=held)).body["sourceChecklist"]
    assert (again["id"], again["state"], parent(desk, held)) == (held, "HELD", "held")


def test_an_order_is_made_in_a_place_that_is_there_and_within_reach(desk: WorkDesk) -> None:
    ops = replace(desk.people["ops_lead"], scope=Scope(reach=Reach.SITE, site_ids=frozenset({desk.other_site_id})))
    assert desk.refused(CREATE, new_order(desk), by=ops).code == "FORBIDDEN"
    ours, other = SourceChecklist(id=checklist(desk)), WorkDesk.of(desk.db)
    for name, more in (
        ("gameZoneId", {"game_zone_id": other.site_id}),
        ("rideId", {"ride_id": other.ride_id}),
        ("sourceChecklist", {"source": SourceChecklist(id=checklist(other))}),
        ("sourceChecklist", {"source": ours, "game_zone_id": desk.other_site_id}),
    ):
        assert list(desk.refused(CREATE, new_order(desk, **more), by="ops_lead").details["fields"]) == [name]
    assert make(desk, source=ours, ride_id=None).body["ride"]["id"] == str(desk.ride_id)
    assert desk.rows("SELECT count(*) FROM checklists WHERE org_id = :org") == [(1,)]


@pytest.mark.parametrize(
    "more",
    [
        {"sourceChecklist": {}},
        {"sourceChecklist": {"id": "00000000-0000-0000-0000-00000000002a", "name": "x"}},
        {"aItem": {"id": "b7", "text": "  "}},
        {"dueAt": "0001-01-01T00:00:00+14:00"},
        {"dueAt": 7},
        {"priority": "soon"},
        {"zone": "North"},
    ],
    ids=str,
)
def test_a_wish_for_an_order_that_cannot_be_read_is_refused(more: dict[str, object]) -> None:
    good = {
        "gameZoneId": "00000000-0000-0000-0000-00000000002a",
        "sourceChecklist": {"name": "Morning round"},
        "aItem": {"id": "b7", "text": "brake"},
        "priority": "URGENT",
        "dueAt": "2030-01-01T00:00:00Z",
    }
    assert NewOrder.model_validate(good).priority is TicketPriority.URGENT
    with pytest.raises(ValidationError):
        NewOrder.model_validate(good | more)


def test_roles_of_the_contract_may_and_no_others(desk: WorkDesk) -> None:
    order, workers = desk.order(S.DONE, "tech"), {"tech", "other_tech", "admin"}
    rows: tuple[tuple[Command[Any, Any], BaseModel, set[str]], ...] = (
        (START, Nothing(), workers),
        (DONE, Finish(), workers),
        (RETURN, WHY, workers),
        (ASSIGN, assignment(desk, "tech"), {"lead", "admin"}),
        (OUTSOURCE, VENDOR, {"lead", "admin"}),
        (COMPLETE_OUTSOURCED, OutsourcedEnd(), {"lead", "store", "admin"}),
        (CANCEL, WHY, {"lead", "ops_lead", "admin"}),
    )
    for command, asked, names in rows:
        said = {name: desk.refused(command, asked, order.order_id, by=name).said for name in desk.people}
        assert {name for name, one in said.items() if not one.startswith("the role")} == names, command.name
