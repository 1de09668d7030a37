"""The registry over HTTP: assets and patterns are listed, entered and changed; what cannot be told apart is refused."""

from __future__ import annotations

from uuid import uuid4

import pytest

from pipeline.core.asset_patterns import MOST_PATTERNS
from tests.ops_api.serving import Api, Person
from tests.ops_api.test_routing import all_pages
from tests.reused import database_url, shared_url
from tests.stages.world import World

__all__ = ["database_url", "shared_url"]

ASSETS, PATTERNS = "/assets", "/assets/patterns"


@pytest.fixture
def world(api: Api) -> World:
    return World(api.db)


@pytest.fixture
def ann(api: Api, world: World) -> Person:
    return api.person(world.org_id)


def test_assets_are_entered_changed_found_and_listed_by_tag(ann: Person):
    for tag in ("B-2", "A-1", "C-3"):
        made = ann.ask("POST", ASSETS, json={"tag": tag, "name": f"Gate {tag}", "aliases": ["the gate"]})
        assert (made.status_code, made.json()["tag"], made.json()["origin"]) == (201, tag, "registry")
    assert [one["tag"] for one in all_pages(ann, ASSETS, 2)] == ["A-1", "B-2", "C-3"]
    (one,) = ann.get(ASSETS, params={"q": "gate b"}).json()["items"]
    changed = ann.ask("PATCH", f"{ASSETS}/{one['id']}", json={"tag": "B-9", "zone": "north", "lat": 1.5})
    assert (changed.status_code, changed.json()["tag"], changed.json()["name"]) == (200, "B-9", "Gate B-2")
    assert ann.get(f"{ASSETS}/{one['id']}").json() == changed.json()
    cleared = ann.ask("PATCH", f"{ASSETS}/{one['id']}", json={"zone": None, "lat": None})
    assert (cleared.json()["zone"], cleared.json()["lat"]) == (None, None)


def test_what_mail_could_not_tell_apart_is_refused(ann: Person):
    first = ann.ask("POST", ASSETS, json={"tag": "AUS_0123"}).json()
    second = ann.ask("POST", ASSETS, json={"tag": "AUS_0124"}).json()
    for asked in ({"tag": "AUS_0123"}, {"tag": "aus-0123"}):
        assert ann.ask("POST", ASSETS, json=asked).json()["code"] == "TAG_TAKEN"
        refused = ann.ask("PATCH", f"{ASSETS}/{second['id']}", json=asked)
        assert (refused.status_code, refused.json()["code"]) == (409, "TAG_TAKEN")
    assert ann.ask("PATCH", f"{ASSETS}/{first['id']}", json={"tag": "AUS-0123"}).status_code == 200
    assert "another spelling of AUS-0123" in ann.ask("POST", ASSETS, json={"tag": "AUS_0123"}).json()["detail"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"tag": ""}, 422),
        ({"tag": "A\x07"}, 422),
        ({"tag": "A-1", "lat": 91}, 422),
        ({"tag": "A-1", "colour": "red"}, 422),
        ({"tag": "A-1", "aliases": ["x"] * 21}, 422),
        ({"tag": "A-1", "site_id": str(uuid4())}, 422),
    ],
)
def test_bad_assets_are_refused(ann: Person, asked, status):
    assert ann.ask("POST", ASSETS, json=asked).status_code == status
    assert ann.get(ASSETS).json()["items"] == []


def test_patterns_are_kept_in_order_and_bad_ones_refused_in_words(ann: Person):
    for position, pattern in ((5, r"pole (\d+)"), (1, r"stall (\d+)"), (5, r"bay (\d+)")):
        made = ann.ask("POST", PATTERNS, json={"pattern": pattern, "tag": r"P-\1", "position": position})
        assert made.status_code == 201
    assert [one["position"] for one in all_pages(ann, PATTERNS, 1)] == [1, 5, 5]
    pattern_id = made.json()["id"]
    assert ann.ask("PATCH", f"{PATTERNS}/{pattern_id}", json={"is_enabled": False}).json()["is_enabled"] is False
    for asked, status, said in (
        ({"pattern": "(", "tag": "x"}, 422, "cannot be compiled"),
        ({"pattern": "x", "tag": r"\1"}, 422, "names group 1"),
        ({"pattern": r"pole (\d+)", "tag": r"P-\1"}, 409, "is there already"),
    ):
        refused = ann.ask("POST", PATTERNS, json=asked)
        assert refused.status_code == status
        assert said in refused.json()["detail"]
    refused = ann.ask("PATCH", f"{PATTERNS}/{pattern_id}", json={"pattern": r"stall (\d+)"})
    assert (refused.status_code, refused.json()["code"]) == (409, "PATTERN_TAKEN")


def test_mail_is_searched_for_so_many_patterns_and_no_more(ann: Person, world: World):
    world.rows(
        "INSERT INTO asset_patterns (org_id, pattern, tag, created_by) SELECT :org, 'p' || n, 'x', 'x'"
        " FROM generate_series(1, :most) n RETURNING id",
        org=world.org_id, most=MOST_PATTERNS,
    )  # fmt: skip
    refused = ann.ask("POST", PATTERNS, json={"pattern": "q", "tag": "x"})
    assert (refused.status_code, refused.json()["code"]) == (409, "TOO_MANY_PATTERNS")
    assert ann.ask("POST", PATTERNS, json={"pattern": "q", "tag": "x", "is_enabled": False}).status_code == 201


def test_who_may_not_change_assets_may_read_them(api: Api, world: World, ann: Person):
    made = ann.ask("POST", ASSETS, json={"tag": "A-1"}).json()
    bob = api.person(world.org_id, "dispatcher")
    assert bob.get(f"{ASSETS}/{made['id']}").status_code == 200
    assert bob.ask("PATCH", f"{ASSETS}/{made['id']}", json={"name": "x"}).status_code == 403
    told = world.rows("SELECT action, outcome FROM audit_events WHERE action LIKE 'asset%' ORDER BY number")
    assert [tuple(one) for one in told] == [("asset.add", "done"), ("asset.change", "refused")]
