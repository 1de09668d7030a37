"""Dispatch: one open work order per case, for a team chosen with its reasons, when the policy lets it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import AssessedBecause, SignalStatus
from pipeline.core.scoring import Signal
from pipeline.runtime import case_rows, signal_rows
from pipeline.runtime.db import Database
from pipeline.stages import dispatch
from tests import factories
from tests.factories import mail
from tests.ops_api import people
from tests.stages.world import World

STAGE = dispatch.STAGE


def asset(world: World, tag: str = "AUS_0123", **options: str) -> UUID:
    with world.db.begin() as connection:
        return factories.asset(connection, world.org_id, tag, **options)


def case(world: World, tag: str = "AUS_0123", **options: Any) -> UUID:
    asset_id = asset(world, tag, kind="charger", zone="north")
    with world.db.begin() as connection:
        return factories.case(connection, world.org_id, asset_id, **options)


def team(world: World, name: str, **options: Any) -> UUID:
    with world.db.begin() as connection:
        return factories.team(connection, world.org_id, name, **options)


def orders(world: World) -> list[Any]:
    return world.rows("SELECT * FROM work_orders ORDER BY number")


def test_a_case_becomes_a_work_order_due_within_its_service_level(world: World):
    found = case(world, hours=4)
    world.run(STAGE, found)
    (order,) = orders(world)
    assert (order.case_id, order.state, order.team_id, order.ticket_id) == (found, "created", None, None)
    assert order.due_at - order.created_at == timedelta(hours=4)
    assert order.trace_id


def test_a_work_order_begins_with_a_step_under_an_audit_row_of_its_own(world: World):
    world.run(STAGE, found := case(world, hours=1))
    (order,) = orders(world)
    assert (order.title, order.priority, order.attempt) == ("AUS_0123", "urgent", 0)
    assert world.rows("SELECT asset_id FROM cases WHERE id = :id", id=found) == [(order.asset_id,)]
    steps = world.rows("""
        SELECT e.command, e.from_state, e.to_state, e.actor_id, a.action, a.actor_kind, a.target_kind, a.target_id
          FROM work_order_events e JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
    """)
    assert [tuple(step) for step in steps] == [
        ("stage.dispatch", None, "created", "system", "stage.dispatch", "SYSTEM", "work_order", str(order.id))
    ]


def test_a_trouble_that_a_person_confirmed_needs_no_priority(world: World):
    world.run(STAGE, found := case(world, priority=41))
    assert orders(world) == []
    world.rows("UPDATE cases SET verified_result = 'confirmed_issue', verified_at = now() WHERE id = :id", id=found)
    world.run(STAGE, found)
    assert [order.case_id for order in orders(world)] == [found]


@pytest.mark.parametrize("state", ["assigned", "returned"])
def test_a_case_whose_order_is_with_somebody_gets_no_second_one(world: World, state: str):
    world.run(STAGE, found := case(world))
    with world.db.begin() as connection:
        person_id = people.member(connection, world.org_id, "technician")
    world.rows(
        "UPDATE work_orders SET state = :state, assigned_to_id = :person, return_reason = 'x'",
        state=state,
        person=person_id,
    )
    assert world.run(STAGE, found).loaded == 0


def test_the_best_team_is_chosen_and_every_candidate_keeps_its_reasons(world: World):
    best = team(world, "chargers north", skills=("charger",), zones=("north",))
    team(world, "all-rounders")
    lacking = team(world, "plumbers", skills=("water",))
    world.run(STAGE, case(world))
    (order,) = orders(world)
    assert order.team_id == best
    reasons = {one["name"]: one for one in order.choice}
    assert set(reasons) == {"chargers north", "all-rounders", "plumbers"}
    assert reasons["plumbers"]["score"] is None
    assert reasons["plumbers"]["reasons"] == ["lacks the skill charger"]
    assert reasons["chargers north"]["score"] > reasons["all-rounders"]["score"]
    assert "zone north: 30" in reasons["chargers north"]["reasons"]
    assert reasons["plumbers"]["team_id"] == str(lacking)


def test_a_team_without_room_or_out_of_service_is_passed_over(world: World):
    full = team(world, "full", skills=("charger",), capacity=1)
    closed = team(world, "closed", skills=("charger",))
    world.rows("UPDATE teams SET is_active = false WHERE id = :id", id=closed)
    free = team(world, "free")
    first = case(world, "AUS_1")
    with world.db.begin() as connection:
        ticket_id = factories.ticket(connection, world.org_id)
        factories.work_order(connection, world.org_id, first, ticket_id, full)
    world.run(STAGE, case(world, "AUS_2"))
    assert orders(world)[-1].team_id == free


def test_a_case_with_open_work_gets_no_second_order_and_one_whose_work_ended_does(world: World):
    found = case(world)
    world.run(STAGE, found, found)
    assert world.run(STAGE, found).loaded == 0
    assert len(orders(world)) == 1
    world.rows("UPDATE work_orders SET state = 'done'")
    world.run(STAGE, found)
    assert [order.state for order in orders(world)] == ["done", "created"]


def test_eight_threads_that_dispatch_one_case_make_one_open_order(world: World):
    found = [case(world, f"AUS_{number}") for number in range(5)]
    start = Barrier(8)

    def go(turn: int) -> None:
        start.wait()
        world.run(STAGE, *(found if turn % 2 else found[::-1]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, range(8)))
    assert sorted(order.case_id for order in orders(world)) == sorted(found)


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ({"automatic": False}, {}),
        ({"least_priority": 95}, {}),
        ({"least_certainty": 95}, {}),
        ({}, {"priority": 60}),
        ({}, {"confidence": 0.5}),
    ],
)
def test_a_case_that_the_policy_leaves_to_a_person_is_not_dispatched(
    db: Database, rules: dict[str, Any], options: dict[str, Any]
):
    world = World(db, triage={"dispatch": rules})
    ran = world.run(STAGE, case(world, **options))
    assert (ran.loaded, ran.unsaved) == (1, {})
    assert orders(world) == []


def test_a_closed_case_is_not_dispatched(world: World):
    found = case(world)
    world.rows("UPDATE cases SET state = 'closed', closed_at = now(), closed_because = 'quiet'")
    assert world.run(STAGE, found).loaded == 0


def test_the_teams_of_another_organization_are_no_candidates(world: World):
    with world.db.begin() as connection:
        factories.team(connection, factories.organization(connection), "theirs", skills=("charger",))
    world.run(STAGE, case(world))
    (order,) = orders(world)
    assert (order.team_id, order.choice) == (None, [])


def test_from_mail_to_work_order_the_ticket_knows_what_was_done(world: World):
    asset(world)
    mails = [
        mail("Trouble", "AUS_0123 is down.", sender=f"{name}@x.example", in_reply_to="<a@x>")
        for name in ("ann", "bob", "cid")
    ]
    world.dispatched(*mails)
    (order,) = orders(world)
    (ticket,) = world.rows("SELECT id, dispatch_state FROM tickets")
    assert (order.ticket_id, ticket.dispatch_state) == (ticket.id, "READY_TO_SCHEDULE")
    (event,) = world.rows("SELECT ticket_id, data, trace_id FROM events WHERE kind = 'work_order.created'")
    assert event.ticket_id == ticket.id
    assert event.data == {"work_order_id": str(order.id), "code": f"wo_{order.number:03d}"}
    assert event.trace_id == order.trace_id


def found_again(world: World, tag: str, status: str, *, minutes: int) -> bool:
    """Report a charger so many minutes from now; return whether its case asks for somebody without a person."""
    with world.db.begin() as connection:
        now = connection.execute(text("SELECT now()")).scalar_one()
        told = Signal(f"s{minutes}", "ugc", now + timedelta(minutes=minutes), tag, SignalStatus(status))
        locked = signal_rows.report(connection, world.org_id, signal_rows.look(connection, world.org_id, [told]))
        (one,) = case_rows.assess_locked(connection, locked, AssessedBecause.SIGNALS)
    return one.is_asking


def test_a_confirmed_trouble_needs_no_priority_until_something_reports_the_contrary(db: Database):
    rules = {"automatic": True, "from_priority": 0, "least_certainty": 0, "least_priority": 99}
    world = World(db, triage={"dispatch": rules, "verification": {"below": 0}, "evidence": {"most_days": 2}})
    assert found_again(world, "A", "degraded", minutes=-5) is False
    world.rows("UPDATE cases SET verified_result = 'confirmed_issue', verified_at = now() RETURNING id")
    assert found_again(world, "A", "degraded", minutes=1) is True
    assert found_again(world, "A", "online", minutes=2) is False
    case_id = world.value("SELECT DISTINCT case_id FROM signals")
    world.run(STAGE, case_id)
    assert orders(world) == []
    # What is older than evidence counts contradicts nothing any more.
    assert found_again(world, "A", "degraded", minutes=3 * 1440) is True
    world.run(STAGE, case_id)
    assert [one.case_id for one in orders(world)] == [case_id]
