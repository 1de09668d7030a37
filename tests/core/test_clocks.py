"""Clocks as a ledger of intervals: whatever happens to a ticket, its intervals add up to what its clocks show."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import ClockKind, ClockState, IntervalState, TicketPriority, TicketStatus
from pipeline.core import clocks
from pipeline.core.calendars import Calendar
from pipeline.core.clocks import OVER, Clock, Interval, Notice, Ticket
from pipeline.core.service_levels import DEFAULT, Policy

BOUNDED = settings(max_examples=120, deadline=None)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OFFICE = Calendar.read("Europe/Berlin", {str(day): [["08:00", "12:00"], ["13:00", "17:00"]] for day in range(5)}, [])
BY_OFFICE = replace(DEFAULT, policy_id=UUID(int=1), version=1, calendar=OFFICE)
PATIENT = replace(DEFAULT, policy_id=UUID(int=2), version=7, pauses=frozenset({TicketStatus.OPEN}))
RESPONSE, RESOLUTION = ClockKind.RESPONSE, ClockKind.RESOLUTION
#: Every status that a person or a rule sets, and what the model makes of it by each policy.
STATUSES = list(TicketStatus)


@dataclass
class Life:
    """A ticket, its ledger and its clocks; and beside them what really happened, in one list."""

    policy: Policy = DEFAULT
    priority: TicketPriority = TicketPriority.HIGH
    status: TicketStatus = TicketStatus.NEW
    at: datetime = NOON
    responded_at: datetime | None = None
    ledger: tuple[Interval, ...] = ()
    clocks: dict[ClockKind, Clock] = field(default_factory=dict)
    told: list[tuple[Notice, ClockKind]] = field(default_factory=list)
    #: (from, to, counts): what the model says of every stretch.
    happened: list[tuple[datetime, datetime, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = clocks.begin(self.status, self.policy, self.at, "new")
        self.settle()

    def wait(self, minutes: int) -> None:
        until = self.at + minutes * MINUTE
        runs = self.status not in OVER and self.status not in self.policy.pauses
        self.happened.append((self.at, until, runs))
        self.at = until

    def settle(self, *, drops: bool = False) -> None:
        ticket = Ticket(self.status, self.priority, self.policy, self.at, self.responded_at, is_dropped=drops)
        self.ledger = clocks.move(self.ledger, ticket, self.status.value).on(self.ledger)
        found, told = clocks.stand(self.ledger, ticket, self.clocks)
        self.clocks = {one.kind: one for one in found}
        self.told += [(one.notice, one.kind) for one in told]

    def expected(self, until: datetime) -> timedelta:
        calendar = self.policy.calendar
        stretches = ((begin, min(end, until)) for begin, end, runs in self.happened if runs and begin < until)
        if calendar is None:
            return sum((end - begin for begin, end in stretches), timedelta(0))
        return sum((calendar.elapsed(begin, end) for begin, end in stretches), timedelta(0))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 3000)),
        st.tuples(st.just("status"), st.sampled_from(STATUSES)),
        st.tuples(st.just("priority"), st.sampled_from(list(TicketPriority))),
        st.tuples(st.just("policy"), st.sampled_from([DEFAULT, BY_OFFICE, PATIENT])),
        st.tuples(st.just("answer"), st.none()),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=25,
)


def lived(story: list[tuple[str, object]]) -> Life:
    life = Life()
    for what, value in story:
        if what == "wait":
            life.wait(value)
            continue
        if what == "answer":
            life.responded_at = life.responded_at or life.at
        elif what != "look":
            setattr(life, what, value)
        life.settle()
    return life


@BOUNDED
@given(steps)
def test_the_intervals_have_no_gap_and_no_overlap_and_only_the_last_one_is_open(story):
    life = lived(story)
    for before, after in zip(life.ledger, life.ledger[1:], strict=False):
        assert before.ended_at == after.began_at
    assert all(one.ended_at is None or one.began_at <= one.ended_at for one in life.ledger)
    assert (life.ledger[-1].ended_at is None) == (life.status not in OVER)


@BOUNDED
@given(steps)
def test_the_sum_of_the_intervals_is_what_happened(story):
    life = lived(story)
    assert clocks.elapsed(life.policy.calendar, life.ledger, life.at) == life.expected(life.at)


@BOUNDED
@given(steps)
def test_a_running_clock_is_due_when_the_rest_of_its_target_has_counted(story):
    life = lived(story)
    for clock in life.clocks.values():
        target = life.policy.targets[life.priority][clock.kind]
        if clock.state is ClockState.RUNNING:
            assert clock.target == target
            assert clocks.elapsed(life.policy.calendar, life.ledger, clock.due_at) == target
            assert clock.ended_at is None
        if clock.state is ClockState.PAUSED:
            assert (clock.due_at, clock.ended_at) == (None, None)


@BOUNDED
@given(steps)
def test_each_notice_is_told_at_most_once_and_looking_again_changes_nothing(story):
    life = lived(story)
    life.settle()
    assert len(life.told) == len(set(life.told))
    before = (life.ledger, dict(life.clocks), list(life.told))
    life.settle()
    assert (life.ledger, life.clocks, life.told) == before


@BOUNDED
@given(steps)
def test_what_was_written_to_a_ledger_is_never_rewritten(story):
    life = Life()
    for what, value in story:
        before = life.ledger
        if what == "wait":
            life.wait(value)
        elif what not in ("answer", "look"):
            setattr(life, what, value)
            life.settle()
        closed = tuple(one for one in before if one.ended_at is not None)
        assert life.ledger[: len(closed)] == closed


@BOUNDED
@given(steps)
def test_clocks_hold_to_the_rules_of_their_table(story):
    for clock in lived(story).clocks.values():
        is_over = clock.state in (ClockState.MET, ClockState.MISSED, ClockState.CANCELLED)
        assert is_over == (clock.ended_at is not None)
        assert (clock.state is ClockState.RUNNING) == (clock.due_at is not None and clock.ended_at is None)


def test_an_answer_in_time_meets_the_response_and_the_resolution_goes_on():
    life = Life()
    life.wait(100)
    life.responded_at = life.at
    life.settle()
    assert life.clocks[RESPONSE].state is ClockState.MET
    assert life.clocks[RESPONSE].ended_at == NOON + 100 * MINUTE
    assert life.clocks[RESOLUTION].due_at == NOON + 960 * MINUTE
    assert life.told == []


def test_an_answer_too_late_misses_it_and_tells_of_the_breach_that_no_sweep_saw():
    life = Life()
    life.wait(241)
    life.responded_at = life.at
    life.settle()
    assert life.clocks[RESPONSE].state is ClockState.MISSED
    assert life.told == [(Notice.BREACH, RESPONSE)]


@pytest.mark.parametrize(("minutes", "state"), [(240, ClockState.MET), (241, ClockState.MISSED)])
def test_the_last_minute_of_a_target_belongs_to_it(minutes, state):
    life = Life()
    life.wait(minutes)
    life.responded_at = life.at
    life.settle()
    assert life.clocks[RESPONSE].state is state


def test_waiting_for_the_customer_moves_both_dues_by_the_time_waited():
    life = Life()
    life.wait(10)
    life.status = TicketStatus.PENDING
    life.settle()
    assert {one.due_at for one in life.clocks.values()} == {None}
    life.wait(90)
    life.status = TicketStatus.OPEN
    life.settle()
    assert life.clocks[RESPONSE].due_at == NOON + 330 * MINUTE
    assert life.clocks[RESOLUTION].due_at == NOON + 1050 * MINUTE
    assert [one.state for one in life.ledger] == [
        IntervalState.RUNNING, IntervalState.PAUSED, IntervalState.RUNNING,
    ]  # fmt: skip


def test_a_reopened_ticket_goes_on_where_it_stood():
    life = Life()
    life.wait(60)
    life.responded_at = life.at
    life.status = TicketStatus.RESOLVED
    life.settle()
    assert life.clocks[RESOLUTION].state is ClockState.MET
    life.wait(5000)
    life.status = TicketStatus.OPEN
    life.settle()
    assert life.clocks[RESOLUTION].state is ClockState.RUNNING
    assert life.clocks[RESOLUTION].due_at == NOON + 5060 * MINUTE + 900 * MINUTE
    assert life.clocks[RESPONSE].state is ClockState.MET
    assert [(one.state, one.because) for one in life.ledger] == [
        (IntervalState.RUNNING, "new"), (IntervalState.PAUSED, "was over"), (IntervalState.RUNNING, "open"),
    ]  # fmt: skip


def test_what_is_resolved_without_an_answer_needs_none_any_more():
    life = Life()
    life.wait(60)
    life.status = TicketStatus.RESOLVED
    life.settle()
    assert life.clocks[RESPONSE].state is ClockState.CANCELLED
    assert life.clocks[RESOLUTION].state is ClockState.MET


@pytest.mark.parametrize("status", [TicketStatus.SPAM, TicketStatus.MERGED])
def test_what_was_no_matter_of_its_own_is_cancelled_however_late_it_was(status):
    life = Life()
    life.wait(5000)
    life.status = status
    life.settle()
    assert {one.state for one in life.clocks.values()} == {ClockState.CANCELLED}


def test_what_a_rule_closes_is_cancelled_and_what_a_person_closes_is_met():
    for drops, state in ((True, ClockState.CANCELLED), (False, ClockState.MET)):
        life = Life()
        life.wait(5)
        life.status = TicketStatus.CLOSED
        life.settle(drops=drops)
        assert life.clocks[RESOLUTION].state is state


def test_another_priority_is_another_target_for_the_time_that_counted_already():
    life = Life()
    life.wait(100)
    life.priority = TicketPriority.URGENT
    life.settle()
    assert life.clocks[RESPONSE].due_at == NOON + 60 * MINUTE
    assert life.clocks[RESOLUTION].due_at == NOON + 240 * MINUTE
    assert life.told == [(Notice.BREACH, RESPONSE)]


def test_another_policy_keeps_what_ran_and_what_stood_still():
    life = Life()
    life.wait(30)
    life.status = TicketStatus.PENDING
    life.settle()
    life.wait(600)
    life.status = TicketStatus.OPEN
    life.settle()
    before = life.ledger
    life.policy = BY_OFFICE
    life.settle()
    assert life.ledger == before
    # 30 minutes were used, and what counts from 22:30 UTC on begins at eight in Berlin, which is seven: 210 minutes.
    assert life.clocks[RESPONSE].due_at == datetime(2026, 3, 3, 10, 30, tzinfo=UTC)


def test_what_was_late_before_it_was_known_is_marked_and_told_to_nobody():
    ticket = Ticket(TicketStatus.NEW, TicketPriority.URGENT, DEFAULT, NOON + timedelta(days=9), is_history=True)
    ledger = clocks.begin(TicketStatus.NEW, DEFAULT, NOON, "new")
    found, told = clocks.stand(ledger, ticket, {})
    assert told == []
    assert all(one.breached_at is not None for one in found)


def test_a_warning_is_told_once_and_not_of_what_was_met():
    life = Life(priority=TicketPriority.URGENT)
    life.wait(20)
    life.settle()
    life.wait(1)
    life.settle()
    assert life.told == [(Notice.WARNING, RESPONSE)]
    met = Life(priority=TicketPriority.URGENT)
    met.wait(20)
    met.responded_at = met.at
    met.settle()
    assert met.told == []


def test_a_database_whose_clock_was_set_back_lets_nothing_end_before_it_began():
    life = Life()
    life.wait(10)
    life.status = TicketStatus.PENDING
    life.settle()
    life.at -= timedelta(hours=1)
    life.status = TicketStatus.OPEN
    life.settle()
    assert all(one.ended_at is None or one.began_at <= one.ended_at for one in life.ledger)


@BOUNDED
@given(steps, st.integers(0, 4000))
def test_a_credit_makes_exactly_so_much_more_count(story, minutes):
    life = lived(story)
    calendar, before = life.policy.calendar, clocks.elapsed(life.policy.calendar, life.ledger, life.at)
    front = clocks.credit(calendar, life.ledger, minutes * MINUTE, "merge 1")
    assert front.ended_at == life.ledger[0].began_at
    assert clocks.elapsed(calendar, (front, *life.ledger), life.at) == before + minutes * MINUTE


@pytest.mark.parametrize(
    ("minutes", "said"), [(0, "healthy"), (194, "healthy"), (195, "warning"), (240, "warning"), (241, "breach")]
)
def test_a_running_clock_stands_as_its_due_says(minutes, said):
    life = Life()
    assert clocks.standing(life.clocks[RESPONSE], NOON + minutes * MINUTE) == said
