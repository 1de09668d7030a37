"""Billing: time and parts of a ticket, its invoice, and all invoices with their printed pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response, StreamingResponse

from models.queries import invoices as queries
from models.queries.invoices import Invoice, InvoiceFilter
from ops_api.answers import Refusal
from ops_api.billing_answers import (
    IncreaseAnswer,
    InvoiceAnswer,
    InvoiceHead,
    InvoicePage,
    TicketWithInvoice,
    TicketWithPart,
    TicketWithTime,
    WorkItemAnswer,
    WorkItemPage,
)
from ops_api.commands import Calling
from ops_api.dependencies import OwnTicket, Provided, SignedIn, TicketName, Transaction
from ops_api.downloads import SAFE_HEADERS, disposition
from ops_api.guard import GuardedRoute
from ops_api.invoice_documents import page_of
from ops_api.raws import READS
from ops_api.routes.raw import Download, chunks
from pipeline.commands import billing, work_items
from pipeline.commands.billing_arguments import (
    IncreaseWish,
    InvoiceWish,
    NewPart,
    NewTime,
    PartRemoval,
    RemovalReason,
    TimeRemoval,
)
from pipeline.runtime import billing_rows, identity
from pipeline.runtime.errors import FieldpostError, Gone

router = APIRouter(route_class=GuardedRoute, tags=["billing"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=1024)]


@router.get("/tickets/{ticket_id}/work-items")
def list_work_items(
    *, ticket: OwnTicket, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> WorkItemPage:
    """Return time and parts of a ticket, as they were told; what was taken back is marked."""
    bound = {"list": "work-items", "ticket": ticket.ticket_id}
    place = services.cursors.read_place(cursor, bound)
    after = None if place is None else UUID(place["id"])
    found = queries.work_items(connection, ticket.ticket_id, after=after, limit=limit + 1)
    items, more = found[:limit], len(found) > limit
    next_cursor = services.cursors.make_place({"id": str(items[-1].id)}, bound) if more else None
    shown = [WorkItemAnswer.of(item) for item in items]
    return WorkItemPage(ticket_id=ticket.ticket_id, items=shown, next_cursor=next_cursor)


@router.post("/tickets/{ticket_id}/parts", status_code=201, response_model=TicketWithPart)
def add_part(ticket_id: TicketName, call: Calling, asked: NewPart) -> Response:
    """Add a part that was built in; for the technician who was sent, and dispatchers."""
    return call.run(work_items.ADD_PART, ticket_id, asked)


@router.post("/tickets/{ticket_id}/parts/{part_id}/remove", response_model=TicketWithPart)
def remove_part(ticket_id: TicketName, part_id: UUID, call: Calling, asked: RemovalReason) -> Response:
    """Take a part back; it stays for the record and is not billed."""
    return call.run(work_items.REMOVE_PART, ticket_id, PartRemoval(part_id=part_id, reason=asked.reason))


@router.post("/tickets/{ticket_id}/time", status_code=201, response_model=TicketWithTime)
def tell_time(ticket_id: TicketName, call: Calling, asked: NewTime) -> Response:
    """Add travel, or labor that check-in did not count; it is over, and at most 24 hours long."""
    return call.run(work_items.TELL_TIME, ticket_id, asked)


@router.post("/tickets/{ticket_id}/time/{time_id}/remove", response_model=TicketWithTime)
def remove_time(ticket_id: TicketName, time_id: UUID, call: Calling, asked: RemovalReason) -> Response:
    """Take time back that is over; it stays for the record and is not billed."""
    return call.run(work_items.REMOVE_TIME, ticket_id, TimeRemoval(time_id=time_id, reason=asked.reason))


@router.post("/tickets/{ticket_id}/billing/generate-invoice", response_model=TicketWithInvoice)
def generate_invoice(ticket_id: TicketName, call: Calling, asked: InvoiceWish) -> Response:
    """Issue the ticket's one invoice; refused until its proof is complete, and above the agreed limit."""
    return call.run(billing.GENERATE_INVOICE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/billing/request-increase", response_model=IncreaseAnswer)
def request_increase(ticket_id: TicketName, call: Calling, asked: IncreaseWish) -> Response:
    """Ask for a limit as high as what the work costs; whatever is decided, the ticket is verified again then."""
    return call.run(billing.REQUEST_INCREASE, ticket_id, asked)


@router.get("/tickets/{ticket_id}/invoice")
def ticket_invoice(ticket: OwnTicket, session: SignedIn, connection: Transaction) -> InvoiceAnswer:
    """Return a ticket's invoice; 404 while it has none."""
    found = queries.of_ticket(connection, session.org_id, identity.ticket_reach(session), ticket.ticket_id)
    return InvoiceAnswer.model_validate(billing_rows.body(_there(found)))


@router.get("/invoices")
def list_invoices(
    *,
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    account_id: UUID | None = None,
    issued_since: date | None = None,
    issued_until: date | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> InvoicePage:
    """Return invoices, the newest first; days include both ends."""
    wanted = InvoiceFilter(account_id, issued_since, issued_until)
    bound = {"list": "invoices", "org": session.org_id, "wanted": wanted}
    before, reached = services.cursors.read(cursor, bound), identity.ticket_reach(session)
    found = queries.listed(connection, session.org_id, reached, wanted, before=before, limit=limit + 1)
    items = found[:limit]
    next_cursor = services.cursors.make(items[-1].number, bound) if len(found) > limit else None
    heads = [InvoiceHead.model_validate(billing_rows.body(one)) for one in items]
    return InvoicePage(items=heads, next_cursor=next_cursor)


@router.get("/invoices/{invoice_id}")
def read_invoice(invoice_id: UUID, session: SignedIn, connection: Transaction) -> InvoiceAnswer:
    """Return an invoice with its lines."""
    found = queries.one(connection, session.org_id, identity.ticket_reach(session), invoice_id)
    return InvoiceAnswer.model_validate(billing_rows.body(_there(found)))


def printed(invoice_id: UUID, session: SignedIn, services: Provided) -> Iterator[tuple[Invoice, bytes]]:
    """Return an invoice and its page; no transaction is open meanwhile. Its turn lasts until the answer has ended."""
    with services.begin(session) as connection:
        found = queries.one(connection, session.org_id, identity.ticket_reach(session), invoice_id)
    invoice = _there(found)
    try:
        content = page_of(invoice, session.org_id, services.raws.store(), partial(services.begin, session))
    except Gone as error:
        raise Refusal(502, "this page is known, but the blob store has lost it; tell an administrator") from error
    except FieldpostError as error:
        raise Refusal(503, "the blob store does not answer; the server's log has more") from error
    yield invoice, content


@router.get(
    "/invoices/{invoice_id}/pdf",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The page, as a file.", "content": {"application/pdf": {}}},
        502: {"description": "The blob store has lost the page."},
    },
)
async def invoice_pdf(
    ready: Annotated[tuple[Invoice, bytes], Depends(printed, scope="request", max_concurrency=READS)],
) -> Download:
    """Return an invoice as a PDF to keep; the same one whenever it is asked for."""
    invoice, content = ready
    headers = SAFE_HEADERS | {
        "Content-Disposition": disposition(f"{invoice.code}.pdf"),
        "Content-Length": str(len(content)),
    }
    return Download(chunks(content), media_type="application/pdf", headers=headers)


def _there(found: Invoice | None) -> Invoice:
    if found is None:
        raise Refusal(404, "there is no such invoice within your reach", code="INVOICE_NOT_FOUND")
    return found
