"""The hostile set through worker processes: nobody dies, nothing is lost, every byte can be had again."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from models.enums import BlobKind, Provider
from models.queries import raw as queries
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.file_form import NotMailError, look_at_message
from pipeline.commands import mailboxes, sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import conservation
from tests.core.hostile.catalogue import SEED, samples
from tests.worker_process import WorkerProcesses, until

_PENDING = text("SELECT count(*) FROM jobs WHERE state <> 'dead'")
_LISTING = text("SELECT count(*) FROM backfills WHERE state = 'running'")
_ENDS = text("""
    SELECT o.id, o.state, o.org_id, encode(o.raw_sha256, 'hex') AS sha256, o.provider_id,
           l.ticket_id IS NOT NULL AS has_ticket,
           EXISTS (SELECT FROM dead_letters d WHERE d.key = CAST(o.id AS text) AND d.resolution IS NULL)
           OR EXISTS (SELECT FROM quarantines q WHERE q.occurrence_id = o.id AND q.released_at IS NULL) AS is_set_aside
      FROM occurrences o LEFT JOIN ticket_messages l ON l.message_id = o.message_id
""")
_POISONED = text("SELECT count(*) FROM messages WHERE 'poison_mail' = ANY(flags)")


@pytest.mark.fault("F-31")
def test_every_hostile_mail_ends_as_a_ticket_or_in_quarantine_with_its_bytes(
    db: Database, settings: Settings, workers: WorkerProcesses, tmp_path: Path
) -> None:
    box = tmp_path / "mail"
    box.mkdir()
    sent = _deliver(box)
    print(f"seed {SEED}, {sent.total()} mails")
    with db.begin() as connection:
        org_id = mailboxes.ensure_organization(connection, "Acme")
        source = {"paths": [str(box)], "spool": str(tmp_path / "spool")}
        mailbox_id = mailboxes.add_mailbox(connection, org_id, "support@acme.example", Provider.FILES, source=source)
        sync.request_backfill(connection, mailbox_id)
    started = [workers.start(), workers.start()]

    def ends() -> bool:
        with db.begin() as connection:
            return not connection.execute(_PENDING).scalar_one() and not connection.execute(_LISTING).scalar_one()

    until(ends, "the end of all jobs")
    assert workers.running() == started
    peaks = [_peak(child.pid) for child in started]
    print(f"most memory of a worker: {max(peaks) / 2**20:.0f} MB")
    assert max(peaks) <= 2**30
    assert not any(workers.has_said(worker, "jobs.reclaimed") for worker in started)

    assert settings.blob_url is not None
    blobs = open_blob_store(settings.blob_url)
    with db.begin() as connection:
        rows = connection.execute(_ENDS).all()
        assert Counter(row.sha256 for row in rows) == sent
        assert {row.state for row in rows} == {"routed", "quarantined"}
        assert [row.provider_id for row in rows if not (row.has_ticket or row.is_set_aside)] == []
        print(Counter(row.state for row in rows))
        for row in rows:
            found = queries.of_occurrence(connection, row.id, row.org_id)
            assert found is not None
            assert found.sha256 is not None
            content = blobs.get(BlobKind.RAW, [found.sha256])[found.sha256]
            assert hashlib.sha256(content).hexdigest() == row.sha256
        assert connection.execute(_POISONED).scalar_one() == 0
        served = {row.provider_id: row.sha256 for row in rows}
        assert conservation.check(connection, mailbox_id, served, served=served) == []


def _peak(pid: int) -> int:
    """Return the most memory a process ever had, in bytes; what it has now where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return int(psutil.Process(pid).memory_info().rss)
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def _deliver(box: Path) -> Counter[str]:
    """Write the mails as files and return their hashes; the two that no file source takes for mail are left out."""
    sent: Counter[str] = Counter()
    refused = 0
    for number, sample in enumerate(samples(SEED)):
        path = box / f"{number:05d}.eml"
        path.write_bytes(sample.raw)
        try:
            look_at_message(path)
        except NotMailError:
            path.unlink()
            refused += 1
            continue
        sent[hashlib.sha256(sample.raw).hexdigest()] += 1
    assert refused == 2
    return sent
