"""The listener: what is announced is in the ledger before it is acknowledged, and each IMAP mailbox has one waiter."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from actors import idling
from actors.idling import Idlers
from actors.listener import Listener, Puller
from models.enums import Lane
from pipeline.adapters.pubsub import PullSubscription, open_subscription
from pipeline.ports import MailboxRef
from pipeline.runtime.db import Database
from pipeline.runtime.errors import NeedsAuthorization, Permanent, Transient, UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.locks import LISTENER
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings
from tests.factories import mailbox, organization, rows, value
from tests.pubsub_server.server import PubSubServer
from tests.worker_process import until, worker_processes

TOPIC, NAME = "projects/p/topics/mail", "projects/p/subscriptions/mail"
ADDRESS = "help@acme.example"
HISTORY = Line("history", Lane.LIVE)
_JOBS = "SELECT stage, lane, state FROM jobs"


@pytest.fixture(scope="module")
def google() -> Iterator[PubSubServer]:
    with PubSubServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _calm(google: PubSubServer) -> None:
    google.duplicates, google.pull_wait = 0, 0.05
    google.refuse.clear()
    google.subscriptions.clear()


@pytest.fixture
def org_id(db: Database) -> UUID:
    with db.begin() as connection:
        return organization(connection)


@pytest.fixture
def mailbox_id(db: Database, org_id: UUID, google: PubSubServer) -> UUID:
    google.pull_from(NAME, TOPIC, ack_deadline=timedelta(milliseconds=300))
    with db.begin() as connection:
        return mailbox(connection, org_id, ADDRESS, cursor="5")


@dataclass
class Ear:
    """A puller of the test's subscription, and what it did."""

    db: Database
    endpoint: str
    rung: list[set[Line]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        self.subscription = PullSubscription(NAME, None, self.endpoint)
        self.puller = Puller(self.db, self.subscription, self.rung.append, self.metrics)

    def counted(self, named: str) -> float:
        found = self.metrics.registry.get_sample_value("fieldpost_announcements_total", {"named": named})
        return found or 0.0


@pytest.fixture
def ear(db: Database, google: PubSubServer, mailbox_id: UUID) -> Iterator[Ear]:
    made = Ear(db, google.url)
    yield made
    made.subscription.close()


@contextmanager
def _listening(ear: Ear) -> Iterator[Ear]:
    ear.puller.start()
    try:
        yield ear
    finally:
        ear.puller.stop()


def test_a_pulled_announcement_becomes_a_live_history_job_is_rung_for_and_acknowledged(ear: Ear, google: PubSubServer):
    google.announce(TOPIC, ADDRESS)
    assert ear.puller.pull_once() == 1
    assert [tuple(row) for row in rows(ear.db, _JOBS)] == [("history", "live", "ready")]
    assert ear.rung == [{HISTORY}]
    assert google.waiting(NAME) == 0
    assert ear.puller.pull_once() == 0


@pytest.mark.fault("F-49")
def test_many_announcements_make_one_job_and_are_counted(ear: Ear, google: PubSubServer):
    for address in (ADDRESS, ADDRESS.upper(), "nobody@acme.example"):
        google.announce(TOPIC, address)
    google.publish(TOPIC, b"nonsense")
    google.publish(TOPIC, b"")
    with _listening(ear):
        until(lambda: google.waiting(NAME) == 0, "the acknowledgements")
        until(lambda: ear.counted("nothing") == 2, "the count")
    assert len(rows(ear.db, _JOBS)) == 1
    assert (ear.counted("mailbox") >= 1, ear.counted("unknown")) == (True, 1)


def test_nothing_is_acknowledged_that_is_not_committed(ear: Ear, google: PubSubServer):
    rows(ear.db, "ALTER TABLE jobs RENAME TO jobs_away")
    google.announce(TOPIC, ADDRESS)
    before = google.acknowledged
    with _listening(ear):
        until(lambda: google.subscriptions[NAME].held[0].attempt >= 2, "a second delivery")
        assert (google.waiting(NAME), google.acknowledged) == (1, before)
        rows(ear.db, "ALTER TABLE jobs_away RENAME TO jobs")
        until(lambda: google.waiting(NAME) == 0, "the acknowledgement")
    assert len(rows(ear.db, _JOBS)) == 1


@pytest.mark.parametrize("status", [0, 503])
def test_an_acknowledgement_that_fails_makes_it_come_again_and_still_one_job(
    ear: Ear, google: PubSubServer, status: int
):
    google.refuse["acknowledge"] = status
    google.announce(TOPIC, ADDRESS)
    with _listening(ear):
        until(lambda: google.subscriptions[NAME].held[0].attempt >= 2, "a second delivery")
        google.refuse.clear()
        until(lambda: google.waiting(NAME) == 0, "the acknowledgement")
    assert len(rows(ear.db, _JOBS)) == 1


def test_a_listener_killed_between_announcing_and_acknowledging_loses_and_doubles_nothing(
    ear: Ear, google: PubSubServer, settings: Settings, tmp_path: Path
):
    google.announce(TOPIC, ADDRESS)
    with worker_processes(settings, tmp_path) as children:
        child = children.start("tests.actors.killed_listener", google.url, NAME)
        assert child.wait(60) == -signal.SIGKILL
    assert len(rows(ear.db, _JOBS)) == 1
    assert google.waiting(NAME) == 1
    with _listening(ear):
        until(lambda: google.waiting(NAME) == 0, "the acknowledgement by another listener")
    assert [tuple(row) for row in rows(ear.db, _JOBS)] == [("history", "live", "ready")]


def test_several_listeners_share_the_announcements(db: Database, google: PubSubServer, mailbox_id: UUID):
    google.duplicates = 20
    ears = [Ear(db, google.url) for _ in range(3)]
    google.announce(TOPIC, ADDRESS)
    for ear in ears:
        ear.puller.start()
    until(lambda: google.waiting(NAME) == 0, "the acknowledgements")
    for ear in ears:
        ear.puller.stop()
    assert len(rows(db, _JOBS)) == 1


@pytest.mark.parametrize("status", [0, 403, 404, 429, 500])
def test_a_pubsub_that_refuses_is_asked_again_later(ear: Ear, google: PubSubServer, status: int):
    google.refuse["pull"] = status
    google.announce(TOPIC, ADDRESS)
    with pytest.raises((Transient, Permanent)):
        ear.puller.pull_once()
    with _listening(ear):
        google.refuse.clear()
        until(lambda: google.waiting(NAME) == 0, "the acknowledgement")


def test_a_pull_that_waits_is_cut_off_by_stopping(ear: Ear, google: PubSubServer):
    google.pull_wait = 3600.0
    asked = google._listener.connections_opened
    ear.puller.start()
    until(lambda: google._listener.connections_opened > asked, "the pull")
    ear.puller.stop()
    assert not ear.puller._thread.is_alive()


def test_without_a_subscription_nothing_is_pulled_and_without_credentials_it_is_told(settings: Settings):
    assert open_subscription(settings) is None
    with pytest.raises(UserError, match="FIELDPOST_PUBSUB_CREDENTIALS"):
        open_subscription(settings.model_copy(update={"pubsub_subscription": NAME}))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"type": "service_account"}', '{"type": "authorized_user"}'])
def test_credentials_that_are_none_are_told_at_the_start(settings: Settings, tmp_path: Path, content: str):
    path = tmp_path / "credentials.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError):
        open_subscription(settings.model_copy(update={"pubsub_subscription": NAME, "pubsub_credentials": path}))


def test_a_listener_of_the_settings_hears_and_stops(
    db: Database, settings: Settings, google: PubSubServer, mailbox_id: UUID
):
    configured = settings.model_copy(update={"pubsub_subscription": NAME, "pubsub_endpoint": google.url})
    listener = Listener(configured, db, Servers(), lambda _: None, Metrics())
    listener.start()
    google.announce(TOPIC, ADDRESS)
    until(lambda: google.waiting(NAME) == 0, "the acknowledgement")
    listener.stop()
    assert len(rows(db, _JOBS)) == 1


class Server:
    """A mail server that is waited on: it says what it is told to say."""

    def __init__(self) -> None:
        self.says: queue.Queue[bool | Exception] = queue.Queue()
        self.waiting = 0
        self._guard = threading.Lock()

    def wait_for_news(self, duration: timedelta) -> bool:
        with self._guard:
            self.waiting += 1
        try:
            said = self.says.get(timeout=min(duration.total_seconds(), 30))
        except queue.Empty:
            return False
        finally:
            with self._guard:
                self.waiting -= 1
        if isinstance(said, Exception):
            raise said
        return said


@dataclass
class Servers:
    """Opens one server per mailbox."""

    by_mailbox: dict[UUID, Server] = field(default_factory=dict)

    def open(self, ref: MailboxRef, lane: Lane = Lane.LIVE) -> Any:
        return self.by_mailbox.setdefault(ref.mailbox_id, Server())

    def close(self) -> None:
        """Nothing is open."""

    def say(self, said: bool | Exception) -> None:
        for server in self.by_mailbox.values():
            server.says.put(said)

    @property
    def waiting(self) -> int:
        return sum(server.waiting for server in list(self.by_mailbox.values()))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rounds and rests be short."""
    for name in ("_ROUND", "_BREATH", "_FIRST_REST"):
        monkeypatch.setattr(idling, name, timedelta(milliseconds=20))


@pytest.fixture
def servers_of() -> Servers:
    return Servers()


def _imap(db: Database, org_id: UUID, count: int = 1) -> list[UUID]:
    with db.begin() as connection:
        made = [mailbox(connection, org_id, cursor="1") for _ in range(count)]
    rows(db, "UPDATE mailboxes SET provider = 'imap'")
    return made


@contextmanager
def _idling(db: Database, servers: Servers, **options: Any) -> Iterator[Idlers]:
    idlers = Idlers(db, servers, lambda _: None, **options)
    idlers.start()
    try:
        yield idlers
    finally:
        # What still waits is let go, as closing the sources does in a process.
        threading.Timer(0.05, servers.say, [False]).start()
        idlers.stop()


def _done(db: Database) -> None:
    rows(db, "DELETE FROM jobs")


def test_news_of_an_imap_server_become_a_live_history_job(db: Database, org_id: UUID, quick: None, servers_of: Servers):
    (mine,) = _imap(db, org_id)
    with _idling(db, servers_of):
        until(lambda: servers_of.waiting == 1, "a waiter")
        assert [row.key for row in rows(db, "SELECT key FROM jobs")] == [str(mine)]
        _done(db)
        servers_of.say(False)
        until(lambda: servers_of.waiting == 1 and servers_of.by_mailbox[mine].says.empty(), "the next wait")
        assert rows(db, _JOBS) == []
        servers_of.say(True)
        until(lambda: [tuple(row) for row in rows(db, _JOBS)] == [("history", "live", "ready")], "the job")


def test_a_mailbox_has_one_waiter_over_all_processes_and_another_takes_over(
    db: Database, database_url: str, org_id: UUID, quick: None
):
    found = set(_imap(db, org_id, 4))
    first, second = Servers(), Servers()
    other = Database(database_url, "other")
    with _idling(other, second) as heir:
        with _idling(db, first) as holder:
            until(lambda: holder.waited_on | heir.waited_on == found, "waiters for all")
            until(lambda: first.waiting + second.waiting == 4, "all of them to wait")
            assert not holder.waited_on & heir.waited_on
        until(lambda: heir.waited_on == found, "the heir to have them all")
    other.close()


def test_a_process_waits_for_no_more_than_its_share(db: Database, org_id: UUID, quick: None, servers_of: Servers):
    _imap(db, org_id, 5)
    with _idling(db, servers_of, most=2) as idlers:
        until(lambda: servers_of.waiting == 2, "two waiters")
        for _ in range(3):
            idlers.tend()
        assert len(idlers.waited_on) == 2
    locks = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {LISTENER} AND database ="
    until(lambda: value(db, f"{locks} (SELECT oid FROM pg_database WHERE datname = current_database())") == 0, "peace")


def test_only_active_imap_mailboxes_with_a_cursor_are_waited_on(
    db: Database, org_id: UUID, quick: None, servers_of: Servers
):
    paused, fresh, files = _imap(db, org_id, 3)
    rows(db, "UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 day' WHERE id = :id", id=paused)
    rows(db, "UPDATE mailboxes SET sync_cursor = NULL WHERE id = :id", id=fresh)
    rows(db, "UPDATE mailboxes SET provider = 'gmail' WHERE id = :id", id=files)
    with _idling(db, servers_of) as idlers:
        for _ in range(3):
            idlers.tend()
        assert idlers.waited_on == set()
        rows(db, "UPDATE mailboxes SET state = 'active', paused_until = NULL WHERE id = :id", id=paused)
        until(lambda: idlers.waited_on == {paused}, "the resumed one")
        rows(db, "UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 day'")
        servers_of.say(False)
        until(lambda: idlers.waited_on == set(), "it to be let go")


@pytest.mark.parametrize("error", [Transient("reset"), ValueError("a defect"), NeedsAuthorization("consent")], ids=repr)
def test_a_server_that_fails_is_waited_on_again_and_missed_news_are_asked_for(
    db: Database, org_id: UUID, quick: None, servers_of: Servers, error: Exception
):
    _imap(db, org_id)
    with _idling(db, servers_of):
        until(lambda: servers_of.waiting == 1, "a waiter")
        _done(db)
        servers_of.say(error)
        until(lambda: len(rows(db, _JOBS)) == 1, "the job for what may have been missed")
        until(lambda: servers_of.waiting == 1, "the next waiter")


def test_a_server_that_cannot_be_waited_on_is_left_alone(db: Database, org_id: UUID, quick: None, servers_of: Servers):
    (mine,) = _imap(db, org_id)
    with _idling(db, servers_of) as idlers:
        until(lambda: servers_of.waiting == 1, "a waiter")
        _done(db)
        servers_of.say(Permanent("no IDLE here"))
        until(lambda: mine in idlers._rests, "its rest")
        for _ in range(5):
            idlers.tend()
        assert idlers.waited_on == set()
        assert rows(db, _JOBS) == []


def test_waiters_survive_a_lost_database_connection(
    db: Database, database_url: str, org_id: UUID, quick: None, servers_of: Servers
):
    (mine,) = _imap(db, org_id)
    own = Database(database_url, "idlers")
    with _idling(own, servers_of):
        until(lambda: servers_of.waiting == 1, "a waiter")
        rows(
            db,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fieldpost idlers'"
            " AND datname = current_database()",
        )
        held = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = {LISTENER} AND granted"
        until(lambda: value(db, held) == 1, "the lock to be taken again")
        _done(db)
        servers_of.say(True)
        until(lambda: [row.key for row in rows(db, "SELECT key FROM jobs")] == [str(mine)], "the job")
    own.close()
