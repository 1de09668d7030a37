"""What a run used: CPU of every process, WAL, memory at its peak, and room in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from redis import Redis
from sqlalchemy import text

from deploy.local.supervisor import Supervisor
from pipeline.runtime.db import Database

_SAMPLE_SECONDS = 0.1
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU in seconds by kind of process, WAL and growth of the database in bytes, peaks in megabytes.

    `others` is the share of the whole machine's CPU that programs apart from these used meanwhile.
    Memory of the workers is the sum of their resident sets; PostgreSQL's processes share most of theirs, so each
    counts its proportional share (where the kernel tells it).
    """

    cpu: Mapping[str, float]
    wal_bytes: int
    database_bytes: int
    workers_mb: float
    postgres_mb: float
    others: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    cpu: Mapping[str, float]
    wal: int
    size: int
    busy: float
    total: float


class Meter:
    """Looks at the servers of `supervisor` and at worker processes, before and after a run."""

    def __init__(self, supervisor: Supervisor, db: Database) -> None:
        self._db = db
        self._postgres = psutil.Process(supervisor.pids()["postgres"])
        self._redis_url = supervisor.endpoints.redis_url

    @contextmanager
    def measuring(self, pids: Sequence[int]) -> Iterator[list[Usage]]:
        """Measure the block; the one usage is in the list after it."""
        workers = [psutil.Process(pid) for pid in pids]
        with self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("CHECKPOINT"))
        found: list[Usage] = []
        with _Peaks(workers, self._postgres) as peaks:
            before = self._look(workers)
            yield found
            after = self._look(workers)
        cpu = {name: after.cpu[name] - before.cpu[name] for name in after.cpu}
        wal, size = after.wal - before.wal, after.size - before.size
        busy, total = after.busy - before.busy, after.total - before.total
        others = max(0.0, busy - sum(cpu.values())) / total if total > 0 else 0.0
        found.append(Usage(cpu, wal, size, peaks.workers / _MEGABYTE, peaks.postgres / _MEGABYTE, others))

    def _look(self, workers: Sequence[psutil.Process]) -> _Snapshot:
        cpu = {
            "workers": sum(_tree_seconds(worker) for worker in workers),
            "postgres": _tree_seconds(self._postgres),
            "valkey": _valkey_seconds(self._redis_url),
        }
        with self._db.begin() as connection:
            row = connection.execute(
                text("""
                    SELECT CAST(pg_current_wal_lsn() - '0/0' AS bigint) AS wal,
                           pg_database_size(current_database()) AS size
                """)
            ).one()
        machine = psutil.cpu_times()
        # Guests are in `user` already (proc(5)).
        total = sum(machine) - getattr(machine, "guest", 0.0) - getattr(machine, "guest_nice", 0.0)
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        return _Snapshot(cpu, row.wal, row.size, total - idle, total)


class _Peaks:
    """The most memory seen at any of many looks, taken by a thread of its own."""

    def __init__(self, workers: Sequence[psutil.Process], postgres: psutil.Process) -> None:
        self.workers = self.postgres = 0
        self._processes = (workers, postgres)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._go, name="memory", daemon=True)

    def __enter__(self) -> _Peaks:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _go(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        workers, postgres = self._processes
        self.workers = max(self.workers, sum(worker.memory_info().rss for worker in workers))
        family = [postgres, *postgres.children(recursive=True)]
        self.postgres = max(self.postgres, sum(_share(process) for process in family))


def _share(process: psutil.Process) -> int:
    try:
        found = process.memory_full_info()
    except psutil.Error:  # a backend that ended meanwhile
        return 0
    return int(getattr(found, "pss", found.uss))


def _tree_seconds(root: psutil.Process) -> float:
    """Return user and system seconds of a process and its children, those that ended included."""
    times = root.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        try:
            found = child.cpu_times()
        except psutil.Error:  # it ended meanwhile, and counts with its parent at the next look
            continue
        seconds += found.user + found.system
    return float(seconds)


def _valkey_seconds(url: str) -> float:
    """Return what the server itself says: it counts microseconds, the process table only hundredths."""
    with Redis.from_url(url) as client:
        found = client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
