"""Triage of what programs report about chargers, in each of the two modes (contract 003)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends
from starlette.responses import Response

from models.enums import TriageMode
from ops_api.case_answers import BaselineRun, CaseEnvelope, CertaintyRun
from ops_api.commands import Caller, Calling
from ops_api.guard import GuardedRoute
from ops_api.large_bodies import Unchecked, checked
from pipeline.commands.case_arguments import Reports, Run
from pipeline.commands.triage_runs import RUN

router = APIRouter(route_class=GuardedRoute, prefix="/api", tags=["cases"])


def _reports(said: Annotated[Any, Body(), Unchecked(Reports)]) -> Reports:
    return checked(Reports, said)


#: Stands before the caller in a signature: while ten thousand reports are checked, no transaction is open.
_Reported = Annotated[Reports, Depends(_reports)]


@router.post("/triage/baseline", response_model=CaseEnvelope[BaselineRun])
def triage_baseline(asked: _Reported, call: Calling) -> Response:
    """Take reports in, and return the cases of their chargers as severity alone judges them."""
    return _run(call, asked, TriageMode.BASELINE)


@router.post("/triage/certainty", response_model=CaseEnvelope[CertaintyRun])
def triage_certainty(asked: _Reported, call: Calling) -> Response:
    """Take reports in, and return the cases of their chargers with how certain they are, and what must be asked."""
    return _run(call, asked, TriageMode.CERTAINTY)


def _run(call: Caller, asked: Reports, mode: TriageMode) -> Response:
    # They were checked as they came in.
    return call.run(RUN, None, Run.model_construct(signals=asked.signals, mode=mode))
