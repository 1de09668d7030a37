"""What reports come to before a mode judges them: exact, whatever the rules, and of no order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import SignalStatus, TaskResult, TriageMode
from pipeline.core.scoring import Signal, Verdict, assess, assess_modes, settled
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy
from pipeline.core.weighing import priority, weigh

BOUNDED = settings(max_examples=60, deadline=None)
START = datetime(2026, 2, 20, 20, 0, tzinfo=UTC)

reports = st.lists(
    st.builds(
        Signal,
        signal_id=st.integers(0, 6).map(str),
        source=st.sampled_from(("charger_api", "311", "ugc", "mail:ann@x.example")),
        at=st.integers(0, 9000).map(lambda minutes: START + timedelta(minutes=minutes)),
        asset=st.sampled_from(("AUS_1", "aus-1")),
        status=st.sampled_from(list(SignalStatus)),
        text=st.sampled_from(("", "card", "offline")),
        lat=st.sampled_from((None, 1.0, 2.0)),
    ),
    max_size=9,
)
policies = st.builds(
    lambda weights, evidence: TriagePolicy.change(BUILT_IN, {"weights": weights, "evidence": evidence}),
    weights=st.fixed_dictionaries(
        {name: st.integers(0, 100) for name in ("down", "degraded", "unknown", "online", "worst", "mean")}
        | {name: st.integers(0, 9) for name in ("source", "signal")}
    ),
    evidence=st.fixed_dictionaries(
        {
            "half_life_minutes": st.sampled_from((0, 30, 3000)),
            "duplicate_minutes": st.sampled_from((0, 60)),
            "most_days": st.integers(1, 30),
        }
    ),
)


def by_fractions(evidence: list[Signal], policy: TriagePolicy) -> int:
    """The formula of seed-behaviours, 4.2, written as it stands there."""
    rules, weights = policy.evidence, policy.weights
    kept: list[tuple[Signal, Fraction]] = []
    last: dict[Any, datetime] = {}
    for one in evidence:
        age, who = evidence[-1].at - one.at, (one.source, one.status)
        is_again = rules.duplicates is not None and who in last and one.at - last[who] <= rules.duplicates
        if age <= rules.reach and not is_again:
            last[who] = one.at
            left = 1000 if rules.half_life is None else round(1000 * 0.5 ** (age / rules.half_life))
            kept.append((one, Fraction(left, 1000)))
    if not kept:
        return 0
    live = [one for one, left in kept if left >= Fraction(1, 4)]
    points = [(Fraction(weights.of(one.status), 100) * left, left) for one, left in kept]
    worst = weights.worst * max(point for point, _ in points)
    mean = weights.mean * sum(point for point, _ in points) / sum(left for _, left in points)
    sources = weights.source * min(weights.most_sources, len({one.source for one in live}))
    return min(100, round(worst + mean + sources + weights.signal * min(weights.most_signals, len(live))))


@BOUNDED
@given(reports, policies)
def test_whole_numbers_come_to_what_the_fractions_do(told: list[Signal], policy: TriagePolicy) -> None:
    assert priority(settled(told), policy) == by_fractions(settled(told), policy)


@BOUNDED
@given(reports, st.randoms(use_true_random=False))
def test_no_order_of_reports_leaves_a_trace(told: list[Signal], random: Random) -> None:
    shuffled = list(told)
    random.shuffle(shuffled)
    assert settled(shuffled) == settled(told)
    assert weigh(settled(shuffled), BUILT_IN) == weigh(settled(told), BUILT_IN)


@BOUNDED
@given(reports, policies, st.sampled_from((None, "confirmed_issue", "false_alarm", "needs_more_data")))
def test_both_modes_at_once_say_what_each_says_alone(told: list[Signal], policy: TriagePolicy, result: Any) -> None:
    verdict = result and Verdict(result, START + timedelta(minutes=4000))
    found = assess_modes(told, policy.in_modes(), asset="AUS_1", verdict=verdict)
    for mode in TriageMode:
        assert found[mode] == assess(told, policy.as_mode(mode), asset="AUS_1", verdict=verdict)


def test_times_without_a_zone_get_one() -> None:
    naive = Signal("1", "ugc", START.replace(tzinfo=None), "A", SignalStatus.DOWN)
    assert settled([naive]) == [replace(naive, at=START)]


def test_who_needs_more_data_is_asked_again_however_sure_the_reports_are_until_a_new_one_comes() -> None:
    sure = [Signal(str(n), source, START, "A", SignalStatus.DOWN) for n, source in enumerate(("311", "ugc", "ugc"))]
    verdict = Verdict(TaskResult.NEEDS_MORE_DATA, START + timedelta(minutes=5))
    assert not assess(sure).verification_required
    assert assess(sure, verdict=verdict).verification_required
    later = replace(sure[0], signal_id="9", at=START + timedelta(minutes=6))
    assert not assess([*sure, later], verdict=verdict).verification_required
