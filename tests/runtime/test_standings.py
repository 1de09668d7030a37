"""The leaderboard: its one query counts as the plain rules do."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest
from sqlalchemy import text

from models.enums import WorkOrderState
from pipeline.core.leaderboard import Tally, score
from pipeline.runtime import standings
from pipeline.runtime.db import Database
from tests.commands.points import give, within
from tests.commands.workshop_desk import WorkshopDesk

_CHECK = """
    INSERT INTO quality_checks (org_id, order_id, technician_id, inspector_id, result, created_at)
    VALUES (:org, :order, :tech, :inspector, :result, now() - CAST(:ago AS interval))
"""
_PRESENT = """
    INSERT INTO attendance_records (org_id, person_id, work_date, checked_in_at, created_by)
    SELECT :org, :person, CAST(now() AT TIME ZONE 'UTC' AS date) - n, now(), 'a test'
      FROM unnest(CAST(:ago AS int[])) AS n
"""
_NAMES = tuple(one.name for one in fields(Tally))


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    return WorkshopDesk.of(db)


def done(desk: WorkshopDesk, name: str, minutes: int, *, days: int = 0, fails: int = 0) -> None:
    """Let somebody have finished a repair some days ago, after so many failed checks."""
    with desk.db.begin() as connection:
        at = connection.execute(text("SELECT now()")).scalar_one() - timedelta(days=days)
    order = desk.repair(WorkOrderState.DONE, name, minutes=(minutes,), closed_at=at)
    for result in (*["FAIL"] * fails, "PASS"):
        desk.change(
            _CHECK,
            order=order.order_id,
            tech=desk.person_id(name),
            inspector=desk.person_id("inspector"),
            result=result,
            ago=timedelta(days=days),
        )


def test_everything_counts_as_the_rules_say_within_its_days(desk: WorkshopDesk) -> None:
    with desk.db.begin() as connection:
        today = connection.execute(text("SELECT CAST(now() AT TIME ZONE 'UTC' AS date)")).scalar_one()
    done(desk, "tech", 20)
    done(desk, "tech", 45, fails=2)
    done(desk, "tech", 90, days=2)
    done(desk, "tech", 20, days=40)
    done(desk, "other_tech", 20, days=2, fails=1)
    give(desk, "tech", 33, within(today, 0))
    give(desk, "tech", 1000, within(today, -40))
    desk.change(_PRESENT, person=desk.person_id("tech"), ago=[0, 1, 29, 30])
    with desk.db.begin() as connection:
        month = standings.leaderboard(connection, desk.org_id, 30, limit=10, offset=0)
        day = standings.leaderboard(connection, desk.org_id, 1, limit=10, offset=0)
        second = standings.leaderboard(connection, desk.org_id, 30, limit=1, offset=1)
    tallies = {
        "tech": Tally(
            done=3, xp=33, first_pass=2, green=1, yellow=1, red=1, attendance_days=3, reworked=1, qc_fails=2
        ),
        "other_tech": Tally(done=1, green=1, reworked=1, qc_fails=1),
    }  # fmt: skip
    assert month.total == 2
    found = {row["user"]: row for row in month.rows}
    assert [row["rank"] for row in month.rows] == [1, 2]
    for name, tally in tallies.items():
        row = found[str(desk.person_id(name))]
        assert Tally(**{one: row[one] for one in _NAMES}) == tally
        assert row["score"] == score(tally)
    assert [row["done"] for row in day.rows] == [2, 0]
    assert [row["user"] for row in second.rows] == [str(desk.person_id("other_tech"))]
    assert second.rows[0]["rank"] == 2
