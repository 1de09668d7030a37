"""What a ticket's closeout is judged by, what was said at its completion, and what its check found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import QaResult
from pipeline.core.closeout import Completion, Proof, closeout_refusal, judge, outstanding_refusal
from pipeline.core.evidence import OBJECT_STORES
from pipeline.core.field_work import FieldTicket
from pipeline.core.policies import OrganizationPolicy
from pipeline.core.principals import Principal
from pipeline.core.refusing import Refusal
from pipeline.runtime import evidence_rows, template_rows

_COMPLETE = text("""
    INSERT INTO completions (org_id, ticket_id, command, template_id, checklist_status, no_signature_reason,
                             evidence_refs, completed_by, completed_by_id)
    VALUES (:org, :ticket, :command, :template, CAST(:checklist AS jsonb), :reason, :refs, :by, :by_id) RETURNING id
""")
_NEWEST = text("""
    SELECT id, checklist_status, no_signature_reason, evidence_refs, completed_by, completed_by_id
      FROM completions WHERE ticket_id = :ticket ORDER BY id DESC LIMIT 1
""")
_CHECK = text("""
    INSERT INTO qa_checks (org_id, ticket_id, completion_id, technician_id, result, notes, checked_at, checked_by)
    VALUES (:org, :ticket, :completion, :technician, :result, :notes, :at, :by) RETURNING id
""")
_POLICY = text("SELECT policy FROM organizations WHERE id = :org")


@dataclass(frozen=True, slots=True)
class Completed:
    """One completion, and whose it was: the audit trail's name, and the person where there is one."""

    completion_id: UUID
    said: Completion
    completed_by: str
    completed_by_id: UUID | None

    def is_by(self, who: Principal) -> bool:
        """Say whether somebody completed it."""
        is_person = self.completed_by_id is not None and self.completed_by_id == who.person_id
        return is_person or self.completed_by == who.actor_id


def proof_of(connection: Connection, ticket: FieldTicket, schemes: Collection[str] | None = OBJECT_STORES) -> Proof:
    """Return what proves a ticket's work; `schemes` as in `pipeline.core.evidence.reference_problem`."""
    return Proof(
        ticket.incident_type,
        template_rows.of_ticket(connection, ticket),
        evidence_rows.pieces(connection, ticket.ticket_id),
        evidence_rows.promises(connection, ticket.ticket_id),
        schemes,
    )


def newest(connection: Connection, ticket_id: UUID) -> Completed | None:
    """Return the completion that holds; None when the work was never completed."""
    row = connection.execute(_NEWEST, {"ticket": ticket_id}).one_or_none()
    if row is None:
        return None
    said = Completion(row.checklist_status, row.no_signature_reason, tuple(row.evidence_refs))
    return Completed(row.id, said, row.completed_by, row.completed_by_id)


def closeout_problem(connection: Connection, ticket: FieldTicket) -> Refusal | None:
    """Refuse what needs a ticket's proof to be whole, like its invoice: a completion, its gates, nothing on the way.

    References are believed as they were when they were added: the evidence froze at the check.
    """
    proof, completed = proof_of(connection, ticket, None), newest(connection, ticket.ticket_id)
    if completed is None:
        return missing_completion(proof)
    verdict = judge(proof, completed.said)
    return outstanding_refusal(proof) if verdict.is_ready else closeout_refusal(verdict)


def missing_completion(proof: Proof) -> Refusal:
    """Return the refusal of work that nobody has completed."""
    return closeout_refusal(judge(proof, Completion()).without_completion())


def add_completion(
    connection: Connection, ticket: FieldTicket, said: Completion, who: Principal, *, command: str, template_id: UUID
) -> UUID:
    """Note that the work was completed, and with which words; return the row's id."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "command": command,
        "template": template_id,
        "checklist": orjson.dumps(dict(said.checklist_status)).decode(),
        "reason": said.no_signature_reason,
        "refs": list(said.evidence_refs),
        "by": who.actor_id,
        "by_id": who.person_id,
    }
    found: UUID = connection.execute(_COMPLETE, values).scalar_one()
    return found


def add_check(
    connection: Connection,
    ticket: FieldTicket,
    completion_id: UUID,
    who: Principal,
    *,
    result: QaResult,
    notes: str | None,
    at: datetime,
) -> UUID:
    """Note what a check of a completion found, and whose work it was; return the row's id."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "completion": completion_id,
        "technician": ticket.assigned_tech_id,
        "result": result.value,
        "notes": notes,
        "at": at,
        "by": who.actor_id,
    }
    found: UUID = connection.execute(_CHECK, values).scalar_one()
    return found


def needs_four_eyes(connection: Connection, org_id: UUID) -> bool:
    """Say whether who completed work may not check it: so it is, unless the organization's policy says otherwise."""
    stored = connection.execute(_POLICY, {"org": org_id}).scalar_one_or_none()
    return OrganizationPolicy.read(stored or {}).four_eyes_qa
