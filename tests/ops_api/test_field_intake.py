"""Intake, triage, approvals and endings over HTTP: contract 000's shapes, statuses, tools, keys and replays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.enums import Reach
from tests.commands.field_desk import INCIDENT, FieldDesk, triage
from tests.commands.site_work import on_site, verified
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, rows


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


@pytest.fixture
def staff(api: Api, desk: FieldDesk) -> Staff:
    return Staff(api, desk)


class Staff:
    """The desk's people, signed in when they are first asked for."""

    def __init__(self, api: Api, desk: FieldDesk) -> None:
        self._api, self._desk = api, desk
        self._known: dict[str, Person] = {}

    def __getitem__(self, name: str) -> Person:
        if name not in self._known:
            person_id = self._desk.people[name].person_id
            assert person_id is not None
            self._known[name] = self._api.signed_in(self._desk.org_id, person_id)
        return self._known[name]


def post(person: Person, path: str, body: object, **headers: str) -> httpx.Response:
    return person.post(path, json=body, headers={"idempotency-key": str(uuid4()), **headers})


def new(desk: FieldDesk, **said: Any) -> dict[str, Any]:
    return {"account_id": str(desk.account_id), "site_id": str(desk.site_id), "summary": "door", **said}


def intake(desk: FieldDesk, **said: Any) -> dict[str, Any]:
    values = {
        "incident_type": INCIDENT,
        "customer_name": "Ann",
        "priority": "urgent",
        "identity_confidence": 90,
        "classification_confidence": 90,
        "contact_phone": "555-123-4567",
        "sop_handoff_acknowledged": True,
    }
    return {**new(desk), **values, **said}


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    assert {"code", "message", "request_id"} <= set(found)
    return found


def test_a_ticket_goes_from_intake_to_its_end(desk: FieldDesk, staff: Staff) -> None:
    made = post(staff["agent"], "/tickets", new(desk), **{"x-tool-name": "ticket.create", "x-trace-id": "abc12345"})
    assert (made.status_code, made.json()["state"], made.headers["etag"]) == (201, "NEW", '"0"')
    path = f"/tickets/{made.json()['id']}"
    asked = post(staff["dispatcher"], f"{path}/request-info", {"question": "which door?"})
    assert (asked.status_code, asked.json()["state"]) == (200, "NEEDS_INFO")
    wish = {"priority": "emergency", "incident_type": INCIDENT, "nte_cents": 100, "requires_approval": True}
    triaged = post(staff["agent"], f"{path}/triage", wish | {"approval_amount_delta_cents": 50})
    assert (triaged.status_code, triaged.json()["state"]) == (200, "APPROVAL_REQUIRED")
    approval = triaged.json()["approval"]
    decided = post(
        staff["approver"], f"{path}/approval/decide", {"approval_id": approval["id"], "decision": "APPROVED"}
    )
    assert (decided.json()["state"], decided.json()["nte_cents"]) == ("READY_TO_SCHEDULE", 150)
    listed = staff["customer"].get(f"{path}/approvals").json()
    assert [one["status"] for one in listed["approvals"]] == ["APPROVED"]
    cancelled = post(staff["dispatcher"], f"{path}/cancel", {"reason": "mended"})
    assert cancelled.json()["state"] == "CANCELLED"
    assert post(staff["qa"], f"{path}/reopen", {"reason": "no"}).json()["state"] == "TRIAGED"
    traces = {row[0] for row in desk.rows("SELECT trace_id FROM audit_events WHERE target_id = :id", id=path[9:])}
    assert traces == {"abc12345"}


def test_verified_work_is_closed(desk: FieldDesk, staff: Staff) -> None:
    path = f"/tickets/{verified(desk)}/close"
    refused = error(post(staff["finance"], path, {}), 400)
    assert (refused["code"], list(refused["fields"])) == ("INVALID_REQUEST", ["reason"])
    assert post(staff["finance"], path, {"reason": "goodwill"}).json()["state"] == "CLOSED"


def test_more_is_asked_for_from_the_field(desk: FieldDesk, staff: Staff) -> None:
    path = f"/tickets/{on_site(desk)}"
    asked = {"approval_type": "NTE_INCREASE", "reason": "closer", "amount_delta_cents": 5.5}
    body = post(staff["tech"], f"{path}/tech/request-change", asked).json()
    assert (body["ticket"]["state"], body["approval"]["amount_delta_cents"]) == ("APPROVAL_REQUIRED", 5)
    decide = {"approval_id": body["approval"]["id"], "decision": "DENIED"}
    assert error(post(staff["tech"], f"{path}/approval/decide", decide), 403)["code"] == "FORBIDDEN"
    missing = error(post(staff["approver"], f"{path}/approval/decide", decide | {"approval_id": str(uuid4())}), 404)
    assert missing["code"] == "APPROVAL_NOT_FOUND"
    assert post(staff["approver"], f"{path}/approval/decide", decide).json()["state"] == "TRIAGED"


def test_what_makes_no_sense_is_400(desk: FieldDesk, staff: Staff) -> None:
    unreachable = "BLIND_INTAKE_VALIDATION_FAILED"
    for path, body, code in (
        ("/tickets", {"summary": " "}, "INVALID_REQUEST"),
        ("/tickets", {"nte_cents": "1"}, "INVALID_REQUEST"),
        ("/tickets", {"nte_cents": 1.5}, "INVALID_REQUEST"),
        ("/tickets", {"site_id": "x"}, "INVALID_REQUEST"),
        ("/tickets", {"account_id": str(UUID(int=7))}, "INVALID_REQUEST"),
        ("/tickets", {"colour": "red"}, "INVALID_REQUEST"),
        ("/tickets/intake", {"contact_phone": None}, unreachable),
        ("/tickets/intake", {"contact_phone": "12"}, "INVALID_REQUEST"),
        ("/tickets/intake", {"identity_confidence": 101}, "INVALID_REQUEST"),
        ("/tickets/intake", {"priority": "soon"}, "INVALID_REQUEST"),
    ):
        whole = intake(desk) if path.endswith("intake") else new(desk)
        assert error(post(staff["agent"], path, whole | body), 400)["code"] == code, body
    assert desk.rows("SELECT count(*) FROM tickets") == [(0,)]


def test_keys_tools_and_roles_are_demanded(desk: FieldDesk, staff: Staff) -> None:
    agent, body = staff["agent"], new(desk)
    assert error(agent.post("/tickets", json=body), 400)["code"] == "MISSING_IDEMPOTENCY_KEY"
    assert error(post(agent, "/tickets", body, **{"idempotency-key": "1"}), 400)["code"] == "INVALID_IDEMPOTENCY_KEY"
    assert error(post(agent, "/tickets", body, **{"x-tool-name": "ticket.triage"}), 403)["code"] == "TOOL_NOT_ALLOWED"
    for name in ("customer", "tech", "qa", "approver", "finance"):
        assert error(post(staff[name], "/tickets", body), 403)["code"] == "FORBIDDEN"
    key = {"idempotency-key": str(uuid4())}
    first, again = post(agent, "/tickets", body, **key), post(agent, "/tickets", body, **key)
    assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (201, first.content, "true")
    other = error(post(agent, "/tickets", body | {"summary": "other"}, **key), 409)
    assert other["code"] == "IDEMPOTENCY_PAYLOAD_MISMATCH"
    assert desk.rows("SELECT count(*) FROM tickets") == [(1,)]


def test_one_key_on_two_tickets_does_both(desk: FieldDesk, staff: Staff) -> None:
    pair, key = [desk.make(), desk.make()], {"idempotency-key": str(uuid4())}
    wish = {"priority": "URGENT", "incident_type": INCIDENT}
    answers = [post(staff["agent"], f"/tickets/{one}/triage", wish, **key) for one in pair]
    assert [answer.json()["id"] for answer in answers] == [str(one) for one in pair]


def test_a_place_out_of_reach_is_403_and_a_ticket_out_of_reach_404(api: Api, desk: FieldDesk) -> None:
    with api.db.begin() as connection:
        person_id = people.member(connection, desk.org_id, "agent", "narrow@ours.example")
        people.narrow(connection, desk.org_id, person_id, Reach.SITE)
    narrow, made = api.signed_in(desk.org_id, person_id), desk.make()
    refused = error(post(narrow, "/tickets", new(desk)), 403)
    assert (refused["code"], refused["scope_field"], refused["target_id"]) == (
        "FORBIDDEN_SCOPE", "site_id", str(desk.site_id),
    )  # fmt: skip
    wish = {"priority": "URGENT", "incident_type": INCIDENT}
    assert error(post(narrow, f"/tickets/{made}/triage", wish), 404)["code"] == "TICKET_NOT_FOUND"
    assert narrow.get(f"/tickets/{made}/approvals").status_code == 404
    assert [row[2] for row in desk.trail() if row[1] == "refused"] == ["FORBIDDEN_SCOPE"] * 2


def test_a_duplicate_is_409_with_the_first_ticket_and_is_recorded(desk: FieldDesk, staff: Staff) -> None:
    first = post(staff["agent"], "/tickets/intake", intake(desk)).json()
    found = error(post(staff["agent"], "/tickets/intake", intake(desk, contact_phone="(555) 1234567")), 409)
    assert found["code"] == "DUPLICATE_INTAKE"
    assert (found["duplicate_ticket_id"], found["duplicate_ticket_state"]) == (first["id"], "READY_TO_SCHEDULE")
    assert (found["ticket"], found["duplicate_within_minutes"]) == (first, 120)
    assert len(found["identity_signature"]) == 64
    assert desk.trail()[-1] == ("ticket.blind_intake", "refused", "DUPLICATE_INTAKE")
    data = desk.rows("SELECT data FROM audit_details ORDER BY number DESC LIMIT 1")[0][0]
    assert data["duplicate_ticket_id"] == first["id"]
    assert "5551234567" not in str(data)


def test_a_stale_screen_loses(desk: FieldDesk, staff: Staff) -> None:
    made = desk.make()
    triage(desk, made)
    found = error(post(staff["dispatcher"], f"/tickets/{made}/cancel", {"reason": "x"}, **{"if-match": '"0"'}), 409)
    assert (found["code"], found["version"]) == ("STALE_VERSION", 1)


def test_a_hundred_equal_requests_at_once_have_one_effect(api: Api, desk: FieldDesk, staff: Staff) -> None:
    key, agent, body = {"idempotency-key": str(uuid4())}, staff["agent"], new(desk)

    def ask(_: int) -> httpx.Response:
        return post(agent, "/tickets", body, **key)

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(ask, range(100)))
    assert {one.status_code for one in found} == {201}
    assert len({one.content for one in found}) == 1
    assert rows(api.db, "SELECT count(*) FROM tickets") == [(1,)]
    assert desk.trail() == [("ticket.create", "done", None)]


def test_approvals_are_paged(desk: FieldDesk, staff: Staff) -> None:
    made = desk.make()
    desk.change(
        "INSERT INTO approvals (org_id, ticket_id, state, kind, source, return_state, reason, requested_by, "
        "decided_by, decided_at) "
        "SELECT :org, :id, 'DENIED', 'PROPOSAL', 'x', 'IN_PROGRESS', CAST(n AS text), 'x', 'y', now() "
        "FROM generate_series(1, 5) AS n ORDER BY n",
        id=made,
    )
    path, said, cursor = f"/tickets/{made}/approvals", [], None
    while True:
        page = staff["dispatcher"].get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        said += [one["reason"] for one in page["approvals"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert said == ["5", "4", "3", "2", "1"]
