"""A mail that kills every process that parses it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import text

from deploy.demo.specs import MailKind
from pipeline.adapters.file_index import provider_id_of
from tests.faults.failing_worker import POISON
from tests.flow.imports import Import, mailbox_letters
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

_BURIED = text("""
    SELECT o.provider_id FROM dead_letters d JOIN occurrences o ON CAST(o.id AS text) = d.key
     WHERE d.cause = 'crashed'
""")


def test_only_the_guilty_mail_becomes_a_dead_letter_and_its_neighbours_come_through(
    mail: Import, workers: WorkerProcesses
) -> None:
    place = next(at for at, one in enumerate(mail.mails) if at > 200 and one.kind is MailKind.QUESTION)
    guilty = replace(mail.mails[place], raw=POISON + b"\r\n" + mail.mails[place].raw)
    mail.deliver([*mail.mails[:place], guilty, *mail.mails[place + 1 :]])

    def ends() -> bool:
        workers.keep(2, "tests.faults.failing_worker", "by_poison", "-")
        return not mail.pending()

    until(ends, "the end of all jobs")
    with mail.db.begin() as connection:
        assert connection.execute(_BURIED).scalars().all() == [provider_id_of(guilty.raw)]
    blank = sum(one.kind is MailKind.BLANK for one in mail.mails)
    assert mailbox_letters(mail.db) == Counter({("parse", "crashed"): 1, ("parse", "permanent"): blank})
    assert mail.states() == Counter(routed=len(mail.mails) - blank - 1, quarantined=blank + 1)
    mail.verify(workers, but=[guilty.raw])
