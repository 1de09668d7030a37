"""Lists of the workshop: what they look at is bounded, and what they show is found by an index behind the barrier."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from models import row_security
from models.enums import WorkOrderState
from models.queries import attendance, levels, repairs
from models.queries.repairs import Wanted
from pipeline.runtime.db import Database
from tests.bench.plans import explained, scans
from tests.commands.workshop_desk import WorkshopDesk

_MANY = 3_000
#: So many rows of a ledger that reading it through is the worse plan.
_LEDGER = text("""
    INSERT INTO xp_transactions (org_id, person_id, kind, amount, reference, created_by)
    SELECT :org, :person, 'manual_adjustment', 1, 'manual_adjustment:' || n, 'test' FROM generate_series(1, :many) n
""")
_COUPONS = text("""
    INSERT INTO level_coupons (org_id, person_id, reference, amount, currency)
    SELECT :org, :person, 'level_up_coupon:' || n, 1, 'UZS' FROM generate_series(1, :many) n
""")


def _ids(connection: Connection, wanted: Wanted) -> list[UUID]:
    found = [row.id for row in repairs.page(connection, wanted, limit=10, offset=0)]
    assert repairs.count(connection, wanted, limit=10, offset=0) == len(found)
    return found


def test_words_are_looked_for_in_the_newest_tickets_and_a_code_in_all(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = WorkshopDesk.of(db)
    old, *newer = [desk.repair(WorkOrderState.NEW, title=f"Brake {number}") for number in range(3)]
    monkeypatch.setattr(repairs, "LOOKED", 2)
    with db.begin() as connection:
        assert _ids(connection, Wanted(desk.org_id, words="brake")) == [one.order_id for one in reversed(newer)]
        assert _ids(connection, Wanted(desk.org_id, words=old.code, number=old.number)) == [old.order_id]
        assert _ids(connection, Wanted(desk.org_id, words="brake 0")) == []


def test_days_and_histories_find_what_they_were_worth_by_an_index_behind_the_barrier(db: Database) -> None:
    desk = WorkshopDesk.of(db)
    values = {"org": desk.org_id, "person": desk.person_id("tech"), "many": _MANY}
    with db.begin() as connection:
        connection.execute(_LEDGER, values)
        connection.execute(_COUPONS, values)
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE xp_transactions, level_coupons"))
    with explained(db.engine) as plans, db.begin() as connection:
        row_security.bind(connection, desk.org_id)
        attendance.page(connection, attendance.Wanted(desk.org_id), limit=10, offset=0)
        levels.history(connection, desk.org_id, values["person"], limit=10, offset=0)
    read = scans(plans)
    assert {"uq_xp_transactions_org_id_reference", "uq_level_coupons_org_id_reference"} <= set(read)
    assert not {"Seq Scan on xp_transactions", "Seq Scan on level_coupons"} & set(read)


def test_a_day_shows_what_it_was_worth(db: Database) -> None:
    desk = WorkshopDesk.of(db)
    person_id, day = desk.person_id("tech"), date(2026, 3, 2)
    desk.change(
        "INSERT INTO attendance_records (org_id, person_id, work_date, checked_in_at, created_by)"
        " VALUES (:org, :person, :day, :at, 'test')",
        org=desk.org_id, person=person_id, day=day, at=datetime(2026, 3, 2, 9, tzinfo=UTC),
    )  # fmt: skip
    desk.change(
        "INSERT INTO xp_transactions (org_id, person_id, kind, amount, reference, comment, created_by)"
        " VALUES (:org, :person, 'attendance_punctuality', 2, :reference, 'early', 'test')",
        org=desk.org_id, person=person_id, reference=f"attendance_checkin:{person_id}:2026-03-02",
    )  # fmt: skip
    with db.begin() as connection:
        (row,) = attendance.page(connection, attendance.Wanted(desk.org_id), limit=10, offset=0)
    assert (row.xp, row.punctuality, row.work_date) == (2, "early", day)
