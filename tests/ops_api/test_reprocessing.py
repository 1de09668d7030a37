"""Doing a step again over HTTP, and marking the collisions of old rows."""

from __future__ import annotations

from uuid import uuid4

import pytest

from models.enums import Lane
from pipeline.stages import reprocess
from tests.factories import mail
from tests.ops_api.serving import Api
from tests.stages.world import World


@pytest.fixture
def desk(api: Api) -> World:
    """An organization with three messages, two of which an older parser understood otherwise."""
    world = World(api.db)
    for number in range(3):
        world.parsed(mail(f"mail {number}"))
    world.rows("UPDATE messages SET subject = 'wrong', snippet = 'wrong' WHERE subject <> 'mail 0'")
    return world


def walk(world: World, run_id: int) -> None:
    for _ in range(2):
        world.run_jobs(reprocess.STAGE, world.job(reprocess.STAGE, run_id, Lane.REPAIR))


def test_started_looked_at_applied_and_listed(api: Api, desk: World) -> None:
    admin = api.person(desk.org_id)
    started = admin.post("/ops/reprocessings", json={"kind": "parse"})
    assert started.status_code == 200
    assert (started.json()["state"], started.json()["total"]) == ("comparing", 3)
    run_id = started.json()["reprocessing_id"]
    assert admin.post("/ops/reprocessings", json={"kind": "parse"}).status_code == 409
    walk(desk, run_id)
    found = admin.get(f"/ops/reprocessings/{run_id}", params={"limit": 1}).json()
    assert (found["state"], found["changed"]) == ("compared", 2)
    assert found["fields"] == {"snippet": 2, "subject": 2}
    (first,) = found["differences"]
    assert first["changes"]["subject"][0] == "wrong"
    rest = admin.get(f"/ops/reprocessings/{run_id}", params={"limit": 1, "cursor": found["next_cursor"]}).json()
    assert rest["next_cursor"] is None
    assert rest["differences"][0]["subject"] != first["subject"]
    assert admin.post(f"/ops/reprocessings/{run_id}/apply").json()["state"] == "applying"
    walk(desk, run_id)
    done = admin.post(f"/ops/reprocessings/{run_id}/apply").json()
    assert (done["state"], done["applied"], done["applied_by"]) == ("applied", 2, "ann@example.org")
    assert desk.value("SELECT count(*) FROM messages WHERE subject = 'wrong'") == 0
    assert [one["reprocessing_id"] for one in admin.get("/ops/reprocessings").json()["items"]] == [run_id]
    assert admin.post(f"/ops/reprocessings/{run_id}/cancel").status_code == 409


def test_a_list_goes_on_page_by_page(api: Api, desk: World) -> None:
    admin, found, cursor = api.person(desk.org_id), [], None
    for _ in range(3):
        run_id = admin.post("/ops/reprocessings", json={"kind": "routing"}).json()["reprocessing_id"]
        admin.post(f"/ops/reprocessings/{run_id}/cancel")
    for _ in range(2):
        answer = admin.get("/ops/reprocessings", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [one["reprocessing_id"] for one in answer["items"]]
        cursor = answer["next_cursor"]
    assert cursor is None
    assert found == sorted(found, reverse=True)
    assert len(found) == 3


def test_a_step_that_nobody_knows_and_a_foreign_mailbox_are_refused(api: Api, desk: World) -> None:
    admin = api.person(desk.org_id)
    assert admin.post("/ops/reprocessings", json={"kind": "cooking"}).status_code == 422
    foreign = {"kind": "parse", "mailbox_id": str(uuid4())}
    assert admin.post("/ops/reprocessings", json=foreign).status_code == 404
    assert admin.get("/ops/reprocessings/0").status_code == 404
    assert admin.get(f"/ops/reprocessings/{'9' * 40}").status_code == 404


def test_only_admins_may(api: Api, desk: World) -> None:
    agent = api.person(desk.org_id, "agent")
    assert agent.post("/ops/reprocessings", json={"kind": "parse"}).status_code == 403
    assert agent.post("/ops/messages/collisions/backfill").status_code == 403


def test_old_collisions_are_marked_once(api: Api) -> None:
    world = World(api.db)
    same = {"message_id": "<1@x>"}
    for to in ("a@acme.example", "b@acme.example", "c@acme.example"):
        world.parsed(mail("same", to=to, **same))
    world.parsed(mail("other"))
    world.rows("UPDATE messages SET collision_group_id = NULL")
    admin = api.person(world.org_id)
    answer = admin.post("/ops/messages/collisions/backfill")
    assert answer.status_code == 200
    assert answer.json() == {"fingerprints_scanned": 2, "groups_updated": 1, "messages_updated": 3}
    (group,) = admin.get("/ops/messages/collisions").json()["items"]
    assert group["message_count"] == 3
    again = admin.post("/ops/messages/collisions/backfill").json()
    assert again == {"fingerprints_scanned": 2, "groups_updated": 0, "messages_updated": 0}


@pytest.mark.parametrize("field", ["a\x00b", "", "x" * 65, "Subject", "a b"])
def test_a_field_that_cannot_be_is_refused(api: Api, desk: World, field: str) -> None:
    admin = api.person(desk.org_id)
    run_id = admin.post("/ops/reprocessings", json={"kind": "parse"}).json()["reprocessing_id"]
    assert admin.get(f"/ops/reprocessings/{run_id}", params={"field": field}).status_code == 422
    assert admin.get(f"/ops/reprocessings/{run_id}", params={"field": "subject_norm"}).status_code == 200
