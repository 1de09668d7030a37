"""One run of the chain and one of the limit, each with what it used; and how long one mail takes when all is quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from actors.broker import Bells, make_broker
from deploy.demo.loading import load_company
from models.enums import Lane, Provider
from models.queries import queue, summary
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.file_index import Place, provider_id_of
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.commands.sync import request_backfill
from pipeline.ports import Listed
from pipeline.runtime import ledger
from pipeline.runtime.ledger import Line
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.occurrences import record
from tests.bench.children import Child, children
from tests.bench.corpus import Corpus, company, single_mails
from tests.bench.metering import Meter, Usage
from tests.bench.stand import Bed, Stand

_CLOCK = SystemClock()
_POLL = timedelta(milliseconds=10)
_CLOSE_POLL = timedelta(milliseconds=1)
_QUIET = timedelta(milliseconds=600)
_PATIENCE = 300.0
#: Ids of one limit process never reach those of the next.
_ID_ROOM = 1_000_000_000

_STATE = text("SELECT state FROM occurrences WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its messages, how many seconds they took, what that used, and the chain's CPU seconds by stage."""

    messages: int
    seconds: float
    usage: Usage
    stages: Mapping[str, float]


def run_chain(stand: Stand, corpus: Corpus, samples: int) -> tuple[Run, list[float]]:
    """Backfill the corpus through the whole chain; return the run, and the seconds of single mails afterwards."""
    with stand.bed() as bed, _ringing(bed) as bells:
        org_id = _company(bed)
        mailbox_id = _files(bed, org_id, "bench@example.org", corpus.parts)
        workers = [()] * len(corpus.parts)
        with children("worker", workers, bed.environment, bed.folder / "logs") as found:
            _wait_until(lambda: _live(bed) >= len(found), "the workers to live")
            meter = Meter(stand.supervisor, bed.db)
            run = _backfill(meter, bed, bells, mailbox_id, messages=corpus.messages, workers=found)
            return run, list(_single(bed, bells, org_id, samples))


def _backfill(
    meter: Meter, bed: Bed, bells: Bells, mailbox_id: UUID, *, messages: int, workers: Sequence[Child]
) -> Run:
    with meter.measuring([worker.pid for worker in workers]) as used:
        before = [worker.ask() for worker in workers]
        began = time.monotonic()
        with bed.db.begin() as connection:
            request_backfill(connection, mailbox_id)
        bells.ring({Line("backfill", Lane.BACKFILL)})
        _wait_until(lambda: not _is_busy(bed, mailbox_id), "the chain to be idle")
        seconds = time.monotonic() - began
        after = [worker.ask() for worker in workers]
    _check(bed, mailbox_id, messages)
    stages = {
        stage: sum(cpu.get(stage, 0.0) for cpu in after) - sum(cpu.get(stage, 0.0) for cpu in before)
        for stage in sorted({stage for cpu in after for stage in cpu})
    }
    return Run(messages, seconds, used[0], stages)


def run_limit(stand: Stand, corpus: Corpus) -> Run:
    """Fill the same tables without a queue, one process per part."""
    with stand.bed() as bed:
        arguments = [_limit_arguments(bed, number, part) for number, part in enumerate(corpus.parts)]
        with children("limit", arguments, bed.environment, bed.folder / "logs") as found:
            meter = Meter(stand.supervisor, bed.db)
            with meter.measuring([child.pid for child in found]) as used:
                began = time.monotonic()
                for child in found:
                    child.go_on()
                said = [child.hear() for child in found]
        done = sum(each["messages"] for each in said)
        assert done == corpus.messages, f"{done} of {corpus.messages} messages were written"
        return Run(done, max(each["at"] for each in said) - began, used[0], {})


def _limit_arguments(bed: Bed, number: int, part: Path) -> list[str]:
    with bed.db.begin() as connection:
        org_id = ensure_organization(connection, f"Limit {number}")
    mailbox_id = _files(bed, org_id, f"limit{number}@example.org", [part])
    return [
        "--database", bed.database_url, "--blobs", bed.blob_url, "--part", str(part),
        "--spool", str(bed.folder / "spool"), "--org", str(org_id), "--mailbox", str(mailbox_id),
        "--first-id", str(number * _ID_ROOM + 1),
    ]  # fmt: skip


def _single(bed: Bed, bells: Bells, org_id: UUID, samples: int) -> Iterator[float]:
    """Record single mails as history does while nothing else happens; yield the seconds until each is routed."""
    folder = bed.folder / "idle"
    folder.mkdir()
    paths = single_mails(folder, samples)
    mailbox_id = _files(bed, org_id, "idle@example.org", [folder])
    for number, path in enumerate(paths):
        # An uneven rest, so that the samples meet the workers' polls at every phase.
        _CLOCK.wait(_QUIET / 6 + timedelta(milliseconds=7 * (number % 13)))
        listed = Listed(provider_id_of(path.read_bytes()), locator=Place(path).locator())
        began = time.perf_counter()
        with bed.db.begin() as connection:
            mailbox = load_mailboxes(connection, [mailbox_id])[mailbox_id]
            emits = record(connection, mailbox, [listed], lane=Lane.LIVE).emits
            lines = ledger.put(connection, emits)
        bells.ring(lines)
        occurrence_id = int(emits[0].key)
        _wait_until(partial(_is_routed, bed, occurrence_id), "one mail", _CLOSE_POLL)
        yield time.perf_counter() - began


def _company(bed: Bed) -> UUID:
    """Put the company in, but accept mail to anybody: a corpus of others' mail is no spam here."""
    with bed.db.begin() as connection:
        org_id = load_company(connection, company())
        connection.execute(text("DELETE FROM recipient_allowlist"))
    return org_id


def _files(bed: Bed, org_id: UUID, address: str, paths: Sequence[Path]) -> UUID:
    source = {"paths": [str(path) for path in paths], "spool": str(bed.folder / "spool")}
    with bed.db.begin() as connection:
        return add_mailbox(connection, org_id, address, Provider.FILES, source=source)


@contextmanager
def _ringing(bed: Bed) -> Iterator[Bells]:
    with closing(make_broker(bed.redis_url)) as broker:
        yield Bells(broker, Metrics())


def _live(bed: Bed) -> int:
    with bed.db.begin() as connection:
        return len(queue.live_workers(connection))


def _is_busy(bed: Bed, mailbox_id: UUID) -> bool:
    with bed.db.begin() as connection:
        return queue.is_busy(connection, mailbox_id)


def _is_routed(bed: Bed, occurrence_id: int) -> bool:
    with bed.db.begin() as connection:
        return bool(connection.execute(_STATE, {"id": occurrence_id}).scalar_one() == "routed")


def _check(bed: Bed, mailbox_id: UUID, messages: int) -> None:
    """A figure counts only when every message is through."""
    with bed.db.begin() as connection:
        found = summary.summarise(connection, mailbox_id)
    through = found.by_state["routed"] + found.by_state["quarantined"]
    assert through == messages, f"{through} of {messages} messages are through: {dict(found.by_state)}"
    assert not found.stranded, f"{found.stranded} messages stand still"


def _wait_until(condition: Callable[[], bool], what: str, poll: timedelta = _POLL) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        _CLOCK.wait(poll)
