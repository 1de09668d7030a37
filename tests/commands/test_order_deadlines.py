"""Deadlines of work orders: whoever has it at hand and whoever leads it are told once, however many sweep."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import NotificationKind, Reach, WorkOrderState, WorkPolicy
from pipeline.core.orders import Order
from pipeline.runtime import notifying, order_deadlines, order_rows
from pipeline.runtime.db import Database
from pipeline.runtime.order_deadlines import DUE_SOON, OVERDUE
from tests.bench.plans import explained
from tests.commands.work_desk import WorkDesk
from tests.ops_api import people

_STATES = WorkOrderState


@pytest.fixture
def desk(db: Database) -> WorkDesk:
    """Return a place of work."""
    return WorkDesk.of(db)


def due(desk: WorkDesk, minutes: float, state: WorkOrderState = _STATES.ASSIGNED, **more: Any) -> Order:
    """Make an order that is due so many minutes from now."""
    found = desk.order(state, **({"to": "tech"} | more))
    desk.change("UPDATE work_orders SET due_at = now() + make_interval(mins => :minutes) WHERE id = :id",
                minutes=minutes, id=found.order_id)  # fmt: skip
    return desk.read(found.order_id)


def swept(desk: WorkDesk, **options: Any) -> dict[str, int]:
    """Sweep once; return how many orders were told of, by notice."""
    with desk.db.begin() as connection:
        return {notice: found.told for notice, found in order_deadlines.announce(connection, **options).items()}


def told(desk: WorkDesk, order: Order | None = None) -> list[tuple[str, str]]:
    """Return who was told what, by name."""
    names = {one.person_id: name for name, one in desk.people.items()}
    found = desk.rows(
        "SELECT person_id, kind FROM notifications WHERE org_id = :org"
        "   AND (CAST(:id AS uuid) IS NULL OR order_id = :id)", id=order and order.order_id,
    )  # fmt: skip
    return sorted((names[person_id], kind) for person_id, kind in found)


def given_by_the_lead(desk: WorkDesk) -> dict[str, UUID]:
    return {"assigned_by_id": desk.person_id("lead")}


def test_who_has_it_is_told_when_it_is_due_soon_and_the_lead_too_when_it_is_overdue(desk: WorkDesk) -> None:
    soon, late, later = (due(desk, minutes, **given_by_the_lead(desk)) for minutes in (59, -1, 61))
    assert swept(desk) == {OVERDUE: 1, DUE_SOON: 1}
    assert told(desk, soon) == [("tech", "WO_DUE_SOON")]
    # Nobody is told that it will be late what is late already.
    assert told(desk, late) == [("lead", "WO_OVERDUE"), ("tech", "WO_OVERDUE")]
    assert told(desk, later) == []
    assert swept(desk) == {OVERDUE: 0, DUE_SOON: 0}
    assert desk.read(late.order_id).version == late.version


def test_every_notification_has_its_push_in_the_same_transaction(desk: WorkDesk) -> None:
    due(desk, -1, **given_by_the_lead(desk))
    with desk.db.begin() as connection:
        found = order_deadlines.announce(connection)[OVERDUE]
        assert {line.stage for line in found.lines} == {"push"}
        # It could not be told before it was there.
        assert 0 <= found.lag < 60
    assert desk.rows(
        "SELECT count(*) FROM notifications n JOIN jobs j ON j.stage = 'push' AND j.key = CAST(n.id AS text)"
        " WHERE n.org_id = :org"
    ) == [(2,)]


def test_a_returned_order_and_one_of_nobody_are_the_leads_and_those_alone(desk: WorkDesk) -> None:
    returned = due(desk, 10, _STATES.RETURNED, return_reason="no part", **given_by_the_lead(desk))
    created = due(desk, -10, _STATES.CREATED, to=None)
    swept(desk)
    assert told(desk, returned) == [("lead", "WO_DUE_SOON")]
    # Everybody who may give it to somebody.
    assert told(desk, created) == [("admin", "WO_OVERDUE"), ("lead", "WO_OVERDUE")]


def test_what_is_over_or_not_ours_is_nobodys_deadline(desk: WorkDesk) -> None:
    for state, more in (
        (_STATES.DONE, {}),
        (_STATES.CANCELLED, {}),
        (_STATES.OUTSOURCED, {"outsourced_to": "Acme Rides"}),
    ):
        due(desk, -1, state, **more)
    assert swept(desk) == {OVERDUE: 0, DUE_SOON: 0}


def test_a_new_deadline_and_another_technician_are_told_anew_and_the_lead_once_for_each_deadline(
    desk: WorkDesk,
) -> None:
    order = due(desk, -5, **given_by_the_lead(desk))
    swept(desk)
    with desk.db.begin() as connection:
        changes = {"assigned_to_id": desk.person_id("other_tech"), "attempt": 2,
                   "due_soon_told_at": None, "overdue_told_at": None}  # fmt: skip
        order_rows.save(connection, order_rows.read(connection, order.order_id), changes)
    swept(desk)
    assert told(desk) == [("lead", "WO_OVERDUE"), ("other_tech", "WO_OVERDUE"), ("tech", "WO_OVERDUE")]
    desk.change("UPDATE work_orders SET due_at = now() - interval '1 minute', overdue_told_at = NULL")
    swept(desk)
    assert [name for name, _ in told(desk)] == ["lead", "lead", "other_tech", "other_tech", "tech"]


def test_many_sweeps_at_once_tell_each_once_and_wait_for_nobody(desk: WorkDesk) -> None:
    orders = [due(desk, -1 - number, **given_by_the_lead(desk)) for number in range(12)]
    with desk.db.begin() as held:
        held.execute(text("SELECT FROM work_orders WHERE id = :id FOR UPDATE"), {"id": orders[0].order_id})
        with ThreadPoolExecutor(3) as pool:
            counts = list(pool.map(lambda _: swept(desk, limit=3)[OVERDUE], range(6)))
    assert sum(counts) == 11
    assert swept(desk)[OVERDUE] == 1
    assert len(told(desk)) == 24


def leads(desk: WorkDesk, order: Order) -> set[UUID]:
    with desk.db.begin() as connection:
        return set(notifying.leads_of(connection, order))


def test_the_leads_of_an_order_are_who_gave_it_else_who_may_and_reach_its_place(desk: WorkDesk) -> None:
    order = desk.order(_STATES.CREATED)
    admin, lead = desk.person_id("admin"), desk.person_id("lead")
    assert leads(desk, order) == {admin, lead}
    with desk.db.begin() as connection:
        north, south, acme = (
            people.member(connection, desk.org_id, "maintenance_lead", f"{name}-{desk.org_id.hex}@example.org")
            for name in ("north", "south", "acme")
        )
        for person_id, reach, account, site in (
            (north, Reach.SITE, None, desk.site_id),
            (south, Reach.SITE, None, desk.other_site_id),
            (acme, Reach.ACCOUNT, desk.account_id, None),
        ):
            connection.execute(
                text("UPDATE memberships SET reach = :reach WHERE person_id = :person"),
                {"reach": reach.value, "person": person_id},
            )
            connection.execute(
                text("INSERT INTO membership_scopes (org_id, membership_id, account_id, site_id)"
                     " SELECT org_id, id, :account, :site FROM memberships WHERE person_id = :person"),
                {"account": account, "site": site, "person": person_id},
            )  # fmt: skip
    assert leads(desk, order) == {admin, lead, north, acme}
    given = desk.order(_STATES.ASSIGNED, "tech", assigned_by_id=north)
    assert leads(desk, given) == {north}
    # Who may not give it any more, or does not reach it, is told nothing of it.
    assert leads(desk, desk.order(_STATES.ASSIGNED, "tech", assigned_by_id=south)) == {admin, lead, north, acme}
    desk.change("UPDATE memberships SET is_active = false WHERE person_id = :id", id=north)
    desk.change("UPDATE people SET is_active = false WHERE id = :id", id=acme)
    assert leads(desk, given) == {admin, lead}


def test_somebody_is_told_once_for_a_thing_however_often_it_is_said(desk: WorkDesk) -> None:
    order = desk.order(_STATES.ASSIGNED, "tech")
    tech = desk.person_id("tech")
    with desk.db.begin() as connection:
        told_once = [
            notifying.tell(connection, order, NotificationKind.ASSIGNED, [tech, tech], "assigned:1", reason="again")
            for _ in range(2)
        ]
    assert [len(pushes) for pushes in told_once] == [1, 0]
    assert desk.rows("SELECT title, body FROM notifications WHERE org_id = :org") == [
        ("New work order", f"{order.code}: The brake squeals (again)")
    ]


def test_an_order_of_the_workshop_has_no_deadline_that_is_told(desk: WorkDesk) -> None:
    desk.change("INSERT INTO inventory_items (org_id, serial_number, name) VALUES (:org, 'S-1', 'Pump')")
    (item_id,) = (row[0] for row in desk.rows("SELECT id FROM inventory_items WHERE org_id = :org"))
    made = desk.order(_STATES.NEW, policy=WorkPolicy.WORKSHOP, item_id=item_id)
    desk.change("UPDATE work_orders SET due_at = now() - interval '1 hour' WHERE id = :id", id=made.order_id)
    assert swept(desk) == {OVERDUE: 0, DUE_SOON: 0}


def test_nobody_of_another_organization_is_told(desk: WorkDesk, db: Database) -> None:
    other = WorkDesk.of(db)
    due(desk, -1, _STATES.CREATED, to=None)
    swept(desk)
    found = {row[0] for row in desk.rows("SELECT person_id FROM notifications")}
    assert len(found) == 2
    assert not found & {one.person_id for one in other.people.values()}


def test_a_sweep_that_dies_has_told_nothing_and_the_next_one_tells_all(desk: WorkDesk) -> None:
    due(desk, -1)
    with desk.db.begin() as connection:
        dying = connection.begin_nested()
        assert order_deadlines.announce(connection)[OVERDUE].told == 1
        dying.rollback()
    assert told(desk) == []
    assert desk.rows("SELECT count(*) FROM jobs") == [(0,)]
    assert swept(desk)[OVERDUE] == 1
    assert len(told(desk)) == 3


def test_a_sweep_goes_by_the_index_of_what_is_due(desk: WorkDesk) -> None:
    due(desk, -1)
    with explained(desk.db.engine) as plans, desk.db.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        order_deadlines.announce(connection)
    said = "\n".join(plans)
    assert "ix_work_orders_overdue" in said
    assert "ix_work_orders_due_soon" in said
