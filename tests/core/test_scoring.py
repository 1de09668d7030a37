"""The score of a case: the known vectors, the table of reasons, and what must not change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import RecommendedAction, RootCause, SignalStatus
from pipeline.core.causes import root_cause
from pipeline.core.scoring import (
    Case,
    Signal,
    assess,
    case_id,
    priority,
    triage,
    verification_tasks,
)
from pipeline.core.triage_policy import BASELINE, BUILT_IN, TriagePolicy

BOUNDED = settings(max_examples=50, deadline=None)
START = datetime(2026, 2, 20, 20, 0, tzinfo=UTC)
SOURCES = ("charger_api", "311", "ugc")


def signals(statuses: str, sources: int = 1, asset: str = "AUS_0123", text: str = "") -> list[Signal]:
    """Signals one minute apart, the first ones from different sources."""
    return [
        Signal(
            f"sig_{n:03}",
            SOURCES[min(n, sources - 1)],
            START + timedelta(minutes=n),
            asset,
            SignalStatus(status),
            text,
        )
        for n, status in enumerate(statuses.split())
    ]


DISPATCH, VERIFY, RESET = RecommendedAction.DISPATCH, RecommendedAction.VERIFY, RecommendedAction.RESET
LOW, LIMITED = "low_evidence_volume", "limited_evidence_volume"
MIXED, CONFLICT = "cross_source_disagreement", "status_conflict_recent"
VAGUE, FLAPS = "ambiguous_unknown_status", "status_flapping"

VECTORS = [
    ("down", 1, 95, 2, "high", 0.71, DISPATCH, [LOW]),
    ("degraded", 1, 64, 8, "elevated", 0.64, VERIFY, [LOW]),
    ("unknown", 1, 41, 24, "normal", 0.64, VERIFY, [LOW]),
    ("online", 1, 5, 24, "normal", 0.64, VERIFY, [LOW]),
    ("down down", 1, 97, 2, "high", 0.85, DISPATCH, [LIMITED]),
    ("down down", 2, 100, 2, "high", 0.88, DISPATCH, [LIMITED]),
    ("down down down", 1, 99, 2, "high", 0.99, DISPATCH, []),
    ("down down down", 3, 100, 2, "high", 0.99, DISPATCH, []),
    ("down online", 1, 87, 2, "high", 0.38, VERIFY, [LIMITED, MIXED, CONFLICT]),
    ("down online", 2, 90, 2, "high", 0.41, VERIFY, [LIMITED, MIXED, CONFLICT]),
    ("down online down", 1, 92, 2, "high", 0.28, VERIFY, [MIXED, CONFLICT, FLAPS]),
    ("down online down", 3, 98, 2, "high", 0.31, VERIFY, [MIXED, CONFLICT, FLAPS]),
    ("down degraded", 1, 94, 2, "high", 0.62, VERIFY, [LIMITED, MIXED]),
    ("down degraded", 2, 96, 2, "high", 0.65, DISPATCH, [LIMITED, MIXED]),
    ("down degraded down", 1, 97, 2, "high", 0.52, VERIFY, [MIXED, FLAPS]),
    ("down degraded down", 3, 100, 2, "high", 0.55, VERIFY, [MIXED, FLAPS]),
    ("unknown down", 2, 94, 2, "high", 0.57, VERIFY, [LIMITED, MIXED, VAGUE]),
    ("online online online online online", 1, 13, 24, "normal", 0.93, RESET, []),
    ("degraded degraded degraded degraded degraded", 1, 72, 4, "elevated", 0.93, DISPATCH, []),
    ("degraded degraded degraded degraded degraded", 3, 78, 4, "elevated", 0.96, DISPATCH, []),
    ("down degraded unknown online", 3, 97, 2, "high", 0.23, VERIFY, [MIXED, CONFLICT, VAGUE, FLAPS]),
]


@pytest.mark.parametrize("vector", VECTORS, ids=[f"{vector[0]} from {vector[1]}" for vector in VECTORS])
def test_every_known_vector_scores_exactly(vector):
    statuses, sources, score, hours, stress, confidence, action, reasons = vector
    case = assess(signals(statuses, sources), BUILT_IN)
    assert (case.priority_score, case.sla_hours, case.grid_stress_level) == (score, hours, stress)
    assert (case.confidence, case.recommended_action) == (confidence, action)
    assert list(case.uncertainty_reasons) == reasons
    assert case.verification_required is (action is VERIFY)


@pytest.mark.parametrize(
    ("statuses", "sources", "confidence", "action"),
    [
        pytest.param("down", 1, 0.99, DISPATCH, id="capped"),
        pytest.param("unknown", 1, round(0.55 + 41 / 200, 2), RESET, id="unknown"),
        pytest.param("online", 1, round(0.55 + 5 / 200, 2), RESET, id="online"),
        pytest.param("degraded", 1, 0.87, RESET, id="just below dispatch"),
        pytest.param("down degraded unknown online", 3, 0.99, DISPATCH, id="contradictory"),
    ],
)
def test_baseline_acts_on_severity_alone(statuses, sources, confidence, action):
    case = assess(signals(statuses, sources), BASELINE)
    assert (case.confidence, case.recommended_action) == (confidence, action)
    assert case.uncertainty_reasons == ()
    assert not case.verification_required


def test_no_signals_are_no_evidence():
    case = assess([], BUILT_IN, asset="AUS_0123")
    assert (case.case_id, case.asset, case.priority_score, case.sla_hours) == ("case_aus_0123", "AUS_0123", 0, 24)
    assert (case.confidence, case.uncertainty_reasons) == (0.0, ("no_evidence",))
    assert case.recommended_action is RecommendedAction.VERIFY


def test_evidence_is_listed_newest_first():
    assert assess(signals("down online down"), BUILT_IN).evidence_ids == ("sig_002", "sig_001", "sig_000")


def test_naive_and_zoned_times_mix_and_naive_means_utc():
    early, late = signals("online down")
    zoned = replace(early, at=early.at.astimezone(timezone(timedelta(hours=5))))
    naive = replace(late, at=late.at.replace(tzinfo=None))
    assert assess([naive, zoned], BUILT_IN) == assess([early, late], BUILT_IN)


def test_a_signal_id_counts_once_and_its_newest_version_holds():
    first = signals("online")[0]
    second = replace(first, status=SignalStatus.DOWN, at=first.at + timedelta(minutes=1))
    assert assess([second, first, second], BUILT_IN) == assess([second], BUILT_IN)


def test_signals_about_two_assets_are_not_one_case():
    with pytest.raises(ValueError, match="use triage"):
        assess([*signals("down"), *signals("down down", asset="AUS_0777")], BASELINE)


def test_a_signal_id_belongs_to_one_asset_the_newest():
    old = signals("down", asset="A")[0]
    new = replace(old, asset="B", at=old.at + timedelta(minutes=1))
    assert [case.asset for case in triage([new, old], BASELINE)] == ["B"]


def test_triage_sorts_by_priority_then_asset():
    given_signals = [
        *(replace(s, signal_id=f"c{s.signal_id}") for s in signals("unknown", asset="C")),
        *(replace(s, signal_id=f"b{s.signal_id}") for s in signals("down", asset="B")),
        *(replace(s, signal_id=f"a{s.signal_id}") for s in signals("down", asset="A")),
    ]
    assert [case.asset for case in triage(given_signals, BASELINE)] == ["A", "B", "C"]


@pytest.mark.parametrize("order", [1, -1])
def test_ties_come_out_alike_in_both_orders(order):
    assets = [one for asset in ("A", "B") for one in signals("degraded", asset=asset)]
    tied = [replace(one, signal_id=one.asset) for one in assets]
    assert [case.asset for case in triage(tied[::order], BUILT_IN)] == ["A", "B"]
    at_once = [replace(one, at=START) for one in signals("down online down")]
    assert assess(at_once[::order], BUILT_IN).evidence_ids == ("sig_002", "sig_001", "sig_000")
    assert assess([replace(one, text=text) for one, text in zip(at_once, ("card", "cable"), strict=False)][::order],
                  BUILT_IN).root_cause_tag is RootCause.PAYMENT_TERMINAL  # fmt: skip


def test_spellings_that_share_a_case_id_share_the_case():
    old = signals("down", asset="AUS-0123")[0]
    new = replace(old, signal_id="sig_9", at=old.at + timedelta(minutes=1), asset="aus_0123")
    (case,) = triage([new, old], BUILT_IN)
    assert (case.case_id, case.asset, case.evidence_ids) == ("case_aus_0123", "aus_0123", ("sig_9", "sig_000"))


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ("AUS_0123", "case_aus_0123"),
        (" AUS--01 23! ", "case_aus_01_23"),
        ("", "case_unknown"),
        ("--", "case_unknown"),
    ],
)
def test_case_ids_are_slugs(asset, expected):
    assert case_id(asset) == expected


def test_assets_that_differ_beyond_ascii_keep_their_own_case_ids():
    ids = {case_id(asset) for asset in ("Tür 1", "Tor 1", "Ж 1", "Щ 1", "1")}
    assert len(ids) == 5
    assert all(i.isascii() for i in ids)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param("Support: nobody could report, stopping by", RootCause.UNKNOWN, id="no substring hits"),
        pytest.param("discarded the important portal", RootCause.UNKNOWN, id="no substring hits again"),
        pytest.param("The plugs and cables are BENT", RootCause.CONNECTOR, id="plurals"),
        pytest.param("card_reader: tapped twice", RootCause.PAYMENT_TERMINAL, id="underscores separate"),
        pytest.param("timeouts, modem", RootCause.NETWORK, id="network"),
        pytest.param("card cable", RootCause.PAYMENT_TERMINAL, id="tie goes to payment"),
        pytest.param("cable router", RootCause.CONNECTOR, id="tie goes to connector"),
        pytest.param("card cable cable", RootCause.CONNECTOR, id="every occurrence counts"),
        pytest.param("", RootCause.UNKNOWN, id="nothing said"),
    ],
)
def test_root_causes_are_whole_words(text, cause):
    assert root_cause([text]) is cause
    assert assess(signals("down", text=text), BASELINE).root_cause_tag is cause


def test_verification_asks_once_per_uncertain_case_in_case_order():
    cases = triage(
        [
            *signals("unknown", asset="B_2"),
            *(replace(s, signal_id=f"x{s.signal_id}") for s in signals("degraded", asset="A_1")),
            *(replace(s, signal_id=f"y{s.signal_id}") for s in signals("down down down", asset="C_3")),
        ],
        BUILT_IN,
    )
    tasks = verification_tasks(cases)
    assert [(task.task_id, task.case_id) for task in tasks] == [("ver_a_1", "case_a_1"), ("ver_b_2", "case_b_2")]
    assert tasks[0].question == "Is charger A_1 physically offline right now?"
    assert (tasks[0].owner, tasks[0].status, tasks[0].result) == ("FieldOps", "open", None)


def test_the_explanation_tells_counts_sources_and_doubts():
    case = assess(signals("down online", 2, text="the plug"), BUILT_IN)
    assert "1 down, 1 online from 2 sources" in case.explanation
    assert "connector" in case.explanation
    assert "status_conflict_recent" in case.explanation


any_signal = st.builds(
    Signal,
    signal_id=st.sampled_from([f"s{n}" for n in range(12)]),
    source=st.sampled_from(SOURCES),
    at=st.datetimes(
        min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - naive on purpose
        max_value=datetime(2030, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-7))]),
    ),
    asset=st.sampled_from(["AUS_1", "aus-1", "B", "Ü 1"]),
    status=st.sampled_from(SignalStatus),
    text=st.text(max_size=30),
)


@BOUNDED
@given(st.lists(any_signal, max_size=15), st.randoms(), st.sampled_from((BUILT_IN, BASELINE)))
def test_order_never_changes_a_triage(given_signals, random, mode):
    shuffled = random.sample(given_signals, len(given_signals))
    assert triage(shuffled, mode) == triage(given_signals, mode)


@BOUNDED
@given(st.lists(any_signal, max_size=15), st.sampled_from((BUILT_IN, BASELINE)))
def test_scores_stay_in_their_bounds(given_signals, mode):
    cases = triage(given_signals, mode)
    assert len({case.case_id for case in cases}) == len(cases)
    for case in cases:
        assert 0 <= case.priority_score <= 100
        assert 0.05 <= case.confidence <= 0.99
        assert case.confidence == round(case.confidence, 2)
        assert case.verification_required == (mode is BUILT_IN and case.confidence < 0.65)
        assert (case.recommended_action is VERIFY) == case.verification_required


@BOUNDED
@given(st.lists(st.sampled_from(SignalStatus), min_size=1, max_size=9), st.integers(1, 3))
def test_exact_arithmetic_agrees_with_the_formula_in_floats(statuses, sources):
    evidence = signals(" ".join(statuses), sources)
    weight = {SignalStatus.DOWN: 1.0, SignalStatus.DEGRADED: 0.65, SignalStatus.UNKNOWN: 0.4, SignalStatus.ONLINE: 0.0}
    weights = [weight[status] for status in statuses]
    bonus = 3 * len({s.source for s in evidence}) + 2 * min(len(statuses), 5)
    assert priority(evidence) == min(100, round(70 * max(weights) + 20 * sum(weights) / len(weights) + bonus))


def test_a_case_is_a_value():
    case = assess(signals("down"), BASELINE)
    assert isinstance(case, Case)
    assert hash(case) == hash(assess(signals("down"), BASELINE))


@pytest.mark.parametrize(
    ("said", "is_alike"),
    [
        ({"calibration": {"points": [[10, 20]]}, "verification": {"below": 50}, "mode": "baseline"}, True),
        ({"dispatch": {"automatic": False}, "deadlines": {"otherwise_hours": 9}, "quiet_days": 3}, True),
        ({"doubts": {"start": 80}}, False),
        ({"weights": {"down": 90}}, False),
        ({"evidence": {"most_days": 5}}, False),
        ({"dispatch": {"from_priority": 70}}, False),
    ],
    ids=str,
)
def test_certainties_of_two_policies_are_comparable_where_nothing_that_the_formula_asks_for_differs(
    said: dict[str, Any], is_alike: bool
) -> None:
    other = TriagePolicy.change(BUILT_IN, said)
    assert (BUILT_IN.scores_like(other), other.scores_like(BUILT_IN)) == (is_alike, is_alike)
