"""Budgets under many hands: never more than the limit, one lock order, rests and probes shared by everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from pipeline.core.budget import Grant, Scope
from pipeline.runtime import budgets
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Reach
from tests.factories import rows, value
from tests.worker_process import until

#: A provider's minute of these tests.
MINUTE = timedelta(seconds=2)
GET = 20


@pytest.fixture
def account() -> Account:
    return Account(uuid4(), "acme", MINUTE)


def take(db: Database, account: Account, calls: int = 1, method: str = "messages.get", *, live: bool = True) -> Grant:
    with db.begin() as connection:
        return budgets.take(connection, account, method, calls, is_live=live)


def refuse(
    db: Database, account: Account, wait: timedelta, reach: Reach = Reach.MAILBOX, *, is_told: bool = True
) -> None:
    with db.begin() as connection:
        budgets.refuse(connection, account, reach, wait, "Gmail said no", is_told=is_told)


def told(db: Database, change: Callable[..., None], *arguments: Any, **options: Any) -> None:
    with db.begin() as connection:
        change(connection, *arguments, **options)


def end_rests(db: Database) -> None:
    """Let time pass by moving every rest to just now."""
    rows(db, "UPDATE budgets SET rest_until = now() WHERE rest_until > now()")
    rows(db, "UPDATE budgets SET bytes_rest_until = now() WHERE bytes_rest_until > now()")


def most_in(spent: list[tuple[float, float, int]], seconds: float) -> int:
    """Return the most units that were surely given within any window of some seconds, however slow the machine."""
    return max(
        sum(units for asked, given, units in spent if start <= asked and given <= start + seconds)
        for start, _, _ in spent
    )


def spend_for(db: Database, account: Account, seconds: float, *, live: bool) -> list[tuple[float, float, int]]:
    """Spend for some seconds; return when each grant was asked for, when it was there, and its units."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        before = time.monotonic()
        grant = take(db, account, 3, live=live)
        if grant.calls:
            found.append((before, time.monotonic(), grant.calls * GET))
        time.sleep(min(grant.wait.total_seconds(), 0.05))
    return found


def test_many_hands_on_one_mailbox_never_spend_more_than_its_limit(db: Database, account: Account) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(spend_for, db, account, 3.0, live=number < 2) for number in range(8)]
        spent = [each for future in futures for each in future.result()]
    units = sum(units for _, _, units in spent)
    assert most_in(spent, MINUTE.total_seconds() * 0.98) <= 6_000
    assert value(db, "SELECT day_units FROM budgets WHERE scope LIKE 'mailbox:%'") == units
    assert units > 6_000  # the wall was met


def test_mailboxes_of_one_project_share_its_minute(db: Database) -> None:
    rows(db, "INSERT INTO projects (name, units_per_minute) VALUES ('acme', 2000)")
    accounts = [Account(uuid4(), "acme", MINUTE) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(spend_for, db, each, 3.0, live=True) for each in accounts]
        spent = [each for future in futures for each in future.result()]
    assert most_in(spent, MINUTE.total_seconds() * 0.98) <= 2_000
    assert value(db, "SELECT day_units FROM budgets WHERE scope = 'project:acme'") == sum(
        units for _, _, units in spent
    )


def test_a_rest_holds_for_every_lane_and_method_and_is_never_shortened(db: Database, account: Account) -> None:
    refuse(db, account, timedelta(hours=2))
    refuse(db, account, timedelta(seconds=5))
    for method, live in (("messages.get", False), ("history.list", True), ("watch", True)):
        grant = take(db, account, method=method, live=live)
        assert (grant.calls, grant.scope) == (0, Scope.MAILBOX)
        assert grant.wait > timedelta(minutes=119)
        assert "Gmail said no" in grant.reason
    other = replace(account, mailbox_id=uuid4())
    assert take(db, other).calls == 1


def test_of_many_hands_after_a_rest_exactly_one_probes(db: Database, account: Account) -> None:
    refuse(db, account, timedelta(hours=2))
    end_rests(db)
    with ThreadPoolExecutor(8) as pool:
        grants = list(pool.map(lambda _: take(db, account, 5), range(16)))
    assert sorted(grant.calls for grant in grants) == [0] * 15 + [1]
    told(db, budgets.succeed, account, brings_bytes=True)
    assert take(db, account).calls == 1
    assert value(db, "SELECT ramp_at IS NOT NULL FROM budgets WHERE scope LIKE 'mailbox:%'")


def test_a_probe_that_is_refused_rests_longer_and_one_that_tells_nothing_is_made_again(
    db: Database, account: Account
) -> None:
    waits = []
    for _ in range(4):
        refuse(db, account, timedelta(seconds=15), is_told=False)
        waits.append(take(db, account).wait.total_seconds())
        end_rests(db)
        assert take(db, account).is_probe
    assert [round(wait, 1) for wait in waits] == [0.5, 1, 2, 4]
    assert not take(db, account).calls
    told(db, budgets.doubt, account)
    assert take(db, account).is_probe


def test_a_projects_rest_stops_all_its_mailboxes(db: Database, account: Account) -> None:
    refuse(db, account, timedelta(hours=3), Reach.PROJECT, is_told=False)
    other = replace(account, mailbox_id=uuid4())
    for each in (account, other):
        grant = take(db, each)
        assert (grant.calls, grant.scope) == (0, Scope.PROJECT)
    assert take(db, replace(other, project="another")).calls == 1
    end_rests(db)
    assert take(db, account).is_probe
    assert take(db, other).calls == 0
    told(db, budgets.succeed, account, brings_bytes=True)
    assert take(db, other).calls == 1


def test_a_probe_that_meets_another_limit_leaves_its_own_to_the_next_call(db: Database, account: Account) -> None:
    refuse(db, account, timedelta(hours=3), Reach.PROJECT)
    end_rests(db)
    assert take(db, account).is_probe
    with db.begin() as connection:
        budgets.refuse(connection, account, Reach.MAILBOX, timedelta(hours=1), "no", is_told=True, is_probe=True)
    assert take(db, account).scope is Scope.MAILBOX
    assert take(db, replace(account, mailbox_id=uuid4())).is_probe


def test_bytes_are_counted_and_stop_mail_only(db: Database, account: Account) -> None:
    rows(db, "INSERT INTO projects (name, bytes_per_user_day) VALUES ('acme', 1000)")
    take(db, account)
    told(db, budgets.spend, account, 600, 1)
    assert take(db, account).calls == 1
    told(db, budgets.spend, account, 600, 1)
    grant = take(db, account)
    assert (grant.calls, grant.scope) == (0, Scope.BYTES)
    assert take(db, account, method="history.list").calls == 1
    rows(db, "UPDATE budgets SET day = day - 1")
    assert take(db, account).calls == 1


def test_calls_at_once_halve_and_grow_again(db: Database, account: Account) -> None:
    def at_once() -> int:
        with db.begin() as connection:
            return budgets.at_once(connection, account)

    assert at_once() == 4
    refuse(db, account, timedelta(seconds=2), Reach.CALLS, is_told=False)
    assert at_once() == 2
    assert take(db, account).calls == 1
    refuse(db, account, timedelta(seconds=2), Reach.CALLS, is_told=False)
    refuse(db, account, timedelta(seconds=2), Reach.CALLS, is_told=False)
    assert at_once() == 1
    told(db, budgets.spend, account, 0, 20)
    assert at_once() == 2
    told(db, budgets.spend, account, 0, 40)
    assert at_once() == 4
    rows(db, "INSERT INTO projects (name, concurrency) VALUES ('acme', 6)")
    assert at_once() == 6


def test_refusals_of_one_burst_halve_the_calls_at_once_once(db: Database, account: Account) -> None:
    def crowded(seen: int) -> Any:
        with db.begin() as connection:
            wait = timedelta(seconds=2)
            budgets.refuse(connection, account, Reach.CALLS, wait, "too many", is_told=False, at_once=seen)
            return budgets.at_once(connection, account)

    assert [crowded(4), crowded(4), crowded(4)] == [2, 2, 2]
    assert [crowded(2), crowded(2), crowded(4)] == [1, 1, 1]


def test_a_draw_waits_for_locks_a_moment_and_a_note_as_long_as_a_stopped_process_may_hold_them(
    db: Database, account: Account
) -> None:
    def waits(change: Callable[[Any], object]) -> list[str]:
        with db.begin() as connection:
            change(connection)
            names = ("lock_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")
            return [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]

    for _ in range(2):  # the first makes the rows
        drawing = waits(lambda connection: budgets.take(connection, account, "watch", 1, is_live=True))
        assert drawing == ["1s", "5s", "off"]
    assert waits(lambda connection: budgets.spend(connection, account, 1, 1)) == ["10s", "5s", "off"]
    assert waits(lambda connection: budgets.doubt(connection, account)) == ["10s", "5s", "off"]
    with db.begin() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "20s"


def test_a_process_that_is_stopped_in_a_draw_stops_the_project_for_seconds_only(db: Database, account: Account) -> None:
    take(db, account)
    other = replace(account, mailbox_id=uuid4())
    stopped = db.engine.connect()
    stopped.begin()
    budgets.take(stopped, account, "messages.list", 1, is_live=False)
    print(
        "DBG",
        [
            stopped.exec_driver_sql(f"SHOW {n}").scalar_one()
            for n in ("idle_in_transaction_session_timeout", "transaction_timeout", "lock_timeout", "statement_timeout")
        ],
    )
    with pytest.raises(OperationalError, match="lock timeout"):
        take(db, other)

    def is_free() -> bool:
        try:
            return take(db, other).calls == 1
        except OperationalError:
            return False

    until(is_free, "the budget of the project", 20)
    stopped.invalidate()
    stopped.close()


def test_bytes_are_noted_though_somebody_holds_the_projects_budget(db: Database, account: Account) -> None:
    take(db, account)
    with db.begin() as holding:
        holding.exec_driver_sql("SELECT FROM budgets WHERE scope = 'project:acme' FOR UPDATE")
        told(db, budgets.spend, account, 600, 1)
    assert value(db, "SELECT day_bytes FROM budgets WHERE scope LIKE 'mailbox:%'") == 600


def test_what_a_clock_that_was_ahead_wrote_is_not_waited_for(db: Database, account: Account) -> None:
    take(db, account)
    rows(db, "UPDATE budgets SET level = 0, level_at = now() + interval '10 years', day = day + 3650,"
             " rest_until = now() + interval '10 years', probe_until = now() + interval '10 years'")  # fmt: skip
    until(lambda: take(db, account).is_probe, "a probe")
    told(db, budgets.succeed, account, brings_bytes=True)
    assert value(db, "SELECT count(*) FROM budgets WHERE level_at > now() + interval '1 min' OR day_units <> 20") == 0
    assert value(db, "SELECT count(*) FROM budgets WHERE rest_until IS NULL AND probe_until IS NULL") == 2


def test_the_projects_profile_decides_what_a_call_costs(db: Database, account: Account) -> None:
    assert take(db, account).cost == 20
    rows(db, "INSERT INTO projects (name, profile) VALUES ('acme', 'before_2026_05')")
    assert take(db, account).cost == 5
