"""The edge: ids, bounds, headers, logs, and an answer whatever happens behind it."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ops_api.limits import Limits
from ops_api.sessions import CSRF_COOKIE, SESSION_COOKIE
from tests.deploy.probes import until
from tests.ops_api.serving import Api, House, change, rows, serving, settings_for


def test_a_safe_request_id_comes_back_and_any_other_is_replaced(api: Api) -> None:
    client = api.client()
    kept = {"plain": "abc-123", "longest": "x" * 128, "trace": "00-4bf92f35-01"}
    replaced = {"too long": "x" * 129, "blanks": "a b\tc", "markup": "<script>", "nothing": ""}
    for name, asked in (kept | replaced).items():
        found = client.get("/healthz", headers={"x-request-id": asked}).headers["x-request-id"]
        assert (found == asked) is (name in kept), name
        assert name in kept or re.fullmatch("[0-9a-f]{32}", found), name


def test_every_answer_carries_an_id_and_the_protecting_headers(api: Api) -> None:
    client = api.client()
    answers = [
        client.get("/healthz"),
        client.get("/nowhere"),
        client.delete("/me"),
        client.get("/me"),
        client.post("/auth/dev/login", content=b"x" * 1_048_577),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 405, 401, 413]
    for answer in answers:
        assert answer.headers["x-request-id"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_every_refusal_has_one_shape(api: Api, ours: House) -> None:
    person = api.person(ours.org_id)
    answers = [person.get("/nowhere"), person.http.delete("/me"), person.get("/mailboxes/7/sync/status")]
    assert [answer.json()["code"] for answer in answers] == ["not_found", "method_not_allowed", "invalid"]
    for answer in answers:
        said = answer.json()
        assert set(said) - {"fields"} == {"detail", "code", "request_id"}
        assert said["request_id"] == answer.headers["x-request-id"]
        assert isinstance(said["detail"], str)
    assert answers[1].headers["allow"] == "GET"


def _chunks(size: int) -> Iterator[bytes]:
    yield b'{"email": "ann@example.org", "organization_name": "'
    for _ in range(size // 65_536):
        yield b"x" * 65_536
    yield b'"}'


@pytest.mark.parametrize(("size", "status"), [(2_097_152, 413), (65_536, 422)])
def test_a_body_without_a_declared_length_is_bounded_too(api: Api, size: int, status: int) -> None:
    client = api.client()
    token = client.get("/auth/csrf").json()["csrf_token"]
    answer = client.post(
        "/auth/dev/login",
        content=_chunks(size),
        headers={"x-csrf-token": token, "content-type": "application/json"},
    )
    assert answer.status_code == status
    assert answer.json()["code"] in {"too_large", "invalid"}


def test_a_body_too_large_does_nothing(api: Api, ours: House) -> None:
    answer = api.person(ours.org_id).post(f"/ops/jobs/{ours.job_id}/replay", content=b" " * 1_048_577)
    assert answer.status_code == 413
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",)]


def test_a_body_that_is_no_request_is_told_so(api: Api) -> None:
    client = api.client()
    token = client.get("/auth/csrf").json()["csrf_token"]
    headers = {"x-csrf-token": token, "content-type": "application/json"}
    lone = b'{"email": "\\ud800@x.org", "organization_name": "a"}'
    deep = b"[" * 100_000
    for content in (b"{", b"[]", b'"x"', b"\xff\xfe", lone, deep):
        answer = client.post("/auth/dev/login", content=content, headers=headers)
        assert answer.status_code in {400, 422}, content[:50]


def test_nobody_learns_what_a_body_should_be_before_signing_in(api: Api, ours: House) -> None:
    answer = api.client().post(
        f"/ops/jobs/{ours.job_id}/discard", content=b"{", headers={"content-type": "application/json"}
    )
    assert answer.status_code == 401


def _answered(lines: list[Any]) -> list[Any]:
    """The lines about requests; each is written after its answer was sent."""
    return [line for line in lines if line["event"] == "request.answered"]


def test_logs_name_the_route_and_hold_no_secret(api: Api, ours: House) -> None:
    with capture_logs() as lines:
        person = api.person(ours.org_id)
        person.get("/ops/jobs/dlq", params={"cursor": "canary-query"}, headers={"authorization": "canary-header"})
        person.post(f"/ops/jobs/{ours.job_id}/discard", json={"reason": "canary-body"}, headers={"x-request-id": "r-1"})
        person.post("/auth/dev/login", json={"email": "canary@example.org", "organization_name": "canary-org"})
        until(lambda: len(_answered(lines)) == 3)
    assert [(line["method"], line["endpoint"], line["status"]) for line in _answered(lines)] == [
        ("GET", "/ops/jobs/dlq", 401),
        ("POST", "/ops/jobs/{job_id}/discard", 200),
        ("POST", "/auth/dev/login", 200),
    ]
    said = repr(lines)
    assert "canary" not in said
    for name in (SESSION_COOKIE, CSRF_COOKIE):
        held = [cookie.value for cookie in person.http.cookies.jar if cookie.name == name]
        assert held
        assert not any(str(value) in said for value in held)


def test_an_error_nobody_expected_is_a_500_without_its_insides(api: Api, ours: House) -> None:
    api.app.state.services.cursors.read = None
    with capture_logs() as lines:
        answer = api.person(ours.org_id).get("/ops/jobs/dlq")
        until(lambda: bool(_answered(lines)))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in answer.text
    assert "NoneType" not in answer.text
    assert [line["event"] for line in lines] == ["request.failed", "request.answered"]


_LATE_FAILURE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'canary-late'; END $$;
    CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON dead_letters DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();
"""


def test_a_commit_that_fails_is_no_success(api: Api, ours: House) -> None:
    change(api.db, _LATE_FAILURE)
    answer = api.person(ours.org_id).post(f"/ops/jobs/{ours.job_id}/replay")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert rows(api.db, "SELECT state FROM jobs") == [("dead",)]


def test_a_database_that_is_away_is_a_503_in_words(database_url: str) -> None:
    with serving(settings_for("postgresql+psycopg://nobody:canary@127.0.0.1:9/none")) as api:
        client = api.client()
        token = client.get("/auth/csrf").json()["csrf_token"]
        login = client.post(
            "/auth/dev/login",
            json={"email": "ann@example.org", "organization_name": "Acme"},
            headers={"x-csrf-token": token},
        )
    assert (login.status_code, login.json()["code"]) == (503, "unavailable")
    assert login.headers["retry-after"]
    assert "canary" not in login.text
    assert "set-cookie" not in login.headers


def _blocked(api: Api, house: House) -> httpx.Response:
    """Ask for a change of a mailbox whose row somebody else holds."""
    with api.db.begin() as connection:
        connection.execute(text("SELECT FROM mailboxes WHERE id = :id FOR UPDATE"), {"id": house.mailbox_id})
        return api.person(house.org_id).post(f"/mailboxes/{house.mailbox_id}/sync/backfill")


def _limited(database_url: str, **limits: Any) -> Any:
    return serving(settings_for(database_url), limits=Limits(**limits))


def test_waiting_for_a_lock_ends_in_a_503_that_changed_nothing(database_url: str, make_house: Any) -> None:
    with _limited(database_url, statement=timedelta(milliseconds=300)) as api:
        answer = _blocked(api, make_house(api))
        assert answer.status_code == 503
        assert "nothing was changed" in answer.json()["detail"]
        assert rows(api.db, "SELECT count(*) FROM backfills") == [(0,)]


def test_whatever_hangs_the_client_has_an_answer_by_the_deadline(database_url: str, make_house: Any) -> None:
    with _limited(database_url, deadline=timedelta(milliseconds=300)) as api:
        answer = _blocked(api, make_house(api))
        assert answer.status_code == 503
        assert "may still take effect" in answer.json()["detail"]


def test_more_requests_than_transactions_are_all_answered(database_url: str, make_house: Any) -> None:
    """Sixty wait for a transaction while ten hold one: none may starve those who need a thread to go on."""
    with _limited(database_url, auth_per_minute=100) as api:
        person = api.person(make_house(api).org_id)
        with ThreadPoolExecutor(60) as pool:
            found = Counter(pool.map(lambda _: person.get("/ops/mailboxes/sync").status_code, range(240)))
    assert found == {200: 240}


def test_bounds_of_the_head_are_told_before_anything_is_looked_up(api: Api) -> None:
    client = api.client()
    asked = {
        "a long address": (414, client.get("/search", params={"q": "x" * 8_192})),
        "many headers": (431, client.get("/healthz", headers={f"x-{number}": "1" for number in range(101)})),
        "a NUL": (422, client.get("/search?q=%00")),
        "a NUL in the path": (422, client.get("/tickets/%00/conversation")),
        "packed": (415, client.post("/auth/dev/login", content=b"x", headers={"content-encoding": "br"})),
    }
    assert {name: answer.status_code for name, (_, answer) in asked.items()} == {
        name: status for name, (status, _) in asked.items()
    }
    assert client.get("/healthz", headers={"content-encoding": "identity"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("desk.example.org", 200),
        ("desk.example.org:8443", 200),
        ("api.internal", 200),
        ("127.0.0.1:9", 200),
        ("[::1]", 200),
        ("localhost", 200),
        ("api", 200),
        ("evil.example", 421),
        ("desk.example.org.evil.example", 421),
        ("evil.example:80@desk.example.org", 200),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_only_our_own_names_are_answered(named: Api, host: str, status: int) -> None:
    assert named.client().get("/healthz", headers={"host": host}).status_code == status


@pytest.fixture(scope="module")
def named() -> Iterator[Api]:
    settings = settings_for("postgresql://nowhere.invalid/none", public_url="http://desk.example.org")
    with serving(settings.model_copy(update={"allowed_hosts": "api.internal, "})) as running:
        yield running


@pytest.fixture(scope="module")
def hasty() -> Iterator[Api]:
    """An API that waits a tenth of a second for a head."""
    limits = Limits(head=timedelta(milliseconds=100), connections=5)
    with serving(settings_for("postgresql://nowhere.invalid/none"), limits=limits) as running:
        yield running


def _connected(api: Api) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", int(api.base_url.rpartition(":")[2])), timeout=10)
    found.settimeout(10)
    return found


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_to_its_end_closes_the_connection(hasty: Api, said: bytes) -> None:
    with _connected(hasty) as client:
        client.sendall(said)
        assert client.recv(1) == b""


def test_a_body_that_nobody_waits_for_any_more_closes_the_connection(hasty: Api) -> None:
    with _connected(hasty) as client:
        client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
        answer = b""
        while part := client.recv(65_536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 404")


def test_a_connection_too_many_is_closed_and_the_others_go_on(hasty: Api) -> None:
    kept = hasty.client()
    assert kept.get("/healthz").status_code == 200
    many = [_connected(hasty) for _ in range(8)]
    ended = 0
    for client in many:
        with client:
            try:
                ended += client.recv(1) == b""
            except ConnectionResetError:
                ended += 1
    assert ended == 8
    assert kept.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01 no http\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n"]
)
def test_what_is_no_http_is_answered_like_everything_else(hasty: Api, said: bytes) -> None:
    with _connected(hasty) as client:
        client.sendall(said)
        answer = b""
        while part := client.recv(65_536):
            answer += part
    head, _, content = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400")
    assert "x-frame-options: deny" in head.lower()
    assert set(json.loads(content)) == {"detail", "code", "request_id"}


def test_what_a_proxy_says_of_the_client_is_believed_of_our_own_proxies_only() -> None:
    """Four tries of one client use its limit up; those of another, behind the same proxy, have their own."""
    for trusted, expected in ((None, [403, 403, 429, 429]), ("127.0.0.1", [403, 403, 403, 403])):
        settings = settings_for("postgresql://nowhere.invalid/none", trusted_proxies=trusted)
        with serving(settings, limits=Limits(auth_per_minute=2)) as api:
            client = api.client()
            found = [
                client.post("/auth/dev/login", headers={"x-forwarded-for": f"10.0.0.{number // 2}"}).status_code
                for number in range(4)
            ]
        assert found == expected


def test_nothing_is_said_to_other_origins(api: Api) -> None:
    answer = api.client().options(
        "/mailboxes", headers={"origin": "https://evil.example", "access-control-request-method": "GET"}
    )
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
