"""Rates: set whole, read back, taken away, and told to the audit trail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from pipeline.commands.billing_arguments import Nothing, RateWish
from pipeline.commands.rates import PUT_RATE, REMOVE_RATE
from pipeline.core.principals import Scope
from pipeline.runtime import rate_rows
from pipeline.runtime.db import Database
from tests.commands.billed import set_rate
from tests.commands.field_desk import FieldDesk


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def listed(desk: FieldDesk) -> list[tuple[Any, ...]]:
    with desk.db.begin() as connection:
        found = rate_rows.listed(connection, desk.org_id)
    return [(one.account, one.rate.incident_type, one.rate.currency, one.rate.labor_hour_cents) for one in found]


def test_a_rate_takes_the_place_of_the_one_before(desk: FieldDesk) -> None:
    first = set_rate(desk, 1_000, incident_type=" door ", tax_percent="8.25")
    again = set_rate(desk, 2_000, incident_type="DOOR", currency="usd")
    assert first.body["id"] == again.body["id"]
    assert (first.body["tax_percent"], again.body["tax_percent"]) == ("8.250", "0.000")
    set_rate(desk, 3_000)
    set_rate(desk, 4_000, account_id=desk.account_id)
    assert listed(desk) == [
        (None, None, "USD", 3_000),
        (None, "DOOR", "USD", 2_000),
        ("Acme", None, "USD", 4_000),
    ]


def test_the_trail_says_what_a_rate_is(desk: FieldDesk) -> None:
    made = set_rate(desk, 1_234, tax_percent="8.25").body
    desk.run(REMOVE_RATE, Nothing(), made["id"], by="finance")
    assert desk.trail() == [("rates.set", "done", None), ("rates.remove", "done", None)]
    for (data,) in desk.rows("SELECT data FROM audit_details WHERE org_id = :org ORDER BY number"):
        told = (data["labor_hour_cents"], data["currency_code"], data["tax_thousandths"])
        assert told == (1_234, "USD", 8_250)
    assert listed(desk) == []


def test_who_may_not_or_reaches_a_part_sets_none(desk: FieldDesk) -> None:
    wish = RateWish(currency="USD", labor_hour_cents=1)
    made = set_rate(desk).body["id"]
    narrow = replace(desk.people["finance"], scope=Scope(account_ids=frozenset({desk.account_id})))
    assert desk.refused(PUT_RATE, wish, by="dispatcher").code == "FORBIDDEN"
    assert desk.refused(PUT_RATE, wish, by=narrow).code == "FORBIDDEN"
    assert desk.refused(REMOVE_RATE, Nothing(), made, by=narrow).code == "FORBIDDEN"
    assert listed(desk) == [(None, None, "USD", 8_000)]


def test_what_is_another_organizations_is_not_there(desk: FieldDesk, db: Database) -> None:
    theirs = FieldDesk.of(db)
    wish = RateWish(currency="USD", labor_hour_cents=1, account_id=theirs.account_id)
    assert desk.refused(PUT_RATE, wish, by="finance").code == "UNKNOWN_ACCOUNT"
    for name in (set_rate(theirs).body["id"], str(uuid4()), "nothing"):
        assert desk.refused(REMOVE_RATE, Nothing(), name, by="finance").code == "RATE_NOT_FOUND"
    assert len(listed(theirs)) == 1


def test_there_are_so_many_rates_at_most(desk: FieldDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_rows, "MOST_RATES", 1)
    set_rate(desk)
    wish = RateWish(currency="EUR", labor_hour_cents=1)
    assert desk.refused(PUT_RATE, wish, by="finance").code == "TOO_MANY_RATES"
    assert set_rate(desk, 5).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        *({"currency": "US"}, {"currency": "U1D"}, {"currency": None}),
        *({"labor_hour_cents": -1}, {"labor_hour_cents": 1.5}, {"labor_hour_cents": "100"}, {"labor_hour_cents": True}),
        *({"labor_hour_cents": 10**9 + 1}, {"step_minutes": 0}, {"step_minutes": 241}, {"least_minutes": 1_441}),
        *({"tax_percent": 101}, {"tax_percent": "-1"}, {"tax_percent": "1.2345"}, {"tax_percent": "NaN"}),
        *({"tax_percent": True}, {"tax_percent": "1_0"}, {"tax_percent": []}, {"tax_percent": " 1"}),
        *({"incident_type": " "}, {"account_id": "x"}, {"colour": "red"}),
    ],
    ids=str,
)
def test_a_rate_is_checked_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RateWish(**{"currency": "USD", "labor_hour_cents": 1, **wrong})


@pytest.mark.parametrize("percent", ["8.25", 8.25, 0, 100, "0.001", 0.00])
def test_a_percent_comes_as_a_number_or_as_text(percent: Any) -> None:
    assert RateWish(currency="USD", labor_hour_cents=1, tax_percent=percent).tax_percent >= 0
