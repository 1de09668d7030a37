"""Every route is asked by everybody who must not have what it holds, and by its owner (OWASP API1, API5; issue 6).

The routes are the rows of the access table: a route without a row cannot be made, and a row with a name in its path
that nobody knows how to make fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from models.permissions import Permission
from ops_api import password_door
from ops_api.access import Access, Scope
from ops_api.access_rows import ROWS
from ops_api.limits import Limits
from tests.ops_api import people
from tests.ops_api.examples import body_of
from tests.ops_api.objects import CANARY, MAKERS, Objects, elsewhere
from tests.ops_api.password_world import CHEAP_PASSWORDS
from tests.ops_api.serving import Api, House, Person, change, house, serving, settings_for

_PARAMETER = re.compile(r"{(\w+)}")
#: Where the schema alone does not tell what is valid: an owner's body, so that a stranger's refusal is not about it.
_BODIES: dict[tuple[str, str], object] = {
    ("POST", "/tickets/{ticket_id}/reply"): {
        "send_identity_id": str(UUID(int=1)),
        "to_emails": ["bo@example.org"],
        "subject": "Hello",
        "body_text": "Hello",
    },
    ("PATCH", "/tickets/{ticket_id}"): {"status": "open"},
    ("POST", "/tickets/{ticket_id}/evidence"): {"kind": "NOTE", "note": "ten cycles"},
    ("POST", "/tickets/{ticket_id}/evidence/waive"): {"sha256": "ab" * 32, "reason": "lost"},
    ("POST", "/tickets/{ticket_id}/tags"): {"add": ["seen"]},
    ("PUT", "/people/{person_id}/shifts"): {"shifts": []},
    ("POST", "/people/{person_id}/leaves"): {
        "begins_at": "2026-03-01T12:00:00Z",
        "ends_at": "2026-03-02T12:00:00Z",
    },
    ("PUT", "/billing/rates"): {"currency": "USD", "labor_hour_cents": 1},
    ("PUT", "/billing/series"): {"prefix": "R-"},
    ("POST", "/api/v1/work-orders"): {
        "gameZoneId": str(UUID(int=1)),
        "sourceChecklist": {"name": "x"},
        "aItem": {"id": "1", "text": "x"},
    },
    ("POST", "/api/v1/devices/register"): {"platform": "android", "fcmToken": "phone"},
}
_BODIES |= {
    ("PATCH", "/assets/{asset_id}"): {"name": "seen"},
    ("POST", "/assets/patterns"): {"pattern": r"pole (\d+)", "tag": r"P-\1"},
    ("PATCH", "/assets/patterns/{pattern_id}"): {"is_enabled": False},
}
_BODIES |= {("POST", "/triage/policies"): {"policy": {"quiet_days": 9}, "reason": "quieter"}}
_HOUR = {"start": "2030-01-01T10:00:00Z", "end": "2030-01-01T11:00:00Z"}
_SCHEDULE = "/tickets/{ticket_id}/schedule"
_BODIES |= {
    ("POST", f"{_SCHEDULE}/propose"): {"options": [_HOUR]},
    ("POST", f"{_SCHEDULE}/confirm"): _HOUR,
    ("POST", f"{_SCHEDULE}/move"): _HOUR,
    ("POST", f"{_SCHEDULE}/hold"): {"hold_reason": "CUSTOMER_PENDING", "confirmation_window": _HOUR},
}
_BODIES |= {
    ("PATCH", f"/api/v1/inventory/{one}/"): {"name": "x"}
    for one in ("items/{item_id}", "categories/{category_id}", "parts/{workshop_part_id}")
}
_QUERIES = {"/search": {"q": CANARY}, "/tickets": {"q": CANARY}, "/api/cases": {"mode": "certainty"}}
#: Lists that hold nothing of any site: those who reach a part of the organization work with all of it.
_SHARED = {"/queues", "/tickets/saved-views", "/dispatch/templates", "/dispatch/templates/{incident_type}"}
_REPAIR, _STOCK = "/api/v1/tickets/{repair_id}", "/api/v1/inventory"
#: One place that all of the organization work in (decision 45).
_SHARED |= {
    *("/api/v1/tickets/", f"{_REPAIR}/", f"{_REPAIR}/transitions/", f"{_REPAIR}/review-approve/"),
    *(f"{_REPAIR}/manual-metrics/", f"{_REPAIR}/assign/", f"{_REPAIR}/cancel/"),
    *(f"{_STOCK}/items/", f"{_STOCK}/items/{{item_id}}/"),
    *(f"{_STOCK}/categories/", f"{_STOCK}/categories/{{category_id}}/"),
    *(f"{_STOCK}/parts/", f"{_STOCK}/parts/{{workshop_part_id}}/"),
}
#: The same place: its technicians' names, and what they did.
_SHARED |= {"/api/v1/leaderboard/"}
#: What is not there for an owner, either: nobody works the new queue, and there is no address to write from.
_MISSING = {"/queues/{queue_id}/members/{person_id}", "/tickets/{ticket_id}/reply", "/tickets/{ticket_id}/invoice"}
#: Somebody else's own: not even an administrator's.
_MISSING |= {"/api/v1/devices/{device_id}", "/api/v1/me/notifications/{notification_id}/read"}
#: An upload is its owner's alone, and a photo is taken away by who took it.
_MISSING |= {"/api/v1/uploads/resumable/{upload_id}"}
_ANOTHERS = {"/api/v1/uploads/photos/{photo_id}"}
#: Here the owner must find it: what cannot be found by anybody would prove nothing of the others.
_TELLING = {"/search", "/tickets", "/people", "/accounts", "/queues", "/mailboxes", "/ops/jobs/dlq", "/api-tokens"}
_TELLING |= {"/api/cases", "/api/verification-tasks", "/triage/policies"}
_TELLING |= {"/api/v1/work-orders", "/api/v1/tickets/", "/api/v1/inventory/items/", "/api/v1/inventory/parts/"}
#: Named by a word that each organization has its own of, and not by an object.
_BY_WORD = {("PUT", "/dispatch/templates/{incident_type}"), ("DELETE", "/dispatch/templates/{incident_type}")}
#: Who has no organization's whole reach is answered with what they reach; the rest is not for them.
_NOT_THERE = {Scope.TICKET, Scope.OUTBOUND, Scope.DEVICE, Scope.NOTIFICATION, Scope.CASE}
_GENEROUS = Limits(
    auth_per_minute=10_000,
    read_per_minute=100_000,
    write_per_minute=100_000,
    search_per_minute=100_000,
    download_per_minute=100_000,
    stray_per_minute=100_000,
)


@dataclass(frozen=True)
class Asked:
    """One route with objects of its own, and those who ask."""

    row: Access
    path: str
    people: dict[str, Person]


def _rank(row: Access) -> int:
    """Readings first, and what takes something away last."""
    return {"GET": 0, "DELETE": 2}.get(row.method, 1)


def _order() -> list[Access]:
    return sorted(ROWS, key=_rank)


def _names(row: Access) -> list[str]:
    return _PARAMETER.findall(row.path)


def _expected(row: Access, who: str) -> set[int] | None:
    """Return the statuses that an answer may have; None: any but a failure, for what it holds is looked at."""
    if row.is_public:
        return None
    if who in {"no login", "revoked"}:
        # Where the development fallback serves, contract 000 says which header is missing.
        return {400, 401} if row.tools else {401}
    if who == "no role":
        return {403}
    if row.scope is Scope.SESSION:
        return None
    if who == "other organization":
        return {404} if _names(row) and (row.method, row.path) not in _BY_WORD else None
    if not row.is_reach_kept:
        return {403}
    return {404} if row.scope in _NOT_THERE and _names(row) else None


@pytest.fixture
def walked(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    # Passwords cost next to nothing, and the answers that always take as long take no time.
    monkeypatch.setattr(password_door, "Passwords", lambda: CHEAP_PASSWORDS)
    monkeypatch.setattr(password_door, "ASK_TAKES", timedelta(0))
    with serving(settings_for(database_url), limits=_GENEROUS) as running:
        yield running


@pytest.fixture
def houses(walked: Api) -> tuple[House, House]:
    return house(walked.db, "ours"), house(walked.db, "theirs")


def test_the_makers_know_every_name_of_every_path() -> None:
    assert {name for row in ROWS for name in _names(row)} <= set(MAKERS)


def test_nobody_has_of_any_route_what_is_not_theirs(
    walked: Api, houses: tuple[House, House], capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = houses
    everybody = _everybody(walked, ours, theirs)
    described = walked.client().get("/openapi.json").json()
    with walked.db.begin() as connection:
        objects = Objects(connection, ours.org_id, ours.mailbox_id)
        paths = {row: objects.fill(row.path, _names(row)) for row in _order()}
    wrong, pairs = [], 0
    for row in _order():
        body = _BODIES.get((row.method, row.path), body_of(described, row.method, row.path))
        for asks in everybody.items():
            pairs += 1
            wrong += _ask(row, paths[row], body, asks, objects.ids)
    owner = _owner(walked, ours)
    for row in _order():
        if row.scope is not Scope.SESSION:
            pairs += 1
            body = _BODIES.get((row.method, row.path), body_of(described, row.method, row.path))
            wrong += _own(row, paths[row], body, owner)
    with capsys.disabled():
        print(f" {len(ROWS)} routes, {pairs} pairs of route and person, {len(wrong)} wrong ", end="")
    assert not wrong, "\n".join(wrong)


def _everybody(api: Api, ours: House, theirs: House) -> dict[str, Person]:
    with api.db.begin() as connection:
        narrowed = elsewhere(connection, ours.org_id, "admin")
    change(api.db, "INSERT INTO roles (org_id, code, name) VALUES (:org, 'nothing', 'Nothing')", org=ours.org_id)
    revoked = api.person(ours.org_id, "admin", "revoked@ours.example")
    assert revoked.get("/me").status_code == 200
    change(
        api.db,
        "UPDATE memberships SET is_active = false WHERE person_id = :person",
        person=revoked.person_id,
    )
    return {
        "other site": api.signed_in(ours.org_id, narrowed),
        "other organization": api.person(theirs.org_id, "admin", "bo@theirs.example"),
        "no role": api.person(ours.org_id, "nothing", "nothing@ours.example"),
        "revoked": revoked,
        "no login": Person(api.client()),
    }


def _owner(api: Api, ours: House) -> Person:
    with api.db.begin() as connection:
        person_id = people.member(connection, ours.org_id, "admin", "owner@ours.example")
    return api.signed_in(ours.org_id, person_id)


def _send(row: Access, path: str, body: object, person: Person) -> tuple[int, str]:
    options: dict[str, object] = {"params": _QUERIES.get(row.path)}
    if row.method != "GET":
        options["json"] = body
        # Commands of contract 000 are refused without one.
        headers = {"Idempotency-Key": str(uuid4())}
        # Those of contract 004 are refused without a version; what was made here has the first.
        options["headers"] = headers | ({"If-Match": '"0"'} if row.needs_version else {})
    answer = person.ask(row.method, path, follow_redirects=False, **options)
    return answer.status_code, answer.text


def _ask(row: Access, path: str, body: object, asks: tuple[str, Person], ids: set[str]) -> list[str]:
    """Return what is wrong with an answer; a path that was sent may come back in it."""
    who, person = asks
    if row.path in {"/auth/logout", "/auth/dev/login"} and who in {"other site", "other organization"}:
        return []  # their sessions are still needed
    status, said = _send(row, path, body, person)
    found, expected = [], _expected(row, who)
    if expected is not None and status not in expected:
        found.append(f"{row.method} {row.path} as {who}: {status} instead of {sorted(expected)}: {said[:200]}")
    if status >= 500 and status not in {502, 503}:
        found.append(f"{row.method} {row.path} as {who}: {status} {said[:200]}")
    if row.path == "/metrics" or (row.path in _SHARED and who == "other site"):
        return found  # figures of the whole installation name mailboxes by id
    leaked = {one for one in ids if one in said and one not in path}
    if status < 400 and (CANARY in said.replace(f'"q":"{CANARY}"', "") or leaked):
        found.append(f"{row.method} {row.path} as {who}: leaks {sorted(leaked)[:3]} {said[:300]}")
    return found


def _own(row: Access, path: str, body: object, owner: Person) -> list[str]:
    status, said = _send(row, path, body, owner)
    if row.method == "GET" and row.path in _TELLING and CANARY not in said:
        return [f"{row.path} as owner does not find {CANARY}: {status} {said[:200]}"]
    is_missing = (status == 404 and row.path in _MISSING) or (status == 403 and row.path in _ANOTHERS)
    if row.is_public or is_missing or status not in {401, 403, 404, 405, 429, 500}:
        return []
    return [f"{row.method} {row.path} as owner: {status} {said[:200]}"]


def test_the_permission_of_every_row_is_one_that_roles_can_have() -> None:
    assert {row.permission for row in ROWS if row.permission} <= set(Permission)
