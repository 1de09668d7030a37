"""Small histories for tests of replays: one asset, times in minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.enums import SignalStatus
from pipeline.core.histories import History, Report, Trouble, TroubleKind
from pipeline.core.scoring import Signal
from pipeline.core.surroundings import Answering, Driving, Surroundings

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
#: Whoever answers is always right and takes ten minutes; whoever drives takes half an hour.
EXACT = Surroundings(
    Answering(timedelta(minutes=10), 0, 1, 1, 0),
    Driving(None, timedelta(minutes=30), 0, timedelta(hours=1), timedelta(minutes=20)),
)


def at(minutes: float) -> datetime:
    """Return a moment so many minutes after the start."""
    return START + timedelta(minutes=minutes)


def report(
    minutes: float,
    status: str = "down",
    *,
    asset: str = "A1",
    source: str = "ugc",
    during: int | None = None,
    after: int | None = None,
) -> Report:
    """Return a report that is heard at once."""
    signal = Signal(f"{asset}-{minutes}-{status}-{source}", source, at(minutes), asset, SignalStatus(status))
    return Report(at(minutes), signal, during, after)


def trouble(
    number: int = 1,
    *,
    asset: str = "A1",
    kind: TroubleKind = TroubleKind.FAULT,
    began: float = 0,
    ended: float | None = None,
    is_down: bool = True,
) -> Trouble:
    """Return a trouble; `is_down`: from its beginning."""
    return Trouble(number, asset, kind, at(began), None if ended is None else at(ended), at(began) if is_down else None)


def history(*reports: Report, troubles: tuple[Trouble, ...] = (), days: float = 5) -> History:
    """Return a history that is watched for some days."""
    return History.of(reports, troubles, START + timedelta(days=days))
