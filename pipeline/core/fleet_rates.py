"""How often things fail, flap and are reported in a simulated fleet, with the reason of each number.

The numbers were written before any policy was measured on them, and no policy's result has changed them since
(decision 52). They are estimates of ours about public chargers in a city, not measurements of somebody's fleet; who
has better ones gives others to `fleet.build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from models.enums import SignalSource, SignalStatus


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of asset: its share of the fleet, days between faults that need a visit, and sessions of users a day."""

    name: str
    share: float
    days_between_faults: float
    sessions_a_day: float


@dataclass(frozen=True, slots=True)
class Channel:
    """How a source learns of a fault and tells it.

    `chance` is that it tells of a fault at all (of users: that one who stands before it tells); `delay` is the median
    between learning and telling, `spread` the sigma of its logarithm; `statuses` are the words used for an asset that
    is down, by weight.
    """

    chance: float
    delay: timedelta
    spread: float
    statuses: Mapping[SignalStatus, float]


_DOWN, _DEGRADED, _UNKNOWN = SignalStatus.DOWN, SignalStatus.DEGRADED, SignalStatus.UNKNOWN

#: What people say of an asset that works only in part.
PARTIAL: Mapping[SignalStatus, float] = MappingProxyType({_DEGRADED: 0.6, _DOWN: 0.25, _UNKNOWN: 0.15})


@dataclass(frozen=True, slots=True)
class Rates:
    """All rates of a fleet."""

    #: Fast chargers have cooled cables, fans and power modules, and are used most: a visit each four months. Slow ones
    #: at kerbs suffer from vandals and cars; those in car parks hardly fail.
    kinds: tuple[Kind, ...] = (
        Kind("fast", 0.35, 120, 9),
        Kind("kerb", 0.35, 240, 4),
        Kind("car_park", 0.30, 360, 3),
    )
    #: Chargers stand in groups; reports that name the wrong one name a neighbour.
    site_size: int = 6

    # Faults that need a visit.
    #: Most failures are sudden (a breaker, a contactor, a torn cable) ...
    sudden: float = 0.55
    #: ... some announce themselves as slowness or errors for hours to days before the asset is down ...
    degrading: float = 0.25
    degrading_for: timedelta = timedelta(hours=30)
    #: ... and the rest stay partial: one of two connectors, a dim display. They need a visit, and are not urgent.
    #: What the operator's own system does not see: cables, displays and payment terminals report nothing.
    invisible: float = 0.25

    # Trouble that mends itself, so that a technician finds nothing.
    #: A program hangs until the watchdog restarts it: each two months, an hour or so; users do suffer meanwhile.
    days_between_hangs: float = 60
    hang_lasts: timedelta = timedelta(minutes=50)
    #: A mobile connection drops: the charger works on, and its operator sees it as down or hears nothing. One asset in
    #: seven stands where reception is poor and drops each week; the others each two months.
    poor_reception: float = 0.15
    days_between_drops_poor: float = 7
    days_between_drops: float = 60
    drop_lasts: timedelta = timedelta(minutes=35)
    #: Durations are skewed: most are short and a few last for many hours.
    skew: float = 1.1
    #: How a drop looks to the operator's system.
    drop_statuses: Mapping[SignalStatus, float] = field(
        default_factory=lambda: MappingProxyType({_DOWN: 0.6, _UNKNOWN: 0.4})
    )

    # Reports of nothing.
    #: A wrong card or app, a car that does not charge, a full bay: users who take it for a fault, each two months per
    #: asset at the busiest kind, by sessions.
    false_reports_per_1000_sessions: float = 2.0
    #: A joke or a grudge: rarer, and in bursts.
    vandals_per_1000_sessions: float = 0.15
    #: One report in ten names a neighbour of the asset that it means.
    wrong_asset: float = 0.10
    #: Of false reports by way of mail, and of the city's line; the rest is user-generated.
    false_by_mail: float = 0.12
    false_by_city: float = 0.05

    # Sources.
    #: The operator's system is quick, and repeats itself while trouble lasts.
    charger_api: Channel = Channel(0.97, timedelta(minutes=2), 0.5, MappingProxyType({_DOWN: 1.0}))
    repeats: tuple[timedelta, ...] = (
        timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=12), timedelta(days=1),
        timedelta(days=2), timedelta(days=4), timedelta(days=7), timedelta(days=14),
    )  # fmt: skip
    #: Once a day it tells that all is well, where it thinks so.
    hours_between_heartbeats: float = 24
    #: The city's line is slow and seldom, and mostly right: who calls has looked twice.
    city: Channel = Channel(0.015, timedelta(hours=3), 0.8, MappingProxyType({_DOWN: 0.9, _UNKNOWN: 0.1}))
    #: Users post at once, one in fourteen who meets a fault, and are vague about it.
    ugc: Channel = Channel(
        0.07, timedelta(minutes=10), 0.9, MappingProxyType({_DOWN: 0.75, _DEGRADED: 0.12, _UNKNOWN: 0.13})
    )
    #: A third of them post it again within minutes: another photo, another word.
    again: float = 0.33
    #: Mail is written by hosts of sites and by drivers who are back home.
    mail: Channel = Channel(
        0.03, timedelta(hours=1), 1.0, MappingProxyType({_DOWN: 0.8, _DEGRADED: 0.1, _UNKNOWN: 0.1})
    )
    #: One report in four is followed by "works again" when it does.
    recovery: float = 0.25
    #: Those who know that it is broken do not come any more: of the first day's users so many are left a day later.
    left_after_a_day: float = 0.6

    def channels(self) -> tuple[tuple[SignalSource, Channel], ...]:
        """Return the sources that are people."""
        return ((SignalSource.UGC, self.ugc), (SignalSource.MAIL, self.mail), (SignalSource.CITY_311, self.city))

    def kind_at(self, place: float) -> Kind:
        """Return the kind of the asset at a place, 0..1: kinds stand in a row, so that neighbours are of one kind."""
        reached = 0.0
        for kind in self.kinds:
            reached += kind.share
            if place < reached:
                return kind
        return self.kinds[-1]
