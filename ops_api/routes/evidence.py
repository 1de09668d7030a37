"""Evidence of a ticket: listed, added, uploaded, withdrawn, waived, and what is missing (contract 000)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from models.queries import evidence as queries
from ops_api.commands import Calling
from ops_api.dependencies import Provided, TicketName, Transaction
from ops_api.evidence_answers import CloseoutAnswer, EvidenceAnswer, EvidenceList, WaivedAnswer
from ops_api.field_tickets import NamedTicket, ReachedTicket
from ops_api.guard import GuardedRoute
from ops_api.uploads import Upload, UploadCalling, Uploaded
from pipeline.commands import evidence
from pipeline.commands.evidence_arguments import (
    AddEvidence,
    EvidenceKey,
    EvidenceWithdrawal,
    Kind,
    NewEvidence,
    UploadEvidence,
    Waiver,
    WithdrawEvidence,
)
from pipeline.runtime import closeout_reading

router = APIRouter(route_class=GuardedRoute, tags=["evidence"])

Cursor = Annotated[str | None, Query(max_length=1024)]
#: Contract 000 lists all at once: what a ticket usually has comes on one page.
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/tickets/{ticket_id}/evidence")
def list_evidence(
    ticket: NamedTicket, connection: Transaction, services: Provided, limit: Limit = 200, cursor: Cursor = None
) -> EvidenceList:
    """Return the evidence of a ticket, oldest first, with what was withdrawn and superseded."""
    bound: dict[str, object] = {"list": "evidence", "ticket": ticket.ticket_id}
    place = services.cursors.read_place(cursor, bound)
    after = UUID(place["id"]) if place else None
    found = queries.page(connection, ticket.ticket_id, limit=limit + 1, after=after)
    page = [EvidenceAnswer.model_validate(evidence.described(row)) for row in found[:limit]]
    is_more = len(found) > limit
    next_cursor = services.cursors.make_place({"id": str(page[-1].id)}, bound) if is_more else None
    return EvidenceList(ticket_id=ticket.ticket_id, evidence=page, next_cursor=next_cursor)


@router.post("/tickets/{ticket_id}/evidence", status_code=201, response_model=EvidenceAnswer)
def add(ticket_id: TicketName, call: Calling, services: Provided, asked: NewEvidence) -> Response:
    """Add a reference into an object store, or a note. 400 says what is wrong with a reference."""
    whole = AddEvidence(**asked.model_dump(), schemes=services.settings.object_store_schemes)
    return call.run(evidence.ADD, ticket_id, whole)


@router.post(
    "/tickets/{ticket_id}/evidence/uploads",
    status_code=201,
    response_model=EvidenceAnswer,
    responses={200: {"model": EvidenceAnswer, "description": "The same file is there already."}},
)
def upload(
    *,
    ticket_id: TicketName,
    _reached: ReachedTicket,
    call: UploadCalling,
    file: Uploaded,
    kind: Annotated[Kind, Query()] = "PHOTO",
    evidence_key: Annotated[EvidenceKey | None, Query()] = None,
    supersedes_id: UUID | None = None,
) -> Response:
    """Add the file that is the body; what a device promised with its hash has come then."""
    named = {"kind": kind, "evidence_key": evidence_key, "supersedes_id": supersedes_id}
    return call.run(evidence.UPLOAD, ticket_id, UploadEvidence.model_validate(_kept(file) | named))


@router.post("/tickets/{ticket_id}/evidence/waive", response_model=WaivedAnswer)
def waive(ticket_id: TicketName, call: Calling, asked: Waiver) -> Response:
    """Do without a promised photo that will not come."""
    return call.run(evidence.WAIVE, ticket_id, asked)


@router.post("/tickets/{ticket_id}/evidence/{evidence_id}/withdraw", response_model=EvidenceAnswer)
def withdraw(ticket_id: TicketName, evidence_id: UUID, call: Calling, asked: EvidenceWithdrawal) -> Response:
    """Let a piece count for nothing any more; it stays for the record."""
    return call.run(evidence.WITHDRAW, ticket_id, WithdrawEvidence(evidence_id=evidence_id, reason=asked.reason))


@router.get("/tickets/{ticket_id}/closeout")
def closeout(ticket: NamedTicket, connection: Transaction, services: Provided) -> CloseoutAnswer:
    """Return what the closing of a ticket still needs, thing by thing."""
    schemes = services.settings.object_store_schemes
    found = closeout_reading.standing(connection, ticket.ticket_id, schemes)
    return CloseoutAnswer.model_validate(found)


def _kept(file: Upload) -> dict[str, object]:
    kept, small, place = file.kept, file.kept.thumbnail, file.kept.position
    return {
        "label": file.label,
        "sha256": kept.sha256,
        "received_sha256": kept.received_sha256,
        "size": kept.size,
        "packed_size": kept.stored.packed_size,
        "content_type": kept.content_type,
        "width": kept.width,
        "height": kept.height,
        "thumbnail_sha256": small.sha256 if small else None,
        "thumbnail_size": small.size if small else 0,
        "thumbnail_packed_size": small.packed_size if small else 0,
        "taken_at": kept.taken_at,
        "position": {"latitude": place.latitude, "longitude": place.longitude} if place else None,
    }
