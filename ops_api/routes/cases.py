"""Cases: lists, one with its history, the questions that wait, and what people do about them (contract 003)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from models.enums import TriageMode
from ops_api import case_pages
from ops_api.case_answers import (
    CaseDetail,
    CaseDispatched,
    CaseEnvelope,
    CaseList,
    CaseName,
    CaseVerified,
    WaitingTasks,
    whole,
)
from ops_api.case_pages import CaseQuery
from ops_api.commands import Calling
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.versions import etag
from pipeline.commands.case_arguments import CaseDispatch, Verification
from pipeline.commands.cases import DISPATCH, VERIFY

router = APIRouter(route_class=GuardedRoute, prefix="/api", tags=["cases"])

Cursor = Annotated[str | None, Query(max_length=2048)]
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/cases")
def list_cases(
    *,
    asked: Annotated[CaseQuery, Query()],
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> CaseEnvelope[CaseList]:
    """Return cases as a mode judges them, the most urgent first. Follow `next_cursor` until it is null."""
    found = case_pages.case_page(connection, session, services.cursors, asked, limit=limit, cursor=cursor)
    return CaseEnvelope[CaseList].model_validate(whole(found))


@router.get("/cases/{case_id}")
def show_case(
    case_id: CaseName,
    session: SignedIn,
    connection: Transaction,
    response: Response,
    mode: TriageMode | None = None,
) -> CaseEnvelope[CaseDetail]:
    """Return a case with what became of it; in the mode that leads unless another is asked for."""
    found = case_pages.case_detail(connection, session, case_id, mode)
    response.headers["ETag"] = etag(found["case"]["version"])
    return CaseEnvelope[CaseDetail].model_validate(whole(found))


@router.get("/verification-tasks")
def list_tasks(
    session: SignedIn, connection: Transaction, services: Provided, limit: Limit = 50, cursor: Cursor = None
) -> CaseEnvelope[WaitingTasks]:
    """Return the questions that wait for an answer, the oldest first. Follow `next_cursor` until it is null."""
    found = case_pages.task_page(connection, session, services.cursors, limit, cursor)
    return CaseEnvelope[WaitingTasks].model_validate(whole(found))


@router.post("/cases/{case_id}/dispatch", response_model=CaseEnvelope[CaseDispatched])
def dispatch_case(case_id: CaseName, call: Calling, asked: CaseDispatch) -> Response:
    """Make the work order of a case, or give it to another team; not while a verification is open."""
    return call.run(DISPATCH, case_id, asked)


@router.post("/cases/{case_id}/verify", response_model=CaseEnvelope[CaseVerified])
def verify_case(case_id: CaseName, call: Calling, asked: Verification) -> Response:
    """Say what was found: the question is answered, and the case and its action follow."""
    return call.run(VERIFY, case_id, asked)
