"""A mail that kills every process that touches it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import text

from deploy.demo.specs import Mail, MailKind
from pipeline.adapters.file_index import provider_id_of
from pipeline.core import mime, minimal
from tests.faults.failing_worker import DEADLY_SUBJECT, POISON
from tests.faults.failpoints import Plan
from tests.flow.imports import Import, mailbox_letters
from tests.worker_process import WorkerProcesses, until

pytestmark = pytest.mark.faults

_BURIED = text("""
    SELECT o.provider_id FROM dead_letters d JOIN occurrences o ON CAST(o.id AS text) = d.key
     WHERE d.cause = 'crashed'
""")
_POISONED = text("""
    SELECT m.subject, m.from_address, m.raw_sha256, c.body_text, l.ticket_id
      FROM messages m JOIN message_contents c ON c.message_id = m.id
      LEFT JOIN ticket_messages l ON l.message_id = m.id
     WHERE 'poison_mail' = ANY(m.flags)
""")


def _deliver_with_a_deadly_one(mail: Import, header: bytes) -> Mail:
    """Deliver all mails, one of which begins with a deadly header; return that one."""
    place = next(at for at, one in enumerate(mail.mails) if at > 200 and one.kind is MailKind.QUESTION)
    guilty = replace(mail.mails[place], raw=header + b"\r\n" + mail.mails[place].raw)
    mail.deliver([*mail.mails[:place], guilty, *mail.mails[place + 1 :]])
    return guilty


def _run(mail: Import, workers: WorkerProcesses, change: str) -> None:
    plan = Plan(changes=(change,))

    def ends() -> bool:
        workers.keep(2, "tests.faults.failing_worker", str(plan))
        return not mail.pending()

    until(ends, "the end of all jobs")


@pytest.mark.fault("F-09", "F-31")
def test_a_mail_that_kills_every_reader_becomes_a_ticket_with_its_sender_and_subject(
    mail: Import, workers: WorkerProcesses
) -> None:
    guilty = _deliver_with_a_deadly_one(mail, POISON)
    _run(mail, workers, "by_poison")
    blank = sum(one.kind is MailKind.BLANK for one in mail.mails)
    assert mailbox_letters(mail.db) == Counter({("parse", "permanent"): blank})
    assert mail.states() == Counter(routed=len(mail.mails) - blank, quarantined=blank)
    with mail.db.begin() as connection:
        row = connection.execute(_POISONED).one()
    read = mime.parse(guilty.raw)
    assert (row.subject, row.from_address) == (read.subject, read.from_[0].address)
    assert (row.body_text, row.raw_sha256) == (minimal.BODY, hashlib.sha256(guilty.raw).digest())
    assert row.ticket_id is not None
    mail.verify(workers)


@pytest.mark.fault("F-09", "F-31")
def test_only_the_guilty_mail_becomes_a_dead_letter_and_its_neighbours_come_through(
    mail: Import, workers: WorkerProcesses
) -> None:
    guilty = _deliver_with_a_deadly_one(mail, f"Subject: {DEADLY_SUBJECT}".encode())
    _run(mail, workers, "by_subject")
    with mail.db.begin() as connection:
        assert connection.execute(_BURIED).scalars().all() == [provider_id_of(guilty.raw)]
    blank = sum(one.kind is MailKind.BLANK for one in mail.mails)
    assert mailbox_letters(mail.db) == Counter({("parse", "crashed"): 1, ("parse", "permanent"): blank})
    assert mail.states() == Counter(routed=len(mail.mails) - blank - 1, quarantined=blank + 1)
    mail.verify(workers, but=[guilty.raw])
