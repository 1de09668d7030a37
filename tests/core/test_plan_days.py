"""A real day as a problem: hours by the clocks on the wall, leave, visits that stand, and what somebody agreed to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.enums import DispatchPriority, DispatchState
from pipeline.core.duty import Leave, Shift
from pipeline.core.field_work import Window
from pipeline.core.plan_days import DayProblem, Frame, Wanted, day_problem
from pipeline.core.technicians import Booked, Job, Place, Technician
from pipeline.core.travel import UNKNOWN, Position

HOUR = 3_600
BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 7, 1)
_SHIFT = Shift(DAY.weekday(), time(8), time(16), "Europe/Berlin")
_TECH = Technician(UUID(int=1), shifts=(_SHIFT,), home=Position(52.5, 13.4))
_BEFORE = datetime(2026, 6, 30, 12, tzinfo=UTC)


def at(hour: float, day: date = DAY) -> datetime:
    """Return an hour by Berlin's clocks."""
    return datetime.combine(day, time(), BERLIN) + timedelta(hours=hour)


def wanted(number: int = 1, **said: Any) -> Wanted:
    asked = Job(UUID(int=number), _BEFORE, **said.pop("asked", {}))
    return Wanted(asked, f"t-{number}", 1, DispatchState.READY_TO_SCHEDULE, DispatchPriority.ROUTINE, **said)


def problem(*jobs: Wanted, people: tuple[Technician, ...] = (_TECH,), now: datetime = _BEFORE) -> DayProblem:
    return day_problem(Frame(DAY, BERLIN, now), jobs, people)


def test_hours_are_those_of_the_wall_where_the_shift_is() -> None:
    abroad = replace(_SHIFT, timezone="America/New_York")
    day = problem(people=(_TECH, replace(_TECH, person_id=UUID(int=2), shifts=(abroad,))))
    assert [worker.stretches for worker in day.problem.workers] == [
        *(((8 * HOUR, 16 * HOUR),), ((14 * HOUR, 22 * HOUR),)),
    ]


def test_a_day_on_which_clocks_change_is_as_long_as_it_is() -> None:
    for sunday, hours, begins in ((date(2026, 3, 29), 23, 7), (date(2026, 10, 25), 25, 9)):
        shift = Shift(6, time(8), time(16), "Europe/Berlin")
        found = day_problem(
            Frame(sunday, BERLIN, _BEFORE - timedelta(days=200)), (), (replace(_TECH, shifts=(shift,)),)
        )
        assert found.problem.closes == hours * HOUR
        assert found.problem.workers[0].stretches == ((begins * HOUR, (begins + 8) * HOUR),)


def test_leave_is_cut_out_and_what_of_the_day_is_over_too() -> None:
    away = replace(_TECH, leaves=(Leave(at(12), at(13)),))
    assert problem(people=(away,)).problem.workers[0].stretches == ((8 * HOUR, 12 * HOUR), (13 * HOUR, 16 * HOUR))
    later = problem(people=(away,), now=at(12.5)).problem
    assert (later.opens, later.workers[0].stretches) == (int(12.5 * HOUR), ((13 * HOUR, 16 * HOUR),))
    gone = replace(_TECH, leaves=(Leave(at(0), at(24)),))
    assert problem(people=(gone,)).problem.workers[0].stretches == ()


def test_whoever_has_no_shifts_is_planned_for_in_office_hours() -> None:
    assert problem(people=(replace(_TECH, shifts=()),)).problem.workers[0].stretches == ((8 * HOUR, 17 * HOUR),)
    assert problem(people=(replace(_TECH, shifts=()),), now=at(20)).problem.workers[0].stretches == ()


def test_visits_that_stand_are_anchors_and_those_that_overlap_are_one() -> None:
    place = Place(position=Position(52.6, 13.4))
    visits = (
        Booked(UUID(int=9), at(9), at(10), place),
        Booked(UUID(int=8), at(9.5), at(11), Place()),
        Booked(UUID(int=7), at(-1), at(1), Place()),
        Booked(UUID(int=6), at(20, DAY - timedelta(days=1)), at(21, DAY - timedelta(days=1)), Place()),
        Booked(UUID(int=1), at(12), at(13), place),
    )
    (worker,) = problem(wanted(1), people=(replace(_TECH, visits=visits),)).problem.workers
    assert [(one.begins, one.ends) for one in worker.anchors] == [(0, HOUR), (9 * HOUR, 11 * HOUR)]


def test_capacity_and_visits_a_day_leave_room_for_so_many_more() -> None:
    visits = (Booked(UUID(int=9), at(9), at(10)),)
    tickets = frozenset({UUID(int=9), UUID(int=8), UUID(int=1)})
    busy = replace(_TECH, visits=visits, open_tickets=tickets)
    for said, most in (
        ({}, None),
        ({"capacity": 5}, 3),
        ({"most_visits": 3}, 2),
        ({"capacity": 4, "most_visits": 2}, 1),
        ({"capacity": 1}, 0),
    ):
        (worker,) = problem(wanted(1), people=(replace(busy, **said),)).problem.workers  # type: ignore[arg-type]
        assert worker.most == most, said


def test_a_visit_is_as_long_as_its_template_says_and_no_longer_than_what_was_agreed() -> None:
    half = Window(at(9), at(9.5))
    long = Window(at(20), at(28))
    day = problem(wanted(1), wanted(2, windows=(half,)), wanted(3, windows=(long, half))).problem
    assert [one.seconds for one in day.jobs] == [HOUR, HOUR // 2, HOUR]
    assert [one.windows for one in day.jobs] == [
        *(((0, 24 * HOUR),), ((9 * HOUR, int(9.5 * HOUR)),)),
        ((9 * HOUR, int(9.5 * HOUR)), (20 * HOUR, 24 * HOUR)),
    ]
    # Two windows that touch are two: a visit lies in one of them.
    touching = problem(wanted(1, windows=(Window(at(8), at(9)), Window(at(9), at(10))))).problem
    assert touching.jobs[0].windows == ((8 * HOUR, 9 * HOUR), (9 * HOUR, 10 * HOUR))


def test_who_may_is_what_matching_says_and_whose_time_was_offered() -> None:
    skilled = replace(_TECH, person_id=UUID(int=2), skills=frozenset({"HVAC"}))
    jobs = (wanted(1, asked={"skills": frozenset({"hvac_v2"})}), wanted(2), wanted(3, only=UUID(int=2)))
    day = problem(*jobs, people=(skilled, _TECH))
    assert [one.able for one in day.problem.jobs] == [frozenset({1}), frozenset({0, 1}), frozenset({1})]
    assert [verdict.said for verdict in day.against[0][0]] == ["lacks HVAC"]


def test_a_site_is_one_place_and_what_is_not_known_is_far_from_everything() -> None:
    site = Place(UUID(int=77))
    jobs = [wanted(n, asked={"place": place}) for n, place in enumerate((site, site, Place(), Place()), start=1)]
    day = problem(*jobs).problem
    here, same, there, elsewhere = (one.place for one in day.jobs)
    assert here == same
    assert len({here, there, elsewhere}) == 3
    assert {day.travel[here][there], day.travel[there][elsewhere], day.travel[there][day.workers[0].home]} == {UNKNOWN}


def test_the_order_of_tickets_and_technicians_does_not_matter() -> None:
    jobs, people = [wanted(n) for n in (3, 1, 2)], [replace(_TECH, person_id=UUID(int=n)) for n in (2, 1)]
    assert problem(*jobs, people=tuple(people)) == problem(*reversed(jobs), people=tuple(reversed(people)))
