"""The budget of pauses: against somebody who counts minutes on the wall's clock, across midnights, clocks and zones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.enums import WorkSessionAction, WorkSessionState
from pipeline.core.pause_budget import Pause, Terms, day_around, ends_at, first_moment, remaining, runs_out_at
from pipeline.core.work_sessions import Session, SessionEvent, active_time
from tests.core.day_by_minutes import Watched, calendar_day, minute_of, moment

BOUNDED = settings(max_examples=120, deadline=None)
_MICRO, _MINUTE, _HOUR = timedelta(microseconds=1), timedelta(minutes=1), timedelta(hours=1)
_ID = UUID(int=7)
_A, _S = WorkSessionAction, WorkSessionState
UTC_ZONE = ZoneInfo("UTC")
#: Zones and days on which something happened to their clocks.
HARD_DAYS = (
    ("UTC", "2026-03-02"),
    ("Europe/Berlin", "2026-03-29"),  # 23 hours
    ("Europe/Berlin", "2026-10-25"),  # 25 hours
    ("America/New_York", "2026-11-01"),
    ("Asia/Kolkata", "2026-05-01"),  # half an hour beside the others
    ("Asia/Kathmandu", "2026-05-01"),
    ("Australia/Lord_Howe", "2026-04-05"),  # half an hour back
    ("Asia/Beirut", "2022-03-27"),  # no midnight
    ("Asia/Beirut", "2022-10-30"),  # at midnight back to 23:00
    ("America/Havana", "2022-03-13"),  # no midnight
    ("America/Havana", "2022-11-06"),  # midnight twice
    ("Africa/Cairo", "2023-04-28"),  # no midnight
    ("Africa/Cairo", "2023-10-27"),
    ("America/St_Johns", "2006-10-29"),  # a minute after midnight back to 23:01
    ("Pacific/Apia", "2011-12-31"),  # the 30th was left out
    ("Pacific/Kwajalein", "1993-08-22"),  # the 21st was left out
    ("America/Toronto", "1919-03-31"),  # from 23:30 to 00:30
)
hard = st.sampled_from(HARD_DAYS)
#: In 1919 clocks elsewhere showed other seconds, which nobody sees who looks once a minute.
by_minutes = st.sampled_from([one for one in HARD_DAYS if one[1] > "1970"])


def at(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


def local(said: str, zone: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=ZoneInfo(zone))


# --- what a day is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("UTC", "2026-03-02", "2026-03-02T00:00"),
        ("Asia/Kolkata", "2026-05-01", "2026-04-30T18:30"),
        ("Asia/Beirut", "2022-03-27", "2022-03-26T22:00"),
        ("America/Havana", "2022-03-13", "2022-03-13T05:00"),
        ("America/Havana", "2022-11-06", "2022-11-06T04:00"),
        ("Africa/Cairo", "2023-04-28", "2023-04-27T22:00"),
        ("America/St_Johns", "2006-10-29", "2006-10-29T02:30"),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00"),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30"),
    ],
)
def test_a_day_begins_at_the_first_moment_of_its_date_or_a_later_one(zone: str, day: str, first: str) -> None:
    assert first_moment(date.fromisoformat(day), ZoneInfo(zone)) == at(first)


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("Asia/Beirut", "2022-03-27T12:00", 23),
        ("America/Havana", "2022-11-06T12:00", 25),
        ("Australia/Lord_Howe", "2026-04-05T12:00", 24.5),
        ("Pacific/Apia", "2011-12-29T12:00", 24),
        ("Pacific/Apia", "2011-12-31T12:00", 24),
        ("Asia/Kathmandu", "2026-05-01T12:00", 24),
    ],
)
def test_a_day_is_as_long_as_its_clocks_make_it(zone: str, noon: str, hours: float) -> None:
    begin, end = day_around(local(noon, zone), ZoneInfo(zone))
    assert end - begin == hours * _HOUR
    assert begin.utcoffset() == timedelta(0)


@BOUNDED
@given(hard, st.integers(-2 * 1440, 2 * 1440))
def test_each_moment_is_of_the_day_that_the_wall_has_shown_last(place: tuple[str, str], minutes: int) -> None:
    zone, day = place
    now = minute_of(first_moment(date.fromisoformat(day), ZoneInfo(zone))) + minutes
    begin, end = day_around(moment(now), ZoneInfo(zone))
    assert begin <= moment(now) < end
    days = {calendar_day(zone, one) for one in (minute_of(begin), now, minute_of(end) - 1)}
    assert len(days) == 1
    assert calendar_day(zone, minute_of(begin) - 1) < min(days) < calendar_day(zone, minute_of(end))


# --- what is left of a day's budget -------------------------------------------------------------------------------


def test_a_pause_over_midnight_counts_on_each_day_for_itself() -> None:
    """The vector of seed-behaviours, 3.7: a limit of one minute, paused at 23:59, is still paused at 00:00:30."""
    pauses = [Pause(at("2026-03-01T23:59"))]
    limit = timedelta(minutes=1)
    assert remaining(pauses, at("2026-03-01T23:59:59"), limit, UTC_ZONE) == timedelta(seconds=1)
    assert remaining(pauses, at("2026-03-02T00:00"), limit, UTC_ZONE) == limit
    assert remaining(pauses, at("2026-03-02T00:00:30"), limit, UTC_ZONE) == timedelta(seconds=30)
    assert ends_at(pauses, pauses[0].began_at, [Terms(at("2026-01-01"), limit, UTC_ZONE)]) == at("2026-03-02T00:01")


def test_a_pause_that_its_budget_would_end_at_midnight_goes_on_and_one_microsecond_earlier_it_ends() -> None:
    limit = timedelta(minutes=30)
    assert runs_out_at([], at("2026-03-01T23:30"), limit, UTC_ZONE) == at("2026-03-02T00:30")
    began = at("2026-03-01T23:30") - _MICRO
    assert runs_out_at([Pause(began)], began, limit, UTC_ZONE) == at("2026-03-02T00:00") - _MICRO


def test_all_pauses_of_the_day_count_together_and_an_end_is_not_within() -> None:
    pauses = [
        Pause(at("2026-03-02T09:00"), at("2026-03-02T09:10")),
        Pause(at("2026-03-02T09:10"), at("2026-03-02T09:15")),
        Pause(at("2026-03-01T23:00"), at("2026-03-02T00:00")),
        Pause(at("2026-03-02T23:00"), at("2026-03-02T23:10")),
    ]
    assert remaining(pauses, at("2026-03-02T12:00"), 30 * _MINUTE, UTC_ZONE) == 15 * _MINUTE
    assert runs_out_at(pauses, at("2026-03-02T12:00"), 30 * _MINUTE, UTC_ZONE) == at("2026-03-02T12:15")


def test_without_a_budget_nothing_is_left_and_with_whole_days_it_never_runs_out() -> None:
    now = at("2026-03-02T12:00")
    assert remaining([], now, timedelta(0), UTC_ZONE) == timedelta(0)
    assert runs_out_at([], now, timedelta(0), UTC_ZONE) == now
    assert runs_out_at([], now, 24 * _HOUR, UTC_ZONE) is None
    assert runs_out_at([], now, 24 * _HOUR, ZoneInfo("Asia/Tokyo")) is None


def test_a_budget_of_24_hours_runs_out_on_a_day_of_25() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = runs_out_at([], local("2026-03-02T12:00", "Europe/Berlin"), 24 * _HOUR, zone)
    assert found == first_moment(date(2026, 10, 25), zone) + 24 * _HOUR
    assert runs_out_at([], at("2026-03-02T12:00"), 23 * _HOUR, zone) == at("2026-03-02T23:00") + 23 * _HOUR


def test_new_terms_end_a_pause_when_they_come_and_what_was_over_before_stays_over_before() -> None:
    began, change = at("2026-03-02T12:00"), at("2026-03-02T12:20")
    pauses, old = [Pause(began)], Terms(at("2026-01-01"), 30 * _MINUTE, UTC_ZONE)
    shorter, longer = Terms(change, 10 * _MINUTE, UTC_ZONE), Terms(change, 60 * _MINUTE, UTC_ZONE)
    assert ends_at(pauses, began, [old, shorter]) == change
    assert ends_at(pauses, began, [old, longer]) == at("2026-03-02T13:00")
    late = replace(longer, since=at("2026-03-02T12:31"))
    assert ends_at(pauses, began, [old, late]) == at("2026-03-02T12:30")
    # What would end it at the very moment of the change is not in force any more.
    assert ends_at(pauses, began, [old, replace(longer, since=at("2026-03-02T12:30"))]) == at("2026-03-02T13:00")
    assert ends_at(pauses, began, [replace(old, limit=24 * _HOUR)]) is None
    # At 17:30 it is midnight in Kathmandu already: the day, and its budget, are new.
    elsewhere = Terms(at("2026-03-02T18:10"), 30 * _MINUTE, ZoneInfo("Asia/Kathmandu"))
    began = at("2026-03-02T17:50")
    assert ends_at([Pause(began)], began, [old, elsewhere]) == at("2026-03-02T18:45")


@BOUNDED
@given(
    hard,
    st.integers(-2 * 86_400_000_000, 2 * 86_400_000_000),
    st.integers(0, 100_000_000_000),
    st.lists(st.tuples(st.integers(0, 40_000_000_000), st.integers(1, 3_000_000_000)), max_size=5),
    st.floats(0, 1),
)
def test_until_it_runs_out_something_is_left_and_then_nothing_is(
    place: tuple[str, str], offset: int, limit: int, before: list[tuple[int, int]], part: float
) -> None:
    zone = ZoneInfo(place[0])
    now = first_moment(date.fromisoformat(place[1]), zone) + offset * _MICRO
    pauses, begin = [], now
    for gap, length in before:
        end = begin - gap * _MICRO
        begin = end - length * _MICRO
        pauses.append(Pause(begin, end))
    budget = limit * _MICRO
    end = runs_out_at(pauses, now, budget, zone)
    assume(end is not None)
    assert end is not None
    open_too = [*pauses, Pause(now)]
    assert remaining(open_too, end, budget, zone) == timedelta(0)
    if end > now:
        between = now + (end - now - _MICRO) * part
        for moment_before in (now, between, end - _MICRO):
            assert remaining(open_too, moment_before, budget, zone) > timedelta(0)


# --- a technician's days, against somebody who counts minutes ------------------------------------------------------


class Days(RuleBasedStateMachine):
    """Sessions of one technician: started, paused, resumed, stopped, looked at, while rules change."""

    @initialize(place=by_minutes, offset=st.integers(-900, 600), limit=st.sampled_from([0, 1, 10, 30, 600, 1380]))
    def begin(self, place: tuple[str, str], offset: int, limit: int) -> None:
        zone, day = place
        now = minute_of(first_moment(date.fromisoformat(day), ZoneInfo(zone))) + offset
        self.watched = Watched(now, zone, limit)
        self.terms = [Terms(moment(now - 10_000), limit * _MINUTE, ZoneInfo(zone))]
        self.pauses: list[Pause] = []
        self.session: Session | None = None
        self.over: list[datetime] = []

    @precondition(lambda self: self.session is None)
    @rule()
    def start(self) -> None:
        now = moment(self.watched.minute)
        event = SessionEvent(_ID, _A.STARTED, now)
        self.session = Session(_ID, _ID, _ID, _ID, _S.RUNNING, now, None, (event,), now, now, (*self.pauses,))
        self.watched.state, self.watched.worked = "running", 0

    @precondition(lambda self: self.session is not None and self.watched.state == "running")
    @rule()
    def pause(self) -> None:
        may = self.watched.used() < self.watched.limit
        assert bool(self.now().pause_left) == may
        if may:
            self.keep(_A.PAUSED)
            self.watched.state = "paused"

    @precondition(lambda self: self.session is not None and self.watched.state == "paused")
    @rule()
    def resume(self) -> None:
        self.keep(_A.RESUMED)
        self.watched.state = "running"

    @precondition(lambda self: self.session is not None)
    @rule()
    def stop(self) -> None:
        session = self.keep(_A.STOPPED)
        assert active_time(session.events) == self.watched.worked * _MINUTE
        self.pauses, self.session, self.watched.state = list(session.pauses), None, "stopped"

    @rule(minutes=st.one_of(st.integers(1, 45), st.integers(60, 1500)))
    def pass_by(self, minutes: int) -> None:
        self.watched.pass_by(minutes)

    @rule(limit=st.sampled_from([0, 5, 30, 300]), place=by_minutes)
    def change(self, limit: int, place: tuple[str, str]) -> None:
        self.watched.pass_by(1)
        self.watched.change(place[0], limit)
        self.terms.append(Terms(moment(self.watched.minute), limit * _MINUTE, ZoneInfo(place[0])))

    @invariant()
    def they_agree(self) -> None:
        if getattr(self, "session", None) is None:
            return
        self.watched.look()
        session = self.now()
        assert session.state.value == self.watched.state
        over = [event.at for event in session.events[len(self.known().events) :]]
        assert [*self.over, *over] == [moment(one) for one in self.watched.over]
        assert active_time(session.events, session.now) == self.watched.worked * _MINUTE
        assert session.pause_left == max(self.watched.limit - self.watched.used(), 0) * _MINUTE
        assert [event.at for event in session.events] == sorted(event.at for event in session.events)

    def known(self) -> Session:
        assert self.session is not None
        return self.session

    def now(self) -> Session:
        """Return the session as a look now finds it. Nothing of that is kept: a later look must find the same."""
        return replace(self.known(), now=moment(self.watched.minute), terms=tuple(self.terms)).settled()

    def keep(self, action: WorkSessionAction) -> Session:
        """Do something to the session, as a command does: first it is as it is now."""
        session = self.now()
        self.over += [event.at for event in session.events[len(self.known().events) :]]
        self.session = session.then(action, session.now)
        return self.session


TestDays = Days.TestCase
TestDays.settings = settings(
    max_examples=100, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.soak
def test_many_days_agree() -> None:
    many = settings(max_examples=1_000, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Days, settings=many)  # type: ignore[no-untyped-call]
