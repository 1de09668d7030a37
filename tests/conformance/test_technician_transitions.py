"""Contract 004, work-order transitions: literal answers, both gates, and what decision 40 says of its open points."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import WorkOrderState
from tests import factories
from tests.commands.order_work import at_work, checklist, parent, prove
from tests.conformance.service import Service
from tests.conformance.technicians import Technicians, error

S = WorkOrderState
WORDS = ("start", "done", "return", "assign", "outsource", "complete-outsourced", "cancel")


@pytest.fixture(scope="module")
def there(service: Service) -> Technicians:
    """An organization for all cases: each has orders of its own."""
    return Technicians.of(service.api)


def test_a_technician_s_day_as_the_contract_writes_it(there: Technicians) -> None:
    desk = there.desk
    order = desk.order(S.ASSIGNED, "tech", checklist_id=(held := checklist(desk)))
    answer = there.move(order.order_id, "start", version='"0"')
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said) == {"state", "startedAt", "version"}
    assert (said["state"], said["version"], answer.headers["etag"]) == ("IN_PROGRESS", 1, '"1"')
    assert said["startedAt"].endswith("Z")
    found = error(there.move(order.order_id, "done", {"fixNote": "new brake"}, version=1), 422)
    assert list(found["fields"]) == ["fixPhoto"]
    prove(desk, order.order_id)
    said = there.move(order.order_id, "done", {"fixNote": "new brake"}, version=1).json()
    assert set(said) == {"state", "closedAt", "version", "parentReleased"}
    assert (said["state"], said["version"], said["parentReleased"]) == ("DONE", 2, True)
    assert (parent(desk, held), desk.read(order.order_id).fix_note) == ("released", "new brake")


def test_a_return_as_the_contract_writes_it(there: Technicians) -> None:
    desk = there.desk
    order = desk.order(S.ASSIGNED, "tech", assigned_by_id=desk.person_id("lead"))
    for body in (None, {}, {"reason": ""}, {"reason": " \n"}, {"reason": None}, {"reason": 7}):
        found = error(there.move(order.order_id, "return", body, version=0), 422)
        assert list(found["fields"]) == ["reason"]
    answer = there.move(order.order_id, "return", {"reason": "the bolt is missing"}, version=0)
    assert (answer.status_code, answer.json()) == (200, {"state": "RETURNED", "version": 1})
    assert desk.read(order.order_id).return_reason == "the bolt is missing"
    step = desk.one("SELECT data FROM work_order_events WHERE order_id = :id", id=order.order_id)
    assert step.data == {"reason": "the bolt is missing"}
    told = desk.one("SELECT kind, person_id FROM notifications WHERE order_id = :id", id=order.order_id)
    assert tuple(told) == ("WO_RETURNED", desk.person_id("lead"))


@pytest.mark.parametrize(("word", "state"), [("start", S.ASSIGNED), ("done", S.IN_PROGRESS), ("return", S.ASSIGNED)])
def test_a_lost_answer_is_asked_for_again_with_its_key(there: Technicians, word: str, state: S) -> None:
    order = there.desk.order(state, "tech")
    prove(there.desk, order.order_id)
    body, key = {"reason": "no key"} if word == "return" else None, str(uuid4())
    first = there.move(order.order_id, word, body, version=0, key=key)
    again = there.move(order.order_id, word, body, version=0, key=key)
    assert (first.status_code, again.content, again.headers["etag"]) == (200, first.content, '"1"')
    assert again.headers["idempotency-replayed"] == "true"
    assert there.desk.read(order.order_id).version == 1
    # Without its key the same wish is stale: it has been done.
    error(there.move(order.order_id, word, body, version=0), 409, "STALE_VERSION")
    if body:
        error(there.move(order.order_id, word, {"reason": "else"}, version=0, key=key), 409)


@pytest.mark.parametrize("word", WORDS)
def test_a_change_without_a_version_is_428_before_its_body_is_looked_at(there: Technicians, word: str) -> None:
    order = there.desk.order(S.ASSIGNED, "tech")
    for version in (None, "", "*"):
        answer = there.ask("PATCH", f"/work-orders/{order.order_id}/{word}", {"x": 1}, by="admin", version=version)
        error(answer, 428, "IF_MATCH_REQUIRED")
    url, headers = f"/api/v1/work-orders/{order.order_id}/{word}", there.bearer("admin")
    error(there.http.patch(url, headers=headers, content=b"{no json"), 428, "IF_MATCH_REQUIRED")
    error(there.http.patch(url), 401)
    error(there.move(order.order_id, word, by="viewer"), 403)
    error(there.move(order.order_id, word, by="admin", version="soon"), 422)
    assert there.desk.read(order.order_id).version == 0


#: What is wrong, in the order in which it is told (decision 40): each row has every wrong that follows it as well.
_CHECKS: tuple[tuple[str, int, str | None], ...] = (
    ("nobody", 401, None),
    ("viewer", 403, None),
    ("no version", 428, "IF_MATCH_REQUIRED"),
    ("bad body", 422, None),
    ("bad key", 422, "INVALID_IDEMPOTENCY_KEY"),
    ("unknown", 404, "WORK_ORDER_NOT_FOUND"),
    ("somebody else's", 403, "forbidden"),
    ("stale", 409, "STALE_VERSION"),
    ("state", 409, "INVALID_STATE_TRANSITION"),
    ("not given to them", 403, "NOT_ASSIGNED"),
    ("of a ticket", 409, "FOLLOWS_TICKET"),
    ("no photo", 422, "FIX_PHOTO_MISSING"),
)


@pytest.mark.parametrize("first", range(len(_CHECKS)), ids=[name for name, _, _ in _CHECKS])
def test_of_many_wrongs_the_first_is_told(there: Technicians, first: int) -> None:
    name, status, code = _CHECKS[first]
    wrong = {one for one, _, _ in _CHECKS[first:]}
    desk = there.desk
    with desk.db.begin() as connection:
        ticket_id = factories.ticket(connection, desk.org_id) if "of a ticket" in wrong else None
    # An administrator reaches every order; a technician their own alone.
    by = "admin" if "not given to them" in wrong and "somebody else's" not in wrong else "tech"
    to = "other_tech" if {"somebody else's", "not given to them"} & wrong else "tech"
    order = desk.order(S.ASSIGNED if "state" in wrong else S.IN_PROGRESS, to, ticket_id=ticket_id)
    headers = {} if name == "nobody" else there.bearer("viewer" if name == "viewer" else by)
    if "no version" not in wrong:
        headers = headers | {"if-match": "7" if "stale" in wrong else "0"}
    if "bad key" in wrong:
        headers = headers | {"idempotency-key": "x" * 300}
    order_id: Any = UUID(int=7) if "unknown" in wrong else order.order_id
    body = {"fixNote": 7} if "bad body" in wrong else {"fixNote": "new"}
    answer = there.http.patch(f"/api/v1/work-orders/{order_id}/done", headers=headers, json=body)
    error(answer, status, code)
    assert (desk.read(order.order_id).version, desk.steps(order.order_id)) == (0, [])


def test_routing_assigning_and_outsourcing_are_not_for_technicians(there: Technicians) -> None:
    order = there.desk.order(S.ASSIGNED, "tech")
    for word in ("assign", "outsource", "complete-outsourced", "cancel"):
        error(there.move(order.order_id, word, {}, version=0), 403, "forbidden")
    error(there.ask("POST", "/work-orders", {}), 403, "forbidden")


def test_an_order_from_the_checklist_to_the_vendor_and_its_end(there: Technicians) -> None:
    desk = there.desk
    wish = {
        "gameZoneId": str(desk.site_id),
        "rideId": str(desk.ride_id),
        "sourceChecklist": {"name": f"Round {uuid4()}"},
        "aItem": {"id": "b7", "text": "The brake squeals", "note": "left side"},
        "priority": "HIGH",
        "dueAt": "2030-01-01T10:00:00+02:00",
    }
    answer = there.ask("POST", "/work-orders", wish, by="ops_lead")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1/work-orders/{made['id']}"
    assert (made["state"], made["dueAt"], made["sourceChecklist"]["state"]) == (
        "CREATED",
        "2030-01-01T08:00:00Z",
        "HELD",
    )
    error(there.ask("POST", "/work-orders", wish, by="ops_lead"), 409, "DUPLICATE_WORK_ORDER")
    tech_id = str(desk.person_id("tech"))
    found = error(there.move(made["id"], "assign", {"technicianId": str(UUID(int=7))}, by="lead", version=0), 422)
    assert list(found["fields"]) == ["technicianId"]
    given = there.move(made["id"], "assign", {"technicianId": tech_id}, by="lead", version=0)
    assert (given.json()["state"], given.json()["assignedToId"], given.headers["etag"]) == ("ASSIGNED", tech_id, '"1"')
    out = there.move(made["id"], "outsource", {"vendor": "Acme Rides", "reason": "their part"}, by="lead", version=1)
    assert (out.json()["state"], out.json()["outsourcedTo"], out.json()["assignedToId"]) == (
        "OUTSOURCED", "Acme Rides", None,
    )  # fmt: skip
    end = there.move(made["id"], "complete-outsourced", by="store", version=2)
    assert (end.json()["state"], end.json()["parentReleased"], end.json()["version"]) == ("DONE", True, 3)
    error(there.move(made["id"], "cancel", {"reason": "sold"}, by="ops_lead", version=3), 409)


def test_what_a_wish_lacks_is_told_by_its_name_in_the_contract(there: Technicians) -> None:
    found = error(there.ask("POST", "/work-orders", {"aItem": {"id": "", "text": "x"}}, by="ops_lead"), 422)
    assert set(found["fields"]) == {"gameZoneId", "sourceChecklist", "aItem.id"}
    wish = {"gameZoneId": str(UUID(int=7)), "sourceChecklist": {"name": "x"}, "aItem": {"id": "1", "text": "x"}}
    found = error(there.ask("POST", "/work-orders", wish, by="ops_lead"), 422)
    assert list(found["fields"]) == ["gameZoneId"]


def test_an_order_is_called_by_its_code_as_well(there: Technicians) -> None:
    order = at_work(there.desk)
    assert there.move(order.code, "done", version=0).json()["state"] == "DONE"
