"""Money: whole numbers of a currency's smallest unit, rounded once and exactly, and written out for people."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

#: ISO 4217: how many decimal places a currency has, where it is not two.
# fmt: off
_PLACES = MappingProxyType({
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0, "RWF": 0, "UGX": 0,
    "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3,
    "OMR": 3, "TND": 3, "CLF": 4, "UYW": 4,
})
# fmt: on
_HALF = Fraction(1, 2)


def rounded(amount: Fraction) -> int:
    """Return the nearest whole number; a half goes away from zero, as invoices have it."""
    whole = int(abs(amount) + _HALF)
    return whole if amount >= 0 else -whole


def share_of(cents: int, percent: Decimal) -> int:
    """Return so many percent of an amount, rounded."""
    return rounded(Fraction(percent) * cents / 100)


def places_of(currency: str) -> int:
    """Return how many decimal places a currency is written with."""
    return _PLACES.get(currency, 2)


def written(cents: int, currency: str) -> str:
    """Return an amount for people, without its currency: `1,234.50`, `-12.00`, and `1,234` for yen."""
    places = places_of(currency)
    return f"{Decimal(cents).scaleb(-places):,.{places}f}"


def written_number(number: Decimal) -> str:
    """Return a quantity for people: no zeros behind the last place that says something."""
    said = f"{number:,f}"
    return said.rstrip("0").rstrip(".") if "." in said else said
