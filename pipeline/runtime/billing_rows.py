"""Invoices in the database, issued under the ticket's lock."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.queries.invoices import Invoice, InvoiceLine
from pipeline.core.field_work import FieldTicket
from pipeline.core.invoicing import Bill
from pipeline.core.written import plain
from pipeline.runtime import invoice_series
from pipeline.runtime.db import copy_rows

#: Who bills whom, and where the work was, as they are called now.
_PARTIES = text("""
    SELECT o.name AS issuer, a.name AS account, s.name AS site, s.address1, s.address2, s.city, s.region, s.postal_code,
           s.country
      FROM tickets t JOIN organizations o ON o.id = t.org_id
      LEFT JOIN accounts a ON a.id = t.account_id LEFT JOIN sites s ON s.id = t.site_id
     WHERE t.id = :ticket
""")
_INVOICE = text("""
    INSERT INTO invoices (org_id, number, code, ticket_id, account_id, currency, subtotal_cents, tax_percent, tax_cents,
                          total_cents, nte_cents, issuer, customer, issued_on, issued_by)
    VALUES (:org, :number, :code, :ticket, :account, :currency, :subtotal, :tax_percent, :tax, :total, :limit, :issuer,
            :customer, :issued_on, :by)
    RETURNING id
""")
_LINES = (
    *("invoice_id", "position", "org_id", "kind", "text", "quantity", "unit", "unit_price_cents", "amount_cents"),
)
_NOTE_PDF = text("UPDATE invoices SET pdf_sha256 = :sha256 WHERE id = :invoice AND pdf_sha256 IS NULL")


def add_invoice(connection: Connection, ticket: FieldTicket, bill: Bill, *, issued_on: date, by: str) -> UUID:
    """Issue a ticket's invoice under the organization's next number; return its id.

    Whoever else of the organization issues one waits until this transaction ends.
    """
    issuer, customer = _parties(connection, ticket)
    number, code = invoice_series.take(connection, ticket.org_id)
    values = {
        "org": ticket.org_id,
        "number": number,
        "code": code,
        "ticket": ticket.ticket_id,
        "account": ticket.account_id,
        "currency": bill.currency,
        "subtotal": bill.subtotal_cents,
        "tax_percent": bill.tax_percent,
        "tax": bill.tax_cents,
        "total": bill.total_cents,
        "limit": ticket.nte_cents,
        "issuer": issuer,
        "customer": customer,
        "issued_on": issued_on,
        "by": by,
    }
    invoice_id: UUID = connection.execute(_INVOICE, values).scalar_one()
    _add_lines(connection, ticket.org_id, invoice_id, bill)
    return invoice_id


def body(invoice: Invoice) -> dict[str, Any]:
    """Return an invoice as it is answered: money in the currency's smallest unit, other decimal numbers as text."""
    name, *place = invoice.customer.split("\n")
    return {
        "id": str(invoice.id),
        "number": invoice.number,
        "code": invoice.code,
        "ticket_id": str(invoice.ticket_id),
        "ticket_code": invoice.ticket_code,
        "account_id": None if invoice.account_id is None else str(invoice.account_id),
        "currency": invoice.currency,
        "subtotal_cents": invoice.subtotal_cents,
        "tax_percent": str(invoice.tax_percent),
        "tax_cents": invoice.tax_cents,
        "total_cents": invoice.total_cents,
        "nte_cents": invoice.nte_cents,
        "issuer": invoice.issuer,
        "customer_name": name,
        "customer_place": place,
        "issued_on": invoice.issued_on.isoformat(),
        "issued_by": invoice.issued_by,
        "created_at": plain(invoice.created_at),
        "lines": [_line_body(line) for line in invoice.lines],
    }


def note_pdf(connection: Connection, invoice_id: UUID, sha256: bytes) -> None:
    """Note the printed page of an invoice; one that has its page keeps it."""
    connection.execute(_NOTE_PDF, {"invoice": invoice_id, "sha256": sha256})


def _line_body(line: InvoiceLine) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "text": line.text,
        "quantity": str(line.quantity),
        "unit": line.unit,
        "unit_price_cents": line.unit_price_cents,
        "amount_cents": line.amount_cents,
    }


def _add_lines(connection: Connection, org_id: UUID, invoice_id: UUID, bill: Bill) -> None:
    rows = [
        (
            *(invoice_id, position, org_id, line.kind.value, line.text, line.quantity, line.unit.value),
            *(line.unit_price_cents, line.amount_cents),
        )
        for position, line in enumerate(bill.lines, 1)
    ]
    copy_rows(connection, "invoice_lines", _LINES, rows)


def _parties(connection: Connection, ticket: FieldTicket) -> tuple[str, str]:
    """Return the seller, and the customer with the place of the work below, one line each."""
    row = connection.execute(_PARTIES, {"ticket": ticket.ticket_id}).one()
    name = row.account or ticket.customer_name or ticket.requester_email or "-"
    if row.site is None:
        return row.issuer, _one_line(name)
    town: Any = " ".join(filter(None, (row.postal_code, row.city, row.region)))
    lines = (name, row.site, row.address1, row.address2, town, row.country)
    return row.issuer, "\n".join(_one_line(line) for line in lines if line and line.strip())


def _one_line(said: str) -> str:
    return " ".join(said.split())
