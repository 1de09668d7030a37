"""The sweeper lets bulks go on, rings their lines, and is hurt by nothing that happens there."""

from __future__ import annotations

from typing import cast

import pytest

from actors.broker import Bells
from actors.sweeper import Sweeper
from dlq import advancing
from models.enums import BulkState, Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from pipeline.table import STAGES
from tests.dlq.pile import UNORDERED, Pile
from tests.factories import emit, rows


def sweeper(db: Database) -> Sweeper:
    """Return a sweeper whose bells nobody needs: a sweep only says which to ring."""
    return Sweeper(db, STAGES, cast("Bells", None), Metrics())


def test_each_sweep_takes_bulks_one_tick_on_and_says_which_lines_to_ring(pile: Pile) -> None:
    pile.add(2)
    started = pile.start()
    sweeping = sweeper(pile.db)
    assert Line(UNORDERED, Lane.REPAIR) in sweeping.sweep()
    pile.work()
    assert sweeping.sweep() == set()
    assert pile.bulk(started).state == BulkState.RUNNING, "so soon after another sweep there is nothing to do"
    rows(pile.db, "UPDATE bulks SET topped_up_at = topped_up_at - interval '1 second'")
    sweeping.sweep()
    assert pile.bulk(started).state == BulkState.DONE


def test_a_tick_that_fails_does_not_hurt_the_sweep(pile: Pile, monkeypatch: pytest.MonkeyPatch) -> None:
    pile.add(1)
    started = pile.start()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(advancing, "_let_go", fail)
    with pile.db.begin() as connection:
        ledger.put(connection, [emit("due")])
    assert sweeper(pile.db).sweep() == {Line("fetch", Lane.LIVE)}
    assert pile.bulk(started).waiting == 1


def test_a_tick_has_little_time(pile: Pile, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def look(connection: object, **_: object) -> set[Line]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        said.extend(connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names)  # type: ignore[attr-defined]
        return set()

    monkeypatch.setattr(advancing, "advance", look)
    sweeper(pile.db).sweep()
    assert said == ["5s", "1s", "5s"]
