"""The slots of a schedule: each exactly once, none in the future, and no storm after a long absence."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import SlotOutcome
from pipeline.core.slots import GRACE, LIMIT, MOST, CatchUp, check, next_after, plan

BOUNDED = settings(max_examples=80, deadline=None)
RAN, CAUGHT_UP, SKIPPED = SlotOutcome.RAN, SlotOutcome.CAUGHT_UP, SlotOutcome.SKIPPED
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CRONS = ("*/5 * * * *", "17 2 * * *", "7 * * * *", "0 0 31 * *", "30 4 1,15 * 5", "*/20 * * * * *", "0 12 29 2 *")

moments = st.timedeltas(timedelta(0), timedelta(days=1_800)).map(lambda since: datetime(2023, 1, 1, tzinfo=UTC) + since)
steps = st.one_of(
    st.timedeltas(-MINUTE, timedelta(minutes=20)), st.timedeltas(timedelta(0), 2 * DAY), st.just(timedelta(0))
)


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "61 * * * *", "* * * * * * *", "nonsense", "*/0 * * * *", "0 0 31 2 *"]
)
def test_a_bad_expression_is_refused_in_words(cron):
    with pytest.raises(ValueError, match=r"no cron expression .*: write minute, hour"):
        check(cron)


def test_an_expression_that_never_comes_round_is_refused():
    with pytest.raises(ValueError, match="never comes round"):
        check("0 0 */31 * MON#5")


@pytest.mark.parametrize("cron", [*CRONS, "0 0 * * *", "0 9 * * MON-FRI"])
def test_a_good_expression_passes(cron):
    check(cron)


def test_six_fields_begin_with_seconds():
    assert next_after("*/10 * * * * *", NOON) == NOON + timedelta(seconds=10)


def test_the_first_look_marks_where_slots_count_from_and_runs_nothing():
    assert plan("*/5 * * * *", None, NOON + MINUTE, CatchUp.ALL) == [(NOON, SKIPPED)]
    assert plan("*/5 * * * *", None, NOON, CatchUp.ALL) == [(NOON, SKIPPED)]
    assert plan("*/5 * * * *", NOON, NOON + 4 * MINUTE, CatchUp.ALL) == []


@pytest.mark.parametrize("catch_up", CatchUp)
def test_a_slot_on_time_runs_whatever_the_policy(catch_up):
    assert plan("*/5 * * * *", NOON, NOON + 5 * MINUTE, catch_up) == [(NOON + 5 * MINUTE, RAN)]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        (CatchUp.ONCE, [SKIPPED, SKIPPED, CAUGHT_UP]),
        (CatchUp.ALL, [CAUGHT_UP, CAUGHT_UP, CAUGHT_UP]),
        (CatchUp.SKIP, [SKIPPED, SKIPPED, SKIPPED]),
    ],
)
def test_after_three_hours_of_absence_the_policy_decides(catch_up, expected):
    found = plan("0 * * * *", NOON, NOON + 3 * HOUR + 20 * MINUTE, catch_up)
    assert found == list(zip((NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR), expected, strict=True))


def test_a_month_of_absence_is_no_storm():
    last, now, found = NOON, NOON + 30 * DAY, []
    looks = 0
    while planned := plan("*/5 * * * *", last, now, CatchUp.ALL):
        assert len(planned) <= LIMIT
        found += planned
        last, looks = planned[-1][0], looks + 1
    assert Counter(outcome for _, outcome in found) == {SKIPPED: 30 * 288 - MOST, CAUGHT_UP: MOST - 1, RAN: 1}
    assert looks == 9


def test_an_expression_that_changed_counts_from_the_last_slot_of_the_old_one():
    assert plan("0 * * * *", NOON + 25 * MINUTE, NOON + HOUR, CatchUp.ONCE) == [(NOON + HOUR, RAN)]


@BOUNDED
@given(
    cron=st.sampled_from(CRONS),
    start=moments,
    waits=st.lists(steps, max_size=12),
    catch_up=st.sampled_from(CatchUp),
    limit=st.integers(1, 50),
)
def test_whatever_the_looks_each_slot_up_to_now_gets_one_outcome(cron, start, waits, catch_up, limit):
    rows: dict[datetime, SlotOutcome] = {}
    now = latest = start
    for wait in [timedelta(0), *waits]:
        now += wait
        latest = max(latest, now)
        _look(rows, cron, now, catch_up, limit)
    first = min(rows)
    while _look(rows, cron, latest, catch_up, LIMIT):
        pass
    every = list(takewhile(lambda slot: slot <= latest, CronSim(cron, first)))
    assert sorted(rows) == [first, *every]
    assert first <= start


def _look(rows: dict[datetime, SlotOutcome], cron: str, now: datetime, catch_up: CatchUp, limit: int) -> int:
    planned = plan(cron, max(rows, default=None), now, catch_up, limit=limit)
    slots = [slot for slot, _ in planned]
    assert len(slots) <= limit
    assert slots == sorted(set(slots))
    assert not rows.keys() & set(slots)
    assert all(slot <= now for slot in slots)
    rows.update(planned)
    return len(planned)


@BOUNDED
@given(
    start=moments,
    waits=st.lists(steps, max_size=12),
    every=st.sampled_from([1, 5, 20]),
    catch_up=st.sampled_from(CatchUp),
)
def test_the_slots_are_those_that_arithmetic_finds_too(start, waits, every, catch_up):
    last = start.replace(minute=0, second=0, microsecond=0)
    now = start + sum((max(wait, timedelta(0)) for wait in waits), timedelta(0)) % DAY
    found = plan(f"*/{every} * * * *", last, now, catch_up, limit=10_000)
    step = every * MINUTE
    assert [slot for slot, _ in found] == [last + step * number for number in range(1, (now - last) // step + 1)]
    ran = [slot for slot, outcome in found if outcome is not SKIPPED]
    newest = [slot for slot, _ in found][-(1 if catch_up is CatchUp.ONCE else MOST) :]
    assert ran == ([slot for slot in newest if now - slot <= GRACE] if catch_up is CatchUp.SKIP else newest)
    assert all((outcome is RAN) == (now - slot <= GRACE) for slot, outcome in found if outcome is not SKIPPED)
