"""Quarantine over HTTP: listed by pages and causes, released once with a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.enums import QuarantineCause
from tests.ops_api.serving import Api, House, held, rows


@pytest.fixture
def many(api: Api, ours: House) -> list[int]:
    """Five messages in quarantine beside the house's own, the oldest first."""
    causes = [
        QuarantineCause.LOOP,
        QuarantineCause.ANSWERS_BACK,
        QuarantineCause.LOOP,
        *[QuarantineCause.THREAD_RATE] * 2,
    ]
    with api.db.begin() as connection:
        found = [
            held(connection, ours.org_id, ours.mailbox_id, f"n-{number}", cause) for number, cause in enumerate(causes)
        ]
    return [ours.quarantine_id, *found]


def test_a_message_tells_why_it_was_set_aside(api: Api, ours: House) -> None:
    page = api.person(ours.org_id).get("/ops/quarantine").json()
    (item,) = page["items"]
    assert {name: item[name] for name in ("quarantine_id", "cause", "evidence", "stage", "mailbox", "ticket_id")} == {
        "quarantine_id": ours.quarantine_id,
        "cause": "poison_mail",
        "evidence": "a sign of it",
        "stage": "stitch",
        "mailbox": "help@ours.example",
        "ticket_id": None,
    }
    assert (page["total"], page["next_cursor"]) == (1, None)


def test_pages_hold_every_message_once_and_a_cause_narrows(api: Api, ours: House, many: list[int]) -> None:
    person = api.person(ours.org_id)
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = person.get("/ops/quarantine", params={"limit": 2, **cursor}).json()
        assert page["total"] == 6
        seen += [item["quarantine_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == many[::-1]
    loops = person.get("/ops/quarantine", params={"cause": "loop"}).json()
    assert [item["quarantine_id"] for item in loops["items"]] == [many[3], many[1]]
    assert loops["total"] == 2
    assert person.get("/ops/quarantine", params={"cause": "nonsense"}).status_code == 422


def test_a_cursor_is_good_for_its_own_list_only(api: Api, ours: House, many: list[int]) -> None:
    person = api.person(ours.org_id)
    cursor = person.get("/ops/quarantine", params={"limit": 1}).json()["next_cursor"]
    assert person.get("/ops/quarantine", params={"cursor": cursor, "cause": "loop"}).status_code == 422
    assert person.get("/ops/jobs/dlq", params={"cursor": cursor}).status_code == 422


def test_a_release_sends_the_message_on_with_who_and_why(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/ops/quarantine/{ours.quarantine_id}/release"
    answer = person.post(path, json={"reason": " Ann wrote it "})
    assert (answer.status_code, answer.json()) == (
        200, {"status": "released", "quarantine_ids": [ours.quarantine_id]},
    )  # fmt: skip
    assert rows(api.db, "SELECT released_by, released_reason FROM quarantines") == [("ann@example.org", "Ann wrote it")]
    assert rows(api.db, "SELECT stage, key, lane FROM jobs WHERE state = 'ready'") == [
        ("stitch", str(ours.occurrence_id), "repair")
    ]
    assert rows(api.db, "SELECT actor FROM events WHERE kind = 'message.released'") == [("ann@example.org",)]
    assert person.post(path, json={"reason": "again"}).status_code == 404
    assert person.get("/ops/quarantine").json()["items"] == []


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "x" * 501}, {"reason": "a\x00b"}])
def test_a_release_wants_a_reason(api: Api, ours: House, body: dict[str, str]) -> None:
    answer = api.person(ours.org_id).post(f"/ops/quarantine/{ours.quarantine_id}/release", json=body)
    assert answer.status_code == 422
    assert rows(api.db, "SELECT released_at FROM quarantines") == [(None,)]


@pytest.mark.parametrize("name", ["0", "-1", "x", "9" * 60, "1.5", "\u0661"])
def test_a_name_of_nothing_gets_404(api: Api, ours: House, name: str) -> None:
    assert api.person(ours.org_id).post(f"/ops/quarantine/{name}/release", json={"reason": "a"}).status_code == 404


def test_of_equal_releases_at_once_one_succeeds(api: Api, ours: House) -> None:
    people = [api.person(ours.org_id) for _ in range(6)]
    path = f"/ops/quarantine/{ours.quarantine_id}/release"
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda person: person.post(path, json={"reason": "a"}).status_code, people))
    assert sorted(found) == [200, *[404] * 5]
    assert rows(api.db, "SELECT count(*) FROM jobs WHERE state = 'ready'") == [(1,)]
    assert rows(api.db, "SELECT count(*) FROM events WHERE kind = 'message.released'") == [(1,)]


def test_agents_see_what_waits_and_admins_release_it(api: Api, ours: House) -> None:
    agent = api.person(ours.org_id, "agent")
    assert agent.get("/ops/quarantine").status_code == 200
    assert agent.post(f"/ops/quarantine/{ours.quarantine_id}/release", json={"reason": "a"}).status_code == 403
    assert api.person(ours.org_id, "viewer").get("/ops/quarantine").status_code == 403


def test_prometheus_reads_what_waits_by_cause(api: Api, ours: House, many: list[int]) -> None:
    said = api.client().get("/metrics").text
    assert 'fieldpost_quarantine_open{cause="loop"} 2.0' in said
    assert 'fieldpost_quarantine_open{cause="poison_mail"} 1.0' in said
    assert 'fieldpost_quarantine_open{cause="answers_back"} 1.0' in said
