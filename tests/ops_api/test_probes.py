"""Health, readiness and metrics."""

from __future__ import annotations

import socket
from datetime import timedelta
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from models import schema
from models.enums import Cause, OutboundKind
from models.queries.strands import Kind
from ops_api import families
from ops_api.app import make_app
from ops_api.families import FamilyReading
from ops_api.ledger_gauges import LEDGER
from ops_api.limits import Limits
from ops_api.scans import ArchiveScan, OccurrenceScan
from pipeline.runtime import outgoing
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import WORKER_LOCK
from pipeline.table import STAGES
from tests import factories
from tests.deploy.probes import until
from tests.ops_api.serving import Api, FakeClock, House, change, fetched, house, kill, serving, settings_for

_NOWHERE = "postgresql+psycopg://nobody:canary@127.0.0.1:9/none"


def _samples(said: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
    }


def test_a_served_api_is_healthy_and_ready(api: Api) -> None:
    client = api.client()
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_without_a_database_it_is_healthy_and_not_ready() -> None:
    with serving(settings_for(_NOWHERE)) as api:
        client = api.client()
        assert client.get("/healthz").status_code == 200
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "the database does not answer"
        assert _samples(client.get("/metrics").text)["fieldpost_database_up",] == 0


def test_a_database_that_accepts_and_stays_silent_keeps_nobody_waiting() -> None:
    quick = Limits(probe=timedelta(milliseconds=200), deadline=timedelta(milliseconds=400))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        with serving(settings_for(url), limits=quick) as api:
            client = api.client()
            ready, metrics, alive = (client.get(path) for path in ("/readyz", "/metrics", "/healthz"))
    assert [answer.status_code for answer in (ready, metrics, alive)] == [503, 503, 200]
    assert ready.json()["detail"] == "the database does not answer in time"


def test_without_its_migrations_it_is_not_ready_and_says_what_to_do(api: Api) -> None:
    with api.db.begin() as connection:
        schema.undo(connection, "base")
    client = api.client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "fieldpost migrate" in answer.json()["detail"]
    assert _samples(client.get("/metrics").text)["fieldpost_database_up",] == 0


def test_metrics_tell_the_queue_the_letters_the_mailboxes_and_the_workers(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    person.post(f"/mailboxes/{ours.mailbox_id}/sync/backfill")
    change(api.db, "UPDATE mailboxes SET last_incremental_sync_at = now() - interval '1 hour'")
    change(api.db, "UPDATE jobs SET run_at = now() - interval '5 minutes' WHERE stage = 'backfill'")
    mailbox = str(ours.mailbox_id)
    with api.db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:class, 1)"), {"class": WORKER_LOCK})
        until(lambda: "sync/backfill" in api.client().get("/metrics").text)
        answer = api.client().get("/metrics")
    found = _samples(answer.text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["fieldpost_queue_jobs", "backfill", "backfill", "ready"] == 1
    assert found["fieldpost_queue_jobs", "live", "parse", "dead"] == 1
    assert found["fieldpost_queue_age_seconds", "backfill", "backfill"] >= 300
    assert found["fieldpost_dead_letters_open", "permanent", "parse"] == 1
    assert found["fieldpost_sync_lag_seconds", mailbox] >= 3_600
    assert found["fieldpost_mailbox_up", mailbox] == 1
    assert found["fieldpost_workers_alive",] == 1
    assert found["fieldpost_occurrences", mailbox, "quarantined"] == 1
    assert found["fieldpost_stranded_occurrences",] == 0
    route = "/mailboxes/{mailbox_id}/sync/backfill"
    assert found["fieldpost_http_requests_total", "POST", route, "200"] == 1
    assert found["fieldpost_http_request_seconds_count", "POST", route] == 1
    assert "help@ours.example" not in answer.text


def test_metrics_tell_how_watches_stand_and_say_nothing_of_paused_mailboxes(
    api: Api, ours: House, theirs: House
) -> None:
    change(
        api.db,
        """
        INSERT INTO watches (mailbox_id, state, topic, expires_at, pushed_at)
        SELECT id, 'silent', 't', now() + interval '5 days', now() - interval '1 hour' FROM mailboxes
        """,
    )
    change(api.db, "UPDATE mailboxes SET state = 'paused' WHERE id = :id", id=theirs.mailbox_id)
    said = api.client().get("/metrics").text
    found, mailbox = _samples(said), str(ours.mailbox_id)
    assert found["fieldpost_watch_state", mailbox, "silent"] == 1
    assert found["fieldpost_watch_silent", mailbox] == 1
    assert 430_000 < found["fieldpost_watch_expires_seconds", mailbox] <= 432_000
    assert found["fieldpost_push_age_seconds", mailbox] >= 3_600
    assert not [name for name in found if name[0].startswith("fieldpost_watch") and str(theirs.mailbox_id) in name]


def test_metrics_tell_how_complete_mailboxes_are(api: Api, ours: House, theirs: House) -> None:
    mine, other = str(ours.mailbox_id), str(theirs.mailbox_id)
    change(api.db, "UPDATE mailboxes SET sync_cursor = '7', created_at = now() - interval '2 days', trips = 2")
    change(api.db, "UPDATE mailboxes SET state = 'suspended' WHERE id = :id", id=theirs.mailbox_id)
    change(
        api.db,
        """
        INSERT INTO reconciles (mailbox_id, scope, asked_by, state, started_at, finished_at, missing)
        SELECT :id, scope, 't', 'done', now() - ago, now() - ago, missing
          FROM (VALUES ('full', interval '9 h', 8), ('nightly', interval '1 h', 3), ('resync', interval '0', 99))
            AS t(scope, ago, missing)
        """,
        id=ours.mailbox_id,
    )
    change(
        api.db,
        """
        INSERT INTO gaps (org_id, mailbox_id, cause, state, to_at, filled_at)
        SELECT org_id, id, 'audit', gap, now(), CASE gap WHEN 'filled' THEN now() END
          FROM mailboxes, unnest(ARRAY['open', 'filling', 'filled']) AS gap WHERE id = :id
        """,
        id=ours.mailbox_id,
    )
    api.person(ours.org_id).post(f"/mailboxes/{mine}/sync/backfill")
    found = _samples(api.client().get("/metrics").text)
    assert found["fieldpost_mailbox_state", mine, "active"] == found["fieldpost_mailbox_state", other, "suspended"] == 1
    assert (found["fieldpost_gaps_unfilled", mine], found["fieldpost_gaps_unfilled", other]) == (2, 0)
    assert (found["fieldpost_backfill_running", mine], found["fieldpost_backfill_running", other]) == (1, 0)
    assert (found["fieldpost_missing_found", mine], found["fieldpost_breaker_trips", mine]) == (3, 2)
    assert 3_600 <= found["fieldpost_comparison_age_seconds", mine] < 3_700
    assert ("fieldpost_missing_found", other) not in found
    assert ("fieldpost_comparison_age_seconds", other) not in found


def test_metrics_tell_what_of_ours_was_not_sent(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        identity_id = factories.identity(connection, ours.org_id, ours.mailbox_id, "help@ours.example")
        ticket_id = factories.ticket(connection, ours.org_id)
        tokens = api.app.state.services.reply_tokens
        intent = outgoing.Intent(
            ours.org_id, ticket_id, identity_id, OutboundKind.REPLY, ["a@b.example"], "Re: It", "Yes.", "ann"
        )
        for _ in range(3):
            outgoing.intend(connection, tokens, intent)
    change(api.db, "UPDATE outbound SET created_at = now() - interval '1 hour'")
    change(api.db, "UPDATE outbound SET state = 'unknown' WHERE id = (SELECT id FROM outbound ORDER BY id LIMIT 1)")
    said = api.client().get("/metrics").text
    assert 'fieldpost_outbound{state="unknown"} 1.0' in said
    assert 'fieldpost_outbound{state="queued"} 2.0' in said
    assert 'fieldpost_outbound{state="failed"} 0.0' in said
    assert float(said.partition("\nfieldpost_outbound_age_seconds ")[2].split()[0]) >= 3600


def test_a_mailbox_that_was_never_compared_is_as_old_as_itself(api: Api, ours: House) -> None:
    change(api.db, "UPDATE mailboxes SET sync_cursor = '7', created_at = now() - interval '2 days'")
    found = _samples(api.client().get("/metrics").text)
    assert found["fieldpost_comparison_age_seconds", str(ours.mailbox_id)] >= 172_800


def test_an_occurrence_with_work_left_and_no_job_is_stranded(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        kept, _, _ = fetched(connection, ours.org_id, ours.mailbox_id, ["a", "b", "c"])
        kill(connection, ours.org_id, ours.mailbox_id, stage="parse", key=str(kept), said="bad")
    assert _samples(api.client().get("/metrics").text)["fieldpost_stranded_occurrences",] == 2


def test_a_scan_in_pages_counts_what_one_pass_would(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        fetched(connection, ours.org_id, ours.mailbox_id, [f"p-{number}" for number in range(10)])
        scan = OccurrenceScan(page=4)
        published = []
        for _ in range(3):
            scan.read_on(connection)
            published.append(scan.stranded)
    assert published == [None, None, 10]
    assert scan.counts == {(str(ours.mailbox_id), "fetched"): 10, (str(ours.mailbox_id), "quarantined"): 1}


def test_scrapes_in_quick_succession_ask_the_database_once(database_url: str) -> None:
    clock = FakeClock()
    with serving(settings_for(database_url), clock=clock) as api:
        client = api.client()
        before = _samples(client.get("/metrics").text)
        house(api.db, "late")
        during = _samples(client.get("/metrics").text)
        clock.at += timedelta(seconds=3)
        after = _samples(client.get("/metrics").text)
    name = ("fieldpost_dead_letters_open", "permanent", "parse")
    assert [found[name] for found in (before, during, after)] == [0, 0, 1]


def test_a_family_that_cannot_be_read_is_named_and_hides_no_other(api: Api, ours: House) -> None:
    change(api.db, "ALTER TABLE watches RENAME TO mislaid")
    found = _samples(api.client().get("/metrics").text)
    unreadable = {name[1]: value for name, value in found.items() if name[0] == "fieldpost_gauges_unreadable"}
    assert {family for family, value in unreadable.items() if value} == {"watches"}
    assert {*LEDGER, "overdue", "strands", "readings", "sync", "dispatch", "archive"} == set(unreadable)
    assert not [name for name in found if name[0].startswith("fieldpost_watch")]
    assert found["fieldpost_database_up",] == 1
    assert found["fieldpost_dead_letters_open", "permanent", "parse"] == 1
    assert found["fieldpost_stranded_occurrences",] == 0


def test_a_table_that_is_locked_hides_what_stands_in_it_alone(
    api: Api, ours: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "_LOCK", timedelta(milliseconds=20))
    with api.db.begin() as connection:
        connection.execute(text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
        found = _samples(api.client().get("/metrics").text)
    unreadable = {name[1] for name, value in found.items() if name[0] == "fieldpost_gauges_unreadable" and value}
    assert unreadable == {"overdue", "strands", "queue", "archive"}
    assert not [name for name in found if name[0] in {"fieldpost_strands", "fieldpost_occurrences"}]
    assert found["fieldpost_mailbox_up", str(ours.mailbox_id)] == 1
    assert found["fieldpost_workers_alive",] == 0


def test_what_no_time_is_left_for_is_unreadable_and_a_lost_connection_ends_the_reading(db: Database) -> None:
    clock = FakeClock()

    def slow(connection: Connection) -> str:
        clock.at += timedelta(seconds=6)
        return str(connection.execute(text("SHOW statement_timeout")).scalar_one())

    with db.begin() as connection:
        reading = FamilyReading(connection, clock)
        assert [reading.read(name, slow) for name in ("first", "second", "third")] == ["3s", "2s", None]
        assert {sample.labels["family"]: sample.value for sample in reading.gauge().samples} == {
            "first": 0, "second": 0, "third": 1
        }  # fmt: skip
    with pytest.raises(SQLAlchemyError), db.begin() as connection:
        FamilyReading(connection, clock).read(
            "cut", lambda own: own.execute(text("SELECT pg_terminate_backend(pg_backend_pid())")).one()
        )


def test_every_stage_and_cause_has_its_figure_of_dead_letters_before_the_first_dies(api: Api) -> None:
    found = _samples(api.client().get("/metrics").text)
    told = {name[1:] for name in found if name[0] == "fieldpost_dead_letters_open"}
    assert told == {(cause.value, stage) for cause in Cause for stage in STAGES}


def test_a_backup_that_nobody_receives_is_told_by_its_slot(api: Api) -> None:
    slot = f"fieldpost_{uuid4().hex[:8]}"
    change(api.db, "SELECT pg_create_physical_replication_slot(:slot, true)", slot=slot)
    try:
        found = _samples(api.client().get("/metrics").text)
    finally:
        change(api.db, "SELECT pg_drop_replication_slot(:slot)", slot=slot)
    assert (found["fieldpost_backup_slot_active", slot], found["fieldpost_backup_slot_lost", slot]) == (0, 0)
    assert found["fieldpost_backup_slot_behind_bytes", slot] >= 0


def test_a_stranded_occurrence_is_told_before_the_pass_that_found_it_has_ended(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        fetched(connection, ours.org_id, ours.mailbox_id, [f"p-{number}" for number in range(10)])
        scan = ArchiveScan(page=4, tail=0)
        told = [{one.kind: one.count for one in scan.read_on(connection)}.get(Kind.OCCURRENCE) for _ in range(3)]
    assert told == [3, 7, 10]


def test_metrics_are_json_when_asked_for(api: Api, ours: House) -> None:
    answer = api.client().get("/metrics", headers={"accept": "application/json"})
    letters = answer.json()["metrics"]["fieldpost_dead_letters_open"]
    assert [one for one in letters if one["value"]] == [
        {"labels": {"stage": "parse", "cause": "permanent"}, "value": 1.0}
    ]


def test_metrics_can_be_switched_off(database_url: str) -> None:
    with serving(settings_for(database_url, enable_prometheus_metrics=False)) as api:
        assert api.client().get("/metrics").status_code == 404


def test_an_address_nobody_serves_does_not_grow_the_metrics(api: Api) -> None:
    client = api.client()
    for number in range(5):
        client.request("BREW", f"/coffee/{number}")
    counted = ("fieldpost_http_requests_total", "other", "unmatched", "404")
    until(lambda: _samples(client.get("/metrics").text).get(counted) == 5)


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y"])
def test_a_database_address_that_is_none_is_told_before_serving(url: str) -> None:
    with pytest.raises(Exception, match="DATABASE_URL"):
        make_app(settings_for(url))
