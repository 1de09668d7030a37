"""New tickets in the database, made by a request: the row on the desk, its field work, its clocks, its intake."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models import row_security
from models.enums import DispatchPriority, DispatchState, TicketStatus
from pipeline.core import ticket_codes
from pipeline.core.field_work import DUE_SOON, TICKET_PRIORITY, FieldTicket, due_at, is_in_queue
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.principals import Principal
from pipeline.core.service_levels import Facts
from pipeline.core.text import subject_norm
from pipeline.runtime import clocks, field_rows, identity, template_rows
from pipeline.runtime.clocks import Start

_NEW = text("""
    SELECT uuidv7() AS ticket_id,
           EXISTS (SELECT FROM accounts WHERE org_id = :org AND id = :account) AS is_account,
           (SELECT account_id FROM sites WHERE org_id = :org AND id = :site) AS site_account_id,
           EXISTS (SELECT FROM assets WHERE org_id = :org AND id = :asset) AS is_asset
""")
_POLICY = text("SELECT policy FROM organizations WHERE id = :org")
#: A person or another system has decided on it from the start: no rule of routing does.
_TICKET = text("""
    INSERT INTO tickets (id, org_id, code, dispatch_state, priority, subject, subject_norm, requester_email,
                         requester_name, account_id, site_id, first_message_at, last_message_at, last_activity_at,
                         routed_at, decided_at)
    VALUES (:ticket, :org, :code, :state, :priority, :summary, :norm, :email, :name, :account, :site, now(), now(),
            now(), now(), now())
    RETURNING created_at
""")
_WORK = text("""
    INSERT INTO dispatches (ticket_id, org_id, asset_id, incident_type, template_id, description, priority, nte_cents,
                            currency, due_at, due_soon_at, queue_due_at, customer_name, customer_phone, customer_email,
                            identity_signature, identity_confidence, classification_confidence,
                            is_sop_handoff_required, is_sop_handoff_acknowledged, sop_handoff_prompt, trace_id)
    VALUES (:ticket, :org, :asset, :incident_type, :template, :description, :priority, :nte_cents, :currency, :due_at,
            :due_soon_at, :queue_due_at, :customer_name, :customer_phone, :customer_email, :signature,
            :identity_confidence, :classification_confidence, :is_sop_required, :is_sop_acknowledged, :sop_prompt,
            :trace)
""")
_TIMES = text("""
    UPDATE tickets SET response_due_at = :response, resolution_due_at = :resolution, sla_due_at = :sla
     WHERE id = :ticket
""")
#: Waits for an equal one under way, and is refused by it.
_INTAKE = text("""
    INSERT INTO intakes (ticket_id, org_id, signature, during)
    VALUES (:ticket, :org, :signature, tstzrange(now(), now() + CAST(:window AS interval)))
    ON CONFLICT DO NOTHING RETURNING ticket_id
""")
_FIRST = """
    SELECT t.id, t.dispatch_state, t.created_at, ({reached}) AS is_reached
      FROM intakes i JOIN tickets o ON o.id = i.ticket_id JOIN tickets t ON t.id = coalesce(o.merged_into, o.id)
     WHERE i.org_id = :org AND t.org_id = :org AND i.signature = :signature AND i.is_open
       AND i.during && tstzrange(now(), now() + CAST(:window AS interval))
     ORDER BY lower(i.during) LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Named:
    """A ticket that is about to be made: its id, and what the organization has of what the request names."""

    ticket_id: UUID
    trace_id: str
    is_account: bool
    #: The account that the site belongs to; None for a site that there is not.
    site_account_id: UUID | None
    is_asset: bool
    policy: OrganizationPolicy
    template_id: UUID | None


@dataclass(frozen=True, slots=True)
class NewWork:
    """What a new ticket says."""

    account_id: UUID
    site_id: UUID
    summary: str
    state: DispatchState = DispatchState.NEW
    asset_id: UUID | None = None
    description: str | None = None
    priority: DispatchPriority = DispatchPriority.ROUTINE
    nte_cents: int = 0
    currency: str = "USD"
    incident_type: str | None = None
    customer_name: str | None = None
    customer_phone: str | None = None
    customer_email: str | None = None
    signature: str | None = None
    identity_confidence: int | None = None
    classification_confidence: int | None = None
    is_sop_required: bool = False
    is_sop_acknowledged: bool = False
    sop_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class First:
    """The ticket of the first intake of a matter; `ticket` is None when it is out of reach of who asks."""

    ticket_id: UUID
    state: DispatchState
    created_at: Any
    ticket: FieldTicket | None


def named(
    connection: Connection,
    org_id: UUID,
    *,
    account_id: UUID,
    site_id: UUID,
    asset_id: UUID | None,
    incident_type: str | None,
    trace_id: str | None,
) -> Named:
    """Look up what a request for a new ticket names; a request without a trace begins one."""
    values = {"org": org_id, "account": account_id, "site": site_id, "asset": asset_id}
    row = connection.execute(_NEW, values).one()
    trace, template_id = trace_id or secrets.token_hex(16), template(connection, org_id, incident_type)
    known = (row.is_account, row.site_account_id, row.is_asset)
    return Named(row.ticket_id, trace, *known, policy(connection, org_id), template_id)


def policy(connection: Connection, org_id: UUID) -> OrganizationPolicy:
    """Return the organization's policy in force."""
    return OrganizationPolicy.read(connection.execute(_POLICY, {"org": org_id}).scalar_one())


def template(connection: Connection, org_id: UUID, incident_type: str | None) -> UUID | None:
    """Return the template in force for an incident type: the organization's own, else the built-in one, else None."""
    if incident_type is None:
        return None
    found = template_rows.current(connection, org_id, incident_type)
    return None if found is None else found.template_id


def create(connection: Connection, org_id: UUID, about: Named, work: NewWork) -> FieldTicket:
    """Make a ticket with its field work and start its clocks; its version is 0."""
    created_at = connection.execute(_TICKET, _ticket_values(org_id, about, work)).scalar_one()
    due = due_at(created_at, work.priority)
    times = {"due_at": due, "due_soon_at": due - DUE_SOON, "queue_due_at": due if is_in_queue(work.state) else None}
    connection.execute(_WORK, _work_values(org_id, about, work) | times)
    _start(connection, org_id, about.ticket_id, work.priority, created_at)
    return field_rows.read(connection, about.ticket_id)


def claim(connection: Connection, org_id: UUID, ticket_id: UUID, signature: str, window: timedelta) -> bool:
    """Claim a matter for a ticket for so long; False when another open intake has it."""
    values = {"org": org_id, "ticket": ticket_id, "signature": signature, "window": window}
    return connection.execute(_INTAKE, values).one_or_none() is not None


def first(connection: Connection, principal: Principal, signature: str, window: timedelta) -> First | None:
    """Return the ticket that has a matter by now, wherever it was merged; None when it has ended meanwhile."""
    reached, values = identity.ticket_reach(principal)
    values |= {"org": principal.org_id, "signature": signature, "window": window}
    with row_security.unbarred(connection):  # an index on ranges, which the barrier forbids
        row = connection.execute(text(_FIRST.format(reached=reached)), values).one_or_none()
    return None if row is None else _first(connection, row)


def _first(connection: Connection, row: Row[Any]) -> First:
    ticket = field_rows.read(connection, row.id) if row.is_reached else None
    return First(row.id, DispatchState(row.dispatch_state), row.created_at, ticket)


def _ticket_values(org_id: UUID, about: Named, work: NewWork) -> Mapping[str, Any]:
    return {
        "ticket": about.ticket_id,
        "org": org_id,
        "code": ticket_codes.ticket_code(secrets.token_bytes(ticket_codes.CODE_BYTES)),
        "state": work.state.value,
        "priority": TICKET_PRIORITY[work.priority].value,
        "summary": work.summary,
        "norm": subject_norm(work.summary),
        "email": work.customer_email,
        "name": work.customer_name,
        "account": work.account_id,
        "site": work.site_id,
    }


def _work_values(org_id: UUID, about: Named, work: NewWork) -> dict[str, Any]:
    said = {name: getattr(work, name) for name in NewWork.__dataclass_fields__}
    values = {"ticket": about.ticket_id, "org": org_id, "template": about.template_id, "trace": about.trace_id}
    return {**said, **values, "asset": work.asset_id, "priority": work.priority.value}


def _start(connection: Connection, org_id: UUID, ticket_id: UUID, priority: DispatchPriority, created_at: Any) -> None:
    facts = Facts(TICKET_PRIORITY[priority], None, None, frozenset())
    started = clocks.start(connection, [Start(org_id, ticket_id, TicketStatus.NEW, facts, created_at)])
    dues = started[ticket_id].dues
    values = {"response": dues.response_at, "resolution": dues.resolution_at, "sla": dues.sla_at}
    connection.execute(_TIMES, {"ticket": ticket_id, **values})
