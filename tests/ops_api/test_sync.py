"""The synchronisation of a mailbox over HTTP: how complete it is, comparisons, gaps, and questions to the provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.enums import Provider, ReconcileScope
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.mailboxes import add_mailbox
from pipeline.commands.reconcile import request_reconcile
from pipeline.runtime.secrets import Secrets
from tests.gmail_server.server import GmailServer
from tests.ops_api.serving import Api, House, Person, change, fetched, rows

ADDRESS = "help@ours.example"
MAIL = b"From: ann@example.com\r\nSubject: s\r\n\r\nx\r\n"
#: What reading must leave as it was; budgets count the calls themselves.
_EVERYTHING = (
    "mailboxes", "occurrences", "jobs", "backfills", "backfill_windows", "reconciles", "gaps", "dead_letters",
    "watches",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[GmailServer]:
    with GmailServer() as running:
        yield running


@pytest.fixture
def gmail(server: GmailServer, api: Api, ours: House, tmp_path: Path) -> Iterator[GmailServer]:
    """The mailbox of `ours` at a server, with three mails in it."""
    content = server.authorized_user_file(tmp_path / "user.json", ADDRESS).read_bytes()
    sealed = api.app.state.services.providers._secrets.seal(CREDENTIALS, ADDRESS, content)
    with api.db.begin() as connection:
        source = {"endpoint": server.url}
        add_mailbox(connection, ours.org_id, ADDRESS, Provider.GMAIL, source=source, credentials=sealed)
    box = server.mailbox(ADDRESS)
    for _ in range(3 - len(box.ids())):
        box.add(MAIL)
    yield server
    server.faults.clear()
    server.tokens.restore(ADDRESS)


def _path(house: House, what: str) -> str:
    return f"/mailboxes/{house.mailbox_id}/{what}"


def _picture(api: Api) -> dict[str, Any]:
    return {name: rows(api.db, f"SELECT * FROM {name} ORDER BY 1, 2") for name in _EVERYTHING}


def _compared(api: Api, house: House, scope: ReconcileScope, **counts: int) -> None:
    """Write a comparison as the stage leaves it."""
    with api.db.begin() as connection:
        reconcile_id = request_reconcile(connection, house.mailbox_id, scope, "tests")
        statement = (
            "UPDATE reconciles SET state = 'done', finished_at = now(), listed = :l, missing = :m WHERE id = :id"
        )
        connection.execute(text(statement), {"id": reconcile_id, "l": counts["listed"], "m": counts["missing"]})


def _gap(api: Api, house: House, state: str = "open", missing: int | None = 2) -> None:
    change(
        api.db,
        """
        INSERT INTO gaps (org_id, mailbox_id, cause, state, from_at, to_at, missing, sample_ids)
        VALUES (:org, :mailbox, 'audit', :state, now() - interval '3 days', now(), :missing, '{m-8, m-9}')
        """,
        org=house.org_id, mailbox=house.mailbox_id, state=state, missing=missing,
    )  # fmt: skip


def test_the_status_tells_how_far_the_listing_is_and_what_is_left(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    person.post(_path(ours, "sync/backfill"), params={"since": "2026-01-01T00:00:00Z"})
    change(api.db, "UPDATE backfills SET listed = 500, fresh = 400, estimate = 1200")
    change(
        api.db,
        """
        INSERT INTO backfill_windows (backfill_id, number, state, after_at, before_at, finished_at, pages, restarts)
        SELECT id, n, CASE n WHEN 0 THEN 'done' ELSE 'open' END, '2026-03-01Z',
               CASE n WHEN 1 THEN timestamptz '2026-04-01Z' END, CASE n WHEN 0 THEN now() END, 2 - n, n
          FROM backfills, generate_series(0, 1) AS n
        """,
    )
    found = person.get(_path(ours, "sync/status")).json()
    backfill = found["backfill"]
    assert (backfill["listed"], backfill["fresh"], backfill["estimate"]) == (500, 400, 1200)
    assert (backfill["windows_done"], backfill["restarts"], backfill["since"]) == (1, 1, "2026-01-01T00:00:00Z")
    assert (backfill["window"]["number"], backfill["window"]["pages"]) == (1, 1)
    assert backfill["window"]["after_at"] == "2026-03-01T00:00:00Z"
    assert (found["to_fetch"], found["eta_seconds"]) == (700, None)
    assert "no worker is alive: run `fieldpost up`" in found["why_slow"]


def test_with_a_worker_the_time_left_follows_from_the_budgets(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    change(api.db, "UPDATE mailboxes SET project = 'acme' WHERE id = :id", id=ours.mailbox_id)
    with api.db.begin() as connection:
        connection.execute(text("INSERT INTO workers (number, host, pid, version) VALUES (7, 'h', 1, '0')"))
    change(
        api.db,
        """
        INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, state, trace_id)
        SELECT 'fetch', CAST(n AS text), :org, :mailbox, 'backfill', 'held', 't' FROM generate_series(1, 600) AS n
        """,
        org=ours.org_id, mailbox=ours.mailbox_id,
    )  # fmt: skip
    assert person.get(_path(ours, "sync/status")).json()["eta_seconds"] is None
    with api.db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(77, 7)"))
        found = person.get(_path(ours, "sync/status")).json()
    assert found["to_fetch"] == 600
    assert found["queued_jobs_by_type"] == {"occurrence_fetch_raw": 600}
    # 6,000 units a minute at 20 a message, a little kept in reserve: 600 messages take two minutes and a bit.
    assert 120 <= found["eta_seconds"] <= 130


def test_the_status_counts_every_id_and_those_nobody_takes_on(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        fetched(connection, ours.org_id, ours.mailbox_id, ["m-2", "m-3"])
    _gap(api, ours)
    _gap(api, ours, missing=5)
    found = api.person(ours.org_id).get(_path(ours, "sync/status")).json()
    counts = found["completeness"]
    assert (counts["by_state"]["fetched"], counts["by_state"]["quarantined"], counts["ids"]) == (2, 1, 3)
    assert (counts["stranded"], counts["missing"], counts["unaccounted"]) == (2, 5, 7)
    assert found["open_gaps"] == 2
    assert f"2 gaps open (5 ids missing): fill with `fieldpost gaps {ADDRESS} --fill`" in found["why_slow"]


def test_who_paused_a_mailbox_is_shown_wherever_the_reason_is(api: Api, ours: House) -> None:
    person = api.person(ours.org_id, email="bea@example.org")
    assert person.post(_path(ours, "sync/pause"), params={"reason": "moving"}).json()["paused_by"] == "bea@example.org"
    found = person.get(_path(ours, "sync/status")).json()
    (listed,), (summed,) = person.get("/mailboxes").json(), person.get("/ops/mailboxes/sync").json()["items"]
    for answer in (found, listed, summed):
        assert (answer["paused_by"], answer["pause_reason"]) == ("bea@example.org", "moving")
    assert found["why_slow"][0].endswith("by bea@example.org (moving)")


@pytest.mark.parametrize(
    ("state", "said", "is_enabled"),
    [
        ("active", "the last 3 readings failed (no answer); 5 in a row pause it", True),
        ("probing", "tried with one call after a pause (closed)", True),
        ("paused", "paused by itself until 2030-01-01 00:00 UTC, then tried with one call (closed)", True),
        ("suspended", "its provider has closed it (closed): left alone until 2030-01-01 00:00 UTC, then tried", True),
        ("blocked", "its domain forbids reading it (no answer): an administrator must allow it", False),
        ("auth_required", "waits for authorization (no answer): connect it again", False),
    ],
)
def test_every_state_is_said_in_words(api: Api, ours: House, state: str, said: str, is_enabled: bool) -> None:
    change(
        api.db,
        """
        UPDATE mailboxes SET state = :state, state_reason = 'closed', last_sync_error = 'no answer',
               paused_by = 'breaker', failures_in_row = 3,
               paused_until = CASE WHEN :state IN ('paused', 'suspended') THEN timestamptz '2030-01-01Z' END
        """,
        state=state,
    )
    found = api.person(ours.org_id).get(_path(ours, "sync/status")).json()
    assert found["why_slow"][0].startswith(said)
    assert (found["state"], found["is_enabled"]) == (state, is_enabled)
    assert api.person(ours.org_id).get("/mailboxes").json()[0]["is_enabled"] is is_enabled


def test_the_proof_holds_once_every_id_was_compared_and_nothing_is_missing(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    before = person.get(_path(ours, "sync/audit")).json()
    assert (before["is_proved"], before["provider_ids"], before["compared_at"]) == (False, None, None)
    _compared(api, ours, ReconcileScope.AUDIT, listed=3, missing=2)
    _gap(api, ours)
    found = person.get(_path(ours, "sync/audit")).json()
    assert (found["provider_ids"], found["missing"], found["scope"]) == (3, 2, "audit")
    assert (found["is_proved"], found["completeness"]["unaccounted"]) == (False, 2)
    change(api.db, "UPDATE gaps SET state = 'filled', filled_at = now()")
    _compared(api, ours, ReconcileScope.NIGHTLY, listed=1, missing=0)
    found = person.get(_path(ours, "sync/audit")).json()
    assert (found["is_proved"], found["provider_ids"], found["scope"]) == (True, 3, "audit")
    assert [one["scope"] for one in found["recent"]] == ["nightly", "audit"]
    assert person.get(_path(ours, "sync/status")).json()["last_reconcile"]["scope"] == "nightly"


def test_a_mailbox_that_was_listed_since_a_date_is_proved_back_to_there(api: Api, ours: House) -> None:
    _compared(api, ours, ReconcileScope.FULL, listed=3, missing=0)
    change(api.db, "UPDATE reconciles SET since = now() - interval '10 days', is_doubted = true")
    found = api.person(ours.org_id).get(_path(ours, "sync/audit")).json()
    assert (found["is_proved"], found["provider_ids"], found["recent"][0]["is_doubted"]) == (True, 3, True)


@pytest.mark.parametrize(("what", "scope"), [("audit", "audit"), ("reconcile", "full")])
def test_a_comparison_is_asked_for_once_and_remembers_by_whom(api: Api, ours: House, what: str, scope: str) -> None:
    person = api.person(ours.org_id)
    first, second = (person.post(_path(ours, f"sync/{what}")) for _ in range(2))
    ((found, asked_by, its_scope),) = rows(api.db, "SELECT id, asked_by, scope FROM reconciles")
    assert first.json() == second.json() == {"mailbox_id": str(ours.mailbox_id), "reconcile_id": str(found)}
    assert (asked_by, its_scope) == ("ann@example.org", scope)
    assert rows(api.db, "SELECT stage, lane FROM jobs WHERE stage = 'reconcile'") == [("reconcile", "repair")]
    found = person.get(_path(ours, "sync/status")).json()
    assert found["queued_jobs_by_type"] == {"mailbox_reconcile": 1}
    assert person.get(_path(ours, "sync/audit")).json()["recent"][0]["state"] == "running"


def test_gaps_are_listed_and_filled_once(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    assert person.post(_path(ours, "sync/gaps/fill")).json() == {"gaps_filling": 0}
    assert rows(api.db, "SELECT count(*) FROM reconciles") == [(0,)]
    _gap(api, ours)
    _gap(api, ours, state="filling", missing=None)
    first, second = (person.post(_path(ours, "sync/gaps/fill")).json() for _ in range(2))
    assert (first, second) == ({"gaps_filling": 1}, {"gaps_filling": 0})
    items = person.get(_path(ours, "sync/gaps")).json()["items"]
    assert [(one["state"], one["missing"]) for one in items] == [("filling", None), ("filling", 2)]
    assert (items[1]["filled_by"], items[1]["sample_ids"]) == ("ann@example.org", ["m-8", "m-9"])
    assert rows(api.db, "SELECT count(*) FROM jobs WHERE stage = 'reconcile'") == [(1,)]


@pytest.mark.parametrize("what", ["audit", "reconcile", "gaps/fill"])
def test_a_mailbox_of_files_has_nobody_to_compare_with(api: Api, ours: House, what: str) -> None:
    with api.db.begin() as connection:
        files = add_mailbox(connection, ours.org_id, "old@ours.example", Provider.FILES, source={"paths": []})
    answer = api.person(ours.org_id).post(f"/mailboxes/{files}/sync/{what}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "fieldpost audit" in answer.json()["detail"]


def test_labels_stand_beside_the_ledgers_counts(api: Api, ours: House, gmail: GmailServer) -> None:
    box = gmail.mailbox(ADDRESS)
    change(api.db, "DELETE FROM quarantines")
    change(api.db, "DELETE FROM occurrences")
    values = [(one, "{INBOX,UNREAD}", "seen", None) for one in box.ids()]
    values += [("gone", "{INBOX}", "gone", None), ("deleted", "{INBOX}", "seen", "now")]
    for one, names, state, deleted in values:
        change(
            api.db,
            """
            INSERT INTO occurrences (org_id, mailbox_id, provider_id, labels, state, deleted_at)
            VALUES (:org, :mailbox, :one, CAST(:names AS text[]), :state, CAST(:deleted AS timestamptz))
            """,
            org=ours.org_id, mailbox=ours.mailbox_id, one=one, names=names, state=state, deleted=deleted,
        )  # fmt: skip
    box.modify(box.ids()[0], remove=("UNREAD",))
    found = api.person(ours.org_id).get(_path(ours, "sync/labels")).json()
    counts = {one["label_id"]: (one["provider"], one["ledger"], one["difference"]) for one in found["items"]}
    assert (counts["INBOX"], counts["UNREAD"], counts["STARRED"]) == ((3, 3, 0), (2, 3, 1), (0, 0, 0))
    box.modify(box.ids()[0], add=("UNREAD",))


def test_a_connected_mailbox_names_itself(api: Api, ours: House, gmail: GmailServer) -> None:
    found = api.person(ours.org_id).get(_path(ours, "connectivity")).json()
    assert found == {"status": "connected", "profile_email": ADDRESS, "error": None}


@pytest.mark.parametrize(
    ("state", "status"),
    [("paused", "paused"), ("suspended", "paused"), ("probing", "degraded"), ("blocked", "disabled")],
)
def test_the_state_of_a_mailbox_shows_in_its_connection(
    api: Api, ours: House, gmail: GmailServer, state: str, status: str
) -> None:
    change(api.db, "UPDATE mailboxes SET state = :state, state_reason = 'because'", state=state)
    found = api.person(ours.org_id).get(_path(ours, "connectivity")).json()
    assert found == {"status": status, "profile_email": ADDRESS, "error": "because"}


def test_credentials_that_were_revoked_are_told_and_nothing_secret_is(
    api: Api, ours: House, gmail: GmailServer
) -> None:
    gmail.tokens.revoke(ADDRESS)
    person = api.person(ours.org_id)
    found = person.get(_path(ours, "connectivity"))
    assert (found.status_code, found.json()["status"], found.json()["profile_email"]) == (200, "degraded", None)
    assert "invalid_grant" in found.json()["error"]
    labels = person.get(_path(ours, "sync/labels"))
    assert (labels.status_code, labels.json()["code"]) == (502, "provider_failed")
    secrets = gmail.tokens.authorized_user(ADDRESS, gmail.token_uri)
    assert not [secret for secret in (secrets["refresh_token"], secrets["client_secret"]) if secret in labels.text]


def test_a_provider_that_asks_for_patience_is_a_503_with_the_time(api: Api, ours: House, gmail: GmailServer) -> None:
    person = api.person(ours.org_id)
    assert person.get(_path(ours, "sync/labels")).status_code == 200
    change(api.db, "UPDATE budgets SET rest_until = now() + interval '90 seconds', rest_reason = 'Gmail answered 429'")
    answer = person.get(_path(ours, "sync/labels"))
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_busy")
    assert 80 <= int(answer.headers["retry-after"]) <= 90
    assert person.get(_path(ours, "connectivity")).json()["status"] == "degraded"


def test_a_key_that_the_api_does_not_have_is_a_503_that_names_the_setting(
    api: Api, ours: House, gmail: GmailServer
) -> None:
    other = Secrets("the key of another environment")
    change(api.db, "UPDATE mailboxes SET credentials = :sealed", sealed=other.seal(CREDENTIALS, ADDRESS, b"{}"))
    answer = api.person(ours.org_id).get(_path(ours, "sync/labels"))
    assert (answer.status_code, answer.json()["code"]) == (503, "key_unknown")
    assert "FIELDPOST_PREVIOUS_SECRET_KEYS" in answer.json()["detail"]
    assert rows(api.db, "SELECT state FROM mailboxes") == [("active",)]


def test_reading_moves_no_cursor_and_changes_no_row(api: Api, ours: House, gmail: GmailServer) -> None:
    person = api.person(ours.org_id)
    cursor = str(gmail.mailbox(ADDRESS).history_id)
    change(api.db, "UPDATE mailboxes SET sync_cursor = :cursor", cursor=cursor)
    _gap(api, ours)
    assert _look(person, ours) == [200] * 6
    before = _picture(api)
    gmail.mailbox(ADDRESS).add(MAIL)
    assert _look(person, ours) == [200] * 6
    assert _picture(api) == before
    assert rows(api.db, "SELECT sync_cursor FROM mailboxes") == [(cursor,)]


def test_a_question_to_a_provider_holds_no_transaction(api: Api, ours: House, gmail: GmailServer) -> None:
    person = api.person(ours.org_id)
    seen: list[Any] = []
    providers = api.app.state.services.providers
    ask = providers.profile

    def look(mailbox: Any) -> Any:
        seen.extend(
            rows(
                api.db,
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND xact_start IS NOT NULL AND application_name = 'fieldpost api'",
            )
        )
        return ask(mailbox)

    providers.profile = look
    assert person.get(_path(ours, "connectivity")).json()["status"] == "connected"
    assert seen == []


def _look(person: Person, house: House) -> list[int]:
    paths = ("sync/status", "sync/audit", "sync/gaps", "sync/labels", "connectivity")
    return [
        *(person.get(_path(house, what)).status_code for what in paths),
        person.get("/ops/mailboxes/sync").status_code,
    ]
