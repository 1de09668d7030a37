"""Signing in and out, sessions, tokens, origins, and the limit on trying."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from ops_api.access import Role
from ops_api.app import make_app
from ops_api.limits import RateLimit
from ops_api.sessions import LIFETIME, Sessions
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets
from tests.ops_api.serving import SECRET, Api, FakeClock, House, serving, settings_for

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
    "control character": {"email": "ann@example.org", "organization_name": "A\x00B"},
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


def test_a_session_ends_after_twelve_hours_however_much_it_is_used() -> None:
    clock = FakeClock()
    sessions = Sessions(Secrets(SECRET), clock)
    session = sessions.open("ann@example.org", uuid4(), Role.ADMIN)
    token = sessions.token(session)
    clock.at += LIFETIME - timedelta(seconds=1)
    assert sessions.read(token) == session
    clock.at += timedelta(seconds=1)
    assert sessions.read(token) is None


@pytest.mark.parametrize("damage", ["", "x", ".", "a.b", "%", "é.é", "9" * 5_000])
def test_what_is_no_token_is_no_session(damage: str) -> None:
    assert Sessions(Secrets(SECRET), FakeClock()).read(damage) is None


def test_a_changed_or_foreign_token_is_no_session() -> None:
    sessions = Sessions(Secrets(SECRET), FakeClock())
    viewer = sessions.open("ann@example.org", uuid4(), Role.VIEWER)
    body, signature = sessions.token(viewer).split(".")
    admin_body = sessions.token(replace(viewer, role=Role.ADMIN)).split(".")[0]
    assert sessions.read(f"{admin_body}.{signature}") is None
    assert sessions.read(body) is None
    other = Sessions(Secrets("another key that is long enough"), FakeClock())
    assert other.read(f"{body}.{signature}") is None
    assert sessions.read(sessions.csrf_token(viewer)) is None


def test_the_api_does_not_start_without_a_database_or_a_secret_key(database_url: str) -> None:
    with pytest.raises(UserError, match="FIELDPOST_SECRET_KEY"):
        make_app(settings_for(database_url, secret_key=None))
    with pytest.raises(UserError, match="FIELDPOST_DATABASE_URL"):
        make_app(settings_for(None))
