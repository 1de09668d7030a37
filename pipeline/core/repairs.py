"""What a repair is worth and how large it is called, who may judge it, and contract 002's envelope, as plain rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.enums import FlagColor
from pipeline.core.workshop_rules import TicketXp

#: How contract 002 calls the steps of a repair; what is done within a work session stands in its own history.
ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "workshop.create": "created",
        "workshop.review": "review_approved",
        "workshop.set_metrics": "manual_metrics",
        "workshop.assign": "assigned",
        "workshop.start": "started",
        "workshop.to_waiting_qc": "to_waiting_qc",
        "workshop.qc_pass": "qc_pass",
        "workshop.qc_fail": "qc_fail",
        "workshop.cancel": "cancelled",
    }
)


@dataclass(frozen=True, slots=True)
class PartSpec:
    """What is to be done to one part."""

    part_id: UUID
    color: FlagColor
    comment: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """How large a repair is called, and what it is worth."""

    color: FlagColor
    xp: int
    is_manual: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """What only a repair knows of a work order."""

    order_id: UUID
    minutes: int
    metrics: Metrics
    approved_by_id: UUID | None = None
    approved_at: datetime | None = None

    @property
    def is_approved(self) -> bool:
        """True after its review."""
        return self.approved_at is not None


@dataclass(frozen=True, slots=True)
class KnownPart:
    """A part that the workshop knows and works on."""

    part_id: UUID
    category_id: UUID


def enveloped(data: Any) -> dict[str, Any]:
    """Return contract 002's answer around what is answered."""
    return {"success": True, "message": "OK", "data": data}


def color_of(minutes: int, rules: TicketXp) -> FlagColor:
    """Return how large a repair of so many minutes is called."""
    if minutes <= rules.flag_green_max_minutes:
        return FlagColor.GREEN
    return FlagColor.YELLOW if minutes <= rules.flag_yellow_max_minutes else FlagColor.RED


def xp_of(minutes: int, rules: TicketXp) -> int:
    """Return the points of a repair of so many minutes: the minutes by the divisor, rounded up."""
    return -(-minutes // rules.base_divisor)


def metrics_of(minutes: int, rules: TicketXp) -> Metrics:
    """Return a repair's metrics as the rules have them."""
    return Metrics(color_of(minutes, rules), xp_of(minutes, rules), is_manual=False)


def problem_of_parts(
    asked: Sequence[UUID], known: Collection[KnownPart], category_id: UUID | None, *, is_known_item: bool
) -> str | None:
    """Return what is wrong with the parts that are asked for, None when they are good.

    They are all known, of one category, and of the item's where it has one.
    """
    missing = sorted(set(asked) - {one.part_id for one in known})
    if missing:
        return f"the workshop has no part {', '.join(map(str, missing[:5]))}"
    categories = {one.category_id for one in known}
    if len(categories) != 1:
        return "all parts must be of one category"
    if is_known_item and category_id is not None and category_id not in categories:
        return "the parts must be of the item's own category"
    return None
