"""One run of chaos: real servers and processes, mail that keeps arriving, faults drawn by a seed, and the reckoning.

    with chaos(seed, SHORT) as run:
        found = run.go()      # Outcome; `found.broken` says in words what did not hold

A run has servers of its own (durable, as in production), three workers that are started again when they end, of which
one sees the servers through proxies, a served API with people who use it, and a Gmail over HTTP. When the faults are
over and all mail was delivered, everything must come to rest; then every invariant is checked (`tests.invariants`).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text

from deploy.local.supervisor import Supervisor
from dlq import letters
from models import schema
from pipeline.commands import sync
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.faults import chaos_journal, chaos_reckoning
from tests.faults.chaos_kinds import Arena, Record, deck, mount, unmount
from tests.faults.chaos_mail import Company, GmailDesks, scenario
from tests.faults.chaos_people import People
from tests.faults.chaos_processes import Crew, Mother, now
from tests.faults.chaos_rest import Rest, patiently
from tests.faults.proxy import Proxy, before_postgres, before_valkey
from tests.gmail_server.server import GmailServer

T = TypeVar("T")
_OPEN = text("SELECT id FROM dead_letters WHERE resolution IS NULL ORDER BY id")
_JOBS = text("SELECT count(*) FROM jobs")
_BY_HEADER = text("SELECT rfc_message_id FROM messages WHERE 'poison_mail' = ANY(flags)")
_MESSAGES = text("SELECT count(*) FROM occurrences")


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run is: mails in files and at Gmail, faults, and the pause between two faults in seconds."""

    files: int
    gmail: int
    faults: int
    pause: float
    #: Outages last this much of their usual time.
    scale: float = 1.0
    #: Of so many mails everything is done once more at the end.
    again: int = 300
    poisonous: int = 3
    #: Each kind of fault once, instead of as often as its weight says.
    once: bool = False


#: 5,000 messages and 60 faults in about 90 seconds on two free cores.
LONG = Size(files=4_200, gmail=900, faults=60, pause=0.7)
#: Every kind of fault once, in some seconds.
SHORT = Size(files=140, gmail=60, faults=19, pause=0.1, scale=0.2, again=20, poisonous=1, once=True)


@dataclass
class Outcome:
    """What a run saw; `broken` holds every invariant that did not hold, in words."""

    seed: int
    messages: int = 0
    seconds: float = 0.0
    drained_after: float = 0.0
    records: list[Record] = field(default_factory=list)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    #: What the processes said about it.
    said: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Return how many of the broken rules are about something that is not there."""
        return sum(any(word in said for word in _LOST) for said in self.broken)

    @property
    def doubled(self) -> int:
        """Return how many of the broken rules are about an effect that happened again."""
        return sum(any(word in said for word in _DOUBLED) for said in self.broken)


#: How the checks say that something is missing, and that something happened again.
_LOST = (
    "never seen",
    "no ticket for",
    "not at rest",
    "without a job",
    "stands in no ticket",
    "is not stored",
    "taken 0",
)
_DOUBLED = ("stands twice", "more or less than once", "several open", "two wishes", "was sent by nobody", "was taken")


class Run:
    """One run under way, in a folder of its own; a line for each fault, and what was left, stands in `run.log`."""

    def __init__(
        self, seed: int, size: Size, folder: Path, servers: tuple[Supervisor, GmailServer], disk: Path | None
    ) -> None:
        self.seed, self.size, self.folder, (self._supervisor, gmail) = seed, size, folder, servers
        self._chance, self._began, self._stack = Random(f"{seed} mail"), now(), ExitStack()
        ends = self._supervisor.endpoints
        self._settings = Settings(
            _env_file=None, database_url=ends.database_url, redis_url=ends.redis_url,
            blob_url=f"file://{folder}/blobs", data_dir=folder, secret_key="a secret key that only tests know",
            history_interval_seconds=0.5, quota_minute_seconds=0.05,
        )  # type: ignore[call-arg]  # fmt: skip
        company = scenario(seed, size.files)
        self._db = Database(ends.database_url, "chaos", pool_size=4)
        self._stack.callback(self._db.close)
        with self._db.begin() as connection:
            schema.migrate(connection)
        with self._db.begin() as connection:
            chaos_journal.install(connection)
            self._company = Company(connection, company, folder, self._chance, size.poisonous)
            self._desks = GmailDesks(connection, gmail, self._settings, folder)
        self._desks.arrive(size.gmail // 2, self._chance, is_old=True)
        self._rest = Rest(self._db, self._company, self._desks, self.trace)
        proxies = (
            self._stack.enter_context(before_postgres(ends.database_url)),
            self._stack.enter_context(before_valkey(ends.redis_url)),
        )
        self._crew = self._hire(proxies)
        org_ids = (self._company.org_id, self._desks.org_id)
        self._people = People(self._desks, org_ids, self._crew.port, self._settings, Random(f"{seed} people"))
        self._arena = Arena(
            self._supervisor, self._crew, self._desks, self._db, *proxies, Random(f"{seed} faults"), disk, size.scale
        )

    def close(self) -> None:
        """Kill every process and let go of everything."""
        self._stack.close()

    def trace(self, said: str) -> None:
        """Write down what goes on."""
        with (self.folder / "run.log").open("a", encoding="utf-8") as log:
            log.write(f"{now() - self._began:7.2f} {said}\n")

    def go(self) -> Outcome:
        """Let everything happen, wait until all is at rest, and reckon."""
        started = now()
        self._crew.start()
        self._list(self._desks.mailbox_ids.values())
        self._people.start()
        feeder = threading.Thread(target=self._feed, daemon=True)
        feeder.start()
        self._break_things(feeder)
        stopped = now()
        self._end_faults()
        feeder.join(120)
        found = Outcome(self.seed, records=self._arena.records, broken=self._rest.come())
        found.seconds, found.drained_after = now() - started, now() - stopped
        self._replay_letters(found)
        self._reckon(found)
        return found

    def _hire(self, proxies: tuple[Proxy, Proxy]) -> Crew:
        mother = Mother(self._settings, self.folder)
        self._stack.callback(mother.close)
        crew = Crew(mother, {"database_url": proxies[0].url, "redis_url": proxies[1].url})
        self._stack.callback(crew.stop)
        return crew

    def _break_things(self, feeder: threading.Thread) -> None:
        """Strike until the deck is through, and on with another while mail is still arriving."""
        cards = deck(self._arena.chance, has_disk=self._arena.disk is not None, once=self.size.once)
        struck = 0
        while struck < self.size.faults or (feeder.is_alive() and struck < 2 * self.size.faults):
            self.trace(f"fault: {cards[struck % len(cards)]}")
            self._arena.strike(cards[struck % len(cards)])
            struck += 1
            time.sleep(self._arena.chance.uniform(0.0, 2 * self.size.pause))

    def _feed(self) -> None:
        """Let mail arrive as fast as it is taken, and mailboxes live."""
        portion = max(20, self.size.files // 14)
        arrivals = self.size.gmail - self.size.gmail // 2
        while self._company.left or arrivals > 0:
            if self._patiently(lambda connection: connection.execute(_JOBS).scalar_one()) > 4 * portion:
                time.sleep(0.05)
                continue
            self._list(self._company.deliver(portion))
            count = min(arrivals, max(2, self.size.gmail // 28))
            self._desks.arrive(count, self._chance)
            self._desks.change(max(1, count // 3), self._chance)
            arrivals -= count

    def _list(self, mailbox_ids: Iterable[UUID]) -> None:
        for mailbox_id in mailbox_ids:
            self._patiently(lambda connection, one=mailbox_id: sync.request_backfill(connection, one))

    def _end_faults(self) -> None:
        self._desks.server.faults.clear()
        self._arena.database_proxy.heal()
        self._arena.broker_proxy.heal()
        self._crew.thaw()
        self._supervisor.start_postgres()
        self._supervisor.start_valkey()
        self._people.stop()

    def _replay_letters(self, found: Outcome) -> None:
        """Replay every letter once: what is not the mail's own fault comes through now."""
        ids = list(self._patiently(lambda connection: connection.execute(_OPEN).scalars().all()))
        self._patiently(lambda connection: letters.replay(connection, ids, actor="chaos", reason="faults are over"))
        found.broken += self._rest.come()
        left = self._patiently(lambda connection: connection.execute(_OPEN).scalars().all())
        found.notes["letters"] = {"when the faults were over": len(ids), "after a replay": len(left)}

    def _reckon(self, found: Outcome) -> None:
        found.broken += chaos_reckoning.check(self._settings, self._db, self._company, self._desks, self._rest)
        found.broken += chaos_reckoning.check_replies(self._db, self._desks, self._people)
        found.broken += chaos_reckoning.check_again(
            self._db, self._supervisor.endpoints.redis_url, self._rest, self.size.again
        )
        found.broken += self._people.unfair + self._crew.strange_ends() + self._crew.late_ends()
        with self._db.begin() as connection:
            found.messages = int(connection.execute(_MESSAGES).scalar_one())
            found.notes["understood by their header alone"] = connection.execute(_BY_HEADER).scalars().all()
            found.recoveries = chaos_journal.recoveries(connection, found.records)
        answers, done = dict(self._people.answers), dict(self._people.done)
        found.notes |= {"answers": answers, "done": done, "replies": len(self._people.wishes)}
        found.said = self._crew.said() + Counter({"replies lost by the network": self._arena.database_proxy.lost})

    def _patiently(self, ask: Callable[[Connection], T]) -> T:
        return patiently(self._db, ask)


@contextmanager
def chaos(seed: int, size: Size) -> Iterator[Run]:
    """Give the block a run with everything it needs; all of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fpc-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        disk = folder / "blobs" if mount(folder / "blobs") else None
        if disk is not None:
            stack.callback(unmount, disk)
        supervisor = stack.enter_context(Supervisor(folder / "data", durable=True))
        run = Run(seed, size, folder, (supervisor, stack.enter_context(GmailServer(seed=seed))), disk)
        stack.callback(run.close)
        yield run
