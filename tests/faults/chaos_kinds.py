"""The faults of a chaos run: what each breaks, and the deck they are drawn from."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deploy.local.supervisor import Supervisor
from pipeline.runtime.db import Database
from tests.faults.chaos_mail import GmailDesks
from tests.faults.chaos_processes import Crew, Process, now
from tests.faults.chaos_worker import LEASE
from tests.faults.proxy import Proxy

_HELD = text("""
    SELECT j.id, j.attempt FROM jobs j JOIN workers w ON w.number = j.worker
     WHERE j.state = 'running' AND w.pid = :pid
""")
_STILL = text("""
    SELECT count(*) FROM jobs j, unnest(CAST(:ids AS bigint[]), CAST(:attempts AS int[])) AS held(id, attempt)
     WHERE j.id = held.id AND j.attempt = held.attempt AND j.state IN ('running', 'ready')
""")
_BUSY = text("SELECT EXISTS (SELECT FROM jobs WHERE state IN ('ready', 'running'))")
_CUT = text("""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE application_name LIKE 'fieldpost%' AND pid <> pg_backend_pid() AND random() < 0.5
""")
_DISK = "384m"
_QUEUES = ("live", "repair", "backfill")


@dataclass
class Record:
    """One fault: what, when (seconds since 1970), and how long until things went on where that was seen itself."""

    kind: str
    at: float
    is_busy: bool
    #: Until the first job of a killed worker was held by another, and until all were: those run one at a time.
    first_after: float | None = None
    recovered_after: float | None = None


@dataclass
class Arena:
    """All that can be broken, and what was broken so far."""

    supervisor: Supervisor
    crew: Crew
    desks: GmailDesks
    db: Database
    database_proxy: Proxy
    broker_proxy: Proxy
    chance: Random
    disk: Path | None
    #: Outages last this many seconds at most, times one for short ones.
    scale: float = 1.0
    records: list[Record] = field(default_factory=list)
    watchers: list[threading.Thread] = field(default_factory=list)

    def strike(self, kind: str) -> None:
        """Make one fault happen; returns when its outage is over, but for those that go on beside others."""
        self.records.append(Record(kind, now(), self.is_busy()))
        KINDS[kind][1](self)

    def is_busy(self) -> bool:
        """Say whether anybody could settle a job now."""
        try:
            with self.db.begin() as connection:
                return bool(connection.execute(_BUSY).scalar_one())
        except DBAPIError:
            return False

    def rest(self, shortest: float, longest: float) -> None:
        """Let an outage last."""
        time.sleep(self.chance.uniform(shortest, longest) * self.scale)

    def victim(self) -> Process | None:
        """Return one of the workers."""
        workers = self.crew.workers()
        return self.chance.choice(workers) if workers else None


def deck(chance: Random, *, has_disk: bool, once: bool) -> list[str]:
    """Return the faults of one run in the order of the draw: each kind as often as its row says, or `once`."""
    kinds = [kind for kind in KINDS if has_disk or kind != "disk_full"]
    cards = kinds if once else [kind for kind in kinds for _ in range(KINDS[kind][0])]
    chance.shuffle(cards)
    return cards


def mount(folder: Path) -> bool:
    """Put a small disk in memory on a folder; say whether this account may."""
    program = shutil.which("mount")
    if program is None or os.geteuid() != 0:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    argv = [program, "-t", "tmpfs", "-o", f"size={_DISK},mode=0777", "tmpfs", str(folder)]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def unmount(folder: Path) -> None:
    """Take the disk away."""
    subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _kill_worker(arena: Arena) -> None:
    victim = arena.victim()
    if victim is None:
        return
    record, held = arena.records[-1], []
    arena.crew.kill(victim)
    with suppress(DBAPIError), arena.db.begin() as connection:
        held = connection.execute(_HELD, {"pid": victim.pid}).all()
    if held:
        watcher = threading.Thread(target=_watch, args=(arena.db, held, record), daemon=True)
        watcher.start()
        arena.watchers.append(watcher)


def _watch(db: Database, held: list[tuple[int, int]], record: Record) -> None:
    """Note when every job that a killed worker held has been taken by another."""
    values = {"ids": [one[0] for one in held], "attempts": [one[1] for one in held]}
    deadline = record.at + 60
    while now() < deadline:
        with suppress(DBAPIError), db.begin() as connection:
            still = connection.execute(_STILL, values).scalar_one()
            if still < len(held) and record.first_after is None:
                record.first_after = now() - record.at
            if not still:
                record.recovered_after = now() - record.at
                return
        time.sleep(0.02)


def _freeze_worker(arena: Arena) -> None:
    if victim := arena.victim():
        arena.crew.freeze(victim, LEASE.total_seconds() + arena.chance.uniform(0.5, 2.0))


def _stop_worker(arena: Arena) -> None:
    if victim := arena.victim():
        arena.crew.terminate(victim)


def _skew_clock(arena: Arena) -> None:
    if victim := arena.victim():
        arena.crew.replace(victim, days=arena.chance.choice((1, -1)), jumps_after=arena.chance.uniform(1, 8))


def _kill_api(arena: Arena) -> None:
    if arena.crew.api is not None:
        arena.crew.kill(arena.crew.api)


def _more_schedulers(arena: Arena) -> None:
    arena.crew.more_schedulers(2, arena.chance.uniform(2, 6))


def _flush(arena: Arena) -> None:
    with suppress(RedisError), _redis(arena) as client:
        client.flushall()


def _kill_broker(arena: Arena) -> None:
    arena.supervisor.kill_valkey()
    arena.records[-1].at = now()
    arena.rest(0.2, 2.0)
    arena.supervisor.start_valkey()


def _stall_broker(arena: Arena) -> None:
    with suppress(RedisError), _redis(arena) as client:
        client.client_pause(int(arena.chance.uniform(300, 2_000) * arena.scale))


def _junk(arena: Arena) -> None:
    """Push what no worker understands, before and among good doorbells."""
    with suppress(RedisError), _redis(arena) as client:
        queue = f"dramatiq:{arena.chance.choice(_QUEUES)}"
        client.hset(f"{queue}.msgs", mapping={"junk-1": b"\x00\xff{", "junk-2": b'{"queue_name":"x"}'})
        for name in ("junk-1", "junk-2", "absent", b"\xff\xfe"):
            client.rpush(queue, name)


def _stop_database(arena: Arena) -> None:
    arena.supervisor.stop_postgres(immediate=True)
    arena.records[-1].at = now()
    arena.rest(0.0, 1.5)
    arena.supervisor.start_postgres()


def _cut_backends(arena: Arena) -> None:
    with suppress(DBAPIError), arena.db.begin() as connection:
        connection.execute(_CUT)


def _lose_commit(arena: Arena) -> None:
    arena.database_proxy.drop_replies(arena.chance.randint(1, 4), after=b"COMMIT")


def _cut_network(arena: Arena) -> None:
    """One worker sees neither server, without a reset; sometimes for longer than its leases."""
    proxies = (arena.database_proxy, arena.broker_proxy)
    for proxy in proxies:
        proxy.blackhole()

    def heal() -> None:
        for proxy in proxies:
            proxy.heal()

    timer = threading.Timer(arena.chance.uniform(0.5, 1.5 * LEASE.total_seconds()), heal)
    timer.daemon = True
    timer.start()


def _lose_doorbells(arena: Arena) -> None:
    arena.broker_proxy.drop_replies(arena.chance.randint(1, 6))


def _fill_disk(arena: Arena) -> None:
    assert arena.disk is not None
    filler = arena.disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    arena.rest(0.3, 1.5)
    filler.unlink()


def _redis(arena: Arena) -> Redis:
    return Redis.from_url(arena.supervisor.endpoints.redis_url, socket_timeout=5)


#: Each kind with its number in a deck, and what it does.
KINDS: Mapping[str, tuple[int, Callable[[Arena], None]]] = MappingProxyType(
    {
        "kill_worker": (12, _kill_worker),
        "freeze_worker": (4, _freeze_worker),
        "stop_worker": (4, _stop_worker),
        "skew_clock": (3, _skew_clock),
        "kill_api": (3, _kill_api),
        "more_schedulers": (2, _more_schedulers),
        "flush_broker": (5, _flush),
        "kill_broker": (4, _kill_broker),
        "stall_broker": (2, _stall_broker),
        "junk_in_broker": (3, _junk),
        "lose_doorbells": (2, _lose_doorbells),
        "stop_database": (3, _stop_database),
        "cut_backends": (4, _cut_backends),
        "lose_commit": (4, _lose_commit),
        "cut_network": (2, _cut_network),
        "disk_full": (2, _fill_disk),
        "gmail_fails": (5, lambda arena: arena.desks.fail(arena.chance)),
        "gmail_forgets": (2, lambda arena: arena.desks.forget(arena.chance)),
        "gmail_refuses": (1, lambda arena: arena.desks.refuse_for_good(arena.chance)),
    }
)
