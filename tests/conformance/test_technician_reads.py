"""Contract 004, reading: the dashboard, the list and the detail of a technician's work orders, word for word."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import Reach, WorkOrderState
from pipeline.adapters.clock import SystemClock
from pipeline.commands.work_order_arguments import Assignment, Nothing, Reasoned
from pipeline.commands.work_orders import RETURN, START
from pipeline.commands.work_orders_lead import ASSIGN
from pipeline.core.orders import Order
from tests import factories
from tests.conformance.phones import Phones, refused
from tests.conformance.service import Service
from tests.ops_api import people

_S = WorkOrderState
#: What the contract names; more is allowed.
COUNTS = {"assigned", "inProgress", "returned", "done", "overdue", "dueSoon"}
LISTED = {
    *("id", "code", "state", "priority", "ride", "sourceChecklist", "aItemText", "issuePhotoCount", "sla"),
    "assignedBy",
}
WHOLE = {
    *("id", "code", "state", "version", "gameZone", "ride", "sourceChecklist", "aItem", "issuePhotos", "instructions"),
    *("routedBy", "assignedBy", "returnHistory", "timeline"),
}
_CHECKLIST = """
    INSERT INTO checklists (org_id, site_id, asset_id, name, created_by)
    VALUES (:org, :site, :ride, :name, 'x') RETURNING id
"""
_FINDING = """
    INSERT INTO findings (order_id, org_id, checklist_id, item_id, item_text, item_note)
    VALUES (:order, :org, :checklist, 'A7', 'brake pads', 'worn to 2 mm')
"""
_PHOTO = """
    INSERT INTO order_photos (org_id, order_id, kind, attempt, source_sha256, sha256, thumbnail_sha256, content_type,
                              size, width, height, uploaded_by)
    SELECT :org, :order, :kind, :attempt, sha256(b), sha256(b), sha256(b), 'image/jpeg', 9, 4, 3, 'x'
      FROM CAST(:bytes AS bytea) AS b
"""


@pytest.fixture
def phones(service: Service) -> Phones:
    return Phones.of(service)


def checklist(phones: Phones, name: str = "Morning round") -> UUID:
    desk = phones.desk
    values = {"site": desk.site_id, "ride": desk.ride_id, "name": name}
    found: UUID = desk.one(_CHECKLIST, org=desk.org_id, **values).id
    return found


def found_wrong(phones: Phones, **more: Any) -> Order:
    """Return an order that a checklist asked for, given to the technician by the lead, with a photo of the trouble."""
    desk, checklist_id = phones.desk, checklist(phones)
    values: dict[str, Any] = {
        "checklist_id": checklist_id,
        "created_by_id": desk.person_id("ops_lead"),
        "instructions": "Lock it out",
    }
    order = desk.order(**(values | more))
    desk.change(_FINDING, order=order.order_id, checklist=checklist_id)
    photo(phones, order, "ISSUE", 0)
    desk.run(ASSIGN, Assignment(technician_id=desk.person_id("tech")), order.order_id, by="lead")
    return desk.read(order.order_id)


def photo(phones: Phones, order: Order, kind: str, attempt: int) -> None:
    phones.desk.change(_PHOTO, order=order.order_id, kind=kind, attempt=attempt, bytes=uuid4().bytes)


def codes(said: Any) -> list[str]:
    return [one["code"] for one in said["workOrders"]]


def in_time(**by: float) -> Any:
    return SystemClock().now() + timedelta(**by)


def test_the_dashboard_counts_what_is_ones_own_and_shows_the_most_urgent(phones: Phones) -> None:
    desk = phones.desk
    late, soon, later = in_time(hours=-1), in_time(minutes=30), in_time(hours=9)
    mine = [
        desk.order(_S.ASSIGNED, "tech", due_at=later),
        desk.order(_S.ASSIGNED, "tech", due_at=late),
        desk.order(_S.IN_PROGRESS, "tech", due_at=soon),
        desk.order(_S.RETURNED, "tech", due_at=in_time(hours=5), return_reason="no parts"),
        desk.order(_S.ASSIGNED, "tech", due_at=in_time(hours=2)),
        desk.order(_S.ASSIGNED, "tech", due_at=in_time(hours=10)),
    ]
    desk.order(_S.DONE, "tech", due_at=late, closed_at=in_time(days=-29))
    desk.order(_S.DONE, "tech", due_at=late, closed_at=in_time(days=-31))
    desk.order(_S.ASSIGNED, "other_tech", due_at=late)
    desk.order(due_at=late)
    said = phones.read("/me/dashboard")
    assert said["counts"] == {"assigned": 4, "inProgress": 1, "returned": 1, "done": 1, "overdue": 1, "dueSoon": 1}
    assert set(said["counts"]) == COUNTS
    assert codes(said) == [mine[place].code for place in (1, 2, 4, 3, 0)]
    assert set(said["workOrders"][0]) >= LISTED


def test_a_listed_order_has_the_fields_of_the_contract(phones: Phones) -> None:
    order = found_wrong(phones, created_at=in_time(hours=-3), due_at=in_time(hours=1.5))
    (said,) = phones.read("/me/work-orders")["workOrders"]
    assert set(said) >= LISTED
    assert (said["id"], said["code"], said["state"]) == (str(order.order_id), order.code, "ASSIGNED")
    assert said["priority"] == "normal"
    assert said["ride"] == {"id": str(phones.desk.ride_id), "name": f"RIDE-{phones.desk.org_id.hex[:8]}"}
    assert said["sourceChecklist"] == {"id": str(order.checklist_id), "name": "Morning round"}
    assert (said["aItemText"], said["issuePhotoCount"]) == ("brake pads", 1)
    assert said["sla"]["dueAt"].endswith("Z")
    assert (said["sla"]["ageHrs"], said["sla"]["overdue"]) == (3.0, False)
    assert said["assignedBy"]["id"] == str(phones.desk.person_id("lead"))


def test_an_order_without_ride_and_checklist_says_null(phones: Phones) -> None:
    phones.desk.order(_S.ASSIGNED, "tech", asset_id=None)
    (said,) = phones.read("/me/work-orders")["workOrders"]
    assert (said["ride"], said["sourceChecklist"], said["aItemText"], said["assignedBy"]) == (None, None, None, None)


def test_the_list_takes_the_filters_of_the_contract_and_done(phones: Phones) -> None:
    desk = phones.desk
    assigned = desk.order(_S.ASSIGNED, "tech", due_at=in_time(minutes=20))
    going = desk.order(_S.IN_PROGRESS, "tech", due_at=in_time(minutes=-20))
    given_back = desk.order(_S.RETURNED, "tech", due_at=in_time(hours=4), return_reason="no parts")
    done = desk.order(_S.DONE, "tech", due_at=in_time(days=-2), closed_at=in_time(days=-2))
    newer = desk.order(_S.DONE, "tech", due_at=in_time(days=-1), closed_at=in_time(days=-1))
    desk.order(_S.ASSIGNED, "other_tech", due_at=in_time(minutes=-5))
    filters = {
        None: [going, assigned, given_back],
        "assigned": [assigned],
        "in_progress": [going],
        "returned": [given_back],
        "overdue": [going],
        "due_soon": [assigned],
        "done": [newer, done],
    }
    for state, expected in filters.items():
        asked = {} if state is None else {"state": state}
        assert codes(phones.read("/me/work-orders", **asked)) == [one.code for one in expected], state
    for wrong in ("ASSIGNED", "cancelled", "held", ""):
        assert "state" in refused(phones.get("/me/work-orders", state=wrong), 422, "invalid")["fields"]


def test_an_order_is_read_whole(phones: Phones) -> None:
    desk, order = phones.desk, found_wrong(phones)
    photo(phones, order, "COMPLETION", 1)
    answer = phones.get(f"/work-orders/{order.order_id}")
    said = answer.json()
    assert set(said) >= WHOLE
    assert (said["state"], said["version"]) == ("ASSIGNED", order.version)
    assert answer.headers["etag"] == f'"{order.version}"'
    assert said["gameZone"] == {"id": str(desk.site_id), "name": "North"}
    assert said["aItem"] == {"id": "A7", "text": "brake pads", "note": "worn to 2 mm"}
    assert said["instructions"] == "Lock it out"
    assert said["routedBy"]["id"] == str(desk.person_id("ops_lead"))
    (issue,), (fix,) = said["issuePhotos"], said["fixPhotos"]
    assert set(issue) >= {"id", "url", "thumbUrl"}
    assert issue["url"] != issue["thumbUrl"]
    assert fix["attempt"] == 1
    by_code = phones.read(f"/work-orders/{order.code}")
    assert {name: by_code[name] for name in ("id", "version", "timeline")} == {
        name: said[name] for name in ("id", "version", "timeline")
    }
    assert said["returnHistory"] == []
    assert [(one["state"], one["role"]) for one in said["timeline"]] == [("ASSIGNED", "maintenance_lead")]
    assert said["timeline"][0]["at"].endswith("Z")
    assert said["timelineTruncated"] is False


def test_the_history_tells_who_did_what_and_why_it_was_given_back(phones: Phones) -> None:
    desk, order = phones.desk, found_wrong(phones)
    desk.run(START, Nothing(), order.order_id)
    desk.run(RETURN, Reasoned(reason="no parts"), order.order_id)
    # Who gave it back still sees it, until it is given to somebody else.
    kept = phones.read(f"/work-orders/{order.order_id}")
    assert (kept["state"], kept["allowedActions"]) == ("RETURNED", [])
    desk.run(ASSIGN, Assignment(technician_id=desk.person_id("other_tech")), order.order_id, by="lead")
    refused(phones.get(f"/work-orders/{order.order_id}"), 403, "forbidden")
    said = phones.read(f"/work-orders/{order.order_id}", "other_tech")
    states = ["ASSIGNED", "IN_PROGRESS", "RETURNED", "ASSIGNED"]
    assert [one["state"] for one in said["timeline"]] == states
    assert [one["role"] for one in said["timeline"]][1:3] == ["technician", "technician"]
    (back,) = said["returnHistory"]
    assert (back["reason"], back["attempt"], back["role"]) == ("no parts", 1, "technician")
    assert (said["attempt"], said["allowedActions"]) == (2, ["start", "return"])
    shown = phones.read(f"/work-orders/{order.order_id}/timeline", "other_tech")
    assert shown == {"items": said["timeline"], "nextCursor": None}


def test_a_long_history_is_cut_and_read_on_page_by_page(phones: Phones) -> None:
    desk, order = phones.desk, found_wrong(phones)
    desk.change(
        """
        INSERT INTO work_order_events (org_id, order_id, policy, command, attempt, from_state, to_state, actor_id,
                                       actor_role, audit_number)
        SELECT :org, :order, 'field', 'work_order.assign', n, 'assigned', 'assigned', 'a robot', 'technician',
               (SELECT max(number) FROM audit_events WHERE org_id = :org)
          FROM generate_series(2, 120) n
        """,
        order=order.order_id,
    )
    said = phones.read(f"/work-orders/{order.order_id}")
    assert said["timelineTruncated"] is True
    assert [one["attempt"] for one in said["timeline"]] == list(range(21, 121))
    assert said["timeline"][-1]["actor"] == "a robot"
    path, cursor = f"/work-orders/{order.order_id}/timeline", None
    seen: list[int] = []
    while True:
        found = phones.read(path, limit=50, **({"cursor": cursor} if cursor else {}))
        seen = [one["attempt"] for one in found["items"]] + seen
        cursor = found["nextCursor"]
        if cursor is None:
            break
    assert seen == list(range(1, 121))


def test_another_s_order_is_403_and_an_unknown_one_404(phones: Phones) -> None:
    desk = phones.desk
    other, nobody_s = desk.order(_S.ASSIGNED, "other_tech"), desk.order()
    elsewhere = Phones.of(phones.service).desk.order(_S.ASSIGNED, "tech")
    for path in ("/work-orders/{}", "/work-orders/{}/timeline"):
        for order in (other, nobody_s):
            refused(phones.get(path.format(order.order_id)), 403, "forbidden")
        for name in (uuid4(), elsewhere.order_id, elsewhere.code, "wo_0", "nothing", "wo_" + "9" * 18):
            refused(phones.get(path.format(name)), 404, "WORK_ORDER_NOT_FOUND")
    refused(phones.service.http.get(f"/api/v1/work-orders/{other.order_id}"), 401)
    refused(phones.get("/work-orders", "viewer"), 403)
    refused(phones.get("/me/dashboard", "viewer"), 403)


def test_a_technician_sees_nothing_of_another_zone(phones: Phones) -> None:
    desk = phones.desk
    here, there = desk.order(_S.ASSIGNED, "tech"), desk.order(_S.ASSIGNED, "tech", site_id=desk.other_site_id)
    with desk.db.begin() as connection:
        people.narrow(connection, desk.org_id, desk.person_id("tech"), Reach.SITE, sites=(desk.other_site_id,))
    assert codes(phones.read("/me/work-orders")) == [there.code]
    assert codes(phones.read("/work-orders")) == [there.code]
    assert phones.read("/me/dashboard")["counts"]["assigned"] == 1
    refused(phones.get(f"/work-orders/{here.order_id}"), 403, "forbidden")
    assert phones.read(f"/work-orders/{there.order_id}")["gameZone"]["name"] == "South"


def test_a_token_of_nobody_we_know_has_no_day(service: Service) -> None:
    for path in ("/me/dashboard", "/me/work-orders"):
        refused(service.get(f"/api/v1{path}", "tech", sub="a robot"), 403)


def test_what_may_be_done_next_follows_the_command_table(phones: Phones) -> None:
    desk = phones.desk
    order, follows = found_wrong(phones), _following(phones)
    path = f"/work-orders/{order.order_id}"
    told = {name: phones.read(path, name)["allowedActions"] for name in ("tech", "lead", "ops_lead", "ops_manager")}
    assert told == {
        "tech": ["start", "return"],
        "lead": ["assign", "outsource", "cancel"],
        "ops_lead": ["cancel"],
        "ops_manager": [],
    }
    desk.run(START, Nothing(), order.order_id)
    assert phones.read(path)["allowedActions"] == ["done", "return"]
    assert phones.read(path, "lead")["allowedActions"] == ["assign", "cancel"]
    # The photo is asked for when it is done.
    followed = phones.read(f"/work-orders/{follows.order_id}")
    assert (followed["allowedActions"], followed["ticketId"]) == ([], str(follows.ticket_id))


def _following(phones: Phones) -> Order:
    desk = phones.desk
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id)
    return desk.order(_S.ASSIGNED, "tech", ticket_id=ticket_id)
