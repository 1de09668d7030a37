"""The command on the series that an organization's invoices are numbered by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.billing_arguments import SeriesWish
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import invoice_series
from pipeline.runtime.invoice_series import Series

_PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)


def body_of(series: Series) -> dict[str, Any]:
    """Return a series as it is answered."""
    return {
        "prefix": series.prefix,
        "next_number": series.next_number,
        "next_code": series.next_code,
        "is_begun": series.is_begun,
    }


def _series(connection: Connection, ask: Ask[SeriesWish]) -> Locked[Series]:
    org_id = ask.principal.org_id
    return Locked(str(org_id), invoice_series.lock(connection, org_id), 0, ask.principal.scope.is_whole)


def _says_something(ask: Ask[SeriesWish], _: Series) -> Refusal | None:
    if ask.arguments.prefix is not None or ask.arguments.next_number is not None:
        return None
    return Refusal("INVALID_REQUEST", "say prefix, next_number or both", Because.INVALID)


def _leaves_no_gap(ask: Ask[SeriesWish], series: Series) -> Refusal | None:
    if not series.is_begun or ask.arguments.next_number in (None, series.next_number):
        return None
    said = "an invoice was issued, and its number is followed by the next one: only the prefix may change"
    return Refusal("SERIES_BEGUN", said, details={"next_number": series.next_number})


def _number_from(connection: Connection, ask: Ask[SeriesWish], series: Series) -> Effect:
    wish = ask.arguments
    after = replace(
        series,
        prefix=series.prefix if wish.prefix is None else wish.prefix,
        next_number=series.next_number if wish.next_number is None else wish.next_number,
    )
    invoice_series.put(connection, ask.principal.org_id, after)
    return Effect(body_of(after), details={**_recorded(after), "before": _recorded(series)})


def _recorded(series: Series) -> dict[str, Any]:
    """Return a series as the audit trail keeps it: a whole code of digits might be a telephone number."""
    return {"prefix_code": series.prefix, "next_number": series.next_number}


NUMBER_FROM = Command(
    name="invoices.number_from",
    about="Sets the prefix of the invoices to come and, until one was issued, their first number.",
    arguments=SeriesWish,
    permission=Permission.RATES_CHANGE,
    target=Target("organization", _series, _PART_ONLY, unreached=_PART_ONLY),
    effect=_number_from,
    gates=(_says_something, _leaves_no_gap),
)
#: What `pipeline.table` finds here.
COMMANDS = (NUMBER_FROM,)
