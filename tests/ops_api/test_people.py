"""Administration over HTTP: people, roles, accounts and sites; nobody gives more than they hold, somebody is left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from ops_api import password_door
from pipeline.runtime.notices import opened
from pipeline.runtime.secrets import Secrets
from tests.ops_api.password_world import CHEAP_PASSWORDS, bearer, log_in, with_password
from tests.ops_api.serving import SECRET, Api, House, Person, rows
from tests.worker_process import until

_BEN = {"email": "Ben@Example.org", "full_name": "Ben Bolt", "role": "agent", "skills": ["Welding", "welding ", "hvac"]}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at next to no cost."""
    monkeypatch.setattr(password_door, "Passwords", lambda: CHEAP_PASSWORDS)


@pytest.fixture
def admin(api: Api, ours: House) -> Person:
    """The administrator Ann."""
    return api.person(ours.org_id)


def made(person: Person, path: str, **body: Any) -> dict[str, Any]:
    answer = person.post(path, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def patch(person: Person, path: str, **body: Any) -> httpx.Response:
    return person.ask("PATCH", path, json=body)


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]


def test_an_invited_person_is_told_and_begins_with_a_password_of_their_own(api: Api, admin: Person) -> None:
    ben = made(admin, "/people", **_BEN)
    assert (ben["email"], ben["role"], ben["reach"], ben["skills"]) == (
        "ben@example.org", "agent", "organization", ["hvac", "welding"],
    )  # fmt: skip
    assert (ben["has_password"], ben["is_active"]) == (False, True)
    ((notice_id, kind, sealed),) = rows(api.db, "SELECT id, kind, sealed FROM notices")
    words = opened(Secrets(SECRET), notice_id, bytes(sealed))
    assert (kind, words.subject) == ("invitation", "You were invited to ours")
    token = words.body.split("code:\n")[1].split()[0]
    body = {"token": token, "newPassword": "velvet comet harbour 88"}
    assert api.client().post("/api/v1/auth/reset-password", json=body).status_code == 204
    answer = log_in(api.client(), "ben@example.org", "velvet comet harbour 88")
    me = api.client().get("/me", headers=bearer(answer)).json()
    assert (me["user"]["id"], me["role"]) == (ben["id"], "agent")
    assert admin.post("/people", json=_BEN).status_code == 409
    assert rows(api.db, "SELECT count(*) FROM people WHERE email = 'ben@example.org'") == [(1,)]


def test_people_are_listed_in_pages_searched_and_found(api: Api, admin: Person, theirs: House) -> None:
    api.person(theirs.org_id, "agent", "zed-canary@example.org")
    for number in range(5):
        made(admin, "/people", email=f"p{number}@example.org", full_name=f"100%_{number}", is_told=False)
    seen: list[str] = []
    cursor = None
    while True:
        page = admin.get("/people", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["email"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["ann@example.org", *(f"p{number}@example.org" for number in range(5))]

    def found(**params: Any) -> list[str]:
        return [one["email"] for one in admin.get("/people", params=params).json()["items"]]

    assert found(q="%_3") == ["p3@example.org"]
    assert found(q="%3%") == []
    assert found(role="admin") == ["ann@example.org"]
    assert found(is_active=False) == []
    assert admin.get("/people", params={"cursor": "rubbish"}).status_code == 422
    assert rows(api.db, "SELECT count(*) FROM notices") == [(0,)]


def test_a_change_of_rights_ends_sessions_and_tokens_here_and_nowhere_else(
    api: Api, ours: House, theirs: House, admin: Person
) -> None:
    ben = with_password(api.db, ours.org_id, "ben@example.org", "agent")
    with_password(api.db, theirs.org_id, "ben@example.org", "agent")
    elsewhere = api.signed_in(theirs.org_id, ben)
    account = made(admin, "/accounts", name="Big Wheel")
    site = made(admin, "/sites", account_id=account["id"], name="North", timezone="Europe/Berlin", country="de")
    for changes, is_out in (
        ({"skills": ["hvac"], "capacity": 3}, False),
        ({"role": "viewer"}, True),
        ({"reach": "site", "site_ids": [site["id"]]}, True),
        ({"reach": "account", "account_ids": [account["id"]]}, True),
        ({"is_active": False}, True),
    ):
        session = api.signed_in(ours.org_id, ben)
        tokens = log_in(api.client(), "ben@example.org", organizationId=str(ours.org_id))
        answer = patch(admin, f"/people/{ben}", **changes)
        assert answer.status_code == 200, answer.text
        assert {name: answer.json()[name] for name in changes} == changes
        expected = 401 if is_out else 200
        assert session.get("/me").status_code == expected
        assert api.client().get("/me", headers=bearer(tokens)).status_code == expected
    assert answer.json()["site_ids"] == []
    assert elsewhere.get("/me").status_code == 200
    assert log_in(api.client(), "ben@example.org", organizationId=str(ours.org_id)).status_code == 401
    assert log_in(api.client(), "ben@example.org").status_code == 200


def test_whoever_administers_people_gives_no_more_than_they_hold(api: Api, ours: House, admin: Person) -> None:
    held = ["people.read", "people.change", "session.own", "tickets.read", "queues.read", "dead_letters.read"]
    made(admin, "/roles", code="clerk", name="Clerk", permissions=held)
    made(admin, "/people", email="cleo@example.org", role="clerk", is_told=False)
    ((cleo,),) = rows(api.db, "SELECT id FROM people WHERE email = 'cleo@example.org'")
    clerk = api.signed_in(ours.org_id, cleo)
    assert admin.person_id is not None
    refused = [
        clerk.post("/people", json={"email": "eve@example.org", "role": "admin"}),
        clerk.post("/people", json={"email": "eve@example.org", "role": "agent"}),
        patch(clerk, f"/people/{cleo}", role="admin"),
        patch(clerk, f"/people/{admin.person_id}", role="viewer"),
        patch(clerk, f"/people/{admin.person_id}", is_active=False),
        patch(clerk, f"/people/{admin.person_id}", phone="+4930999999"),
        clerk.post("/roles", json={"code": "evil", "name": "Evil", "permissions": ["people.erase"]}),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert "permissions that you do not hold" in refused[0].json()["detail"]
    assert rows(api.db, "SELECT count(*) FROM people WHERE email = 'eve@example.org'") == [(0,)]
    assert clerk.post("/people", json={"email": "vic@example.org", "role": "viewer"}).status_code == 201
    # Their own role cannot grow either, nor can one that holds more be touched.
    (own,) = [one for one in clerk.get("/roles").json()["items"] if one["code"] == "clerk"]
    assert patch(clerk, f"/roles/{own['id']}", permissions=["people.change", "people.erase"]).status_code == 403


def test_the_last_who_may_change_people_stays(api: Api, ours: House, admin: Person) -> None:
    me = f"/people/{admin.person_id}"
    for changes in ({"role": "viewer"}, {"is_active": False}, {"reach": "own"}):
        status, why = said(patch(admin, me, **changes))
        assert (status, "last person who may change people" in why) == (409, True)
    made(admin, "/people", email="bea@example.org", role="admin", is_told=False)
    assert patch(admin, me, role="viewer").status_code == 200


def test_two_administrators_cannot_remove_each_other_at_once(api: Api, ours: House) -> None:
    pairs = [api.person(ours.org_id, "admin", f"{name}@example.org") for name in ("ann", "bob")]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(patch, pairs[one], f"/people/{pairs[1 - one].person_id}", role="viewer") for one in (0, 1)]
        found = sorted(one.result().status_code for one in asked)
    # The second is out (401, 403), or is told that nobody would be left.
    assert found[0] == 200
    assert found[1] in {401, 403, 409}
    statement = "SELECT count(*) FROM memberships m JOIN roles r ON r.id = m.role_id WHERE r.code = 'admin'"
    assert rows(api.db, statement) == [(1,)]


def test_what_does_not_belong_here_is_refused_in_words(api: Api, ours: House, theirs: House, admin: Person) -> None:
    foreign = api.person(theirs.org_id, "admin", "zoe@example.org")
    account = made(foreign, "/accounts", name="Theirs")
    site = made(foreign, "/sites", account_id=account["id"], name="South")
    role = made(foreign, "/roles", code="own", name="Own", permissions=[])
    ben = made(admin, "/people", **_BEN)
    path = f"/people/{ben['id']}"
    for status, answer in (
        (404, patch(admin, f"/people/{foreign.person_id}", skills=["x"])),
        (404, admin.get(f"/people/{foreign.person_id}")),
        (404, patch(admin, f"/accounts/{account['id']}", name="Mine")),
        (404, patch(admin, f"/sites/{site['id']}", name="Mine")),
        (404, patch(admin, f"/roles/{role['id']}", name="Mine")),
        (404, admin.ask("DELETE", f"/roles/{role['id']}")),
        (422, patch(admin, path, role=role["id"])),
        (422, patch(admin, path, role="own")),
        (422, patch(admin, path, reach="account", account_ids=[account["id"]])),
        (422, patch(admin, path, reach="site", site_ids=[site["id"]])),
        (422, patch(admin, path, reach="site")),
        (422, patch(admin, path, reach="team")),
        (422, patch(admin, path, reach="team", team_id=str(uuid4()))),
        (422, patch(admin, path, reports_to_id=str(foreign.person_id))),
        (422, patch(admin, path, reports_to_id=ben["id"])),
        (422, patch(admin, path, phone="12")),
        (422, admin.post("/people", json={"role": "viewer"})),
        (422, admin.post("/people", json={"email": "nonsense"})),
        (422, admin.post("/people", json={"email": "x@example.org", "role": "nope"})),
        (422, admin.post("/sites", json={"account_id": account["id"], "name": "x"})),
    ):
        assert answer.status_code == status, (answer.request.url, answer.request.content, answer.text)
    assert admin.get(path).json() == ben
    assert rows(api.db, "SELECT count(*) FROM people WHERE email = 'x@example.org'") == [(0,)]


def test_a_number_is_one_persons_and_a_name_is_ours_only_if_nobody_elses(
    api: Api, ours: House, theirs: House, admin: Person
) -> None:
    ben = made(admin, "/people", **_BEN, phone="+49 30 111111")
    eve = made(admin, "/people", email="eve@example.org", is_told=False)
    assert said(patch(admin, f"/people/{eve['id']}", phone="004930111111"))[0] == 409
    assert admin.post("/people", json={"email": "new@example.org", "phone": "+4930111111"}).status_code == 409
    tech = made(admin, "/people", phone="+4930222222", role="technician")
    assert (tech["email"], tech["phone"]) == (None, "+4930222222")
    assert patch(admin, f"/people/{tech['id']}", phone=None).status_code == 422
    # A number proves nothing: who wrote it first is let in nowhere else by it.
    zoe = api.person(theirs.org_id, "admin", "zoe@example.org")
    for number in ("+4930222222", "+4930111111"):
        assert said(zoe.post("/people", json={"phone": number, "role": "admin"}))[0] == 409
    assert patch(admin, f"/people/{ben['id']}", full_name="Benjamin", phone=None).json()["full_name"] == "Benjamin"
    foreign = api.person(theirs.org_id, "admin", "zoe@example.org")
    assert foreign.post("/people", json={**_BEN, "full_name": "Mallory"}).json()["full_name"] == "Benjamin"
    assert said(patch(foreign, f"/people/{ben['id']}", full_name="Mallory"))[0] == 409
    assert said(patch(admin, f"/people/{ben['id']}", phone="+4930333333"))[0] == 409


def test_two_organizations_that_add_one_person_at_once_are_told_in_words(
    api: Api, theirs: House, admin: Person
) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with ThreadPoolExecutor(1) as pool:
        with api.db.begin() as connection:
            connection.execute(text("INSERT INTO people (email) VALUES ('ben@example.org')"))
            asked = pool.submit(admin.post, "/people", json=_BEN)
            until(lambda: rows(api.db, waiting) != [(0,)], "the invitation waits")
        answer = asked.result()
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert admin.post("/people", json=_BEN).status_code == 201


def test_own_roles_work_at_once_and_built_in_ones_stay(api: Api, ours: House, admin: Person) -> None:
    role = made(admin, "/roles", code="scanner", name="Scanner", permissions=["session.own"])
    assert admin.post("/roles", json={"code": "scanner", "name": "x", "permissions": []}).status_code == 409
    for taken in ("viewer", "tech"):  # a code and an alias of built-in roles
        assert admin.post("/roles", json={"code": taken, "name": "x", "permissions": []}).status_code == 409
    eve = made(admin, "/people", email="eve@example.org", role="scanner", is_told=False)
    session = api.signed_in(ours.org_id, UUID(eve["id"]))
    assert session.get("/mailboxes").status_code == 403
    changed = patch(admin, f"/roles/{role['id']}", permissions=["session.own", "mailboxes.read"], name="Reader").json()
    assert (changed["name"], changed["permissions"], changed["members"]) == (
        "Reader", ["mailboxes.read", "session.own"], 1,
    )  # fmt: skip
    assert session.get("/mailboxes").status_code == 200
    assert admin.ask("DELETE", f"/roles/{role['id']}").status_code == 409
    patch(admin, f"/people/{eve['id']}", role="viewer")
    token = made(admin, "/api-tokens", name="cron", role="scanner")
    assert admin.ask("DELETE", f"/roles/{role['id']}").status_code == 409
    # A token that was taken back keeps no role.
    assert admin.ask("DELETE", f"/api-tokens/{token['id']}").status_code == 204
    assert admin.ask("DELETE", f"/roles/{role['id']}").status_code == 204
    (viewer,) = [one for one in admin.get("/roles").json()["items"] if one["code"] == "viewer"]
    assert viewer["is_built_in"]
    assert patch(admin, f"/roles/{viewer['id']}", permissions=["people.erase"]).status_code == 409
    assert admin.ask("DELETE", f"/roles/{viewer['id']}").status_code == 409


def test_accounts_and_sites_are_kept_listed_and_seen_within_reach(api: Api, ours: House, admin: Person) -> None:
    accounts = [made(admin, "/accounts", name=name) for name in ("Alpha", "Beta")]
    sites = [
        made(admin, "/sites", account_id=account["id"], name=name, city="Ulm")
        for account in accounts
        for name in ("North", "South")
    ]
    assert (sites[0]["country"], sites[0]["timezone"], sites[0]["account"]) == ("US", "UTC", "Alpha")
    assert admin.post("/accounts", json={"name": "Alpha"}).status_code == 409
    assert admin.post("/sites", json={"account_id": accounts[0]["id"], "name": "North"}).status_code == 409
    assert patch(admin, f"/accounts/{accounts[0]['id']}", name="Alfa").json()["name"] == "Alfa"
    moved = patch(admin, f"/sites/{sites[0]['id']}", timezone="Europe/Rome", country="it", region="Lazio").json()
    assert (moved["timezone"], moved["country"], moved["region"], moved["name"]) == (
        "Europe/Rome",
        "IT",
        "Lazio",
        "North",
    )
    assert patch(admin, f"/sites/{sites[0]['id']}", region=None).json()["region"] is None
    assert patch(admin, f"/sites/{sites[0]['id']}", timezone="Mars/Base").status_code == 422
    page = admin.get("/sites", params={"limit": 3}).json()
    rest = admin.get("/sites", params={"limit": 3, "cursor": page["next_cursor"]}).json()
    assert [one["id"] for one in page["items"] + rest["items"]] == [one["id"] for one in sites]
    assert len(admin.get("/sites", params={"account_id": accounts[1]["id"]}).json()["items"]) == 2
    assert [one["sites"] for one in admin.get("/accounts").json()["items"]] == [2, 2]
    _narrowed(api, ours, admin, accounts, sites)


def _narrowed(api: Api, ours: House, admin: Person, accounts: list[Any], sites: list[Any]) -> None:
    made(admin, "/roles", code="reader", name="Reader", permissions=["session.own", "people.read"])
    eve = made(
        admin, "/people", email="eve@example.org", role="reader", is_told=False, reach="site",
        site_ids=[sites[2]["id"]], reports_to_id=str(admin.person_id),
    )  # fmt: skip
    session = api.signed_in(ours.org_id, UUID(eve["id"]))
    assert [one["id"] for one in session.get("/sites").json()["items"]] == [sites[2]["id"]]
    assert session.get("/people").status_code == 403
    me = session.get("/api/v1/me").json()
    assert (me["gameZoneScope"], me["gameZone"]["id"]) == ("own", sites[2]["id"])
    assert me["reportsTo"]["id"] == str(admin.person_id)
    patch(admin, f"/people/{eve['id']}", reach="account", account_ids=[accounts[1]["id"]])
    session = api.signed_in(ours.org_id, UUID(eve["id"]))
    assert [one["name"] for one in session.get("/accounts").json()["items"]] == ["Beta"]
    assert [one["id"] for one in session.get("/sites").json()["items"]] == [sites[2]["id"], sites[3]["id"]]
    assert session.get("/sites", params={"account_id": accounts[0]["id"]}).json()["items"] == []
    # One's own, or a team's, are tickets and no places.
    patch(admin, f"/people/{eve['id']}", reach="own")
    session = api.signed_in(ours.org_id, UUID(eve["id"]))
    assert [session.get(path).json()["items"] for path in ("/accounts", "/sites")] == [[], []]


def test_every_change_leaves_its_row_in_the_trail(api: Api, ours: House, admin: Person) -> None:
    ben = made(admin, "/people", **_BEN)
    patch(admin, f"/people/{ben['id']}", role="nope")
    patch(admin, f"/people/{ben['id']}", role="viewer")
    found = rows(api.db, "SELECT action, outcome, code, target_id FROM audit_events ORDER BY number")
    assert found == [
        ("people.change", "done", None, None),
        ("people.change", "refused", "invalid", ben["id"]),
        ("people.change", "done", None, ben["id"]),
    ]
