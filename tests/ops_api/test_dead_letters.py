"""Dead letters over HTTP: listed by pages, replayed once, discarded with a reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.ops_api.serving import Api, House, fetched, kill, rows


@pytest.fixture
def many(api: Api, ours: House) -> list[int]:
    """Seven dead jobs of the organization, the oldest first."""
    with api.db.begin() as connection:
        occurrences = fetched(connection, ours.org_id, ours.mailbox_id, [f"n-{number}" for number in range(4)])
        jobs = [
            kill(connection, ours.org_id, ours.mailbox_id, stage="parse", key=str(key), said=f"bad part {key}")
            for key in occurrences
        ]
        jobs += [
            kill(connection, ours.org_id, ours.mailbox_id, stage="stitch", key=key, said="lost")
            for key in ("9001", "9002")
        ]
    return [ours.job_id, *jobs]


def test_a_letter_tells_what_the_contract_asks_and_why(api: Api, ours: House) -> None:
    (item,) = api.person(ours.org_id).get("/ops/jobs/dlq").json()["items"]
    assert {name: item[name] for name in ("id", "type", "stage", "key", "status", "attempts", "cause")} == {
        "id": ours.job_id,
        "type": "occurrence_parse",
        "stage": "parse",
        "key": str(ours.occurrence_id),
        "status": "dead",
        "attempts": 1,
        "cause": "permanent",
    }
    assert item["last_error"] == "ValueError: canary-error in line 1"
    assert item["max_attempts"] >= 1
    assert (item["mailbox"], item["provider_id"], item["payload"]) == ("help@ours.example", "m-1", {})
    assert "error_trace" not in item


def test_pages_hold_every_letter_once(api: Api, ours: House, many: list[int]) -> None:
    person = api.person(ours.org_id)
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = person.get("/ops/jobs/dlq", params={"limit": 3, **cursor}).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == many[::-1]


def test_a_cursor_is_good_for_its_own_filters_and_organization_only(
    api: Api, ours: House, theirs: House, many: list[int]
) -> None:
    person = api.person(ours.org_id)
    cursor = person.get("/ops/jobs/dlq", params={"limit": 1}).json()["next_cursor"]
    asked = {"cursor": cursor}
    assert person.get("/ops/jobs/dlq", params=asked).status_code == 200
    assert person.get("/ops/jobs/dlq", params=asked | {"stage": "parse"}).status_code == 422
    assert person.get("/ops/jobs/dlq", params={"cursor": cursor[:-1]}).status_code == 422
    assert person.get("/ops/jobs/dlq", params={"cursor": "eyJpZCI6MX0"}).status_code == 422
    assert api.person(theirs.org_id).get("/ops/jobs/dlq", params=asked).status_code == 422


def test_letters_are_narrowed_by_filters(api: Api, ours: House, many: list[int]) -> None:
    person = api.person(ours.org_id)
    expected = {
        "stage=stitch": 2,
        "stage=occurrence_stitch": 2,
        "cause=permanent": 7,
        "cause=crashed": 0,
        f"mailbox_id={ours.mailbox_id}": 7,
        "mailbox_id=00000000-0000-0000-0000-000000000000": 0,
    }
    assert {asked: len(person.get(f"/ops/jobs/dlq?{asked}").json()["items"]) for asked in expected} == expected


def test_a_filter_that_means_nothing_is_told_so(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    asked = ("limit=0", "limit=201", "cause=bad", "stage=x' OR 1=1", "mailbox_id=7", "error_group=%00", "state=none",
             "since=yesterday", "until=2026-01-01T00:00:00", "text=", "text=%00", "error_class=a%20b")  # fmt: skip
    assert {query: person.get(f"/ops/jobs/dlq?{query}").status_code for query in asked} == dict.fromkeys(asked, 422)


def test_groups_put_equal_errors_together(api: Api, ours: House, many: list[int]) -> None:
    found = api.person(ours.org_id).get("/ops/jobs/dlq/groups").json()
    assert found["total"] == 7
    assert [(group["stage"], group["count"]) for group in found["items"]] == [("parse", 4), ("stitch", 2), ("parse", 1)]
    narrowed = api.person(ours.org_id).get(
        "/ops/jobs/dlq", params={"error_group": found["items"][0]["group"], "stage": "parse"}
    )
    assert len(narrowed.json()["items"]) == 4


def test_a_replay_puts_the_job_in_line_again_and_says_who_asked(api: Api, ours: House) -> None:
    person = api.person(ours.org_id, email="oncall@example.org")
    answer = person.post(f"/ops/jobs/{ours.job_id}/replay", json={"reason": "parser is fixed"})
    assert answer.json() == {"status": "queued", "job_id": ours.job_id}
    assert rows(api.db, "SELECT state, lane, failures FROM jobs") == [("ready", "repair", 0)]
    assert rows(api.db, "SELECT resolution, resolved_by, resolved_reason FROM dead_letters") == [
        ("replayed", "oncall@example.org", "parser is fixed")
    ]
    assert person.get("/ops/jobs/dlq").json() == {"items": [], "next_cursor": None}


def test_replaying_twice_replays_once(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/ops/jobs/{ours.job_id}/replay"
    assert [person.post(path).status_code for _ in range(2)] == [200, 404]
    assert "replayed" in person.post(path).json()["detail"]


@pytest.mark.fault("F-33", "F-58")
def test_of_fifty_parallel_replays_one_wins(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    with ThreadPoolExecutor(50) as pool:
        path = f"/ops/jobs/{ours.job_id}/replay"
        found = sorted(answer.status_code for answer in pool.map(lambda _: person.post(path), range(50)))
    assert found == [200] + [404] * 49
    assert rows(api.db, "SELECT state, attempt FROM jobs") == [("ready", 1)]


def test_a_discard_needs_a_reason_and_keeps_the_letter(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/ops/jobs/{ours.job_id}/discard"
    assert person.post(path).status_code == 422
    assert person.post(path, json={"reason": " "}).status_code == 422
    assert person.post(path, json={"reason": "spam"}).json() == {"status": "discarded", "job_id": ours.job_id}
    assert person.post(path, json={"reason": "spam"}).status_code == 404
    assert rows(api.db, "SELECT count(*) FROM jobs") == [(0,)]
    assert rows(api.db, "SELECT resolution, resolved_reason FROM dead_letters") == [("discarded", "spam")]
    assert rows(api.db, "SELECT state FROM occurrences") == [("quarantined",)]


def test_an_id_that_names_no_dead_job_is_not_found(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    ids = ("0", "-1", "999999", "9" * 30, "\u0663", "00000000-0000-0000-0000-000000000000")
    assert {job_id: person.post(f"/ops/jobs/{job_id}/replay").status_code for job_id in ids} == dict.fromkeys(ids, 404)
