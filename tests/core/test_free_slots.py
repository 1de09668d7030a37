"""Free time: never within leave, visits or the way to them, always on shift, none left out; across clock changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core import free_slots
from pipeline.core.duty import Leave, Shift
from pipeline.core.field_work import Window
from pipeline.core.free_slots import STEP, free, is_free, slots
from pipeline.core.technicians import Booked, Job, Place, Technician, seconds_between
from pipeline.core.travel import Position

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
#: The clocks of Europe go on that Sunday in March and back in October; those of Lord Howe by half an hour in April.
_SUNDAYS = (
    *(datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)),
    datetime(2026, 4, 4, tzinfo=UTC),
)
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
_HERE = Place(UUID(int=1), Position(52.5, 13.4))
_ELSEWHERE = (Place(UUID(int=1), None), Place(UUID(int=2), Position(52.4, 13.1)), Place(UUID(int=3), None))
_TICKET = UUID(int=9)


def _job(now: datetime) -> Job:
    return Job(_TICKET, now, place=_HERE)


_times = st.builds(time, st.integers(0, 23), st.sampled_from((0, 15, 30, 45)))


@st.composite
def _shifts(draw: st.DrawFn) -> list[Shift]:
    begins, ends = draw(_times), draw(_times)
    zone, days = draw(st.sampled_from(_ZONES)), draw(st.sets(st.integers(0, 6), min_size=1))
    return [] if begins == ends else [Shift(day, begins, ends, zone) for day in days]


def _windows(start: datetime, most_minutes: int) -> st.SearchStrategy[Window]:
    def made(offset: int, length: int) -> Window:
        return Window(start + offset * _MINUTE, start + (offset + length) * _MINUTE)

    return st.builds(made, st.integers(-120, 48 * 60), st.integers(1, most_minutes))


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Technician, Window, timedelta]:
    start = draw(st.sampled_from(_SUNDAYS))
    shifts = [one for some in draw(st.lists(_shifts(), max_size=2)) for one in some]
    leaves = [Leave(one.starts_at, one.ends_at) for one in draw(st.lists(_windows(start, 600), max_size=2))]
    visits = [
        Booked(UUID(int=number), one.starts_at, one.ends_at, draw(st.sampled_from(_ELSEWHERE)))
        for number, one in enumerate(draw(st.lists(_windows(start, 240), max_size=3)), start=100)
    ]
    length = draw(st.integers(1, 16)) * 15 * _MINUTE
    found = Technician(UUID(int=5), shifts=tuple(shifts), leaves=tuple(leaves), visits=tuple(visits))
    return found, Window(start, start + 40 * _HOUR), length


def _is_possible(technician: Technician, job: Job, window: Window) -> bool:
    """Say it minute by minute, from the definition alone."""
    minutes = int((window.ends_at - window.starts_at) / _MINUTE)
    duty = free_slots.on_duty(technician, Window(window.starts_at - _HOUR, window.ends_at + _HOUR))
    for at in (window.starts_at + number * _MINUTE for number in range(minutes)):
        if not any(one.starts_at <= at < one.ends_at for one in duty):
            return False
        if any(leave.covers(at) for leave in technician.leaves):
            return False
    for visit in technician.visits:
        way = timedelta(seconds=seconds_between(visit.place, job.place))
        if window.starts_at < visit.ends_at + way and visit.starts_at < window.ends_at + way:
            return False
    return True


@settings(max_examples=25, deadline=None)
@given(_cases(), st.randoms(use_true_random=False))
def test_a_visit_fits_exactly_where_nothing_stands_in_its_way(
    case: tuple[Technician, Window, timedelta], chance: object
) -> None:
    technician, within, length = case
    job = _job(within.starts_at)
    found = free(technician, job, length, within)
    for one, other in pairwise(found):
        assert one.ends_at < other.starts_at
    starts = [within.starts_at + number * 15 * _MINUTE for number in range(160)]
    starts += [one.starts_at for one in found] + [one.ends_at - length for one in found]
    for start in starts:
        window = Window(start, start + length)
        if window.ends_at > within.ends_at:
            continue
        is_within = any(one.starts_at <= start and window.ends_at <= one.ends_at for one in found)
        assert is_within == _is_possible(technician, job, window), (start, found)


@settings(max_examples=25, deadline=None)
@given(_cases())
def test_every_slot_is_free_and_begins_at_a_half_hour_and_none_is_left_out(
    case: tuple[Technician, Window, timedelta],
) -> None:
    technician, within, length = case
    job = _job(within.starts_at)
    found = [one.window for one in slots([technician], job, length, within)]
    assert found == sorted(found, key=lambda one: one.starts_at)
    assert all(is_free(technician, job, one) for one in found)
    expected = []
    start = within.starts_at
    while start + length <= within.ends_at:
        if _is_possible(technician, job, Window(start, start + length)):
            expected.append(Window(start, start + length))
        start += STEP
    assert found == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(_cases(), min_size=2, max_size=3), st.randoms(use_true_random=False))
def test_slots_do_not_depend_on_the_order_of_technicians(
    cases: list[tuple[Technician, Window, timedelta]], chance: object
) -> None:
    people = [replace(case[0], person_id=UUID(int=number)) for number, case in enumerate(cases)]
    _, within, length = cases[0]
    job = _job(within.starts_at)
    assert slots(people, job, length, within) == slots(people[::-1], job, length, within)


@pytest.mark.parametrize(
    ("zone", "sunday", "hours"),
    [("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC), 7), ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC), 9)],
    ids=["put on", "put back"],
)
def test_a_night_in_which_clocks_change_is_as_long_as_it_is(zone: str, sunday: datetime, hours: int) -> None:
    night = Technician(UUID(int=1), shifts=(Shift(5, time(22), time(6), zone),))
    (found,) = free(night, _job(sunday), _HOUR, Window(sunday - 24 * _HOUR, sunday + 24 * _HOUR))
    assert found.ends_at - found.starts_at == hours * _HOUR


def test_the_way_to_a_visit_next_door_takes_its_time_and_the_visit_of_the_ticket_itself_none() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    there = Place(UUID(int=2), Position(52.5001, 13.4))
    technician = Technician(UUID(int=1), visits=(Booked(UUID(int=7), noon, noon + _HOUR, there),))
    within = Window(noon - 2 * _HOUR, noon + 3 * _HOUR)
    assert free(technician, _job(noon), _HOUR, within) == [
        Window(within.starts_at, noon - 5 * _MINUTE),
        Window(noon + _HOUR + 5 * _MINUTE, within.ends_at),
    ]
    assert free(technician, replace(_job(noon), ticket_id=UUID(int=7)), _HOUR, within) == [within]


def test_who_has_enough_visits_that_day_or_lacks_a_skill_is_in_no_slot_and_least_to_do_goes_first() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    visit = Booked(UUID(int=7), noon, noon + _HOUR, _HERE)
    busy = Technician(UUID(int=1), most_visits=1, visits=(visit,), open_tickets=frozenset({UUID(int=7)}))
    idle, plumber = Technician(UUID(int=3)), Technician(UUID(int=4), skills=frozenset({"PIPES"}))
    loaded = Technician(UUID(int=2), open_tickets=frozenset({UUID(int=7)}))
    job = replace(_job(noon), incident_type="DOOR_WONT_LATCH")
    within = Window(noon + 2 * _HOUR, noon + 3 * _HOUR)
    assert [one.person_ids for one in slots([busy, plumber, loaded, idle], job, _HOUR, within)] == [(
        UUID(int=3), UUID(int=2),
    )]  # fmt: skip
    tomorrow = Window(within.starts_at + 24 * _HOUR, within.ends_at + 24 * _HOUR)
    assert UUID(int=1) in slots([busy], job, _HOUR, tomorrow)[0].person_ids


@example(seconds=1)
@settings(max_examples=20, deadline=None)
@given(seconds=st.integers(0, 3_599))
def test_slots_begin_at_half_hours_whatever_the_moment_is(seconds: int) -> None:
    start = datetime(2026, 3, 2, 12, tzinfo=UTC) + timedelta(seconds=seconds)
    found = slots([Technician(UUID(int=1))], _job(start), _HOUR, Window(start, start + 3 * _HOUR))
    assert all(one.window.starts_at.minute in {0, 30} and one.window.starts_at >= start for one in found)
    assert found[0].window.starts_at - start < STEP
