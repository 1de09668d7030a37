"""Bodies of contract 000 that are good for a ticket in the state that the command begins in."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from pipeline.adapters.clock import SystemClock
from tests.commands import schedules, site_steps
from tests.commands.field_desk import INCIDENT, FieldDesk

Body = dict[str, Any]


def moment(hours: float = 0) -> str:
    """Return a time so many hours after the next full hour, as text."""
    return schedules.ahead(hours).starts_at.isoformat()


def now() -> str:
    """Return the time as text."""
    return SystemClock().now().isoformat()


def place(desk: FieldDesk, _ticket: UUID | None = None) -> Body:
    return {"account_id": str(desk.account_id), "site_id": str(desk.site_id), "summary": "the door does not latch"}


def triage(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"priority": "urgent", "incident_type": INCIDENT}


def window(hours: float = 48) -> Body:
    return {"start": moment(hours), "end": moment(hours + 1)}


def propose(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"options": [window(72), window(96)]}


def confirm(desk: FieldDesk, ticket_id: UUID | None) -> Body:
    assert ticket_id is not None
    offered = schedules.offered(desk, ticket_id)
    if not offered:
        return window()
    return {"start": offered[0].starts_at.isoformat(), "end": offered[0].ends_at.isoformat()}


def dispatch(desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"tech_id": str(desk.people["tech"].person_id), "override_reason": "several visits at once, for a test"}


def check_in(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"timestamp": now(), "location": {"lat": 47.0, "lon": 8.0}}


def change(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"approval_type": "NTE_INCREASE", "reason": "the closer leaks, too", "amount_delta_cents": 5_000}


def decide(desk: FieldDesk, ticket_id: UUID | None) -> Body:
    found = desk.rows("SELECT id FROM approvals WHERE ticket_id = :id AND state = 'PENDING'", id=ticket_id)
    return {"approval_id": str(found[0][0] if found else uuid4()), "decision": "APPROVED"}


def evidence(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"kind": "PHOTO", "uri": f"s3://bucket/{uuid4()}.jpg", "evidence_key": site_steps.DOOR_KEYS[0]}


def complete(desk: FieldDesk, ticket_id: UUID | None) -> Body:
    """Prove the work first, where it is under way and not proved yet."""
    proved = "SELECT count(*) FROM evidence_items WHERE ticket_id = :id AND evidence_key IS NOT NULL"
    if ticket_id is None or desk.state(ticket_id) != "IN_PROGRESS":
        return {"checklist_status": dict(site_steps.CHECKLIST)}
    if desk.rows(proved, id=ticket_id) == [(0,)]:
        site_steps.prove(desk, ticket_id)
    return {"checklist_status": dict(site_steps.CHECKLIST)}


def verify(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"timestamp": now(), "result": "PASS"}


def invoice(_desk: FieldDesk, _ticket: UUID | None) -> Body:
    return {"write_off": True, "reason": "for a test"}
