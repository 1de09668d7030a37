"""Announcements over HTTP: a real Pub/Sub pushes to a real API, and is answered only when the job is committed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from deploy.local.lock import Endpoints
from ops_api.app import make_app
from ops_api.limits import Limits
from pipeline.commands import sync
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from tests.gmail_server.google_client import connected, user
from tests.gmail_server.server import GmailServer
from tests.ops_api.serving import Api, House, change, house, rows, serving, settings_for
from tests.pubsub_server.server import PubSubServer
from tests.pubsub_server.signing import ACCOUNT
from tests.worker_process import until

AUDIENCE = "https://mail.example/push"
TOPIC = "projects/p/topics/mail"
SUBSCRIPTION = "projects/p/subscriptions/mail"
ADDRESS = "help@ours.example"
_JOBS = "SELECT stage, lane, state FROM jobs WHERE stage = 'history'"


@pytest.fixture
def ours(api: Api) -> House:
    return listed(api.db)


def listed(db: Database) -> House:
    """Return an organization whose mailbox was listed before: it has a cursor to read from."""
    found = house(db, "ours")
    change(db, "UPDATE mailboxes SET sync_cursor = '5'")
    return found


@pytest.fixture(scope="module")
def google() -> Iterator[PubSubServer]:
    with PubSubServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _calm(google: PubSubServer) -> None:
    google.drop_all, google.duplicates, google.certs_status = False, 0, 200
    google.subscriptions.clear()


@contextmanager
def _pushed_to(google: PubSubServer, database_url: str, limits: Limits | None = None, **changes: Any) -> Iterator[Api]:
    """Serve an API that the subscription pushes to."""
    settings = settings_for(
        database_url,
        push_audience=AUDIENCE,
        push_service_account=ACCOUNT,
        push_keys_url=google.certs_url,
        **changes,
    )
    with serving(settings, limits) as api:
        google.push_to(SUBSCRIPTION, TOPIC, f"{api.base_url}/push/gmail", audience=AUDIENCE)
        yield api
        google.subscriptions.clear()


@pytest.fixture
def api(google: PubSubServer, database_url: str) -> Iterator[Api]:
    with _pushed_to(google, database_url) as running:
        yield running


def _post(api: Api, google: PubSubServer, content: bytes, token: str | None = None, **headers: str) -> httpx.Response:
    bearer = google.signer.token(AUDIENCE) if token is None else token
    return api.client().post("/push/gmail", content=content, headers={"authorization": f"Bearer {bearer}"} | headers)


def _envelope(address: str = ADDRESS) -> bytes:
    data = base64.urlsafe_b64encode(orjson.dumps({"emailAddress": address, "historyId": 9}))
    return orjson.dumps({"message": {"data": data.decode(), "messageId": "1"}, "subscription": SUBSCRIPTION})


def _statuses(google: PubSubServer, message_id: str) -> list[int | None]:
    return [one.status for one in google.deliveries if one.message_id == message_id]


def _counted(api: Api) -> dict[str, float]:
    families = api.app.state.services.push_door.pushes.collect()
    return {
        sample.labels["outcome"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def test_an_announcement_becomes_a_live_history_job_and_is_acknowledged(
    google: PubSubServer, api: Api, ours: House
) -> None:
    message_id = google.announce(TOPIC, ADDRESS)
    until(lambda: google.waiting(SUBSCRIPTION) == 0, "the acknowledgement")
    assert _statuses(google, message_id) == [204]
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]


def test_the_job_is_committed_before_the_answer(google: PubSubServer, api: Api, ours: House) -> None:
    """Whoever reads the answer finds the job: over a connection of its own, at once, again and again."""
    for _ in range(20):
        assert _post(api, google, _envelope()).status_code == 204
        assert rows(api.db, "DELETE FROM jobs WHERE stage = 'history' RETURNING key") == [(str(ours.mailbox_id),)]


def test_a_commit_that_fails_is_not_acknowledged(google: PubSubServer, api: Api, ours: House) -> None:
    change(
        api.db,
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'late'; END $$;
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION refuse();
        """,
    )
    message_id = google.announce(TOPIC, ADDRESS)
    until(lambda: len(_statuses(google, message_id)) >= 2, "a second delivery")
    assert set(_statuses(google, message_id)) == {500}
    assert _counted(api).get("mailbox") is None
    change(api.db, "DROP TRIGGER late ON jobs")
    until(lambda: google.waiting(SUBSCRIPTION) == 0, "the acknowledgement")
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]


def test_a_database_that_is_away_is_not_acknowledged_and_the_announcement_comes_again(
    google: PubSubServer, servers: Endpoints, database_url: str
) -> None:
    with serving(settings_for(database_url)) as running:
        listed(running.db)
    name = make_url(database_url).database
    admin = create_engine(servers.database_url, isolation_level="AUTOCOMMIT")
    with _pushed_to(google, database_url, Limits(statement=timedelta(seconds=2))) as api, admin.connect() as server:
        server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        server.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
        try:
            message_id = google.announce(TOPIC, ADDRESS)
            until(lambda: len(_statuses(google, message_id)) >= 2, "a second delivery")
            assert set(_statuses(google, message_id)) == {503}
        finally:
            server.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        until(lambda: google.waiting(SUBSCRIPTION) == 0, "the acknowledgement")
        assert _statuses(google, message_id)[-1] == 204
        assert rows(api.db, _JOBS) == [("history", "live", "ready")]
    admin.dispose()


@pytest.mark.fault("F-49")
def test_many_announcements_at_once_make_one_job(google: PubSubServer, api: Api, ours: House) -> None:
    google.duplicates = 9
    for number in range(5):
        google.announce(TOPIC, ADDRESS, history_id=number)
    until(lambda: google.waiting(SUBSCRIPTION) == 0, "the acknowledgements")
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]
    until(lambda: _counted(api)["mailbox"] == 50, "all of them to be counted")


def test_an_announcement_during_a_run_makes_it_go_on_afterwards(google: PubSubServer, api: Api, ours: House) -> None:
    _post(api, google, _envelope())
    change(
        api.db,
        "UPDATE jobs SET state = 'running', worker = 1, lease_until = now() + interval '1 hour'"
        " WHERE stage = 'history'",
    )
    assert _post(api, google, _envelope()).status_code == 204
    assert rows(api.db, "SELECT is_wanted FROM jobs WHERE stage = 'history'") == [(True,)]


def test_a_paused_mailbox_keeps_the_wish(google: PubSubServer, api: Api, ours: House) -> None:
    change(api.db, "UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 hour'")
    assert _post(api, google, _envelope()).status_code == 204
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]


@pytest.mark.parametrize("state", ["waiting", "blocked", "dead"])
def test_a_job_that_waits_for_its_time_or_for_a_person_is_not_hastened(
    google: PubSubServer, api: Api, ours: House, state: str
) -> None:
    """Redelivery must not turn patience into a storm (mission-peers, finding 4)."""
    _post(api, google, _envelope())
    change(
        api.db,
        "UPDATE jobs SET state = :state, run_at = now() + interval '1 hour' WHERE stage = 'history'",
        state=state,
    )
    assert _post(api, google, _envelope()).status_code == 204
    assert rows(api.db, "SELECT state, run_at > now() FROM jobs WHERE stage = 'history'") == [(state, True)]


def test_an_address_in_capitals_is_the_same_mailbox(google: PubSubServer, api: Api, ours: House) -> None:
    assert _post(api, google, _envelope("Help@Ours.Example")).status_code == 204
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]


def test_an_unknown_address_is_acknowledged_and_counted(google: PubSubServer, api: Api, ours: House) -> None:
    assert _post(api, google, _envelope("nobody@ours.example")).status_code == 204
    assert rows(api.db, _JOBS) == []
    until(lambda: _counted(api) == {"unknown": 1}, "the count")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"message": {"data": "e30="}}', b"[" * 100_000])
def test_a_message_without_sense_is_acknowledged_since_it_would_never_gain_any(
    google: PubSubServer, api: Api, ours: House, content: bytes
) -> None:
    assert _post(api, google, content).status_code == 204
    assert rows(api.db, _JOBS) == []
    until(lambda: _counted(api) == {"nothing": 1}, "the count")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"exp": 1}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"aud": "https://other.example"}, 403),
        ({"email": "somebody@else.example"}, 403),
        ({"email_verified": False}, 403),
    ],
    ids=str,
)
@pytest.mark.fault("F-49")
def test_a_token_that_is_not_ours_changes_nothing(
    google: PubSubServer, api: Api, ours: House, changes: dict[str, Any], status: int
) -> None:
    token = google.signer.token(AUDIENCE, **changes)
    answer = _post(api, google, _envelope(), token)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "code", "request_id"}
    assert token not in answer.text
    assert rows(api.db, _JOBS) == []
    assert _counted(api) == {"refused": 1}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer x y", "bearer \xe9.b.c"])
def test_without_a_bearer_token_nobody_gets_in(google: PubSubServer, api: Api, ours: House, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    answer = api.client().post("/push/gmail", content=_envelope(), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert rows(api.db, _JOBS) == []


def test_a_stranger_is_refused_before_its_body_is_read(google: PubSubServer, api: Api) -> None:
    host, port = urlsplit(api.base_url).hostname, urlsplit(api.base_url).port
    with closing(HTTPConnection(host or "", port, timeout=20)) as client:
        client.putrequest("POST", "/push/gmail")
        client.putheader("Content-Length", "1000")
        client.endheaders()
        assert client.getresponse().status == 401


def test_without_googles_keys_the_announcement_comes_again(google: PubSubServer, api: Api, ours: House) -> None:
    google.certs_status = 500
    assert _post(api, google, _envelope()).status_code == 503
    assert rows(api.db, _JOBS) == []


def test_a_body_without_end_is_bounded(google: PubSubServer, database_url: str) -> None:
    with _pushed_to(google, database_url, Limits(body_bytes=10_000)) as api:
        assert _post(api, google, b"x" * 10_001).status_code == 413


def test_without_its_settings_there_is_no_such_address(google: PubSubServer, database_url: str) -> None:
    with serving(settings_for(database_url)) as plain:
        assert _post(plain, google, _envelope()).status_code == 404


@pytest.mark.parametrize("name", ["push_audience", "push_service_account"])
def test_half_of_its_settings_are_told_before_serving(name: str) -> None:
    with pytest.raises(UserError, match="together"):
        make_app(settings_for("postgresql://nowhere.invalid/none", **{name: "x"}))


def test_a_worker_is_rung_after_the_commit(google: PubSubServer, database_url: str, redis_url: str) -> None:
    with _pushed_to(google, database_url, redis_url=redis_url) as api, Redis.from_url(redis_url) as valkey:
        listed(api.db)
        _post(api, google, _envelope())
        until(lambda: valkey.llen("dramatiq:live") == 1, "the doorbell")


def test_a_broker_that_is_away_keeps_nobody_from_announcing(google: PubSubServer, database_url: str) -> None:
    with _pushed_to(google, database_url, redis_url="redis://127.0.0.1:9/0") as api:
        listed(api.db)
        assert _post(api, google, _envelope()).status_code == 204
        assert rows(api.db, _JOBS) == [("history", "live", "ready")]


def test_gmails_own_change_of_a_watched_mailbox_arrives_as_a_job(google: PubSubServer, api: Api, ours: House) -> None:
    with GmailServer() as gmail:
        gmail.announcer.publish = google.publish
        box = gmail.mailbox(ADDRESS)
        with connected(gmail, user(gmail, ADDRESS)) as client:
            client.users().watch(userId="me", body={"topicName": TOPIC}).execute()
        box.add(b"Subject: new\r\n\r\nmail")
        until(lambda: rows(api.db, _JOBS) == [("history", "live", "ready")], "the job")
        for _ in range(5):
            box.add(b"Subject: more\r\n\r\nmail")
        assert gmail.announcer.sent + gmail.announcer.dropped == 6
        assert gmail.announcer.sent == 1
        gmail.announcer.is_limited = False
        box.add(b"Subject: more\r\n\r\nmail")
        assert gmail.announcer.sent == 2
        gmail.clock.advance(timedelta(days=7).total_seconds())
        box.add(b"Subject: late\r\n\r\nmail")
        assert gmail.announcer.sent == 2


def test_an_announcement_wakes_a_mailbox_while_its_row_is_held_by_a_person(
    google: PubSubServer, api: Api, ours: House
) -> None:
    with api.db.begin() as connection:
        connection.execute(text("SELECT FROM mailboxes WHERE id = :id FOR UPDATE"), {"id": ours.mailbox_id})
        assert _post(api, google, _envelope()).status_code == 204
    with api.db.begin() as connection:
        sync.request_history(connection, ours.mailbox_id)
    assert rows(api.db, _JOBS) == [("history", "live", "ready")]
