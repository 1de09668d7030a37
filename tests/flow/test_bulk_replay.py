"""Dead letters of a whole chain replayed in bulk: after a correction, beside a late twin, and beside live mail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from dlq import advancing, bulk_reading, bulks, letters
from dlq.bulk_reading import Bulk
from dlq.bulks import Wish
from dlq.letters import Death
from dlq.reading import Which
from models.enums import BulkAction, BulkState, Cause, Lane
from pipeline.ports import Ports
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Permanent
from pipeline.runtime.settings import Settings
from pipeline.table import STAGES
from tests import conservation
from tests.engine import Engine
from tests.factories import rows, value
from tests.flow.imports import Import

_SIZE = 60
_DEFECT = "the first version cannot do this"


def some_fail(work: Callable[..., Sequence[Any]], every: int) -> Callable[[Sequence[Any], Ports], Sequence[Any]]:
    """Return a stage's work that has a defect with one item of every so many."""

    def broken(items: Sequence[Any], ports: Ports) -> Sequence[Any]:
        results = work(items, ports)
        return [Permanent(_DEFECT) if n % every == 0 else result for n, result in enumerate(results)]

    return broken


def with_defects(engine: Engine, **every: int) -> None:
    """Let stages of an engine fail for one item of every so many; without any, all is mended."""
    found = {name: replace(STAGES[name], work=some_fail(STAGES[name].work, n)) for name, n in every.items()}
    engine._runner._stages = {**STAGES, **found}


def tick(db: Database) -> None:
    with db.begin() as connection:
        advancing.advance(connection)


def bulk(db: Database, bulk_id: int | None) -> Bulk:
    assert bulk_id is not None
    with db.begin() as connection:
        found = bulk_reading.bulk(connection, bulk_id)
    assert found is not None
    return found


def start(db: Database, which: Which, canaries: int = 0) -> int | None:
    with db.begin() as connection:
        wish = Wish(BulkAction.REPLAY, which, "ann", "mended", canaries=canaries)
        return bulks.start(connection, wish).bulk_id


def replay_all(engine: Engine, which: Which, canaries: int = 0) -> Bulk:
    """Replay in bulk and work until it is over."""
    bulk_id = start(engine.db, which, canaries)
    for _ in range(100):
        tick(engine.db)
        engine.run()
        if bulk(engine.db, bulk_id).finished_at is not None:
            break
    return bulk(engine.db, bulk_id)


@pytest.mark.fault("F-35")
def test_after_a_correction_everything_is_replayed_and_no_second_work_order_comes_of_it(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "IN_LINE", 20)
    mail = Import(db, settings, tmp_path, _SIZE)
    with Engine(db, settings) as engine:
        with_defects(engine, parse=3, routing=4, triage=3, dispatch=1)
        mail.deliver(mail.mails)
        engine.run()
        defect: Which = {"text": _DEFECT}
        dead = value(db, "SELECT count(*) FROM dead_letters WHERE error_text = :said", said=_DEFECT)
        assert dead > _SIZE / 2
        stages = rows(db, "SELECT DISTINCT stage FROM dead_letters WHERE error_text = :said", said=_DEFECT)
        assert {row.stage for row in stages} == {"parse", "routing", "triage", "dispatch"}

        wrong = replay_all(engine, defect, canaries=4)
        assert (wrong.state, wrong.passed + wrong.failed <= 4, wrong.skipped >= dead - 4) == (
            BulkState.STOPPED, True, True,
        )  # fmt: skip

        with_defects(engine)
        right = replay_all(engine, defect, canaries=4)
        # A hostile mail among them dies of its own hostility, whatever was mended.
        again = rows(db, "SELECT note FROM bulk_items WHERE bulk_id = :id AND state = 'failed'", id=right.bulk_id)
        assert (right.state, right.skipped, right.failed) == (BulkState.DONE, 0, len(again))
        assert len(again) <= 1
        assert right.passed + right.failed == right.total
        assert [row.note for row in again if _DEFECT in row.note] == []
        assert value(db, "SELECT count(*) FROM dead_letters WHERE resolution IS NULL AND error_text = :said",
                     said=_DEFECT) == 0  # fmt: skip
        assert value(db, "SELECT count(*) FROM work_orders") > 0
        assert mail.violations() == []
        with db.begin() as connection:
            before = conservation.snapshot(connection)
        assert start(db, defect) is None
        engine.run()
        with db.begin() as connection:
            assert conservation.snapshot(connection) == before


@pytest.mark.fault("F-34")
def test_a_replay_while_the_late_twin_of_the_old_attempt_still_runs_happens_once(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    mail = Import(db, settings, tmp_path, _SIZE)
    with Engine(db, settings) as late, Engine(db, settings) as other:
        mail.deliver(mail.mails)
        late.run(most=1)
        while not value(db, "SELECT count(*) FROM jobs WHERE stage = 'parse' AND state = 'ready'"):
            late.run(most=1)
        after_work = late._runner._work
        given_up: list[int] = []
        done: list[dict[str, str]] = []

        def freeze(*arguments: Any) -> Any:
            """Sleep between the work and its commit, while the job is given up, buried, replayed and done."""
            outcomes = after_work(*arguments)
            late._runner._work = after_work  # type: ignore[method-assign]
            given_up.append(_give_up_and_replay(db))
            other.run()
            with db.begin() as connection:
                done.append(conservation.snapshot(connection))
            return outcomes

        late._runner._work = freeze  # type: ignore[method-assign,assignment]
        line = ledger.Line("parse", Lane(value(db, "SELECT lane FROM jobs WHERE stage = 'parse' LIMIT 1")))
        assert late.answer(line) == given_up[0] > 0
        with db.begin() as connection:
            assert conservation.snapshot(connection) == done[0]
        assert rows(db, "SELECT FROM jobs WHERE state <> 'dead'") == []
        assert mail.violations() == []


def _give_up_and_replay(db: Database) -> int:
    """Do what sweepers and a person do when a worker seems to have died of its jobs; return of how many."""
    rows(db, "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE state = 'running'")
    with db.begin() as connection:
        lost = ledger.reclaim(connection, timedelta(0))
        letters.bury(connection, [Death(job, Cause.CRASHED, None, by_occurrence=True) for job in lost])
        ids = connection.execute(text("SELECT id FROM dead_letters WHERE resolution IS NULL")).scalars().all()
        done = letters.replay(connection, ids, actor="ann", reason="memory was added")
    return len(done.letter_ids)


@pytest.mark.fault("F-36")
def test_live_mail_goes_first_while_very_many_letters_are_replayed(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of letters, only so many stand in line, and in the line before them live mail is first."""
    monkeypatch.setattr(advancing, "IN_LINE", 12)
    mail = Import(db, settings, tmp_path, _SIZE)
    early, later = mail.portions(2)
    with Engine(db, settings) as engine:
        with_defects(engine, routing=1)
        mail.deliver(early)
        engine.run()
        with_defects(engine)
        dead = value(db, "SELECT count(*) FROM dead_letters WHERE stage = 'routing' AND resolution IS NULL")
        assert dead > 20
        bulk_id = start(db, {"stage": "routing"})
        tick(db)
        mail.deliver(later)
        rows(db, "UPDATE jobs SET lane = 'live' WHERE stage = 'backfill'")
        before = bulk(db, bulk_id).passed
        while rows(db, "SELECT FROM jobs WHERE lane = 'live' AND state IN ('ready', 'running', 'waiting')"):
            tick(db)
            assert bulk(db, bulk_id).released <= 12
            assert engine.run(most=1) == 1
        assert bulk(db, bulk_id).passed - before <= 12, "no replayed job runs while live mail waits"
        while bulk(db, bulk_id).finished_at is None:
            engine.run()
            tick(db)
        assert (bulk(db, bulk_id).state, bulk(db, bulk_id).passed) == (BulkState.DONE, dead)
        assert mail.violations() == []
