"""Service levels over HTTP: calendars, policies, a ticket's clocks with their reasons, and how many stand how."""

from __future__ import annotations

from typing import Any

import pytest

from tests.factories import mail
from tests.ops_api.serving import Api, House, Person
from tests.stages.test_clocks import carry_through, fresh
from tests.stages.world import World

HOURS = {str(day): [["08:00", "12:00"], ["13:00", "17:00"]] for day in range(5)}
TARGETS = {one: {"response": 120, "resolution": 600} for one in ("low", "normal", "high", "urgent")}
NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def world(api: Api) -> World:
    return World(api.db)


@pytest.fixture
def admin(api: Api, world: World) -> Person:
    return api.person(world.org_id)


def calendar(admin: Person, **changes: Any) -> dict[str, Any]:
    done = admin.post("/sla/calendars", json={"name": "office", "timezone": "Europe/Berlin", "hours": HOURS} | changes)
    assert done.status_code == 201, done.text
    found: dict[str, Any] = done.json()
    return found


def policy(admin: Person, **changes: Any) -> dict[str, Any]:
    done = admin.post("/sla/policies", json={"name": "gold", "targets": TARGETS} | changes)
    assert done.status_code == 201, done.text
    found: dict[str, Any] = done.json()
    return found


def test_a_calendar_is_made_changed_at_its_version_given_holidays_and_deleted(world: World, admin: Person) -> None:
    made = calendar(admin)
    path = f"/sla/calendars/{made['id']}"
    assert (made["hours"], made["holidays"], made["version"]) == (HOURS, 0, 1)
    assert admin.post("/sla/calendars", json={"name": "office", "timezone": "UTC", "hours": HOURS}).status_code == 409
    stale = admin.ask("PATCH", path, json={"timezone": "UTC"}, headers={"If-Match": '"7"'})
    assert (stale.status_code, "version 1" in stale.json()["detail"]) == (409, True)
    changed = admin.ask("PATCH", path, json={"timezone": "UTC"}, headers={"If-Match": '"1"'})
    assert (changed.json()["timezone"], changed.json()["version"], changed.headers["ETag"]) == ("UTC", 2, '"2"')
    days = [{"day": "2026-12-25", "name": "Christmas"}, {"day": "2026-12-26"}]
    assert len(admin.post(f"{path}/holidays", json={"items": days}).json()["items"]) == 2
    assert admin.ask("DELETE", f"{path}/holidays/2026-12-26").status_code == 204
    assert admin.ask("DELETE", f"{path}/holidays/2026-12-26").status_code == 404
    assert admin.get(f"{path}/holidays").json() == {"items": [{"day": "2026-12-25", "name": "Christmas"}]}
    assert [one["holidays"] for one in admin.get("/sla/calendars").json()["items"]] == [1]
    used = policy(admin, calendar_id=made["id"])
    assert used["calendar"] == "office"
    assert admin.ask("DELETE", path).status_code == 409
    assert admin.ask("DELETE", f"/sla/policies/{used['id']}").status_code == 204
    assert admin.ask("DELETE", path).status_code == 204
    assert admin.ask("DELETE", path).status_code == 404


BAD_CALENDARS: list[tuple[dict[str, Any], str]] = [
    ({"timezone": "Mars/Olympus"}, "is no time zone"),
    ({"hours": {"0": [["08:00", "12:00"], ["11:00", "13:00"]]}}, "overlap"),
    ({"hours": {"0": [["24:30", "24:40"]]}}, "no time of day"),
    ({"hours": {}}, "60 minutes"),
    ({"hours": {"7": []}}, "pattern"),
    ({"name": " "}, "name"),
]


def test_a_calendar_that_makes_no_sense_is_refused_with_words(admin: Person) -> None:
    for changes, said in BAD_CALENDARS:
        values = {"name": "office", "timezone": "UTC", "hours": HOURS} | changes
        refused = admin.post("/sla/calendars", json=values)
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text


BAD_POLICIES: list[tuple[dict[str, Any], str]] = [
    ({"targets": {"normal": TARGETS["normal"]}}, "no targets for the priority"),
    ({"targets": TARGETS | {"low": {"response": 9, "resolution": 5}}}, "due after its resolution"),
    ({"targets": TARGETS | {"low": {"response": 0, "resolution": 5}}}, "greater than or equal to 1"),
    ({"targets": TARGETS | {"low": {"response": 1, "resolution": 10**9}}}, "less than or equal to 129600"),
    ({"pauses": ["resolved"]}, "cannot pause"),
    ({"pauses": ["new", "open"]}, "never run"),
    ({"calendar_id": NOBODY}, "no such calendar"),
    ({"conditions": {"queue_ids": [NOBODY]}}, "no queue"),
    ({"conditions": {"mailbox_ids": [NOBODY]}}, "no mailbox"),
    ({"conditions": {"weather": ["rain"]}}, "Extra inputs"),
    ({"conditions": {"tags": ["a\u0001b"]}}, "control character"),
]


def test_a_policy_that_makes_no_sense_is_refused_with_words(admin: Person) -> None:
    for changes, said in BAD_POLICIES:
        refused = admin.post("/sla/policies", json={"name": "gold", "targets": TARGETS} | changes)
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text


def test_another_organizations_calendar_queue_and_policy_are_not_there(api: Api, admin: Person, theirs: House) -> None:
    eve = api.person(theirs.org_id, email="eve@theirs.example")
    foreign, timed = calendar(eve), policy(eve)
    refused = admin.post("/sla/policies", json={"name": "x", "targets": TARGETS, "calendar_id": foreign["id"]})
    assert refused.status_code == 422
    for path in (f"/sla/calendars/{foreign['id']}", f"/sla/policies/{timed['id']}"):
        assert admin.ask("PATCH", path, json={"name": "mine"}).status_code == 404
        assert admin.ask("DELETE", path).status_code == 404
    assert admin.get(f"/sla/calendars/{foreign['id']}/holidays").status_code == 404
    assert admin.get("/sla/policies").json() == {"items": []}


def test_a_ticket_tells_its_clocks_their_ledger_and_why_this_policy_times_it(
    api: Api, world: World, admin: Person
) -> None:
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    urgent = policy(admin, name="urgent", position=1, conditions={"priorities": ["urgent"]})
    gold = policy(admin, name="gold", position=2)
    policy(admin, name="later", position=3)
    carry_through(world)
    found = admin.get(f"/tickets/{ticket.code}/sla").json()
    assert (found["policy_id"], found["policy"], found["status"]) == (gold["id"], "gold", "new")
    assert [(one["name"], one["misses"]) for one in found["why"]] == [("urgent", "priority"), ("gold", None)]
    assert found["why"][0]["policy_id"] == urgent["id"]
    response = next(one for one in found["clocks"] if one["kind"] == "response")
    assert (response["target_seconds"], response["standing"]) == (7200, "healthy")
    assert response["elapsed_seconds"] + response["remaining_seconds"] in (7199, 7200)
    assert response["elapsed_seconds"] >= 3600
    assert [(one["state"], one["because"], one["ended_at"]) for one in found["intervals"]] == [("running", "new", None)]
    changed = admin.ask("PATCH", f"/tickets/{ticket.id}", json={"status": "pending"})
    assert changed.status_code == 200, changed.text
    paused = admin.get(f"/tickets/{ticket.id}/sla").json()
    assert [one["standing"] for one in paused["clocks"]] == ["paused", "paused"]
    assert [one["state"] for one in paused["intervals"]] == ["running", "paused"]
    assert admin.ask("DELETE", f"/sla/policies/{gold['id']}").status_code == 409
    viewer = api.person(world.org_id, role="viewer", email="vi@ours.example")
    assert viewer.get(f"/tickets/{ticket.id}/sla").status_code == 403


def test_a_changed_policy_asks_for_the_clocks_once_and_an_old_version_is_refused(world: World, admin: Person) -> None:
    (arrived,) = fresh(world, mail())
    made = policy(admin)
    carry_through(world)
    path = f"/sla/policies/{made['id']}"
    seen = {"If-Match": f'"{made["version"]}"'}
    targets = TARGETS | {"normal": {"response": 300, "resolution": 600}}
    changed = admin.ask("PATCH", path, json={"targets": targets}, headers=seen)
    assert (changed.status_code, changed.json()["version"], changed.json()["pauses"]) == (200, 2, ["pending"])
    assert admin.ask("PATCH", path, json={"targets": TARGETS}, headers=seen).status_code == 409
    assert carry_through(world) == 1
    ticket = world.ticket_of(arrived)
    assert (ticket.response_due_at - ticket.first_message_at).total_seconds() == 300 * 60
    off = admin.ask("PATCH", path, json={"is_enabled": False})
    assert off.json()["is_enabled"] is False
    carry_through(world)
    assert admin.get(f"/tickets/{ticket.id}/sla").json()["policy"] == "default"


def test_an_overview_counts_what_is_open_and_within_reach(api: Api, world: World, admin: Person) -> None:
    arrived = fresh(world, mail("a"), mail("b"), mail("c"), mail("d"))
    late, near, paused, closed = (world.ticket_of(one).id for one in arrived)
    world.rows("UPDATE ticket_clocks SET due_at = now() - interval '1 s' WHERE ticket_id = :i", i=late)
    world.rows("UPDATE ticket_clocks SET warn_at = now() WHERE ticket_id = :i AND kind = 'response'", i=near)
    for ticket_id, status in ((paused, "pending"), (closed, "closed")):
        assert admin.ask("PATCH", f"/tickets/{ticket_id}", json={"status": status}).status_code == 200
    found = admin.get("/sla/overview").json()
    assert found["response"] == {"healthy": 0, "warning": 1, "breach": 1, "paused": 1}
    assert found["resolution"] == {"healthy": 1, "warning": 0, "breach": 1, "paused": 1}
    assert [(one["queue_id"], one["priority"]) for one in found["items"]] == [(None, "normal")]
    assert found["is_complete"] is True
    agent = api.person(world.org_id, role="agent", email="ag@ours.example")
    world.rows("UPDATE memberships SET reach = 'own' WHERE person_id = (SELECT id FROM people WHERE email LIKE 'ag@%')")
    assert agent.get("/sla/overview").json()["items"] == []
