"""`python -m tests.bench.triage`: what a walk over all open cases takes, one new report, and one mail.

Real workers on a database of its own; the archive is what was said of cases that are closed by now.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from actors.broker import Bells, make_broker
from deploy.local.supervisor import Supervisor
from models.enums import AssessedBecause, CaseEnd, Lane, SignalStatus, TriageMode
from models.queries import queue
from pipeline import executor
from pipeline.adapters.clock import SystemClock
from pipeline.command import Ask
from pipeline.commands.case_arguments import Run, SignalReport
from pipeline.commands.triage_policies import ACTIVATE, DRAFT
from pipeline.commands.triage_policy_arguments import PolicyActivation, PolicyDraft
from pipeline.commands.triage_runs import RUN
from pipeline.core.principals import Principal
from pipeline.core.scoring import Signal
from pipeline.runtime import case_rows, signal_rows
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Work
from pipeline.stages import triage
from tests import factories
from tests.bench.children import children
from tests.bench.desk import Cpu
from tests.bench.metering import Meter
from tests.bench.stand import Bed, Stand
from tests.commands.desks import principal
from tests.ops_api import people

_CLOCK = SystemClock()
#: Without a classifier that was trained.
_PORTS: Any = SimpleNamespace(statuses=None)
_POLL = timedelta(milliseconds=10)
_PATIENCE = 600.0
_BATCH, _WARM = 500, 20
_SAYS = "The card reader is offline and the screen stays dark since this morning, the cable is bent"
_BEHIND = text("""
    SELECT count(*) FROM cases WHERE state = 'open' AND policy_version <> :version
""")
_ARCHIVE = text("""
    INSERT INTO signals (org_id, asset_id, case_id, source, reporter, at, status, text, rules_version)
    SELECT c.org_id, c.asset_id, c.id, 'mail', 'p' || n % 500 || '@x.example', now() - (1 + n % 400) * interval '1 day',
           'down', :said, 1
      FROM generate_series(1, :each) AS g(n)
      JOIN (SELECT org_id, asset_id, id FROM cases WHERE state = 'closed' AND mode = 'certainty') AS c ON true
""")
_MESSAGE = text("""
    INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address,
                          received_at, snippet, raw_sha256, parser_version)
    VALUES (:org, '<' || CAST(:name AS text) || '@x>', sha256(CAST(:digest AS bytea)), sha256(CAST(:digest AS bytea)),
            :subject, :subject, 'ann@x.example', now(), '', sha256(CAST(:digest AS bytea)), 1) RETURNING id
""")
_CONTENT = text("INSERT INTO message_contents (message_id, body_text) VALUES (:message, :said)")


class House:
    """One organization with many assets, and somebody who may change its policy."""

    def __init__(self, db: Database, assets: int) -> None:
        self.db, self.assets, self.random, self._made = db, assets, random.Random(1), 0
        with db.begin() as connection:
            self.org_id: UUID = factories.organization(connection)
            person_id = people.member(connection, self.org_id, "admin", "ann@example.org")
        self.admin: Principal = principal(self.org_id, person_id, "admin")

    def tag(self, number: int) -> str:
        """Return what an asset is called."""
        return f"AUS_{number:06}"

    def report(self, number: int, at: datetime) -> Signal:
        """Return a report about an asset."""
        self._made += 1
        source = self.random.choice(("charger_api", "311", "ugc"))
        status = self.random.choice(list(SignalStatus))
        return Signal(f"s{self._made}", source, at, self.tag(number), status, _SAYS)

    def fill(self, each: int) -> None:
        """Have every asset reported so often within the last days."""
        now = _CLOCK.now()
        for first in range(0, self.assets, _BATCH):
            numbers = range(first, min(first + _BATCH, self.assets))
            told = [
                self.report(number, now - timedelta(minutes=self.random.randrange(5_000)))
                for number in numbers
                for _ in range(each)
            ]
            with self.db.begin() as connection:
                seen = signal_rows.look(connection, self.org_id, told)
                assets = signal_rows.report(connection, self.org_id, seen)
                case_rows.assess_locked(connection, assets, AssessedBecause.SIGNALS)

    def close(self) -> None:
        """Close all cases: what was said of them is archive."""
        with self.db.begin() as connection:
            assets = connection.execute(text("SELECT DISTINCT asset_id FROM cases WHERE state = 'open'")).scalars()
            case_rows.close(connection, list(assets), CaseEnd.QUIET)

    def change(self, below: int) -> int:
        """Draft another policy and put it into force; return its number."""
        # Nobody is sent: what a dispatch takes is another figure.
        policy = {"verification": {"below": below}, "dispatch": {"automatic": False}}
        asked = PolicyDraft(policy=policy, reason="measured")
        drafted = executor.run(self.db.begin, DRAFT, Ask(self.admin, asked)).body["version"]
        wish = PolicyActivation(replaces=drafted - 1)
        executor.run(self.db.begin, ACTIVATE, Ask(self.admin, wish, str(drafted)))
        return int(drafted)

    def tell(self) -> None:
        """Report one thing by the command."""
        self._made += 1
        one = {
            "id": f"n{self._made}", "source": "ugc", "timestamp": _CLOCK.now().isoformat(),
            "charger_id": self.tag(self.random.randrange(self.assets)), "status": "down", "text": _SAYS,
        }  # fmt: skip
        asked = Run(signals=[SignalReport(**one)], mode=TriageMode.CERTAINTY)
        executor.run(self.db.begin, RUN, Ask(self.admin, asked))

    def mail(self) -> int:
        """Store a mail about an asset; return its message."""
        self._made += 1
        said = f"Hello,\n\n{self.tag(self.random.randrange(self.assets))} is down. {_SAYS}.\n\nAnn"
        name = f"m{self._made}"
        values = {"org": self.org_id, "name": name, "digest": name.encode(), "subject": "Trouble"}
        with self.db.begin() as connection:
            message_id = int(connection.execute(_MESSAGE, values).scalar_one())
            connection.execute(_CONTENT, {"message": message_id, "said": said})
        return message_id

    def triage(self, message_id: int) -> None:
        """Take one mail through the stage."""
        job = factories.job(str(message_id), "triage", self.org_id)
        with self.db.begin() as connection:
            items = triage.STAGE.load(connection, [job])
            (result,) = triage.STAGE.work(list(items.values()), _PORTS)
            assert isinstance(result, list)
            triage.STAGE.save(connection, [Work(job, items[job.job_id], result)])


def spread(action: Callable[[], object], times: int, cpu: Cpu) -> str:
    """Return how long an action takes, as p50 and p95, by the clock and in CPU time of client and database."""
    taken, burnt = [], []
    cpu.look()
    for _ in range(times):
        before, began = cpu.spent(), time.perf_counter()
        action()
        taken.append((time.perf_counter() - began) * 1000)
        burnt.append(cpu.spent() - before)
    by_clock, by_cpu = (
        f"p50 {some[times // 2]:6.2f} ms   p95 {some[int(times * 0.95)]:6.2f} ms"
        for some in map(sorted, (taken, burnt))
    )
    return f"{by_clock}   CPU {by_cpu}"


def walk(stand: Stand, bed: Bed, house: House, workers: int, below: int) -> str:
    """Put another policy into force while so many workers run; return what it took until every case follows it."""
    with (
        _ringing(bed) as bells,
        children("worker", [()] * workers, bed.environment, bed.folder / f"{workers}") as found,
    ):
        _wait_until(lambda: _live(bed) >= workers)
        with Meter(stand.supervisor, bed.db).measuring([child.pid for child in found]) as used:
            began = time.perf_counter()
            version = house.change(below)
            bells.ring({Line("retriage", Lane.REPAIR)})
            _wait_until(lambda: _todo(bed, version) == 0)
            seconds = time.perf_counter() - began
    with bed.db.begin() as connection:
        # The walk after the walk has found nothing yet: it is not to run into the next figure.
        ledger_rows = connection.execute(text("DELETE FROM jobs WHERE stage IN ('retriage', 'dispatch')")).rowcount
    cpu = ", ".join(f"{name} {spent:.1f} s" for name, spent in used[0].cpu.items())
    return f"{seconds:6.2f} s   CPU {cpu}   others {used[0].others:.0%}   jobs left {ledger_rows}"


def measure(stand: Stand, bed: Bed, options: argparse.Namespace) -> None:
    """Print every figure."""
    house = House(bed.db, options.assets)
    began = time.perf_counter()
    house.fill(options.each)
    number = options.assets * options.each
    print(f"{number:,} reports kept and assessed in {time.perf_counter() - began:.1f} s, {_BATCH} assets at a time")
    _analyse(bed)
    for workers in (1, 2):
        print(f"walk over {number:,} signals, {workers} worker(s)  {walk(stand, bed, house, workers, 70 + workers)}")
    _singles(stand, bed, house, options.samples)
    house.close()
    with bed.db.begin() as connection:
        connection.execute(_ARCHIVE, {"each": options.archive // options.assets, "said": _SAYS})
    _singles(stand, bed, house, options.samples)


def _singles(stand: Stand, bed: Bed, house: House, samples: int) -> None:
    """Print what single reports and mails take as the archive is now."""
    _analyse(bed)
    with bed.db.begin() as connection:
        archive = connection.execute(text("SELECT count(*) FROM signals")).scalar_one()
    cpu = Cpu(stand.supervisor.pids()["postgres"])
    messages = iter([house.mail() for _ in range(samples + _WARM)])

    def mail() -> None:
        house.triage(next(messages))

    for name, action in (("report", house.tell), ("mail", mail)):
        spread(action, _WARM, cpu)
        print(f"one {name:6}, {archive:>9,} signals  {spread(action, samples, cpu)}")


def _analyse(bed: Bed) -> None:
    with bed.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        # What the filling left to be written is not to be waited for by what is measured.
        connection.execute(text("CHECKPOINT"))


@contextmanager
def _ringing(bed: Bed) -> Iterator[Bells]:
    with closing(make_broker(bed.redis_url)) as broker:
        yield Bells(broker, Metrics())


def _live(bed: Bed) -> int:
    with bed.db.begin() as connection:
        return len(queue.live_workers(connection))


def _todo(bed: Bed, version: int) -> int:
    with bed.db.begin() as connection:
        return int(connection.execute(_BEHIND, {"version": version}).scalar_one())


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        _CLOCK.wait(_POLL)


def main() -> int:
    """Measure on servers of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.triage", description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000, help="with an open case each (%(default)s)")
    parser.add_argument("--each", type=int, default=10, help="signals of each (%(default)s)")
    parser.add_argument("--archive", type=int, default=1_000_000, help="signals of closed cases (%(default)s)")
    parser.add_argument("--samples", type=int, default=300, help="single reports and mails (%(default)s)")
    options = parser.parse_args()
    set_up_logs("console", "error", "bench")
    folder, work = (Path(tempfile.mkdtemp(prefix="fieldpost-bench-")).resolve() for _ in range(2))
    try:
        with Supervisor(folder) as supervisor:
            stand = Stand(supervisor, work)
            with stand.bed() as bed:
                measure(stand, bed, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
