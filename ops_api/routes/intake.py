"""New tickets by hand and from other systems (contract 000)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.field_answers import FieldTicketAnswer
from ops_api.guard import GuardedRoute
from pipeline.commands import intake

router = APIRouter(route_class=GuardedRoute, tags=["field work"])


@router.post("/tickets", status_code=201, response_model=FieldTicketAnswer)
def create(call: Calling, asked: intake.NewTicket) -> Response:
    """Make a ticket for work at a site."""
    return call.run(intake.CREATE, None, asked)


@router.post("/tickets/intake", status_code=201, response_model=FieldTicketAnswer)
def take_in(call: Calling, asked: intake.Intake) -> Response:
    """Take in what somebody told, with how sure it is. The same again within the window is 409 with the first one."""
    return call.run(intake.BLIND_INTAKE, None, asked)
