"""Cases, questions and work orders as contract 003 tells them; what stands beside its fields is additive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from models.enums import WorkOrderState
from pipeline.core.orders import code_of
from pipeline.core.written import plain

#: The contract knows three words for how far an order is; whose it is does not show.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        WorkOrderState.CREATED: "created",
        WorkOrderState.ASSIGNED: "created",
        WorkOrderState.RETURNED: "created",
        WorkOrderState.OUTSOURCED: "created",
        WorkOrderState.IN_PROGRESS: "in_progress",
        WorkOrderState.DONE: "done",
        WorkOrderState.CANCELLED: "cancelled",
    }
)


def envelope(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer in the contract's envelope."""
    return {"ok": True, "data": data, "error": None}


def case(row: Any) -> dict[str, Any]:
    """Return a case, from a row of `models.queries.cases`."""
    return {
        "id": row.code,
        "charger_id": row.charger_id,
        "priority_score": row.priority_score,
        "sla_hours": row.sla_hours,
        "root_cause_tag": row.root_cause_tag,
        "confidence": float(row.confidence),
        "recommended_action": row.recommended_action,
        "evidence_ids": list(row.evidence_ids),
        "grid_stress_level": row.grid_stress_level,
        "explanation": row.explanation,
        "uncertainty_reasons": list(row.uncertainty_reasons),
        "verification_required": row.verification_required,
        "uuid": str(row.id),
        "mode": row.mode,
        "state": row.state,
        "number": row.number,
        "version": row.version,
        "policy_version": row.policy_version,
        "signal_count": row.signal_count,
        "first_signal_at": plain(row.first_signal_at),
        "last_signal_at": plain(row.last_signal_at),
        "verified_result": row.verified_result,
        "verified_at": plain(row.verified_at),
        "decided_at": plain(row.decided_at),
        "is_real": row.is_real,
        "assessed_at": plain(row.assessed_at),
        "created_at": plain(row.created_at),
        "closed_at": plain(row.closed_at),
        "closed_because": row.closed_because,
    }


def cases(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return cases, the most urgent first, ties by charger (seed-behaviours, 4.2)."""
    return [case(row) for row in sorted(rows, key=lambda row: (-row.priority_score, row.charger_id))]


def task(row: Any, case_code: str) -> dict[str, Any]:
    """Return a question."""
    return {
        "id": row.code,
        "case_id": case_code,
        "question": row.question,
        "owner": row.owner,
        "status": row.status,
        "result": row.result,
    }


def work_order(row: Any) -> dict[str, Any]:
    """Return a work order of a case; `order_state` is the house's own word for how far it is."""
    return {
        "id": code_of(row.number),
        "case_id": row.case_code,
        "assigned_team": row.team,
        "due_at": plain(row.due_at),
        "state": state_word(row.state),
        "order_state": row.state,
        "ticket_id": plain(row.ticket_id),
        "version": row.version,
    }


def state_word(state: str) -> str:
    """Return how the contract calls an order's state."""
    return _WORDS[state]
