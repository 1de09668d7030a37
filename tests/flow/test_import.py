"""An import of generated mail from files, through worker processes, from the first listing to the work orders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sqlalchemy import text

from deploy.demo.specs import MailKind
from pipeline.commands import sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import conservation
from tests.flow.imports import Import, mailbox_letters
from tests.worker_process import WorkerProcesses

_SIZE = 300


def test_an_import_accounts_for_every_mail_and_a_second_one_stores_nothing_new(
    db: Database, settings: Settings, workers: WorkerProcesses, tmp_path: Path
) -> None:
    mail = Import(db, settings, tmp_path, _SIZE)
    blank = sum(one.kind is MailKind.BLANK for one in mail.mails)
    workers.keep(2)
    mail.deliver(mail.mails)
    mail.finish()

    assert mail.states() == Counter(routed=len(mail.mails) - blank, quarantined=blank)
    assert mailbox_letters(db) == Counter({("parse", "permanent"): blank})
    assert mail.violations() == []
    for table in ("tickets", "cases", "work_orders", "verification_tasks", "signals", "attachments"):
        assert _count(db, table) > 0, table

    with db.begin() as connection:
        before = conservation.snapshot(connection)
        for mailbox_id in mail.mailbox_ids.values():
            sync.request_backfill(connection, mailbox_id)
    mail.finish()
    with db.begin() as connection:
        assert conservation.snapshot(connection) == before
    mail.verify(workers)
    assert not any(workers.has_said(child, "deadlock") for child in workers.running())


def _count(db: Database, table: str) -> int:
    with db.begin() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
