"""Steps followed along the chain as the runner would, in one thread: from a mail's arrival to what leaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.core.handing_over import Outgoing
from pipeline.runtime.jobs import Emit, Job
from pipeline.stages import acknowledge, parse, routing, send, stitch, triage
from tests import factories
from tests.stages.post import MemorySender
from tests.stages.world import World

_STAGES = {one.STAGE.name: one.STAGE for one in (parse, stitch, routing, triage, acknowledge, send)}
_numbers = count(1)


def desk(world: World, **policy: Any) -> MemorySender:
    """Let the world's mailbox write, and its organization answer automatically; return what sends its mail."""
    world.rows(
        "UPDATE organizations SET policy = policy || CAST(:policy AS jsonb)",
        policy=Jsonb({"acknowledge": True, **policy}),
    )
    with world.db.begin() as connection:
        factories.identity(connection, world.org_id, world.mailbox_id, "help@acme.example", name="Acme")
    return world.senders.by_mailbox.setdefault(world.mailbox_id, MemorySender())


def now() -> datetime:
    """Return this moment, to the microsecond later at each call, so that mails keep their order."""
    return SystemClock().now().astimezone(UTC) + timedelta(microseconds=next(_numbers))


def receive(world: World, *raws: bytes, lane: Lane = Lane.LIVE, at: datetime | None = None) -> list[int]:
    """Let mails arrive together and go the whole way; return their occurrences."""
    found = [world.arrive(raw, at=at or now()) for raw in raws]
    follow(world, [step(world, "parse", occurrence_id, lane) for occurrence_id in found])
    return found


def follow(world: World, emits: Iterable[Emit]) -> None:
    """Run steps and what they make necessary, one stage's batch after the other."""
    waiting = deque(emits)
    while waiting:
        first = waiting.popleft()
        batch = [first, *(one for one in waiting if (one.stage, one.lane) == (first.stage, first.lane))]
        waiting = deque(one for one in waiting if one not in batch)
        stage = _STAGES.get(first.stage)
        if stage is not None:
            jobs = [
                replace(factories.job(one.key, one.stage, one.org_id, one.mailbox_id, one.lane), args=one.args)
                for one in batch
            ]
            ran = world.run_jobs(stage, *jobs)
            assert ran.unsaved == {}, ran.unsaved
            waiting.extend(ran.emits)


def told(sender: MemorySender) -> list[str]:
    """Return whom mails went to, in order."""
    return [address for mail in sender.sent for address in mail.recipients]


def newest(sender: MemorySender) -> Outgoing:
    """Return the mail that left last."""
    return sender.sent[-1]


def step(world: World, stage: str, key: object, lane: Lane = Lane.LIVE, mailbox_id: UUID | None = None) -> Emit:
    """Return a step of the world's organization."""
    return Emit(stage, str(key), world.org_id, mailbox_id or world.mailbox_id, lane, 0, f"trace-{key}")


def job(world: World, stage: str, key: object, lane: Lane) -> Job:
    """Return a claimed job of the world's mailbox."""
    return factories.job(str(key), stage, world.org_id, world.mailbox_id, lane)
