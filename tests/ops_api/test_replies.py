"""Replies over HTTP: queued once, only from allowed addresses, and decided by people where nobody else can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import Provider
from pipeline.commands.mailboxes import add_mailbox
from tests import factories
from tests.ops_api.serving import Api, House, Person, change, rows


@pytest.fixture
def identity_id(api: Api, ours: House) -> UUID:
    with api.db.begin() as connection:
        return factories.identity(connection, ours.org_id, ours.mailbox_id, "help@ours.example", name="Ours")


@pytest.fixture
def ticket_id(api: Api, ours: House) -> UUID:
    with api.db.begin() as connection:
        return factories.ticket(connection, ours.org_id)


@pytest.fixture
def queued(api: Api, ours: House, ticket_id: UUID, identity_id: UUID) -> str:
    """The id of a queued message."""
    found: str = reply(api.person(ours.org_id), ticket_id, body(identity_id)).json()["oss_message_id"]
    return found


def body(identity_id: UUID, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "send_identity_id": str(identity_id),
        "to_emails": ["ann@customer.example"],
        "subject": "Re: It is broken",
        "body_text": "We come tomorrow.",
    }
    return values | changes


def reply(person: Person, ticket_id: UUID, asked: dict[str, Any], key: str | None = None) -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return person.post(f"/tickets/{ticket_id}/reply", json=asked, headers=headers)


def test_a_reply_is_queued_and_named(api: Api, ours: House, ticket_id: UUID, identity_id: UUID) -> None:
    answer = reply(api.person(ours.org_id), ticket_id, body(identity_id, cc_emails=["chef@customer.example"]))
    assert answer.status_code == 202
    said = answer.json()
    (job,) = rows(api.db, "SELECT id, key, state, lane FROM jobs WHERE stage = 'send'")
    assert said == {"status": "queued", "job_id": job[0], "message_id": said["message_id"], "oss_message_id": job[1]}
    assert job[2:] == ("ready", "live")
    assert rows(api.db, "SELECT CAST(id AS text), message_id, state, created_by, recipient FROM outbound") == [
        (said["oss_message_id"], said["message_id"], "queued", "ann@example.org", "ann@customer.example")
    ]


def test_a_ticket_is_answered_by_its_code_too(api: Api, ours: House, ticket_id: UUID, identity_id: UUID) -> None:
    ((code,),) = rows(api.db, "SELECT code FROM tickets")
    assert api.person(ours.org_id).post(f"/tickets/{code}/reply", json=body(identity_id)).status_code == 202


def test_a_repeated_request_is_one_reply(api: Api, ours: House, ticket_id: UUID, identity_id: UUID) -> None:
    person = api.person(ours.org_id)
    first, second = (reply(person, ticket_id, body(identity_id), "key-1").json() for _ in range(2))
    assert first == second
    assert reply(person, ticket_id, body(identity_id), "key-2").json() != first
    assert reply(api.person(ours.org_id, email="bo@example.org"), ticket_id, body(identity_id), "key-1").json() != first
    assert rows(api.db, "SELECT count(*) FROM outbound") == [(3,)]


@pytest.mark.fault("F-58")
def test_concurrent_twins_wait_and_get_the_same_answer(
    api: Api, ours: House, ticket_id: UUID, identity_id: UUID
) -> None:
    person = api.person(ours.org_id)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: reply(person, ticket_id, body(identity_id), "twin"), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["oss_message_id"] for answer in answers}) == 1
    assert rows(api.db, "SELECT count(*) FROM outbound") == [(1,)]
    assert rows(api.db, "SELECT count(*) FROM jobs WHERE stage = 'send'") == [(1,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "Re: Something else"},
        {"body_text": "We do not come."},
        {"to_emails": ["bob@customer.example"]},
        {"cc_emails": ["bob@customer.example"]},
    ],
)
@pytest.mark.fault("F-58")
def test_a_key_that_was_used_for_another_reply_is_refused(
    api: Api, ours: House, ticket_id: UUID, identity_id: UUID, changes: dict[str, Any]
) -> None:
    person = api.person(ours.org_id)
    reply(person, ticket_id, body(identity_id), "key-1")
    answer = reply(person, ticket_id, body(identity_id, **changes), "key-1")
    assert (answer.status_code, "new key" in answer.json()["detail"]) == (422, True)
    assert rows(api.db, "SELECT count(*) FROM outbound") == [(1,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"to_emails": []},
        {"to_emails": [f"a{number}@b.example" for number in range(51)]},
        {"cc_emails": [f"a{number}@b.example" for number in range(51)]},
        {"to_emails": ["nobody"]},
        {"to_emails": ["a@b.example\r\nBcc: c@d.example"]},
        {"to_emails": ["a@b.example, c@d.example"]},
        {"subject": ""},
        {"subject": "x" * 999},
        {"subject": "a\r\nBcc: b@c.example"},
        {"subject": "a\x00b"},
        {"body_text": ""},
        {"body_text": " \n "},
        {"body_text": "x" * 100_001},
        {"body_text": "a\x00b"},
        {"send_identity_id": "7"},
        {"send_identity_id": None},
    ],
)
def test_bad_input_is_told_and_leaves_nothing(
    api: Api, ours: House, ticket_id: UUID, identity_id: UUID, changes: dict[str, Any]
) -> None:
    answer = reply(api.person(ours.org_id), ticket_id, body(identity_id, **changes))
    assert answer.status_code == 422
    assert rows(api.db, "SELECT count(*) FROM outbound") == [(0,)]


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ümlaut"])
def test_a_key_is_a_word_of_ascii(api: Api, ours: House, ticket_id: UUID, identity_id: UUID, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    path = f"/tickets/{ticket_id}/reply"
    answer = api.person(ours.org_id).post(path, json=body(identity_id), headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "setting", ["is_enabled = false", "status = 'pending'", "status = 'failed'"]
)  # fmt: skip
def test_an_address_that_is_not_allowed_is_refused(
    api: Api, ours: House, ticket_id: UUID, identity_id: UUID, setting: str
) -> None:
    change(api.db, f"UPDATE send_identities SET {setting}")
    assert reply(api.person(ours.org_id), ticket_id, body(identity_id)).status_code == 422


def test_a_mailbox_of_files_cannot_be_written_from(api: Api, ours: House, ticket_id: UUID) -> None:
    with api.db.begin() as connection:
        files = add_mailbox(connection, ours.org_id, "old@ours.example", Provider.FILES, source={})
        old = factories.identity(connection, ours.org_id, files, "old@ours.example")
    answer = reply(api.person(ours.org_id), ticket_id, body(old))
    assert (answer.status_code, "files" in answer.json()["detail"]) == (422, True)


def test_tickets_and_addresses_of_another_organization_do_not_exist(
    api: Api, ours: House, theirs: House, ticket_id: UUID, identity_id: UUID
) -> None:
    with api.db.begin() as connection:
        their_ticket = factories.ticket(connection, theirs.org_id)
        their_identity = factories.identity(connection, theirs.org_id, theirs.mailbox_id, "help@theirs.example")
    person = api.person(ours.org_id)
    asked = [(their_ticket, identity_id), (ticket_id, their_identity), (ticket_id, uuid4()), (uuid4(), identity_id)]
    assert [reply(person, ticket, body(identity)).status_code for ticket, identity in asked] == [404] * 4
    assert rows(api.db, "SELECT count(*) FROM outbound") == [(0,)]


def test_viewers_read_and_agents_reply(api: Api, ours: House, ticket_id: UUID, identity_id: UUID) -> None:
    viewer, agent = (api.person(ours.org_id, role) for role in ("viewer", "agent"))
    assert reply(viewer, ticket_id, body(identity_id)).status_code == 403
    assert reply(agent, ticket_id, body(identity_id)).status_code == 202
    assert viewer.get("/outbound").status_code == viewer.get("/tickets/send-identities").status_code == 200


def test_the_addresses_that_are_enabled_are_listed(api: Api, ours: House, theirs: House, identity_id: UUID) -> None:
    with api.db.begin() as connection:
        factories.identity(connection, ours.org_id, ours.mailbox_id, "off@ours.example", is_enabled=False)
        factories.identity(connection, ours.org_id, ours.mailbox_id, "new@ours.example", status="pending")
        factories.identity(connection, theirs.org_id, theirs.mailbox_id, "help@theirs.example")
    items = api.person(ours.org_id).get("/tickets/send-identities").json()["items"]
    assert [(item["from_email"], item["status"]) for item in items] == [
        ("help@ours.example", "verified"),
        ("new@ours.example", "pending"),
    ]
    assert items[0] == {
        "id": str(identity_id), "mailbox_id": str(ours.mailbox_id), "from_email": "help@ours.example",
        "display_name": "Ours", "status": "verified", "is_enabled": True,
    }  # fmt: skip


def test_pages_of_outbound_messages_hold_each_once(
    api: Api, ours: House, theirs: House, ticket_id: UUID, identity_id: UUID
) -> None:
    person = api.person(ours.org_id)
    made = [reply(person, ticket_id, body(identity_id)).json()["oss_message_id"] for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = person.get("/outbound", params={"limit": 2, "state": "queued", **cursor}).json()
        seen += [item["outbound_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    assert person.get("/outbound", params={"state": "sent"}).json()["items"] == []
    assert person.get("/outbound", params={"state": "sent", **cursor}).status_code == 422
    assert api.person(theirs.org_id).get("/outbound", params={"state": "queued", **cursor}).status_code == 422
    assert api.person(theirs.org_id).get("/outbound").json()["items"] == []


@pytest.mark.parametrize(
    "decision",
    [
        ("retry", "unknown", "queued"), ("retry", "failed", "queued"), ("settle", "unknown", "sent"),
        ("cancel", "queued", "cancelled"),
    ],
)  # fmt: skip
def test_a_person_decides_and_is_remembered(api: Api, ours: House, queued: str, decision: tuple[str, str, str]) -> None:
    what, before, after = decision
    change(api.db, "UPDATE outbound SET state = :state, handed_over = 3, handed_over_at = now()", state=before)
    change(api.db, "DELETE FROM jobs WHERE stage = 'send'")
    answer = api.person(ours.org_id, email="boss@example.org").post(f"/outbound/{queued}/{what}")
    assert (answer.status_code, answer.json()) == (200, {"outbound_id": queued, "state": after})
    assert rows(api.db, "SELECT state FROM outbound") == [(after,)]
    assert rows(api.db, "SELECT count(*) FROM jobs WHERE stage = 'send'") == [(int(what == "retry"),)]
    assert rows(api.db, "SELECT actor, data ->> 'was' FROM events ORDER BY id DESC LIMIT 1") == [
        ("boss@example.org", before)
    ]


@pytest.mark.parametrize(
    ("what", "state"),
    [("retry", "sent"), ("retry", "queued"), ("retry", "sending"), ("settle", "failed"), ("settle", "sending"),
     ("cancel", "sending"), ("cancel", "sent"), ("cancel", "unknown")],
)  # fmt: skip
def test_a_decision_that_does_not_fit_is_refused(api: Api, ours: House, queued: str, what: str, state: str) -> None:
    change(
        api.db,
        "UPDATE outbound SET state = :state, sent_at = CASE WHEN :state = 'sent' THEN now() END",
        state=state,
    )
    answer = api.person(ours.org_id).post(f"/outbound/{queued}/{what}")
    assert (answer.status_code, state in answer.json()["detail"]) == (409, True)
    assert rows(api.db, "SELECT state FROM outbound") == [(state,)]


@pytest.mark.parametrize(("what", "after"), [("retry", "queued"), ("settle", "sent")])
def test_what_is_under_way_for_minutes_a_person_decides(
    api: Api, ours: House, queued: str, what: str, after: str
) -> None:
    change(api.db, "UPDATE outbound SET state = 'sending', handed_over_at = now() - interval '4 minutes'")
    person = api.person(ours.org_id)
    answer = person.post(f"/outbound/{queued}/{what}")
    assert (answer.status_code, "5 minutes after" in answer.json()["detail"]) == (409, True)
    change(api.db, "UPDATE outbound SET handed_over_at = now() - interval '6 minutes'")
    assert person.post(f"/outbound/{queued}/{what}").json() == {"outbound_id": queued, "state": after}


def test_it_is_told_how_the_job_stands_that_sends(api: Api, ours: House, queued: str) -> None:
    person = api.person(ours.org_id)
    assert [one["job_state"] for one in person.get("/outbound").json()["items"]] == ["ready"]
    change(api.db, "DELETE FROM jobs WHERE stage = 'send'")
    assert [one["job_state"] for one in person.get("/outbound").json()["items"]] == [None]


def test_messages_of_another_organization_cannot_be_decided(
    api: Api, ours: House, theirs: House, ticket_id: UUID, identity_id: UUID
) -> None:
    outbound_id = reply(api.person(ours.org_id), ticket_id, body(identity_id)).json()["oss_message_id"]
    person = api.person(theirs.org_id)
    found = [person.post(f"/outbound/{outbound_id}/{what}").status_code for what in ("retry", "settle", "cancel")]
    assert found == [404] * 3
    assert person.post(f"/outbound/{uuid4()}/retry").status_code == 404
