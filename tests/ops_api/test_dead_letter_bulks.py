"""Many dead letters at once over HTTP: counted, begun once, watched, cancelled; what is not understood is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dlq import advancing
from tests.ops_api.serving import Api, House, change, fetched, kill, rows

_REPLAYED = "SELECT count(*), count(DISTINCT letter_id) FROM letter_actions WHERE action = 'replayed'"


def _kill_many(api: Api, house: House, count: int, said: str = "bad part", stage: str = "parse") -> list[int]:
    """Bury jobs of a house; return their letters, the oldest first."""
    with api.db.begin() as connection:
        keys = fetched(connection, house.org_id, house.mailbox_id, [f"{said}-{number}" for number in range(count)])
        for key in keys:
            kill(connection, house.org_id, house.mailbox_id, stage=stage, key=str(key), said=f"{said} {key}")
    return [
        row[0] for row in rows(api.db, "SELECT id FROM dead_letters WHERE error_text LIKE :said || ' %'", said=said)
    ]


def _counted(person: Any, **filters: str) -> dict[str, Any]:
    """Return the body of a bulk about these filters, as a person who counted first sends it."""
    found = person.get("/ops/jobs/dlq/count", params=filters).json()
    counted = {"count": found["count"], "newest_letter_id": found["newest_letter_id"]}
    return {"filter": filters, "counted": counted, "reason": "mended"}


def _tick(api: Api) -> None:
    with api.db.begin() as connection:
        advancing.advance(connection)


def test_what_was_counted_is_replayed_and_nothing_that_came_later(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id, email="oncall@example.org")
    old = _kill_many(api, ours, 3)
    found = person.get("/ops/jobs/dlq/count", params={"stage": "occurrence_parse", "text": "BAD PART"}).json()
    assert (found["count"], found["newest_letter_id"], len(found["groups"])) == (3, max(old), 1)
    body = _counted(person, stage="parse")
    later = _kill_many(api, ours, 1, said="came later")
    answer = person.post("/ops/jobs/dlq/replay", json=body | {"canary": 2, "per_second": 50})
    assert (answer.status_code, answer.json()["total"], answer.json()["is_new"]) == (202, 4, True)
    bulk = answer.json()["bulk"]
    assert (bulk["state"], bulk["waiting"], bulk["canaries"], bulk["actor"]) == ("canary", 4, 2, "oncall@example.org")
    change(api.db, "UPDATE bulks SET topped_up_at = topped_up_at - interval '1 second'")
    _tick(api)
    assert person.get(f"/ops/jobs/dlq/bulks/{bulk['id']}").json()["released"] == 2
    cancelled = person.post(f"/ops/jobs/dlq/bulks/{bulk['id']}/cancel", json={"reason": "rolled back"}).json()
    assert (cancelled["state"], cancelled["skipped"]) == ("cancelled", 2)
    assert person.post(f"/ops/jobs/dlq/bulks/{bulk['id']}/cancel", json={"reason": "twice"}).status_code == 409
    history = person.get(f"/ops/jobs/dlq/bulks/{bulk['id']}").json()["history"]
    assert [one["action"] for one in history] == ["bulk_cancelled", "bulk_started"]
    left = {item["letter_id"] for item in person.get("/ops/jobs/dlq?limit=200").json()["items"]}
    assert set(later) < left
    assert len(left) == 3
    assert rows(api.db, "SELECT state FROM jobs WHERE org_id = :org", org=theirs.org_id) == [("dead",)]


def test_the_result_list_comes_in_pages_and_by_state(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    _kill_many(api, ours, 4)
    done = person.post("/ops/jobs/dlq/discard", json=_counted(person, text="bad part")).json()
    path = f"/ops/jobs/dlq/bulks/{done['id']}/items"
    assert (done["total"], done["bulk"]["state"], done["bulk"]["passed"]) == (4, "done", 4)
    first = person.get(path, params={"limit": 3}).json()
    rest = person.get(path, params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert [item["place"] for item in first["items"] + rest["items"]] == [1, 2, 3, 4]
    assert rest["next_cursor"] is None
    assert person.get(path, params={"state": "failed"}).json()["items"] == []
    assert person.get(path, params={"state": "failed", "cursor": first["next_cursor"]}).status_code == 422
    page = person.get("/ops/jobs/dlq/bulks", params={"limit": 1}).json()
    assert [one["id"] for one in page["items"]] == [done["id"]]
    more = person.get("/ops/jobs/dlq/bulks", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in more["items"]] == [ours.bulk_id]


@pytest.mark.fault("F-33", "F-58")
def test_of_fifty_equal_wishes_at_once_one_is_done_and_each_letter_replayed_once(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    letters = _kill_many(api, ours, 12)
    body = _counted(person, text="bad part")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: person.post("/ops/jobs/dlq/replay", json=body), range(50)))
    assert {answer.status_code for answer in answers} == {202}
    found = [answer.json() for answer in answers]
    assert len({one["id"] for one in found}) == 1
    assert [one["is_new"] for one in found].count(True) == 1
    for _ in range(3):
        _tick(api)
    assert rows(api.db, _REPLAYED) == [(len(letters), len(letters))]
    assert rows(api.db, "SELECT state, count(*) FROM jobs GROUP BY 1 ORDER BY 1") == [("dead", 1), ("ready", 12)]
    # The same wish afterwards finds nothing open; another body is another wish.
    again = person.post("/ops/jobs/dlq/replay", json=_counted(person, text="no such words"))
    nothing = {"id": None, "total": 0, "is_new": False, "left_out": 0, "under_way": 0, "bulk": None}
    assert (again.status_code, again.json()) == (202, nothing)
    assert person.post("/ops/jobs/dlq/replay", json=_counted(person, text="canary-error")).json()["total"] == 1


def test_what_another_wish_has_under_way_or_is_not_open_is_left_out_and_counted(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    gone, busy, free, late = _kill_many(api, ours, 4)
    person.post("/ops/jobs/dlq/discard", json={"letter_ids": [gone], "reason": "spam"})
    person.post("/ops/jobs/dlq/replay", json={"letter_ids": [busy], "reason": "x", "per_second": 0.01})
    named = person.post("/ops/jobs/dlq/discard", json={"letter_ids": [gone, busy, free], "reason": "x"}).json()
    assert (named["total"], named["left_out"], named["under_way"]) == (1, 2, 1)
    found = person.post("/ops/jobs/dlq/discard", json=_counted(person, text="bad part")).json()
    assert (found["total"], found["left_out"], found["under_way"]) == (1, 1, 1)
    none = person.post("/ops/jobs/dlq/discard", json={"letter_ids": [late, busy], "reason": "x"}).json()
    assert (none["id"], none["left_out"], none["under_way"]) == (None, 2, 1)


def test_more_letters_than_were_counted_are_not_touched(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    body = _counted(person)
    body["counted"]["count"] = 0
    answer = person.post("/ops/jobs/dlq/discard", json=body)
    assert answer.status_code == 409
    assert "count again" in answer.json()["detail"]
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",)]


def test_letters_of_others_are_not_found_and_not_counted(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id)
    for path in ("replay", "discard"):
        answers = [
            person.post(f"/ops/jobs/dlq/{path}", json={"letter_ids": [ours.letter_id, one], "reason": "x"})
            for one in (theirs.letter_id, 2**63 - 1)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert str(theirs.letter_id) in answers[0].json()["detail"]
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",), ("dead",)]
    assert person.get("/ops/jobs/dlq/count").json()["count"] == 1
    assert person.get(f"/ops/jobs/dlq/bulks/{theirs.bulk_id}/items").status_code == 404


def test_who_may_read_may_not_resolve(api: Api, ours: House) -> None:
    person = api.person(ours.org_id, "viewer")
    body = _counted(person) | {"reason": "x"}
    assert body["counted"]["count"] == 1
    reads = ("", "/groups", "/bulks", f"/bulks/{ours.bulk_id}/items", f"/letters/{ours.letter_id}")
    assert {person.get(f"/ops/jobs/dlq{path}").status_code for path in reads} == {200}
    assert {person.post(f"/ops/jobs/dlq/{path}", json=body).status_code for path in ("replay", "discard")} == {403}
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",)]


_WISH = {"filter": {}, "counted": {"count": 1, "newest_letter_id": 1}, "reason": "x"}


def test_a_wish_that_is_not_clear_is_refused_in_one_line(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    wrong: list[dict[str, Any]] = [
        {"reason": "x"},
        _WISH | {"letter_ids": [1]},
        {"filter": {}, "reason": "x"},
        {"letter_ids": [1], "counted": _WISH["counted"], "reason": "x"},
        _WISH | {"filter": {"errorgroup": "ab"}},
        _WISH | {"filter": {"since": "2026-01-01T00:00:00"}},
        _WISH | {"filter": {"text": "\x00"}},
        _WISH | {"canaries": 3},
        _WISH | {"canary": -1},
        _WISH | {"canary": 1_001},
        _WISH | {"per_second": 0},
        _WISH | {"per_second": 1_001},
        _WISH | {"per_second": "NaN"},
        _WISH | {"reason": "  "},
        {"letter_ids": [], "reason": "x"},
        {"letter_ids": [0], "reason": "x"},
        {"letter_ids": [2**63], "reason": "x"},
        {"letter_ids": [1] * 10_001, "reason": "x"},
        _WISH | {"counted": {"count": 1}},
    ]
    for body in wrong:
        answer = person.post("/ops/jobs/dlq/replay", json=body)
        assert answer.status_code == 422, body
        assert len(answer.json()["detail"].splitlines()) == 1
    assert rows(api.db, "SELECT count(*) FROM bulks") == [(1,)]


def test_a_bulk_that_is_none_is_not_found(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    ids = ("0", "-1", "999999", "9" * 30, "\u0663", "x")
    found = {one: person.get(f"/ops/jobs/dlq/bulks/{one}").status_code for one in ids}
    assert found == dict.fromkeys(ids, 404)
