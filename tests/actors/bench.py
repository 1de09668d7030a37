"""Small stages for tests of the runner, and a runner around them with a real database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from actors.holdings import Holdings
from actors.runner import Runner, Surroundings
from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.ports import Ports
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.stage import Stage, Work
from tests.factories import emit, rows

#: A stage's `work` for one key: its result, an outcome, or an error.
Doing = Callable[[str], Any]


def nothing(*_: object, **__: object) -> Any:
    """Stand for a port that a test's stage never touches."""
    raise AssertionError("this stage touches nothing outside")


@dataclass
class Bench:
    """One runner and what it told: the lines it rang, the keys it worked on; effects are rows of a table."""

    db: Database
    doing: Doing = field(default=lambda key: key)
    on_load: Callable[[Connection, Sequence[Job]], None] = field(default=lambda *_: None)
    on_save: Callable[[Connection, list[str]], None] = field(default=lambda *_: None)
    worked: list[list[str]] = field(default_factory=list)
    rung: list[set[Line]] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    then: Callable[[Work[str, str]], list[Emit]] = field(default=lambda _: [])
    stopping: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)
    let_go: list[set[UUID]] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        """Make the table of effects, and number this worker."""
        rows(self.db, "CREATE TABLE IF NOT EXISTS effects (key text NOT NULL, UNIQUE (key))")
        self.holdings = Holdings(self.db, "test")

    def stage(self, **changes: Any) -> Stage[str, str]:
        """Return a stage named `probe` that does what this bench says."""
        made: Stage[str, str] = Stage(
            name="probe", about="A test.", load=self._load, work=self._work, save=self._save, emits=("next",)
        )
        return replace(made, **changes)

    def runner(self, **changes: Any) -> Runner:
        """Return a runner whose only stage is `probe`."""
        ports = Ports(self.clock, *[nothing] * 8)  # type: ignore[arg-type]
        around = Surroundings(
            self.db, ports, self.holdings, self.rung.append, self.metrics, self.stopping.is_set, self._let_go
        )
        return Runner({"probe": self.stage(**changes)}, around)

    def put(self, *keys: str, mailbox_id: UUID | None = None, lane: Lane = Lane.LIVE, place: int = 0) -> list[Emit]:
        """Enqueue one job per key."""
        org_id = uuid4()
        steps = [emit(key, "probe", lane=lane, place=place, org_id=org_id, mailbox_id=mailbox_id) for key in keys]
        with self.db.begin() as connection:
            ledger.put(connection, steps)
        return steps

    def answer(self, lane: Lane = Lane.LIVE, **changes: Any) -> int:
        """Answer one doorbell with a stage changed so."""
        return self.runner(**changes).answer(Line("probe", lane))

    def wake(self) -> None:
        """Make every waiting job ready."""
        with self.db.begin() as connection:
            connection.execute(text("UPDATE jobs SET run_at = now() WHERE state = 'waiting'"))
            ledger.promote(connection)

    @property
    def effects(self) -> list[str]:
        """Return the keys whose effects are committed."""
        return [row.key for row in rows(self.db, "SELECT key FROM effects ORDER BY key")]

    @property
    def jobs(self) -> dict[str, str]:
        """Return the state of every job of the stage by key."""
        return {row.key: row.state for row in rows(self.db, "SELECT key, state FROM jobs WHERE stage = 'probe'")}

    def _let_go(self, _: Connection, mailbox_ids: Iterable[UUID]) -> set[Line]:
        self.let_go.append(set(mailbox_ids))
        return set()

    def _load(self, connection: Connection, jobs: Sequence[Job]) -> Mapping[int, str]:
        self.on_load(connection, jobs)
        return {job.job_id: job.key for job in jobs if job.key not in self.absent}

    def _work(self, items: Sequence[str], _: Ports) -> list[Any]:
        self.worked.append(list(items))
        return [self.doing(item) for item in items]

    def _save(self, connection: Connection, works: Sequence[Work[str, str]]) -> list[Emit]:
        keys = [done.result for done in works]
        self.on_save(connection, keys)
        connection.execute(text("INSERT INTO effects SELECT unnest(CAST(:keys AS text[]))"), {"keys": keys})
        return [step for done in works for step in self.then(done)]
