"""The access table: complete, and obeyed by every route."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts

from models.permissions import BUILT_IN, Permission
from ops_api.access import Access, Scope
from ops_api.access_rows import ROWS, TABLE
from ops_api.app import make_app
from ops_api.guard import GuardedRoute
from ops_api.limits import Limits
from tests.ops_api.serving import Api, House, Person, rows, serving, settings_for

_PRIVATE = [row for row in ROWS if not row.is_public]
_CHANGES = [row for row in ROWS if row.needs_csrf]
_HELD = {role.code: role.permissions for role in BUILT_IN}
_BODIES = {
    "/ops/jobs/{job_id}/discard": {"reason": "no use"},
    "/ops/jobs/{job_id}/args": {"args": {}, "reason": "wrong topic"},
    "/ops/jobs/dlq/letters/{letter_id}/restore": {"reason": "it was a customer"},
    "/ops/jobs/dlq/bulks/{bulk_id}/cancel": {"reason": "rolled back"},
    "/ops/reprocessings": {"kind": "parse"},
    "/ops/quarantine/{quarantine_id}/release": {"reason": "a person wrote it"},
}


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    """Serve with limits that all routes together do not reach."""
    many = Limits(read_per_minute=10_000, write_per_minute=10_000, download_per_minute=10_000)
    with serving(settings_for(database_url), limits=many) as running:
        yield running


def _path(row: Access, house: House) -> str:
    return row.path.format(
        mailbox_id=house.mailbox_id,
        job_id=house.job_id,
        letter_id=house.letter_id,
        bulk_id=house.bulk_id,
        quarantine_id=house.quarantine_id,
        occurrence_id=house.occurrence_id,
        reprocessing_id=house.reprocessing_id,
        # Their own tests know tickets and messages of both organizations.
        ticket_id=UUID(int=0),
        outbound_id=UUID(int=0),
        message_id=1,
        attachment_id=1,
        evidence_id=UUID(int=0),
        incident_type="NONE",
        view_id=UUID(int=0),
        queue_id=UUID(int=0),
        regrouping_id=1,
        allowlist_id=UUID(int=0),
        rule_id=UUID(int=0),
        leave_id=UUID(int=0),
        policy_id=UUID(int=0),
        calendar_id=UUID(int=0),
        token_id=UUID(int=0),
        person_id=UUID(int=0),
        role_id=UUID(int=0),
        account_id=UUID(int=0),
        site_id=UUID(int=0),
        day="2026-12-25",
        rate_id=UUID(int=0),
        part_id=UUID(int=0),
        time_id=UUID(int=0),
        invoice_id=UUID(int=0),
        plan_id=UUID(int=0),
        order_id=UUID(int=0),
        checklist_id=UUID(int=0),
        name="hv",
        device_id=UUID(int=0),
        notification_id=UUID(int=0),
        photo_id=UUID(int=0),
        upload_id=UUID(int=0),
        repair_id=UUID(int=0),
        item_id=UUID(int=0),
        category_id=UUID(int=0),
        workshop_part_id=UUID(int=0),
        case_id=UUID(int=0),
        asset_id=UUID(int=0),
        pattern_id=UUID(int=0),
        policy_version=1,
    )


def _ask(person: Person, row: Access, house: House, **options: object) -> int:
    body = {} if row.method == "GET" else {"json": _BODIES.get(row.path)}
    return person.ask(row.method, _path(row, house), **body, **options).status_code


def _told(methods: set[str]) -> set[str]:
    """Return the methods without the HEAD that comes with GET by itself."""
    return methods - {"HEAD"} if "GET" in methods else methods


def test_every_route_of_the_app_has_a_row_and_every_row_has_a_route() -> None:
    app = make_app(settings_for("postgresql://nowhere.invalid/none"))
    found = {
        (method, context.path)
        for context in iter_route_contexts(app.routes)
        for method in _told(set(context.methods or ()))
    }
    assert found == set(TABLE)
    assert len(TABLE) == len(ROWS)


def test_a_route_without_a_row_cannot_be_made() -> None:
    with pytest.raises(KeyError):
        GuardedRoute("/secrets", lambda: None, methods=["GET"])


def test_every_change_demands_a_token_and_no_reading_does() -> None:
    proved_by_their_own_token = {"/push/gmail"} | {
        row.path for row in ROWS if row.path.startswith(("/api/v1/auth/", "/visit/"))
    }
    assert {row.path for row in ROWS if row.method != "GET"} - proved_by_their_own_token == {
        row.path for row in _CHANGES
    }


def test_admins_may_do_everything_and_others_no_operations() -> None:
    assert _HELD["admin"] == frozenset(Permission)
    assert not {Permission.MAILBOXES_SYNC, Permission.DEAD_LETTERS_RESOLVE} & (_HELD["agent"] | _HELD["viewer"])


@pytest.mark.parametrize("role", ["agent", "viewer"])
def test_a_role_without_the_permission_gets_403(api: Api, ours: House, role: str) -> None:
    person = api.person(ours.org_id, role)
    refused = [row for row in _PRIVATE if row.permission not in _HELD[role]]
    assert {row.path: _ask(person, row, ours) for row in refused} == {row.path: 403 for row in refused}
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",)]


def test_a_change_without_its_token_gets_403_and_changes_nothing(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    person.http.headers.pop("x-csrf-token")
    found = {row.path: _ask(person, row, ours) for row in _CHANGES}
    assert found == {row.path: 403 for row in _CHANGES}
    assert rows(api.db, "SELECT stage, state FROM jobs") == [("parse", "dead")]


def test_a_change_from_another_site_gets_403(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    foreign = {"origin": "https://evil.example"}
    found = {row.path: _ask(person, row, ours, headers=foreign) for row in _CHANGES}
    assert found == {row.path: 403 for row in _CHANGES}
    assert rows(api.db, "SELECT stage, state FROM jobs") == [("parse", "dead")]


def test_lists_hold_nothing_of_another_organization(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id)
    lists = [row for row in _PRIVATE if row.scope is Scope.ORGANIZATION]
    said = "".join(person.get(row.path).text for row in lists)
    assert str(ours.mailbox_id) in said
    assert "help@ours.example" in said
    assert str(theirs.mailbox_id) not in said
    assert "theirs" not in said
