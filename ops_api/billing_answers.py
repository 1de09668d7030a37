"""What rates, time and parts, and invoices look like over HTTP; money in the currency's smallest unit."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.enums import DispatchState
from models.queries.invoices import WorkItem

_NUMBER = "A decimal number, as text."


class RateAnswer(BaseModel):
    """What work costs; without account and incident type it is the organization's own."""

    id: UUID
    account_id: UUID | None
    account: str | None
    incident_type: str | None
    currency: str
    labor_hour_cents: int
    travel_hour_cents: int
    callout_cents: int = Field(description="For each visit that took place.")
    step_minutes: int = Field(description="Labor is charged in steps of so many minutes, each begun one whole.")
    least_minutes: int = Field(description="No less than this, once there is any labor.")
    tax_percent: str = Field(description=_NUMBER)
    created_at: datetime


class RateAnswers(BaseModel):
    """All rates of the organization; at most 1,000."""

    items: list[RateAnswer]


class SeriesAnswer(BaseModel):
    """How the organization's next invoice is numbered."""

    prefix: str
    next_number: int
    next_code: str
    is_begun: bool = Field(description="An invoice was issued: its number is followed by the next one.")


class InvoiceLineAnswer(BaseModel):
    """One line of an invoice."""

    kind: Literal["labor", "travel", "callout", "part", "write_off"]
    text: str
    quantity: str = Field(description=_NUMBER)
    unit: Literal["minute", "visit", "piece", "sum"]
    unit_price_cents: int = Field(description="Of an hour, where the unit is the minute.")
    amount_cents: int = Field(description="Negative where something is written off.")


class InvoiceHead(BaseModel):
    """An invoice without its lines."""

    id: UUID
    number: int = Field(description="Counts the organization's invoices, without gaps.")
    code: str
    ticket_id: UUID
    ticket_code: str
    account_id: UUID | None
    currency: str
    subtotal_cents: int
    tax_percent: str = Field(description=_NUMBER)
    tax_cents: int
    total_cents: int
    nte_cents: int = Field(description="The limit that held; 0 is no limit.")
    issuer: str
    customer_name: str
    customer_place: list[str]
    issued_on: date
    issued_by: str
    created_at: datetime


class InvoiceAnswer(InvoiceHead):
    """An invoice."""

    lines: list[InvoiceLineAnswer]


class InvoicePage(BaseModel):
    """Invoices, the newest first."""

    items: list[InvoiceHead]
    next_cursor: str | None = Field(description="Null at the end.")


class TimeAnswer(BaseModel):
    """A piece of time on a ticket."""

    id: UUID
    kind: Literal["labor", "travel"]
    technician_id: UUID | None
    began_at: datetime
    ended_at: datetime | None = Field(description="Null while it goes on.")
    recorded_by: str
    created_at: datetime
    removed_at: datetime | None = Field(description="When it was taken back; it is not billed then.")
    removed_by: str | None


class PartAnswer(BaseModel):
    """A part of a ticket's bill."""

    id: UUID
    name: str
    sku: str | None
    quantity: str = Field(description=_NUMBER)
    unit_price_cents: int
    recorded_by: str
    created_at: datetime
    removed_at: datetime | None = Field(description="When it was taken back; it is not billed then.")
    removed_by: str | None


class WorkItemAnswer(BaseModel):
    """A piece of time or a part, as `type` says; the other one is null."""

    type: Literal["time", "part"]
    time: TimeAnswer | None = None
    part: PartAnswer | None = None

    @classmethod
    def of(cls, item: WorkItem) -> WorkItemAnswer:
        """Return an item as it is answered."""
        values: dict[str, Any] = {name: getattr(item, name) for name in item.__slots__}
        if item.kind == "part":
            return cls(type="part", part=PartAnswer(**values | {"quantity": _plain(item.quantity)}))
        return cls(type="time", time=TimeAnswer(**values))


class WorkItemPage(BaseModel):
    """Time and parts of a ticket, as they were told."""

    ticket_id: UUID
    items: list[WorkItemAnswer]
    next_cursor: str | None = Field(description="Null at the end.")


class _Ticket(BaseModel):
    """The ticket as contract 000 serves it."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    code: str
    state: DispatchState
    version: int


class TicketWithPart(_Ticket):
    """The ticket, and the part that was added or taken back."""

    part: PartAnswer


class TicketWithTime(_Ticket):
    """The ticket, and the time that was told or taken back."""

    time: TimeAnswer


class TicketWithInvoice(_Ticket):
    """The ticket, and its invoice."""

    invoice: InvoiceAnswer


class BillingApproval(BaseModel):
    """The approval that was asked for."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    status: str
    approval_type: str
    amount_delta_cents: int | None
    reason: str
    requested_at: datetime


class IncreaseAnswer(BaseModel):
    """The ticket, and the approval that it waits for."""

    ticket: _Ticket
    approval: BillingApproval


def _plain(number: Decimal | None) -> str:
    return str(number)
