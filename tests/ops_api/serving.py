"""A running API for tests, the people who call it, and what stands in its database."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from sqlalchemy import Connection, text

from dlq import reading
from dlq.letters import Death, bury
from models.enums import BlobKind, Cause, Lane, Provider, QuarantineCause
from ops_api.app import make_app, make_server
from ops_api.limits import Limits
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.core.mime import PARSER_VERSION
from pipeline.runtime import ledger, quarantine
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from pipeline.runtime.quarantine import Held
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.ops_api import people

SECRET = "a long secret key that only tests know"
WORKER = 4_242


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.at = datetime(2030, 5, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def wait(self, duration: timedelta) -> None:
        self.at += duration


@dataclass(frozen=True, slots=True)
class Person:
    """A client with the cookies and the CSRF header of one session, and whose they are."""

    http: httpx.Client
    person_id: UUID | None = None
    session_id: UUID | None = None

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.http.post(path, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.http.request(method, path, **options)


class Api:
    """A running API; `client` is nobody, `person` is signed in."""

    def __init__(self, app: FastAPI, base_url: str) -> None:
        self.app, self.base_url = app, base_url
        self._clients: list[httpx.Client] = []

    @property
    def db(self) -> Database:
        found: Database = self.app.state.services.db
        return found

    def client(self, **options: Any) -> httpx.Client:
        client = httpx.Client(base_url=self.base_url, timeout=20, trust_env=False, verify=False, **options)
        self._clients.append(client)
        return client

    def person(self, org_id: UUID, role: str = "admin", email: str | None = None) -> Person:
        """Return a signed-in member in a built-in role; without an address each role has one person."""
        with self.db.begin() as connection:
            person_id = people.member(connection, org_id, role, email)
        return self.signed_in(org_id, person_id)

    def signed_in(self, org_id: UUID, person_id: UUID) -> Person:
        """Return a client with a new session of a member."""
        with self.db.begin() as connection:
            signed = people.sign_in(connection, Secrets.of(self.app.state.services.settings), org_id, person_id)
        client = self.client(cookies=signed.cookies, headers=signed.headers)
        return Person(client, person_id, signed.session_id)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def settings_for(database_url: str | None, **changes: Any) -> Settings:
    values: dict[str, Any] = {"database_url": database_url, "secret_key": SECRET, "allow_dev_login": True}
    return Settings(_env_file=None, **(values | changes))  # type: ignore[call-arg]


@contextmanager
def serving(settings: Settings, limits: Limits | None = None, clock: FakeClock | None = None) -> Iterator[Api]:
    """Serve the app on a free port of 127.0.0.1 while the block runs."""
    app = make_app(settings, limits=limits, clock=clock)
    # With its protocol named, asyncio turns Nagle's algorithm off; else every second request waits 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = make_server(app, "127.0.0.1", listener.getsockname()[1])
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        api = Api(app, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield api
        finally:
            api.close()
            server.should_exit = True
            thread.join(timeout=20)


@dataclass(frozen=True, slots=True)
class House:
    """One organization with a mailbox and a dead job in it."""

    org_id: UUID
    mailbox_id: UUID
    job_id: int
    occurrence_id: int
    quarantine_id: int
    reprocessing_id: int
    letter_id: int
    bulk_id: int


def house(db: Database, name: str) -> House:
    """Build an organization whose one message could not be parsed."""
    with db.begin() as connection:
        org_id = ensure_organization(connection, name)
        mailbox_id = add_mailbox(connection, org_id, f"help@{name}.example", Provider.GMAIL, source={})
        (occurrence_id,) = fetched(connection, org_id, mailbox_id, ["m-1"])
        job_id = kill(
            connection, org_id, mailbox_id, stage="parse", key=str(occurrence_id), said="canary-error in line 1"
        )
        quarantine_id = hold(connection, org_id, occurrence_id, QuarantineCause.POISON)
        reprocessing_id = compared(connection, org_id)
        (letter_id,) = reading.ids(connection, org_id=org_id)
        bulk_id = over(connection, org_id)
    return House(org_id, mailbox_id, job_id, occurrence_id, quarantine_id, reprocessing_id, letter_id, bulk_id)


def over(connection: Connection, org_id: UUID) -> int:
    """Write a bulk discard that is over; return its id."""
    statement = text("""
        INSERT INTO bulks (org_id, action, state, selection, selection_digest, total, actor, reason, finished_at)
        VALUES (:org, 'discard', 'done', '{}', 'none', 0, 'ann', 'no use', now()) RETURNING id
    """)
    return int(connection.execute(statement, {"org": org_id}).scalar_one())


def compared(connection: Connection, org_id: UUID) -> int:
    """Write a repetition that waits for a person; return its id."""
    statement = text("""
        INSERT INTO reprocessings (org_id, kind, state, version, started_by)
        VALUES (:org, 'parse', 'compared', :version, 'ann') RETURNING id
    """)
    return int(connection.execute(statement, {"org": org_id, "version": PARSER_VERSION}).scalar_one())


def held(
    connection: Connection,
    org_id: UUID,
    mailbox_id: UUID,
    provider_id: str,
    cause: QuarantineCause = QuarantineCause.ANSWERS_BACK,
) -> int:
    """Write an occurrence that is set aside; return its quarantine's id."""
    (occurrence_id,) = fetched(connection, org_id, mailbox_id, [provider_id])
    return hold(connection, org_id, occurrence_id, cause)


def hold(connection: Connection, org_id: UUID, occurrence_id: int, cause: QuarantineCause) -> int:
    """Set an occurrence aside; return its quarantine's id."""
    quarantine.hold(connection, [Held(org_id, occurrence_id, cause, "a sign of it", "stitch", "trace")])
    statement = text("SELECT id FROM quarantines WHERE occurrence_id = :id AND released_at IS NULL")
    return int(connection.execute(statement, {"id": occurrence_id}).scalar_one())


def fetched(connection: Connection, org_id: UUID, mailbox_id: UUID, provider_ids: Sequence[str]) -> list[int]:
    """Write occurrences whose raw bytes are here and that are not parsed yet; return their ids."""
    statement = text("""
        INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256)
        SELECT :org, :mailbox, id, 'fetched', decode(repeat('ab', 32), 'hex') FROM unnest(CAST(:ids AS text[])) AS id
        RETURNING id
    """)
    values = {"org": org_id, "mailbox": mailbox_id, "ids": list(provider_ids)}
    note_blobs(connection, BlobKind.RAW, [(org_id, bytes.fromhex("ab" * 32), 1, 1)])
    return sorted(connection.execute(statement, values).scalars())


def kill(connection: Connection, org_id: UUID, mailbox_id: UUID, *, stage: str, key: str, said: str) -> int:
    """Put a job, claim it and bury it; return its id."""
    ledger.put(connection, [Emit(stage, key, org_id, mailbox_id, Lane.LIVE, 0, "trace")])
    line = Line(stage, Lane.LIVE)
    jobs = ledger.claim(connection, line, batch=100, worker=WORKER, lease=timedelta(seconds=30))
    dead = [job for job in jobs if job.key == key]
    bury(connection, [Death(job, Cause.PERMANENT, ValueError(said), stage == "parse") for job in dead])
    return dead[0].job_id


def rows(db: Database, statement: str, **values: object) -> list[Any]:
    """Return what a statement finds."""
    with db.begin() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


def change(db: Database, statement: str, **values: object) -> None:
    """Run one statement."""
    with db.begin() as connection:
        connection.execute(text(statement), values)
