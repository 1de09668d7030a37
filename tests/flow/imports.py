"""A generated company whose mail comes in files: delivered in portions, imported by workers, compared at the end."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from subprocess import Popen
from uuid import UUID

from redis import Redis
from sqlalchemy import text

from deploy.demo.loading import load_company
from deploy.demo.scenario import build
from deploy.demo.specs import Mail, Scenario
from models.enums import Lane, Provider
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.file_index import provider_id_of
from pipeline.commands import mailboxes, sync
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settings import Settings
from tests import conservation
from tests.worker_process import WorkerProcesses, until

SEED = 11
_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)

_PENDING = text("SELECT count(*) FROM jobs WHERE state <> 'dead'")
_LISTING = text("SELECT count(*) FROM backfills WHERE state = 'running'")
_ROUTED = text("SELECT count(*) FROM occurrences WHERE state = 'routed'")
_STATES = text("SELECT state, count(*) AS number FROM occurrences GROUP BY state")
_STEPS = text("""
    SELECT s.stage, CAST(o.id AS text) AS key, o.org_id, o.mailbox_id
      FROM occurrences o, unnest(ARRAY['fetch', 'parse', 'stitch', 'routing']) AS s(stage)
    UNION SELECT 'triage', CAST(s.message_id AS text), s.org_id, CAST(NULL AS uuid) FROM signals s
    UNION SELECT 'dispatch', CAST(w.case_id AS text), w.org_id, NULL FROM work_orders w
""")
_LEFT = text("""
    SELECT stage, state, worker, is_suspect, count(*), CAST(min(lease_until) - now() AS text)
      FROM jobs WHERE state <> 'dead' GROUP BY 1, 2, 3, 4 ORDER BY 1, 2
""")
_SESSIONS = text("""
    SELECT pid, state, wait_event, CAST(now() - state_change AS text), pg_blocking_pids(pid), left(query, 60)
      FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
""")
_HELD = text("""
    SELECT count(*) FROM jobs WHERE state = 'running' AND worker = (
        SELECT number FROM workers WHERE pid = :pid ORDER BY started_at DESC LIMIT 1)
""")


@cache
def scenario(size: int) -> Scenario:
    """Return the company and its mail; the same for the same size."""
    return build(SEED, size, _START)


class Import:
    """One import under way: what was delivered as files, and what the database makes of it."""

    def __init__(self, db: Database, settings: Settings, folder: Path, size: int) -> None:
        self.db, self.settings = db, settings
        self.scenario = scenario(size)
        self._folder = folder
        self._delivered: dict[str, list[Mail]] = {address: [] for address in self.scenario.mailboxes}
        with db.begin() as connection:
            org_id = load_company(connection, self.scenario)
            self.mailbox_ids = {
                address: mailboxes.add_mailbox(
                    connection, org_id, address, Provider.FILES,
                    source={"paths": [str(self._box(address))], "spool": str(folder / "spool")},
                )
                for address in self.scenario.mailboxes
            }  # fmt: skip

    @property
    def mails(self) -> Sequence[Mail]:
        """Return all initial mails, in order of arrival."""
        return self.scenario.initial

    def deliver(self, mails: Sequence[Mail]) -> None:
        """Write mails as files, wait for a listing under way, and ask for a new one."""
        for mail in mails:
            box = self._box(mail.mailbox)
            path = box / f"{len(self._delivered[mail.mailbox]):05d}.eml"
            path.write_bytes(mail.raw)
            os.utime(path, (mail.at.timestamp(), mail.at.timestamp()))
            self._delivered[mail.mailbox].append(mail)
        until(lambda: not self._count(_LISTING), "the end of the listing before")
        with self.db.begin() as connection:
            for address in {mail.mailbox for mail in mails}:
                sync.request_backfill(connection, self.mailbox_ids[address])

    def portions(self, count: int) -> list[Sequence[Mail]]:
        """Return the mails in `count` portions of about the same size."""
        size = -(-len(self.mails) // count)
        return [self.mails[start : start + size] for start in range(0, len(self.mails), size)]

    def pending(self) -> int:
        """Return how many jobs are not finished and not dead."""
        return self._count(_PENDING)

    def routed(self) -> int:
        """Return how many occurrences have come through."""
        return self._count(_ROUTED)

    def held_by(self, pid: int) -> int:
        """Return how many jobs the worker with a process id holds at this moment."""
        with self.db.begin() as connection:
            return int(connection.execute(_HELD, {"pid": pid}).scalar_one())

    def wait_for_holder(self, workers: WorkerProcesses) -> Popen[bytes]:
        """Return a worker that holds jobs, as soon as one does."""
        found: list[Popen[bytes]] = []

        def holds() -> bool:
            found.extend(child for child in workers.running() if self.held_by(child.pid))
            return bool(found)

        until(holds, "a worker that holds jobs")
        return found[0]

    def states(self) -> Counter[str]:
        """Return the number of occurrences by state."""
        with self.db.begin() as connection:
            return Counter({row.state: row.number for row in connection.execute(_STATES)})

    def finish(self, seconds: float = 120) -> None:
        """Wait until nothing is left to do; whoever waits in vain is told what is left, and what the database does."""
        try:
            until(lambda: not self.pending(), "the end of all jobs", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self._left()}") from None

    def violations(self, but: Sequence[bytes] = ()) -> list[str]:
        """Return every broken invariant, and each difference to the tickets of the reference, which is `but` mails."""
        assert self.settings.blob_url is not None
        blobs = open_blob_store(self.settings.blob_url)
        broken = []
        with self.db.begin() as connection:
            for address, mailbox_id in self.mailbox_ids.items():
                served = self._served(address)
                broken += conservation.check(connection, mailbox_id, served, served=served, blobs=blobs)
            found = conservation.partition(connection)
        mails = [mail.raw for delivered in self._delivered.values() for mail in delivered if mail.raw not in but]
        wanted = conservation.reference(((raw, None) for raw in mails), self.mailbox_ids)
        broken += [f"ticket nobody expected: {sorted(group)}" for group in found - wanted]
        return [*broken, *(f"no ticket for: {sorted(group)}" for group in wanted - found)]

    def run_again(self) -> None:
        """Empty the broker and ask for every step of everything once more; return when all of it is done."""
        assert self.settings.redis_url is not None
        with Redis.from_url(self.settings.redis_url) as client:
            client.flushall()
        with self.db.begin() as connection:
            rows = connection.execute(_STEPS).all()
            ledger.put(
                connection,
                [Emit(row.stage, row.key, row.org_id, row.mailbox_id, Lane.REPAIR, 0, "again") for row in rows],
            )
        self.finish()

    def verify(self, workers: WorkerProcesses, but: Sequence[bytes] = ()) -> None:
        """Fail unless everything `but` some mails came through once, and running everything again changes nothing."""
        states = self.states()
        assert set(states) <= {"routed", "quarantined"}, states
        assert self.violations(but) == []
        workers.keep(1)
        with self.db.begin() as connection:
            before = conservation.snapshot(connection)
        self.run_again()
        with self.db.begin() as connection:
            assert conservation.snapshot(connection) == before
        assert self.violations(but) == []

    def _left(self) -> str:
        with self.db.begin() as connection:
            jobs = [tuple(row) for row in connection.execute(_LEFT)]
            sessions = [tuple(row) for row in connection.execute(_SESSIONS)]
        return f"left: {jobs}; sessions: {sessions}"

    def _box(self, address: str) -> Path:
        box = self._folder / "mail" / address
        box.mkdir(parents=True, exist_ok=True)
        return box

    def _served(self, address: str) -> dict[str, str]:
        """Return the hash of the bytes behind each id; the N-th equal copy in a folder has an id of its own."""
        served: dict[str, str] = {}
        for mail in self._delivered[address]:
            sha256 = hashlib.sha256(mail.raw).hexdigest()
            copies = sum(one == sha256 for one in served.values())
            served[provider_id_of(mail.raw) + (f".{copies + 1}" if copies else "")] = sha256
        return served

    def _count(self, query: object) -> int:
        with self.db.begin() as connection:
            return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]


def mailbox_letters(db: Database, mailbox_id: UUID | None = None) -> Counter[tuple[str, str]]:
    """Return the number of open letters by stage and cause."""
    query = "SELECT stage, cause FROM dead_letters WHERE resolution IS NULL"
    with db.begin() as connection:
        if mailbox_id is None:
            return Counter((row.stage, row.cause) for row in connection.execute(text(query)))
        rows = connection.execute(text(f"{query} AND mailbox_id = :id"), {"id": mailbox_id})
        return Counter((row.stage, row.cause) for row in rows)
