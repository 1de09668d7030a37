"""`python -m tests.bench.quota`: a backfill against an enforced quota, and how long live mail takes meanwhile.

The server's clock and the budgets' minute run faster than ours by the same factor, so that an hour of quota fits into
minutes; the machine does not, so live mail's times are true and the share of the ceiling is the harder to reach.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from actors.broker import Bells, make_broker
from deploy.local.supervisor import Supervisor
from models.enums import Lane
from models.queries import queue
from pipeline.commands import sync
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import Settings
from tests.bench.children import children
from tests.bench.stand import SECRET, Bed, Stand
from tests.flow.gmail_box import ADDRESS, LONG_AGO, GmailBox
from tests.gmail_server.server import GmailServer

_SEED = 4713
_PATIENCE = 3_600.0
#: Of the server's clock: how long one call takes.
_LATENCY = 0.15

_CURSOR = text("UPDATE mailboxes SET sync_cursor = :cursor WHERE id = :id")
_STATE = text("SELECT state FROM occurrences WHERE mailbox_id = :id AND provider_id = :provider_id")
_FETCHED = text("SELECT count(*) FROM occurrences WHERE mailbox_id = :id AND raw_sha256 IS NOT NULL")
_DEAD = text("SELECT count(*) FROM dead_letters")


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured; shares are of 1, times in seconds."""

    messages: int
    speed: float
    quota_minutes: float
    share_of_ceiling: float
    peak_of_minute: int
    share_throttled: float
    live_idle_p50: float
    live_idle_p95: float
    live_busy_p50: float
    live_busy_p95: float
    dead_letters: int


class Run:
    """One mailbox, its server, and workers that read it."""

    def __init__(self, bed: Bed, server: GmailServer, bells: Bells, folder: Path) -> None:
        settings = Settings(database_url=bed.database_url, secret_key=SecretStr(SECRET))
        self.bed, self.server, self.bells = bed, server, bells
        self.gmail = GmailBox(server, bed.db, settings, folder)
        self._chance = Random(_SEED)

    def fill(self, messages: int) -> None:
        """Put mail into the mailbox that only a listing finds: history is followed from after it."""
        self.gmail.arrive(messages, self._chance, at=LONG_AGO)
        with self.bed.db.begin() as connection:
            connection.execute(_CURSOR, {"id": self.gmail.mailbox_id, "cursor": str(self.gmail.box.history_id)})

    def one_live(self) -> float:
        """Let one mail arrive and announce it as a push does; return the seconds until it is routed."""
        began = time.perf_counter()
        (provider_id,) = self.gmail.arrive(1, self._chance)
        with self.bed.db.begin() as connection:
            sync.request_history(connection, self.gmail.mailbox_id)
        self.bells.ring({Line("history", Lane.LIVE)})
        _wait_until(lambda: self._state(provider_id) == "routed", "a live mail", 0.002)
        return time.perf_counter() - began

    def backfill(self) -> None:
        """Ask for the listing."""
        self.gmail.backfill()
        self.bells.ring({Line("backfill", Lane.BACKFILL)})

    def fetched(self) -> int:
        """Return how many messages are stored."""
        with self.bed.db.begin() as connection:
            return int(connection.execute(_FETCHED, {"id": self.gmail.mailbox_id}).scalar_one())

    def units(self) -> int:
        """Return what the server has counted."""
        counted: Any = self.server.stats()["units_by_mailbox"]
        return int(counted.get(ADDRESS, 0))

    def is_busy(self) -> bool:
        """Say whether jobs are left."""
        with self.bed.db.begin() as connection:
            return queue.is_busy(connection, self.gmail.mailbox_id)

    def _state(self, provider_id: str) -> str | None:
        values = {"id": self.gmail.mailbox_id, "provider_id": provider_id}
        with self.bed.db.begin() as connection:
            return connection.execute(_STATE, values).scalar_one_or_none()


def measure(stand: Stand, folder: Path, *, messages: int, speed: float, processes: int, samples: int) -> Found:
    """Backfill against the quota of a new project, with live mail all along."""
    with stand.bed() as bed, GmailServer(seed=_SEED, speed=speed) as server, _ringing(bed) as bells:
        server.quota.latency = _LATENCY
        run = Run(bed, server, bells, folder)
        run.fill(messages)
        pace = {"FIELDPOST_QUOTA_MINUTE_SECONDS": str(60 / speed), "FIELDPOST_HISTORY_INTERVAL_SECONDS": "3600"}
        with children("worker", [()] * processes, {**bed.environment, **pace}, bed.folder / "logs"):
            run.one_live()
            idle = [run.one_live() for _ in range(samples)]
            server.quota.enforce = True
            server.reset_stats()
            share, minutes, busy = _busy(run, messages + 1 + samples, samples)
            _wait_until(lambda: not run.is_busy(), "the end of all jobs")
        return _found(run, (messages, speed), (share, minutes), (idle, busy))


def _busy(run: Run, before: int, samples: int) -> tuple[float, float, list[float]]:
    """Return the share of the ceiling used while mail was fetched, its quota minutes, and the times of live mail."""
    stored = run.fetched()
    run.backfill()
    _wait_until(lambda: run.fetched() > stored, "the first messages")
    clock, units, busy = run.server.clock, run.units(), list[float]()
    began, every = clock.now(), max(1, before // (samples + 1))
    for number in range(samples):
        _wait_until(lambda number=number: run.fetched() >= stored + (number + 1) * every - 1, "the backfill")  # type: ignore[misc]
        busy.append(run.one_live())
    _wait_until(lambda: run.fetched() >= before + samples, "the last message")
    minutes = (clock.now() - began) / 60
    return (run.units() - units) / (minutes * run.server.quota.user_minute()), minutes, busy


def _found(
    run: Run, pace: tuple[int, float], used: tuple[float, float], live: tuple[list[float], list[float]]
) -> Found:
    stats: Any = run.server.stats()
    counts = [status for method, found in stats["calls"].items() if method != "token" for status in found.items()]
    refused = sum(count for status, count in counts if status in {"403", "429"})
    with run.bed.db.begin() as connection:
        dead = connection.execute(_DEAD).scalar_one()
    idle, busy = live
    return Found(
        messages=pace[0],
        speed=pace[1],
        quota_minutes=used[1],
        share_of_ceiling=used[0],
        peak_of_minute=stats["peak_units_per_minute"][ADDRESS],
        share_throttled=refused / sum(count for _, count in counts),
        live_idle_p50=statistics.median(idle),
        live_idle_p95=_p95(idle),
        live_busy_p50=statistics.median(busy),
        live_busy_p95=_p95(busy),
        dead_letters=dead,
    )


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[min(len(seconds) - 1, round(0.95 * len(seconds)))]


@contextmanager
def _ringing(bed: Bed) -> Iterator[Bells]:
    with closing(make_broker(bed.redis_url)) as broker:
        yield Bells(broker, Metrics())


def _wait_until(condition: Callable[[], bool], what: str, poll: float = 0.02) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(poll)


def main() -> int:
    """Measure and print; 0 when every target was met, 1 otherwise."""
    options = _options()
    set_up_logs("console", "error", "bench")
    folder = Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve()
    work = Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve()
    try:
        with Supervisor(folder) as supervisor:
            found = measure(
                Stand(supervisor, work), work, messages=options.messages, speed=options.speed,
                processes=options.processes, samples=options.samples,
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    return _show(found, options.json)


def _show(found: Found, file: Path | None) -> int:
    slower = found.live_busy_p95 / found.live_idle_p95
    targets = (
        (f"{found.share_of_ceiling:.1%} of the ceiling used", found.share_of_ceiling >= 0.95, "at least 95 %"),
        (f"{found.share_throttled:.2%} of calls throttled", found.share_throttled < 0.005, "under 0.5 %"),
        (f"live mail's p95 {slower:.2f} x that of idle", slower <= 2, "at most 2 x"),
        (f"{found.dead_letters} dead letters", found.dead_letters == 0, "none"),
    )
    print(
        f"{found.messages} messages in {found.quota_minutes:.1f} quota minutes at {found.speed:g} x; the fullest minute"
        f" held {found.peak_of_minute} units; live mail idle p50 {found.live_idle_p50 * 1000:.0f} ms, p95"
        f" {found.live_idle_p95 * 1000:.0f} ms; during the backfill p50 {found.live_busy_p50 * 1000:.0f} ms, p95"
        f" {found.live_busy_p95 * 1000:.0f} ms"
    )
    for said, is_met, target in targets:
        print(f"{'ok    ' if is_met else 'MISSED'} {said} (target: {target})")
    if file is not None:
        file.write_text(json.dumps(asdict(found), indent=2) + "\n", encoding="utf-8")
    return 0 if all(is_met for _, is_met, _ in targets) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quota", description="A backfill against the quota.")
    parser.add_argument("--messages", type=int, default=20_000, help="in the mailbox (%(default)s)")
    parser.add_argument(
        "--speed", type=float, default=10.0, help="how much faster the quota's clock runs (%(default)s)"
    )
    parser.add_argument("--processes", type=int, default=2, help="workers (%(default)s)")
    parser.add_argument("--samples", type=int, default=40, help="live mails of each kind (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
