"""Sending technicians over HTTP: contract 000's shapes and replays, and why not somebody else."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.commands.field_desk import FieldDesk
from tests.commands.test_assigning_work import TOMORROW, scheduled, who
from tests.ops_api.serving import Api, Person


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


@pytest.fixture
def dispatcher(api: Api, desk: FieldDesk) -> Person:
    return api.signed_in(desk.org_id, who(desk, "dispatcher"))


def post(person: Person, ticket_id: UUID, what: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    sent = {"idempotency-key": str(uuid4()), **headers}
    return person.post(f"/tickets/{ticket_id}/assignment/{what}", json=body, headers=sent)


def test_a_ticket_is_recommended_dispatched_exchanged_and_taken_off(desk: FieldDesk, dispatcher: Person) -> None:
    ticket_id = scheduled(desk)
    advice = post(dispatcher, ticket_id, "recommend", {"limit": 1})
    assert (advice.status_code, len(advice.json()["recommendations"])) == (201, 1)
    assert post(dispatcher, ticket_id, "recommend", {"ignore": ["shift"]}).status_code == 200
    tech, other = str(who(desk, "tech")), str(who(desk, "other_tech"))
    body = {"tech_id": tech, "recommendation_snapshot_id": advice.json()["recommendation_snapshot_id"]}
    key = str(uuid4())
    sent = post(
        dispatcher, ticket_id, "dispatch", body, **{"idempotency-key": key, "x-tool-name": "assignment.dispatch"}
    )
    assert (sent.status_code, sent.json()["state"], sent.headers["etag"]) == (
        200,
        "DISPATCHED",
        f'"{sent.json()["version"]}"',
    )
    again = post(dispatcher, ticket_id, "dispatch", body, **{"idempotency-key": key})
    assert (again.content, again.headers["idempotency-replayed"]) == (sent.content, "true")
    exchanged = post(dispatcher, ticket_id, "reassign", {"tech_id": other, "reason": "ill"})
    assert (exchanged.json()["assigned_tech_id"], exchanged.json()["version"]) == (other, sent.json()["version"] + 1)
    off = post(dispatcher, ticket_id, "unassign", {"reason": "the van broke down"})
    assert (off.json()["state"], off.json()["assigned_tech_id"]) == ("SCHEDULED", None)
    assert [code for _, outcome, code in desk.trail(ticket_id) if outcome == "refused"] == []


def test_what_is_refused_has_the_shape_of_contract_000(desk: FieldDesk, dispatcher: Person) -> None:
    ticket_id = desk.at("TRIAGED")
    said = {"tech_id": str(who(desk, "tech"))}
    error = post(dispatcher, ticket_id, "dispatch", said).json()["error"]
    assert (error["code"], error["from_state"], error["to_state"]) == (
        *("INVALID_STATE_TRANSITION", "TRIAGED", "DISPATCHED"),
    )
    for body in ({}, {"tech_id": "x"}, said | {"dispatch_mode": "emergency"}, said | {"override_reason": "short"}):
        answer = post(dispatcher, ticket_id, "dispatch", body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST"), body
    for wish in ({"limit": 21}, {"limit": 0}, {"ignore": ["luck"]}, {"weights": {"sla": 1001}}):
        assert post(dispatcher, ticket_id, "recommend", wish).status_code == 400, wish
    answer = dispatcher.post(f"/tickets/{ticket_id}/assignment/dispatch", json=said)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MISSING_IDEMPOTENCY_KEY")


def test_everybody_who_was_weighed_can_be_asked_about(api: Api, desk: FieldDesk, dispatcher: Person) -> None:
    ticket_id = scheduled(desk)
    path = f"/tickets/{ticket_id}/assignment/candidates"
    nobody = dispatcher.get(path).json()
    assert (nobody["source"], nobody["candidates"], nobody["next_cursor"]) == (None, [], None)
    tech, other = who(desk, "tech"), who(desk, "other_tech")
    desk.change("UPDATE people SET full_name = 'Olga Other' WHERE id = :id", id=other)
    desk.change("INSERT INTO technicians (org_id, person_id, is_available) VALUES (:org, :id, false)", id=other)
    post(dispatcher, ticket_id, "recommend", {})
    assert dispatcher.get(path).json()["source"] == "recommendation"
    post(dispatcher, ticket_id, "dispatch", {"tech_id": str(tech)})
    found = dispatcher.get(path, params={"technician_id": str(other)}).json()
    assert (found["source"], found["mode"]) == ("assignment", "STANDARD")
    (line,) = found["candidates"]
    assert (line["name"], line["place"], line["is_fit"]) == ("Olga Other", 2, False)
    reasons = {one["filter"]: one["reason"] for one in line["filters"] if not one["is_passed"]}
    assert reasons == {"available": "is set unavailable"}
    first = dispatcher.get(path, params={"limit": 1}).json()
    second = dispatcher.get(path, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["candidates"][0]["place"] for one in (first, second)] == [1, 2]
    assert second["next_cursor"] is None
    assert api.signed_in(desk.org_id, tech).get(path).status_code == 403


def test_technicians_are_listed_by_pages_and_set_by_administrators(
    api: Api, desk: FieldDesk, dispatcher: Person
) -> None:
    admin = api.signed_in(desk.org_id, who(desk, "admin"))
    tech = who(desk, "tech")
    path = f"/dispatch/technicians/{tech}"
    set_to = {"zones": ["North"], "home": {"lat": 52.5, "lon": 13.4}, "most_visits": 6}
    assert admin.ask("PUT", path, json=set_to).json()["home"] == {"lat": 52.5, "lon": 13.4}
    assert dispatcher.ask("PUT", path, json=set_to).status_code == 403
    assert admin.ask("PUT", path, json={"home": {"lat": 91, "lon": 0}}).status_code == 422
    until = (TOMORROW.date()).isoformat()
    assert admin.ask("PUT", f"{path}/certificates/HV", json={"valid_until": until}).status_code == 200
    desk.change(
        "INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone) VALUES (:org, :id, :day, '08:00', "
        "'16:00', 'UTC')",
        id=tech,
        day=TOMORROW.weekday(),
    )
    first = dispatcher.get("/dispatch/technicians", params={"limit": 1}).json()
    second = dispatcher.get("/dispatch/technicians", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["items"][0]["person_id"] for one in (first, second)] == [str(tech), str(who(desk, "other_tech"))]
    assert second["next_cursor"] is None
    (found,) = first["items"]
    assert found["certificates"] == [{"name": "HV", "valid_until": until, "is_expired": False}]
    assert (found["zones"], found["most_visits"], found["open_load"]) == (["North"], 6, 0)
    assert found["next_shift"]["start"] == f"{until}T08:00:00Z"
    assert found["quality"] == {"checks": 0, "passes": 0, "percent": 66}
    assert admin.ask("DELETE", f"{path}/certificates/hv").json()["certificates"] == []
    assert admin.ask("DELETE", f"{path}/certificates/hv").status_code == 404
    assert admin.ask("PUT", f"/dispatch/technicians/{uuid4()}", json={}).status_code == 404
