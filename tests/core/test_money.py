"""Money: rounded once and exactly, and written for people."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.money import places_of, rounded, share_of, written, written_number


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("0.5", 1), ("1.5", 2), ("2.5", 3), ("0.499999999999999999999", 0), ("-0.5", -1), ("-2.4", -2), ("7", 7)],
)
def test_a_half_goes_away_from_zero(amount: str, expected: int) -> None:
    assert rounded(Fraction(amount)) == expected


@given(st.decimals(-(10**9), 10**9, places=4))
def test_rounding_is_that_of_decimal_numbers(amount: Decimal) -> None:
    assert rounded(Fraction(amount)) == int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def test_a_third_of_a_cent_is_not_lost_to_a_number_that_ends_too_soon() -> None:
    assert rounded(Fraction(1, 3) * 3 / 2) == 1


@pytest.mark.parametrize(
    ("cents", "percent", "expected"), [(1000, "8.25", 83), (100, "0.5", 1), (0, "100", 0), (999, "0", 0)]
)
def test_a_share_is_rounded_once(cents: int, percent: str, expected: int) -> None:
    assert share_of(cents, Decimal(percent)) == expected


@pytest.mark.parametrize(
    ("cents", "currency", "expected"),
    [
        (123450, "USD", "1,234.50"),
        (-1200, "EUR", "-12.00"),
        (1234567, "JPY", "1,234,567"),
        (1234567, "KWD", "1,234.567"),
        (5, "USD", "0.05"),
        (0, "XYZ", "0.00"),
        (10**15, "USD", "10,000,000,000,000.00"),
    ],
)
def test_amounts_are_written_with_the_places_of_their_currency(cents: int, currency: str, expected: str) -> None:
    assert written(cents, currency) == expected


@given(st.integers(-(10**17), 10**17), st.sampled_from(["USD", "JPY", "BHD", "CLF"]))
def test_what_is_written_is_the_amount(cents: int, currency: str) -> None:
    said = Decimal(written(cents, currency).replace(",", ""))
    assert said.scaleb(places_of(currency)) == cents


@pytest.mark.parametrize(
    ("number", "expected"), [("1.500", "1.5"), ("100", "100"), ("1E+3", "1,000"), ("0.001", "0.001"), ("8.250", "8.25")]
)
def test_quantities_are_written_without_idle_zeros(number: str, expected: str) -> None:
    assert written_number(Decimal(number)) == expected
