"""An organization's rates, for whom and for which work, and the series that its invoices are numbered by."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.billing_answers import RateAnswer, RateAnswers, SeriesAnswer
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import invoice_numbers
from pipeline.commands import rates as commands
from pipeline.commands.billing_arguments import Nothing, RateWish, SeriesWish
from pipeline.runtime import invoice_series, rate_rows

router = APIRouter(route_class=GuardedRoute, tags=["billing"])


@router.get("/billing/rates")
def list_rates(session: SignedIn, connection: Transaction) -> RateAnswers:
    """Return all rates. Of those that fit a ticket an account's comes before an incident type's, both before either."""
    found = rate_rows.listed(connection, session.org_id)
    return RateAnswers(items=[RateAnswer.model_validate(commands.body_of(one)) for one in found])


@router.put("/billing/rates", response_model=RateAnswer)
def set_rate(call: Calling, asked: RateWish) -> Response:
    """Set what holds for an account, an incident type and a currency, in place of what held before."""
    return call.run(commands.PUT_RATE, None, asked)


@router.delete("/billing/rates/{rate_id}", response_model=RateAnswer)
def remove_rate(rate_id: UUID, call: Calling) -> Response:
    """Take a rate away and return what it was; invoices keep the prices that they were made with."""
    return call.run(commands.REMOVE_RATE, str(rate_id), Nothing())


@router.get("/billing/series")
def read_series(session: SignedIn, connection: Transaction) -> SeriesAnswer:
    """Return how the next invoice is numbered."""
    return SeriesAnswer.model_validate(invoice_numbers.body_of(invoice_series.read(connection, session.org_id)))


@router.put("/billing/series", response_model=SeriesAnswer)
def set_series(call: Calling, asked: SeriesWish) -> Response:
    """Set the prefix of invoices to come and, until one was issued, their first number; left out, it stays."""
    return call.run(invoice_numbers.NUMBER_FROM, None, asked)
