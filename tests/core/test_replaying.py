"""A replay does what the product does: asks, sends once, finds the truth, closes; and says what it cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import SignalStatus
from pipeline.core.histories import History, Stretches, TroubleKind
from pipeline.core.outcomes import Outcome
from pipeline.core.replaying import replay
from pipeline.core.surroundings import Answering, Surroundings
from pipeline.core.triage_policy import BASELINE, BUILT_IN, TriagePolicy
from tests.core.histories import EXACT, at, history, report, trouble

#: Asks whatever it is told.
ASKING = TriagePolicy.change(BUILT_IN, {"verification": {"below": 100}})


def run(
    told: History, policy: TriagePolicy = BASELINE, around: Surroundings = EXACT, crew: int | None = None
) -> Outcome:
    return replay(told, policy, around, technicians=crew)


def test_who_is_sent_to_a_fault_finds_it_and_its_later_reports_are_never_made() -> None:
    told = history(report(0, during=1), report(20, during=1), report(200, during=1), troubles=(trouble(),))
    outcome = run(told)
    assert [(visit.arrived_at, visit.is_wasted) for visit in outcome.visits] == [(at(30), False)]
    assert (outcome.cases, outcome.caught, outcome.late, outcome.missed) == (1, 1, 0, 0)
    assert outcome.minutes == (0,)


def test_a_report_after_the_work_opens_the_next_case_when_nothing_was_repaired() -> None:
    outcome = run(history(report(0), report(49), report(51)))
    assert [visit.arrived_at for visit in outcome.visits] == [at(30), at(81)]
    assert outcome.wasted == outcome.cases == 2


def test_a_false_report_that_is_asked_about_costs_a_question_and_no_visit() -> None:
    outcome = run(history(report(0)), ASKING)
    assert (outcome.questions, outcome.visits, outcome.minutes) == (1, (), (10,))
    assert [(one.formula, one.was_right) for one in outcome.sayings] == [(71, False)]


def test_a_fault_that_is_asked_about_is_driven_to_after_the_answer() -> None:
    outcome = run(history(report(0, during=1), troubles=(trouble(),)), ASKING)
    assert [visit.arrived_at for visit in outcome.visits] == [at(40)]
    assert outcome.minutes == (10,)
    assert [one.was_right for one in outcome.sayings] == [True]


def test_a_question_that_more_reports_answer_is_taken_back() -> None:
    policy = TriagePolicy.change(BUILT_IN, {"verification": {"below": 90}})
    reports = [report(0, during=1), report(2, source="311", during=1), report(4, source="mail:a", during=1)]
    outcome = run(history(*reports, troubles=(trouble(),)), policy)
    assert (outcome.questions, [visit.arrived_at for visit in outcome.visits]) == (1, [at(34)])


def test_who_answers_nothing_is_asked_again() -> None:
    around = replace(EXACT, answering=replace(EXACT.answering, no_answer=1))
    outcome = run(history(report(0), days=1 / 24), ASKING, around)
    assert (outcome.questions, outcome.visits) == (6, ())


@pytest.mark.parametrize(
    ("kind", "ended", "wasted"),
    [(TroubleKind.HANG, 20, True), (TroubleKind.HANG, 40, False), (TroubleKind.DROP, 40, True)],
)
def test_a_visit_is_wasted_when_it_mended_itself_or_only_the_connection_is_away(
    kind: TroubleKind, ended: float, wasted: bool
) -> None:
    outcome = run(history(report(0, during=1), troubles=(trouble(kind=kind, ended=ended),)))
    assert [visit.is_wasted for visit in outcome.visits] == [wasted]
    assert outcome.criticals == ()


def test_what_is_due_first_is_served_first_and_one_technician_is_at_one_place() -> None:
    told = history(
        report(0, asset="A0"),
        report(1, "degraded", asset="A1"), report(2, "degraded", asset="A1", source="311"),
        report(3, asset="A2"),
    )  # fmt: skip
    visits = run(told, crew=1).visits
    assert [(visit.stretch[0], visit.arrived_at) for visit in visits] == [
        ("A0", at(30)),
        ("A2", at(80)),
        ("A1", at(130)),
    ]
    assert {visit.arrived_at for visit in run(told).visits} == {at(30), at(32), at(33)}


def test_a_critical_that_nobody_comes_to_is_missed_and_one_after_the_time_is_late() -> None:
    quiet = TriagePolicy.change(BASELINE, {"dispatch": {"from_priority": 100}})
    told = history(report(0, during=1), troubles=(trouble(),))
    assert run(told, quiet).missed == 1
    far = replace(EXACT, driving=replace(EXACT.driving, travel=EXACT.critical_within * 1.01))
    assert (run(told, around=far).late, run(told, around=far).caught) == (1, 0)


def test_what_became_critical_just_before_the_end_or_was_told_of_nobody_is_not_counted() -> None:
    assert run(history(report(0, during=1), troubles=(trouble(),), days=0.9)).criticals == ()
    assert run(history(report(0), troubles=(trouble(),))).criticals == ()
    partial = history(report(0, "degraded", during=1), troubles=(trouble(is_down=False),))
    assert run(partial).criticals == ()


def test_a_report_behind_a_fault_is_told_only_when_the_fault_is_repaired() -> None:
    told = history(report(0, during=1), report(300, "online", after=1), report(301, after=1), troubles=(trouble(),))
    assert len(run(told).visits) == 2
    quiet = TriagePolicy.change(BASELINE, {"dispatch": {"from_priority": 100}})
    assert run(told, quiet).cases == 1


def test_good_news_alone_opens_no_case_and_is_evidence_of_the_next_one() -> None:
    assert run(history(report(0, "online"))).cases == 0
    outcome = run(history(report(0, "online"), report(5)), BUILT_IN)
    assert (outcome.cases, outcome.questions) == (1, 1)  # 88 - 10 - 16 - 24 is less than 65


def test_a_case_that_is_quiet_for_long_is_closed() -> None:
    policy = TriagePolicy.change(BUILT_IN, {"quiet_days": 1, "verification": {"below": 0}})
    told = history(report(0, "unknown"), report(60 * 25, "unknown"))
    assert run(told, policy).cases == 2
    assert run(told, TriagePolicy.change(policy, {"quiet_days": 2})).cases == 1


def test_work_that_nobody_began_is_taken_back_when_somebody_says_that_it_is_not_needed() -> None:
    policy = TriagePolicy.change(BUILT_IN, {"evidence": {"half_life_minutes": 0}})
    reports = [report(0, asset="A0"), report(1, asset="A1"), report(2, "online", asset="A1")]
    busy = run(history(*reports), policy, crew=1)
    assert [visit.stretch[0] for visit in busy.visits] == ["A0"]
    assert [visit.stretch[0] for visit in run(history(*reports), policy).visits] == ["A0", "A1"]
    # What was said of it is held against the truth like any other: a case does not vanish because it was sent to.
    assert {one.stretch[0] for one in busy.sayings} == {"A0", "A1"}


def test_certainties_are_told_as_calibrated_beside_the_formulas() -> None:
    policy = TriagePolicy.change(BUILT_IN, {"calibration": {"points": [[0, 10], [100, 60]]}})
    said = run(history(report(0)), policy).sayings[0]
    assert (said.formula, said.told) == (71, policy.calibration.meaning(71))


def test_answers_are_as_often_right_as_it_says() -> None:
    answering, around = Answering(no_answer=0.2, right_when_real=0.7, right_when_not=0.9), Surroundings()
    drawn = [answering.draw(around.random("test", number), is_real=number % 2 == 0) for number in range(4_000)]
    real, not_real = drawn[::2], drawn[1::2]
    assert abs(real.count("needs_more_data") / 2_000 - 0.2) < 0.04
    assert abs(real.count("confirmed_issue") / 2_000 - 0.8 * 0.7) < 0.05
    assert abs(not_real.count("false_alarm") / 2_000 - 0.8 * 0.9) < 0.05


reports_of_any_kind = st.lists(
    st.builds(
        report,
        st.integers(0, 6_000),
        st.sampled_from(["down", "degraded", "online", "unknown"]),
        asset=st.sampled_from(["A1", "A2"]),
        source=st.sampled_from(["ugc", "charger_api", "mail:a"]),
        during=st.sampled_from([None, 1]),
        after=st.sampled_from([None, 1]),
    ),
    max_size=12,
    unique_by=lambda one: one.signal.signal_id,
)


@settings(max_examples=60, deadline=None)
@given(
    reports=reports_of_any_kind, policy=st.sampled_from([BASELINE, BUILT_IN, ASKING]), crew=st.sampled_from([None, 1])
)
def test_the_order_in_which_reports_are_given_leaves_no_trace_and_sums_hold(reports, policy, crew) -> None:
    told = history(*reports, troubles=(trouble(),))
    outcome = run(told, policy, Surroundings(), crew)
    assert run(history(*reversed(reports), troubles=(trouble(),)), policy, Surroundings(), crew) == outcome
    assert outcome.caught + outcome.late + outcome.missed == len(outcome.criticals)
    assert len(outcome.visits) + outcome.on_the_way <= outcome.cases
    assert len(outcome.sayings) <= outcome.cases
    if not any(one.signal.status is not SignalStatus.ONLINE for one in reports):
        assert outcome.cases == 0


def test_stretches_end_after_a_day_without_bad_news() -> None:
    told = history(report(0), report(1_000), report(1_440 + 1_001), report(2_000, "online"), report(3, asset="A2"))
    stretches = Stretches(told.reports)
    assert stretches.all() == [("A1", 1), ("A1", 2), ("A2", 1)]
    assert stretches.of("A1", at(2_000)) == ("A1", 1)
    assert stretches.of("A1", at(2_441)) == ("A1", 2)
    assert stretches.of("A9", at(1)) == ("A9", 0)
