"""The reads of contract 000, and the ways in: who may, how far they see, and what is refused in which words."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from structlog.testing import capture_logs

from tests.commands.site_work import completed
from tests.conformance.bodies import now
from tests.conformance.service import ROLES, Service, error
from tests.jwt_attacks import SECRET
from tests.worker_process import until

FIELDS = {
    *("id", "account_id", "site_id", "asset_id", "state", "priority", "incident_type", "summary", "description"),
    *("nte_cents", "scheduled_start", "scheduled_end", "assigned_provider_id", "assigned_tech_id", "version"),
    *("created_at", "updated_at"),
}
EVENT = {
    *("id", "actor_type", "actor_id", "actor_role", "tool_name", "request_id", "correlation_id", "trace_id"),
    *("before_state", "after_state", "payload"),
}
READS = {
    "/tickets/{id}": (ROLES, "ticket.get"),
    "/tickets/{id}/timeline": (ROLES, "ticket.timeline"),
    "/tickets/{id}/evidence": (tuple(role for role in ROLES if role != "customer"), "closeout.list_evidence"),
}
on_each = pytest.mark.parametrize("path", READS)


@pytest.fixture(scope="module")
def ticket_id(service: Service) -> UUID:
    return completed(service.desk)


@pytest.mark.parametrize(("path", "role"), [(path, role) for path in READS for role in ROLES])
def test_a_read_is_for_the_roles_of_the_contract(service: Service, ticket_id: UUID, path: str, role: str) -> None:
    roles, tool = READS[path]
    answer = service.get(path.format(id=ticket_id), role, headers={"x-tool-name": tool})
    if role in roles:
        assert answer.status_code == 200, answer.text
    else:
        error(answer, 403, "FORBIDDEN")


@on_each
def test_a_read_is_refused_for_another_tool_a_bad_id_and_what_is_out_of_reach(
    service: Service, ticket_id: UUID, path: str
) -> None:
    error(service.get(path.format(id=ticket_id), headers={"x-tool-name": "tech.complete"}), 403, "TOOL_NOT_ALLOWED")
    error(service.get(path.format(id=uuid4())), 404, "TICKET_NOT_FOUND")
    error(service.get(path.format(id=ticket_id), account_ids=[]), 404, "TICKET_NOT_FOUND")
    error(service.get(path.format(id=ticket_id), site_ids=[str(uuid4())]), 404, "TICKET_NOT_FOUND")
    error(service.http.get(path.format(id=ticket_id)), 400, "MISSING_ACTOR_CONTEXT")


@pytest.mark.parametrize("path", ["/tickets/{id}/timeline", "/tickets/{id}/evidence"])
def test_a_bad_id_is_400(service: Service, path: str) -> None:
    error(service.get(path.format(id="not-a-uuid")), 400, "INVALID_TICKET_ID")


def test_the_ticket_is_read_as_its_last_command_answered_it(service: Service, ticket_id: UUID) -> None:
    answer = service.get(f"/tickets/{ticket_id}")
    assert set(answer.json()) >= FIELDS
    row = service.desk.row(ticket_id)
    assert (answer.json()["state"], answer.json()["version"]) == (row.dispatch_state, row.version)
    assert answer.headers["etag"].strip("W/").strip('"') == str(row.version)


def test_the_timeline_is_every_audit_row_oldest_first_with_its_states(service: Service, ticket_id: UUID) -> None:
    found = service.get(f"/tickets/{ticket_id}/timeline").json()
    assert found["ticket_id"] == str(ticket_id)
    events = [one for one in found["events"] if one["outcome"] == "done"]
    assert [one["tool_name"] for one in events] == [row.action for row in service.done(ticket_id)]
    assert all(set(one) >= EVENT for one in events)
    assert [one["id"] for one in events] == sorted(one["id"] for one in events)
    told = [(step["from_state"], step["to_state"]) for one in events for step in one["transitions"]]
    assert told == service.desk.moves(ticket_id)
    (arrived,) = (one for one in events if one["tool_name"] == "tech.check_in")
    assert (arrived["before_state"], arrived["after_state"]) == ("DISPATCHED", "IN_PROGRESS")


def test_evidence_is_listed_oldest_first(service: Service, ticket_id: UUID) -> None:
    found = service.get(f"/tickets/{ticket_id}/evidence").json()
    assert found["ticket_id"] == str(ticket_id)
    keys = [(one["metadata"]["evidence_key"],) for one in found["evidence"]]
    statement = "SELECT evidence_key FROM evidence_items WHERE ticket_id = :id ORDER BY id"
    assert keys == service.desk.rows(statement, id=ticket_id)


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("two lists", {}),
        ("an account that says whose it is", {"org_id": None}),
        ("a scope inside", {"account_ids": None, "site_ids": None, "scope": {"account_ids": "*", "site_ids": "*"}}),
        ("stars", {"site_ids": "*"}),
        ("a list with commas", {"site_ids": f"{uuid4()}, {{site}}"}),
        ("singular names", {"account_ids": None, "site_ids": None, "account_id": "{account}", "site_id": "{site}"}),
    ],
)
def test_a_scope_is_said_in_any_of_the_contracts_ways(
    service: Service, ticket_id: UUID, name: str, claims: dict[str, Any]
) -> None:
    places = {"account": service.desk.account_id, "site": service.desk.site_id}
    said: dict[str, Any] = {}
    for claim, value in claims.items():
        said[claim] = value.format(**places) if isinstance(value, str) else value
    assert service.get(f"/tickets/{ticket_id}", **said).status_code == 200, name


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"sub": None}, "INVALID_AUTH_CLAIMS"),
        ({"role": None}, "INVALID_AUTH_CLAIMS"),
        ({"exp": None}, "INVALID_AUTH_CLAIMS"),
        ({"exp": "soon"}, "INVALID_AUTH_CLAIMS"),
        ({"account_ids": ["x"]}, "INVALID_AUTH_CLAIMS"),
        ({"account_ids": None, "site_ids": None}, "INVALID_AUTH_CLAIMS"),
        ({"exp": 1}, "INVALID_AUTH_TOKEN"),
        ({"iss": "https://elsewhere.example"}, "INVALID_AUTH_TOKEN"),
        ({"aud": "another"}, "INVALID_AUTH_TOKEN"),
    ],
    ids=str,
)
def test_a_token_that_does_not_say_enough_is_401(
    service: Service, ticket_id: UUID, claims: dict[str, Any], code: str
) -> None:
    error(service.get(f"/tickets/{ticket_id}/timeline", **claims), 401, code)


@pytest.mark.parametrize("algorithm", ["HS512", "HS384"])
def test_only_hs256_by_the_secret_is_believed(service: Service, ticket_id: UUID, algorithm: str) -> None:
    path, claims = f"/tickets/{ticket_id}/timeline", service.claims("dispatcher")
    for token in (
        jwt.encode(claims, SECRET * 2, algorithm=algorithm),
        jwt.encode(claims, "another secret of more than 256 bits, for sure", algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
    ):
        error(service.http.get(path, headers={"authorization": f"Bearer {token}"}), 401, "INVALID_AUTH_TOKEN")


def _counted(service: Service) -> dict[str, Any]:
    answer = service.http.get("/metrics", headers={"accept": "application/json"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _number(found: list[dict[str, Any]], **labels: Any) -> int:
    """Return the count of what has these labels."""
    return sum(one["count"] for one in found if {name: str(one[name]) for name in labels} == labels)


def test_the_snapshot_counts_requests_errors_transitions_replays_and_conflicts(service: Service) -> None:
    """Over HTTP without a login, as the contract has it; counted once an answer has left."""
    path, key = f"/tickets/{service.desk.make()}/triage", str(uuid4())
    wish = {"priority": "URGENT", "incident_type": "DOOR_WONT_LATCH"}
    before = _counted(service)
    for body in (wish, wish, wish | {"priority": "ROUTINE"}):
        service.post(path, body, key=key)
    request = {"method": "POST", "endpoint": "/tickets/{ticket_id}/triage", "status": "409"}
    asked = _number(before["requests_total"], **request) + 1
    until(lambda: _number(_counted(service)["requests_total"], **request) == asked, "the count of the last request")
    after = _counted(service)
    for name, labels in (
        ("errors_total", {"code": "IDEMPOTENCY_PAYLOAD_MISMATCH"}),
        ("transitions_total", {"from_state": "NEW", "to_state": "TRIAGED"}),
    ):
        assert _number(after[name], **labels) == _number(before[name], **labels) + 1, name
    for name in ("idempotency_replay_total", "idempotency_conflict_total"):
        assert after[name] == before[name] + 1, name


def test_a_requests_line_has_its_ids_and_what_it_was_about(service: Service, ticket_id: UUID) -> None:
    path = f"/tickets/{ticket_id}/tech/check-in"
    headers = {"x-request-id": "request-0001", "x-correlation-id": "correlation-0001", "x-trace-id": "trace-0001"}
    with capture_logs() as lines:
        error(service.post(path, {"timestamp": now()}, "tech", headers=headers), 409, "INVALID_STATE_TRANSITION")
        until(lambda: [one for one in lines if one["event"] == "request.answered"], "the line")
    (line,) = (one for one in lines if one["event"] == "request.answered")
    assert {name: line[name] for name in ("request_id", "correlation_id", "trace_id")} == {
        "request_id": "request-0001",
        "correlation_id": "correlation-0001",
        "trace_id": "trace-0001",
    }
    assert (line["method"], line["path"], line["status"]) == ("POST", path, 409)
    assert (line["code"], line["tool"], line["ticket_id"]) == (
        "INVALID_STATE_TRANSITION", "tech.check_in", str(ticket_id),
    )  # fmt: skip
    assert (line["actor_id"], line["is_replayed"]) == (str(service.desk.people["tech"].person_id), False)
    assert line["duration_ms"] >= 0
