"""The ticket desk's commands: what changes, what follows from it, and what is refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from models.enums import TicketPriority
from pipeline.command import Refused
from pipeline.commands import desk
from pipeline.commands.desk_arguments import MOST_TAGS, NewNote, TagChange, TicketUpdate
from pipeline.core.principals import Scope
from pipeline.runtime.db import Database
from tests.commands.desks import Desk, principal
from tests.factories import rows, value
from tests.ops_api import people


@pytest.fixture
def ours(db: Database) -> Desk:
    return Desk.of(db)


def events(ours: Desk) -> list[tuple[str, Any]]:
    return [(row.kind, row.data) for row in rows(ours.db, "SELECT kind, data FROM events ORDER BY id")]


def refused(ours: Desk, **update: Any) -> str:
    with pytest.raises(Refused) as caught:
        ours.run(desk.UPDATE, TicketUpdate(**update))
    return caught.value.refusal.code


def test_status_and_priority_change_with_an_event_of_before_and_after(ours: Desk) -> None:
    answer = ours.run(desk.UPDATE, TicketUpdate(status="pending", priority=TicketPriority.URGENT))
    assert (answer.body["status"], answer.body["priority"], answer.body["version"]) == ("pending", "urgent", 1)
    changes = {"status": {"before": "new", "after": "pending"}, "priority": {"before": "normal", "after": "urgent"}}
    assert events(ours) == [("ticket_updated", {"changes": changes})]
    assert ours.ticket().decided_at is not None


@pytest.mark.parametrize("status", ["new", "open", "pending", "resolved", "closed", "spam"])
@pytest.mark.parametrize("before", ["open", "closed"])
def test_closed_and_spam_say_when_and_the_others_take_it_back(ours: Desk, before: str, status: str) -> None:
    ours.run(desk.UPDATE, TicketUpdate(status=before))  # type: ignore[arg-type]
    ours.run(desk.UPDATE, TicketUpdate(status=status))  # type: ignore[arg-type]
    assert (ours.ticket().closed_at is not None) is (status in {"closed", "spam"})


def test_a_ticket_is_a_persons_or_a_queues_and_null_leaves_it_to_nobody(ours: Desk) -> None:
    queue_id = ours.queue()
    body = ours.run(desk.UPDATE, TicketUpdate(assignee_user_id=ours.person_id)).body
    assert (body["assignee_user_id"], body["assignee_queue_id"]) == (str(ours.person_id), None)
    body = ours.run(desk.UPDATE, TicketUpdate(assignee_queue_id=queue_id)).body
    assert (body["assignee_user_id"], body["assignee_queue_id"]) == (None, str(queue_id))
    body = ours.run(desk.UPDATE, TicketUpdate(assignee_user_id=None)).body
    assert (body["assignee_user_id"], body["assignee_queue_id"]) == (None, None)
    both = {"assignee_user_id": ours.person_id, "assignee_queue_id": queue_id}
    with pytest.raises(ValidationError, match="name one assignee"):
        TicketUpdate(**both)


def test_nobody_of_another_organization_is_given_a_ticket(ours: Desk, db: Database) -> None:
    theirs = Desk.of(db)
    account = theirs.account()
    assert refused(ours, assignee_user_id=theirs.person_id) == "UNKNOWN_ASSIGNEE"
    assert refused(ours, assignee_queue_id=theirs.queue()) == "UNKNOWN_QUEUE"
    assert refused(ours, account_id=account) == "UNKNOWN_ACCOUNT"
    assert refused(ours, site_id=theirs.site(account)) == "UNKNOWN_SITE"
    assert refused(ours, assignee_user_id=uuid4()) == "UNKNOWN_ASSIGNEE"
    assert ours.ticket().version == 0


@pytest.mark.parametrize("table", ["memberships", "people"])
def test_nobody_is_given_a_ticket_who_may_not_come_in(ours: Desk, table: str) -> None:
    ours.change(f"UPDATE {table} SET is_active = false")
    assert refused(ours, assignee_user_id=ours.person_id) == "UNKNOWN_ASSIGNEE"


def test_a_site_brings_its_account_along_and_stays_with_it(ours: Desk) -> None:
    acme, other = ours.account("Acme"), ours.account("Other")
    north = ours.site(acme)
    body = ours.run(desk.UPDATE, TicketUpdate(site_id=north)).body
    assert (body["account_id"], body["site_id"]) == (str(acme), str(north))
    assert refused(ours, account_id=other) == "SITE_OF_ANOTHER_ACCOUNT"
    assert refused(ours, account_id=None) == "SITE_OF_ANOTHER_ACCOUNT"
    assert refused(ours, account_id=other, site_id=north) == "SITE_OF_ANOTHER_ACCOUNT"
    body = ours.run(desk.UPDATE, TicketUpdate(account_id=other, site_id=None)).body
    assert (body["account_id"], body["site_id"]) == (str(other), None)


def test_a_person_moves_a_ticket_only_to_where_they_reach(ours: Desk) -> None:
    acme, other = ours.account("Acme"), ours.account("Other")
    ours.run(desk.UPDATE, TicketUpdate(account_id=acme))
    narrow = principal(ours.org_id, ours.person_id, scope=Scope(account_ids=frozenset({acme})))
    with pytest.raises(Refused) as caught:
        ours.run(desk.UPDATE, TicketUpdate(account_id=other), principal=narrow)
    assert caught.value.refusal.code == "FORBIDDEN_SCOPE"
    assert caught.value.refusal.details == {"scope_field": "account_id", "target_id": str(other)}
    assert ours.run(desk.UPDATE, TicketUpdate(status="open"), principal=narrow).status == 200


def test_what_changes_nothing_leaves_version_and_events_alone_and_is_recorded(ours: Desk) -> None:
    answer = ours.run(desk.UPDATE, TicketUpdate(status="new"))
    ours.run(desk.CHANGE_TAGS, TagChange(remove=["none"]))
    assert (answer.version, events(ours), len(ours.trail())) == (0, [], 2)


def test_an_update_names_something_and_no_null_where_there_must_be_a_word() -> None:
    for wrong in ({}, {"status": None}, {"priority": None}, {"status": "merged"}, {"status": "x"}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            TicketUpdate(**wrong)


def test_a_note_is_kept_as_it_was_written_and_is_activity_but_no_decision(ours: Desk) -> None:
    answer = ours.run(desk.ADD_NOTE, NewNote(body_markdown="  **canary-note**\n"))
    assert (answer.status, answer.body["body_markdown"], answer.version) == (201, "  **canary-note**\n", 1)
    assert events(ours) == [("note_added", {"note_id": answer.body["id"]})]
    ticket = ours.ticket()
    assert ticket.last_activity_at > ticket.last_message_at
    assert ticket.decided_at is None
    assert "canary" not in str(rows(ours.db, "SELECT data FROM audit_details"))


@pytest.mark.parametrize("wrong", ["", " ", "\n\t ", "a\x00b", "x" * 20_001])
def test_a_note_says_something(wrong: str) -> None:
    with pytest.raises(ValidationError):
        NewNote(body_markdown=wrong)


def test_tags_are_kept_once_and_in_lower_case(ours: Desk) -> None:
    ours.run(desk.CHANGE_TAGS, TagChange(add=[" VIP ", "vip", "two words"]))
    body = ours.run(desk.CHANGE_TAGS, TagChange(add=["New"], remove=["VIP", "absent"])).body
    assert body["tags"] == ["two words", "new"]
    assert events(ours)[-1] == ("tags_changed", {"added": ["new"], "removed": ["vip"]})
    assert value(ours.db, "SELECT tags FROM ticket_words") == ["two words", "new"]
    assert ours.ticket().decided_at is not None


def test_tags_are_bounded(ours: Desk) -> None:
    ours.run(desk.CHANGE_TAGS, TagChange(add=[f"t{n}" for n in range(MOST_TAGS)]))
    with pytest.raises(Refused) as caught:
        ours.run(desk.CHANGE_TAGS, TagChange(add=["one more"]))
    assert caught.value.refusal.code == "TOO_MANY_TAGS"
    assert ours.run(desk.CHANGE_TAGS, TagChange(add=["one more"], remove=["t0"])).status == 200
    for wrong in ({}, {"add": ["a"], "remove": ["A"]}, {"add": [" "]}, {"add": ["a,b"]}, {"add": ["x" * 65]}):
        with pytest.raises(ValidationError):
            TagChange(**wrong)


def test_a_ticket_is_found_by_its_code_too(ours: Desk) -> None:
    assert ours.run(desk.UPDATE, TicketUpdate(status="open"), target=ours.ticket().code.upper()).status == 200


def test_who_may_change_is_a_row_that_is_read_per_request(ours: Desk) -> None:
    with ours.db.begin() as connection:
        lead = people.member(connection, ours.org_id, "viewer")
    with pytest.raises(Refused):
        ours.run(desk.UPDATE, TicketUpdate(status="open"), principal=principal(ours.org_id, lead, "viewer"))


def test_clocks_are_told_of_a_status(ours: Desk) -> None:
    ours.change("UPDATE tickets SET routed_at = now(), first_message_at = now(), last_activity_at = now()")
    ours.run(desk.UPDATE, TicketUpdate(status="open"))
    assert {row.state for row in rows(ours.db, "SELECT state FROM ticket_clocks")} == {"running"}
    ours.run(desk.UPDATE, TicketUpdate(status="pending"))
    assert {row.state for row in rows(ours.db, "SELECT state FROM ticket_clocks")} == {"paused"}
    ours.run(desk.UPDATE, TicketUpdate(status="resolved"))
    resolution = "SELECT state FROM ticket_clocks WHERE kind = 'resolution'"
    assert value(ours.db, resolution) == "met"
    assert ours.ticket().resolved_at is not None


def test_a_change_follows_the_trace_of_what_began_the_ticket_unless_it_brings_its_own(ours: Desk) -> None:
    ours.change(
        "INSERT INTO events (org_id, ticket_id, kind, data, trace_id) VALUES (:org, :ticket, 'begun', '{}', 'first')",
        org=ours.org_id,
        ticket=ours.ticket_id,
    )
    ours.run(desk.UPDATE, TicketUpdate(status="open"))
    ours.run(desk.CHANGE_TAGS, TagChange(add=["door"]))
    ours.run(desk.ADD_NOTE, NewNote(body_markdown="called"), trace_id="another")
    wanted = [("first",), ("first",), ("another",)]
    assert [tuple(row) for row in rows(ours.db, "SELECT trace_id FROM audit_events ORDER BY number")] == wanted
    assert [tuple(row) for row in rows(ours.db, "SELECT trace_id FROM events ORDER BY id")][1:] == wanted
