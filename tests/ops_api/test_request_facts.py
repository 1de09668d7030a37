"""What is told of every request: its line in the log, and what is counted of commands once they are committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from tests.commands.field_desk import FieldDesk
from tests.deploy.probes import until
from tests.ops_api.serving import Api, Person, change, serving, settings_for

_JSON = {"accept": "application/json"}
_TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(settings_for(database_url)) as running:
        yield running


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


def person(api: Api, desk: FieldDesk, name: str = "agent") -> Person:
    person_id = desk.people[name].person_id
    assert person_id is not None
    return api.signed_in(desk.org_id, person_id)


def triage(who: Person, ticket_id: object, key: str, **headers: str) -> Any:
    wish = {"priority": "URGENT", "incident_type": "DOOR_WONT_LATCH", "workflow_outcome": "READY_TO_SCHEDULE"}
    return who.post(f"/tickets/{ticket_id}/triage", json=wish, headers={"Idempotency-Key": key, **headers})


def answered(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["event"] == "request.answered"]


def counted(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.client().get("/metrics", headers=_JSON).json()
    return found


def test_commands_are_counted_after_their_commit_and_replays_apart(api: Api, desk: FieldDesk) -> None:
    who, key = person(api, desk), str(uuid4())
    ticket_id = desk.make()
    assert triage(who, ticket_id, key).status_code == 200
    assert triage(who, ticket_id, key).headers["Idempotency-Replayed"] == "true"
    other = who.post(f"/tickets/{ticket_id}/triage", json={}, headers={"Idempotency-Key": key})
    assert other.status_code == 400
    body = {"priority": "ROUTINE", "incident_type": "X"}
    conflict = who.post(f"/tickets/{ticket_id}/triage", json=body, headers={"Idempotency-Key": key})
    assert conflict.json()["error"]["code"] == "IDEMPOTENCY_PAYLOAD_MISMATCH"
    until(lambda: counted(api)["idempotency_conflict_total"] == 1)
    found = counted(api)
    assert found["idempotency_replay_total"] == 1
    pairs = {(one["from_state"], one["to_state"]): one["count"] for one in found["transitions_total"]}
    assert pairs == {("NEW", "TRIAGED"): 1, ("TRIAGED", "READY_TO_SCHEDULE"): 1}
    errors = {one["code"]: one["count"] for one in found["errors_total"]}
    assert errors == {"INVALID_REQUEST": 1, "IDEMPOTENCY_PAYLOAD_MISMATCH": 1}
    requests = {(one["method"], one["endpoint"], one["status"]): one["count"] for one in found["requests_total"]}
    assert requests["POST", "/tickets/{ticket_id}/triage", "200"] == 2
    assert requests["POST", "/tickets/{ticket_id}/triage", "409"] == 1
    assert found["dispatch_assignments_with_snapshot_total"] == 0
    text = api.client().get("/metrics").text
    for line in (
        'fieldpost_transitions_total{from_state="NEW",to_state="TRIAGED"} 1.0',
        "fieldpost_idempotency_replays_total 1.0",
        "fieldpost_idempotency_conflicts_total 1.0",
        'fieldpost_errors_total{code="IDEMPOTENCY_PAYLOAD_MISMATCH"} 1.0',
        'fieldpost_dispatch_assignments_total{snapshot="with"} 0.0',
    ):
        assert line in text


def test_a_ticket_that_was_made_and_who_was_sent_are_counted(api: Api, desk: FieldDesk) -> None:
    dispatcher = person(api, desk, "dispatcher")
    wish = {"account_id": str(desk.account_id), "site_id": str(desk.site_id), "summary": "no light"}
    made = dispatcher.post("/tickets", json=wish, headers={"Idempotency-Key": str(uuid4())})
    assert made.status_code == 201
    ticket_id, tech = desk.at("SCHEDULED"), str(desk.people["tech"].person_id)
    sent = dispatcher.post(
        f"/tickets/{ticket_id}/assignment/dispatch",
        json={"tech_id": tech, "override_reason": "they know this door well"},
        headers={"Idempotency-Key": str(uuid4())},
    )
    assert sent.status_code == 200, sent.text
    until(lambda: counted(api)["dispatch_assignments_without_snapshot_total"] == 1)
    found = counted(api)
    assert {"from_state": None, "to_state": "NEW", "count": 1} in found["transitions_total"]
    assert {"from_state": "SCHEDULED", "to_state": "DISPATCHED", "count": 1} in found["transitions_total"]


def test_what_is_not_committed_is_not_counted(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.make()
    change(
        api.db,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'late'; END $$; "
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON transitions DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    answer = triage(person(api, desk), ticket_id, str(uuid4()))
    change(api.db, "DROP TRIGGER late ON transitions; DROP FUNCTION refuse()")
    assert answer.status_code == 500
    until(lambda: {"code": "INTERNAL_ERROR", "count": 1} in counted(api)["errors_total"])
    assert counted(api)["transitions_total"] == []


def test_a_line_names_who_did_what_to_which_ticket_in_success_and_error(api: Api, desk: FieldDesk) -> None:
    who, key, ticket_id = person(api, desk), str(uuid4()), desk.make()
    sent = {"X-Correlation-Id": "c-1", "traceparent": f"00-{_TRACE}-b7ad6b7169203331-01"}
    with capture_logs() as lines:
        for _ in range(2):
            triage(who, ticket_id, key, **sent, **{"X-Request-Id": "r-1"})
        triage(who, ticket_id, str(uuid4()), **{"X-Request-Id": "r-2"})
        until(lambda: len(answered(lines)) == 3)
    done, again, refused = answered(lines)
    assert done | {"duration_ms": 0, "log_level": ""} == {
        "event": "request.answered",
        "log_level": "",
        "method": "POST",
        "path": f"/tickets/{ticket_id}/triage",
        "endpoint": "/tickets/{ticket_id}/triage",
        "status": 200,
        "code": None,
        "duration_ms": 0,
        "request_id": "r-1",
        "correlation_id": "c-1",
        "trace_id": _TRACE,
        "actor_id": desk.people["agent"].actor_id,
        "actor_role": "agent",
        "tool": "ticket.triage",
        "ticket_id": str(ticket_id),
        "is_replayed": False,
    }
    assert done["duration_ms"] > 0
    assert (again["is_replayed"], again["tool"], again["status"]) == (True, "ticket.triage", 200)
    assert (refused["status"], refused["code"], refused["tool"]) == (409, "INVALID_STATE_TRANSITION", "ticket.triage")
    # Correlated by its own id where the caller names none.
    assert (refused["request_id"], refused["correlation_id"], refused["trace_id"]) == ("r-2", "r-2", None)


def test_a_line_names_the_ticket_s_trace_where_the_request_names_none(api: Api, desk: FieldDesk) -> None:
    who, ticket_id = person(api, desk), desk.make()
    desk.change("UPDATE dispatches SET trace_id = 'of-the-mail' WHERE ticket_id = :id", id=ticket_id)
    with capture_logs() as lines:
        triage(who, ticket_id, str(uuid4()))
        until(lambda: len(answered(lines)) == 1)
    assert [line["trace_id"] for line in answered(lines)] == ["of-the-mail"]


def test_a_customers_link_and_what_else_is_no_id_stand_in_no_line(api: Api) -> None:
    client = api.client()
    hexadecimal = "c0ffee" * 6
    paths: tuple[str, ...] = (
        "/visit/canary-token",
        "/visit/canary-token/confirm/x",
        "/canary",
        "/tickets/canary-x/timeline",
    )
    paths = (*paths, f"/visit/{hexadecimal}", "/tickets/saved-views/canary")
    with capture_logs() as lines:
        for path in paths:
            client.get(path)
        client.get("/tickets", headers={"Authorization": "Bearer canary-bearer"})
        until(lambda: len(answered(lines)) == len(paths) + 1)
    assert "canary" not in repr(lines)
    assert hexadecimal not in repr(lines)
    told = [line["path"] for line in answered(lines)]
    assert told[:4] == ["/visit/{token}", None, None, "/tickets/{ticket_id}/timeline"]
    assert answered(lines)[-1]["code"] in {"INVALID_AUTH_TOKEN", "AUTH_REQUIRED"}


def test_labels_are_few_whatever_is_asked_for(api: Api) -> None:
    client = api.client()
    for number in range(30):
        client.get(f"/nowhere/{number}")
        client.request(f"ODD{number}", "/tickets")
    until(lambda: sum(one["count"] for one in counted(api)["errors_total"]) >= 60)
    found = counted(api)
    assert len(found["errors_total"]) <= 3
    assert len([one for one in found["requests_total"] if one["endpoint"] == "unmatched"]) <= 3
