"""Triage of field work: what kind of trouble it is, how soon, up to which price; and asking back (contract 000)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from sqlalchemy import Connection, text

from models.enums import ActorKind, ApprovalKind, DispatchState
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect
from pipeline.commands.field import changed, lifecycle, not_merged, ticket_target
from pipeline.commands.field_arguments import Cents, Flag, FlooredCents, IncidentType, Percent, Priority, Reason, upper
from pipeline.core import intakes
from pipeline.core.field_work import TICKET_PRIORITY, FieldTicket
from pipeline.core.intakes import Sureness
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import approval_rows, clocks, intake_rows, mail_work
from pipeline.runtime.approval_rows import Wish

_S = DispatchState
_GUARDED = frozenset({_S.READY_TO_SCHEDULE, _S.APPROVAL_REQUIRED})
#: Triaged, and not completed yet. Work that a mail began comes here without a kind.
_UNDER_WAY = frozenset(
    state.value
    for state in (
        *(_S.TRIAGED, _S.APPROVAL_REQUIRED, _S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED, _S.SCHEDULED),
        *(_S.PENDING_CUSTOMER_CONFIRMATION, _S.DISPATCHED, _S.ON_SITE, _S.IN_PROGRESS, _S.ON_HOLD),
    )
)
_NEEDS_APPROVAL = "TRIAGE_REQUIRES_APPROVAL"
_NO_TEMPLATE = "there is no template for this incident type: its work cannot be completed until there is one"
_PRIORITY = text("""
    UPDATE tickets SET priority = :priority, decided_at = coalesce(decided_at, now()) WHERE id = :ticket
""")
Outcome = Annotated[
    Literal["TRIAGED", "READY_TO_SCHEDULE", "APPROVAL_REQUIRED"],
    BeforeValidator(upper),
]


class Triage(BaseModel):
    """What is known of a matter now."""

    model_config = ConfigDict(extra="forbid")

    priority: Priority
    incident_type: IncidentType
    nte_cents: Cents | None = Field(default=None, description="Not to exceed; 0 for no limit.")
    workflow_outcome: Outcome | None = None
    requires_approval: Flag = False
    ready_to_schedule: Flag = False
    approval_reason: Reason | None = None
    approval_amount_delta_cents: FlooredCents | None = None
    sop_handoff_acknowledged: Flag = False
    identity_confidence: Percent | None = Field(default=None, description="As a person has verified it.")
    classification_confidence: Percent | None = Field(default=None, description="As a person has verified it.")
    confidence_reason: Reason | None = Field(default=None, description="How it was verified.")

    @model_validator(mode="after")
    def _says_how(self) -> Self:
        if self.is_verified and self.confidence_reason is None:
            raise ValueError("confidence_reason says how the confidence was verified")
        return self

    @property
    def is_verified(self) -> bool:
        """True when a confidence is said anew."""
        return self.identity_confidence is not None or self.classification_confidence is not None

    @property
    def outcome(self) -> DispatchState:
        """The state that it leads to."""
        if self.workflow_outcome is not None:
            return _S(self.workflow_outcome)
        if self.requires_approval:
            return _S.APPROVAL_REQUIRED
        return _S.READY_TO_SCHEDULE if self.ready_to_schedule else _S.TRIAGED


class Classification(BaseModel):
    """What kind of trouble it turned out to be."""

    model_config = ConfigDict(extra="forbid")

    incident_type: IncidentType
    reason: Reason | None = None


class Question(BaseModel):
    """What the customer is asked."""

    model_config = ConfigDict(extra="forbid")

    question: Reason


def _look(connection: Connection, ask: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    found: UUID | None = intake_rows.template(connection, ticket.org_id, ask.arguments.incident_type)
    return {"template_id": found, "policy": intake_rows.policy(connection, ticket.org_id).intake}


def leads_on(ask: Ask[Triage], ticket: FieldTicket) -> Refusal | None:
    """Refuse what changes no state: TRIAGED again, and a mail's work that was triaged before."""
    wanted = ask.arguments.outcome
    if ticket.state is not wanted or (wanted is _S.READY_TO_SCHEDULE and ticket.incident_type is None):
        return None
    details = {"from_state": ticket.state.value, "to_state": wanted.value}
    said = f"ticket.triage is not possible from {ticket.state.value} to {wanted.value}"
    return Refusal("INVALID_STATE_TRANSITION", said, details=details)


def by_a_person(ask: Ask[Triage], _ticket: FieldTicket) -> Refusal | None:
    """Refuse a machine that says how sure a person is."""
    if ask.arguments.is_verified and ask.principal.actor_kind is not ActorKind.HUMAN:
        return Refusal("FORBIDDEN", "only a person may say that a confidence was verified", Because.FORBIDDEN)
    return None


def is_sure(ask: Ask[Triage], ticket: FieldTicket) -> Refusal | None:
    """Refuse to plan, or to have approved, what is not sure yet (contract 000, 1.8)."""
    if ask.arguments.outcome not in _GUARDED:
        return None
    return intakes.unsure(_sureness(ask.arguments, ticket), ticket.known["policy"])


def _sureness(asked: Triage, ticket: FieldTicket) -> Sureness:
    identity, kind = asked.identity_confidence, asked.classification_confidence
    return Sureness(
        ticket.identity_confidence if identity is None else identity,
        ticket.classification_confidence if kind is None else kind,
        ticket.is_sop_handoff_required,
        ticket.is_sop_handoff_acknowledged or asked.sop_handoff_acknowledged,
    )


def _triage(connection: Connection, ask: Ask[Triage], ticket: FieldTicket) -> Effect:
    asked, outcome = ask.arguments, ask.arguments.outcome
    if not ticket.has_work:
        mail_work.begin_by_hand(connection, ticket)
    connection.execute(_PRIORITY, {"ticket": ticket.ticket_id, "priority": TICKET_PRIORITY[asked.priority].value})
    more: dict[str, Any] = {}
    details = _details(asked)
    if outcome is _S.APPROVAL_REQUIRED:
        approval = approval_rows.ask_for(connection, ticket, _wish(asked), ask.principal)
        more["approval"] = approval_rows.body(approval)
        details["approval_id"] = approval.approval_id
    if ticket.known["template_id"] is None:
        more["warning"] = _NO_TEMPLATE
    path = [outcome] if ticket.state in (_S.TRIAGED, outcome) else _path(outcome)
    effect = changed(
        connection, ask, ticket, "ticket.triage", _changes(asked, ticket), path=path, details=details, more=more
    )
    # The priority chooses the policy of the desk's clocks.
    clocks.note_status(connection, [ticket.ticket_id])
    return effect


def _path(outcome: DispatchState) -> list[DispatchState]:
    return [_S.TRIAGED] if outcome is _S.TRIAGED else [_S.TRIAGED, outcome]


def _changes(asked: Triage, ticket: FieldTicket) -> dict[str, Any]:
    sure = _sureness(asked, ticket)
    changes: dict[str, Any] = {
        "priority": asked.priority,
        "incident_type": asked.incident_type,
        "template_id": ticket.known["template_id"],
        "identity_confidence": sure.identity,
        "classification_confidence": sure.classification,
        "is_sop_handoff_acknowledged": sure.is_sop_acknowledged,
    }
    if asked.nte_cents is not None:
        changes["nte_cents"] = asked.nte_cents
    return changes


def _wish(asked: Triage) -> Wish:
    reason = asked.approval_reason or _NEEDS_APPROVAL
    kind, back = ApprovalKind.NTE_INCREASE, _S.READY_TO_SCHEDULE
    return Wish(kind, "ticket.triage", back, reason, asked.approval_amount_delta_cents)


def _details(asked: Triage) -> dict[str, Any]:
    details: dict[str, Any] = {
        "outcome": asked.outcome.value,
        "priority": asked.priority.value,
        "incident_type": asked.incident_type,
        "nte_cents": asked.nte_cents,
    }
    if asked.is_verified:
        details["identity_confidence"] = asked.identity_confidence
        details["classification_confidence"] = asked.classification_confidence
        details["reason"] = asked.confidence_reason
    return details


def _request_info(connection: Connection, ask: Ask[Question], ticket: FieldTicket) -> Effect:
    if not ticket.has_work:
        mail_work.begin_by_hand(connection, ticket)
    told = {"question": ask.arguments.question}
    details = {"length": len(ask.arguments.question)}
    return changed(connection, ask, ticket, "ticket.request_info", path=[_S.NEEDS_INFO], details=details, told=told)


def _classify(connection: Connection, ask: Ask[Classification], ticket: FieldTicket) -> Effect:
    asked, template_id = ask.arguments, ticket.known["template_id"]
    changes = {"incident_type": asked.incident_type, "template_id": template_id}
    details = {"before": ticket.incident_type, "after": asked.incident_type, "reason": asked.reason}
    more = {} if template_id else {"warning": _NO_TEMPLATE}
    return changed(connection, ask, ticket, "ticket.classify", changes, details=details, more=more)


TRIAGE = Command(
    **lifecycle("ticket.triage"),
    about="Says what kind of trouble it is, how soon it must be seen to, and what may follow.",
    arguments=Triage,
    permission=Permission.TICKET_TRIAGE,
    target=ticket_target(_look),
    effect=_triage,
    gates=(not_merged, leads_on, by_a_person, is_sure),
    wanted=lambda asked: asked.outcome.value,
)
REQUEST_INFO = Command(
    **lifecycle("ticket.request_info"),
    about="Waits for what the customer must tell before anybody can be sent.",
    arguments=Question,
    permission=Permission.TICKET_TRIAGE,
    target=ticket_target(),
    effect=_request_info,
    gates=(not_merged,),
)
CLASSIFY = Command(
    name="ticket.classify",
    about="Says what kind of trouble it turned out to be; its proof is measured by that from then on.",
    arguments=Classification,
    permission=Permission.TICKET_TRIAGE,
    target=ticket_target(_look),
    effect=_classify,
    gates=(not_merged,),
    from_states=_UNDER_WAY,
    needs_key=True,
)
#: What `pipeline.table` finds here.
COMMANDS = (TRIAGE, REQUEST_INFO, CLASSIFY)
