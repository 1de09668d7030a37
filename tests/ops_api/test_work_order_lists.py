"""Lists of work orders for those who lead: what each sees, narrowed by anything, page by page."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from deploy.local.lock import Endpoints
from models.enums import Reach, WorkOrderState
from models.queries import work_order_list
from models.queries.work_order_list import OPEN_STATES, Place, Wanted
from pipeline.adapters.clock import SystemClock
from pipeline.core.orders import Order
from pipeline.runtime import order_rows
from tests.commands.work_desk import WorkDesk
from tests.conftest import fresh_database
from tests.factories import asset
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, serving, settings_for

_S = WorkOrderState
_LIST = "/api/v1/work-orders"


@pytest.fixture(scope="module")
def api(servers: Endpoints) -> Iterator[Api]:
    with fresh_database(servers) as url, serving(settings_for(url)) as running:
        yield running


@pytest.fixture
def desk(api: Api) -> WorkDesk:
    return WorkDesk.of(api.db)


def signed_in(api: Api, desk: WorkDesk, name: str) -> Person:
    return api.signed_in(desk.org_id, desk.person_id(name))


def listed(who: Person, **asked: Any) -> dict[str, Any]:
    answer = who.get(_LIST, params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def codes(who: Person, **asked: Any) -> list[str]:
    return [one["code"] for one in listed(who, **asked)["workOrders"]]


def hours(number: float) -> datetime:
    return SystemClock().now() + timedelta(hours=number)


def every_state(desk: WorkDesk) -> dict[WorkOrderState, Order]:
    """Return an order in each state, each due later than the one before."""
    more: dict[WorkOrderState, dict[str, Any]] = {
        _S.RETURNED: {"return_reason": "no parts"},
        _S.OUTSOURCED: {"outsourced_to": "Brakes Ltd"},
        _S.DONE: {"closed_at": hours(-1)},
        _S.CANCELLED: {"closed_at": hours(-1)},
    }
    named = {_S.ASSIGNED, _S.IN_PROGRESS, _S.RETURNED, _S.DONE}
    return {
        state: desk.order(state, "tech" if state in named else None, due_at=hours(2 + place), **more.get(state, {}))
        for place, state in enumerate((*OPEN_STATES, _S.DONE, _S.CANCELLED))
    }


def test_a_lead_lists_what_is_open_those_due_first_and_any_state(api: Api, desk: WorkDesk) -> None:
    lead, made = signed_in(api, desk, "lead"), every_state(desk)
    late = desk.order(due_at=hours(-1), title="The gate rattles")
    assert codes(lead) == [late.code, *(made[state].code for state in OPEN_STATES)]
    for state, order in made.items():
        expected = [late.code, order.code] if state is _S.CREATED else [order.code]
        assert codes(lead, state=state.value) == expected
    assert codes(lead, state="overdue") == codes(lead, overdue=True) == [late.code]
    assert codes(lead, state="due_soon") == []
    assert lead.get(_LIST, params={"state": "DONE"}).status_code == 422


def test_a_list_is_narrowed_by_zone_technician_and_words(api: Api, desk: WorkDesk) -> None:
    lead = signed_in(api, desk, "lead")
    with desk.db.begin() as connection:
        wheel_id = asset(connection, desk.org_id, "WHEEL-9", kind="ride")
    south = desk.order(_S.ASSIGNED, "tech", site_id=desk.other_site_id)
    other = desk.order(_S.ASSIGNED, "other_tech", due_at=hours(30), title="Bolt missing: 100% loose")
    wheel = desk.order(asset_id=wheel_id, due_at=hours(40))
    assert codes(lead, gameZoneId=desk.other_site_id) == [south.code]
    assert codes(lead, technicianId=desk.person_id("other_tech")) == [other.code]
    assert codes(lead, technicianId=desk.person_id("tech"), gameZoneId=desk.site_id) == []
    assert codes(lead, q="bolt MISSING") == codes(lead, q="100%") == [other.code]
    assert codes(lead, q="wheel-9") == [wheel.code]
    assert codes(lead, q=south.code.upper()) == [south.code]
    assert codes(lead, q=south.code, technicianId=desk.person_id("other_tech")) == []
    assert codes(lead, q="nobody wrote this") == codes(lead, gameZoneId=uuid4()) == []


def test_each_sees_what_concerns_them(api: Api, desk: WorkDesk) -> None:
    made = every_state(desk)
    there = desk.order(_S.ASSIGNED, "other_tech", site_id=desk.other_site_id, due_at=hours(50))
    was_out = desk.order(_S.ASSIGNED, "other_tech", outsourced_to="Brakes Ltd", due_at=hours(51))
    done_out = desk.order(_S.DONE, closed_at=hours(-1), outsourced_to="Brakes Ltd", due_at=hours(52))
    tech, store = signed_in(api, desk, "tech"), signed_in(api, desk, "store")
    assert codes(tech) == [made[state].code for state in (_S.ASSIGNED, _S.IN_PROGRESS, _S.RETURNED)]
    assert codes(tech, technicianId=desk.person_id("other_tech")) == []
    assert codes(store) == [made[_S.OUTSOURCED].code, was_out.code]
    assert codes(store, state="done") == [done_out.code]
    assert store.get(f"{_LIST}/{there.order_id}").status_code == 403
    assert store.get(f"{_LIST}/{done_out.order_id}").json()["outsourcedTo"] == "Brakes Ltd"
    with desk.db.begin() as connection:
        people.narrow(connection, desk.org_id, desk.person_id("lead"), Reach.SITE, sites=(desk.other_site_id,))
        people.narrow(connection, desk.org_id, desk.person_id("ops_lead"), Reach.ACCOUNT, accounts=(desk.account_id,))
        people.narrow(connection, desk.org_id, desk.person_id("master"), Reach.SITE)
    assert codes(signed_in(api, desk, "lead")) == [there.code]
    assert codes(signed_in(api, desk, "ops_lead"))[-2:] == [there.code, was_out.code]
    assert codes(signed_in(api, desk, "master")) == []
    assert signed_in(api, WorkDesk.of(api.db), "lead").get(f"{_LIST}/{there.order_id}").status_code == 404


def test_pages_hold_every_order_once_however_few_are_looked_at(
    api: Api, desk: WorkDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_order_list, "WALK", 7)
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    drawn, same = random.Random(seed), hours(3)
    for _ in range(40):
        state = drawn.choice((_S.CREATED, _S.ASSIGNED, _S.IN_PROGRESS, _S.DONE))
        who = drawn.choice(("tech", "other_tech")) if state is not _S.CREATED else None
        site_id = drawn.choice((desk.site_id, desk.other_site_id))
        due_at = drawn.choice((same, hours(drawn.uniform(-5, 5))))
        more = {"closed_at": hours(-6)} if state is _S.DONE else {}
        title = drawn.choice(("the brake squeals", "the gate rattles"))
        desk.order(state, who, site_id=site_id, due_at=due_at, title=title, **more)
    asked = [
        Wanted(),
        Wanted((_S.DONE,)),
        Wanted(words="gate"),
        Wanted((_S.ASSIGNED, _S.CREATED), site_id=desk.site_id),
        Wanted(technician_id=desk.person_id("tech"), words="BRAKE"),
        Wanted((_S.DONE,), technician_id=desk.person_id("tech")),
        Wanted(is_overdue=True, words="gate"),
    ]
    for wanted in asked:
        for within in (None, [desk.site_id], [desk.site_id, desk.other_site_id], []):
            assert _paged(desk, wanted, within) == _expected(desk, wanted, within), (wanted, within)


def _paged(desk: WorkDesk, wanted: Wanted, within: list[UUID] | None) -> list[UUID]:
    seen: list[UUID] = []
    after: Place | None = None
    reached = ("TRUE", {}) if within is None else ("w.site_id = ANY(:scope_sites)", {"scope_sites": within})
    while True:
        with desk.db.begin() as connection:
            found = work_order_list.find(connection, desk.org_id, wanted, reached, limit=3, after=after, within=within)
        assert len(found.ids) <= 3
        seen += found.ids
        if found.last is None:
            return seen
        after = found.last


def _expected(desk: WorkDesk, wanted: Wanted, within: list[UUID] | None) -> list[UUID]:
    with desk.db.begin() as connection:
        ids = desk.rows("SELECT id FROM work_orders WHERE org_id = :org")
        orders = [order_rows.read(connection, order_id) for (order_id,) in ids]
    kept = [
        one
        for one in orders
        if one.state in wanted.states
        and (within is None or one.site_id in within)
        and wanted.site_id in {None, one.site_id}
        and wanted.technician_id in {None, one.assigned_to_id}
        and (wanted.words or "").lower() in one.title
        and (not wanted.is_overdue or (one.due_at is not None and one.due_at < one.now))
    ]
    ordered = sorted(kept, key=lambda one: (one.due_at, one.order_id), reverse=wanted.is_of_past)
    return [one.order_id for one in ordered]


def test_a_cursor_is_good_for_its_list_alone(api: Api, desk: WorkDesk) -> None:
    lead = signed_in(api, desk, "lead")
    orders = [desk.order(due_at=hours(number)) for number in range(2, 7)]
    first = listed(lead, limit=2)
    second = listed(lead, limit=2, cursor=first["nextCursor"])
    assert [one["code"] for one in (*first["workOrders"], *second["workOrders"])] == [one.code for one in orders[:4]]
    assert listed(lead, limit=2, cursor=second["nextCursor"])["nextCursor"] is None
    for other in ({"state": "created"}, {"gameZoneId": desk.site_id}, {"overdue": True}):
        assert lead.get(_LIST, params={"cursor": first["nextCursor"], **other}).status_code == 422
    stranger = signed_in(api, desk, "ops_lead")
    assert stranger.get(_LIST, params={"cursor": first["nextCursor"]}).status_code == 422


def test_a_checklist_is_read_with_its_orders_by_those_it_concerns(api: Api, desk: WorkDesk) -> None:
    values = {"site": desk.site_id, "ride": desk.ride_id}
    checklist_id = desk.one(
        "INSERT INTO checklists (org_id, site_id, asset_id, name, created_by) VALUES (:org, :site, :ride, 'Round', 'x')"
        " RETURNING id",
        org=desk.org_id,
        **values,
    ).id
    mine = desk.order(_S.ASSIGNED, "tech", checklist_id=checklist_id)
    done = desk.order(_S.DONE, "other_tech", checklist_id=checklist_id, closed_at=hours(-1))
    for order in (mine, done):
        desk.change(
            "INSERT INTO findings (order_id, org_id, checklist_id, item_id, item_text) "
            "VALUES (:order, :org, :checklist, 'A1', 'pads')",
            order=order.order_id,
            checklist=checklist_id,
        )
    path = f"/api/v1/checklists/{checklist_id}"
    said = signed_in(api, desk, "lead").get(path).json()
    assert (said["state"], said["name"], said["releasedAt"]) == ("HELD", "Round", None)
    assert said["gameZone"] == {"id": str(desk.site_id), "name": "North"}
    assert [one["code"] for one in said["workOrders"]] == [mine.code, done.code]
    assert [one["code"] for one in signed_in(api, desk, "tech").get(path).json()["workOrders"]] == [mine.code]
    assert signed_in(api, desk, "store").get(path).status_code == 403
    with desk.db.begin() as connection:
        people.narrow(connection, desk.org_id, desk.person_id("ops_lead"), Reach.SITE, sites=(desk.other_site_id,))
    assert signed_in(api, desk, "ops_lead").get(path).status_code == 403
    assert signed_in(api, desk, "lead").get(f"/api/v1/checklists/{uuid4()}").status_code == 404
    assert signed_in(api, WorkDesk.of(api.db), "lead").get(path).status_code == 404
