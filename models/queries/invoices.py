"""Invoices as they were issued, and what a ticket's time and parts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.queries.scoping import Reached

_COLUMNS = """
    i.id, i.number, i.code, i.ticket_id, t.code AS ticket_code, i.account_id, i.currency, i.subtotal_cents,
    i.tax_percent, i.tax_cents, i.total_cents, i.nte_cents, i.issuer, i.customer, i.issued_on, i.issued_by,
    i.created_at, i.pdf_sha256
"""
_FOUND = """
    SELECT {columns} FROM invoices i JOIN tickets t ON t.id = i.ticket_id
     WHERE i.org_id = :org AND ({reached}) AND {conditions} ORDER BY i.number DESC LIMIT :limit
"""
_LINES = text("""
    SELECT kind, text, quantity, unit, unit_price_cents, amount_cents FROM invoice_lines
     WHERE invoice_id = :invoice ORDER BY position
""")
#: Ids are time-ordered, over both tables together.
_ITEMS = text("""
    WITH times AS (
        SELECT id, kind, technician_id, began_at, ended_at, CAST(NULL AS text) AS name, CAST(NULL AS text) AS sku,
               CAST(NULL AS numeric) AS quantity, CAST(NULL AS bigint) AS unit_price_cents, recorded_by, created_at,
               removed_at, removed_by
          FROM time_entries
         WHERE ticket_id = :ticket AND (CAST(:after AS uuid) IS NULL OR id > CAST(:after AS uuid))
         ORDER BY id LIMIT :limit
    ), parts AS (
        SELECT id, 'part' AS kind, CAST(NULL AS uuid) AS technician_id, CAST(NULL AS timestamptz) AS began_at,
               CAST(NULL AS timestamptz) AS ended_at, name, sku, quantity, unit_price_cents, recorded_by, created_at,
               removed_at, removed_by
          FROM part_entries
         WHERE ticket_id = :ticket AND (CAST(:after AS uuid) IS NULL OR id > CAST(:after AS uuid))
         ORDER BY id LIMIT :limit
    )
    SELECT * FROM times UNION ALL SELECT * FROM parts ORDER BY id LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line; its price is that of an hour where its unit is the minute."""

    kind: str
    text: str
    quantity: Decimal
    unit: str
    unit_price_cents: int
    amount_cents: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice; in a list without its lines. `customer` has the place of the work below the name."""

    id: UUID
    number: int
    code: str
    ticket_id: UUID
    ticket_code: str
    account_id: UUID | None
    currency: str
    subtotal_cents: int
    tax_percent: Decimal
    tax_cents: int
    total_cents: int
    #: The limit that held when it was issued; 0 is no limit.
    nte_cents: int
    issuer: str
    customer: str
    issued_on: date
    issued_by: str
    created_at: datetime
    pdf_sha256: str | None
    lines: tuple[InvoiceLine, ...] = ()


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """What invoices must match; None matches all. Days include both ends."""

    account_id: UUID | None = None
    issued_since: date | None = None
    issued_until: date | None = None


@dataclass(frozen=True, slots=True)
class WorkItem:
    """A piece of time (`labor`, `travel`) or a part; `ended_at` is None while time goes on."""

    id: UUID
    kind: str
    technician_id: UUID | None
    began_at: datetime | None
    ended_at: datetime | None
    name: str | None
    sku: str | None
    quantity: Decimal | None
    unit_price_cents: int | None
    recorded_by: str
    created_at: datetime
    removed_at: datetime | None
    removed_by: str | None


def listed(
    connection: Connection,
    org_id: UUID,
    reached: Reached,
    wanted: InvoiceFilter,
    *,
    before: int | None = None,
    limit: int = 50,
) -> list[Invoice]:
    """Return up to `limit` invoices below a number, the newest first, without their lines."""
    named = {
        "i.account_id = :account": ("account", wanted.account_id),
        "i.issued_on >= :since": ("since", wanted.issued_since),
        "i.issued_on <= :until": ("until", wanted.issued_until),
        "i.number < :before": ("before", before),
    }
    used = {condition: place for condition, place in named.items() if place[1] is not None}
    return _find(connection, org_id, reached, " AND ".join(used), {"limit": limit, **dict(used.values())})


def one(connection: Connection, org_id: UUID, reached: Reached, invoice_id: UUID) -> Invoice | None:
    """Return an invoice with its lines; None when there is none within reach."""
    return _whole(connection, _find(connection, org_id, reached, "i.id = :invoice", {"invoice": invoice_id}))


def of_code(connection: Connection, org_id: UUID, reached: Reached, code: str) -> Invoice | None:
    """Return the invoice that people call by a code, with its lines; None when there is none within reach."""
    return _whole(connection, _find(connection, org_id, reached, "i.code = :code", {"code": code}))


def of_ticket(connection: Connection, org_id: UUID, reached: Reached, ticket_id: UUID) -> Invoice | None:
    """Return a ticket's invoice with its lines; None when it has none, or is out of reach."""
    return _whole(connection, _find(connection, org_id, reached, "i.ticket_id = :ticket", {"ticket": ticket_id}))


def work_items(
    connection: Connection, ticket_id: UUID, *, after: UUID | None = None, limit: int = 50
) -> list[WorkItem]:
    """Return up to `limit` pieces of time and parts of a ticket after an id, as they were told."""
    values = {"ticket": ticket_id, "after": after, "limit": limit}
    return [WorkItem(*row) for row in connection.execute(_ITEMS, values)]


def _find(
    connection: Connection, org_id: UUID, reached: Reached, conditions: str, values: Mapping[str, Any]
) -> list[Invoice]:
    condition, scope = reached
    statement = _FOUND.format(columns=_COLUMNS, reached=condition, conditions=conditions or "TRUE")
    found = connection.execute(text(statement), {"org": org_id, "limit": 1, **values, **scope})
    return [_invoice(row) for row in found]


def _whole(connection: Connection, found: Sequence[Invoice]) -> Invoice | None:
    if not found:
        return None
    lines = connection.execute(_LINES, {"invoice": found[0].id})
    return replace(found[0], lines=tuple(InvoiceLine(*row) for row in lines))


def _invoice(row: Row[Any]) -> Invoice:
    values = row._asdict()
    sha256 = values.pop("pdf_sha256")
    return Invoice(**values, pdf_sha256=None if sha256 is None else bytes(sha256).hex())
