"""One dead letter over HTTP: explained whole, its discard undone, its arguments mended, found by what it says."""

from __future__ import annotations

from tests.ops_api.serving import Api, House, change, kill, rows


def test_a_letter_is_explained_with_its_trace_its_like_and_what_was_tried(api: Api, ours: House) -> None:
    person = api.person(ours.org_id, email="oncall@example.org")
    before = person.get(f"/ops/jobs/dlq/letters/{ours.letter_id}").json()
    assert (before["status"], before["alike"], before["history"], before["earlier"]) == ("dead", 1, [], [])
    assert (before["error_class"], before["provider_id"], before["raw_sha256"]) == ("ValueError", "m-1", "ab" * 32)
    assert len(before["kind"]["hourly"]) == 24
    assert (sum(before["kind"]["hourly"]), before["kind"]["trend"]) == (1, "new")
    person.post(f"/ops/jobs/{ours.job_id}/replay", json={"reason": "mended"})
    after = person.get(f"/ops/jobs/dlq/letters/{ours.letter_id}").json()
    assert (after["status"], after["resolved_by"], after["alike"], after["kind"]) == (
        "replayed",
        "oncall@example.org",
        0,
        None,
    )
    assert [(one["action"], one["actor"], one["reason"]) for one in after["history"]] == [
        ("replayed", "oncall@example.org", "mended")
    ]


def test_the_letter_of_a_job_that_died_again_names_the_one_before(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    person.post(f"/ops/jobs/{ours.job_id}/replay", json={"reason": "a try"})
    change(api.db, "UPDATE jobs SET lane = 'live'")
    with api.db.begin() as connection:
        kill(connection, ours.org_id, ours.mailbox_id, stage="parse", key=str(ours.occurrence_id), said="still bad")
    (item,) = person.get("/ops/jobs/dlq").json()["items"]
    assert item["id"] == ours.job_id
    found = person.get(f"/ops/jobs/dlq/letters/{item['letter_id']}").json()
    assert [(one["letter_id"], one["resolved_reason"]) for one in found["earlier"]] == [(ours.letter_id, "a try")]


def test_a_discard_is_undone_once_and_the_letter_is_open_again(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/ops/jobs/dlq/letters/{ours.letter_id}/restore"
    early = person.post(path, json={"reason": "too early"})
    assert (early.status_code, "not discarded" in early.json()["detail"]) == (409, True)
    person.post(f"/ops/jobs/{ours.job_id}/discard", json={"reason": "spam"})
    listed = person.get("/ops/jobs/dlq", params={"state": "discarded"}).json()["items"]
    assert [(one["status"], one["resolved_reason"]) for one in listed] == [("discarded", "spam")]
    assert person.post(path).status_code == 422
    done = person.post(path, json={"reason": "a customer"})
    assert done.json() == {"status": "dead", "job_id": ours.job_id, "letter_id": ours.letter_id}
    assert person.post(path, json={"reason": "again"}).status_code == 409
    assert rows(api.db, "SELECT id, state, attempt FROM jobs") == [(ours.job_id, "dead", 1)]
    assert person.post(f"/ops/jobs/{ours.job_id}/replay").status_code == 200


def test_edited_arguments_are_those_of_the_next_replay_and_the_former_are_kept(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/ops/jobs/{ours.job_id}/args"
    edited = person.post(path, json={"args": {"topic": "right"}, "reason": "a typo"})
    assert edited.json() == {"job_id": ours.job_id, "before": {}, "after": {"topic": "right"}}
    (item,) = person.get("/ops/jobs/dlq").json()["items"]
    assert item["payload"] == {"topic": "right"}
    (action,) = person.get(f"/ops/jobs/dlq/letters/{ours.letter_id}").json()["history"]
    assert (action["action"], action["data"]) == ("edited", {"before": {}, "after": {"topic": "right"}})
    person.post(f"/ops/jobs/{ours.job_id}/replay")
    assert rows(api.db, "SELECT state, args FROM jobs") == [("ready", {"topic": "right"})]
    assert person.post(path, json={"args": {}, "reason": "late"}).status_code == 404


def test_arguments_that_cannot_be_kept_are_refused_and_change_nothing(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    wrong: list[object] = [[], "x", None, {"a": "\x00"}, {"a": 2**70}, {"a": "x" * 70_000}]
    for args in wrong:
        answer = person.post(f"/ops/jobs/{ours.job_id}/args", json={"args": args, "reason": "x"})
        assert (answer.status_code, len(answer.json()["detail"].splitlines())) == (422, 1), str(args)[:50]
    for number in ("NaN", "-Infinity", "1e999"):
        body = f'{{"args": {{"a": {number}}}, "reason": "x"}}'
        answer = person.post(
            f"/ops/jobs/{ours.job_id}/args", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, len(answer.json()["detail"].splitlines())) == (422, 1), number
    assert rows(api.db, "SELECT count(*) FROM letter_actions") == [(0,)]


def test_letters_are_found_by_what_they_say_and_when(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    expected = {
        "error_class=ValueError": 1,
        "error_class=KeyError": 0,
        "text=CANARY-error": 1,
        "text=help%40ours": 1,
        "text=100%25": 0,
        "since=2020-01-01T00:00:00Z": 1,
        "until=2020-01-01T00:00:00%2B02:00": 0,
        "state=replayed": 0,
        "state=all": 1,
    }
    assert {query: len(person.get(f"/ops/jobs/dlq?{query}").json()["items"]) for query in expected} == expected
