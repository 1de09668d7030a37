"""What a ticket's field work costs: which rate holds, how time is counted, the lines of an invoice and their sums.

Each amount is rounded once, in its line; the tax is one amount on their sum. Nothing depends on the
order of what comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from uuid import UUID

from models.enums import TimeKind
from pipeline.core.money import rounded, share_of

_MINUTE = timedelta(minutes=1)
_ONE = Decimal(1)
#: Of an hour's price, for a minute.
_HOUR = 60


class LineKind(StrEnum):
    """What a line of an invoice is for."""

    LABOR = "labor"
    TRAVEL = "travel"
    CALLOUT = "callout"
    PART = "part"
    WRITE_OFF = "write_off"


class Unit(StrEnum):
    """What a line's quantity counts."""

    MINUTE = "minute"  #: the price is that of an hour
    VISIT = "visit"
    PIECE = "piece"
    SUM = "sum"


class MixedCurrencies(ValueError):
    """A ticket is billed in one currency, and something of it has another."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What work costs, in the currency's smallest unit; None is any account, any incident type."""

    currency: str
    labor_hour_cents: int
    travel_hour_cents: int = 0
    callout_cents: int = 0
    step_minutes: int = 15
    least_minutes: int = 0
    tax_percent: Decimal = Decimal(0)
    account_id: UUID | None = None
    incident_type: str | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time that was spent on a ticket."""

    kind: TimeKind
    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """Something that was built in; parts stand on the invoice in the order of their ids."""

    part_id: UUID
    name: str
    quantity: Decimal
    unit_price_cents: int
    sku: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """All that a ticket may be billed for; a visit counts when somebody came."""

    currency: str
    stretches: Sequence[Stretch] = ()
    parts: Sequence[Part] = ()
    visits: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line; what is written off is negative."""

    kind: LineKind
    text: str
    quantity: Decimal
    unit: Unit
    unit_price_cents: int
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines and their sums: the total is the subtotal and the tax, and none of the three is negative."""

    currency: str
    lines: tuple[Line, ...]
    subtotal_cents: int
    tax_percent: Decimal
    tax_cents: int
    total_cents: int

    @property
    def written_off_cents(self) -> int:
        """What is not asked for, before tax; not negative."""
        return -sum(line.amount_cents for line in self.lines if line.kind is LineKind.WRITE_OFF)

    def over(self, limit_cents: int) -> int:
        """Return by how much it exceeds a limit, 0 when it does not; a limit of 0 is none."""
        return max(0, self.total_cents - limit_cents) if limit_cents else 0


def holding(rates: Iterable[Rate], account_id: UUID | None, incident_type: str | None, currency: str) -> Rate | None:
    """Return the most particular rate for a ticket: an account's comes before an incident type's; None without one."""
    fitting = [
        rate
        for rate in rates
        if rate.currency == currency
        and rate.account_id in {None, account_id}
        and rate.incident_type in {None, incident_type}
    ]
    return max(fitting, key=lambda rate: (rate.account_id is not None, rate.incident_type is not None), default=None)


def time_of(stretches: Iterable[Stretch], kind: TimeKind) -> timedelta:
    """Return how long somebody was busy with one kind of work: what overlaps counts once."""
    spent, until = timedelta(0), None
    for began_at, ended_at in sorted((one.began_at, one.ended_at) for one in stretches if one.kind is kind):
        begins = began_at if until is None else max(began_at, until)
        if ended_at > begins:
            spent += ended_at - begins
            until = ended_at
    return spent


def minutes_of(spent: timedelta, step: int, least: int = 0) -> int:
    """Return the minutes that are asked for: each step begun is one whole, and no less than the least; 0 for none."""
    if not spent:
        return 0
    steps = -(-spent // (step * _MINUTE))
    return max(steps * step, least)


def bill(rate: Rate, work: Work) -> Bill:
    """Return what the work costs. Raises `MixedCurrencies`."""
    if rate.currency != work.currency:
        raise MixedCurrencies(f"the rate is in {rate.currency}, the ticket in {work.currency}")
    return _summed(work.currency, rate.tax_percent, tuple(_lines(rate, work)))


def within(whole: Bill, limit_cents: int, why: str = "Written off above the agreed limit") -> Bill:
    """Return the bill with a line that takes off what exceeds a limit: as little as keeps the total within it."""
    if not whole.over(limit_cents):
        return whole
    kept = _largest_subtotal(limit_cents, whole.tax_percent)
    return written_off(whole, whole.subtotal_cents - kept, why)


def written_off(whole: Bill, cents: int, why: str) -> Bill:
    """Return the bill with a line that takes off an amount before tax."""
    line = Line(LineKind.WRITE_OFF, why, _ONE, Unit.SUM, -cents, -cents)
    return _summed(whole.currency, whole.tax_percent, (*whole.lines, line))


def _largest_subtotal(limit_cents: int, tax_percent: Decimal) -> int:
    """Return the largest amount that, with its tax, keeps within a limit."""
    kept = int(Fraction(limit_cents) * 100 / (100 + Fraction(tax_percent)))
    while kept + share_of(kept, tax_percent) > limit_cents:
        kept -= 1
    while kept + 1 + share_of(kept + 1, tax_percent) <= limit_cents:
        kept += 1
    return kept


def _lines(rate: Rate, work: Work) -> Iterable[Line]:
    """Yield what there is to ask for; time and visits that cost nothing have no line."""
    labor = minutes_of(time_of(work.stretches, TimeKind.LABOR), rate.step_minutes, rate.least_minutes)
    travel = minutes_of(time_of(work.stretches, TimeKind.TRAVEL), 1)
    if labor and rate.labor_hour_cents:
        yield _line(LineKind.LABOR, "Labor", Decimal(labor), Unit.MINUTE, rate.labor_hour_cents)
    if travel and rate.travel_hour_cents:
        yield _line(LineKind.TRAVEL, "Travel", Decimal(travel), Unit.MINUTE, rate.travel_hour_cents)
    if work.visits and rate.callout_cents:
        yield _line(LineKind.CALLOUT, "Call-out", Decimal(work.visits), Unit.VISIT, rate.callout_cents)
    for part in sorted(work.parts, key=lambda one: one.part_id):
        name = f"{part.name} ({part.sku})" if part.sku else part.name
        yield _line(LineKind.PART, name, part.quantity, Unit.PIECE, part.unit_price_cents)


def _line(kind: LineKind, text: str, quantity: Decimal, unit: Unit, unit_price_cents: int) -> Line:
    exact = Fraction(quantity) * unit_price_cents / (_HOUR if unit is Unit.MINUTE else 1)
    return Line(kind, text, quantity, unit, unit_price_cents, rounded(exact))


def _summed(currency: str, tax_percent: Decimal, lines: tuple[Line, ...]) -> Bill:
    subtotal = sum(line.amount_cents for line in lines)
    tax = share_of(subtotal, tax_percent)
    return Bill(currency, lines, subtotal, tax_percent, tax, subtotal + tax)
