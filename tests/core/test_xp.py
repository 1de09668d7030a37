"""What work is worth: at a check, and at the door."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import QaResult, XpKind
from pipeline.core.attendance import Punctuality, arrival
from pipeline.core.leaderboard import WEIGHTS, Tally, score
from pipeline.core.workshop_rules import Attendance, TicketXp
from pipeline.core.xp import Checked, is_first_pass, of_arrival, of_check, of_pass

ORDER, CHECK, TECH, INSPECTOR = (UUID(int=number) for number in range(1, 5))
RULES = TicketXp(first_pass_bonus=5, qc_status_update_xp=2)
PASSED = Checked(
    order_id=ORDER,
    check_id=CHECK,
    result=QaResult.PASS,
    technician_id=TECH,
    inspector_id=INSPECTOR,
    xp_amount=3,
    minutes=60,
    active_seconds=3600,
    has_failed=False,
)


def test_a_pass_is_worth_base_bonus_and_check() -> None:
    found = {one.kind: (one.person_id, one.amount, one.reference, one.order_id) for one in of_pass(PASSED, RULES)}
    assert found == {
        XpKind.BASE: (TECH, 3, f"ticket_base_xp:{ORDER}", ORDER),
        XpKind.FIRST_PASS: (TECH, 5, f"ticket_qc_first_pass_bonus:{ORDER}", ORDER),
        XpKind.QC_STATUS: (INSPECTOR, 2, f"ticket_qc_status_update:{ORDER}:{CHECK}", ORDER),
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"active_seconds": 0}, True),
        ({"active_seconds": 3601}, False),
        ({"has_failed": True}, False),
        ({"has_failed": True, "active_seconds": 1}, False),
    ],
)
def test_the_bonus_is_for_the_first_pass_within_the_planned_time(changes: dict[str, object], expected: bool) -> None:
    checked = replace(PASSED, **changes)  # type: ignore[arg-type]
    assert is_first_pass(checked) is expected
    assert (XpKind.FIRST_PASS in {one.kind for one in of_pass(checked, RULES)}) is expected


def test_points_set_to_nothing_are_a_row_of_nothing_and_not_the_formula() -> None:
    (base,) = (one for one in of_pass(replace(PASSED, xp_amount=0), RULES) if one.kind is XpKind.BASE)
    assert base.amount == 0


def test_each_check_of_an_order_has_a_reference_of_its_own() -> None:
    again = replace(PASSED, check_id=UUID(int=9), result=QaResult.FAIL)
    assert of_check(PASSED, RULES).reference != of_check(again, RULES).reference


@pytest.mark.parametrize(
    ("clock", "xp", "called"),
    [
        ("00:00:00", 2, "early"),
        ("09:59:59", 2, "early"),
        ("10:00:00", 2, "on_time"),
        ("10:00:59", 2, "on_time"),
        ("10:01:00", 0, "on_time"),
        ("10:20:00", 0, "on_time"),
        ("10:20:59", 0, "on_time"),
        ("10:21:00", -1, "late"),
        ("23:59:59", -1, "late"),
    ],
)
def test_coming_is_worth_what_the_minute_says(clock: str, xp: int, called: str) -> None:
    zone = ZoneInfo("Asia/Tashkent")
    local = datetime.fromisoformat(f"2026-03-02T{clock}").replace(tzinfo=zone)
    found = arrival(local.astimezone(UTC), zone, Attendance())
    assert (found.work_date, found.xp, found.called) == (date(2026, 3, 2), xp, Punctuality(called))


def test_the_day_and_the_minute_are_those_of_the_workshop() -> None:
    now = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
    here, there = ZoneInfo("Asia/Tashkent"), ZoneInfo("America/New_York")
    assert arrival(now, here, Attendance()).work_date == date(2026, 3, 2)
    assert arrival(now, there, Attendance()).work_date == date(2026, 3, 1)
    assert (arrival(now, here, Attendance()).xp, arrival(now, there, Attendance()).xp) == (2, -1)


def test_an_hour_that_comes_twice_is_read_twice_alike() -> None:
    zone, rules = ZoneInfo("Europe/Berlin"), Attendance(on_time_cutoff="02:30", grace_cutoff="02:40")
    found = [arrival(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), zone, rules).xp for hour in (0, 1)]
    assert found == [2, 2]


def test_a_day_has_one_reference() -> None:
    found = of_arrival(TECH, date(2026, 3, 2), 0, "on_time")
    assert (found.reference, found.amount) == (f"attendance_checkin:{TECH}:2026-03-02", 0)


def test_the_score_by_hand() -> None:
    tally = Tally(
        done=10, xp=55, first_pass=7, green=5, yellow=3, red=2, attendance_days=5, reworked=3, qc_fails=4
    )  # fmt: skip
    assert score(tally) == 1200 + 55 + 280 + 100 + 30 - 16 + 30 - 75 - 48


@given(st.builds(Tally, **{one.name: st.integers(0, 1000) for one in fields(Tally)}))
def test_one_more_of_each_changes_the_score_by_its_weight(tally: Tally) -> None:
    for name, weight in WEIGHTS.items():
        assert score(replace(tally, **{name: getattr(tally, name) + 1})) - score(tally) == weight
