"""Ways in beside the cookie: tokens for scripts, and the headers of development; and how far any of them reaches."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from models.enums import Reach
from ops_api.sessions import SECURE_SESSION_COOKIE
from tests import factories
from tests.ops_api import people
from tests.ops_api.serving import Api, House, Person, change, rows, serving, settings_for


def _token(api: Api, person: Person, role: str = "viewer", **more: Any) -> Person:
    answer = person.post("/api-tokens", json={"name": uuid4().hex, "role": role, **more})
    assert answer.status_code == 201, answer.text
    return Person(api.client(headers={"authorization": f"Bearer {answer.json()['token']}"}))


def test_a_token_may_what_its_role_may_and_needs_no_csrf(api: Api, ours: House) -> None:
    script = _token(api, api.person(ours.org_id))
    me = script.get("/me").json()
    assert (me["role"], me["session"], me["user"]["email"]) == ("viewer", None, "ann@example.org")
    assert script.get("/ops/jobs/dlq").status_code == 200
    assert script.get("/mailboxes").status_code == 403
    admin = _token(api, api.person(ours.org_id), "admin")
    assert admin.post(f"/ops/jobs/{ours.job_id}/discard", json={"reason": "no use"}).status_code == 200


def test_a_token_never_may_more_than_its_maker_may_now(api: Api, ours: House) -> None:
    script = _token(api, api.person(ours.org_id), "admin")
    assert script.get("/mailboxes").status_code == 200
    change(api.db, "UPDATE memberships SET role_id = (SELECT id FROM roles WHERE code = 'viewer')")
    assert script.get("/mailboxes").status_code == 403
    assert set(script.get("/me").json()["permissions"]) == {
        *("dead_letters.read", "queues.read", "session.own", "tickets.read"),
    }
    change(api.db, "UPDATE memberships SET is_active = false")
    assert script.get("/me").status_code == 401


#: What ends it, and what mends that for the next.
_OVER = {
    "revoked": (
        "UPDATE api_tokens SET revoked_at = now()",
        "UPDATE api_tokens SET revoked_at = NULL",
    ),
    "expired": (
        "UPDATE api_tokens SET expires_at = now()",
        "UPDATE api_tokens SET expires_at = now() + interval '1 day'",
    ),
    "its maker disabled": ("UPDATE people SET is_active = false", "UPDATE people SET is_active = true"),
    "its role of elsewhere": (
        "UPDATE roles SET org_id = (SELECT id FROM organizations WHERE name = 'theirs') WHERE code = 'viewer'",
        "UPDATE roles SET org_id = NULL",
    ),
}


def test_a_token_that_is_over_is_told_so_at_once(api: Api, ours: House, theirs: House) -> None:
    script = _token(api, api.person(ours.org_id))
    for how, (ended, mended) in _OVER.items():
        change(api.db, ended)
        answer = script.get("/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_AUTH_TOKEN"), how
        change(api.db, mended)
        assert script.get("/me").status_code == 200, how
    assert theirs.org_id != ours.org_id


def test_the_database_holds_no_token_and_the_list_its_end_only(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    token = person.post("/api-tokens", json={"name": "cron", "role": "viewer"}).json()["token"]
    ((stored,),) = rows(api.db, "SELECT to_jsonb(a)::text FROM api_tokens a")
    listed = person.get("/api-tokens")
    assert token not in stored + listed.text
    assert listed.json()["items"][0]["hint"] == token[-4:]
    assert listed.json()["items"][0]["is_good"]


def test_nobody_makes_a_token_that_may_more_than_they(api: Api, ours: House) -> None:
    change(
        api.db,
        "INSERT INTO role_permissions (role_id, permission) SELECT id, 'tokens.change' FROM roles WHERE code = 'agent'",
    )
    agent = api.person(ours.org_id, "agent")
    answer = agent.post("/api-tokens", json={"name": "cron", "role": "admin"})
    assert answer.status_code == 403
    assert "mailboxes.read" in answer.json()["detail"]
    assert rows(api.db, "SELECT count(*) FROM api_tokens") == [(0,)]


def test_bad_wishes_for_tokens_are_told_what_is_wrong(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    good = {"name": "cron", "role": "viewer"}
    assert person.post("/api-tokens", json=good).status_code == 201
    assert person.post("/api-tokens", json=good).status_code == 409
    wrong = [{"role": "nobody"}, {"days": 0}, {"days": 367}, {"name": " "}, {"name": "a\x01"}]
    found = [person.post("/api-tokens", json=good | {"name": "other"} | one).status_code for one in wrong]
    assert found == [422] * 5


def test_a_token_makes_no_tokens_and_does_not_sign_out(api: Api, ours: House) -> None:
    script = _token(api, api.person(ours.org_id), "admin")
    assert script.post("/api-tokens", json={"name": "another", "role": "viewer"}).status_code == 403
    assert script.post("/auth/logout").status_code == 403


def test_a_revoked_token_stays_revoked_and_is_found_in_its_organization_only(
    api: Api, ours: House, theirs: House
) -> None:
    person, stranger = api.person(ours.org_id), api.person(theirs.org_id)
    made = person.post("/api-tokens", json={"name": "cron", "role": "viewer"}).json()
    path = f"/api-tokens/{made['id']}"
    assert stranger.ask("DELETE", path).status_code == 404
    assert [person.ask("DELETE", path).status_code for _ in range(2)] == [204, 204]
    assert rows(api.db, "SELECT revoked_by FROM api_tokens") == [("ann@example.org",)]


def test_pages_of_tokens_hold_each_once(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    names = [person.post("/api-tokens", json={"name": f"t{n}", "role": "viewer"}).json()["id"] for n in range(5)]
    seen, cursor = [], None
    while True:
        page = person.get("/api-tokens", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(names)


def test_a_header_that_proves_nothing_is_refused_whatever_cookie_came_along(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    for said in ("", "Bearer", "Basic YTpi", "Bearer fpt_", "Bearer a b", "Bearer é", "x"):
        answer = person.get("/me", headers={"authorization": said.encode()})
        assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_AUTH_TOKEN"), said


def _actor(role: str = "admin", **more: str) -> dict[str, str]:
    return {"x-actor-id": "actor-1", "x-actor-role": role, **more}


def test_headers_say_who_one_is_in_development(api: Api, ours: House) -> None:
    client = api.client(headers=_actor("dispatcher_admin"))
    me = client.get("/me").json()
    assert (me["user"], me["role"], me["organization"]["name"]) == (
        {"id": "actor-1", "email": "actor-1"}, "admin", "ours",
    )  # fmt: skip
    assert client.post(f"/ops/jobs/{ours.job_id}/discard", json={"reason": "no use"}).status_code == 200


def test_headers_are_worth_nothing_in_production_and_without_the_switch(database_url: str) -> None:
    for changes in ({"environment": "production"}, {"allow_dev_login": False}):
        with serving(settings_for(database_url, **changes)) as api:
            assert api.client(headers=_actor()).get("/me").status_code == 401, changes


def test_headers_under_a_name_that_could_be_pointed_here_are_refused(api: Api, ours: House) -> None:
    answer = api.client(headers=_actor(host="evil.example")).get("/me")
    assert answer.status_code in {400, 403}


_BAD_HEADERS = {
    "no role": ({"x-actor-id": "a"}, 400, "MISSING_ACTOR_CONTEXT"),
    "no id": ({"x-actor-role": "admin"}, 400, "MISSING_ACTOR_CONTEXT"),
    "no kind": (_actor(**{"x-actor-type": "GHOST"}), 401, "INVALID_AUTH_CLAIMS"),
    "no scope": (_actor(**{"x-account-scope": "acme"}), 401, "INVALID_AUTH_CLAIMS"),
    "no organization": (_actor(**{"x-organization-id": "acme"}), 401, "INVALID_AUTH_CLAIMS"),
    "unknown organization": (_actor(**{"x-organization-id": str(UUID(int=7))}), 400, "MISSING_ACTOR_CONTEXT"),
    "unknown role": (_actor("wizard"), 403, "forbidden"),
    "empty scope": (_actor(**{"x-site-scope": ""}), 403, "forbidden"),
}


def test_headers_that_say_too_little_are_told_what_is_missing(api: Api, ours: House) -> None:
    found = {}
    for name, (headers, _, _) in _BAD_HEADERS.items():
        answer = api.client(headers=headers).get("/mailboxes")
        found[name] = (answer.status_code, answer.json()["code"])
    assert found == {name: (status, code) for name, (_, status, code) in _BAD_HEADERS.items()}
    assert ours.org_id


def test_with_several_organizations_the_headers_name_one(api: Api, ours: House, theirs: House) -> None:
    assert api.client(headers=_actor()).get("/me").status_code == 400
    named = api.client(headers=_actor(**{"x-organization-id": str(theirs.org_id)})).get("/me").json()
    assert named["organization"]["name"] == "theirs"
    assert ours.org_id != theirs.org_id


def test_over_tls_the_cookie_has_the_prefix_that_no_neighbour_can_plant(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    token = person.http.cookies["oss_session"]
    desk = {"host": "desk.example.org"}
    with serving(
        settings_for(api.app.state.services.settings.database_url, public_url="https://desk.example.org")
    ) as tls:
        plain = tls.client(headers=desk | {"cookie": f"oss_session={token}"}).get("/me")
        prefixed = tls.client(headers=desk | {"cookie": f"{SECURE_SESSION_COOKIE}={token}"}).get("/me")
    assert (plain.status_code, prefixed.status_code) == (401, 200)


def test_a_narrowed_person_sees_their_tickets_and_no_others(api: Api, ours: House) -> None:
    for reach in (Reach.SITE, Reach.ACCOUNT, Reach.OWN, Reach.TEAM):
        with api.db.begin() as connection:
            mine, other = factories.ticket(connection, ours.org_id), factories.ticket(connection, ours.org_id)
            person_id = people.member(connection, ours.org_id, "agent", f"{reach.value}@example.org")
            people.give(connection, ours.org_id, mine, person_id, reach)
        person = api.signed_in(ours.org_id, person_id)
        assert person.get(f"/tickets/{mine}/conversation").status_code == 200, reach
        assert person.get(f"/tickets/{other}/conversation").status_code == 404, reach
        merge = {"ticket_ids": [str(other)], "reason": "the same"}
        assert person.post(f"/tickets/{mine}/merge", json=merge).status_code == 409, reach
        assert person.get("/ops/jobs/dlq").status_code == 403, reach
    assert rows(api.db, "SELECT count(*) FROM regroupings") == [(0,)]
