"""The series of invoices: where it begins, what it is called, and that it never leaves a gap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.command import Refused
from pipeline.commands.billing_arguments import SeriesWish
from pipeline.commands.invoice_numbers import NUMBER_FROM
from pipeline.core.principals import Scope
from pipeline.executor import Answer
from pipeline.runtime import invoice_series
from pipeline.runtime.db import Database
from pipeline.runtime.invoice_series import Series
from tests.commands.billed import invoiced, set_rate, worked
from tests.commands.field_desk import FieldDesk


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def set_series(desk: FieldDesk, **said: Any) -> Answer:
    return desk.run(NUMBER_FROM, SeriesWish(**said), by="finance")


def series(desk: FieldDesk) -> Series:
    with desk.db.begin() as connection:
        return invoice_series.read(connection, desk.org_id)


def test_a_series_begins_where_it_is_told_to_and_goes_on_from_there(desk: FieldDesk) -> None:
    set_rate(desk)
    assert series(desk) == Series("INV-", 1)
    assert set_series(desk, next_number=41).body["next_code"] == "INV-000041"
    assert set_series(desk, prefix="2026-").body["next_number"] == 41
    assert invoiced(desk, worked(desk)).body["invoice"]["code"] == "2026-000041"
    found = desk.refused(NUMBER_FROM, SeriesWish(next_number=500, prefix="X-"), by="finance")
    assert (found.code, found.details["next_number"]) == ("SERIES_BEGUN", 42)
    assert set_series(desk, prefix="R-", next_number=42).body["is_begun"]
    assert invoiced(desk, worked(desk)).body["invoice"]["code"] == "R-000042"
    told = [row for row in desk.trail() if row[0] == "invoices.number_from"]
    assert [outcome for _, outcome, _ in told] == ["done", "done", "refused", "done"]
    ((last,),) = desk.rows("SELECT data FROM audit_details WHERE org_id = :org AND data ->> 'prefix_code' = 'R-'")
    assert (last["next_number"], last["before"]) == (42, {"prefix_code": "2026-", "next_number": 42})


def test_who_may_not_reaches_a_part_or_says_nothing_changes_none(desk: FieldDesk) -> None:
    narrow = replace(desk.people["finance"], scope=Scope(account_ids=frozenset({desk.account_id})))
    asked = SeriesWish(prefix="R-")
    assert desk.refused(NUMBER_FROM, asked, by="dispatcher").code == "FORBIDDEN"
    assert desk.refused(NUMBER_FROM, asked, by=narrow).code == "FORBIDDEN"
    assert desk.refused(NUMBER_FROM, SeriesWish(), by="finance").code == "INVALID_REQUEST"
    assert desk.rows("SELECT count(*) FROM invoice_series") == [(0,)]


def test_a_series_is_another_organizations_own(desk: FieldDesk, db: Database) -> None:
    set_series(desk, prefix="A-", next_number=7)
    assert series(FieldDesk.of(db)) == Series("INV-", 1)


def test_a_first_number_that_comes_while_an_invoice_is_issued_waits_and_is_refused(desk: FieldDesk) -> None:
    set_rate(desk)
    ticket_id, together = worked(desk), Barrier(2, timeout=30)

    def number() -> str:
        together.wait()
        try:
            return str(set_series(desk, next_number=500).body["next_code"])
        except Refused as refused:
            return refused.refusal.code

    def issue() -> str:
        together.wait()
        return str(invoiced(desk, ticket_id).body["invoice"]["code"])

    with ThreadPoolExecutor(2) as pool:
        numbered, issued = (one.result() for one in (pool.submit(number), pool.submit(issue)))
    assert (numbered, issued) in {("INV-000500", "INV-000500"), ("SERIES_BEGUN", "INV-000001")}
    assert series(desk).next_number == int(issued[4:]) + 1


def test_the_lock_of_a_series_shows_what_was_issued_while_it_was_waited_for(desk: FieldDesk, db: Database) -> None:
    set_rate(desk)
    ticket_id = worked(desk)
    with db.begin() as connection, ThreadPoolExecutor(1) as pool:
        assert not invoice_series.lock(connection, desk.org_id).is_begun
        waiting = pool.submit(invoiced, desk, ticket_id)
        invoice_series.put(connection, desk.org_id, Series("W-", 9))
        connection.commit()
        assert waiting.result(timeout=30).body["invoice"]["code"] == "W-000009"
    with db.begin() as connection:
        assert invoice_series.lock(connection, desk.org_id) == Series("W-", 10, is_begun=True)


@pytest.mark.parametrize("prefix", ["A", "2026-", "INV.", "a_b-C", "x" * 12])
def test_a_prefix_is_plain(prefix: str) -> None:
    assert SeriesWish(prefix=prefix).prefix == prefix


@pytest.mark.parametrize(
    "wrong",
    [
        *({"prefix": one} for one in ("", " ", "1", "A1", "-A", ".A", "A/", "A B", "A\n", "\u00c4-", "x" * 13, 5)),
        *({"next_number": one} for one in (0, -1, "1", 1.5, True, 10**9 + 1)),
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_series_is_checked_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeriesWish(**wrong)
