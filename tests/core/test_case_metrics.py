"""Contract 003's three numbers and what stands behind them, counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.enums import TriageMode
from pipeline.core.case_metrics import Judged, Saying, Trouble, by_policy, compare, pairs

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
B, C = TriageMode.BASELINE, TriageMode.CERTAINTY
HOUR = timedelta(hours=1)


def said(version: int = 0, formula: int = 71, told: int = 71, *, goes: bool = True) -> Saying:
    return Saying(version, formula, told, goes)


def trouble(baseline: timedelta | None, certainty: timedelta | None, **more: Any) -> Trouble:
    """Return a trouble to which each mode sends somebody after so long."""
    modes = {
        B: Judged(None if baseline is None else NOON + baseline, saying=said()),
        C: Judged(None if certainty is None else NOON + certainty, certainty is None, said()),
    }
    known = {"lead": C, "modes": modes, "priority": 95, "sla": 2 * HOUR, "arrived_at": NOON}
    return Trouble(**{**known, **more})


AT_ONCE, NEVER = timedelta(0), None


def test_false_dispatches_are_those_to_what_turned_out_to_be_nothing() -> None:
    found = compare(
        [
            *[trouble(AT_ONCE, NEVER, is_real=False)] * 2,
            *[trouble(AT_ONCE, AT_ONCE, is_real=False)] * 2,
            trouble(NEVER, NEVER, is_real=False),
            trouble(AT_ONCE, NEVER, is_real=True),
            trouble(AT_ONCE, AT_ONCE),
        ]
    )
    assert found["false_dispatch_reduction_pct"] == 50.0
    assert found["counts"]["false_dispatches"] == {"baseline": 4, "certainty": 2}
    assert (found["counts"]["cases"], found["counts"]["known"], found["counts"]["not_real"]) == (7, 6, 5)
    share = found["intervals"]["false_dispatch_rate_pct"]["baseline"]
    assert (share["value"], share["low"] < 80 < share["high"]) == (80.0, True)


def test_sending_nobody_to_anything_is_no_reduction_where_nothing_was_false() -> None:
    assert compare([trouble(AT_ONCE, NEVER, is_real=True)])["false_dispatch_reduction_pct"] == 0.0


def test_a_person_who_sent_somebody_counts_for_the_mode_that_led() -> None:
    case = trouble(NEVER, NEVER, is_real=False, ordered_at=NOON + HOUR)
    assert (case.sent_at(C), case.sent_at(B)) == (NOON + HOUR, None)


def test_criticals_are_caught_within_their_time_alone() -> None:
    found = compare(
        [
            trouble(AT_ONCE, 2 * HOUR, is_real=True),
            trouble(AT_ONCE, 3 * HOUR, is_real=True),
            trouble(NEVER, AT_ONCE, is_real=True),
            trouble(NEVER, AT_ONCE, is_real=True, priority=79),
            trouble(NEVER, AT_ONCE),
        ]
    )
    assert found["counts"]["criticals"] == 3
    assert found["counts"]["criticals_caught"] == {"baseline": 2, "certainty": 2}
    assert found["critical_catch_rate_delta_pct"] == 0.0
    late = [trouble(AT_ONCE, 3 * HOUR, is_real=True)] * 2 + [trouble(AT_ONCE, AT_ONCE, is_real=True)]
    assert compare(late)["critical_catch_rate_delta_pct"] == -66.67


def test_minutes_are_measured_of_the_mode_that_led_and_the_contracts_standard_else() -> None:
    decided = NOON + timedelta(minutes=3)
    assert trouble(AT_ONCE, AT_ONCE, decided_at=decided).minutes_of(C) == 3.0
    assert trouble(AT_ONCE, AT_ONCE, decided_at=decided).minutes_of(B) == 6.0
    assert trouble(AT_ONCE, NEVER).minutes_of(C) == 6.0
    assert trouble(AT_ONCE, AT_ONCE).minutes_of(C) == 4.0
    led = trouble(AT_ONCE, NEVER, lead=B, decided_at=decided)
    assert (led.minutes_of(B), led.minutes_of(C)) == (3.0, 6.0)
    # Whoever sends somebody has decided, whatever was asked.
    asked = trouble(AT_ONCE, NEVER, decided_at=NOON + HOUR, ordered_at=NOON + timedelta(minutes=9))
    assert asked.minutes == 9.0
    assert compare([trouble(AT_ONCE, AT_ONCE, decided_at=decided)])["triage_time_reduction_pct"] == 50.0


def test_without_cases_all_is_zero() -> None:
    found = compare([])
    numbers = [value for name, value in found.items() if name.endswith("_pct")]
    assert numbers == [0.0, 0.0, 0.0]
    assert by_policy([]) == []


def test_each_version_of_the_policy_is_judged_by_what_it_decided_and_said() -> None:
    old, new = {C: Judged(NOON, saying=said(1, 60, 60))}, {C: Judged(NOON, saying=said(2, 60, 90))}
    none = {B: Judged()}
    told = [
        trouble(NEVER, NEVER, modes=none | old, policy_version=1, is_real=True),
        trouble(NEVER, NEVER, modes=none | old, policy_version=1, is_real=False),
        trouble(NEVER, NEVER, modes=none | new, policy_version=2, is_real=True, decided_at=NOON + timedelta(minutes=4)),
        trouble(NEVER, NEVER, modes=none | new, policy_version=2, decided_at=NOON + timedelta(minutes=2)),
        # Decided by what it never said before somebody knew.
        trouble(NEVER, NEVER, modes=none | new, policy_version=1, is_real=False),
        trouble(NEVER, NEVER, modes=none | new, is_real=False),
    ]
    newest, oldest = by_policy(told)
    assert (newest["policy_version"], newest["cases"], newest["known"]) == (2, 2, 1)
    assert (newest["triage_minutes_p50"], newest["triage_minutes_p95"]) == (3.0, 3.9)
    assert (newest["expected_calibration_error"], newest["brier_score"]) == (0.1, 0.01)
    assert (oldest["policy_version"], oldest["cases"], oldest["false_dispatches"], oldest["missed_criticals"]) == (
        1, 3, 2, 0,
    )  # fmt: skip
    assert (oldest["expected_calibration_error"], len(oldest["reliability"])) == (0.1, 10)


def test_what_was_said_is_right_when_somebody_had_to_go_and_did_or_nobody_had_to() -> None:
    modes = {C: Judged(saying=said(goes=False)), B: Judged(saying=said(formula=99))}
    known = [trouble(NEVER, NEVER, modes=modes, is_real=real) for real in (True, False, None)]
    assert pairs(known, C, lambda one: one.formula) == [(71, False), (71, True)]
    assert pairs(known, B, lambda one: one.formula) == [(99, True), (99, False)]


_DELAYS = st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3))
_TROUBLES = st.builds(
    trouble,
    _DELAYS,
    _DELAYS,
    lead=st.sampled_from(TriageMode),
    is_real=st.none() | st.booleans(),
    priority=st.integers(0, 100),
    ordered_at=_DELAYS.map(lambda after: None if after is None else NOON + after),
    decided_at=_DELAYS.map(lambda after: None if after is None else NOON + after),
)


@given(st.lists(_TROUBLES, max_size=20))
def test_numbers_are_finite_and_the_same_in_whatever_order_cases_come(troubles: list[Trouble]) -> None:
    found = compare(troubles)
    assert all(isfinite(value) for name, value in found.items() if name.endswith("_pct"))
    assert compare(troubles[::-1]) == found
    assert -100 <= found["critical_catch_rate_delta_pct"] <= 100
    assert found["false_dispatch_reduction_pct"] <= 100
