"""Quality control of tickets of the workshop (contract 002)."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ops_api.commands import Calling
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import Envelope, RepairAnswer, RepairName
from pipeline.commands import quality
from pipeline.commands.quality import QualityCheck

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["workshop"])


@router.post("/tickets/{repair_id}/qc-pass/", response_model=Envelope[RepairAnswer])
def qc_pass(repair_id: RepairName, call: Calling, asked: QualityCheck | None = None) -> Response:
    """Pass the work: it is done, and points are given. Not by anybody who worked on it."""
    return call.run(quality.PASS, repair_id, asked or QualityCheck())


@router.post("/tickets/{repair_id}/qc-fail/", response_model=Envelope[RepairAnswer])
def qc_fail(repair_id: RepairName, call: Calling, asked: QualityCheck | None = None) -> Response:
    """Send the work back to be reworked. Not by anybody who worked on it."""
    return call.run(quality.FAIL, repair_id, asked or QualityCheck())
