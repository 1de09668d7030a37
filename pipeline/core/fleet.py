"""A simulated fleet of assets with known truth: the same seed and rates give the same history, to the last report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from models.enums import SignalSource, SignalStatus
from pipeline.core.fleet_rates import PARTIAL, Channel, Rates
from pipeline.core.histories import History, Report, Trouble, TroubleKind
from pipeline.core.scoring import Signal

_START = datetime(2026, 1, 5, tzinfo=UTC)
_DAY, _NEVER = timedelta(days=1), 100_000
_WORDS: Mapping[SignalStatus, tuple[str, ...]] = {
    SignalStatus.DOWN: (
        "charger is dead",
        "does not start",
        "card reader black",
        "cable locked and no power",
        "broken",
    ),
    SignalStatus.DEGRADED: ("very slow today", "stops after five minutes", "one connector only", "screen flickers"),
    SignalStatus.UNKNOWN: ("something is wrong here", "could not charge, no idea why", "strange noise"),
    SignalStatus.ONLINE: ("works again", "charging fine"),
}
#: Of the sessions of a day few happen at night.
_NIGHT, _MORNING = 0.15, 6


@dataclass(frozen=True, slots=True)
class Size:
    """How many assets are watched for how long, and from when."""

    assets: int = 300
    days: int = 30
    start: datetime = _START

    @property
    def until(self) -> datetime:
        """The end of the time that is watched."""
        return self.start + self.days * _DAY


def build(seed: int, size: Size = Size(), rates: Rates = Rates()) -> History:  # noqa: B008 - both are values
    """Return the history of one fleet."""
    numbers = count(1)
    reports: list[Report] = []
    troubles: list[Trouble] = []
    for place in range(size.assets):
        asset = _Asset(seed, place, size, rates, numbers)
        reports += asset.reports
        troubles += asset.troubles
    return History.of(reports, troubles, size.until)


class _Asset:
    """One asset's life, drawn from numbers of its own: others do not move it."""

    def __init__(self, seed: int, place: int, size: Size, rates: Rates, numbers: Iterator[int]) -> None:
        self.random = Random(f"{seed}:{place}")  # noqa: S311 - a simulation must be repeatable
        self.size, self.rates, self.place, self._numbers = size, rates, place, numbers
        self.tag = _tag(place)
        self.kind = rates.kind_at((place + 0.5) / size.assets)
        self.reports: list[Report] = []
        self.troubles: list[Trouble] = []
        self.is_seen = True
        fault = self._fault()
        for trouble in [*self._drops(), *self._hangs()]:
            self._machine(trouble, self._words_of(trouble), fault)
            if trouble.kind is TroubleKind.HANG:
                self._people(trouble, trouble.began_at, self.rates.ugc.statuses, fault)
            self._recovered(trouble, fault)
        self._heartbeats()
        self._false_reports()

    # What happens to it.

    def _fault(self) -> Trouble | None:
        """Draw the one fault that it may have: who repairs it is not drawn, so it lasts until somebody does."""
        began = self.size.start + self._gap(1 / self.kind.days_between_faults)
        how = self.random.random()
        self.is_seen = self.random.random() >= self.rates.invisible
        worse_after = self._lasts(self.rates.degrading_for)
        if began >= self.size.until:
            return None
        if how < self.rates.sudden:
            fault = self._trouble(TroubleKind.FAULT, began, None, down_from=began)
        elif how < self.rates.sudden + self.rates.degrading:
            fault = self._trouble(TroubleKind.FAULT, began, None, down_from=began + worse_after)
        else:
            fault = self._trouble(TroubleKind.FAULT, began, None, down_from=None)
        self._told_of(fault)
        return fault

    def _told_of(self, fault: Trouble) -> None:
        down_from = fault.down_from or self.size.until
        if fault.began_at < down_from:
            self._people(fault, fault.began_at, PARTIAL, None, until=down_from)
            if self.is_seen:
                self._machine(fault, {SignalStatus.DEGRADED: 1.0}, None, until=down_from)
        if down_from < self.size.until:
            self._people(fault, down_from, self.rates.ugc.statuses, None)
            if self.is_seen:
                self._machine(fault, {SignalStatus.DOWN: 1.0}, None, since=down_from)

    def _drops(self) -> list[Trouble]:
        is_poor = self.random.random() < self.rates.poor_reception
        days = self.rates.days_between_drops_poor if is_poor else self.rates.days_between_drops
        return [
            self._trouble(TroubleKind.DROP, at, at + self._lasts(self.rates.drop_lasts)) for at in self._times(1 / days)
        ]

    def _hangs(self) -> list[Trouble]:
        return [
            self._trouble(TroubleKind.HANG, at, at + self._lasts(self.rates.hang_lasts), down_from=at)
            for at in self._times(1 / self.rates.days_between_hangs)
        ]

    def _trouble(
        self, kind: TroubleKind, began: datetime, ended: datetime | None, *, down_from: datetime | None = None
    ) -> Trouble:
        trouble = Trouble(next(self._numbers), self.tag, kind, began, ended, down_from)
        self.troubles.append(trouble)
        return trouble

    # What is told of it.

    def _machine(
        self,
        trouble: Trouble,
        statuses: Mapping[SignalStatus, float],
        behind: Trouble | None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> None:
        """The operator's system tells of a trouble, and again while it lasts; behind a fault it sees nothing new."""
        if self.random.random() >= self.rates.charger_api.chance:
            return
        status = self._one_of(statuses)
        first = (since or trouble.began_at) + self._late(self.rates.charger_api)
        ended = min(until or self.size.until, trouble.ended_at or self.size.until)
        for pause in (timedelta(0), *self.rates.repeats):
            if first + pause < ended:
                self._tell(SignalSource.CHARGER_API, first + pause, status, during=trouble, after=behind)

    def _people(
        self,
        trouble: Trouble,
        since: datetime,
        statuses: Mapping[SignalStatus, float],
        behind: Trouble | None,
        *,
        until: datetime | None = None,
    ) -> None:
        """Users meet a trouble while it lasts; some of them tell, some twice, some of the wrong asset."""
        ended = min(until or self.size.until, trouble.ended_at or self.size.until)
        for source, channel in self.rates.channels():
            words = statuses if statuses is PARTIAL else channel.statuses
            for at in self._times(self.kind.sessions_a_day * channel.chance, since, ended, fades=True):
                asset = self._neighbour() if self.random.random() < self.rates.wrong_asset else self.tag
                status = self._one_of(words)
                self._person(source, channel, at, status, trouble=trouble, behind=behind, asset=asset)

    def _person(
        self,
        source: SignalSource,
        channel: Channel,
        at: datetime,
        status: SignalStatus,
        *,
        trouble: Trouble | None = None,
        behind: Trouble | None = None,
        asset: str = "",
    ) -> None:
        told = at + self._late(channel)
        # Who met a trouble tells of it, also when it is over by then.
        self._tell(source, at, status, during=trouble, after=behind, asset=asset, heard_at=told)
        if source is SignalSource.UGC and self.random.random() < self.rates.again:
            for minutes in self.random.choice(((4,), (3, 9))):
                later = timedelta(minutes=minutes)
                self._tell(source, at + later, status, during=trouble, after=behind, asset=asset, heard_at=told + later)

    def _recovered(self, trouble: Trouble, behind: Trouble | None) -> None:
        if trouble.ended_at is None or trouble.ended_at >= self.size.until:
            return
        told = {one.signal.source for one in self.reports if one.during == trouble.trouble_id}
        at = trouble.ended_at + self._late(self.rates.charger_api)
        if SignalSource.CHARGER_API in told:
            self._tell(SignalSource.CHARGER_API, at, SignalStatus.ONLINE, after=behind)
        if SignalSource.UGC in told and self.random.random() < self.rates.recovery:
            self._tell(SignalSource.UGC, at + self._late(self.rates.ugc), SignalStatus.ONLINE, after=behind)

    def _heartbeats(self) -> None:
        """Once a day the operator's system tells that all is well, where it sees nothing else."""
        pause = timedelta(hours=self.rates.hours_between_heartbeats)
        at = self.size.start + self.random.random() * pause
        while at < self.size.until:
            seen = [one for one in self.troubles if self._hides(one, at)]
            if all(one.kind is TroubleKind.FAULT for one in seen):
                self._tell(SignalSource.CHARGER_API, at, SignalStatus.ONLINE, after=seen[0] if seen else None)
            at += pause

    def _hides(self, trouble: Trouble, at: datetime) -> bool:
        is_on = trouble.began_at <= at and (trouble.ended_at is None or at < trouble.ended_at)
        return is_on and (trouble.kind is not TroubleKind.FAULT or self.is_seen)

    def _false_reports(self) -> None:
        """Users who err, and vandals, whatever the asset does."""
        a_day = self.kind.sessions_a_day / 1000
        for at in self._times(self.rates.false_reports_per_1000_sessions * a_day):
            source, channel = self._false_source()
            self._person(source, channel, at, self._one_of(channel.statuses))
        for at in self._times(self.rates.vandals_per_1000_sessions * a_day):
            for minutes in (0, 2, 5):
                later = timedelta(minutes=minutes)
                self._tell(SignalSource.UGC, at + later, SignalStatus.DOWN)

    def _false_source(self) -> tuple[SignalSource, Channel]:
        drawn = self.random.random()
        if drawn < self.rates.false_by_mail:
            return SignalSource.MAIL, self.rates.mail
        if drawn < self.rates.false_by_mail + self.rates.false_by_city:
            return SignalSource.CITY_311, self.rates.city
        return SignalSource.UGC, self.rates.ugc

    def _tell(
        self,
        source: SignalSource,
        at: datetime,
        status: SignalStatus,
        *,
        during: Trouble | None = None,
        after: Trouble | None = None,
        asset: str = "",
        heard_at: datetime | None = None,
    ) -> None:
        number = len(self.reports)
        words = "" if source is SignalSource.CHARGER_API else self.random.choice(_WORDS[status])
        # People who write are several sources, as in the product.
        said_by = f"{source}:{number}" if source is SignalSource.MAIL else source.value
        heard = heard_at or at
        signal = Signal(f"{self.tag}-{number}", said_by, at, asset or self.tag, status, words)
        self.reports.append(Report(heard, signal, _id(during), _id(after)))

    # Draws.

    def _times(
        self, a_day: float, since: datetime | None = None, until: datetime | None = None, *, fades: bool = False
    ) -> list[datetime]:
        """Return the times of a Poisson process by day; `fades`: users know after a while, and stay away."""
        at, ended = since or self.size.start, until or self.size.until
        since, found = at, []
        while a_day > 0:
            at += self._gap(a_day)
            if at >= ended:
                break
            left = self.rates.left_after_a_day ** ((at - since) / _DAY) if fades else 1.0
            if self.random.random() < left * (_NIGHT if at.hour < _MORNING else 1.0):
                found.append(at)
        return found

    def _gap(self, a_day: float) -> timedelta:
        return min(self.random.expovariate(a_day), _NEVER) * _DAY

    def _lasts(self, median: timedelta) -> timedelta:
        return median * self.random.lognormvariate(0, self.rates.skew)

    def _late(self, channel: Channel) -> timedelta:
        return channel.delay * math.exp(channel.spread * self.random.gauss(0, 1))

    def _one_of(self, weights: Mapping[SignalStatus, float]) -> SignalStatus:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def _words_of(self, trouble: Trouble) -> Mapping[SignalStatus, float]:
        return self.rates.drop_statuses if trouble.kind is TroubleKind.DROP else self.rates.charger_api.statuses

    def _neighbour(self) -> str:
        first = self.place - self.place % self.rates.site_size
        others = [one for one in range(first, min(first + self.rates.site_size, self.size.assets)) if one != self.place]
        return _tag(self.random.choice(others)) if others else self.tag


def _id(trouble: Trouble | None) -> int | None:
    return None if trouble is None else trouble.trouble_id


def _tag(place: int) -> str:
    return f"SIM_{place:04d}"
