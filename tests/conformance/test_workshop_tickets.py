"""Contract 002's intake, review, metrics, assignment, reading and inventory over HTTP, each line of its text."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import WorkOrderState, WorkPolicy
from models.work_lifecycle import STATES
from tests.conformance.workshop_service import SPEAKS, TICKETS, Workshop, data, refused, results

_S = WorkOrderState
_INVENTORY = "/api/v1/inventory"
_NEW = {"confirm_create_inventory_item": True, "inventory_item_creation_reason": "new bike"}


def body(workshop: Workshop, serial: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a good intake; of a thing that is there unless one is named."""
    if serial is None:
        serial = workshop.desk.serial()
        workshop.desk.item(serial)
    return {"serial_number": serial, "part_specs": workshop.desk.specs((20,)), **more}


def address(order_id: UUID | str, action: str = "") -> str:
    """Return where a ticket is, or where something is done to it."""
    return f"{TICKETS}{order_id}/{action}/" if action else f"{TICKETS}{order_id}/"


#: Action -> roles that may, the state it is tried from, and a good body.
_ACTIONS: dict[str, tuple[set[str], WorkOrderState, Any]] = {
    "assign": ({"super_admin", "ops_manager"}, _S.NEW, None),
    "manual-metrics": ({"super_admin", "ops_manager"}, _S.UNDER_REVIEW, {"flag_color": "yellow", "xp_amount": 7}),
    "review-approve": ({"super_admin", "ops_manager", "master"}, _S.UNDER_REVIEW, {}),
    "cancel": ({"super_admin", "ops_manager"}, _S.NEW, {"reason": "scrapped"}),
}


def good(workshop: Workshop, action: str) -> Any:
    """Return a good body."""
    said = _ACTIONS[action][2]
    return {"technician_id": str(workshop.desk.person_id("tech"))} if said is None else said


@pytest.mark.parametrize("role", SPEAKS)
def test_create_is_for_master_and_super_admin(workshop: Workshop, role: str) -> None:
    answer = workshop.post(f"{TICKETS}create/", body(workshop), role)
    if role not in {"master", "super_admin"}:
        refused(answer, 403, "forbidden")
        return
    said = data(answer, 201)
    assert (said["status"], said["flag_color"], said["xp_amount"]) == ("under_review", "green", 1)
    assert answer.headers["etag"] == '"0"'
    (step,) = results(workshop.get(address(said["id"], "transitions")))["results"]
    assert (step["action"], step["from_status"], step["to_status"]) == ("created", None, "under_review")


@pytest.mark.parametrize("action", _ACTIONS)
@pytest.mark.parametrize("role", SPEAKS)
def test_an_action_is_for_the_roles_of_the_matrix(workshop: Workshop, role: str, action: str) -> None:
    roles, state, _ = _ACTIONS[action]
    order = workshop.desk.repair(state, created_by_id=workshop.desk.person_id("ops_lead"))
    before = workshop.seen(order.order_id)
    answer = workshop.post(address(order.order_id, action), good(workshop, action), role)
    if role in roles:
        assert data(answer)["id"] == str(order.order_id)
        assert workshop.seen(order.order_id) != before
    else:
        refused(answer, 403, "forbidden")
        assert workshop.seen(order.order_id) == before


@pytest.mark.parametrize("how", [{}, {"authorization": "Bearer x.y.z"}, {"authorization": "Bearer nonsense"}], ids=str)
def test_a_missing_or_invalid_token_is_401(workshop: Workshop, how: dict[str, str]) -> None:
    order_id = workshop.desk.repair().order_id
    asks = [
        ("GET", TICKETS),
        ("GET", address(order_id)),
        ("GET", f"{_INVENTORY}/items/"),
        ("POST", f"{TICKETS}create/"),
    ]
    for method, path in asks + [("POST", address(order_id, action)) for action in _ACTIONS]:
        refused(workshop.http.request(method, path, headers=how), 401)


@pytest.mark.parametrize("role", SPEAKS)
def test_every_role_reads_all_tickets(workshop: Workshop, role: str) -> None:
    order = workshop.desk.repair(_S.ASSIGNED, "other_tech")
    said = data(workshop.get(address(order.order_id), role))
    assert (said["technician"], said["active_seconds"]) == (str(workshop.desk.person_id("other_tech")), 0)
    assert results(workshop.get(TICKETS, role))["results"][0]["id"] == str(order.order_id)


def test_one_active_ticket_per_inventory_item(workshop: Workshop) -> None:
    wish = body(workshop)
    first = data(workshop.post(f"{TICKETS}create/", wish), 201)
    refused(workshop.post(f"{TICKETS}create/", wish), 400, "ITEM_IN_REPAIR")
    data(workshop.post(address(first["id"], "cancel"), {"reason": "again"}))
    assert data(workshop.post(f"{TICKETS}create/", wish), 201)["inventory_item"] == first["inventory_item"]


def test_an_unknown_serial_number_requires_confirm_and_reason(workshop: Workshop) -> None:
    serial = f"RM-{uuid4().hex[:12].upper()}"
    workshop.desk.item(f"{serial}-A")
    for more in ({}, {"confirm_create_inventory_item": True}, {"inventory_item_creation_reason": "new bike"}):
        said = refused(workshop.post(f"{TICKETS}create/", body(workshop, serial, **more)), 400, "validation_error")
        assert f"{serial}-A" in said
    said = data(workshop.post(f"{TICKETS}create/", body(workshop, serial.lower(), **_NEW)), 201)
    assert said["serial_number"] == serial
    thing = data(workshop.get(f"{_INVENTORY}/items/{said['inventory_item']}/"))
    assert (thing["creation_reason"], thing["active_ticket"], thing["status"]) == ("new bike", said["id"], "ready")


def test_an_archived_serial_number_requires_its_restoration(workshop: Workshop) -> None:
    serial = workshop.desk.serial()
    item_id = workshop.desk.item(serial)
    assert data(workshop.ask("DELETE", f"{_INVENTORY}/items/{item_id}/"))["is_active"] is False
    refused(workshop.post(f"{TICKETS}create/", body(workshop, serial, **_NEW)), 400, "ITEM_ARCHIVED")
    assert data(workshop.post(f"{_INVENTORY}/items/{item_id}/restore/"))["is_active"] is True
    data(workshop.post(f"{TICKETS}create/", body(workshop, serial)), 201)


def test_an_assignment_requires_the_review(workshop: Workshop) -> None:
    order_id = workshop.desk.repair(_S.UNDER_REVIEW).order_id
    give = good(workshop, "assign")
    refused(workshop.post(address(order_id, "assign"), give), 400, "REVIEW_REQUIRED")
    said = data(workshop.post(address(order_id, "review-approve")))
    assert (said["approved_by"], said["approved_at"] is None) == (str(workshop.desk.person_id("admin")), False)
    said = data(workshop.post(address(order_id, "assign"), give))
    assert (said["status"], said["technician"], said["assigned_at"] is None) == (
        *("assigned", give["technician_id"]),
        False,
    )
    refused(workshop.post(address(order_id, "assign"), {"technician_id": str(uuid4())}), 400, "validation_error")
    inspector = {"technician_id": str(workshop.desk.person_id("inspector"))}
    refused(workshop.post(address(order_id, "assign"), inspector), 400, "validation_error")


def test_manual_metrics_persist_the_approval_and_need_both_values(workshop: Workshop) -> None:
    order_id = workshop.desk.repair(_S.UNDER_REVIEW).order_id
    path = address(order_id, "manual-metrics")
    for wrong in (
        *({}, {"flag_color": "red"}, {"xp_amount": 3}, {"flag_color": "blue", "xp_amount": 3}),
        *({"flag_color": "red", "xp_amount": -1}, {"flag_color": "red", "xp_amount": "3"}, [], "x"),
    ):
        refused(workshop.post(path, wrong), 400, "validation_error")
    said = data(workshop.post(path, {"flag_color": "red", "xp_amount": 3}))
    assert (said["flag_color"], said["xp_amount"], said["is_manual"], said["status"]) == ("red", 3, True, "new")
    assert said["approved_by"] == str(workshop.desk.person_id("admin"))
    assert workshop.post(address(order_id, "assign"), good(workshop, "assign")).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        *({"serial_number": None}, {"serial_number": " "}, {"part_specs": []}, {"part_specs": None}),
        *({"flag_color": "red"}, {"xp_amount": 1}, {"flag_color": "pink", "xp_amount": 1}),
        *({"spec": {"color": "pink"}}, {"spec": {"minutes": 0}}, {"spec": {"minutes": 1.5}}, {"spec": {"part_id": 7}}),
        *({"spec": {"part_id": str(UUID(int=7))}}, {"twice": True}, {"approve_review": "yes"}),
    ],
    ids=str,
)
def test_a_wrong_intake_is_400_and_leaves_nothing(workshop: Workshop, wrong: dict[str, Any]) -> None:
    wish = body(workshop)
    spec = wrong.pop("spec", {}) if "spec" in wrong else {}
    specs = [wish["part_specs"][0] | spec] * (2 if wrong.pop("twice", False) else 1)
    (before,) = workshop.desk.one("SELECT count(*) FROM work_orders")
    sent = wish | {"part_specs": specs} | wrong
    refused(workshop.post(f"{TICKETS}create/", sent), 400, "validation_error")
    assert workshop.desk.one("SELECT count(*) FROM work_orders") == (before,)


def test_four_eyes_for_the_review_are_400(workshop: Workshop) -> None:
    refused(workshop.post(f"{TICKETS}create/", body(workshop, approve_review=True)), 400, "FOUR_EYES")
    order_id = data(workshop.post(f"{TICKETS}create/", body(workshop)), 201)["id"]
    refused(workshop.post(address(order_id, "review-approve")), 400, "FOUR_EYES")
    refused(workshop.post(address(order_id, "manual-metrics"), good(workshop, "manual-metrics")), 400, "FOUR_EYES")
    data(workshop.post(address(order_id, "review-approve"), by="master"))


@pytest.mark.parametrize("action", _ACTIONS)
def test_an_illegal_transition_is_400_and_a_stale_version_too(workshop: Workshop, action: str) -> None:
    over = workshop.desk.repair(_S.DONE, "tech").order_id
    before = workshop.seen(over)
    said = refused(
        workshop.post(address(over, action), good(workshop, action)), 400, "INVALID_STATE_TRANSITION"
    )  # fmt: skip
    assert "done" in said
    assert workshop.seen(over) == before
    order_id = workshop.desk.repair(_ACTIONS[action][1]).order_id
    stale = workshop.post(address(order_id, action), good(workshop, action), **{"if-match": '"7"'})
    refused(stale, 400, "STALE_VERSION")


def test_what_is_not_there_is_404_in_the_envelope(workshop: Workshop) -> None:
    field = workshop.desk.order()
    for name in (uuid4(), "wo_999999999", field.code, "create"):
        refused(workshop.get(address(name)), 404)
        refused(workshop.get(address(name, "transitions")), 404)
        for action in _ACTIONS:
            refused(workshop.post(address(name, action), good(workshop, action)), 404)
    for kind in ("items", "categories", "parts"):
        refused(workshop.get(f"{_INVENTORY}/{kind}/{uuid4()}/"), 404)
    for path in (f"{_INVENTORY}/nothing/", f"{TICKETS}{uuid4()}/nothing/", "/api/v1/tickets", f"{_INVENTORY}/items"):
        refused(workshop.get(path), 404, "not_found")
    refused(workshop.ask("DELETE", TICKETS), 405)


def test_a_ticket_is_found_by_its_code_as_well(workshop: Workshop) -> None:
    order = workshop.desk.repair()
    assert data(workshop.get(address(order.code.upper())))["id"] == str(order.order_id)
    assert data(workshop.post(address(order.code, "assign"), good(workshop, "assign")))["code"] == order.code


def test_lists_are_paged_newest_first_and_filtered(workshop: Workshop) -> None:
    made = [workshop.desk.repair(_S.ASSIGNED, "other_tech", title=f"Squeak {uuid4().hex}") for _ in range(12)]
    newest = [str(order.order_id) for order in reversed(made)]
    first = results(workshop.get(TICKETS))
    assert [one["id"] for one in first["results"]] == newest[:10]
    assert (first["page"], first["per_page"]) == (1, 10)
    assert first["page_count"] == -(-first["total_count"] // 10)
    rest = results(workshop.get(TICKETS, page=2, per_page=5))
    assert [one["id"] for one in rest["results"]] == newest[5:10]
    mine = {"technician": str(workshop.desk.person_id("other_tech")), "status": "assigned", "q": "squeak"}
    found = results(workshop.get(TICKETS, **mine, per_page=100))
    assert [one["id"] for one in found["results"]] == newest
    assert (found["total_count"], found["page_count"]) == (12, 1)
    for q in (made[3].code, made[3].title[3:]):
        assert [one["id"] for one in results(workshop.get(TICKETS, q=q))["results"]] == [str(made[3].order_id)]
    serial = found["results"][4]["serial_number"]
    assert newest[4] in [one["id"] for one in results(workshop.get(TICKETS, q=serial.lower()))["results"]]
    empty = results(workshop.get(TICKETS, page=9999))
    assert (empty["results"], empty["page"]) == ([], 9999)
    assert results(workshop.get(TICKETS, q="no such thing"))["page_count"] == 1
    for state in STATES[WorkPolicy.WORKSHOP]:
        assert {one["status"] for one in results(workshop.get(TICKETS, status=state))["results"]} <= {state}
    for wrong in (
        {"page": 0},
        {"per_page": 0},
        {"per_page": 101},
        {"status": "lost"},
        {"status": "created"},
        {"technician": "x"},
        {"q": " "},
    ):
        refused(workshop.get(TICKETS, **wrong), 400)


def test_the_steps_are_paged_newest_first_and_say_who_did_what(workshop: Workshop) -> None:
    order_id = workshop.desk.at(_S.ASSIGNED).order_id
    page = results(workshop.get(address(order_id, "transitions"), per_page=2))
    assert [one["action"] for one in page["results"]] == ["assigned", "review_approved"]
    assert (page["total_count"], page["page_count"]) == (3, 2)
    (last,) = results(workshop.get(address(order_id, "transitions"), per_page=2, page=2))["results"]
    assert (last["action"], last["actor"], last["actor_role"]) == (
        *("created", str(workshop.desk.person_id("master"))),
        "master",
    )
    assert last["metadata"]["part_specs_count"] == 1


def test_a_retry_with_the_same_key_has_the_same_answer_and_no_second_effect(workshop: Workshop) -> None:
    wish, key = body(workshop), {"idempotency-key": str(uuid4())}
    first = workshop.post(f"{TICKETS}create/", wish, **key)
    again = workshop.post(f"{TICKETS}create/", wish, **key)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    refused(workshop.post(f"{TICKETS}create/", body(workshop), **key), 400, "IDEMPOTENCY_PAYLOAD_MISMATCH")


def test_the_inventory_is_kept_over_http(workshop: Workshop) -> None:
    category = data(workshop.post(f"{_INVENTORY}/categories/", {"name": f"Boats {uuid4()}"}), 201)
    part = data(workshop.post(f"{_INVENTORY}/parts/", {"name": "Oar", "category_id": category["id"]}), 201)
    serial = f"RM-{uuid4().hex[:8].upper()}"
    wish = {"serial_number": serial, "category_id": category["id"]}
    item = data(workshop.post(f"{_INVENTORY}/items/", wish, "ops_manager"), 201)
    refused(workshop.post(f"{_INVENTORY}/items/", wish), 400, "SERIAL_TAKEN")
    refused(workshop.post(f"{_INVENTORY}/items/", wish, "master"), 403, "forbidden")
    path = f"{_INVENTORY}/items/{item['id']}/"
    assert data(workshop.ask("PATCH", path, {"status": "blocked"}, **{"if-match": '"0"'}))["version"] == 1
    refused(workshop.ask("PATCH", path, {"status": "ready"}, **{"if-match": '"0"'}), 400, "STALE_VERSION")
    refused(workshop.ask("PATCH", path, {"status": "lost"}), 400, "validation_error")
    refused(workshop.get(f"{_INVENTORY}/items/x/"), 400)
    query = {"category": category["id"], "status": "blocked", "q": serial[:6].lower()}
    assert [one["id"] for one in results(workshop.get(f"{_INVENTORY}/items/", **query))["results"]] == [item["id"]]
    assert results(workshop.get(f"{_INVENTORY}/items/", **query, archived=True))["total_count"] == 0
    listed = results(workshop.get(f"{_INVENTORY}/parts/", category=category["id"], is_active=True))["results"]
    assert [one["name"] for one in listed] == ["Oar"]
    assert data(workshop.ask("PATCH", f"{_INVENTORY}/parts/{part['id']}/", {"name": "Oar 2"}))["name"] == "Oar 2"
    assert data(workshop.ask("DELETE", f"{_INVENTORY}/parts/{part['id']}/"))["is_active"] is False
    assert data(workshop.get(f"{_INVENTORY}/parts/{part['id']}/"))["is_active"] is False
    path = f"{_INVENTORY}/categories/{category['id']}/"
    refused(workshop.ask("DELETE", path), 400, "CATEGORY_IN_USE")
    assert data(workshop.ask("PATCH", path, {"name": f"Ships {category['id']}"}))["id"] == category["id"]
    found = results(workshop.get(f"{_INVENTORY}/categories/", q=category["id"]))["results"]
    assert [one["id"] for one in found] == [category["id"]]
    empty = data(workshop.post(f"{_INVENTORY}/categories/", {"name": f"Empty {uuid4()}"}), 201)["id"]
    assert data(workshop.ask("DELETE", f"{_INVENTORY}/categories/{empty}/"))["id"] == empty
    refused(workshop.get(f"{_INVENTORY}/categories/{empty}/"), 404)
