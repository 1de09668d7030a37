"""Policies of triage over HTTP: read in pages, drafted, tried, put into force under a version, and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.stages import retriage
from tests import factories
from tests.ops_api.serving import Api, Person
from tests.stages.world import World
from tests.told import tell

AT = "/triage/policies"


@pytest.fixture
def desk(api: Api) -> World:
    return World(api.db)


def drafted(person: Person, below: int = 60) -> int:
    done = person.post(AT, json={"policy": {"verification": {"below": below}}, "reason": "fewer questions"})
    assert done.status_code == 201, done.text
    return int(done.json()["version"])


def walk(world: World) -> None:
    for _, key in world.run(retriage.STAGE, "walk").next:
        world.run(retriage.STAGE, key)


def test_from_the_list_to_another_policy_and_back(api: Api, desk: World) -> None:
    admin = api.person(desk.org_id)
    listed = admin.get(AT)
    assert (listed.headers["ETag"], listed.json()["active_version"]) == ('"0"', 0)
    (built_in,) = listed.json()["items"]
    assert (built_in["version"], built_in["state"], built_in["policy"]["quiet_days"]) == (0, "active", 30)
    for number in range(2):
        tell(desk.db, desk.org_id, f"A{number}", "degraded")
    version = drafted(admin)
    shown = admin.get(f"{AT}/{version}").json()
    assert (shown["state"], shown["active_version"]) == ("draft", 0)
    assert shown["to_active"] == {"verification.below": {"before": 65, "after": 60}}
    assert admin.get(f"{AT}/{version}/differences").json()["code"] == "NOT_SHADOW"
    assert admin.post(f"{AT}/{version}/shadow", json={}).json()["state"] == "shadow"
    assert admin.get(f"{AT}/{version}/differences").json()["waiting"] == 2
    walk(desk)
    _two_differences(admin, f"{AT}/{version}/differences")
    done = admin.post(f"{AT}/{version}/activate", json={}, headers={"If-Match": listed.headers["ETag"]})
    assert (done.status_code, done.json()["state"], done.headers["ETag"]) == (200, "active", f'"{version}"')
    walk(desk)
    assert desk.value("SELECT count(*) FROM cases WHERE verification_required AND mode = 'certainty'") == 0
    back = admin.post(f"{AT}/0/rollback", json={"reason": "no"}).json()
    assert (back["version"], back["source_version"]) == (version + 1, 0)
    pages = _pages(admin)
    assert [one["state"] for page in pages for one in page["items"]] == ["active", "retired", "retired"]


def _two_differences(person: Person, path: str) -> None:
    first = person.get(path, params={"limit": 1}).json()
    rest = person.get(path, params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert first["counts"] == [{"action": "needs_verification", "shadow_action": "remote_reset", "cases": 2}]
    assert sorted(one["case_id"] for one in first["items"] + rest["items"]) == ["case_a0", "case_a1"]
    assert (first["waiting"], rest["next_cursor"]) == (0, None)
    (one,) = rest["items"]
    assert (one["confidence"], one["shadow_confidence"]) == (0.64, 0.64)
    assert person.get(path, params={"cursor": "x"}).status_code == 422


def _pages(person: Person) -> list[Any]:
    pages = [person.get(AT, params={"limit": 1}).json()]
    while pages[-1]["next_cursor"]:
        pages.append(person.get(AT, params={"limit": 1, "cursor": pages[-1]["next_cursor"]}).json())
    return pages


def test_refusals_say_what_to_do(api: Api, desk: World) -> None:
    admin = api.person(desk.org_id)
    version = drafted(admin)
    path = f"{AT}/{version}/activate"
    for body, status, code in (({}, 422, "REPLACES_REQUIRED"), ({"replaces": 7}, 409, "STALE_VERSION")):
        refused = admin.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    stale = admin.post(path, json={}, headers={"If-Match": '"5"'})
    assert (stale.status_code, stale.json()["code"]) == (409, "STALE_VERSION")
    wrong = admin.post(AT, json={"policy": {"verification": {"beneath": 1}}, "reason": "x"})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "there is no rule 'verification.beneath'")
    assert admin.get(f"{AT}/99").status_code == 404
    assert admin.get(f"{AT}/{2**40}").status_code == 422


def test_who_may_read_may_not_change_and_others_see_nothing(api: Api, desk: World) -> None:
    version = drafted(api.person(desk.org_id))
    dispatcher = api.person(desk.org_id, "dispatcher", "dispatcher@example.org")
    assert dispatcher.get(f"{AT}/{version}").status_code == 200
    assert dispatcher.post(f"{AT}/{version}/shadow", json={}).status_code == 403
    assert api.person(desk.org_id, "viewer", "viewer@example.org").get(AT).status_code == 403
    with api.db.begin() as connection:
        theirs = factories.organization(connection)
    assert api.person(theirs, email="bo@theirs.example").get(f"{AT}/{version}").status_code == 404
