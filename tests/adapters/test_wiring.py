"""Sources as processes keep them: one per mailbox and class of lanes, each paid by a meter of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.enums import Lane, Provider
from pipeline.adapters.wiring import CREDENTIALS, SourcePool, make_meters
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.ports import MailboxRef
from pipeline.runtime.db import Database
from pipeline.runtime.errors import KeyUnknown
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.adapters.mail import letter
from tests.factories import value
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
