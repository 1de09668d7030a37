"""A ticket's field work, read over HTTP: the union of contracts 000 and 001, its timeline, and whose delay it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import Reach
from tests.commands.field_desk import FieldDesk, take_in, triage
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, change, rows, serving, settings_for

#: What contract 000 serves of a ticket (seed-behaviours, 1.5).
_CONTRACT = {
    *("id", "account_id", "site_id", "asset_id", "state", "priority", "incident_type", "summary", "description"),
    *("nte_cents", "scheduled_start", "scheduled_end", "assigned_provider_id", "assigned_tech_id", "version"),
    *("created_at", "updated_at"),
}
_ROLES = ("dispatcher", "agent", "customer", "tech", "qa", "approver", "finance")


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    with serving(settings_for(database_url)) as running:
        yield running


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


def person(api: Api, desk: FieldDesk, name: str) -> Person:
    person_id = desk.people[name].person_id
    assert person_id is not None
    return api.signed_in(desk.org_id, person_id)


def timeline(who: Person, ticket_id: object, **asked: object) -> dict[str, Any]:
    answer = who.get(f"/tickets/{ticket_id}/timeline", params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_ticket_is_answered_with_the_fields_of_both_contracts(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.at("SCHEDULED", priority="EMERGENCY", description="a corner is broken")
    answer = person(api, desk, "dispatcher").get(f"/tickets/{ticket_id}")
    said = answer.json()
    assert set(said) >= _CONTRACT
    assert (said["id"], said["state"], said["priority"]) == (str(ticket_id), "SCHEDULED", "URGENT")
    # The field of the same name that contract 001 has stands in `ticket`, with its own words.
    assert (said["ticket"]["priority"], said["ticket"]["dispatch_state"]) == ("high", "SCHEDULED")
    assert (said["summary"], said["description"]) == ("the door does not latch", "a corner is broken")
    assert answer.headers["ETag"] == f'"{said["version"]}"'
    assert (said["has_field_work"], said["sla_status"], said["delay_party"]) == (True, "healthy", "provider")
    assert 230 <= said["remaining_minutes"] <= 240
    assert said["evidence_outstanding"] == 0
    change(api.db, "UPDATE dispatches SET due_at = now() - interval '61 minutes' WHERE ticket_id = :id", id=ticket_id)
    late = person(api, desk, "customer").get(f"/tickets/{ticket_id}")
    assert (late.json()["sla_status"], late.json()["sla_display"]) == ("breach", "-01:02")


def test_a_ticket_of_mail_alone_has_no_field_work(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.make()
    change(api.db, "DELETE FROM dispatches WHERE ticket_id = :id", id=ticket_id)
    said = person(api, desk, "agent").get(f"/tickets/{ticket_id}").json()
    assert (said["has_field_work"], said["due_at"], said["sla_status"]) == (False, None, None)
    assert said["state"] == "NEW"


def test_the_timeline_tells_who_did_what_and_every_step(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.make()
    triage(desk, ticket_id, "READY_TO_SCHEDULE")
    found = timeline(person(api, desk, "qa"), ticket_id)
    assert found["ticket_id"] == str(ticket_id)
    made, triaged = found["events"]
    assert (made["tool_name"], made["before_state"], made["after_state"]) == ("ticket.create", None, "NEW")
    assert (triaged["tool_name"], triaged["before_state"]) == ("ticket.triage", "NEW")
    assert triaged["after_state"] == "READY_TO_SCHEDULE"
    steps = [(one["from_state"], one["to_state"]) for one in triaged["transitions"] if one["kind"] == "dispatch"]
    assert steps == [("NEW", "TRIAGED"), ("TRIAGED", "READY_TO_SCHEDULE")]
    agent = desk.people["agent"]
    assert (triaged["actor_id"], triaged["actor_role"], triaged["actor_type"]) == (agent.actor_id, "agent", "HUMAN")
    assert triaged["outcome"] == "done"
    assert triaged["payload"]
    assert not any(name.startswith("_") for name in triaged["payload"])
    assert made["id"] < triaged["id"]


def test_the_timeline_is_paged_oldest_first_and_holds_nothing_twice(api: Api, desk: FieldDesk) -> None:
    ticket_id, other_id = desk.at("SCHEDULED"), desk.make()
    dispatcher = person(api, desk, "dispatcher")
    whole = timeline(dispatcher, ticket_id, limit=200)
    assert whole["next_cursor"] is None
    found, cursor = [], None
    while True:
        page = timeline(dispatcher, desk.row(ticket_id).code, limit=2, **({"cursor": cursor} if cursor else {}))
        found += page["events"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == whole["events"]
    assert len(found) > 3
    first = timeline(dispatcher, ticket_id, limit=1)["next_cursor"]
    refused = dispatcher.get(f"/tickets/{other_id}/timeline", params={"cursor": first, "limit": 1})
    assert refused.status_code == 400


def test_what_was_refused_is_told_to_who_dispatches_and_to_nobody_else(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.make()
    code = desk.row(ticket_id).code
    dispatcher = person(api, desk, "dispatcher")
    wish = {"start": "2030-05-01T12:00:00Z", "end": "2030-05-01T13:00:00Z"}
    for name in (ticket_id, code):
        key = {"Idempotency-Key": str(uuid4())}
        refused = dispatcher.post(f"/tickets/{name}/schedule/confirm", json=wish, headers=key)
        assert refused.status_code == 409
    told = timeline(dispatcher, ticket_id)["events"]
    assert [(one["outcome"], one["code"]) for one in told] == [
        ("done", None),
        *[("refused", "INVALID_STATE_TRANSITION")] * 2,
    ]
    assert told[1]["before_state"] is None
    assert [one["outcome"] for one in timeline(person(api, desk, "customer"), ticket_id)["events"]] == ["done"]


def test_all_seven_roles_read_it_and_nobody_out_of_reach_does(api: Api, desk: FieldDesk) -> None:
    ticket_id = desk.at("DISPATCHED")
    for name in _ROLES:
        assert timeline(person(api, desk, name), ticket_id)["events"], name
    elsewhere = FieldDesk.of(api.db)
    other_tech = desk.people["other_tech"].person_id
    assert other_tech is not None
    with api.db.begin() as connection:
        people.narrow(connection, desk.org_id, other_tech, Reach.OWN)
    for who in (person(api, elsewhere, "dispatcher"), person(api, desk, "other_tech")):
        for path in ("timeline", "delays"):
            answer = who.get(f"/tickets/{ticket_id}/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "TICKET_NOT_FOUND")
    answer = person(api, desk, "other_tech").get(f"/tickets/{ticket_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "TICKET_NOT_FOUND")
    dispatcher = person(api, desk, "dispatcher")
    for path in ("timeline", "delays"):
        answer = dispatcher.get(f"/tickets/none/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_TICKET_ID")
    for path, tool in (("", "ticket.get"), ("/timeline", "ticket.timeline")):
        address = f"/tickets/{ticket_id}{path}"
        assert dispatcher.get(address, headers={"X-Tool-Name": tool}).status_code == 200
        answer = dispatcher.get(address, headers={"X-Tool-Name": "ticket.create"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "TOOL_NOT_ALLOWED")


def test_a_bad_query_of_a_reading_has_its_own_code(api: Api, desk: FieldDesk) -> None:
    answer = person(api, desk, "dispatcher").get(f"/tickets/{desk.make()}/timeline", params={"limit": "201"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_QUERY")


def test_delays_say_who_was_waited_for_from_an_intake_on(api: Api, desk: FieldDesk) -> None:
    ticket_id = UUID(take_in(desk, sop_handoff_acknowledged=True, classification_confidence=84).body["id"])
    asked = {"id": ticket_id, "minutes": 90}
    triage(desk, ticket_id, "APPROVAL_REQUIRED", classification_confidence=90, confidence_reason="called them")
    for table in ("tickets SET created_at = created_at", "transitions SET at = at"):
        named = "id" if table.startswith("tickets") else "ticket_id"
        change(api.db, f"UPDATE {table} - make_interval(mins => :minutes) WHERE {named} = :id", **asked)
    found = person(api, desk, "customer").get(f"/tickets/{ticket_id}/delays").json()
    assert rows(api.db, "SELECT count(*) FROM transitions WHERE ticket_id = :id", id=ticket_id) >= [(2,)]
    assert found["elapsed_minutes"] == sum(found["minutes"].values()) == 90
    assert (found["minutes"]["customer"], found["current_party"]) == (90, "customer")
    assert [one["state"] for one in found["stays"]] == ["TRIAGED", "APPROVAL_REQUIRED"]
