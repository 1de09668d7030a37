"""`fieldpost invoice`: the invoices of an organization, their printed pages, and the series that numbers them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias
from uuid import UUID

import typer
from sqlalchemy import Connection

from models.queries import invoices as queries
from models.queries.invoices import Invoice, InvoiceFilter
from models.queries.scoping import EVERYTHING
from ops_api.cli.executing import checked, execute, operator_of
from ops_api.cli.options import LARGEST_ID, AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table
from ops_api.cli.session import begin, open_runtime
from ops_api.invoice_documents import page_of
from pipeline.adapters.blobs import open_blob_store
from pipeline.commands import invoice_numbers
from pipeline.commands.billing_arguments import SeriesWish
from pipeline.commands.mailboxes import find_organization
from pipeline.core.money import written, written_number
from pipeline.runtime import billing_rows, invoice_series
from pipeline.runtime.errors import Gone, UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List and show invoices; write one out to print; set their numbers.",
)

Code: TypeAlias = Annotated[str, typer.Argument(metavar="CODE", help="As listed: INV-000017.", show_default=False)]
_DAY = ["%Y-%m-%d"]


@app.command("list")
def list_invoices(
    *,
    since: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=_DAY, help="Issued on this day or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(metavar="DAY", formats=_DAY, help="Issued on this day or before.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, metavar="N", help="Only numbers below this.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List invoices, the newest first.

    Example: fieldpost invoice list --since 2026-03-01 --until 2026-03-31

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    wanted = InvoiceFilter(None, since and since.date(), until and until.date())
    settings, where = begin("invoice", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = queries.listed(connection, org_id, EVERYTHING, wanted, before=before, limit=limit)
    if as_json:
        bodies = [billing_rows.body(one) for one in found]
        print_json([{name: value for name, value in body.items() if name != "lines"} for body in bodies])
        return
    rows = [
        (one.code, one.issued_on, one.ticket_code, one.customer.split("\n")[0], one.currency, _total(one))
        for one in found
    ]
    columns = ("invoice", "issued", "ticket", "customer", "currency", "total")
    print_table(columns, rows, empty="No invoice: finance issues them for tickets that are verified.")


@app.command()
def show(code: Code, org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show an invoice with its lines.

    Example: fieldpost invoice show INV-000017

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("invoice", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        invoice = _find(connection, org, code)[1]
    if as_json:
        print_json(billing_rows.body(invoice))
        return
    amount = partial(written, currency=invoice.currency)
    print_fields(
        (
            *(("invoice", invoice.code), ("issued", invoice.issued_on), ("ticket", invoice.ticket_code)),
            *(("from", invoice.issuer), ("to", invoice.customer.replace("\n", ", "))),
        )
    )
    rows = [
        (line.text, written_number(line.quantity), line.unit, amount(line.unit_price_cents), amount(line.amount_cents))
        for line in invoice.lines
    ]
    print_table(("line", "quantity", "unit", "price", "amount"), rows, empty="No lines.", wrapped={"line"})
    tax = f"{amount(invoice.tax_cents)} ({written_number(invoice.tax_percent)} %)"
    limit = f"{invoice.currency} {amount(invoice.nte_cents)}" if invoice.nte_cents else None
    total = f"{invoice.currency} {_total(invoice)}"
    print_fields((("subtotal", amount(invoice.subtotal_cents)), ("tax", tax), ("total", total), ("limit", limit)))


@app.command()
def pdf(
    code: Code,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A new file; CODE.pdf without it.", show_default=False),
    ] = None,
    org: Organization = None,
    data: Data = None,
) -> None:
    """Write out the page of an invoice to print; it is always the same.

    Example: fieldpost invoice pdf INV-000017 -o march.pdf

    Exit codes: 0 written, 2 bad input or configuration.
    """
    settings, where = begin("invoice", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id, invoice = _find(connection, org, code)
        assert runtime.settings.blob_url is not None
        blobs = open_blob_store(runtime.settings.blob_url)
        try:
            content = page_of(invoice, org_id, blobs, runtime.db.begin)
        except Gone as error:
            raise UserError(f"{invoice.code}: {error}; restore the blob store from a backup") from error
    name = output or Path(f"{invoice.code}.pdf")
    _write(content, name)
    print(f"{name} is written")


@app.command()
def series(
    *,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Of invoices to come: 1 to 12 characters.", show_default=False)
    ] = None,
    next_number: Annotated[
        int | None, typer.Option(metavar="N", help="Of the first invoice; none was issued yet.", show_default=False)
    ] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show how the next invoice is numbered, or set it; what is left out stays as it is.

    Example: fieldpost invoice series --prefix 2026- --next-number 500

    Exit codes: 0 ok, 2 bad input or configuration; then nothing is changed.
    """
    said = {"prefix": prefix, "next_number": next_number}
    is_read = prefix is None and next_number is None
    wish = checked(SeriesWish, said)
    settings, where = begin("invoice", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
            found = invoice_numbers.body_of(invoice_series.read(connection, org_id))
        if not is_read:
            found = execute(runtime.db, operator_of(org_id), invoice_numbers.NUMBER_FROM, wish)
    if as_json:
        print_json(found)
        return
    print_fields((("next invoice", found["next_code"]), ("prefix", found["prefix"]), ("number", found["next_number"])))


def _find(connection: Connection, org: str | None, code: str) -> tuple[UUID, Invoice]:
    org_id = find_organization(connection, org)
    found = queries.of_code(connection, org_id, EVERYTHING, code.strip())
    if found is None:
        raise UserError(f"there is no invoice {code!r}; see `fieldpost invoice list`")
    return org_id, found


def _total(invoice: Invoice) -> str:
    return written(invoice.total_cents, invoice.currency)


def _write(content: bytes, name: Path) -> None:
    try:
        with name.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise UserError(f"{name} exists already; name a new file with -o") from error
    except OSError as error:
        raise UserError(f"{name} cannot be written: {error.strerror or error}") from error
