"""New tickets by hand and from other systems: made, or taken in blind and found again (contract 000, 1.5 and 1.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection

from models.enums import DispatchPriority, TransitionKind
from models.lifecycle import BEGINNINGS
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Move, Refused, Target
from pipeline.commands.field import MISSING
from pipeline.commands.field_arguments import Cents, Currency, Flag, IncidentType, Line, Name, Percent, Priority, Words
from pipeline.core import intakes
from pipeline.core.field_work import FieldTicket, body
from pipeline.core.intakes import Sureness, Told
from pipeline.core.refusing import Because, Refusal
from pipeline.core.written import plain
from pipeline.runtime import field_rows, intake_rows
from pipeline.runtime.intake_rows import First, Named, NewWork

_NO_CHANNEL = "name a contact_phone or a contact_email: somebody must be reached about it"
_DUPLICATE = "the same was taken in less than {minutes} minutes ago: go on with ticket {ticket}"


class Place(BaseModel):
    """Where the work is to be done."""

    model_config = ConfigDict(extra="forbid")

    account_id: UUID
    site_id: UUID = Field(description="A place of the account.")
    asset_id: UUID | None = Field(default=None, description="What is broken.")
    nte_cents: Cents = Field(default=0, description="Not to exceed; 0 for no limit.")
    currency: Currency = "USD"
    description: Words | None = None


class NewTicket(Place):
    """A matter that needs work."""

    summary: Line
    priority: Priority = DispatchPriority.ROUTINE


class Intake(Place):
    """A matter as somebody told it, with how sure it is who asks and what for."""

    summary: Line
    incident_type: IncidentType
    customer_name: Name
    priority: Priority
    identity_confidence: Percent
    classification_confidence: Percent
    contact_phone: Line | None = Field(default=None, description="7 to 16 digits, in any form.")
    contact_email: Line | None = None
    sop_handoff_acknowledged: Flag = False
    sop_handoff_prompt: Words | None = None

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if self.contact_phone is not None and intakes.phone_digits(self.contact_phone) is None:
            raise ValueError("contact_phone has 7 to 16 digits")
        if self.contact_email is not None and intakes.plain_email(self.contact_email) is None:
            raise ValueError("contact_email has an @ and no space")
        return self


def _lock(connection: Connection, ask: Ask[Any]) -> Locked[Named]:
    """Look up what is named; nothing is there to be locked."""
    asked: Place = ask.arguments
    about = intake_rows.named(
        connection,
        ask.principal.org_id,
        account_id=asked.account_id,
        site_id=asked.site_id,
        asset_id=asked.asset_id,
        incident_type=getattr(asked, "incident_type", None),
        trace_id=ask.trace_id,
    )
    return Locked(str(about.ticket_id), about, 0, is_reached=True, trace_id=about.trace_id)


def is_in_scope(ask: Ask[Any], _about: Named) -> Refusal | None:
    """Refuse places that who asks does not reach, whether there are such or not (contract 000, FORBIDDEN_SCOPE)."""
    scope, asked = ask.principal.scope, ask.arguments
    for name, reached in (("account_id", scope.account_ids), ("site_id", scope.site_ids)):
        if reached is not None and getattr(asked, name) not in reached:
            said = f"this {name.removesuffix('_id')} is out of your reach"
            details = {"scope_field": name, "target_id": str(getattr(asked, name))}
            return Refusal("FORBIDDEN_SCOPE", said, Because.FORBIDDEN, details)
    return None


def place_exists(ask: Ask[Any], about: Named) -> Refusal | None:
    """Refuse accounts, sites and assets that the organization does not have, and a site of another account."""
    asked = ask.arguments
    if not about.is_account:
        return _invalid("account_id", "your organization has no such account")
    if about.site_account_id is None:
        return _invalid("site_id", "your organization has no such site")
    if about.site_account_id != asked.account_id:
        return _invalid("site_id", "the site belongs to another account")
    if asked.asset_id is not None and not about.is_asset:
        return _invalid("asset_id", "your organization has no such asset")
    return None


def is_reachable(ask: Ask[Intake], _about: Named) -> Refusal | None:
    """Refuse an intake that names no way to reach anybody."""
    asked = ask.arguments
    if asked.contact_phone is None and asked.contact_email is None:
        return Refusal("BLIND_INTAKE_VALIDATION_FAILED", _NO_CHANNEL, Because.MALFORMED)
    return None


def _create(connection: Connection, ask: Ask[NewTicket], about: Named) -> Effect:
    ticket = intake_rows.create(connection, ask.principal.org_id, about, NewWork(**_common(ask.arguments)))
    return _made(connection, ask, "ticket.create", ticket)


def _take_in(connection: Connection, ask: Ask[Intake], about: Named) -> Effect:
    asked, org_id = ask.arguments, ask.principal.org_id
    window = about.policy.intake.duplicate_window
    work = _intake(asked, about)
    assert work.signature is not None
    ticket = intake_rows.create(connection, org_id, about, work)
    if not intake_rows.claim(connection, org_id, about.ticket_id, work.signature, window):
        first = intake_rows.first(connection, ask.principal, work.signature, window)
        raise Refused(_duplicate(first, work.signature, about))
    return _made(connection, ask, "ticket.blind_intake", ticket)


def _common(asked: NewTicket | Intake) -> dict[str, Any]:
    names = (*("account_id", "site_id", "asset_id", "summary", "description"), *("priority", "nte_cents", "currency"))
    return {name: getattr(asked, name) for name in names}


def _intake(asked: Intake, about: Named) -> NewWork:
    phone = None if asked.contact_phone is None else intakes.phone_digits(asked.contact_phone)
    email = None if asked.contact_email is None else intakes.plain_email(asked.contact_email)
    told = Told(asked.account_id, asked.site_id, asked.summary, asked.incident_type, asked.customer_name, phone, email)
    sure = Sureness(
        asked.identity_confidence,
        asked.classification_confidence,
        is_sop_required=True,
        is_sop_acknowledged=asked.sop_handoff_acknowledged,
    )
    return NewWork(
        **_common(asked),
        state=intakes.state_of(sure, about.policy.intake),
        incident_type=asked.incident_type,
        customer_name=asked.customer_name,
        customer_phone=phone,
        customer_email=email,
        signature=intakes.signature(told),
        identity_confidence=asked.identity_confidence,
        classification_confidence=asked.classification_confidence,
        is_sop_required=True,
        is_sop_acknowledged=asked.sop_handoff_acknowledged,
        sop_prompt=asked.sop_handoff_prompt,
    )


def _made(connection: Connection, ask: Ask[Any], name: str, ticket: FieldTicket) -> Effect:
    facts = {
        "state": ticket.state.value,
        "priority": ticket.priority.value,
        "incident_type": ticket.incident_type,
        "nte_cents": ticket.nte_cents,
        "account_id": ticket.account_id,
        "site_id": ticket.site_id,
        "asset_id": ticket.asset_id,
    }
    who = ask.principal
    field_rows.tell(connection, ticket, name, {**facts, "from": None, "to": ticket.state.value}, actor=who.email)
    moves = [Move(None, ticket.state.value)]
    return Effect(body(ticket), status=201, version=ticket.version, moves=moves, details=facts)


def _duplicate(first: First | None, signature: str, about: Named) -> Refusal:
    """Return the refusal that tells where the matter is; contract 000's five fields, and the first ticket whole."""
    minutes = int(about.policy.intake.duplicate_window.total_seconds() // 60)
    details: dict[str, Any] = {"identity_signature": signature, "duplicate_within_minutes": minutes}
    if first is None:  # it was closed between the two looks
        return Refusal("DUPLICATE_INTAKE", "the same was taken in just now; ask again", details=details)
    details |= {
        "duplicate_ticket_id": str(first.ticket_id),
        "duplicate_ticket_state": first.state.value,
        "duplicate_created_at": plain(first.created_at),
    }
    if first.ticket is not None:
        details["ticket"] = body(first.ticket)
    said = _DUPLICATE.format(minutes=minutes, ticket=first.ticket_id)
    return Refusal("DUPLICATE_INTAKE", said, details=details)


def _invalid(name: str, said: str) -> Refusal:
    fields: Mapping[str, str] = {name: said}
    return Refusal("INVALID_REQUEST", said, Because.INVALID, {"fields": fields})


def _begins(name: str) -> dict[str, Any]:
    """Return the columns of a command that makes tickets."""
    beginnings = frozenset(state.value for state in BEGINNINGS[name])
    return {"name": name, "kind": TransitionKind.DISPATCH, "beginnings": beginnings, "needs_key": True}


_NEW_TICKET: Target[Any, Named] = Target("ticket", _lock, MISSING)

CREATE = Command(
    **_begins("ticket.create"),
    about="Makes a ticket for work at a site.",
    arguments=NewTicket,
    permission=Permission.TICKET_CREATE,
    target=_NEW_TICKET,
    effect=_create,
    gates=(is_in_scope, place_exists),
)
BLIND_INTAKE = Command(
    **_begins("ticket.blind_intake"),
    about="Takes in what somebody told; the same again is answered with the first ticket.",
    arguments=Intake,
    permission=Permission.TICKET_CREATE,
    target=_NEW_TICKET,
    effect=_take_in,
    gates=(is_reachable, is_in_scope, place_exists),
)
#: What `pipeline.table` finds here.
COMMANDS = (CREATE, BLIND_INTAKE)
