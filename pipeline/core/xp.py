"""What work in the workshop is worth: points as values, each with the reference that it is given once for.

Contract 002; numbers and references from seed-behaviours, 3.4. Decision 47 tells what they left open.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from models.enums import QaResult, XpKind
from pipeline.core.workshop_rules import TicketXp

#: Points that a person may give or take at once, either way.
MOST_POINTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Grant:
    """Points for somebody, given once for `reference` in an organization; they may be 0 or less."""

    person_id: UUID
    kind: XpKind
    amount: int
    reference: str
    order_id: UUID | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A repair under its check, as points see it."""

    order_id: UUID
    #: This check, not the order: each check of an order is worth something to who checks.
    check_id: UUID
    result: QaResult
    technician_id: UUID
    inspector_id: UUID
    #: What the repair is worth; 0 where somebody set it so.
    xp_amount: int
    #: Planned, in minutes.
    minutes: int
    #: Worked, over all sessions.
    active_seconds: float
    #: A check of it failed before.
    has_failed: bool


def is_first_pass(one: Checked) -> bool:
    """Say whether it passed at the first look and within the time that was planned (contract 002)."""
    return not one.has_failed and one.active_seconds <= one.minutes * 60


def of_pass(one: Checked, rules: TicketXp) -> list[Grant]:
    """Return what a passed check is worth: to the technician, for the first pass, and to the inspector.

    A repair whose points were set to 0 has a row of 0: that it was worth nothing is told, not left open.
    """
    order, technician = one.order_id, one.technician_id
    found = [Grant(technician, XpKind.BASE, one.xp_amount, f"ticket_base_xp:{order}", order)]
    if is_first_pass(one):
        reference = f"ticket_qc_first_pass_bonus:{order}"
        found.append(Grant(technician, XpKind.FIRST_PASS, rules.first_pass_bonus, reference, order))
    return [*found, of_check(one, rules)]


def of_check(one: Checked, rules: TicketXp) -> Grant:
    """Return what a check is worth to who made it, whatever it found."""
    reference = f"ticket_qc_status_update:{one.order_id}:{one.check_id}"
    return Grant(one.inspector_id, XpKind.QC_STATUS, rules.qc_status_update_xp, reference, one.order_id)


def of_arrival(person_id: UUID, work_date: date, amount: int, label: str) -> Grant:
    """Return what coming to work is worth, once a day; what it was called stands beside it."""
    reference = f"attendance_checkin:{person_id}:{work_date.isoformat()}"
    return Grant(person_id, XpKind.ATTENDANCE, amount, reference, comment=label)
