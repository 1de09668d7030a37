"""Changing tickets over HTTP: versions, keys, lost replies, who may, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from starlette.types import Message

from models.enums import Reach
from ops_api.access_rows import ROWS
from ops_api.requests import Exchange
from pipeline.command import Command
from pipeline.commands import assets, planning
from pipeline.commands import desk as commands
from pipeline.table import COMMANDS
from tests import factories
from tests.ops_api import people
from tests.ops_api.serving import Api, Person, rows


@dataclass(frozen=True, slots=True)
class Desk:
    """A ticket of an organization, and its agent."""

    org_id: UUID
    ticket_id: UUID
    agent: Person

    @property
    def path(self) -> str:
        return f"/tickets/{self.ticket_id}"


def desk(api: Api, name: str) -> Desk:
    with api.db.begin() as connection:
        org_id = factories.organization(connection, name)
        ticket_id = factories.ticket(connection, org_id)
    return Desk(org_id, ticket_id, api.person(org_id, "agent", f"agent@{name}.example"))


@pytest.fixture
def ours(api: Api) -> Desk:
    return desk(api, "ours")


@pytest.fixture
def theirs(api: Api) -> Desk:
    return desk(api, "theirs")


def update(
    ours: Desk, person: Person | None = None, headers: dict[str, str] | None = None, **body: object
) -> httpx.Response:
    return (person or ours.agent).ask("PATCH", ours.path, json=body, headers=headers or {})


def test_a_ticket_is_changed_where_its_version_is_the_one_that_was_seen(api: Api, ours: Desk) -> None:
    first = update(ours, status="open")
    assert (first.status_code, first.json()["status"], first.headers["etag"]) == (200, "open", '"1"')
    assert update(ours, headers={"If-Match": '"1"'}, status="pending").headers["etag"] == '"2"'
    stale = update(ours, headers={"If-Match": '"1"'}, status="closed")
    assert (stale.status_code, stale.json()["code"]) == (409, "STALE_VERSION")
    assert update(ours, headers={"If-Match": "*"}, priority="urgent").status_code == 200
    assert update(ours, headers={"If-Match": "one"}, status="open").status_code == 422
    assert rows(api.db, "SELECT status, priority, version FROM tickets") == [("pending", "urgent", 3)]


def test_a_note_and_tags_are_added(api: Api, ours: Desk) -> None:
    note = ours.agent.post(f"{ours.path}/notes", json={"body_markdown": "she **called**"})
    assert (note.status_code, note.json()["body_markdown"], note.json()["actor"]) == (
        201, "she **called**", "agent@ours.example",
    )  # fmt: skip
    tagged = ours.agent.post(f"{ours.path}/tags", json={"add": ["VIP", "north"], "remove": []})
    assert (tagged.status_code, tagged.json()["tags"], tagged.headers["etag"]) == (200, ["vip", "north"], '"2"')


def test_the_same_key_has_the_same_bytes_and_says_so(api: Api, ours: Desk) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first, again = (update(ours, headers=key, status="closed", priority="low") for _ in range(2))
    assert (again.status_code, again.content, again.headers["etag"]) == (200, first.content, first.headers["etag"])
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    turned = ours.agent.ask("PATCH", ours.path, content='{"priority":"low" , "status":"closed"}',
                            headers={**key, "content-type": "application/json"})  # fmt: skip
    assert turned.headers["idempotency-replayed"] == "true"
    other = update(ours, headers=key, status="open")
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_PAYLOAD_MISMATCH")
    assert (
        update(ours, headers={"Idempotency-Key": "x" * 201}, status="open").json()["code"] == "INVALID_IDEMPOTENCY_KEY"
    )
    assert rows(api.db, "SELECT version FROM tickets") == [(1,)]


def test_a_command_that_demands_a_key_takes_a_uuid_only(api: Api, ours: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "UPDATE", replace(commands.UPDATE, needs_key=True))
    said = [
        update(ours, headers=headers, status="open").json().get("code")
        for headers in ({}, {"Idempotency-Key": "my-own"}, {"Idempotency-Key": str(uuid4())})
    ]
    assert said[:2] == ["MISSING_IDEMPOTENCY_KEY", "INVALID_IDEMPOTENCY_KEY"]
    assert rows(api.db, "SELECT status FROM tickets") == [("open",)]


def test_a_hundred_parallel_equal_requests_have_one_effect(api: Api, ours: Desk) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    def ask(_: int) -> httpx.Response:
        return ours.agent.post(f"{ours.path}/notes", json={"body_markdown": "once"}, headers=headers)

    with ThreadPoolExecutor(25) as pool:
        found = list(pool.map(ask, range(100)))
    assert {one.status_code for one in found} == {201}
    assert len({one.content for one in found}) == 1
    assert sum("idempotency-replayed" not in one.headers for one in found) == 1
    assert rows(api.db, "SELECT count(*) FROM ticket_notes") == [(1,)]
    assert rows(api.db, "SELECT action, outcome FROM audit_events") == [("ticket.note", "done")]


def test_a_reply_that_was_lost_after_the_commit_is_given_to_the_retry(
    api: Api, ours: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(_: Exchange, __: Message) -> None:
        return

    key, body = {"Idempotency-Key": str(uuid4())}, {"body_markdown": "once"}
    with monkeypatch.context() as lossy:
        lossy.setattr(Exchange, "send", lose)
        lost = ours.agent.post(f"{ours.path}/notes", json=body, headers=key)
    assert lost.status_code == 500
    assert rows(api.db, "SELECT count(*) FROM ticket_notes") == [(1,)]
    again = ours.agent.post(f"{ours.path}/notes", json=body, headers=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert rows(api.db, "SELECT CAST(id AS text) FROM ticket_notes") == [(again.json()["id"],)]


@pytest.mark.parametrize(
    "body",
    [{}, {"status": None}, {"priority": None}, {"status": "merged"}, {"colour": "red"}, {"site_id": "x"}, []],
    ids=str,
)
def test_an_update_that_makes_no_sense_is_refused(api: Api, ours: Desk, body: object) -> None:
    assert ours.agent.ask("PATCH", ours.path, json=body).status_code == 422


def test_both_assignees_and_strangers_are_refused(api: Api, ours: Desk, theirs: Desk) -> None:
    both = {"assignee_user_id": str(ours.agent.person_id), "assignee_queue_id": str(uuid4())}
    assert update(ours, **both).status_code == 422
    stranger = update(ours, assignee_user_id=str(theirs.agent.person_id))
    assert (stranger.status_code, stranger.json()["code"]) == (422, "UNKNOWN_ASSIGNEE")
    mine = update(ours, assignee_user_id=str(ours.agent.person_id))
    assert mine.json()["assignee_user_id"] == str(ours.agent.person_id)
    assert update(ours, assignee_queue_id=None).json()["assignee_user_id"] is None


def test_tickets_out_of_reach_look_like_none(api: Api, ours: Desk, theirs: Desk) -> None:
    with api.db.begin() as connection:
        narrow_id = people.member(connection, ours.org_id, "agent", "narrow@ours.example")
        people.narrow(connection, ours.org_id, narrow_id, Reach.OWN)
    narrow = api.signed_in(ours.org_id, narrow_id)
    asked = [(narrow, ours.path), (theirs.agent, ours.path)]
    asked += [(ours.agent, f"/tickets/{name}") for name in (uuid4(), "nope")]
    changes = (
        ("PATCH", "", {"status": "open"}),
        ("POST", "/notes", {"body_markdown": "x"}),
        ("POST", "/tags", {"add": ["x"]}),
    )
    said = set()
    for person, path in asked:
        for method, where, body in changes:
            found = person.ask(method, path + where, json=body)
            said.add((found.status_code, found.json()["code"], found.json()["detail"]))
    assert said == {(404, "TICKET_NOT_FOUND", "your organization has no such ticket")}
    assert rows(api.db, "SELECT DISTINCT version FROM tickets") == [(0,)]
    assert update(ours, assignee_user_id=str(narrow_id)).status_code == 200
    assert update(ours, person=narrow, status="pending").status_code == 200


#: `plan.book` is done within `plan.apply`, and `asset.import` by the command line alone: they have no route.
_ROUTED = [one for one in COMMANDS.values() if one not in (planning.BOOK, assets.IMPORT)]


@pytest.mark.parametrize("command", _ROUTED, ids=lambda one: one.name)
def test_a_commands_route_demands_what_the_command_does(command: Command[Any, Any]) -> None:
    found = [row for row in ROWS if row.action == command.name]
    assert {(row.permission, row.scope.value, row.needs_csrf) for row in found} == {
        (command.permission, command.target.kind, True)
    }


def test_who_may_only_read_changes_nothing(api: Api, ours: Desk) -> None:
    viewer = api.person(ours.org_id, "viewer")
    assert update(ours, person=viewer, status="open").status_code == 403
    ours.agent.http.headers.pop("x-csrf-token")
    assert update(ours, status="open").status_code == 403
    assert rows(api.db, "SELECT version FROM tickets") == [(0,)]
