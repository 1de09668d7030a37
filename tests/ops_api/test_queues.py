"""Saved views and queues over HTTP: made, named, used and taken away, each organization for itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from tests.ops_api.serving import Api
from tests.ops_api.test_tickets import Desk, desk, put


@pytest.fixture
def ours(api: Api) -> Desk:
    return desk(api, "ours")


@pytest.fixture
def theirs(api: Api) -> Desk:
    return desk(api, "theirs")


def test_views_are_saved_listed_and_deleted(ours: Desk, theirs: Desk) -> None:
    filters = {"q": "charger", "status": ["open"], "limit": 20}
    made = ours.agent.post("/tickets/saved-views", json={"name": " Mine ", "filters": filters})
    assert (made.status_code, made.json()["name"], made.json()["filters"]) == (201, "Mine", filters)
    again = ours.agent.post("/tickets/saved-views", json={"name": "Mine", "filters": {}})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert theirs.agent.post("/tickets/saved-views", json={"name": "Mine", "filters": {}}).status_code == 201
    assert [one["name"] for one in ours.get("/tickets/saved-views")["items"]] == ["Mine"]
    path = f"/tickets/saved-views/{made.json()['id']}"
    assert [person.ask("DELETE", path).status_code for person in (theirs.agent, ours.agent, ours.agent)] == [
        *(404, 204, 404)
    ]
    for bad in ({"colour": "red"}, {"limit": 0}, {"status": ["mine"]}, {"q": 1}):
        refused = ours.agent.post("/tickets/saved-views", json={"name": "Bad", "filters": bad})
        assert (refused.status_code, next(iter(bad)) in refused.json()["detail"]) == (422, True)
    assert ours.agent.post("/tickets/saved-views", json={"name": " ", "filters": {}}).status_code == 422


def test_queues_are_made_renamed_worked_and_deleted(api: Api, ours: Desk, theirs: Desk) -> None:
    admin = api.person(ours.org_id)
    made = admin.post("/queues", json={"name": "Laden & Geräte"})
    assert (made.status_code, made.json()["slug"], made.json()["members"]) == (201, "laden-gerate", 0)
    path = f"/queues/{made.json()['id']}"
    other = admin.post("/queues", json={"name": "Other", "slug": "other"}).json()
    assert admin.post("/queues", json={"name": "x", "slug": "other"}).status_code == 409
    assert admin.ask("PATCH", path, json={"slug": "other"}).status_code == 409
    assert admin.ask("PATCH", path, json={"name": "Field", "slug": "field"}).json()["name"] == "Field"
    bad: list[dict[str, Any]] = [{"name": " "}, {"name": "x", "slug": "A b"}, {"name": "***"}, {"name": "x", "y": 1}]
    assert [admin.post("/queues", json=body).status_code for body in bad] == [422, 422, 409, 422]
    assert ours.agent.post("/queues", json={"name": "mine"}).status_code == 403
    member = f"{path}/members/{ours.agent.person_id}"
    assert [admin.ask("PUT", member).status_code for _ in range(2)] == [200, 200]
    assert admin.ask("PUT", f"{path}/members/{theirs.agent.person_id}").status_code == 404
    (listed,) = ours.get(f"{path}/members")["items"]
    assert UUID(listed["person_id"]) == ours.agent.person_id
    assert [one["members"] for one in ours.get("/queues")] == [1, 0]
    put(api, ours.tickets[0], queue_id=UUID(made.json()["id"]))
    assert admin.ask("DELETE", path).status_code == 409
    assert [admin.ask("DELETE", member).status_code for _ in range(2)] == [204, 404]
    assert admin.ask("DELETE", f"/queues/{other['id']}").status_code == 204
    assert [one["slug"] for one in ours.get("/queues")] == ["field"]
    stranger = api.person(theirs.org_id)
    assert [stranger.ask(method, path, json={"name": "x"}).status_code for method in ("PATCH", "DELETE")] == [404, 404]
