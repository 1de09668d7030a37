"""The bill of a ticket: its invoice, once the work is proved, and a higher limit where it costs more than agreed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from models.enums import ApprovalKind, DispatchState
from models.permissions import Permission
from models.queries import invoices
from models.queries.scoping import EVERYTHING
from pipeline.command import Ask, Command, Effect
from pipeline.commands.billing_arguments import IncreaseWish, InvoiceWish
from pipeline.commands.field import changed, lifecycle, not_merged, ticket_target
from pipeline.core.field_work import FieldTicket
from pipeline.core.invoicing import Bill, bill, holding, within, written_off
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import approval_rows, billing_rows, completion_rows, rate_rows, time_rows, work_item_rows

#: East of here the day is a later one already.
_AHEAD = timedelta(days=1)
_YEAR = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What a ticket costs, None without a rate; and why it may not be billed yet, if so."""

    whole: Bill | None
    currencies: tuple[str, ...]
    is_time_going: bool
    proof_refusal: Refusal | None


def _look(connection: Connection, _ask: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    if ticket.state is not DispatchState.VERIFIED:
        return {}
    rates = rate_rows.fitting(connection, ticket.org_id, ticket.account_id, ticket.incident_type)
    rate = holding(rates, ticket.account_id, ticket.incident_type, ticket.currency)
    found = Reckoned(
        whole=None if rate is None else bill(rate, work_item_rows.work_of(connection, ticket)),
        currencies=tuple(sorted({one.currency for one in rates})),
        is_time_going=time_rows.runs(connection, ticket),
        proof_refusal=completion_rows.closeout_problem(connection, ticket),
    )
    return {"reckoned": found}


def _proof_is_whole(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    return _reckoned(ticket).proof_refusal


def _time_has_ended(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    if not _reckoned(ticket).is_time_going:
        return None
    return Refusal("TIME_GOES_ON", "somebody's time on this ticket has not ended; reopen it and complete it again")


def _has_rate(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    found = _reckoned(ticket)
    if found.whole is not None:
        return None
    others = f" (there are some in {', '.join(found.currencies)})" if found.currencies else ""
    said = f"no rate in {ticket.currency} holds for this ticket{others}; set one with PUT /billing/rates"
    details = {
        "currency": ticket.currency,
        "account_id": ticket.account_id and str(ticket.account_id),
        "incident_type": ticket.incident_type,
        "currencies": list(found.currencies),
    }
    return Refusal("INVOICE_RATE_MISSING", said, details=details)


def _day_is_plausible(ask: Ask[InvoiceWish], ticket: FieldTicket) -> Refusal | None:
    day = ask.arguments.issued_on
    if day is None or (ticket.now - _YEAR).date() <= day <= (ticket.now + _AHEAD).date():
        return None
    return Refusal("INVALID_REQUEST", "issued_on is a day of the last year, and not in the future", Because.INVALID)


def _costs_something(ask: Ask[InvoiceWish], ticket: FieldTicket) -> Refusal | None:
    wish = ask.arguments
    if _whole(ticket).total_cents or (wish.write_off and wish.reason):
        return None
    said = "there is nothing to bill: add time or parts, close the ticket instead, or send write_off with a reason"
    return Refusal("INVOICE_EMPTY", said)


def _keeps_limit(ask: Ask[InvoiceWish], ticket: FieldTicket) -> Refusal | None:
    over = _whole(ticket).over(ticket.nte_cents)
    if not over or ask.arguments.write_off:
        return None
    said = "it costs more than the agreed limit: ask for a higher one (billing/request-increase), or send write_off"
    return Refusal("INVOICE_EXCEEDS_LIMIT", said, details=_limit_facts(ticket, over))


def _exceeds_limit(_ask: Ask[IncreaseWish], ticket: FieldTicket) -> Refusal | None:
    whole = _whole(ticket)
    if whole.over(ticket.nte_cents):
        return None
    said = "the work costs no more than the agreed limit; issue the invoice"
    return Refusal("INVOICE_WITHIN_LIMIT", said, details=_limit_facts(ticket, 0))


def _limit_facts(ticket: FieldTicket, over: int) -> dict[str, Any]:
    return {
        "limit_cents": ticket.nte_cents,
        "total_cents": _whole(ticket).total_cents,
        "over_cents": over,
        "currency": ticket.currency,
    }


def _generate(connection: Connection, ask: Ask[InvoiceWish], ticket: FieldTicket) -> Effect:
    wish = ask.arguments
    asked_for = _asked_for(_whole(ticket), wish, ticket.nte_cents)
    issued_on: date = wish.issued_on or ticket.now.date()
    invoice_id = billing_rows.add_invoice(connection, ticket, asked_for, issued_on=issued_on, by=ask.principal.actor_id)
    invoice = invoices.one(connection, ticket.org_id, EVERYTHING, invoice_id)
    assert invoice is not None
    facts = {
        "invoice_id": invoice_id,
        "invoice_code": invoice.code,
        "number": invoice.number,
        "currency_code": invoice.currency,
        "total_cents": invoice.total_cents,
        "written_off_cents": asked_for.written_off_cents,
    }
    return changed(
        connection,
        ask,
        ticket,
        "billing.generate_invoice",
        path=[DispatchState.INVOICED],
        details=facts | ({"reason": wish.reason} if wish.reason else {}),
        more={"invoice": billing_rows.body(invoice)},
    )


def _asked_for(whole: Bill, wish: InvoiceWish, limit_cents: int) -> Bill:
    """Return what is asked for in the end; a reason stands on the line that takes something off."""
    if not wish.write_off:
        return whole
    if not whole.total_cents and wish.reason:
        return written_off(whole, whole.subtotal_cents, wish.reason)
    why = f"Written off above the agreed limit{': ' + wish.reason if wish.reason else ''}"
    return within(whole, limit_cents, why)


def _request_increase(connection: Connection, ask: Ask[IncreaseWish], ticket: FieldTicket) -> Effect:
    over = _whole(ticket).over(ticket.nte_cents)
    wish = approval_rows.Wish(
        ApprovalKind.NTE_INCREASE,
        "billing.request_increase",
        DispatchState.VERIFIED,
        ask.arguments.reason,
        amount_delta_cents=over,
    )
    approval = approval_rows.ask_for(connection, ticket, wish, ask.principal)
    facts = {"approval_id": approval.approval_id, "approval_type": approval.kind.value, "amount_delta_cents": over}
    effect = changed(connection, ask, ticket, wish.source, path=[DispatchState.APPROVAL_REQUIRED], details=facts)
    return replace(effect, body={"ticket": effect.body, "approval": approval_rows.body(approval)})


def _reckoned(ticket: FieldTicket) -> Reckoned:
    found: Reckoned = ticket.known["reckoned"]
    return found


def _whole(ticket: FieldTicket) -> Bill:
    whole = _reckoned(ticket).whole
    assert whole is not None, "a gate before asks for the rate"
    return whole


TICKET_BILL = ticket_target(_look)
GENERATE_INVOICE = Command(
    **lifecycle("billing.generate_invoice"),
    about="Issues a ticket's one invoice under the organization's next number.",
    arguments=InvoiceWish,
    permission=Permission.GENERATE_INVOICE,
    target=TICKET_BILL,
    effect=_generate,
    gates=(not_merged, _proof_is_whole, _time_has_ended, _day_is_plausible, _has_rate, _costs_something, _keeps_limit),
)
REQUEST_INCREASE = Command(
    **lifecycle("billing.request_increase"),
    about="Asks for a limit as high as what the work costs.",
    arguments=IncreaseWish,
    permission=Permission.GENERATE_INVOICE,
    target=TICKET_BILL,
    effect=_request_increase,
    gates=(not_merged, _proof_is_whole, _time_has_ended, _has_rate, _exceeds_limit),
)
#: What `pipeline.table` finds here.
COMMANDS = (GENERATE_INVOICE, REQUEST_INCREASE)
