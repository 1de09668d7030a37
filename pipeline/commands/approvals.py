"""Approvals: asked for from the field, and decided by somebody else (contract 000, 1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Connection

from models.enums import ApprovalKind, ApprovalState, DispatchState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.field import TICKET, by_assignee, changed, lifecycle, not_merged, ticket_target
from pipeline.commands.field_arguments import EvidenceRef, FlooredCents, Reason, upper
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import approval_rows, field_endings, time_rows
from pipeline.runtime.approval_rows import Approval, Wish
from pipeline.runtime.jobs import Emit

_S = DispatchState
#: Where an approval may lead back to.
_RETURNS = frozenset({_S.READY_TO_SCHEDULE, _S.IN_PROGRESS, _S.VERIFIED})
_UPPER = BeforeValidator(upper)


class ChangeRequest(BaseModel):
    """What the work needs more than was agreed."""

    model_config = ConfigDict(extra="forbid")

    approval_type: Annotated[ApprovalKind, _UPPER]
    reason: Reason
    amount_delta_cents: FlooredCents | None = Field(default=None, description="By how much the limit is to rise.")
    evidence_refs: list[EvidenceRef] = Field(default=[], max_length=100)


class Decision(BaseModel):
    """What is decided on an approval."""

    model_config = ConfigDict(extra="forbid")

    approval_id: UUID
    decision: Annotated[Literal["APPROVED", "DENIED"], _UPPER]
    notes: Reason | None = None
    denied_to: Annotated[Literal["IN_PROGRESS"], _UPPER] | None = Field(
        default=None, description="Somebody on site goes on within the old limit."
    )


def _look(connection: Connection, ask: Ask[Decision], ticket: FieldTicket) -> Mapping[str, Any]:
    return {"approval": approval_rows.find(connection, ticket, ask.arguments.approval_id)}


def is_pending(_ask: Ask[Decision], ticket: FieldTicket) -> Refusal | None:
    """Refuse an approval that the ticket does not have, and one that was decided."""
    approval: Approval | None = ticket.known["approval"]
    if approval is None:
        return Refusal("APPROVAL_NOT_FOUND", "this ticket has no such approval", Because.MISSING)
    if approval.state is not ApprovalState.PENDING:
        said = f"this approval is {approval.state.value} already"
        return Refusal("APPROVAL_NOT_PENDING", said, details={"status": approval.state.value})
    return None


def by_another(ask: Ask[Decision], ticket: FieldTicket) -> Refusal | None:
    """Refuse who asked for it: nobody decides their own."""
    approval, who = ticket.known["approval"], ask.principal
    is_own = approval.requested_by == who.actor_id or (
        approval.requested_by_id is not None and approval.requested_by_id == who.person_id
    )
    return (
        Refusal("SELF_APPROVAL", "somebody else must decide what you asked for", Because.FORBIDDEN) if is_own else None
    )


def leads_somewhere(ask: Ask[Decision], ticket: FieldTicket) -> Refusal | None:
    """Refuse an approval that leads nowhere, and to go on where nobody is on site."""
    asked, back = ask.arguments, ticket.known["approval"].return_state
    if asked.decision == "APPROVED" and back not in _RETURNS:
        said = f"an approval cannot lead to {back.value}"
        return Refusal("INVALID_APPROVAL_TARGET_STATE", said, details={"return_state": back.value})
    if asked.denied_to is not None and (asked.decision != "DENIED" or back is not _S.IN_PROGRESS):
        said = "denied_to goes with a denial of what was asked for from the field alone"
        return Refusal("INVALID_REQUEST", said, Because.INVALID, {"fields": {"denied_to": said}})
    return None


def _request(connection: Connection, ask: Ask[ChangeRequest], ticket: FieldTicket) -> Effect:
    asked, name = ask.arguments, "tech.request_change"
    refs = tuple(asked.evidence_refs)
    wish = Wish(asked.approval_type, name, _S.IN_PROGRESS, asked.reason, asked.amount_delta_cents, refs)
    approval = approval_rows.ask_for(connection, ticket, wish, ask.principal)
    # It may take days until somebody decides: `tech.start_rework` lets the time run again.
    time_rows.end(connection, ticket, ticket.now)
    details = {
        "approval_id": approval.approval_id,
        "approval_type": approval.kind.value,
        "amount_delta_cents": approval.amount_delta_cents,
        "reason": approval.reason,
    }
    effect = changed(connection, ask, ticket, name, path=[_S.APPROVAL_REQUIRED], details=details)
    return replace(effect, body={"ticket": effect.body, "approval": approval_rows.body(approval)})


def _decide(connection: Connection, ask: Ask[Decision], ticket: FieldTicket) -> Effect:
    asked, approval = ask.arguments, ticket.known["approval"]
    decided = approval_rows.decide(connection, approval, ApprovalState(asked.decision), ask.principal, asked.notes)
    is_approved = decided.state is ApprovalState.APPROVED
    to = approval.return_state if is_approved else _denied_to(asked, approval)
    changes: dict[str, Any] = _raised(ticket, approval) if is_approved else {}
    jobs: list[Emit] = []
    if to is _S.TRIAGED and approval.return_state is _S.IN_PROGRESS:
        # Who is on site with nothing to do there is called back.
        jobs = field_endings.call_back(connection, ticket, because="approval denied")
        changes = dict.fromkeys(field_endings.UNASSIGNED)
    details = {
        "approval_id": approval.approval_id,
        "approval_type": approval.kind.value,
        "decision": decided.state.value,
        "reason": asked.notes,
        "amount_delta_cents": approval.amount_delta_cents,
        "nte_cents": changes.get("nte_cents", ticket.nte_cents),
    }
    return changed(
        connection,
        ask,
        ticket,
        "approval.decide",
        changes,
        path=[to],
        details=details,
        more={"approval": approval_rows.body(decided)},
        jobs=jobs,
    )


def _denied_to(asked: Decision, approval: Approval) -> DispatchState:
    """Return where a denial leads: finished work stays finished, what was asked on site goes back or on."""
    if approval.return_state is _S.VERIFIED:
        return _S.VERIFIED
    return _S.TRIAGED if asked.denied_to is None else _S.IN_PROGRESS


def _raised(ticket: FieldTicket, approval: Approval) -> dict[str, Any]:
    """Return the limit as it is raised; where there is none, none comes."""
    delta = approval.amount_delta_cents
    if approval.kind is not ApprovalKind.NTE_INCREASE or not delta or not ticket.nte_cents:
        return {}
    return {"nte_cents": ticket.nte_cents + delta}


REQUEST_CHANGE = Command(
    **lifecycle("tech.request_change"),
    about="Asks from the field for more than was agreed.",
    arguments=ChangeRequest,
    permission=Permission.TECH_REQUEST_CHANGE,
    target=TICKET,
    effect=_request,
    gates=(not_merged, by_assignee),
)
DECIDE = Command(
    **lifecycle("approval.decide"),
    about="Approves or denies what somebody else asked for.",
    arguments=Decision,
    permission=Permission.APPROVAL_DECIDE,
    target=ticket_target(_look),
    effect=_decide,
    gates=(not_merged, is_pending, by_another, leads_somewhere),
)
#: What `pipeline.table` finds here.
COMMANDS = (REQUEST_CHANGE, DECIDE)
