"""`python -m tests.bench.technicians`: a minute of many technicians at work, over HTTP, against real processes.

PostgreSQL (durable), Valkey, a worker and the API are children of this process, as `fieldpost up` starts them. Each
technician has a token, an address and a connection of their own, and calls something every 2 to 4 seconds, as a person
with a phone does: dashboard, list, detail, start, a photo, done (or, one time in six, return), notifications. The
clients are one asyncio process on the same machine. After that, one technician alone asks each thing many times over:
what it costs in CPU of all processes but the client's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from deploy.local.supervisor import Supervisor
from ops_api.cli.address import is_ready, reserve
from ops_api.cli.roles import command_of
from ops_api.cli.session import child_environment, fill, prepare
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.db import Database
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.refreshing import Families
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings, read_settings
from tests.bench.phone import Call, Phone, day, photo_of
from tests.bench.work_data import Made, give_days, make

_HOST = "127.0.0.1"
_THINK = (2.0, 4.0)
#: Orders of the past that each technician has.
_PAST = 100
_START_SECONDS, _IDLE_SECONDS = 60.0, 3.0
_VACUUM = "VACUUM ANALYZE"
#: What a call alone is asked, by what it is called in the table.
_ALONE = ("dashboard", "list", "detail", "notifications", "start", "photo", "done")


@dataclass(slots=True)
class Tally:
    """What the calls took, in milliseconds by name, and what went wrong."""

    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, call: Call, expected: int) -> None:
        """Count one call."""
        self.took[name].append(call.milliseconds)
        if call.status != expected:
            self.wrong[f"{name}: {call.status} {call.body[:160]!r}"] += 1


@dataclass(frozen=True, slots=True)
class Stage:
    """What the clients need to know: where the API is, who they are, and where its processes are."""

    port: int
    made: Made
    tokens: Sequence[str]
    supervisor: Supervisor
    db: Database


@dataclass(frozen=True, slots=True)
class Result:
    """What all calls took, what each costs alone, and what the processes burnt meanwhile (CPU milliseconds)."""

    tally: Tally
    costs: Mapping[str, float]
    seconds: float
    burnt: float


def tokens_of(db: Database, settings: Settings, made: Made) -> list[str]:
    """Return an access token for each technician, as a login gives it."""
    secrets = Secrets.of(settings)
    families = Families(secrets, AccessTokens(secrets, SystemClock()))
    with db.begin() as connection:
        return [families.begin(connection, made.org_id, one).access_token for one in made.technicians]


async def work(stage: Stage, number: int, tally: Tally, until: float) -> None:
    """Be one technician until the time is over."""
    drawn = random.Random(number)
    phone = Phone(_HOST, stage.port, stage.tokens[number], f"127.1.{number // 250}.{1 + number % 250}")
    await asyncio.sleep(drawn.uniform(0, _THINK[1]))
    steps = day(phone, drawn)
    while time.monotonic() < until:
        name, expected, call = await anext(steps)
        tally.add(name, call, expected)
        await asyncio.sleep(drawn.uniform(*_THINK))
    await phone.close()


async def everybody(stage: Stage, seconds: float) -> Tally:
    """Let all technicians work at once."""
    tally, until = Tally(), time.monotonic() + seconds
    await asyncio.gather(*(work(stage, number, tally, until) for number in range(len(stage.tokens))))
    return tally


async def alone(stage: Stage, rounds: int) -> dict[str, float]:
    """Return what one call of each kind costs the processes in CPU milliseconds, asked one after the other.

    What they burn while nobody asks anything is left out.
    """
    cpu, drawn, counted = Cpu(stage.supervisor), random.Random(1), Counter[str]()
    spent: dict[str, float] = defaultdict(float)
    began, idle = time.monotonic(), -cpu.spent()
    await asyncio.sleep(_IDLE_SECONDS)
    idle = (idle + cpu.spent()) / (time.monotonic() - began)
    for number in range(rounds):
        who = number % len(stage.tokens)
        phone = Phone(_HOST, stage.port, stage.tokens[who], f"127.2.{who // 250}.{1 + who % 250}")
        steps = day(phone, drawn, returns=0.0)
        for _ in range(len(_ALONE) + 1):
            before, began = cpu.spent(), time.monotonic()
            name, _expected, _call = await anext(steps)
            after = cpu.spent()
            if number:
                spent[name] += after - before - idle * (time.monotonic() - began)
                counted[name] += 1
        await phone.close()
    return {name: spent[name] / counted[name] for name in spent}


class Cpu:
    """The CPU of all children of a supervisor, by thread: what has ended counts as it was last seen."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._seen: dict[Path, int] = {}

    def spent(self) -> float:
        """Return the milliseconds so far, to the nanosecond where Linux tells them."""
        for pid in self._supervisor.pids().values():
            for one in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
                for thread in Path(f"/proc/{one}/task").glob("*/schedstat"):
                    with contextlib.suppress(OSError):  # it ended meanwhile
                        self._seen[thread] = int(thread.read_text(encoding="ascii").split()[0])
        return sum(self._seen.values()) / 1_000_000


def measure(console: Console, supervisor: Supervisor, options: argparse.Namespace) -> bool:
    """Make the day, start the roles, and let everybody work; True when nothing failed and p95 is under the goal."""
    settings = fill(read_settings(), supervisor.data, supervisor.endpoints)
    assert settings.database_url is not None
    with closing(Database(settings.database_url, "bench", pool_size=2)) as db:
        prepare(db, apply=True)
        # A round takes about eight calls.
        each = 2 + int(options.seconds / (8 * sum(_THINK) / 2)) + options.rounds // options.technicians
        with db.begin() as connection:
            opened = options.technicians * each * 3 // 2
            made = make(connection, technicians=options.technicians, orders=opened + options.technicians * _PAST,
                        open_orders=opened)  # fmt: skip
            give_days(connection, made, each)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(_VACUUM))
        port = _start(supervisor, settings)
        stage = Stage(port, made, tokens_of(db, settings, made), supervisor, db)
        asyncio.run(everybody(stage, min(5.0, options.seconds)))
        cpu = Cpu(supervisor)
        before, began = cpu.spent(), time.monotonic()
        tally = asyncio.run(everybody(stage, options.seconds))
        burnt, seconds = cpu.spent() - before, time.monotonic() - began
        costs = asyncio.run(alone(stage, options.rounds)) if options.rounds else {}
    return show(console, Result(tally, costs, seconds, burnt), options.goal)


def _start(supervisor: Supervisor, settings: Settings) -> int:
    """Start a worker and the API; return the API's port once it answers."""
    port, env = reserve(_HOST, 0), child_environment(settings)
    supervisor.start_role("worker-1", command_of("worker"), env)
    supervisor.start_role("api", command_of("api", "--host", _HOST, "--port", str(port)), env)
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready(_HOST, port):
        if time.monotonic() > deadline:
            raise SystemExit((supervisor.data.logs / "api.log").read_text(encoding="utf-8")[-3000:])
        time.sleep(0.1)
    return port


def show(console: Console, result: Result, goal: float) -> bool:
    """Print the figures; True when nothing failed and the 95th percentile of all calls is under the goal."""
    tally, costs = result.tally, result.costs
    table = Table("call", "calls", "p50 ms", "p95 ms", "p99 ms", "most", "CPU ms alone", box=None)
    every = sorted(one for some in tally.took.values() for one in some)
    for name, some in [*sorted(tally.took.items()), ("all", every)]:
        took, cpu = sorted(some), f"{costs[name]:.1f}" if name in costs else ""
        figures = (f"{_at(took, share):.1f}" for share in (0.5, 0.95, 0.99, 1.0))
        table.add_row(name, f"{len(took):,}", *figures, cpu)
    console.print(table)
    errors, rate = sum(tally.wrong.values()), len(every) / result.seconds
    console.print(
        f"{rate:.1f} calls a second, {errors} errors; {result.burnt / len(every):.1f} ms of CPU a call, "
        f"{result.burnt / 10 / result.seconds:.0f} % of a core; load at the end {os.getloadavg()[0]:.1f}"
    )
    for said, many in tally.wrong.most_common(10):
        console.print(f"{many} x {said}", markup=False)
    is_good = not errors and _at(every, 0.95) < goal
    console.print(
        f"p95 under {goal:.0f} ms, 0 errors" if is_good else f"NOT within {goal:.0f} ms, or not without errors"
    )
    return is_good


def _at(took: Sequence[float], share: float) -> float:
    return took[min(len(took) - 1, int(len(took) * share))] if took else 0.0


def main() -> int:
    """Measure and print; 0 when the goal is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.technicians", description="Technicians at work.")
    parser.add_argument("--technicians", type=int, default=200, help="at once (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they work (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="orders worked alone afterwards (%(default)s)")
    parser.add_argument("--goal", type=float, default=100.0, help="milliseconds for 95 of 100 calls (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the data stands meanwhile; a temporary one unless given")
    options = parser.parse_args()
    set_up_logs("console", "error", "bench")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    folder = Path(tempfile.mkdtemp(prefix="fieldpost-bench-", dir=options.folder)).resolve()
    console.print(f"[dim]load at the beginning {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, "
                  f"photo of {len(photo_of(0)):,} bytes[/]")  # fmt: skip
    try:
        with Supervisor(folder) as supervisor:
            is_good = measure(console, supervisor, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
