"""What people do to tickets of the workshop before and beside the work on them (contract 002)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import Envelope, RepairAnswer, RepairName
from pipeline.commands import workshop
from pipeline.commands.workshop_arguments import Cancelling, ManualMetrics, NewRepair, Nothing, RepairAssignment

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["workshop"])

_TICKET = "/tickets/{repair_id}"


@router.post("/tickets/create/", status_code=201, response_model=Envelope[RepairAnswer])
def create(call: Calling, asked: NewRepair) -> Response:
    """Take a thing in, known by its serial number or made known; the ticket waits for its review."""
    return call.run(workshop.CREATE, None, asked)


@router.post(f"{_TICKET}/review-approve/", response_model=Envelope[RepairAnswer])
def approve_review(repair_id: RepairName, call: Calling) -> Response:
    """Approve what it takes; not by who took it in. A second approval changes nothing."""
    return call.run(workshop.REVIEW, repair_id, Nothing())


@router.post(f"{_TICKET}/manual-metrics/", response_model=Envelope[RepairAnswer])
def set_metrics(repair_id: RepairName, call: Calling, asked: ManualMetrics) -> Response:
    """Set colour and points by hand; the review is approved with that, if it was not yet."""
    return call.run(workshop.SET_METRICS, repair_id, asked)


@router.post(f"{_TICKET}/assign/", response_model=Envelope[RepairAnswer])
def assign(repair_id: RepairName, call: Calling, asked: RepairAssignment) -> Response:
    """Give it to a technician; only after its review, and again before it is begun."""
    return call.run(workshop.ASSIGN, repair_id, asked)


@router.post(f"{_TICKET}/cancel/", response_model=Envelope[RepairAnswer])
def cancel(repair_id: RepairName, call: Calling, asked: Cancelling) -> Response:
    """Give it up with a reason; an open work session is stopped, and the thing is ready again."""
    return call.run(workshop.CANCEL, repair_id, asked)
