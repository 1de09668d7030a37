"""Signing in with a password over HTTP (contract 004): tokens, signing out, new passwords, and what is not told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event, Semaphore
from uuid import uuid4

import httpx
import jwt
import pytest

from ops_api import password_door, waiting_room
from ops_api.limits import Limits
from pipeline.adapters.clock import SystemClock
from pipeline.runtime import access_tokens, resetting
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.notices import opened
from pipeline.runtime.secrets import Secrets
from tests.ops_api.password_world import CHEAP_PASSWORDS, PASSWORD, bearer, log_in, with_password
from tests.ops_api.serving import SECRET, Api, House, change, rows, serving, settings_for

_NEW = "velvet comet harbour 88"


@pytest.fixture
def api(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(password_door, "Passwords", lambda: CHEAP_PASSWORDS)
    limits = Limits(auth_per_minute=1_000)
    with serving(settings_for(database_url, public_url="http://127.0.0.1"), limits) as running:
        yield running


@pytest.fixture(autouse=True)
def ann(api: Api, ours: House) -> None:
    """Ann is a technician with a password and a telephone."""
    with_password(api.db, ours.org_id, "ann@example.org", phone="+4930123456")
    change(api.db, "UPDATE people SET full_name = 'Ann Archer' WHERE email = 'ann@example.org'")


def refresh(api: Api, token: str) -> httpx.Response:
    return api.client().post("/api/v1/auth/refresh", json={"refreshToken": token})


def test_whoever_signs_in_by_address_or_number_may_ask_as_themselves(api: Api, ours: House) -> None:
    for identifier in ("ann@example.org", " Ann@Example.ORG", "+49 (30) 123-456", "004930123456"):
        answer = log_in(api.client(), identifier)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"accessToken", "refreshToken", "expiresIn"}
        assert answer.json()["expiresIn"] == 900
        me = api.client().get("/api/v1/me", headers=bearer(answer)).json()
        assert me["user"]["email"] == "ann@example.org"
    assert (me["role"]["code"], me["gameZoneScope"], len(me["nav"])) == ("TECH", "all", 5)
    assert {"work_orders.read", "tech.complete"} <= set(me["permissions"])
    profile = api.client().get("/api/v1/me/profile", headers=bearer(answer)).json()
    assert (profile["fullName"], profile["phone"], profile["role"]["code"]) == ("Ann Archer", "+4930123456", "TECH")
    assert api.client().get("/me", headers=bearer(answer)).json()["role"] == "technician"


def test_nothing_tells_whether_somebody_exists(api: Api, ours: House) -> None:
    known = [log_in(api.client(), "ann@example.org", "wrong") for _ in range(6)]
    unknown = [log_in(api.client(), "nobody@example.org", "wrong") for _ in range(6)]
    assert [answer.status_code for answer in known] == [401] * 5 + [423]

    def said(answers):
        return [{**answer.json()["error"], "request_id": ""} for answer in answers]

    assert [answer.status_code for answer in unknown] == [answer.status_code for answer in known]
    assert said(unknown) == said(known)
    assert [set(answer.headers) for answer in unknown] == [set(answer.headers) for answer in known]
    assert log_in(api.client(), "ann@example.org").status_code == 423
    assert int(known[-1].headers["retry-after"]) in range(890, 901)


def test_each_class_of_wrong_is_401_in_the_same_words(api: Api, ours: House, theirs: House) -> None:
    with_password(api.db, ours.org_id, "off@example.org")
    change(api.db, "UPDATE people SET is_active = false WHERE email = 'off@example.org'")
    with_password(api.db, ours.org_id, "left@example.org")
    change(
        api.db,
        "UPDATE memberships SET is_active = false FROM people p WHERE p.id = person_id AND email = 'left@example.org'",
    )
    change(api.db, "INSERT INTO people (email) VALUES ('sso@example.org')")
    client = api.client()
    answers = [
        log_in(client, "ann@example.org", "wrong"), log_in(client, "ann@example.org", "x" * 1024),
        log_in(client, "off@example.org"), log_in(client, "left@example.org"), log_in(client, "sso@example.org"),
        log_in(client, "neither address nor number"), log_in(client, "'; DROP TABLE people"),
        log_in(client, "ann@example.org", organizationId=str(theirs.org_id)),
    ]  # fmt: skip
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(401, "bad_credentials")}
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1


def test_a_right_password_forgets_the_wrong_ones(api: Api) -> None:
    for _ in range(3):
        assert [log_in(api.client(), "ann@example.org", "wrong").status_code for _ in range(4)] == [401] * 4
        assert log_in(api.client(), "ann@example.org").status_code == 200


def test_a_lock_ends_by_itself_and_counts_anew(api: Api) -> None:
    for _ in range(5):
        log_in(api.client(), "ann@example.org", "wrong")
    change(api.db, "UPDATE people SET locked_until = now() - interval '1 second'")
    assert [log_in(api.client(), "ann@example.org", "wrong").status_code for _ in range(4)] == [401] * 4
    assert log_in(api.client(), "ann@example.org").status_code == 200


def test_a_used_refresh_token_gives_the_same_successor_for_a_while_and_ends_all_later(api: Api) -> None:
    first = log_in(api.client(), "ann@example.org")
    token = first.json()["refreshToken"]
    lost, again = refresh(api, token).json(), refresh(api, token).json()
    assert lost["refreshToken"] == again["refreshToken"] != token
    change(api.db, "UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds' WHERE used_at IS NOT NULL")
    other = log_in(api.client(), "ann@example.org")
    assert refresh(api, token).status_code == 401
    # The whole family is over, at once: its newest token and its access tokens. Another family goes on.
    assert refresh(api, again["refreshToken"]).status_code == 401
    for tokens in (first, lost, again):
        access = tokens["accessToken"] if isinstance(tokens, dict) else tokens.json()["accessToken"]
        assert api.client().get("/api/v1/me", headers={"authorization": f"Bearer {access}"}).status_code == 401
    assert api.client().get("/api/v1/me", headers=bearer(other)).status_code == 200
    assert rows(api.db, "SELECT ended_because FROM sessions WHERE ended_at IS NOT NULL") == [
        ("a refresh token was used again",)
    ]
    assert rows(api.db, "SELECT action, outcome, code FROM audit_events ORDER BY number") == [
        ("session.begin", "done", None), ("session.begin", "done", None), ("session.end", "refused", "token_reused"),
    ]  # fmt: skip


def test_parallel_refreshes_give_one_successor(api: Api) -> None:
    token = log_in(api.client(), "ann@example.org").json()["refreshToken"]
    clients = [api.client() for _ in range(8)]

    def ask(client):
        answer = client.post("/api/v1/auth/refresh", json={"refreshToken": token})
        return answer.status_code, answer.json()["refreshToken"]

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, clients))
    assert len(found) == 1
    assert rows(api.db, "SELECT count(*), count(used_at) FROM refresh_tokens") == [(2, 1)]


def test_a_lost_reply_after_which_the_client_went_on_is_a_theft(api: Api) -> None:
    token = log_in(api.client(), "ann@example.org").json()["refreshToken"]
    successor = refresh(api, token).json()["refreshToken"]
    assert refresh(api, successor).status_code == 200
    assert refresh(api, token).status_code == 401
    assert refresh(api, successor).status_code == 401


def test_signing_out_ends_the_family_and_tells_nothing(api: Api) -> None:
    answer = log_in(api.client(), "ann@example.org")
    ended = api.client().post("/api/v1/auth/logout", json={"refreshToken": answer.json()["refreshToken"]})
    assert (ended.status_code, ended.content) == (204, b"")
    assert refresh(api, answer.json()["refreshToken"]).status_code == 401
    assert api.client().get("/api/v1/me", headers=bearer(answer)).status_code == 401
    assert api.client().post("/api/v1/auth/logout", json={"refreshToken": "x"}).status_code == 204


def test_whoever_lost_the_right_is_out_at_the_next_request(api: Api) -> None:
    for statement in (
        "UPDATE people SET is_active = {} WHERE email = 'ann@example.org'",
        "UPDATE memberships SET is_active = {}",
        "UPDATE sessions SET expires_at = CASE WHEN {} THEN expires_at ELSE now() END",
        "UPDATE sessions SET ended_at = CASE WHEN {} THEN NULL ELSE now() END",
    ):
        answer = log_in(api.client(), "ann@example.org")
        assert api.client().get("/api/v1/me", headers=bearer(answer)).status_code == 200
        change(api.db, statement.format("false"))
        assert api.client().get("/api/v1/me", headers=bearer(answer)).status_code == 401
        assert refresh(api, answer.json()["refreshToken"]).status_code == 401
        change(api.db, statement.format("true"))


def test_a_token_that_is_not_exactly_ours_opens_nothing(api: Api, ours: House) -> None:
    good = log_in(api.client(), "ann@example.org").json()["accessToken"]
    claims = jwt.decode(good, options={"verify_signature": False})
    secrets, now = Secrets(SECRET), claims["iat"]
    key, typ = secrets.key("access token"), {"typ": "at+jwt"}
    forged = {
        "another key": jwt.encode(claims, secrets.key("session"), headers=typ),
        "another type": jwt.encode(claims, key),
        "another audience": jwt.encode({**claims, "aud": "x"}, key, headers=typ),
        "over": jwt.encode({**claims, "exp": now - 40}, key, headers=typ),
        "not yet": jwt.encode({**claims, "iat": now + 600}, key, headers=typ),
        "no algorithm": jwt.encode(claims, None, algorithm="none", headers=typ),
        "another algorithm": jwt.encode(claims, key * 2, algorithm="HS512", headers=typ),
        "no family": jwt.encode({**claims, "sid": str(uuid4())}, key, headers=typ),
        "a strange family": jwt.encode({**claims, "sid": 7}, key, headers=typ),
        "no end": jwt.encode({name: value for name, value in claims.items() if name != "exp"}, key, headers=typ),
        "changed": good[:-2],
    }
    found = {
        name: api.client().get("/api/v1/me", headers={"authorization": f"Bearer {token}"}).status_code
        for name, token in forged.items()
    }
    assert found == dict.fromkeys(forged, 401)
    tokens = AccessTokens(Secrets("another secret key of tests", [SECRET]), SystemClock())
    assert tokens.family(good) is not None
    assert not access_tokens.is_ours("x.y.z")


def _ask_for_reset(api: Api, identifier: str) -> int:
    return api.client().post("/api/v1/auth/forgot-password", json={"identifier": identifier}).status_code


def _token(api: Api) -> str:
    ((notice_id, sealed),) = rows(api.db, "SELECT id, sealed FROM notices ORDER BY id DESC LIMIT 1")
    words = opened(Secrets(SECRET), notice_id, bytes(sealed))
    return words.body.split("#token=")[1].split()[0]


def _reset(api: Api, token: str, password: str = _NEW) -> httpx.Response:
    return api.client().post("/api/v1/auth/reset-password", json={"token": token, "newPassword": password})


def test_who_forgot_sets_a_new_password_once_and_everything_old_ends(
    api: Api, ours: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_door, "ASK_TAKES", timedelta(0))
    before, session = log_in(api.client(), "ann@example.org"), api.person(ours.org_id, "technician", "ann@example.org")
    for _ in range(5):
        log_in(api.client(), "ann@example.org", "wrong")
    found = [_ask_for_reset(api, one) for one in ("nobody@example.org", "rubbish", "+4930123456")]
    assert found == [204] * 3
    assert rows(api.db, "SELECT recipient, kind FROM notices") == [("ann@example.org", "password_reset")]
    assert rows(api.db, "SELECT count(*) FROM jobs WHERE stage = 'notify'") == [(1,)]
    token = _token(api)
    weak = {
        _reset(api, token, one).json()["error"]["fields"]["newPassword"]
        for one in ("short", "password1234", "ann@example.org", "x" * 129, "ann archer ann archer", "aaaaaaaaaaaaaaaa")
    }
    assert len(weak) == 5
    assert _reset(api, token).status_code == 204
    assert [_reset(api, one).status_code for one in (token, "rubbish")] == [401, 401]
    assert session.get("/me").status_code == 401
    assert refresh(api, before.json()["refreshToken"]).status_code == 401
    # It also ends a lock: whoever reads that mailbox is the person.
    assert [log_in(api.client(), "ann@example.org", one).status_code for one in (PASSWORD, _NEW)] == [401, 200]


def test_a_reset_token_is_over_after_thirty_minutes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_door, "ASK_TAKES", timedelta(0))
    _ask_for_reset(api, "ann@example.org")
    ((seconds,),) = rows(api.db, "SELECT extract(epoch FROM expires_at - created_at) FROM reset_tokens")
    assert seconds == 1_800
    change(api.db, "UPDATE reset_tokens SET expires_at = now()")
    assert _reset(api, _token(api)).status_code == 401


def test_nobody_can_fill_a_mailbox_with_tokens(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(password_door, "ASK_TAKES", timedelta(0))
    assert {_ask_for_reset(api, "ann@example.org") for _ in range(6)} == {204}
    assert rows(api.db, "SELECT count(*) FROM notices") == [(resetting.MOST_ASKED,)]


def test_an_identifier_may_be_tried_ten_times_a_minute_from_wherever(
    database_url: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(settings_for(database_url), Limits(auth_per_minute=10)) as limited:

        def tried(number: int, identifier: str = "ghost@example.org") -> int:
            transport = httpx.HTTPTransport(local_address=f"127.0.0.{number}")
            return log_in(limited.client(transport=transport), identifier, "wrong").status_code

        assert [tried(number) for number in range(2, 13)] == [401] * 5 + [423] * 5 + [429]
        assert tried(13, "other@example.org") == 401


def test_no_secret_is_kept_or_said(api: Api) -> None:
    answer = log_in(api.client(), "ann@example.org").json()
    kept = str(rows(api.db, "SELECT encode(token_hash, 'escape') FROM refresh_tokens")) + str(
        rows(api.db, "SELECT password_hash FROM people")
    )
    assert answer["refreshToken"] not in kept
    assert PASSWORD not in kept
    assert "$argon2id$" in kept
    broken = api.client().post("/api/v1/auth/login", json={"identifier": 7, "password": ["canary-pass"]})
    assert (broken.status_code, "canary-pass" in broken.text) == (422, False)
    assert set(broken.json()["error"]["fields"]) == {"identifier", "password"}


def test_nobody_waits_in_a_queue_without_an_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "_MOST_WAITING", 0)
    answer = log_in(api.client(), "ann@example.org")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["error"]["code"] == "unavailable"


def test_who_shows_a_token_waits_for_no_password_of_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    token = log_in(api.client(), "ann@example.org").json()["refreshToken"]
    begun, goes_on = Semaphore(0), Event()

    def slowly(*_: object) -> bool:
        begun.release()
        return goes_on.wait(20)

    monkeypatch.setattr(CHEAP_PASSWORDS, "is_right", slowly)
    with ThreadPoolExecutor(password_door.WORKERS) as pool:
        tries = [pool.submit(log_in, api.client(), "ann@example.org") for _ in range(password_door.WORKERS)]
        assert all(begun.acquire(timeout=20) for _ in tries)
        assert refresh(api, token).status_code == 200
        goes_on.set()
        assert {one.result().status_code for one in tries} == {200}
