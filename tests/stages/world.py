"""One organization with one mailbox, and stages run on it the way the runner runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from models.enums import BlobKind, Lane, OccurrenceState
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.extraction import DocumentTexts
from pipeline.ports import Ports
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.stage import Again, Blocked, Stage, Work
from pipeline.stages import dispatch, parse, routing, stitch, triage
from tests import factories
from tests.factories import NOON
from tests.stages.fakes import MemoryBlobs, MemorySource, MemorySources, MortalParser
from tests.stages.post import MemoryNotifier, MemoryPusher, MemorySenders

SECRETS = Secrets("a long secret key that only tests know")
AnyStage = Stage[Any, Any]


@dataclass(frozen=True)
class Ran:
    """What a stage did: the steps it asked for, and by key what was not saved (an error or a wait)."""

    emits: Sequence[Emit]
    unsaved: Mapping[str, Again | Blocked | Exception]
    loaded: int

    @property
    def next(self) -> list[tuple[str, str]]:
        """Return stage and key of every step asked for."""
        return [(emit.stage, emit.key) for emit in self.emits]


@dataclass
class World:
    """The database, one organization and mailbox in it, and the outside in memory."""

    db: Database
    policy: dict[str, Any] = field(default_factory=dict)
    #: What the organization's policy of triage says otherwise than the built-in one.
    triage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Insert the organization and the mailbox."""
        self.blobs, self.sources = MemoryBlobs(), MemorySources()
        self.senders, self.parser, self.notifier = MemorySenders(), MortalParser(), MemoryNotifier()
        self.pusher = MemoryPusher()
        self.ports = Ports(
            SystemClock(),
            self.blobs,
            self.sources,
            SignedReplyTokens(SECRETS),
            self.senders,
            texts=DocumentTexts(),
            parser=self.parser,
            notifier=self.notifier,
            pusher=self.pusher,
        )
        with self.db.begin() as connection:
            self.org_id = factories.organization(connection, policy=self.policy)
            if self.triage:
                factories.triage_policy(connection, self.org_id, **self.triage)
        self.mailbox_id = self.mailbox("help@acme.example", cursor="50")

    def mailbox(self, address: str, **options: Any) -> UUID:
        """Add a mailbox."""
        with self.db.begin() as connection:
            return factories.mailbox(connection, self.org_id, address, **options)

    @property
    def source(self) -> MemorySource:
        """Return the mailbox at its provider."""
        return self.sources.by_mailbox.setdefault(self.mailbox_id, MemorySource())

    def rows(self, statement: str, **values: Any) -> list[Row[Any]]:
        """Return what a statement answers."""
        return factories.rows(self.db, statement, **values)

    def value(self, statement: str, **values: Any) -> Any:
        """Return the one value a statement answers."""
        return factories.value(self.db, statement, **values)

    def job(self, stage: AnyStage, key: object, lane: Lane = Lane.LIVE) -> Job:
        """Return a claimed job of a stage as a value."""
        return factories.job(str(key), stage.name, self.org_id, self.mailbox_id, lane)

    def run(self, stage: AnyStage, *keys: object) -> Ran:
        """Load, work and save one batch."""
        return self.run_jobs(stage, *(self.job(stage, key) for key in keys))

    def run_jobs(self, stage: AnyStage, *jobs: Job) -> Ran:
        """Load, work and save one batch of given jobs."""
        if stage.io:
            with self.db.begin() as connection:
                items = stage.load(connection, jobs)
            outcomes = self._work(stage, jobs, items)
            with self.db.begin() as connection:
                return _save(stage, connection, jobs, items, outcomes)
        with self.db.begin() as connection:
            items = stage.load(connection, jobs)
            return _save(stage, connection, jobs, items, self._work(stage, jobs, items))

    def _work(self, stage: AnyStage, jobs: Sequence[Job], items: Mapping[int, Any]) -> dict[int, Any]:
        present = [job.job_id for job in jobs if job.job_id in items]
        results = stage.work([items[job_id] for job_id in present], self.ports) if present else []
        return dict(zip(present, results, strict=True))

    def arrive(
        self,
        raw: bytes,
        *,
        mailbox_id: UUID | None = None,
        at: datetime = NOON,
        thread_id: str | None = None,
        labels: tuple[str, ...] = (),
    ) -> int:
        """Let a mail be fetched: its bytes are stored, its occurrence waits for parse. Returns the occurrence."""
        self.blobs.put(BlobKind.RAW, {hashlib.sha256(raw).hexdigest(): raw})
        with self.db.begin() as connection:
            return factories.occurrence(
                connection, mailbox_id or self.mailbox_id, state=OccurrenceState.FETCHED, raw=raw, at=at,
                thread_id=thread_id, labels=labels,
            )  # fmt: skip

    def parsed(self, raw: bytes, **options: Any) -> int:
        """Let a mail arrive and be parsed."""
        found = self.arrive(raw, **options)
        assert self.run(parse.STAGE, found).unsaved == {}
        return found

    def stitched(self, *raws: bytes, minutes: int = 0, **options: Any) -> list[int]:
        """Let mails arrive a minute apart, be parsed, and stitched together in one batch."""
        found = [
            self.parsed(raw, at=NOON + timedelta(minutes=minutes + number), **options)
            for number, raw in enumerate(raws)
        ]
        self.run(stitch.STAGE, *found)
        return found

    def routed(self, *raws: bytes, **options: Any) -> list[int]:
        """Let mails arrive and go as far as routing."""
        found = self.stitched(*raws, **options)
        self.run(routing.STAGE, *found)
        return found

    def triaged(self, *raws: bytes, **options: Any) -> Ran:
        """Let mails arrive and go as far as triage."""
        found = self.stitched(*raws, **options)
        steps = self.run(routing.STAGE, *found)
        return self.run(triage.STAGE, *(key for _, key in steps.next))

    def dispatched(self, *raws: bytes, **options: Any) -> Ran:
        """Let mails arrive and go the whole way."""
        steps = self.triaged(*raws, **options)
        return self.run(dispatch.STAGE, *(key for _, key in steps.next))

    def ticket_of(self, occurrence_id: int) -> Row[Any]:
        """Return the ticket an occurrence's message stands in."""
        (row,) = self.rows(
            "SELECT t.* FROM occurrences o JOIN ticket_messages l ON l.message_id = o.message_id"
            " JOIN tickets t ON t.id = l.ticket_id WHERE o.id = :id",
            id=occurrence_id,
        )
        return row

    def state_of(self, occurrence_id: int) -> str:
        """Return where an occurrence stands."""
        found: str = self.value("SELECT state FROM occurrences WHERE id = :id", id=occurrence_id)
        return found


def _save(stage: AnyStage, connection: Any, jobs: Sequence[Job], items: Any, outcomes: Mapping[int, Any]) -> Ran:
    works = [
        Work(job, items[job.job_id], outcomes[job.job_id])
        for job in jobs
        if job.job_id in items and not isinstance(outcomes[job.job_id], Again | Blocked | Exception)
    ]
    emits = stage.save(connection, works) if works else []
    assert {emit.stage for emit in emits} <= set(stage.emits)
    held_back = {
        job.key: outcomes[job.job_id]
        for job in jobs
        if isinstance(outcomes.get(job.job_id), Again | Blocked | Exception)
    }
    return Ran(emits, held_back, len(items))
