"""The worker process stops in order, and in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from actors.worker import WorkerProcess
from pipeline.runtime.settings import Settings

_PATIENCE = timedelta(seconds=30)


class Stopwatch:
    """A clock that is moved by those who wait."""

    def __init__(self) -> None:
        self.at = timedelta(0)

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + self.at

    def monotonic(self) -> float:
        return self.at.total_seconds()

    def wait(self, duration: timedelta) -> None:
        self.at += duration


class Stuck:
    """A part of a worker that takes all the time it is given, and notes what it is told."""

    worker = 1

    def __init__(self, name: str, clock: Stopwatch, told: list[str]) -> None:
        self._name, self._clock, self._told = name, clock, told

    def end(self) -> None:
        self._told.append(f"end {self._name}")

    def stop(self, wait: timedelta | Callable[[], timedelta]) -> set[object]:
        self._told.append(f"stop {self._name}")
        self._clock.wait(wait if isinstance(wait, timedelta) else wait())
        return set()


@pytest.mark.fault("F-14", "F-29")
def test_a_worker_whose_every_part_is_stuck_is_out_by_one_deadline(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, clock = WorkerProcess(settings), Stopwatch()
    told: list[str] = []
    monkeypatch.setattr(worker, "_ports", replace(worker._ports, clock=clock))
    for name in ("listener", "schedule", "sweeper", "crews", "holdings"):
        monkeypatch.setattr(worker, f"_{name}", Stuck(name, clock, told))
    worker.stop()
    assert timedelta(seconds=18) < clock.at < _PATIENCE
    assert told[:3] == ["end listener", "end schedule", "end sweeper"]
    assert told[3:5] == ["stop crews", "stop holdings"]
