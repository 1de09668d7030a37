"""Routing administered, tried and explained over HTTP: contract 001, its paths and its refusals."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import mail
from tests.ops_api.serving import Api, Person, rows
from tests.reused import database_url, shared_url
from tests.stages.test_assignment import person as worker
from tests.stages.test_routing import queue, rule
from tests.stages.world import World

__all__ = ["database_url", "shared_url"]

ALLOWLIST, RULES = "/tickets/routing/allowlist", "/tickets/routing/rules"


@pytest.fixture
def world(api: Api) -> World:
    return World(api.db)


@pytest.fixture
def ann(api: Api, world: World) -> Person:
    return api.person(world.org_id)


@pytest.fixture
def elsewhere(api: Api, world: World) -> World:
    """Another organization; a mailbox's address is one in the installation."""
    world.rows("UPDATE mailboxes SET address = 'help@ours.example'")
    return World(api.db)


def all_pages(person: Person, path: str, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = person.get(path, params={"limit": limit} | ({"cursor": cursor} if cursor else {})).json()
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def test_the_allowlist_is_kept_by_patterns_each_once(ann: Person) -> None:
    made = ann.post(ALLOWLIST, json={"pattern": " *@Acme.example "})
    assert (made.status_code, made.json()["pattern"], made.json()["is_enabled"]) == (201, "*@acme.example", True)
    path = f"{ALLOWLIST}/{made.json()['id']}"
    again = ann.post(ALLOWLIST, json={"pattern": "*@ACME.example"})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "*@acme.example already" in again.json()["detail"]
    other = ann.post(ALLOWLIST, json={"pattern": "x@y.example"}).json()["id"]
    assert ann.ask("PATCH", f"{ALLOWLIST}/{other}", json={"pattern": "*@acme.example"}).status_code == 409
    assert ann.ask("PATCH", path, json={"is_enabled": False}).json()["is_enabled"] is False
    assert [one["pattern"] for one in all_pages(ann, ALLOWLIST, 1)] == ["*@acme.example", "x@y.example"]
    assert ann.ask("DELETE", path).status_code == 204
    assert ann.ask("DELETE", path).status_code == 404
    assert ann.ask("PATCH", path, json={"is_enabled": True}).status_code == 404
    assert len(ann.get(ALLOWLIST).json()["items"]) == 1


def test_a_pattern_that_does_not_compile_is_refused_where_it_fails(ann: Person) -> None:
    wrong = {"a[bc@x": "the [ at position 2", "   ": "empty", "[z-a]@x": "z-a", "a\nb": "control character"}
    for pattern, said in wrong.items():
        refused = ann.post(ALLOWLIST, json={"pattern": pattern})
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text


def test_a_rule_is_kept_changed_by_its_version_and_deleted(ann: Person, world: World) -> None:
    desk = queue(world, "desk")
    asked = {
        "name": "Chargers", "priority": 10, "match_subject_pattern": "charger", "action_assign_queue_id": str(desk),
        "action_strategy": "round_robin", "required_skills": ["dc"], "action_add_tags": ["Hardware", "hardware"],
        "action_set_priority": "high", "stop": False,
    }  # fmt: skip
    made = ann.post(RULES, json=asked)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    kept = made.json()
    assert kept | {"action_add_tags": ["hardware"]} == kept | asked | {"action_add_tags": ["hardware"]}
    assert (kept["is_shadow"], kept["is_enabled"], kept["problem"]) == (False, True, None)
    path = f"{RULES}/{kept['id']}"
    changed = ann.ask(
        "PATCH", path, json={"is_shadow": True, "match_subject_pattern": None}, headers={"if-match": '"1"'}
    )
    assert (changed.status_code, changed.json()["version"], changed.headers["etag"]) == (200, 2, '"2"')
    assert (changed.json()["match_subject_pattern"], changed.json()["name"]) == (None, "Chargers")
    stale = ann.ask("PATCH", path, json={"priority": 1}, headers={"if-match": '"1"'})
    assert (stale.status_code, "version 2, not 1" in stale.json()["detail"]) == (409, True)
    assert ann.ask("PATCH", path, json={"priority": 1}, headers={"if-match": "soon"}).status_code == 422
    moved = ann.ask(
        "PATCH", path, json={"action_assign_queue_id": None, "action_strategy": None, "required_skills": []}
    )
    assert (moved.status_code, moved.json()["action_assign_queue_id"]) == (200, None)
    assert ann.ask("DELETE", path, headers={"if-match": '"2"'}).status_code == 409
    assert ann.ask("DELETE", path).status_code == 204
    assert ann.ask("DELETE", path).status_code == 404
    assert ann.ask("PATCH", path, json={"priority": 1}).status_code == 404


def test_what_is_wrong_with_a_rule_is_said(ann: Person, api: Api, world: World, elsewhere: World) -> None:
    desk, bob = queue(world, "desk"), worker(world, "bob")
    foreign_queue, foreigner = queue(elsewhere, "desk"), worker(elsewhere, "eve")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "nothing"}, "needs an action"),
        ({"action_assign_queue_id": str(desk), "action_assign_user_id": str(bob)}, "not to both"),
        ({"action_assign_queue_id": str(foreign_queue)}, "no queue"),
        ({"action_assign_user_id": str(foreigner)}, "no active member"),
        ({"action_assign_queue_id": str(uuid4())}, "no queue"),
        ({"action_drop": True, "match_subject_pattern": "a(b"}, "match_subject_pattern: pattern 'a(b'"),
        ({"action_drop": True, "match_subject_pattern": "(?=x)"}, "match_subject_pattern"),
        ({"action_drop": True, "match_recipient_pattern": "x["}, "match_recipient_pattern: the [ at position 2"),
        ({"action_strategy": "round_robin", "action_drop": True}, "name the queue"),
        ({"required_skills": ["dc"], "action_drop": True}, "name the strategy"),
        ({"action_set_status": "merged"}, "action_set_status"),
        ({"action_drop": True, "priority": 10_001}, "priority"),
        ({"action_drop": True, "colour": "red"}, "colour"),
        ({"action_add_tags": ["a\x1fb"]}, "one line"),
    ]  # fmt: skip
    for asked, said in wrong:
        refused = ann.post(RULES, json=asked)
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), (asked, refused.text)
    assert rows(api.db, "SELECT count(*) FROM routing_rules") == [(0,)]


def test_rules_are_listed_as_they_are_tried_and_a_broken_one_is_named(ann: Person, world: World) -> None:
    ids = [rule(world, priority=number % 3, add_tags=["x"], name=f"rule {number}") for number in range(7)]
    rule(world, priority=9, match_subject_pattern="(", add_tags=["x" * 99], name="n" * 300)
    found = all_pages(ann, RULES, 3)
    ordered = sorted(range(7), key=lambda number: (number % 3, ids[number]))
    assert [one["name"] for one in found[:-1]] == [f"rule {number}" for number in ordered]
    assert [one["problem"] is None for one in found] == [True] * 7 + [False]
    assert "cannot be compiled" in found[-1]["problem"]


def test_another_organization_s_routing_is_not_there(ann: Person, elsewhere: World) -> None:
    theirs = rule(elsewhere, add_tags=["canary"], name="canary")
    elsewhere.rows("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, 'canary@x')", org=elsewhere.org_id)
    pattern_id = elsewhere.value("SELECT id FROM recipient_allowlist")
    (found,) = elsewhere.routed(mail(to="canary@x"))
    answers = [
        ann.ask("PATCH", f"{RULES}/{theirs}", json={"priority": 1}),
        ann.ask("DELETE", f"{RULES}/{theirs}"),
        ann.ask("PATCH", f"{ALLOWLIST}/{pattern_id}", json={"is_enabled": False}),
        ann.ask("DELETE", f"{ALLOWLIST}/{pattern_id}"),
        ann.get(f"/tickets/{elsewhere.ticket_of(found).id}/routing"),
    ]
    assert [one.status_code for one in answers] == [404] * 5
    lists = [ann.get(ALLOWLIST), ann.get(RULES), ann.get("/tickets/routing/shadow")]
    lists.append(ann.post("/tickets/routing/simulations", json={}))
    assert [one.status_code for one in lists] == [200] * 4
    assert not any("canary" in one.text for one in lists)
    assert elsewhere.value("SELECT priority FROM routing_rules") == 100


def test_one_message_is_simulated_as_real_mail_is_decided(ann: Person, world: World) -> None:
    desk = queue(world, "desk")
    missed = rule(world, name="Sales", priority=1, match_recipient_pattern="sales@*", add_tags=["s"])
    hit = rule(world, name="Desk", priority=2, match_sender_domain_pattern="*customer.example", queue_id=desk)
    asked = {"recipient": "help@acme.example", "sender_email": "ann@customer.example", "direction": "inbound"}
    said = ann.post("/tickets/routing/simulate", json=asked).json()
    assert (said["allowlisted"], said["would_mark_spam"]) == (True, False)
    assert said["matched_rule"] == {"id": str(hit), "name": "Desk", "priority": 2}
    assert said["applied_actions"]["assign_queue_id"] == str(desk)
    assert said["tried"] == [
        {"rule_id": str(missed), "name": "Sales", "missed": "recipient"},
        {"rule_id": str(hit), "name": "Desk", "missed": None},
    ]
    (found,) = world.routed(mail())
    assert world.ticket_of(found).queue_id == desk
    assert world.ticket_of(found).routing["reason"] == said["explanation"]
    world.rows("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, '*@other')", org=world.org_id)
    refused = ann.post("/tickets/routing/simulate", json=asked).json()
    assert (refused["allowlisted"], refused["would_mark_spam"], refused["matched_rule"]) == (False, True, None)
    assert (refused["applied_actions"]["set_status"], refused["applied_actions"]["auto_close"]) == ("spam", True)
    unknown = ann.post("/tickets/routing/simulate", json=asked | {"recipient": ""}).json()
    assert unknown["explanation"] == "the recipient is unknown"


def test_a_rule_set_is_tried_on_past_mail_and_changes_nothing(ann: Person, world: World) -> None:
    desk = queue(world, "desk")
    stored = rule(world, name="All", queue_id=desk)
    one, two = world.routed(mail("The charger"), mail("Something else"))
    before = world.rows("SELECT * FROM tickets ORDER BY id")
    same = ann.post("/tickets/routing/simulations", json={}).json()
    assert (same["tickets"], same["same"], same["different"]) == (2, 2, 0)
    assert same["by_rule"] == [{"rule_id": str(stored), "name": "All", "tickets": 2}]
    rules = [
        {"name": "New", "priority": 1, "match_subject_pattern": "charger", "action_set_priority": "urgent"},
        {"id": str(stored), "name": "All", "action_assign_queue_id": str(desk)},
    ]
    said = ann.post("/tickets/routing/simulations", json={"rules": rules, "only_different": True}).json()
    assert (said["tickets"], said["same"], said["different"]) == (2, 1, 1)
    assert said["by_field"] == {"priority": 1, "queue_id": 1}
    (item,) = said["items"]
    assert (item["code"], item["differs"]) == (world.ticket_of(one).code, ["priority", "queue_id"])
    assert (item["then"]["rule_name"], item["now"]["rule_name"], item["now"]["priority"]) == ("All", "New", "urgent")
    spam = ann.post("/tickets/routing/simulations", json={"allowlist": ["x@y"], "limit": 1}).json()
    assert [one["now"]["status"] for one in spam["items"]] == ["spam"]
    wrong = ann.post("/tickets/routing/simulations", json={"rules": [{"name": "Bad", "match_subject_pattern": "("}]})
    assert (wrong.status_code, "Bad: match_subject_pattern" in wrong.json()["detail"]) == (422, True)
    assert ann.post("/tickets/routing/simulations", json={"limit": 1001}).status_code == 422
    assert world.rows("SELECT * FROM tickets ORDER BY id") == before
    assert world.ticket_of(two).queue_id == desk


def test_a_rule_is_watched_in_shadow_then_armed(ann: Person, world: World) -> None:
    slow, fast = queue(world, "slow"), queue(world, "fast")
    rule(world, name="Slow", priority=50, queue_id=slow)
    shadow = rule(world, name="Fast", priority=1, match_subject_pattern="charger", queue_id=fast, is_shadow=True)
    (one, _) = world.routed(mail("The charger"), mail("Something else"))
    said = ann.get("/tickets/routing/shadow").json()
    assert (said["tickets"], said["same"], said["different"], said["by_field"]) == (2, 1, 1, {"queue_id": 1})
    assert {(row["name"], row["tickets"]) for row in said["by_rule"]} == {("Fast", 1), ("Slow", 1)}
    (sample,) = said["samples"]
    assert sample["shadow"]["would"]["queue_id"] == str(fast)
    assert ann.get("/tickets/routing/shadow", params={"since": "2100-01-01T00:00:00Z"}).json()["tickets"] == 0
    trace = ann.get(f"/tickets/{world.ticket_of(one).code}/routing").json()
    assert (trace["decision"]["rule_name"], trace["shadow"]["would"]["rule_name"]) == ("Slow", "Fast")
    assert ann.ask("PATCH", f"{RULES}/{shadow}", json={"is_shadow": False}).status_code == 200
    (armed,) = world.routed(mail("Another charger"))
    assert world.ticket_of(armed).queue_id == fast


def test_a_ticket_tells_which_rule_decided_and_why_nobody_else_got_it(ann: Person, world: World) -> None:
    desk = queue(world, "desk")
    cy, dan = worker(world, "cy", desk), worker(world, "dan", desk, capacity=1)
    world.rows("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, 'help@*')", org=world.org_id)
    rule(world, name="No", priority=1, match_direction="outbound", add_tags=["x"])
    gone = rule(world, name="Gone", priority=2, match_subject_pattern="never", add_tags=["x"])
    rule(world, name="Desk", priority=3, queue_id=desk, strategy="least_loaded")
    *_, last = world.routed(*(mail(f"Mail {number}") for number in range(4)))
    world.rows("DELETE FROM routing_rules WHERE id = :id", id=gone)
    said = ann.get(f"/tickets/{world.ticket_of(last).id}/routing").json()
    assert (said["allowed_by"], said["rules_tried"], said["kept"]) == ("help@*", 3, [])
    assert [(one["name"], one["missed"]) for one in said["tried"]] == [
        ("No", "direction"), (None, "subject"), ("Desk", None),
    ]  # fmt: skip
    table = {UUID(one["person_id"]): one["why"] for one in said["assignment"]["candidates"]}
    assert table == {cy: "got it", dan: "has 1 open tickets of at most 1"}
    assert said["assignment"]["reason"] == "who had the fewest open tickets"
    assert (said["assignment"]["person_name"], said["assignment"]["queue_name"]) == ("cy@acme.example", "desk")
    (new,) = world.stitched(mail("Not routed yet"))
    empty = ann.get(f"/tickets/{world.ticket_of(new).id}/routing").json()
    assert (empty["routed_at"], empty["decision"], empty["tried"], empty["assignment"]) == (None, None, [], None)
