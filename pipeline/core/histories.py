"""What was reported of many assets, and what really was the matter: the ground that policies are compared on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from models.enums import SignalStatus
from pipeline.core.scoring import Signal

#: Between two stretches of trouble of an asset nobody reports any for so long.
_PAUSE = timedelta(days=1)


class TroubleKind(StrEnum):
    """What is the matter, by who can mend it."""

    FAULT = "fault"  #: somebody must come
    HANG = "hang"  #: users suffer; it mends itself, and who comes earlier mends it
    DROP = "drop"  #: only the connection is away: who comes finds a working asset


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that was the matter with an asset; `ended_at` is when it mended itself, None when it never does.

    `down_from` is since when nobody can use the asset; None for what is partial only.
    """

    trouble_id: int
    asset: str
    kind: TroubleKind
    began_at: datetime
    ended_at: datetime | None = None
    down_from: datetime | None = None

    @property
    def is_critical(self) -> bool:
        """Whether the asset is down for users until somebody comes."""
        return self.kind is TroubleKind.FAULT and self.down_from is not None

    @property
    def is_found(self) -> bool:
        """Whether who comes while it lasts has something to repair."""
        return self.kind is not TroubleKind.DROP


@dataclass(frozen=True, slots=True)
class Report:
    """A signal and when it is heard; it exists only while, or only after, a trouble lasts: who mends it ends it."""

    heard_at: datetime
    signal: Signal
    during: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """Reports by the time they are heard, all troubles, and until when it was looked."""

    reports: tuple[Report, ...]
    troubles: tuple[Trouble, ...]
    until: datetime

    @classmethod
    def of(cls, reports: Iterable[Report], troubles: Iterable[Trouble], until: datetime) -> History:
        """Return a history of reports in any order; what is heard after `until` is left out."""
        told = sorted((one for one in reports if one.heard_at < until), key=_order)
        return cls(tuple(told), tuple(sorted(troubles, key=lambda one: one.trouble_id)), until)


class Stretches:
    """The stretches of trouble of each asset, the same for every policy: what a bootstrap draws from."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self._starts: dict[str, list[datetime]] = {}
        last: dict[str, datetime] = {}
        for report in reports:
            if report.signal.status is not SignalStatus.ONLINE:
                self._add(report.signal.asset, report.heard_at, last)

    def _add(self, asset: str, at: datetime, last: dict[str, datetime]) -> None:
        starts = self._starts.setdefault(asset, [])
        if not starts or at - last[asset] > _PAUSE:
            starts.append(at)
        last[asset] = at

    def of(self, asset: str, at: datetime) -> tuple[str, int]:
        """Return which stretch of an asset a moment belongs to."""
        return asset, bisect_right(self._starts.get(asset, []), at)

    def all(self) -> list[tuple[str, int]]:
        """Return every stretch."""
        return [(asset, number + 1) for asset in sorted(self._starts) for number in range(len(self._starts[asset]))]


def first_heard(history: History) -> list[tuple[Trouble, datetime]]:
    """Return the critical troubles of which somebody told after they were down, and when that was heard first."""
    critical = {one.trouble_id: one for one in history.troubles if one.is_critical}
    heard: dict[int, datetime] = {}
    for report in history.reports:
        trouble = critical.get(report.during or 0)
        if trouble is None or trouble.down_from is None or report.signal.asset != trouble.asset:
            continue
        if report.signal.at >= trouble.down_from:
            heard.setdefault(trouble.trouble_id, report.heard_at)
    return [(critical[number], at) for number, at in heard.items()]


def _order(report: Report) -> tuple[datetime, datetime, str]:
    return report.heard_at, report.signal.at, report.signal.signal_id
