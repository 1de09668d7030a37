"""What work costs: which rate holds, how time is counted, and sums that always add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations, permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import TimeKind
from pipeline.core.invoicing import (
    Bill,
    LineKind,
    MixedCurrencies,
    Part,
    Rate,
    Stretch,
    Unit,
    Work,
    bill,
    holding,
    minutes_of,
    time_of,
    within,
    written_off,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ACME, OTHER = UUID(int=1), UUID(int=2)
HOUR = timedelta(hours=1)

moments = st.integers(0, 600).map(lambda minute: NOON + timedelta(minutes=minute))
stretches = st.builds(
    lambda kind, at, seconds: Stretch(kind, at, at + timedelta(seconds=seconds)),
    st.sampled_from(TimeKind),
    moments,
    st.integers(0, 20_000),
)
parts = st.builds(
    Part,
    st.uuids(),
    st.just("Hinge"),
    st.decimals("0.001", 1_000, places=3),
    st.integers(0, 10**7),
    st.none() | st.just("H-1"),
)
works = st.builds(Work, st.just("USD"), st.lists(stretches, max_size=6), st.lists(parts, max_size=6), st.integers(0, 5))
rates = st.builds(
    Rate,
    st.just("USD"),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(1, 240),
    st.integers(0, 1440),
    st.decimals(0, 100, places=3),
)


def labor(*spans: tuple[int, int]) -> list[Stretch]:
    return [
        Stretch(TimeKind.LABOR, NOON + timedelta(minutes=begin), NOON + timedelta(minutes=end)) for begin, end in spans
    ]


def adds_up(found: Bill) -> bool:
    return (
        sum(line.amount_cents for line in found.lines) == found.subtotal_cents
        and found.subtotal_cents + found.tax_cents == found.total_cents
        and min(found.subtotal_cents, found.tax_cents, found.total_cents) >= 0
    )


# Which rate holds


def rate(account: UUID | None = None, incident: str | None = None, currency: str = "USD") -> Rate:
    return Rate(currency, 100, account_id=account, incident_type=incident)


#: The most particular first.
FITTING = [rate(ACME, "DOOR"), rate(ACME), rate(None, "DOOR"), rate()]
STRANGE = [rate(OTHER), rate(None, "GLASS"), rate(OTHER, "DOOR"), rate(ACME, "GLASS"), rate(ACME, "DOOR", "EUR")]


def test_of_any_rates_in_any_order_the_most_particular_that_fits_holds() -> None:
    for size in range(len(FITTING) + 1):
        for chosen in combinations(FITTING, size):
            expected = chosen[0] if chosen else None
            for strange in STRANGE:
                for order in permutations([*chosen, strange]):
                    assert holding(order, ACME, "DOOR", "USD") == expected
            assert holding([*STRANGE, *reversed(chosen)], ACME, "DOOR", "USD") == expected


def test_a_ticket_without_account_or_type_has_the_general_rate() -> None:
    assert holding([*FITTING, *STRANGE], None, None, "USD") == rate()
    assert holding([*FITTING, *STRANGE], None, "DOOR", "USD") == rate(None, "DOOR")
    assert holding([*FITTING, *STRANGE], ACME, "OTHER", "USD") == rate(ACME)


# Time


@pytest.mark.parametrize(
    ("spent", "step", "least", "expected"),
    [
        (timedelta(0), 15, 60, 0),
        (timedelta(microseconds=1), 15, 0, 15),
        (timedelta(minutes=15), 15, 0, 15),
        (timedelta(minutes=15, microseconds=1), 15, 0, 30),
        (timedelta(minutes=10), 15, 60, 60),
        (timedelta(minutes=61), 15, 60, 75),
        (timedelta(minutes=1), 7, 20, 20),
        (timedelta(hours=2), 1, 0, 120),
    ],
)
def test_each_step_begun_is_one_whole_and_some_is_no_less_than_the_least(
    spent: timedelta, step: int, least: int, expected: int
) -> None:
    assert minutes_of(spent, step, least) == expected


def test_time_that_overlaps_counts_once_and_pauses_do_not() -> None:
    assert time_of(labor((0, 30), (20, 40), (25, 35), (60, 70)), TimeKind.LABOR) == timedelta(minutes=50)
    assert time_of(labor((0, 30)), TimeKind.TRAVEL) == timedelta(0)


def test_labor_is_rounded_once_over_all_of_it_and_not_at_every_pause() -> None:
    found = bill(Rate("USD", 6000), Work("USD", labor((0, 5), (10, 15), (20, 25))))
    assert [(line.quantity, line.unit, line.amount_cents) for line in found.lines] == [(15, Unit.MINUTE, 1500)]


# Lines and sums


def test_every_kind_of_line_has_its_amount() -> None:
    work = Work(
        "USD",
        [*labor((0, 61)), Stretch(TimeKind.TRAVEL, NOON - HOUR, NOON - HOUR + timedelta(minutes=20))],
        [Part(UUID(int=9), "Hinge", Decimal("1.5"), 333, "H-1"), Part(UUID(int=8), "Screw", Decimal(3), 10)],
        visits=2,
    )
    found = bill(Rate("USD", 8000, 5000, 4500, tax_percent=Decimal("8.25")), work)
    assert [(line.kind, line.text, line.amount_cents) for line in found.lines] == [
        (LineKind.LABOR, "Labor", 10_000),
        (LineKind.TRAVEL, "Travel", 1_667),
        (LineKind.CALLOUT, "Call-out", 9_000),
        (LineKind.PART, "Screw", 30),
        (LineKind.PART, "Hinge (H-1)", 500),
    ]
    assert (found.subtotal_cents, found.tax_cents, found.total_cents) == (21_197, 1_749, 22_946)


def test_what_costs_nothing_has_no_line_but_a_part_that_was_given() -> None:
    work = Work("USD", labor((0, 61)), [Part(UUID(int=8), "Screw", Decimal(3), 0)], visits=2)
    assert [line.kind for line in bill(Rate("USD", 0), work).lines] == [LineKind.PART]


@given(rates, works)
def test_sums_add_up_and_are_never_negative(rate: Rate, work: Work) -> None:
    assert adds_up(bill(rate, work))


@given(rates, works, st.randoms(use_true_random=False))
def test_the_order_of_what_comes_changes_nothing(rate: Rate, work: Work, chance: object) -> None:
    shuffled_times, shuffled_parts = list(work.stretches), list(work.parts)
    chance.shuffle(shuffled_times)  # type: ignore[attr-defined]
    chance.shuffle(shuffled_parts)  # type: ignore[attr-defined]
    assert bill(rate, Work("USD", shuffled_times, shuffled_parts, work.visits)) == bill(rate, work)


@given(rates, works)
def test_each_amount_is_within_half_a_cent_of_the_exact_one(rate: Rate, work: Work) -> None:
    for line in bill(rate, work).lines:
        exact = line.quantity * line.unit_price_cents / (60 if line.unit is Unit.MINUTE else 1)
        assert abs(exact - line.amount_cents) <= Decimal("0.5000001")


@given(rates, works, st.integers(1, 10**8))
def test_a_write_off_keeps_within_the_limit_and_takes_off_as_little_as_it_can(
    rate: Rate, work: Work, limit: int
) -> None:
    whole = bill(rate, work)
    found = within(whole, limit)
    assert adds_up(found)
    assert found.total_cents <= limit
    if whole.total_cents <= limit:
        assert found == whole
    else:
        less = written_off(whole, found.written_off_cents - 1, "less")
        assert found.written_off_cents > 0
        assert less.total_cents > limit


def test_no_limit_is_never_exceeded() -> None:
    whole = bill(Rate("USD", 8000), Work("USD", labor((0, 600))))
    assert (whole.over(0), whole.over(80_000), whole.over(79_999)) == (0, 0, 1)
    assert within(whole, 0) == whole


def test_two_currencies_are_not_mixed() -> None:
    with pytest.raises(MixedCurrencies):
        bill(Rate("EUR", 1), Work("USD"))
