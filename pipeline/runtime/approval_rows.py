"""Approvals in the database: asked for, decided, cancelled with their ticket. At most one of a ticket is pending."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import ApprovalKind, ApprovalState, DispatchState
from pipeline.core.field_work import FieldTicket
from pipeline.core.principals import Principal
from pipeline.core.written import plain

_COLUMNS = """
    id, state, kind, source, return_state, amount_delta_cents, reason, evidence_refs, requested_by, requested_by_id,
    requested_at, decided_by, decided_at, notes
"""
_ASK = text(f"""
    INSERT INTO approvals (org_id, ticket_id, kind, source, return_state, amount_delta_cents, reason, evidence_refs,
                           requested_by, requested_by_id)
    VALUES (:org, :ticket, :kind, :source, :return_state, :delta, :reason, :refs, :by, :person)
    RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_FIND = text(f"""
    SELECT {_COLUMNS} FROM approvals WHERE id = :id AND ticket_id = :ticket AND org_id = :org FOR NO KEY UPDATE
""")  # noqa: S608 - columns from above
_DECIDE = text(f"""
    UPDATE approvals SET state = :state, decided_by = :by, decided_at = now(), notes = :notes
     WHERE id = :id RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_PENDING = text("SELECT return_state FROM approvals WHERE ticket_id = :ticket AND state = 'PENDING'")
_CANCEL = text("""
    UPDATE approvals SET state = 'CANCELLED', decided_by = :by, decided_at = now(), notes = :because
     WHERE ticket_id = :ticket AND state = 'PENDING'
""")


@dataclass(frozen=True, slots=True)
class Approval:
    """One approval as it stands."""

    approval_id: UUID
    state: ApprovalState
    kind: ApprovalKind
    #: The command that asked for it.
    source: str
    return_state: DispatchState
    amount_delta_cents: int | None
    reason: str
    evidence_refs: tuple[str, ...]
    requested_by: str
    requested_by_id: UUID | None
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    notes: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be approved."""

    kind: ApprovalKind
    source: str
    return_state: DispatchState
    reason: str
    amount_delta_cents: int | None = None
    evidence_refs: Sequence[str] = ()


def ask_for(connection: Connection, ticket: FieldTicket, wish: Wish, principal: Principal) -> Approval:
    """Ask for an approval on a locked ticket; the database refuses a second pending one."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "kind": wish.kind.value,
        "source": wish.source,
        "return_state": wish.return_state.value,
        "delta": wish.amount_delta_cents,
        "reason": wish.reason,
        "refs": list(wish.evidence_refs),
        "by": principal.actor_id,
        "person": principal.person_id,
    }
    return _approval(connection.execute(_ASK, values).one())


def find(connection: Connection, ticket: FieldTicket, approval_id: UUID) -> Approval | None:
    """Return an approval of a ticket, None when it has no such one."""
    values = {"id": approval_id, "ticket": ticket.ticket_id, "org": ticket.org_id}
    row = connection.execute(_FIND, values).one_or_none()
    return None if row is None else _approval(row)


def decide(
    connection: Connection, approval: Approval, state: ApprovalState, principal: Principal, notes: str | None
) -> Approval:
    """Decide a pending approval."""
    values = {"id": approval.approval_id, "state": state.value, "by": principal.actor_id, "notes": notes}
    return _approval(connection.execute(_DECIDE, values).one())


def leads_back_to(connection: Connection, ticket_id: UUID) -> DispatchState | None:
    """Return the state that a locked ticket's pending approval leads back to; None when none is pending."""
    found = connection.execute(_PENDING, {"ticket": ticket_id}).scalar_one_or_none()
    return None if found is None else DispatchState(found)


def cancel_pending(connection: Connection, ticket_id: UUID, by: str, because: str) -> int:
    """Cancel what is pending of a ticket that ends; return how many that was."""
    return connection.execute(_CANCEL, {"ticket": ticket_id, "by": by, "because": because}).rowcount


def body(approval: Approval) -> Mapping[str, Any]:
    """Return an approval as contract 000 serves it (`status`, `approval_type`), and what people need besides."""
    return {
        "id": str(approval.approval_id),
        "status": approval.state.value,
        "approval_type": approval.kind.value,
        "amount_delta_cents": approval.amount_delta_cents,
        "reason": approval.reason,
        "evidence_refs": list(approval.evidence_refs),
        "source": approval.source,
        "return_state": approval.return_state.value,
        "requested_by": approval.requested_by,
        "requested_at": plain(approval.requested_at),
        "decided_by": approval.decided_by,
        "decided_at": plain(approval.decided_at),
        "notes": approval.notes,
    }


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        approval_id=row.id,
        state=ApprovalState(row.state),
        kind=ApprovalKind(row.kind),
        source=row.source,
        return_state=DispatchState(row.return_state),
        amount_delta_cents=row.amount_delta_cents,
        reason=row.reason,
        evidence_refs=tuple(row.evidence_refs),
        requested_by=row.requested_by,
        requested_by_id=row.requested_by_id,
        requested_at=row.requested_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        notes=row.notes,
    )
