"""Mailboxes: what operators see and do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.enums import Provider
from pipeline.commands.mailboxes import add_mailbox
from tests.ops_api.serving import Api, House, change, rows


def test_the_list_names_the_mailboxes_and_no_credentials(api: Api, ours: House) -> None:
    change(api.db, "UPDATE mailboxes SET credentials = 'canary-credentials'")
    answer = api.person(ours.org_id).get("/mailboxes")
    (found,) = answer.json()
    assert (found["id"], found["email_address"], found["provider"]) == (
        str(ours.mailbox_id),
        "help@ours.example",
        "gmail",
    )
    assert found["is_enabled"] is True
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    ("what", "job_type", "stage"),
    [("backfill", "mailbox_backfill", "backfill"), ("history", "mailbox_history_sync", "history")],
)
def test_a_trigger_names_its_job_and_asking_again_names_the_same(
    api: Api, ours: House, what: str, job_type: str, stage: str
) -> None:
    person = api.person(ours.org_id)
    path = f"/mailboxes/{ours.mailbox_id}/sync/{what}"
    first, second = person.post(path), person.post(path)
    ((job_id,),) = rows(api.db, "SELECT id FROM jobs WHERE stage = :stage", stage=stage)
    assert first.json() == second.json() == {"job_type": job_type, "job_id": job_id}


def test_a_backfill_can_reach_back_to_a_date(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/mailboxes/{ours.mailbox_id}/sync/backfill"
    assert person.post(path, params={"since": "2024-01-31"}).status_code == 422
    assert person.post(path, params={"since": "2024-01-31T00:00:00Z"}).status_code == 200
    assert rows(api.db, "SELECT since FROM backfills") == [(datetime(2024, 1, 31, tzinfo=UTC),)]


def test_the_status_speaks_of_jobs_by_the_contracts_names(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/mailboxes/{ours.mailbox_id}/sync"
    person.post(f"{path}/history")
    found = person.get(f"{path}/status").json()
    assert found["queued_jobs_by_type"] == {"mailbox_history_sync": 1}
    assert found["running_jobs_by_type"] == {}
    assert found["sync_lag_seconds"] is None
    assert {"is_enabled", "paused_until", "gmail_history_id", "last_sync_error"} <= set(found)


def test_a_pause_lasts_as_long_as_asked_and_resume_ends_it(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    change(api.db, "UPDATE mailboxes SET sync_cursor = '7'")
    path = f"/mailboxes/{ours.mailbox_id}/sync"
    ((before,),) = rows(api.db, "SELECT now()")
    paused = person.post(f"{path}/pause", params={"minutes": 45, "reason": "moving house"}).json()
    assert (paused["paused"], paused["pause_reason"]) == (True, "moving house")
    assert datetime.fromisoformat(paused["paused_until"]) - before >= timedelta(minutes=45)
    assert person.get(f"{path}/status").json()["state"] == "paused"
    resumed = person.post(f"{path}/resume").json()
    ((job_id,),) = rows(api.db, "SELECT id FROM jobs WHERE stage = 'history'")
    assert resumed == {"mailbox_id": str(ours.mailbox_id), "resumed": True, "history_sync_job_id": job_id}
    assert person.get(f"{path}/status").json()["state"] == "active"


def test_a_pause_is_between_a_minute_and_a_week(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    path = f"/mailboxes/{ours.mailbox_id}/sync/pause"
    expected = {0: 422, 1: 200, 10_080: 200, 10_081: 422, "x": 422}
    assert {asked: person.post(path, params={"minutes": asked}).status_code for asked in expected} == expected


def test_what_the_state_of_a_mailbox_forbids_is_a_conflict_in_words(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    with api.db.begin() as connection:
        files = add_mailbox(connection, ours.org_id, "old@ours.example", Provider.FILES, source={"paths": []})
    history = person.post(f"/mailboxes/{files}/sync/history")
    assert (history.status_code, history.json()["code"]) == (409, "conflict")
    assert "import them again" in history.json()["detail"]
    change(api.db, "UPDATE mailboxes SET state = 'auth_required'")
    assert person.post(f"/mailboxes/{ours.mailbox_id}/sync/pause").status_code == 409


def test_an_id_that_is_none_is_told_so(api: Api, ours: House) -> None:
    assert api.person(ours.org_id).get("/mailboxes/7/sync/status").status_code == 422


def test_the_summary_and_the_overview_count_the_organizations_own(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id)
    person.post(f"/mailboxes/{ours.mailbox_id}/sync/backfill")
    change(api.db, "UPDATE mailboxes SET last_incremental_sync_at = now() - interval '90 seconds'")
    (summary,) = person.get("/ops/mailboxes/sync").json()["items"]
    assert (summary["email"], summary["failed_jobs_last_24h"]) == ("help@ours.example", 1)
    found = person.get("/ops/metrics/overview").json()
    assert found.pop("avg_sync_lag_seconds") >= 90
    assert found == {
        "queued_jobs": 1,
        "running_jobs": 0,
        "failed_jobs_24h": 1,
        "open_dead_letters": 1,
        "mailbox_count": 1,
        "paused_mailbox_count": 0,
    }


def test_collision_groups_come_newest_first_with_three_samples(api: Api, ours: House, theirs: House) -> None:
    statement = """
        INSERT INTO messages (org_id, fingerprint, signature, collision_group_id, subject, subject_norm, received_at,
                              snippet, raw_sha256, parser_version, created_at)
        SELECT :org, decode(md5(:who), 'hex'), decode(md5(:who || n), 'hex'),
               CAST(md5(:who || n / 4) AS uuid), 's', 's', now(), '', '', 1, now() + n * interval '1 hour'
          FROM generate_series(0, 7) AS n
    """
    change(api.db, statement, org=ours.org_id, who="us")
    change(api.db, statement, org=theirs.org_id, who="them")
    person = api.person(ours.org_id)
    items = person.get("/ops/messages/collisions").json()["items"]
    assert [item["message_count"] for item in items] == [4, 4]
    assert items[0]["first_seen_at"] > items[1]["last_seen_at"]
    ids = [
        found for (found,) in rows(api.db, "SELECT id FROM messages WHERE org_id = :org ORDER BY id", org=ours.org_id)
    ]
    assert [item["sample_message_ids"] for item in items] == [ids[4:7], ids[0:3]]
    assert len(person.get("/ops/messages/collisions?limit=1").json()["items"]) == 1
    assert person.get("/ops/messages/collisions?limit=201").status_code == 422
