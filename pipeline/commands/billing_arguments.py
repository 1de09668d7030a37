"""What billing is asked for, and the plain rules on it: rates, time and parts, invoices."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.enums import TimeKind
from pipeline.commands.field_arguments import (
    Currency,
    Flag,
    GivenReason,
    IncidentType,
    Line,
    Moment,
    Name,
    Reason,
    in_words,
    upper,
)
from pipeline.core.invoicing import Rate

_MOST_PRICE = 10**9
#: Where a series may begin.
_MOST_NUMBER = 10**9
#: Plain digits, and what Python writes a very small or large JSON number as.
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?")
_PREFIX = re.compile(r"^(?:[A-Za-z]|[A-Za-z0-9][A-Za-z0-9._-]{0,10}[A-Za-z._-])$")
#: So long one piece of time may be.
LONGEST = timedelta(hours=24)


def _number(said: Any) -> Any:
    """Let a decimal number come as text or as JSON's number; a truth value is none."""
    is_number = isinstance(said, int | float | str | Decimal) and not isinstance(said, bool)
    if not is_number or not _NUMBER.fullmatch(str(said)):
        raise ValueError("it must be a number like 1.5, as such or as text")
    return said


def _prefix(said: Any) -> Any:
    if isinstance(said, str) and not _PREFIX.fullmatch(said):
        raise ValueError("it must be 1 to 12 letters, digits or . _ -, with a letter or digit first and no digit last")
    return said


#: Whole, in the currency's smallest unit; with quantities and percents of this page every sum stays within 64 bits.
Price = Annotated[int, Field(strict=True, ge=0, le=_MOST_PRICE)]
Quantity = Annotated[Decimal, BeforeValidator(_number), Field(gt=0, le=100_000, decimal_places=3, allow_inf_nan=False)]
TaxPercent = Annotated[Decimal, BeforeValidator(_number), Field(ge=0, le=100, decimal_places=3, allow_inf_nan=False)]


#: It begins as a file's name may, and ends in no digit: so no two numbers make one code.
Prefix = Annotated[
    str, BeforeValidator(_prefix), Field(min_length=1, max_length=12, json_schema_extra={"pattern": _PREFIX.pattern})
]


class RateWish(BaseModel):
    """A rate as it is to hold; without account and incident type it is the organization's own."""

    model_config = ConfigDict(extra="forbid")

    account_id: UUID | None = None
    incident_type: IncidentType | None = None
    currency: Annotated[Currency, BeforeValidator(upper)]
    labor_hour_cents: Price
    travel_hour_cents: Price = 0
    callout_cents: Price = 0
    step_minutes: Annotated[int, Field(strict=True, ge=1, le=240)] = 15
    least_minutes: Annotated[int, Field(strict=True, ge=0, le=1440)] = 0
    tax_percent: TaxPercent = Decimal(0)

    def rate(self) -> Rate:
        """Return it as a value."""
        return Rate(**self.model_dump())


class SeriesWish(BaseModel):
    """How invoices are numbered from now on; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    prefix: Prefix | None = None
    #: Only while no invoice was issued.
    next_number: Annotated[int, Field(strict=True, ge=1, le=_MOST_NUMBER)] | None = None


class Nothing(BaseModel):
    """A wish that says all by its address; what else it holds is not read."""


class NewPart(BaseModel):
    """Something that was built in."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    sku: Annotated[Name, Field(max_length=100)] | None = None
    quantity: Quantity
    unit_price_cents: Price


class PartRemoval(BaseModel):
    """A part that is taken back, and why."""

    model_config = ConfigDict(extra="forbid")

    part_id: UUID
    reason: Reason


class TimeRemoval(BaseModel):
    """A piece of time that is taken back, and why."""

    model_config = ConfigDict(extra="forbid")

    time_id: UUID
    reason: Reason


class RemovalReason(GivenReason):
    """Why a part or a piece of time is taken back."""


class NewTime(BaseModel):
    """Time that is over and was not counted by check-in."""

    model_config = ConfigDict(extra="forbid")

    kind: TimeKind
    began_at: Moment
    ended_at: Moment


class InvoiceWish(BaseModel):
    """How an invoice is made; contract 000 takes any object, so that other fields are passed over."""

    #: What exceeds the agreed limit is not asked for; with a reason, nothing at all may be billed.
    write_off: Flag = False
    reason: Annotated[Line, Field(max_length=200)] | None = None
    #: Today where it is not said; a day of the last year, not in the future.
    issued_on: Annotated[date, BeforeValidator(in_words)] | None = None


class IncreaseWish(BaseModel):
    """A wish that the limit is raised to what the work costs."""

    reason: Reason = "the work costs more than was agreed"
