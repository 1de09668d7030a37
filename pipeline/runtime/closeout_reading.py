"""What a ticket's closing stands on now, for people: what is there, on the way, and missing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from pipeline.core.closeout import Completion, judge
from pipeline.core.closeout_words import Need, checklist_needs, evidence_needs
from pipeline.runtime import completion_rows, evidence_rows, field_rows


def standing(connection: Connection, ticket_id: UUID, schemes: Collection[str] | None) -> dict[str, Any]:
    """Return the proof of a ticket that is there, judged by its newest completion; before one its checklist is open.

    `schemes` as in `pipeline.core.evidence.reference_problem`.
    """
    ticket = field_rows.read(connection, ticket_id)
    proof = completion_rows.proof_of(connection, ticket, schemes)
    completed = completion_rows.newest(connection, ticket_id)
    told = completed.said if completed else None
    verdict = judge(proof, told or Completion())
    waiting = [
        {"sha256": one.sha256, "evidence_key": one.evidence_key, "captured_at": one.captured_at}
        for one in proof.outstanding
    ]
    return {
        "ticket_id": ticket_id,
        "state": ticket.state,
        "incident_type": proof.incident_type,
        "template_version": proof.template.version if proof.template else None,
        "requirement_code": verdict.code,
        "is_ready": verdict.is_ready,
        "said": verdict.said,
        "evidence": _told(evidence_needs(proof, told)),
        "checklist": _told(checklist_needs(proof, told)),
        "is_signed": proof.is_signed(),
        "is_frozen": evidence_rows.is_frozen(connection, ticket),
        "evidence_outstanding": len(waiting),
        "outstanding": waiting,
    }


def _told(needs: Sequence[Need]) -> list[dict[str, str]]:
    return [{"key": one.key, "status": one.status.value, "said": one.said} for one in needs]
