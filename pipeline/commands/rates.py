"""Commands on an organization's rates: what an hour, the way and a visit cost, for whom and for which work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.billing_arguments import Nothing, RateWish
from pipeline.core.invoicing import Rate
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain, read_id
from pipeline.runtime import rate_rows
from pipeline.runtime.rate_rows import MOST_RATES, ListedRate

_PART_ONLY = Refusal("FORBIDDEN", "this is for people who reach the whole organization", Because.FORBIDDEN)
_NO_RATE = Refusal("RATE_NOT_FOUND", "your organization has no such rate", Because.MISSING)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rate would go, as its gates need it."""

    is_account: bool
    is_room: bool


def body_of(listed: ListedRate) -> dict[str, Any]:
    """Return a rate as it is answered; the percent as text, so that no digit of it is lost."""
    rate = listed.rate
    return {
        "id": str(listed.rate_id),
        "account_id": None if rate.account_id is None else str(rate.account_id),
        "account": listed.account,
        "incident_type": rate.incident_type,
        "currency": rate.currency,
        "labor_hour_cents": rate.labor_hour_cents,
        "travel_hour_cents": rate.travel_hour_cents,
        "callout_cents": rate.callout_cents,
        "step_minutes": rate.step_minutes,
        "least_minutes": rate.least_minutes,
        "tax_percent": str(rate.tax_percent),
        "created_at": plain(listed.created_at),
    }


def _organization(connection: Connection, ask: Ask[RateWish]) -> Locked[Place]:
    org_id, wish = ask.principal.org_id, ask.arguments
    is_account = wish.account_id is None or rate_rows.is_account(connection, org_id, wish.account_id)
    place = Place(is_account, rate_rows.is_room(connection, org_id, wish.rate()))
    return Locked(str(org_id), place, 0, ask.principal.scope.is_whole)


def _one(connection: Connection, ask: Ask[Any]) -> Locked[ListedRate] | None:
    rate_id = read_id(ask.target or "")
    found = None if rate_id is None else rate_rows.lock(connection, ask.principal.org_id, rate_id)
    return None if found is None else Locked(str(found.rate_id), found, 0, ask.principal.scope.is_whole)


def _account_exists(_ask: Ask[RateWish], place: Place) -> Refusal | None:
    if place.is_account:
        return None
    return Refusal("UNKNOWN_ACCOUNT", "your organization has no such account", Because.INVALID)


def _is_room(_ask: Ask[RateWish], place: Place) -> Refusal | None:
    if place.is_room:
        return None
    return Refusal("TOO_MANY_RATES", f"an organization has at most {MOST_RATES} rates; take one away first")


def _put(connection: Connection, ask: Ask[RateWish], _: Place) -> Effect:
    rate = ask.arguments.rate()
    put = rate_rows.put(connection, ask.principal.org_id, rate)
    return Effect(body_of(put), details={"rate_id": put.rate_id, **_told(rate)})


def _remove(connection: Connection, _ask: Ask[Nothing], listed: ListedRate) -> Effect:
    rate_rows.remove(connection, listed.rate_id)
    return Effect(body_of(listed), details=_told(listed.rate))


def _told(rate: Rate) -> dict[str, Any]:
    """Return all of a rate, as the audit trail keeps it."""
    whole = ("labor_hour_cents", "travel_hour_cents", "callout_cents", "step_minutes", "least_minutes")
    return {
        "account_id": rate.account_id,
        "incident_type": rate.incident_type,
        "currency_code": rate.currency,
        **{name: getattr(rate, name) for name in whole},
        "tax_thousandths": int(rate.tax_percent * 1000),
    }


PUT_RATE = Command(
    name="rates.set",
    about="Sets what work costs: of the organization, of an account, of an incident type, or of one for the other.",
    arguments=RateWish,
    permission=Permission.RATES_CHANGE,
    target=Target("organization", _organization, _PART_ONLY, unreached=_PART_ONLY),
    effect=_put,
    gates=(_account_exists, _is_room),
)
REMOVE_RATE = Command(
    name="rates.remove",
    about="Takes a rate away; the next more general one holds. Invoices stay as they are.",
    arguments=Nothing,
    permission=Permission.RATES_CHANGE,
    target=Target("rate", _one, _NO_RATE, unreached=_PART_ONLY),
    effect=_remove,
)
#: What `pipeline.table` finds here.
COMMANDS = (PUT_RATE, REMOVE_RATE)
