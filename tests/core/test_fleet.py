"""A simulated fleet is the same again from its seed, and as its rates say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from models.enums import SignalSource, SignalStatus
from pipeline.core.fleet import Size, build
from pipeline.core.fleet_rates import Rates
from pipeline.core.histories import History, TroubleKind

SIZE = Size(assets=60, days=30)


@pytest.fixture(scope="module")
def fleets() -> list[History]:
    """Some fleets."""
    return [build(seed, SIZE) for seed in range(5)]


def of_source(history: History, source: SignalSource) -> list[SignalStatus]:
    return [one.signal.status for one in history.reports if one.signal.source.partition(":")[0] == source]


def test_the_same_seed_gives_the_same_history_and_another_one_another(fleets: list[History]) -> None:
    assert build(3, SIZE) == fleets[3]
    assert len({len(history.reports) for history in fleets}) > 1


def test_troubles_come_as_often_as_their_rates_say(fleets: list[History]) -> None:
    kinds = Counter(one.kind for history in fleets for one in history.troubles)
    months = 5 * SIZE.assets
    drops = 0.15 * 30 / 7 + 0.85 * 30 / 60
    assert 0.7 * drops < kinds[TroubleKind.DROP] / months / 0.79 < 1.3 * drops  # fewer at night
    assert 0.7 * 0.5 < kinds[TroubleKind.HANG] / months / 0.79 < 1.3 * 0.5
    assert 0.10 < kinds[TroubleKind.FAULT] / months < 0.22


def test_reports_are_in_the_order_in_which_they_are_heard_and_each_id_is_there_once(fleets: list[History]) -> None:
    for history in fleets:
        heard = [one.heard_at for one in history.reports]
        assert heard == sorted(heard)
        assert heard[-1] < history.until
        assert all(one.heard_at >= one.signal.at for one in history.reports)
        assert len({one.signal.signal_id for one in history.reports}) == len(heard)


def test_sources_differ_in_number_and_words(fleets: list[History]) -> None:
    counts = Counter(one.signal.source.partition(":")[0] for history in fleets for one in history.reports)
    assert counts[SignalSource.CHARGER_API] > counts[SignalSource.UGC] > counts[SignalSource.MAIL]
    assert counts[SignalSource.UGC] > 10 * counts[SignalSource.CITY_311] > 0
    told = [status for history in fleets for status in of_source(history, SignalSource.UGC)]
    assert set(told) >= {SignalStatus.DOWN, SignalStatus.DEGRADED, SignalStatus.UNKNOWN}


def test_reports_name_what_they_are_about_but_for_those_that_err() -> None:
    history = build(1, SIZE, replace(Rates(), ugc=replace(Rates().ugc, chance=0.9)))
    assets = {one.trouble_id: one.asset for one in history.troubles}
    named = [
        assets[one.during] == one.signal.asset
        for one in history.reports
        if one.during is not None and one.signal.source == SignalSource.UGC
    ]
    assert len(named) > 60
    assert 0.02 < named.count(False) / len(named) < 0.25


def test_a_fleet_without_trouble_and_liars_tells_only_good_news() -> None:
    never = 1e6
    rates = replace(
        Rates(), kinds=tuple(replace(kind, days_between_faults=never) for kind in Rates().kinds),
        days_between_hangs=never, days_between_drops=never, days_between_drops_poor=never,
        false_reports_per_1000_sessions=0, vandals_per_1000_sessions=0,
    )  # fmt: skip
    history = build(1, Size(12, 5), rates)
    assert len(history.troubles) == 0
    assert {one.signal.status for one in history.reports} == {SignalStatus.ONLINE}
