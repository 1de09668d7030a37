"""Signing in and out, sessions, tokens, origins, and the limit on trying."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from ops_api.app import make_app
from ops_api.limits import RateLimit
from pipeline.runtime.errors import UserError
from tests.ops_api import people
from tests.ops_api.serving import Api, FakeClock, House, Person, change, rows, serving, settings_for

_ANN = {"email": "Ann@Example.org", "organization_name": "Acme"}


def _log_in(client: httpx.Client, **options: object) -> httpx.Response:
    token = client.get("/auth/csrf").json()["csrf_token"]
    return client.post("/auth/dev/login", json=_ANN, headers={"x-csrf-token": token, **options})  # type: ignore[arg-type]


def test_the_dev_login_of_the_contract_leads_to_a_session(api: Api) -> None:
    client = api.client()
    answer = _log_in(client)
    said = answer.json()
    assert answer.status_code == 200
    assert set(said) >= {"user", "organization", "role", "session", "csrf_token"}
    assert (said["user"]["email"], said["organization"]["name"], said["role"]) == ("ann@example.org", "Acme", "admin")
    me = client.get("/me").json()
    assert me == {name: said[name] for name in me}
    assert client.post("/auth/logout", headers={"x-csrf-token": said["csrf_token"]}).json() == {"status": "ok"}
    assert client.get("/me").status_code == 401


def test_the_same_organization_is_found_again_at_the_next_login(api: Api) -> None:
    first, second = _log_in(api.client()).json(), _log_in(api.client()).json()
    assert first["organization"] == second["organization"]
    assert first["user"] == second["user"]


def test_cookies_on_loopback_are_protected_as_far_as_plain_http_allows(api: Api) -> None:
    session, token = _log_in(api.client()).headers.get_list("set-cookie")
    assert session.startswith("oss_session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(session.split("; "))
    assert token.startswith("oss_csrf=")
    assert "HttpOnly" not in token
    assert "Secure" not in session + token


def test_cookies_travel_over_tls_only_everywhere_else(api: Api) -> None:
    answer = api.client().get("/auth/csrf", headers={"host": "desk.example.org"})
    assert "Secure" in answer.headers["set-cookie"].split("; ")


def test_the_dev_login_is_not_there_unless_enabled(database_url: str) -> None:
    with serving(settings_for(database_url, allow_dev_login=False)) as api:
        assert _log_in(api.client()).status_code == 404


def test_the_dev_login_refuses_a_name_that_could_be_pointed_here(api: Api) -> None:
    assert _log_in(api.client(), host="evil.example").status_code == 403


def test_a_token_for_nobody_is_no_token_for_a_session(api: Api, ours: House) -> None:
    foreign = api.client().get("/auth/csrf").json()["csrf_token"]
    person = api.person(ours.org_id)
    person.http.cookies.set("oss_csrf", foreign)
    answer = person.post(f"/mailboxes/{ours.mailbox_id}/sync/history", headers={"x-csrf-token": foreign})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


def test_a_token_that_is_still_good_is_kept(api: Api) -> None:
    client = api.client()
    assert client.get("/auth/csrf").json() == client.get("/auth/csrf").json()


def test_the_own_origin_and_the_public_one_may_change_things(database_url: str) -> None:
    with serving(settings_for(database_url, public_url="http://desk.example.org")) as api:
        origins = (api.base_url, "http://desk.example.org", "http://desk.example.org:80", "null", "https://x.example")
        found = [_log_in(api.client(), origin=origin).status_code for origin in origins]
    assert found == [200, 200, 200, 403, 403]


_BAD_LOGINS = {
    "no organization": {"email": "ann@example.org"},
    "no address": {"email": "ann", "organization_name": "Acme"},
    "control character": {"email": "ann@example.org", "organization_name": "A\x01B"},
    "blank": {"email": "ann@example.org", "organization_name": "   "},
    "too long": {"email": "ann@example.org", "organization_name": "x" * 201},
}


def test_a_bad_login_is_told_what_is_wrong_without_repeating_it(api: Api) -> None:
    client = api.client()
    headers = {"x-csrf-token": client.get("/auth/csrf").json()["csrf_token"]}
    answers = {name: client.post("/auth/dev/login", json=body, headers=headers) for name, body in _BAD_LOGINS.items()}
    assert {name: answer.json()["code"] for name, answer in answers.items()} == dict.fromkeys(_BAD_LOGINS, "invalid")
    for name, answer in answers.items():
        assert answer.json()["fields"][0]["field"].startswith("body."), name
        assert "ann" not in answer.text, name


def test_the_eleventh_try_in_a_minute_waits_whatever_a_header_claims(database_url: str) -> None:
    clock = FakeClock()
    with serving(settings_for(database_url), clock=clock) as api:
        client = api.client()
        tries = [
            client.post("/auth/dev/login", headers={"x-forwarded-for": f"10.0.0.{number}"}) for number in range(11)
        ]
        clock.at += timedelta(seconds=61)
        later = client.post("/auth/dev/login")
    assert [answer.status_code for answer in tries] == [403] * 10 + [429]
    assert tries[-1].headers["retry-after"] == "60"
    assert later.status_code == 403


def test_the_limit_remembers_a_bounded_number_of_clients() -> None:
    limit = RateLimit(1, FakeClock())
    for number in range(10_050):
        limit.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "login")
    assert len(limit._windows) == 10_000


def test_all_addresses_of_one_ipv6_network_are_one_client() -> None:
    limit = RateLimit(1, FakeClock())
    assert limit.take("2001:db8::1", "login") is None
    assert limit.take("2001:db8::2", "login") == 60
    assert limit.take("2001:db8:1::1", "login") is None


def test_an_ipv4_client_is_itself_however_a_socket_writes_it() -> None:
    limit = RateLimit(1, FakeClock())
    assert [limit.take(f"::ffff:10.0.0.{number}", "login") for number in (1, 2)] == [None, None]
    assert limit.take("10.0.0.1", "login") == 60


def test_a_session_ends_after_twelve_hours_however_much_it_is_used(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    assert rows(api.db, "SELECT expires_at - created_at FROM sessions") == [(timedelta(hours=12),)]
    change(api.db, "UPDATE sessions SET expires_at = now() + interval '1 minute'")
    assert person.get("/me").status_code == 200
    change(api.db, "UPDATE sessions SET expires_at = now()")
    assert person.get("/me").status_code == 401


def test_a_session_ends_after_half_an_hour_without_use_and_goes_on_with_it(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    change(api.db, "UPDATE sessions SET seen_at = now() - interval '29 minutes'")
    assert person.get("/me").status_code == 200
    assert rows(api.db, "SELECT seen_at > now() - interval '1 minute' FROM sessions") == [(True,)]
    change(api.db, "UPDATE sessions SET seen_at = now() - interval '31 minutes'")
    assert person.get("/me").status_code == 401


def test_use_is_noted_at_most_once_a_minute(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    change(api.db, "UPDATE sessions SET seen_at = now() - interval '50 seconds'")
    before = rows(api.db, "SELECT xmin FROM sessions")
    assert [person.get("/me").status_code for _ in range(3)] == [200] * 3
    assert rows(api.db, "SELECT xmin FROM sessions") == before


def test_after_signing_out_a_copy_of_the_cookie_is_worth_nothing(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    copy = Person(api.client(cookies=dict(person.http.cookies)))
    assert copy.get("/me").status_code == 200
    assert person.post("/auth/logout").status_code == 200
    assert copy.get("/me").status_code == 401
    assert rows(api.db, "SELECT ended_because FROM sessions") == [("signed out",)]


def test_a_login_ends_the_session_before_it_and_takes_on_no_planted_one(api: Api) -> None:
    client = api.client()
    planted = "a" * 43
    client.cookies.set("oss_session", planted, domain="127.0.0.1")
    _log_in(client)
    first = client.cookies["oss_session"]
    assert first != planted
    _log_in(client)
    assert api.client(cookies={"oss_session": client.cookies["oss_session"]}).get("/me").status_code == 200
    assert api.client(cookies={"oss_session": first}).get("/me").status_code == 401


def test_the_database_holds_no_cookie(api: Api) -> None:
    client = api.client()
    _log_in(client)
    ((stored,),) = rows(api.db, "SELECT to_jsonb(s)::text FROM sessions s")
    assert client.cookies["oss_session"] not in stored


def test_what_is_no_cookie_of_ours_is_no_session(api: Api) -> None:
    for damage in ("", "x", "a" * 42, "a" * 44, "a" * 42 + ".", "%" * 43, "9" * 5_000):
        assert api.client(headers={"cookie": f"oss_session={damage}"}).get("/me").status_code in {401, 431}, damage


#: What ends it, and what mends that for the next.
_WITHDRAWN = {
    "the membership": ("UPDATE memberships SET is_active = false", "UPDATE memberships SET is_active = true"),
    "the person": ("UPDATE people SET is_active = false", "UPDATE people SET is_active = true"),
    "an erased person": ("UPDATE people SET erased_at = now()", "UPDATE people SET erased_at = NULL"),
    "a role of elsewhere": (
        "UPDATE roles SET org_id = (SELECT id FROM organizations WHERE name = 'theirs') WHERE code = 'admin'",
        "UPDATE roles SET org_id = NULL",
    ),
    "a deleted membership": ("DELETE FROM memberships", None),
}


def test_what_is_withdrawn_is_gone_at_the_next_request(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id)
    for what, (withdrawn, given_back) in _WITHDRAWN.items():
        assert person.get("/mailboxes").status_code == 200, what
        change(api.db, withdrawn)
        assert person.get("/mailboxes").status_code == 401, what
        if given_back is not None:
            change(api.db, given_back)
    assert theirs.org_id != ours.org_id


def test_a_changed_permission_works_at_the_next_request(api: Api, ours: House) -> None:
    agent = api.person(ours.org_id, "agent")
    assert agent.get("/mailboxes").status_code == 403
    change(
        api.db,
        "INSERT INTO role_permissions (role_id, permission) SELECT id, p FROM roles, "
        "unnest(ARRAY['mailboxes.read', 'unheard.of']) AS p WHERE code = 'agent'",
    )
    assert agent.get("/mailboxes").status_code == 200
    assert "mailboxes.read" in agent.get("/me").json()["permissions"]
    change(api.db, "DELETE FROM role_permissions WHERE permission = 'mailboxes.read'")
    assert agent.get("/mailboxes").status_code == 403


def test_a_person_goes_on_in_another_organization_of_theirs_with_a_new_session(
    api: Api, ours: House, theirs: House
) -> None:
    person = api.person(ours.org_id)
    with api.db.begin() as connection:
        people.member(connection, theirs.org_id, "viewer", "ann@example.org")
    before = person.http.cookies["oss_session"]
    answer = person.post("/auth/switch-org", json={"organization_id": str(theirs.org_id)})
    said = answer.json()
    assert (answer.status_code, said["organization"]["name"], said["role"]) == (200, "theirs", "viewer")
    assert person.get("/me").json()["organization"]["id"] == str(theirs.org_id)
    told = rows(api.db, "SELECT org_id, action, actor_id FROM audit_events ORDER BY action")
    who = str(person.person_id)
    assert told == [(theirs.org_id, "session.begin", who), (ours.org_id, "session.switch", who)]
    assert api.client(cookies={"oss_session": before}).get("/me").status_code == 401


def test_going_on_elsewhere_prolongs_no_session(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    change(api.db, "UPDATE sessions SET expires_at = now() + interval '5 minutes'")
    ends = person.get("/me").json()["session"]["expires_at"]
    answer = person.post("/auth/switch-org", json={"organization_id": str(ours.org_id)})
    assert (answer.status_code, answer.json()["session"]["expires_at"]) == (200, ends)


def test_an_origin_that_cannot_be_read_is_another_site(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    for origin in ("http://[", "http://127.0.0.1:x", "127.0.0.1", "://", "http://", "null"):
        answer = person.post("/auth/logout", headers={"origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin"), origin


def test_nobody_goes_on_where_they_are_no_member(api: Api, ours: House, theirs: House) -> None:
    person = api.person(ours.org_id)
    for org_id in (theirs.org_id, UUID(int=0)):
        assert person.post("/auth/switch-org", json={"organization_id": str(org_id)}).status_code == 403
    assert person.get("/me").json()["organization"]["name"] == "ours"


def test_the_dev_login_lets_nobody_in_who_was_disabled_and_raises_no_role(api: Api) -> None:
    assert _log_in(api.client()).json()["role"] == "admin"
    change(api.db, "UPDATE memberships SET role_id = (SELECT id FROM roles WHERE code = 'viewer')")
    assert _log_in(api.client()).json()["role"] == "viewer"
    change(api.db, "UPDATE people SET is_active = false")
    assert _log_in(api.client()).status_code == 400


def test_production_knows_no_login_without_proof(database_url: str) -> None:
    with serving(settings_for(database_url, environment="production")) as api:
        assert _log_in(api.client()).status_code == 404


def test_the_api_does_not_start_without_a_database_or_a_secret_key(database_url: str) -> None:
    with pytest.raises(UserError, match="FIELDPOST_SECRET_KEY"):
        make_app(settings_for(database_url, secret_key=None))
    with pytest.raises(UserError, match="FIELDPOST_DATABASE_URL"):
        make_app(settings_for(None))
