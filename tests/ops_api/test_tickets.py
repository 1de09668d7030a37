"""The ticket desk over HTTP, reading: lists, pages, a ticket with what stands in it, and what nobody else may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from models.enums import Reach
from tests import factories
from tests.factories import NOON
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, change

_MESSAGE = text("""
    WITH kept AS (
        INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address,
                              received_at, snippet, raw_sha256, parser_version)
        VALUES (:org, :name, sha256(convert_to(:name, 'UTF8')), '\\x00', 'It is dark', 'it is dark',
                'ann@customer.example', :at, 'It stays dark.', '\\xab', 1) RETURNING id
    ), body AS (
        INSERT INTO message_contents (message_id, body_text, body_html)
        SELECT id, :body, '<p>It stays dark.</p>' FROM kept
    ), to_us AS (
        INSERT INTO message_addresses (message_id, role, position, address, name)
        SELECT id, 'to', 0, 'help@acme.example', 'Help' FROM kept
    )
    INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence, evidence)
    SELECT id, :org, :ticket, 'in_reply_to', 'high', '<1@customer.example>' FROM kept RETURNING message_id
""")
_SEEN = text("""
    WITH seen AS (
        INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256, message_id, labels)
        VALUES (:org, :mailbox, :name, 'routed', '\\xab', :message, '{INBOX}') RETURNING id
    )
    INSERT INTO occurrence_recipients (occurrence_id, message_id, address, source, confidence, evidence)
    SELECT id, :message, 'help@acme.example', 'delivered_to', 'medium', '{"delivered_to": ["help@acme.example"]}'
      FROM seen
""")
KEYS = {
    *("id", "code", "status", "dispatch_state", "priority", "subject", "requester_email", "requester_name"),
    *("assignee_user_id", "assignee_name", "assignee_queue_id", "queue_name", "tags", "account_id", "site_id"),
    *("mailbox_id", "first_message_at", "last_message_at", "last_activity_at", "closed_at", "created_at"),
    *("merged_into", "sla", "version"),
}


def message(connection: Connection, org_id: UUID, ticket_id: UUID, number: int = 1, body: str = "It is dark.") -> int:
    """Put a message of minute `number` into a ticket; return its id."""
    values = {"org": org_id, "ticket": ticket_id, "name": f"<{uuid4()}>", "body": body}
    return int(connection.execute(_MESSAGE, values | {"at": NOON + timedelta(minutes=number)}).scalar_one())


def seen(connection: Connection, org_id: UUID, mailbox_id: UUID, message_id: int) -> None:
    """Let a mailbox have a message."""
    values = {"org": org_id, "mailbox": mailbox_id, "message": message_id, "name": f"p{message_id}-{mailbox_id}"}
    connection.execute(_SEEN, values)


@dataclass(frozen=True, slots=True)
class Desk:
    """An organization with 5 tickets, the newest first, and its agent."""

    org_id: UUID
    tickets: list[UUID]
    agent: Person

    def get(self, path: str = "/tickets", **options: Any) -> Any:
        answer = self.agent.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def listed(self, **asked: Any) -> list[UUID]:
        return [UUID(one["id"]) for one in self.get(params=asked)["items"]]


def desk(api: Api, name: str) -> Desk:
    with api.db.begin() as connection:
        org_id = factories.organization(connection, name)
        tickets = [factories.ticket(connection, org_id, at=NOON - timedelta(hours=hour)) for hour in range(5)]
    return Desk(org_id, tickets, api.person(org_id, "agent", f"agent@{name}.example"))


@pytest.fixture
def ours(api: Api) -> Desk:
    return desk(api, "ours")


@pytest.fixture
def theirs(api: Api) -> Desk:
    return desk(api, "theirs")


def put(api: Api, ticket_id: UUID, **values: Any) -> None:
    assigned = ", ".join(f"{name} = :{name}" for name in values)
    change(api.db, f"UPDATE tickets SET {assigned} WHERE id = :ticket", ticket=ticket_id, **values)


def test_a_list_goes_page_by_page_from_the_newest_activity_to_the_oldest(ours: Desk) -> None:
    first = ours.get(params={"limit": 2})
    assert [UUID(one["id"]) for one in first["items"]] == ours.tickets[:2]
    assert all(set(one) == KEYS for one in first["items"])
    second = ours.get(params={"limit": 2, "cursor": first["next_cursor"]})
    third = ours.get(params={"limit": 2, "cursor": second["next_cursor"]})
    assert [UUID(one["id"]) for one in second["items"] + third["items"]] == ours.tickets[2:]
    assert third["next_cursor"] is None


def test_a_cursor_is_good_for_its_own_filters_and_organization_only(ours: Desk, theirs: Desk) -> None:
    cursor = ours.get(params={"limit": 2, "q": "subject"})["next_cursor"]
    for person, asked in (
        (ours.agent, {"q": "subject", "status": "open"}),
        (ours.agent, {"q": "other"}),
        (theirs.agent, {"q": "subject"}),
    ):
        assert person.get("/tickets", params={"cursor": cursor, **asked}).status_code == 422
    for bad in ("x", cursor[:-2], f"e30.{cursor.partition('.')[2]}"):
        assert ours.agent.get("/tickets", params={"cursor": bad, "q": "subject"}).status_code == 422
    assert ours.agent.get("/tickets", params={"cursor": cursor, "q": "subject"}).status_code == 200


def test_every_filter_of_the_contract_and_beyond_narrows(api: Api, ours: Desk) -> None:
    one, two, three, four, five = ours.tickets
    with api.db.begin() as connection:
        queue = connection.execute(
            text("INSERT INTO queues (org_id, slug, name) VALUES (:org, 'q', 'Q') RETURNING id"), {"org": ours.org_id}
        ).scalar_one()
        mailbox = factories.mailbox(connection, ours.org_id)
    put(api, one, status="open", queue_id=queue, tags=["late", "hardware"], priority="urgent", mailbox_id=mailbox)
    put(api, two, status="pending", assignee_user_id=ours.agent.person_id, requester_email="bob@shop.example")
    put(api, three, status="closed", closed_at=NOON, subject="100% Ärger")
    put(api, four, status="merged", closed_at=NOON, merged_into=five)
    change(api.db, "UPDATE tickets SET sla_due_at = now() - interval '1 hour' WHERE id = :id", id=one)
    asked: list[tuple[dict[str, Any], list[UUID]]] = [
        ({}, [one, two, three, five]),
        ({"status": "open"}, [one]),
        ({"status": ["open", "pending"]}, [one, two]),
        ({"status": "merged"}, [four]),
        ({"q": "ÄRGER"}, [three]),
        ({"q": "0%"}, [three]),
        ({"q": "bob@SHOP"}, [two]),
        ({"q": "  "}, [one, two, three, five]),
        ({"assignee_user_id": str(ours.agent.person_id)}, [two]),
        ({"assignee_queue_id": str(queue)}, [one]),
        ({"unassigned": "true"}, [three, five]),
        ({"tag": "Late"}, [one]),
        ({"tag": ["late", "hardware"]}, [one]),
        ({"tag": ["late", "software"]}, []),
        ({"priority": "urgent"}, [one]),
        ({"mailbox_id": str(mailbox)}, [one]),
        ({"sla": "breach"}, [one]),
        ({"sla": "paused"}, []),
        ({"since": (NOON - timedelta(hours=1)).isoformat()}, [one, two]),
        ({"until": (NOON - timedelta(hours=1)).isoformat()}, [three, five]),
        ({"created_before": "2020-01-01T00:00:00Z"}, []),
        ({"account_id": str(uuid4())}, []),
    ]
    assert [ours.listed(**values) for values, _ in asked] == [found for _, found in asked]
    late = ours.get(params={"status": "open"})["items"][0]
    assert (late["sla"]["state"], late["queue_name"], late["tags"]) == ("breach", "Q", ["late", "hardware"])


def test_nonsense_is_refused_in_words(ours: Desk) -> None:
    nonsense: list[dict[str, Any]] = [
        *({"limit": 0}, {"limit": 101}, {"status": "mine"}, {"q": "x" * 201}, {"tag": "x" * 65}, {"q": "a\x01b"}),
        *({"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"assignee_user_id": "me"}, {"sla": "late"}),
    ]
    for asked in nonsense:
        answer = ours.agent.get("/tickets", params=asked)
        assert (answer.status_code, next(iter(asked)) in answer.json()["detail"]) == (422, True), asked


def test_others_tickets_are_neither_listed_nor_found_nor_shown(ours: Desk, theirs: Desk) -> None:
    assert not set(ours.listed()) & set(theirs.tickets)
    assert ours.listed(q=str(theirs.get()["items"][0]["code"])) == []
    path = f"/tickets/{theirs.tickets[0]}"
    for part in ("", "/messages", "/messages/1", "/events", "/notes", "/attachments/1/download", "/attachments/1/link"):
        assert ours.agent.get(path + part).status_code == 404, part


def test_a_person_lists_and_opens_what_they_reach_and_nothing_else(api: Api, ours: Desk) -> None:
    for number, reach in enumerate((Reach.ACCOUNT, Reach.SITE, Reach.TEAM, Reach.OWN)):
        person = api.person(ours.org_id, "viewer", f"{reach}@ours.example")
        assert person.person_id is not None
        with api.db.begin() as connection:
            people.give(connection, ours.org_id, ours.tickets[number], person.person_id, reach)
        for asked in ({}, {"q": "a subject"}, {"q": "tkt-"}):
            listed = person.get("/tickets", params=asked).json()["items"]
            assert [UUID(one["id"]) for one in listed] == [ours.tickets[number]], (reach, asked)
        found = [person.get(f"/tickets/{ticket}").status_code for ticket in ours.tickets]
        assert [status == 200 for status in found] == [place == number for place in range(5)], reach


@pytest.fixture
def full(api: Api, ours: Desk) -> Desk:
    """A desk whose newest ticket has mail, an attachment, events and a note."""
    ticket = ours.tickets[0]
    with api.db.begin() as connection:
        boxes = [factories.mailbox(connection, ours.org_id) for _ in range(2)]
        for number in (1, 2):
            message_id = message(connection, ours.org_id, ticket, number)
            for box in boxes:
                seen(connection, ours.org_id, box, message_id)
        file = {"org": ours.org_id, "message": message_id}
        connection.execute(
            text("""
                INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
                VALUES (:org, 'attachment', sha256('x'), 1, 1)
            """),
            file,
        )
        connection.execute(
            text("""
                INSERT INTO attachments (org_id, message_id, position, sha256, filename, content_type, size,
                                         disposition)
                VALUES (:org, :message, 0, sha256('x'), 'plan.pdf', 'application/pdf', 1, 'attachment')
            """),
            file,
        )
        connection.execute(
            text("INSERT INTO events (org_id, ticket_id, kind, data) VALUES (:org, :ticket, 'opened', '{\"a\": 1}')"),
            {"org": ours.org_id, "ticket": ticket},
        )
    assert ours.agent.post(f"/tickets/{ticket}/notes", json={"body_markdown": "Call them."}).status_code == 201
    return ours


def test_a_ticket_is_shown_with_all_that_stands_in_it(full: Desk) -> None:
    answer = full.agent.get(f"/tickets/{full.tickets[0]}")
    said = answer.json()
    assert {"ticket", "messages", "events", "notes", "older"} <= set(said)
    assert set(said["ticket"]) == KEYS | {
        *("merged_into_code", "response_due_at", "resolution_due_at", "responded_at", "resolved_at"),
    }
    assert answer.headers["etag"] == f'"{said["ticket"]["version"]}"'
    first, second = said["messages"]
    assert first["received_at"] < second["received_at"]
    assert (first["reason"], first["confidence"], first["evidence"]) == (
        *("in_reply_to", "high"),
        "<1@customer.example>",
    )
    assert (first["body_html"], first["is_cut"]) == ("<p>It stays dark.</p>", False)
    assert first["recipients"] == [{"role": "to", "address": "help@acme.example", "name": "Help"}]
    assert [one["source"] for one in first["occurrences"]] == ["delivered_to"] * 2
    assert first["occurrences"][0]["evidence"] == {"delivered_to": ["help@acme.example"]}
    assert [one["filename"] for one in second["attachments"]] == ["plan.pdf"]
    assert "opened" in {one["kind"] for one in said["events"]}
    assert [(one["body_markdown"], one["actor"] != "") for one in said["notes"]] == [("Call them.", True)]
    assert said["older"] == {"messages": None, "events": None, "notes": None}
    assert full.get(f"/tickets/{said['ticket']['code']}")["ticket"] == said["ticket"]


def test_what_is_older_comes_page_by_page_and_nothing_twice(api: Api, ours: Desk) -> None:
    ticket = ours.tickets[0]
    with api.db.begin() as connection:
        made = [message(connection, ours.org_id, ticket, number) for number in range(57)]
        connection.execute(
            text("INSERT INTO events (org_id, ticket_id, kind) SELECT :org, :ticket, 'k' FROM generate_series(1, 103)"),
            {"org": ours.org_id, "ticket": ticket},
        )
    said = ours.get(f"/tickets/{ticket}")
    assert [one["id"] for one in said["messages"]] == made[7:]
    older = ours.get(f"/tickets/{ticket}/messages", params={"cursor": said["older"]["messages"], "limit": 5})
    oldest = ours.get(f"/tickets/{ticket}/messages", params={"cursor": older["next_cursor"]})
    assert [one["id"] for one in oldest["items"] + older["items"]] == made[:7]
    assert oldest["next_cursor"] is None
    events = ours.get(f"/tickets/{ticket}/events", params={"cursor": said["older"]["events"]})
    assert len(events["items"]) == 3
    assert not {one["id"] for one in events["items"]} & {one["id"] for one in said["events"]}
    other = f"/tickets/{ours.tickets[1]}/messages"
    assert ours.agent.get(other, params={"cursor": said["older"]["messages"]}).status_code == 422


def test_a_long_body_is_cut_in_the_ticket_and_whole_by_itself(api: Api, ours: Desk) -> None:
    body = "na " * 20_000
    with api.db.begin() as connection:
        message_id = message(connection, ours.org_id, ours.tickets[0], body=body)
    (cut,) = ours.get(f"/tickets/{ours.tickets[0]}")["messages"]
    assert (cut["is_cut"], len(cut["body_text"])) == (True, 20_000)
    whole = ours.get(f"/tickets/{ours.tickets[0]}/messages/{message_id}")
    assert (whole["is_cut"], whole["body_text"]) == (False, body)
    assert ours.agent.get(f"/tickets/{ours.tickets[1]}/messages/{message_id}").status_code == 404


def test_a_merged_ticket_says_into_which(api: Api, ours: Desk) -> None:
    put(api, ours.tickets[0], status="merged", closed_at=NOON, merged_into=ours.tickets[1])
    said = ours.get(f"/tickets/{ours.tickets[0]}")["ticket"]
    assert UUID(said["merged_into"]) == ours.tickets[1]
    assert said["merged_into_code"] == ours.get(f"/tickets/{ours.tickets[1]}")["ticket"]["code"]
