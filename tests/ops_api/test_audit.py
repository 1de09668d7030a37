"""The audit trail over HTTP: every change leaves a row, refusals too and only so many, and it is read and checked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import text

from models.enums import TicketStatus
from ops_api import audited
from ops_api.access_rows import ROWS
from ops_api.audited import PER_ACTOR
from ops_api.limits import Limits
from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry
from tests import factories
from tests.ops_api.serving import Api, FakeClock, House, house, rows, serving, settings_for

_TRAIL = "SELECT action, outcome, code, target_kind, target_id FROM audit_events ORDER BY number"


def details(api: Api) -> list[Any]:
    return [row[0] for row in rows(api.db, "SELECT data - '_salt' FROM audit_details ORDER BY number")]


def test_a_change_leaves_one_row_in_its_own_transaction_and_readings_none(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    headers = {"X-Request-Id": "req-1", "X-Correlation-Id": "cor-1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    assert person.post(f"/mailboxes/{ours.mailbox_id}/sync/pause", headers=headers).status_code == 200
    assert person.get("/mailboxes").status_code == 200
    assert rows(api.db, _TRAIL) == [("mailboxes.sync", "done", None, "mailbox", str(ours.mailbox_id))]
    statement = "SELECT actor_kind, actor_id, actor_role, request_id, correlation_id, trace_id FROM audit_events"
    assert rows(api.db, statement) == [("HUMAN", str(person.person_id), "admin", "req-1", "cor-1", "a" * 32)]
    route = "/mailboxes/{mailbox_id}/sync/pause"
    assert details(api) == [{"method": "POST", "route": route, "mailbox_id": str(ours.mailbox_id)}]


def test_a_change_that_is_rolled_back_leaves_no_row_of_having_been_done(
    api: Api, ours: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = api.person(ours.org_id)
    monkeypatch.setattr(auditing, "append", lambda *_: 1 // 0)
    assert person.post(f"/mailboxes/{ours.mailbox_id}/sync/pause").status_code == 500
    assert rows(api.db, "SELECT DISTINCT state FROM mailboxes") == [("active",)]


def test_what_is_refused_leaves_a_row_after_the_rollback(api: Api, ours: House, theirs: House) -> None:
    admin, viewer = api.person(ours.org_id), api.person(ours.org_id, "viewer")
    pause = f"/mailboxes/{ours.mailbox_id}/sync/pause"
    assert viewer.post(pause).status_code == 403
    assert admin.post(f"/mailboxes/{theirs.mailbox_id}/sync/pause").status_code == 404
    assert admin.post(f"{pause}?minutes=no").status_code == 422
    assert (
        admin.post("/ops/reprocessings", content="{", headers={"content-type": "application/json"}).status_code == 422
    )
    assert admin.post(f"/ops/reprocessings/{ours.reprocessing_id}/cancel").status_code == 200
    assert admin.post(f"/ops/reprocessings/{ours.reprocessing_id}/apply").status_code == 409
    found = rows(api.db, _TRAIL)
    assert [(action, outcome, code) for action, outcome, code, _, _ in found] == [
        ("mailboxes.sync", "refused", "forbidden"),
        ("mailboxes.sync", "refused", "not_found"),
        ("mailboxes.sync", "refused", "invalid"),
        ("messages.reprocess", "refused", "invalid"),
        ("messages.reprocess", "done", None),
        ("messages.reprocess", "refused", "conflict"),
    ]
    assert {row[0] for row in rows(api.db, "SELECT org_id FROM audit_events")} == {ours.org_id}
    assert details(api)[2]["fields"] == ["query.minutes"]


def test_nobody_leaves_no_row_and_a_foreign_site_does(api: Api, ours: House) -> None:
    path = f"/mailboxes/{ours.mailbox_id}/sync/pause"
    assert api.client().post(path).status_code == 401
    assert api.person(ours.org_id).post(path, headers={"origin": "https://evil.example"}).status_code == 403
    assert [row[:3] for row in rows(api.db, _TRAIL)] == [("mailboxes.sync", "refused", "foreign_origin")]


def test_refusals_are_bounded_per_minute_and_what_was_left_out_is_told(database_url: str) -> None:
    clock = FakeClock()
    with serving(settings_for(database_url), clock=clock) as api:
        ours = house(api.db, "ours")
        viewer = api.person(ours.org_id, "viewer")
        for _ in range(PER_ACTOR + 5):
            assert viewer.post(f"/mailboxes/{ours.mailbox_id}/sync/pause").status_code == 403
        assert rows(api.db, "SELECT count(*) FROM audit_events") == [(PER_ACTOR,)]
        clock.at = clock.at.replace(minute=clock.at.minute + 2)
        assert viewer.post(f"/mailboxes/{ours.mailbox_id}/sync/pause").status_code == 403
        assert rows(api.db, "SELECT count(*) FROM audit_events") == [(PER_ACTOR + 1,)]
        assert details(api)[-1]["left_out"] == 5


def test_who_signs_in_is_in_the_trail_of_their_organization(api: Api) -> None:
    client = api.client()
    token = client.get("/auth/csrf").json()["csrf_token"]
    asked = {"email": "ann@ours.example", "organization_name": "ours"}
    signed_in = client.post("/auth/dev/login", json=asked, headers={"x-csrf-token": token})
    assert signed_in.status_code == 200
    found = rows(api.db, "SELECT org_id, actor_id, action, outcome FROM audit_events")
    person, org = signed_in.json()["user"]["id"], signed_in.json()["organization"]["id"]
    assert [(str(org_id), actor, action, outcome) for org_id, actor, action, outcome in found] == [
        (org, person, "session.begin", "done")
    ]


def test_every_change_of_the_access_table_leaves_exactly_one_row(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of these are refused, for there is nothing of that name: whatever it is, one row tells of it."""
    monkeypatch.setattr(audited, "PER_ACTOR", 10_000)
    monkeypatch.setattr(audited, "PER_ORGANIZATION", 10_000)
    limits = Limits(auth_per_minute=10_000, write_per_minute=10_000)
    with serving(settings_for(database_url), limits=limits) as api:
        ours, found = house(api.db, "ours"), {}
        changes = [row for row in ROWS if row.is_change and not row.is_public and row.switch is None]
        person = api.person(ours.org_id)
        for row in sorted(changes, key=lambda row: row.path.startswith("/auth/")):
            # These end the session.
            person = api.person(ours.org_id) if row.path.startswith("/auth/") else person
            answer = person.ask(row.method, re.sub(r"\{[^}]+\}", "1", row.path), json={})
            (count,) = rows(api.db, "SELECT count(*) FROM audit_events")[0]
            found[row.method, row.path] = (answer.status_code < 500, count - sum(one for _, one in found.values()))
        assert {name: told for name, told in found.items() if told != (True, 1)} == {}
        assert len(found) > 30


def test_every_change_has_a_name_in_the_trail() -> None:
    assert [
        row.path for row in ROWS if row.is_change and not row.is_public and not (row.action or row.permission)
    ] == []


def append(api: Api, ours: House, count: int, **more: Any) -> None:
    entries = [
        Entry(
            ours.org_id,
            f"ticket.{'update' if n % 2 else 'note'}",
            f"p{n % 3}",
            target_id=f"t{n}",
            details={"n": n},
            **more,
        )
        for n in range(count)
    ]
    with api.db.begin() as connection:
        auditing.append_all(connection, ours.org_id, entries)


def test_the_trail_is_read_in_pages_with_filters(api: Api, ours: House, theirs: House) -> None:
    append(api, ours, 25)
    append(api, theirs, 3, actor_role="canary")
    admin = api.person(ours.org_id)
    seen, cursor = [], None
    while True:
        page = admin.get("/audit", params={"limit": 10, **({"cursor": cursor} if cursor else {})})
        assert page.status_code == 200
        assert "canary" not in page.text
        seen += [one["number"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(25, 0, -1))

    def numbers(**filters: object) -> list[int]:
        return [one["number"] for one in admin.get("/audit", params=filters).json()["items"]]

    assert numbers(action="ticket.note", actor="p0") == [25, 19, 13, 7, 1]
    assert numbers(action="ticket.", limit=2) == [25, 24]
    assert numbers(target="t3") == [4]
    assert numbers(outcome="refused") == []
    assert numbers(since="2020-01-01T00:00:00Z", until="2020-02-01T00:00:00Z") == []
    assert len(numbers(since="2020-01-01T00:00:00Z")) == 25
    foreign = admin.get("/audit", params={"limit": 10}).json()["next_cursor"]
    assert admin.get("/audit", params={"cursor": foreign, "actor": "p1"}).status_code == 422
    assert admin.get("/audit", params={"since": "2020-01-01T00:00:00"}).status_code == 422
    assert api.person(ours.org_id, "agent").get("/audit").status_code == 403


def test_one_row_tells_what_was_done_without_the_salt(api: Api, ours: House) -> None:
    append(api, ours, 1)
    (one,) = api.person(ours.org_id).get("/audit").json()["items"]
    assert (one["action"], one["actor_id"], one["details"], one["is_erased"]) == ("ticket.note", "p0", {"n": 0}, False)


def test_a_walk_that_finds_few_ends_and_goes_on(api: Api, ours: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.queries.audit_trail.WALK", 10)
    append(api, ours, 25)
    admin = api.person(ours.org_id)
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = admin.get("/audit", params={"actor": "p1", **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["number"] for one in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert seen == [23, 20, 17, 14, 11, 8, 5, 2]
    assert pages == 3


def test_the_trail_is_checked_page_by_page_and_tampering_is_told(api: Api, ours: House) -> None:
    append(api, ours, 25)
    admin = api.person(ours.org_id)
    first = admin.get("/audit/verify", params={"limit": 20}).json()
    assert (first["is_whole"], first["rows"], first["next"], first["newest"]) == (True, 20, 20, 25)
    last = admin.get("/audit/verify", params={"limit": 20, "after": 20}).json()
    assert (last["is_whole"], last["rows"], last["next"]) == (True, 5, None)
    with api.db.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE audit_events SET actor_id = 'nobody' WHERE number = 3"))
        connection.execute(text("DELETE FROM audit_events WHERE number = 24"))
    found = admin.get("/audit/verify").json()
    assert not found["is_whole"]
    assert {(one["number"], one["wrong"]) for one in found["problems"]} == {
        (3, "changed"), (24, "missing"), (25, "missing"),
    }  # fmt: skip


def test_a_command_writes_its_own_row_and_no_second_one(api: Api, ours: House) -> None:
    with api.db.begin() as connection:
        ticket_id = factories.ticket(connection, ours.org_id)
    agent = api.person(ours.org_id, "agent")
    assert agent.ask("PATCH", f"/tickets/{ticket_id}", json={"status": "open"}).status_code == 200
    assert (
        agent.ask("PATCH", f"/tickets/{ticket_id}", json={"status": "closed"}, headers={"If-Match": "0"}).status_code
        == 409
    )
    assert rows(api.db, _TRAIL) == [
        ("ticket.update", "done", None, "ticket", str(ticket_id)),
        ("ticket.update", "refused", "STALE_VERSION", "ticket", str(ticket_id)),
    ]
    assert details(api)[0]["changes"]["status"] == {"before": TicketStatus.NEW, "after": TicketStatus.OPEN}
    assert details(api)[1]["version"] == 1
