"""The arithmetic of budgets: what no sequence of draws, refusals and rests may ever do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import QuotaProfile
from pipeline.core import budget as rules
from pipeline.core import quota
from pipeline.core.budget import Ask, Budget, Grant, Held, Scope, draw
from pipeline.core.quota import LIMITS, Limits

NOON = datetime(2026, 6, 10, 19, 0, tzinfo=UTC)
NEW = LIMITS[QuotaProfile.SINCE_2026_05]
GET, LIST, HISTORY = NEW.cost("messages.get"), NEW.cost("messages.list"), NEW.cost("history.list")
BACKFILL = Ask(GET, 10, is_live=False, brings_bytes=True)
LIVE = Ask(GET, 1, is_live=True, brings_bytes=True)

steps = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from([GET, LIST, HISTORY, 100]),
        st.integers(1, 10),
        st.booleans(),
    ),
    max_size=300,
)


def fresh(now: datetime = NOON, limits: Limits = NEW, **changes: object) -> Held:
    full = Budget(level=1e9, level_at=now, day=quota.quota_day(now))
    return Held(replace(full, **changes), full, limits, now)  # type: ignore[arg-type]


def later(held: Held, seconds: float) -> Held:
    return replace(held, now=held.now + timedelta(seconds=seconds))


def drain(held: Held, ask: Ask, seconds: float) -> tuple[int, Held]:
    """Draw whenever it is allowed for some time; return the calls that were granted."""
    end, calls = held.now + timedelta(seconds=seconds), 0
    while held.now < end:
        grant, held = draw(held, ask)
        calls += grant.calls
        held = replace(held, now=held.now + max(grant.wait, timedelta(milliseconds=1)))
    return calls, held


@given(steps, st.sampled_from([1_000, 6_000, 15_000]), st.floats(0.5, 60))
def test_no_window_of_a_minute_holds_more_than_the_limit(
    script: list[tuple[float, int, int, bool]], limit: int, minute_seconds: float
) -> None:
    minute = timedelta(seconds=minute_seconds)
    held = replace(fresh(limits=NEW.but(units_per_user_minute=limit)), minute=minute)
    spent: list[tuple[datetime, int]] = []
    for pause, cost, calls, is_live in script:
        held = later(held, pause * minute_seconds / 60)
        grant, held = draw(held, Ask(cost, calls, is_live=is_live))
        spent.append((held.now, grant.calls * cost))
    for start, _ in spent:
        assert sum(units for at, units in spent if start <= at <= start + minute) <= limit + 1e-3


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 10)), max_size=200))
def test_live_mail_never_waits_for_backfill(script: list[tuple[float, int]]) -> None:
    held = fresh()
    for pause, calls in script:
        held = later(held, pause)
        _, held = draw(held, replace(BACKFILL, calls=calls))
        grant, _ = draw(held, replace(LIVE, calls=2))
        assert grant.calls == 2


def test_live_mail_waits_for_live_mail_only_as_long_as_one_call_takes_to_earn() -> None:
    held, waits = fresh(), []
    for _ in range(50):
        grant, held = draw(held, LIVE)
        waits.append(grant.wait)
        held = replace(held, now=held.now + grant.wait)
    assert max(waits) <= timedelta(seconds=GET / 97) + timedelta(microseconds=10)


def test_backfill_alone_uses_97_of_100_units() -> None:
    calls, _ = drain(fresh(), BACKFILL, 600)
    assert 0.965 <= calls * GET / 60_000 <= 0.98


def test_backfill_takes_what_live_mail_leaves() -> None:
    held, live, other = fresh(), 0, 0
    for _ in range(600):
        held = later(held, 1)
        grant, held = draw(held, LIVE)
        live += grant.calls
        while True:
            grant, held = draw(held, BACKFILL)
            if not grant.calls:
                break
            other += grant.calls
    assert live == 600
    assert (live + other) * GET >= 0.96 * 60_000


def test_mailboxes_share_their_projects_minute() -> None:
    limits = NEW.but(units_per_minute=6_000)
    project, granted = fresh().project, 0
    boxes = [fresh().mailbox for _ in range(5)]
    for second in range(61):
        now = NOON + timedelta(seconds=second)
        for number, box in enumerate(boxes):
            grant, held = draw(Held(box, project, limits, now), BACKFILL)
            boxes[number], project = held.mailbox, held.project
            granted += grant.calls
    assert granted * GET <= 6_000


def test_a_projects_day_that_is_spent_is_waited_for() -> None:
    held = fresh(limits=NEW.but(units_per_day=50))
    grant, held = draw(held, replace(BACKFILL, calls=10))
    assert grant.calls == 2
    grant, _ = draw(held, LIVE)
    assert (grant.calls, grant.scope, grant.wait) == (0, Scope.PROJECT, timedelta(minutes=15))
    grant, _ = draw(later(held, 86_400), LIVE)
    assert grant.calls == 1


def test_bytes_of_the_day_stop_mail_but_neither_listing_nor_history() -> None:
    held = fresh(day_bytes=NEW.bytes_per_user_day)
    grant, _ = draw(held, LIVE)
    assert (grant.calls, grant.scope) == (0, Scope.BYTES)
    grant, _ = draw(held, Ask(HISTORY, 1, is_live=True))
    assert grant.calls == 1


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (datetime(2026, 1, 15, 7, 59, tzinfo=UTC), (date(2026, 1, 14), datetime(2026, 1, 15, 8, tzinfo=UTC))),
        (datetime(2026, 7, 15, 7, 0, tzinfo=UTC), (date(2026, 7, 15), datetime(2026, 7, 16, 7, tzinfo=UTC))),
        # Clocks go back on 1 November: that day has 25 hours.
        (datetime(2026, 11, 1, 7, 0, tzinfo=UTC), (date(2026, 11, 1), datetime(2026, 11, 2, 8, tzinfo=UTC))),
    ],
)
def test_the_providers_day_ends_at_midnight_pacific_time(now: datetime, expected: tuple[date, datetime]) -> None:
    assert (quota.quota_day(now), quota.next_quota_day(now)) == expected


@given(st.lists(st.one_of(st.none(), st.integers(1, 7200)), min_size=1, max_size=20), st.integers(0, 100))
def test_a_longer_rest_wins_and_none_is_ever_shortened(tolds: list[int | None], apart: int) -> None:
    box, now, longest = fresh().mailbox, NOON, NOON
    for told in tolds:
        before = box.rest_until
        is_resting = before is not None and before > now
        box = rules.refused(box, now, None if told is None else timedelta(seconds=told), "no")
        assert box.rest_until is not None
        assert box.rest_until > now
        assert not is_resting or box.rest_until >= before  # type: ignore[operator]
        if told is not None:
            assert box.rest_until >= now + timedelta(seconds=told)
        longest = max(longest, box.rest_until)
        now += timedelta(seconds=apart)


def test_without_a_told_time_rests_grow_up_to_an_hour_and_calls_under_way_count_once() -> None:
    box, now, rests = fresh().mailbox, NOON, []
    for _ in range(12):
        box = rules.refused(box, now, None, "no")
        box = rules.refused(box, now, None, "said to another call that was under way")
        assert box.rest_until is not None
        rests.append((box.rest_until - now).total_seconds())
        now = box.rest_until
    assert rests == [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_after_a_rest_exactly_one_call_goes_and_decides() -> None:
    held = fresh()
    held = replace(held, mailbox=rules.refused(held.mailbox, NOON, timedelta(hours=6), "later"))
    grant, _ = draw(later(held, 6 * 3600 - 1), LIVE)
    assert (grant.calls, grant.wait) == (0, timedelta(seconds=1))

    held = later(held, 6 * 3600)
    probe, held = draw(held, BACKFILL)
    assert (probe.calls, probe.is_probe) == (1, True)
    for ask in (LIVE, BACKFILL, Ask(HISTORY, 1, is_live=True)):
        grant, held = draw(held, ask)
        assert (grant.calls, grant.wait) == (0, rules.PROBE_POLL)

    again = replace(held, mailbox=rules.refused(held.mailbox, held.now, None, "not yet"))
    assert draw(again, LIVE)[0].wait == timedelta(seconds=30)

    lost, _ = draw(later(held, 61), LIVE)
    assert lost.is_probe

    over = replace(held, mailbox=rules.passed(held.mailbox, held.now, held.paces()[0], brings_bytes=True))
    grant, over = draw(over, LIVE)
    assert (grant.calls, grant.is_probe) == (1, False)
    assert over.mailbox.refusals == 0


def test_a_project_that_rests_has_one_probe_for_all_its_mailboxes() -> None:
    held = fresh()
    held = later(replace(held, project=rules.refused(held.project, NOON, timedelta(hours=1), "later")), 3600)
    grant, first = draw(held, LIVE)
    assert grant.is_probe
    other, _ = draw(replace(first, mailbox=fresh().mailbox), LIVE)
    assert (other.calls, other.scope) == (0, Scope.PROJECT)


def test_bytes_rest_and_are_probed_apart_from_everything_else() -> None:
    held = fresh()
    held = replace(held, mailbox=rules.refused_bytes(held.mailbox, NOON, timedelta(hours=2), "bandwidth"))
    grant, _ = draw(held, LIVE)
    assert (grant.calls, grant.wait, grant.scope) == (0, timedelta(hours=2), Scope.BYTES)
    history = Ask(HISTORY, 1, is_live=True)
    assert draw(held, history)[0] == Grant(1, HISTORY)
    probe, held = draw(later(held, 7200), LIVE)
    assert probe.is_probe
    assert draw(held, LIVE)[0].calls == 0
    assert draw(held, history)[0].calls == 1
    over = replace(held, mailbox=rules.passed(held.mailbox, held.now, held.paces()[0], brings_bytes=True))
    assert over.mailbox.bytes_rest_until is None


def test_a_success_that_was_under_way_does_not_end_a_rest() -> None:
    box = rules.refused(fresh().mailbox, NOON, timedelta(hours=1), "later")
    assert rules.passed(box, NOON, fresh().paces()[0], brings_bytes=True) == box


def test_the_pace_grows_slowly_after_a_rest() -> None:
    held = fresh()
    box = rules.refused(held.mailbox, NOON, timedelta(seconds=10), "later")
    held = later(replace(held, mailbox=box), 10)
    _, held = draw(held, BACKFILL)
    held = replace(held, mailbox=rules.passed(held.mailbox, held.now, held.paces()[0], brings_bytes=True))
    found = []
    for _ in range(5):
        calls, held = drain(held, BACKFILL, 30)
        found.append(calls * GET / 30)
    assert found == sorted(found)
    assert found[0] < 20
    assert found[4] > 95
    assert held.mailbox.ramp_at is None


def test_too_many_at_once_halves_and_every_twenty_calls_allow_one_more() -> None:
    assert [rules.fewer(None, 4), rules.fewer(2.0, 4), rules.fewer(1.0, 4)] == [2.0, 1.0, 1.0]
    assert rules.more(1.0, 4, 20) == 2.0
    assert rules.more(3.5, 4, 20) is None
    assert rules.more(None, 4, 20) is None
    assert [rules.at_once(None, 4), rules.at_once(2.9, 4), rules.at_once(1.0, 4)] == [4, 2, 1]


def test_live_mail_has_a_slot_of_its_own() -> None:
    assert list(rules.slots(4, is_live=True)) == [1, 2, 3, 4]
    assert list(rules.slots(4, is_live=False)) == [2, 3, 4]
    assert list(rules.slots(1, is_live=False)) == [1]


def test_costs_are_those_of_the_profile_and_overrides_win() -> None:
    old = LIMITS[QuotaProfile.BEFORE_2026_05]
    assert (old.cost("messages.get"), NEW.cost("messages.get"), NEW.cost("watch")) == (5, 20, 100)
    changed = NEW.but(units_per_user_minute=9_000, concurrency=None)
    assert (changed.units_per_user_minute, changed.concurrency) == (9_000, 4)
