"""Secrets are put wherever a secret can stand, and none of them comes out: not by logs, refusals, metrics or rows."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
import pytest
import structlog
from fastapi.routing import APIRoute
from sqlalchemy import text

from models.enums import Provider
from ops_api import password_door
from ops_api.limits import Limits
from ops_api.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE
from pipeline.commands.mailboxes import add_mailbox
from pipeline.runtime import resetting
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.secrets import Secrets
from tests.factories import mail
from tests.ops_api.password_world import CHEAP_PASSWORDS, log_in, with_password
from tests.ops_api.serving import SECRET, Api, Person, serving, settings_for
from tests.stages.world import World

_WRONG, _NEW = "canary-wrong-password", "canary velvet comet harbour"


@contextmanager
def _real_logs() -> Iterator[io.StringIO]:
    """Write logs as a process in production writes them, everything from debug on, into memory."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    said, stderr = io.StringIO(), sys.stderr
    sys.stderr = said
    try:
        set_up_logs("json", "debug", "api")
        yield said
    finally:
        sys.stderr = stderr
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    with _real_logs() as said:
        yield said


@pytest.fixture
def api(logs: io.StringIO, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(password_door, "Passwords", lambda: CHEAP_PASSWORDS)
    settings = settings_for(
        database_url,
        redis_url=redis_url,
        public_url="http://127.0.0.1",
        oidc_issuer="http://127.0.0.1:9",
        oidc_client_id="fieldpost",
        oidc_client_secret="canary-client-secret",
        oidc_organization="ours",
        dispatch_auth_jwt_secret="canary-jwt-secret-that-is-long-enough",
    )
    with serving(settings, limits=Limits(auth_per_minute=1_000)) as running:
        yield running


def _secrets_of(person: Person) -> dict[str, str]:
    return {
        "the session's cookie": person.http.cookies[SESSION_COOKIE],
        "its CSRF token": person.http.cookies[CSRF_COOKIE],
    }


def _mail_and_credentials(api: Api) -> UUID:
    """Let a mail come, and connect a mailbox with credentials; return the organization."""
    world = World(api.db)
    world.triaged(mail("Charger down", "canary-mail-body", message_id="<a@customer.example>"))
    sealed = Secrets(SECRET).seal("mailbox", "x", b"canary-refresh-token-of-a-mailbox")
    with api.db.begin() as connection:
        add_mailbox(connection, world.org_id, "a@ours.example", Provider.GMAIL, source={}, credentials=sealed)
    return world.org_id


def _boom() -> None:
    raise RuntimeError("a bug")


def _ask(api: Api, org_id: UUID) -> tuple[dict[str, str], list[httpx.Response]]:
    """Use every way in, well and badly; return the secrets that were used or given out, and the refusals."""
    person, nobody = api.person(org_id), api.client()
    with api.db.begin() as connection:
        reset = resetting.ask(connection, Secrets(SECRET), "ann@example.org", "http://127.0.0.1")
    assert reset
    with_password(api.db, org_id, "tess@example.org")
    login = log_in(nobody, "tess@example.org").json()
    issued = person.post("/api-tokens", json={"name": "cron", "role": "viewer", "days": 1}).json()
    bearer = {"authorization": f"Bearer {issued['token']}"}
    assert api.client().get("/me", headers=bearer).status_code == 200
    refreshed = nobody.post("/api/v1/auth/refresh", json={"refreshToken": login["refreshToken"]}).json()
    given = _secrets_of(person) | {
        "an API token": issued["token"],
        "an access token": login["accessToken"],
        "a refresh token": login["refreshToken"],
        "its successor": refreshed["refreshToken"],
    }
    answers = [
        log_in(nobody, "tess@example.org", _WRONG),
        log_in(nobody, "canary-nobody@example.org", _WRONG),
        nobody.post("/api/v1/auth/login", json={"identifier": ["canary-kind"], "password": {"x": _WRONG}}),
        nobody.post("/api/v1/auth/login", content=b'{"password": "canary-broken", ', headers=_JSON),
        nobody.post("/api/v1/auth/refresh", json={"refreshToken": "canary-no-refresh-token"}),
        nobody.post("/api/v1/auth/refresh", json={"refreshToken": "canary" * 100}),
        nobody.post("/api/v1/auth/reset-password", json={"token": "canary-no-reset-token", "newPassword": _NEW}),
        nobody.post("/api/v1/auth/reset-password", json={"token": "canary-no-reset-token", "newPassword": "canary"}),
        nobody.get("/auth/oidc/callback?code=canary-code&state=canary-state"),
        nobody.get("/me", headers={"authorization": "Bearer canary.bearer.token"}),
        nobody.get("/me", headers={"authorization": "Bearer fpt_canary_api_token"}),
        nobody.get("/me", headers={"authorization": "Basic canary-basic"}),
        nobody.get("/me", headers={"cookie": f"{SESSION_COOKIE}=canary-session"}),
        nobody.post("/auth/dev/login", json={}, headers={"cookie": f"{CSRF_COOKIE}=canary-1", CSRF_HEADER: "canary-2"}),
        nobody.get("/canary-path/x", params={"token": "canary-query"}),
        person.get("/ops/jobs/dlq", params={"cursor": "canary-cursor"}),
        person.post("/boom", params={"token": "canary-in-a-bug"}, json={"password": "canary-body-of-a-bug"}),
        person.post("/mailboxes/x/sync/backfill", json={"reason": "canary-body"}),
    ]
    return given, answers


_JSON = {"content-type": "application/json"}


def test_no_secret_comes_out(api: Api, logs: io.StringIO) -> None:
    api.app.router.routes.append(APIRoute("/boom", _boom, methods=["POST"]))
    org_id = _mail_and_credentials(api)
    given, answers = _ask(api, org_id)
    assert {answer.status_code // 100 for answer in answers} == {4, 5}, [answer.status_code for answer in answers]
    metrics = api.client().get("/metrics").text
    api.client().get("/me")
    places = {
        "the log": logs.getvalue(),
        "a refusal": "\n".join(answer.text + str(answer.headers) for answer in answers),
        "the metrics": metrics,
        "the audit trail": _rows(api, "audit_events", "audit_details"),
    }
    # Each place was looked into: something of these requests stands in it.
    assert "request.failed" in places["the log"]
    assert '"endpoint": "/api/v1/auth/login"' in places["the log"]
    assert "fieldpost_" in metrics
    assert "session.begin" in places["the audit trail"]
    for place, said in places.items():
        assert "canary" not in said, (place, said[max(0, said.index("canary") - 300) :][:400])
        assert SECRET not in said, place
        for name, secret in given.items():
            assert secret not in said, (place, name)


def test_no_row_holds_what_opens_a_door(api: Api) -> None:
    """A copy of the database lets nobody in: tokens are there as digests, and what must be read again is sealed."""
    org_id = _mail_and_credentials(api)
    given, _ = _ask(api, org_id)
    with api.db.begin() as connection:
        tables = list(connection.execute(_TABLES).scalars())
    said = _rows(api, *tables)
    assert "Charger down" in said
    for name, secret in given.items():
        assert secret not in said, name
        assert secret.encode().hex() not in said, name
    for canary in ("canary-refresh-token-of-a-mailbox", _WRONG, _NEW, "canary-client-secret", "canary-jwt-secret"):
        assert canary not in said
        assert canary.encode().hex() not in said


_TABLES = text(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
)


def _rows(api: Api, *tables: str) -> str:
    with api.db.begin() as connection:
        found = [connection.execute(text(f"SELECT t::text FROM {table} AS t")).scalars() for table in tables]
        return "\n".join(line for lines in found for line in lines)
