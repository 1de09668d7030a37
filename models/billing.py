"""Billing: rates, the time and parts of each ticket, and invoices that are numbered without gaps."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from models.base import created, key, metadata, word
from models.enums import TimeKind

#: What work costs, in the currency's smallest unit; the most particular one of a ticket holds: of its account and
#: incident type, of its account, of its incident type, of the organization.
rates = Table(
    "rates",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("incident_type", Text),
    Column("currency", Text, nullable=False),
    Column("labor_hour_cents", BigInteger, nullable=False),
    Column("travel_hour_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("callout_cents", BigInteger, nullable=False, server_default=text("0")),
    #: Labour is counted in steps of so many minutes, each begun one whole, and no less than the least.
    Column("step_minutes", SmallInteger, nullable=False, server_default=text("15")),
    Column("least_minutes", SmallInteger, nullable=False, server_default=text("0")),
    Column("tax_percent", Numeric(6, 3), nullable=False, server_default=text("0")),
    created(),
    UniqueConstraint("org_id", "account_id", "incident_type", "currency", postgresql_nulls_not_distinct=True),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_plain"),
    CheckConstraint("labor_hour_cents >= 0 AND travel_hour_cents >= 0 AND callout_cents >= 0", name="not_negative"),
    CheckConstraint("step_minutes BETWEEN 1 AND 240 AND least_minutes BETWEEN 0 AND 1440", name="minutes_range"),
    CheckConstraint("tax_percent BETWEEN 0 AND 100", name="tax_range"),
)

#: Time on a ticket: begun at check-in and resume, ended at hold, return and completion; travel is told.
time_entries = Table(
    "time_entries",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("kind", TimeKind, TimeKind.LABOR),
    Column("technician_id", Uuid, ForeignKey("people.id")),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("recorded_by", Text, nullable=False),
    created(),
    #: Taken back, and by whom; it stays for the record.
    Column("removed_at", DateTime(timezone=True)),
    Column("removed_by", Text),
    CheckConstraint("began_at <= ended_at", name="in_order"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
    Index(None, "ticket_id", "id"),
    Index("uq_time_entries_going", "ticket_id", unique=True, postgresql_where=text("ended_at IS NULL")),
)

part_entries = Table(
    "part_entries",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("sku", Text),
    Column("name", Text, nullable=False),
    Column("quantity", Numeric(12, 3), nullable=False),
    Column("unit_price_cents", BigInteger, nullable=False),
    Column("recorded_by", Text, nullable=False),
    created(),
    #: Taken back, and by whom; it stays for the record.
    Column("removed_at", DateTime(timezone=True)),
    Column("removed_by", Text),
    CheckConstraint("name <> ''", name="name_not_blank"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("unit_price_cents >= 0", name="price_not_negative"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
    Index(None, "ticket_id", "id"),
)

#: The next number of an organization's invoices: its row is locked until the invoice that takes one is committed, so
#: that a number is never lost.
invoice_series = Table(
    "invoice_series",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), primary_key=True),
    Column("next_number", BigInteger, nullable=False, server_default=text("1")),
    Column("prefix", Text, nullable=False, server_default=text("'INV-'")),
    CheckConstraint("next_number > 0", name="next_number_positive"),
)

invoices = Table(
    "invoices",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    #: As people read it: prefix and number.
    Column("code", Text, nullable=False),
    #: Exactly one per ticket.
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False, unique=True),
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("currency", Text, nullable=False),
    Column("subtotal_cents", BigInteger, nullable=False),
    Column("tax_percent", Numeric(6, 3), nullable=False),
    Column("tax_cents", BigInteger, nullable=False),
    Column("total_cents", BigInteger, nullable=False),
    #: The limit that held when it was issued; 0 is no limit.
    Column("nte_cents", BigInteger, nullable=False),
    #: Seller and customer as they were called then, for the printed page.
    Column("issuer", Text, nullable=False),
    Column("customer", Text, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("issued_by", Text, nullable=False),
    created(),
    #: The printed page, once it was made.
    Column("pdf_sha256", LargeBinary),
    UniqueConstraint("org_id", "number"),
    UniqueConstraint("org_id", "code"),
    CheckConstraint("total_cents = subtotal_cents + tax_cents", name="total_adds_up"),
    CheckConstraint("subtotal_cents >= 0 AND tax_cents >= 0", name="not_negative"),
    CheckConstraint("nte_cents = 0 OR total_cents <= nte_cents", name="within_limit"),
    Index(None, "org_id", "id"),
    Index("ix_invoices_pdf", "pdf_sha256", postgresql_where=text("pdf_sha256 IS NOT NULL")),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("invoice_id", Uuid, ForeignKey("invoices.id"), nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: labor, travel, callout, part or write_off.
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("quantity", Numeric(12, 3), nullable=False),
    Column("unit", Text, nullable=False),
    Column("unit_price_cents", BigInteger, nullable=False),
    #: What is written off is negative.
    Column("amount_cents", BigInteger, nullable=False),
    PrimaryKeyConstraint("invoice_id", "position"),
    CheckConstraint("kind IN ('labor', 'travel', 'callout', 'part', 'write_off')", name="kind_legal"),
)
