"""Sources as processes keep them: one per mailbox and class of lanes, each paid by a meter of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from models.enums import Lane, Provider
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.gmail import GmailSource
from pipeline.adapters.meter import Meter, Meters
from pipeline.adapters.metered import MeteredSource
from pipeline.adapters.wiring import CREDENTIALS, SourcePool, make_meters
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.ports import Fetched, MailboxRef
from pipeline.runtime.db import Database
from pipeline.runtime.errors import KeyUnknown, OutOfBudget
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.adapters.mail import StepClock, letter
from tests.factories import rows, value
from tests.gmail_server import GmailServer

ADDRESS = "support@example.org"


@pytest.fixture
def ref(db: Database, settings: Settings, gmail_server: GmailServer, tmp_path: Path) -> MailboxRef:
    content = gmail_server.service_account_file(tmp_path / "key.json").read_bytes()
    gmail_server.mailbox(ADDRESS).add(letter(1))
    sealed = Secrets.of(settings).seal(CREDENTIALS, ADDRESS, content)
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        source = {"endpoint": gmail_server.url}
        found = add_mailbox(connection, org_id, ADDRESS, Provider.GMAIL, source=source, credentials=sealed)
        return load_mailboxes(connection, [found])[found].ref


@pytest.fixture
def gmail_server() -> Iterator[GmailServer]:
    with GmailServer() as server:
        yield server


def test_a_mailbox_has_a_source_for_live_mail_and_one_for_everything_else(
    db: Database, settings: Settings, ref: MailboxRef
) -> None:
    pool = SourcePool(settings, Secrets.of(settings), lambda *_: None, make_meters(settings, db))
    live, backfill = pool.open(ref), pool.open(ref, Lane.BACKFILL)
    assert live is not backfill
    assert pool.open(ref, Lane.LIVE) is live
    assert pool.open(ref, Lane.REPAIR) is backfill
    assert len(backfill.list_page(None, limit=10).items) == 1
    assert value(db, "SELECT project FROM mailboxes") == "test-project"
    assert value(db, "SELECT day_units FROM budgets WHERE scope = 'project:test-project'") == 6
    pool.close()


def test_a_process_without_the_key_makes_no_call_and_charges_no_budget(
    db: Database, settings: Settings, gmail_server: GmailServer, ref: MailboxRef
) -> None:
    pool = SourcePool(settings, Secrets("the key of another environment"), lambda *_: None, make_meters(settings, db))
    for _ in range(2):
        with pytest.raises(KeyUnknown, match="FIELDPOST_PREVIOUS_SECRET_KEYS"):
            pool.open(ref)
    pool.close()
    assert value(db, "SELECT count(*) FROM budgets") == 0
    assert gmail_server.stats()["calls"] == {}


@pytest.fixture
def pool(db: Database, settings: Settings, clock: StepClock) -> Iterator[SourcePool]:
    found = SourcePool(settings, Secrets.of(settings), lambda *_: None, make_meters(settings, db), clock)
    yield found
    found.close()


@pytest.fixture
def clock() -> StepClock:
    return StepClock(SystemClock().now())


@pytest.fixture
def imap_ref(db: Database, settings: Settings) -> MailboxRef:
    content = b'{"type": "imap_password", "password": "x"}'
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        found = add_mailbox(
            connection,
            org_id,
            "imap@example.org",
            Provider.IMAP,
            source={"host": "127.0.0.1", "port": 1, "security": "none"},
            credentials=Secrets.of(settings).seal(CREDENTIALS, "imap@example.org", content),
        )
        return load_mailboxes(connection, [found])[found].ref


def content_of(ref: MailboxRef, settings: Settings) -> bytes:
    assert ref.credentials is not None
    return Secrets.of(settings).unseal(CREDENTIALS, ref.address, ref.credentials)


def sealed(ref: MailboxRef, content: bytes, settings: Settings) -> MailboxRef:
    return replace(ref, credentials=Secrets.of(settings).seal(CREDENTIALS, ref.address, content))


def test_credentials_sealed_anew_change_nothing(pool: SourcePool, settings: Settings, ref: MailboxRef) -> None:
    before = pool.open(ref)
    again = sealed(ref, content_of(ref, settings), settings)
    assert again.credentials != ref.credentials
    assert pool.open(again) is before


def test_a_source_that_was_replaced_works_on_for_those_who_hold_it(
    pool: SourcePool, settings: Settings, ref: MailboxRef
) -> None:
    before = pool.open(ref)
    items = before.list_page(None, limit=10).items
    changed = json.dumps(json.loads(content_of(ref, settings)) | {"comment": "connected again"}).encode()
    after = pool.open(sealed(ref, changed, settings))
    assert after is not before
    for each in (before, after):
        assert [type(one) for one in each.fetch(items)] == [Fetched]


def test_a_mailbox_that_was_connected_again_has_its_project_noted_again(
    db: Database, pool: SourcePool, ref: MailboxRef
) -> None:
    before = pool.open(ref)
    rows(db, "UPDATE mailboxes SET project = NULL")
    assert pool.open(ref) is before
    assert value(db, "SELECT project FROM mailboxes") == "test-project"


def test_opening_one_mailbox_never_waits_for_anothers_database(
    db: Database, settings: Settings, ref: MailboxRef, imap_ref: MailboxRef
) -> None:
    entered, release = threading.Event(), threading.Event()

    class SlowMeters(Meters):
        def meter(self, mailbox_id: UUID, *arguments: Any, **options: Any) -> Meter:
            if mailbox_id == ref.mailbox_id:
                entered.set()
                assert release.wait(30)
            return super().meter(mailbox_id, *arguments, **options)

    pool = SourcePool(settings, Secrets.of(settings), lambda *_: None, SlowMeters(db, SystemClock()))
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(pool.open, ref) for _ in range(2)]
        assert entered.wait(30)
        pool.open(imap_ref)
        assert not waiting[0].done()
        release.set()
        assert waiting[0].result() is waiting[1].result()
    pool.close()


def test_a_database_that_is_away_is_waited_for_like_units(
    settings: Settings, ref: MailboxRef, database_url: str
) -> None:
    away = Database(database_url.replace("test_", "no_such_"), "test")
    pool = SourcePool(settings, Secrets.of(settings), lambda *_: None, make_meters(settings, away))
    with pytest.raises(OutOfBudget, match="does not answer"):
        pool.open(ref)
    pool.close()
    away.close()


@pytest.mark.parametrize("first", [Lane.LIVE, Lane.BACKFILL])
def test_lanes_share_imap_connections_and_pay_apart(pool: SourcePool, imap_ref: MailboxRef, first: Lane) -> None:
    pool.open(imap_ref, first)
    live, backfill = pool.open(imap_ref, Lane.LIVE), pool.open(imap_ref, Lane.BACKFILL)
    assert isinstance(live, MeteredSource)
    assert isinstance(backfill, MeteredSource)
    assert live._source is backfill._source
    assert (live._meter._is_live, backfill._meter._is_live) == (True, False)  # type: ignore[attr-defined]
    assert pool.open(imap_ref, Lane.REPAIR) is backfill


def test_sources_that_nobody_asks_for_are_closed(
    pool: SourcePool, clock: StepClock, ref: MailboxRef, imap_ref: MailboxRef
) -> None:
    old, kept = pool.open(ref), pool.open(imap_ref)
    old.list_page(None, limit=10)
    assert isinstance(old, GmailSource)
    assert old._calls._idle.qsize() == 1
    clock.wait(timedelta(minutes=4))
    assert pool.open(imap_ref) is kept
    clock.wait(timedelta(minutes=2))
    assert pool.open(imap_ref) is kept
    assert old._calls._idle.qsize() == 0
    assert pool.open(ref) is not old


def test_files_have_one_source_for_all_lanes_and_cost_nothing(db: Database, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "1.eml").write_bytes(letter(1))
    source = {"paths": [str(tmp_path / "mail")], "spool": str(tmp_path / "spool")}
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        found = add_mailbox(connection, org_id, "files@example.org", Provider.FILES, source=source)
        ref = load_mailboxes(connection, [found])[found].ref
    pool = SourcePool(settings, Secrets.of(settings), lambda *_: None, make_meters(settings, db))
    assert pool.open(ref) is pool.open(ref, Lane.BACKFILL)
    assert len(pool.open(ref).list_page(None, limit=10).items) == 1
    assert value(db, "SELECT count(*) FROM budgets") == 0
    pool.close()
