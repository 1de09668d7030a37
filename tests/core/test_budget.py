"""What budgets keep for live mail, and what they make of times that cannot be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from models.enums import QuotaProfile
from pipeline.core import budget as rules
from pipeline.core.budget import Ask, Budget, Held, Scope, draw, full
from pipeline.core.quota import LIMITS

NOON = datetime(2026, 6, 10, 19, 0, tzinfo=UTC)
LIMIT = LIMITS[QuotaProfile.SINCE_2026_05]
GET = LIMIT.cost("messages.get")
LIVE, BACKFILL = Ask(GET, 1, is_live=True, brings_bytes=True), Ask(GET, 1, is_live=False, brings_bytes=True)


def held(now: datetime = NOON, mailbox: Budget | None = None, project: Budget | None = None) -> Held:
    return Held(mailbox or full(now), project or full(now), LIMIT, now)


def test_the_last_twentieth_of_a_projects_day_is_live_mails() -> None:
    spent = held(project=replace(full(NOON), day_units=LIMIT.units_per_day * 95 // 100))
    grant, _ = draw(spent, BACKFILL)
    assert (grant.calls, grant.scope) == (0, Scope.PROJECT)
    assert "kept for live mail" in grant.reason
    assert draw(spent, LIVE)[0].calls == 1
    nearly = held(project=replace(full(NOON), day_units=LIMIT.units_per_day * 95 // 100 - 2 * GET))
    assert draw(nearly, replace(BACKFILL, calls=5))[0].calls == 2


def test_the_last_twentieth_of_a_mailboxes_bytes_is_live_mails() -> None:
    spent = held(mailbox=replace(full(NOON), day_bytes=LIMIT.bytes_per_user_day * 95 // 100))
    grant, _ = draw(spent, BACKFILL)
    assert (grant.calls, grant.scope) == (0, Scope.BYTES)
    assert draw(spent, LIVE)[0].calls == 1


def test_a_clock_that_was_ahead_and_was_set_right_stalls_nothing() -> None:
    ahead = datetime(2036, 3, 2, 12, tzinfo=UTC)
    found = held(ahead)
    while draw(found, LIVE)[0].calls:
        _, found = draw(found, LIVE)
    found = replace(found, now=NOON)
    grant, found = draw(found, LIVE)
    assert grant.wait <= timedelta(seconds=1)
    assert (found.mailbox.day, found.project.day) == (date(2026, 6, 10), date(2026, 6, 10))
    grant, _ = draw(replace(found, now=NOON + grant.wait), LIVE)
    assert grant.calls == 1


def test_clocks_that_differ_by_a_moment_give_nothing_twice() -> None:
    spent = replace(full(NOON), level=0, level_at=NOON + timedelta(seconds=4))
    grant, found = draw(held(mailbox=spent), LIVE)
    assert grant.calls == 0
    assert found.mailbox.level_at == spent.level_at


@pytest.mark.parametrize("rest", ["rest_until", "bytes_rest_until"])
def test_a_rest_longer_than_the_longest_day_is_over_and_one_call_proves_it(rest: str) -> None:
    for hours, is_believed in ((24.9, True), (25.1, False)):
        box = replace(full(NOON), **{rest: NOON + timedelta(hours=hours)})
        grant, _ = draw(held(mailbox=box), LIVE)
        assert (grant.calls, grant.is_probe) == ((0, False) if is_believed else (1, True))


def test_a_probe_that_a_clock_ahead_gave_out_is_not_waited_for() -> None:
    box = replace(full(NOON), rest_until=NOON, probe_until=NOON + timedelta(days=3_650))
    assert draw(held(mailbox=box), LIVE)[0].is_probe


def test_a_ramp_that_begins_in_the_future_begins_now() -> None:
    box = replace(full(NOON), ramp_at=NOON + timedelta(days=3_650))
    assert rules.as_of(box, NOON).ramp_at == NOON


def test_a_told_wait_is_never_longer_than_the_longest_day() -> None:
    for box in (
        rules.refused(full(NOON), NOON, timedelta(days=30), "no"),
        rules.refused_bytes(full(NOON), NOON, timedelta(days=30), "no"),
    ):
        assert (box.rest_until or box.bytes_rest_until) == NOON + rules.LONGEST
        assert draw(held(mailbox=box), LIVE)[0].calls == 0


def test_units_that_paid_for_nothing_come_back_as_if_they_had_never_been_drawn() -> None:
    grant, drawn = draw(held(), replace(BACKFILL, calls=5))
    assert grant.calls == 5
    both = [rules.returned(budget, 4 * GET) for budget in (drawn.mailbox, drawn.project)]
    _, once = draw(held(), BACKFILL)
    assert [budget.day_units for budget in both] == [GET, GET]
    later = NOON + timedelta(seconds=10)
    again = draw(Held(both[0], both[1], LIMIT, later), BACKFILL)
    assert again == draw(replace(once, now=later), BACKFILL)
