"""`python -m tests.bench.recovery`: how soon work goes on after a fault, on real processes, each beside its goal."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import Popen

from redis import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from deploy.demo.specs import Mail
from deploy.local.supervisor import Supervisor
from models.queries import queue
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings
from tests.bench.stand import SECRET, Stand
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

_WORKERS = 2
#: Mails delivered for each sample: two full batches. Of every second sample the worker holds a good part of one.
_PORTION, _BATCH = 200, 20
_HELD = text("""
    SELECT j.id, j.attempt FROM jobs j JOIN workers w ON w.number = j.worker
     WHERE j.state = 'running' AND w.pid = :pid
""")
#: Jobs of these that another worker holds or has settled: their attempt moved, or they are gone.
_TAKEN = text("""
    SELECT t.id FROM unnest(CAST(:ids AS bigint[]), CAST(:attempts AS int[])) AS t(id, attempt)
     WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = t.id AND j.attempt = t.attempt)
""")
_PROGRESS = text("""
    SELECT coalesce(sum(array_position(CAST(:states AS text[]), CAST(state AS text))), 0) FROM occurrences
""")
_STATES = ["seen", "fetched", "parsed", "stitched", "routed"]
_CHARGED = text("SELECT count(*) FROM jobs WHERE state <> 'dead' AND (crashes > 0 OR failures > 0 OR is_suspect)")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure beside its goal; `is_met` says whether it is reached."""

    what: str
    measured: str
    goal: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class Site:
    """Where one measurement works: an import, its workers, and the servers that may be broken."""

    mail: Import
    portions: Iterator[Sequence[Mail]]
    workers: WorkerProcesses
    supervisor: Supervisor

    def one(self, query: object, **values: object) -> int:
        """Return one number."""
        with self.mail.db.begin() as connection:
            return int(connection.execute(query, values).scalar_one())  # type: ignore[call-overload]

    def settle_down(self) -> None:
        """Have all workers running and nothing left to do."""
        self.workers.keep(_WORKERS)
        until(lambda: len(self.living()) >= _WORKERS, "the workers to live")
        self.mail.finish(600)

    def living(self) -> list[queue.LiveWorker]:
        """Return the workers that hold their proof of life: a killed one was seen a moment ago, too."""
        with self.mail.db.begin() as connection:
            return list(queue.live_workers(connection))

    def holder(self, jobs: int) -> Popen[bytes]:
        """Deliver mail until a worker holds at least so many jobs; return it."""
        while True:
            if not self.mail.pending():
                self.deliver_some()
            for child in self.workers.running():
                if self.mail.held_by(child.pid) >= jobs:
                    return child

    def deliver_some(self) -> None:
        """Deliver the next mails: enough for full batches."""
        self.mail.deliver(next(self.portions))


def killed(site: Site, samples: int) -> list[Figure]:
    """Kill a worker that holds jobs; measure until each of them is in another's hands."""
    seconds: list[float] = []
    for number in range(samples):
        site.settle_down()
        victim = site.holder(_BATCH if number % 2 else 1)
        with site.mail.db.begin() as connection:
            held = {row.id: row.attempt for row in connection.execute(_HELD, {"pid": victim.pid})}
        site.workers.kill(victim)
        seconds += _taken(site, held)
    ordered = sorted(seconds)
    p50, p99 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    what = f"kill -9 of a worker, until its jobs are held by another ({len(ordered)} jobs of {samples} workers)"
    return [
        Figure(f"{what}: p50", f"{p50:.2f} s", "1.5 s", p50 <= 1.5),
        Figure("the same: p99", f"{p99:.2f} s", "5 s", p99 <= 5),
    ]


def _taken(site: Site, held: dict[int, int]) -> Iterator[float]:
    began, left = time.monotonic(), dict(held)
    while left:
        assert time.monotonic() - began < 120, f"{len(left)} jobs of a dead worker are held by nobody"
        with site.mail.db.begin() as connection:
            values = {"ids": list(left), "attempts": list(left.values())}
            gone = connection.execute(_TAKEN, values).scalars().all()
        for job_id in gone:
            del left[job_id]
            yield time.monotonic() - began
        time.sleep(0.01)


def emptied(site: Site, quiet_seconds: float) -> list[Figure]:
    """Empty the broker in the middle of an import; measure how long nothing moves, and what the import takes more."""
    seconds, pause = _import(site, flush=True)
    return [
        Figure(
            "FLUSHALL in an import: longest pause until work goes on", f"{pause:.2f} s", "5 s (full rate)", pause <= 5
        ),
        Figure(
            f"the same: seconds more than without ({quiet_seconds:.1f} s)",
            f"{seconds - quiet_seconds:+.1f} s",
            "5 s (full rate)",
            seconds - quiet_seconds <= 5,
        ),
    ]


def absent(site: Site, quiet_seconds: float) -> list[Figure]:
    """Import without a broker; compare with the same import with one."""
    site.supervisor.stop_valkey()
    try:
        seconds, _ = _import(site)
    finally:
        site.supervisor.start_valkey()
    share = quiet_seconds / seconds
    return [Figure("Valkey absent: share of the rate with it", f"{share:.0%}", "50 %", share >= 0.5)]


def _import(site: Site, *, flush: bool = False) -> tuple[float, float]:
    """Import what is not delivered yet; return its seconds, and the longest pause after the broker was emptied."""
    began, moved_at, progress, pause = time.monotonic(), time.monotonic(), 0, 0.0
    site.mail.deliver(site.mail.mails)
    is_due = flush
    while site.mail.pending():
        if (now_at := site.one(_PROGRESS, states=_STATES)) != progress:
            progress, moved_at = now_at, time.monotonic()
        if is_due and site.mail.routed():
            with Redis.from_url(str(site.mail.settings.redis_url)) as client:
                client.flushall()
            is_due, moved_at = False, time.monotonic()
        if flush and not is_due:
            pause = max(pause, time.monotonic() - moved_at)
        time.sleep(0.02)
    assert not is_due, "the import was over before the broker was emptied"
    return time.monotonic() - began, pause


def restarted(site: Site, samples: int) -> list[Figure]:
    """Stop PostgreSQL at once and start it; measure from its first answer to the first settled job."""
    seconds = []
    for _ in range(samples):
        site.settle_down()
        site.deliver_some()
        site.mail.wait_for_holder(site.workers)
        site.mail.db.close()
        site.supervisor.stop_postgres(immediate=True)
        site.supervisor.start_postgres()
        began, before = time.monotonic(), site.mail.pending()
        assert before, "everything was done before the stop"
        until(lambda before=before: site.mail.pending() < before, "a settled job")
        seconds.append(time.monotonic() - began)
    worst = max(seconds)
    what = f"PostgreSQL stopped at once and started, until a job is settled ({samples} times, the longest)"
    return [Figure(what, f"{worst:.2f} s", "10 s", worst <= 10)]


def stopped(site: Site, samples: int) -> list[Figure]:
    """Ask a worker that holds jobs to stop; measure until it is out, and count the jobs that were charged for it."""
    seconds, charged = [], 0
    for _ in range(samples):
        site.settle_down()
        site.deliver_some()
        seconds.append(site.workers.terminate(site.mail.wait_for_holder(site.workers), 60))
        charged += site.one(_CHARGED)
    what = f"SIGTERM until the worker is out ({samples} times, the longest)"
    return [
        Figure(what, f"{max(seconds):.2f} s", "30 s", max(seconds) <= 30),
        Figure("the same: jobs charged", str(charged), "0", not charged),
    ]


@contextmanager
def _site(stand: Stand, mails: int) -> Iterator[Site]:
    with stand.bed() as bed:
        settings = Settings(
            database_url=bed.database_url, redis_url=bed.redis_url, blob_url=bed.blob_url, data_dir=bed.folder,
            secret_key=SECRET, quota_minute_seconds=0.05,
        )  # type: ignore[arg-type]  # fmt: skip
        mail = Import(bed.db, settings, bed.folder, mails)
        workers = WorkerProcesses(settings, bed.folder)
        try:
            site = Site(mail, iter(mail.portions(-(-mails // _PORTION))), workers, stand.supervisor)
            site.settle_down()
            yield site
        finally:
            workers.close()


def measure(stand: Stand, mails: int, samples: int) -> list[Figure]:
    """Take all figures."""
    with _site(stand, mails) as site:
        quiet, _ = _import(site)
    with _site(stand, mails) as site:
        found = emptied(site, quiet)
    with _site(stand, mails) as site:
        found += absent(site, quiet)
    few = max(2, samples // 8)
    with _site(stand, _PORTION * (2 * samples + 2 * few)) as site:
        return [*killed(site, samples), *found, *restarted(site, few), *stopped(site, few)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when every goal is met, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recovery", description=__doc__)
    parser.add_argument("--mails", type=int, default=1500, help="mails of one import (%(default)s)")
    parser.add_argument("--samples", type=int, default=40, help="workers to kill (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(arguments)
    set_up_logs("console", "error", "bench")
    folders = [Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve() for _ in range(2)]
    try:
        with Supervisor(folders[0]) as supervisor:
            found = measure(Stand(supervisor, folders[1]), options.mails, options.samples)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    _show(found)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(figure) for figure in found], indent=2) + "\n", encoding="utf-8")
    return 0 if all(figure.is_met for figure in found) else 1


def _show(found: Sequence[Figure]) -> None:
    table = Table("after this", "measured", "goal", "")
    for figure in found:
        table.add_row(figure.what, figure.measured, figure.goal, "met" if figure.is_met else "[bold]missed[/]")
    Console(highlight=False, width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    sys.exit(main())
