"""A mailbox with a hundred thousand messages to read, and fifty with a new one each, through the real runner."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from actors.broker import PRIORITY
from actors.crews import CREWS
from actors.holdings import Holdings
from actors.runner import Runner, Surroundings
from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.extraction import DocumentTexts
from pipeline.core.mime import Parsed
from pipeline.ports import Fetched, Listed, Missed, Ports
from pipeline.runtime import ledger, pump
from pipeline.runtime.db import Database
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.occurrences import record
from pipeline.runtime.secrets import SignedReplyTokens
from pipeline.table import STAGES
from tests import factories
from tests.factories import NOON, rows, value
from tests.stages.fakes import MemoryBlobs, MemorySource, MemorySources, MortalParser
from tests.stages.post import MemoryNotifier, MemoryPusher, MemorySenders
from tests.stages.world import SECRETS
from tests.worker_process import until

_BIG, _SMALL = 100_000, 50

#: Set-wise, as a listing would have left them: each with its place, all behind the budget.
_QUEUE = """
    WITH listed AS (
        INSERT INTO occurrences (org_id, mailbox_id, provider_id)
        SELECT :org, :box, 'big ' || n FROM generate_series(1, :count) AS n RETURNING id
    )
    INSERT INTO jobs (stage, key, org_id, mailbox_id, lane, place, state, trace_id)
    SELECT 'fetch', CAST(id AS text), :org, :box, 'backfill', row_number() OVER (ORDER BY id), 'held', 'x' FROM listed
"""
_THROUGH = "SELECT count(*) FROM occurrences WHERE mailbox_id = :id AND state NOT IN ('seen', 'fetched')"


@dataclass
class AnyMail(MemorySource):
    """A mailbox in memory that has a message behind every id, all of them beginning with the same bytes."""

    begins: bytes = b""

    def fetch(self, items: Sequence[Listed]) -> Sequence[Fetched | Missed]:
        mails = [self.begins + factories.mail(f"About {one.provider_id}") for one in items]
        return [Fetched(one.provider_id, mail, internal_at=NOON) for one, mail in zip(items, mails, strict=True)]


@dataclass
class CountedParser(MortalParser):
    """Remembers how often it died."""

    deaths: int = 0

    def parse(self, raw: bytes, *, isolated: bool = False, patience: timedelta | None = None) -> Parsed:
        self.deaths += self.deadly in raw
        return super().parse(raw, isolated=isolated, patience=patience)


class Town:
    """An organization with the big mailbox and the small ones."""

    def __init__(self, db: Database, *, size: int = _BIG, begins: bytes = b"") -> None:
        self.db = db
        with db.begin() as connection:
            self.org_id = factories.organization(connection)
            self.big, *self.small = [factories.mailbox(connection, self.org_id) for _ in range(_SMALL + 1)]
        sources = MemorySources({box: AnyMail() for box in self.small} | {self.big: AnyMail(begins=begins)})
        self.parser = CountedParser()
        self.ports = Ports(
            SystemClock(),
            MemoryBlobs(),
            sources,
            SignedReplyTokens(SECRETS),
            MemorySenders(),
            texts=DocumentTexts(),
            parser=self.parser,
            notifier=MemoryNotifier(),
            pusher=MemoryPusher(),
        )
        rows(db, _QUEUE, org=self.org_id, box=self.big, count=size)
        rows(db, "INSERT INTO flows (mailbox_id, lane, finish) VALUES (:box, 'backfill', :count)",
             box=self.big, count=size + 1)  # fmt: skip
        rows(db, "UPDATE mailboxes SET project = 'acme'")
        rows(db, "ANALYZE jobs")

    def arrive(self, lane: Lane) -> None:
        """Let a listing or history name one message of each small mailbox."""
        with self.db.begin() as connection:
            boxes = [factories.as_value(connection, box) for box in self.small]
            found = [record(connection, box, [Listed("new")], lane=lane) for box in boxes]
            ledger.put(connection, [step for one in found for step in one.emits])

    def through(self, box: UUID) -> int:
        """Return how many messages of a mailbox are understood."""
        return int(value(self.db, _THROUGH, id=box))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work as one worker process does, for the length of the block: two crews, and a sweeper that pumps."""
        stop, holdings = threading.Event(), Holdings(self.db, "test")
        holdings.start()
        runner = Runner(STAGES, Surroundings(self.db, self.ports, holdings, lambda _: None, Metrics(), stop.is_set))

        def crew(lanes: Sequence[Lane]) -> None:
            while not stop.is_set():
                with self.db.begin() as connection:
                    lines = ledger.ready_lines(connection, list(STAGES))
                mine = sorted((one for one in lines if one.lane in lanes), key=lambda one: PRIORITY[one.lane])
                for line in mine:
                    runner.answer(line)
                stop.wait(0.0 if mine else 0.01)

        def sweep() -> None:
            while not stop.wait(0.5):
                with self.db.begin() as connection:
                    pump.release(connection)

        threads = [threading.Thread(target=crew, args=(lanes,)) for lanes in CREWS for _ in range(2)]
        threads.append(threading.Thread(target=sweep))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            holdings.stop()


@pytest.mark.parametrize("lane", [Lane.LIVE, Lane.REPAIR, Lane.BACKFILL])
@pytest.mark.fault("F-44")
def test_fifty_mailboxes_with_one_message_each_are_done_before_five_hundred_more_of_the_big_one(
    db: Database, lane: Lane
) -> None:
    town = Town(db)
    with town.working():
        until(lambda: town.through(town.big) >= 200, "the big mailbox to be read")
        town.arrive(lane)
        before = town.through(town.big)
        until(lambda: sum(town.through(box) for box in town.small) == _SMALL, "the small mailboxes")
        after = town.through(town.big)
    print(f"{lane}: {after - before} of the big one meanwhile")
    assert after - before < 500
    assert value(db, "SELECT count(*) FROM jobs WHERE state = 'held'") > _BIG / 2


@pytest.mark.fault("F-32")
def test_a_flood_of_mail_that_kills_its_reader_does_not_hold_up_the_other_mailboxes(db: Database) -> None:
    town = Town(db, size=2_000, begins=b"X-Deadly: yes\r\n")
    with town.working():
        until(lambda: town.parser.deaths >= 5, "the flood to be read")
        town.arrive(Lane.LIVE)
        before = town.parser.deaths
        until(lambda: sum(town.through(box) for box in town.small) == _SMALL, "the small mailboxes")
        after = town.parser.deaths
    print(f"{after - before} deaths meanwhile")
    assert after - before < 500
