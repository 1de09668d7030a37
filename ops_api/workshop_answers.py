"""Contract 002's envelope as HTTP has it: one thing, a page of many, and which page is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from fastapi import Depends, Path, Query
from pydantic import BaseModel, Field, StringConstraints

from models.enums import FlagColor, InventoryState, WorkOrderState, WorkSessionState

Data = TypeVar("Data")
#: The last page that can be asked for; whoever goes so far looks for something, and filters find it.
_LAST = 10_000


class Envelope(BaseModel, Generic[Data]):
    """One thing."""

    success: Literal[True] = True
    message: str = "OK"
    data: Data


class Results(BaseModel, Generic[Data]):
    """A page of many things, newest first."""

    success: Literal[True] = True
    message: str = "OK"
    results: list[Data]
    total_count: int = Field(description="Exact up to 10,000; above, there are at least so many.")
    page: int
    page_count: int = Field(description="At least one.")
    per_page: int


@dataclass(frozen=True, slots=True)
class Page:
    """Which page is asked for; the first is 1."""

    number: int
    per_page: int

    @property
    def bounds(self) -> dict[str, int]:
        """How many rows of it are read, and how many stand before them."""
        return {"limit": self.per_page, "offset": (self.number - 1) * self.per_page}

    def of(self, results: Sequence[Any], total_count: int) -> dict[str, Any]:
        """Return a page as contract 002 has it."""
        return {
            "success": True,
            "message": "OK",
            "results": results,
            "total_count": total_count,
            "page": self.number,
            "page_count": max(1, -(-total_count // self.per_page)),
            "per_page": self.per_page,
        }


def page_asked_for(
    page: Annotated[int, Query(ge=1, le=_LAST)] = 1, per_page: Annotated[int, Query(ge=1, le=100)] = 10
) -> Page:
    """Return which page is asked for."""
    return Page(page, per_page)


AskedPage = Annotated[Page, Depends(page_asked_for)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]*$")]
RepairName = Annotated[str, Path(max_length=64, description="The id or the code of a ticket of the workshop.")]


#: Where a ticket of the workshop may stand; work orders of the field know other words.
RepairStatus = Literal[
    WorkOrderState.UNDER_REVIEW,
    WorkOrderState.NEW,
    WorkOrderState.ASSIGNED,
    WorkOrderState.IN_PROGRESS,
    WorkOrderState.WAITING_QC,
    WorkOrderState.REWORK,
    WorkOrderState.DONE,
    WorkOrderState.CANCELLED,
]


class PartSpecAnswer(BaseModel):
    """What is to be done to one part."""

    part_id: UUID
    part_name: str
    color: FlagColor
    comment: str
    minutes: int


class OpenSession(BaseModel):
    """The work session that is not stopped."""

    id: UUID
    technician: UUID
    status: WorkSessionState
    started_at: datetime


class RepairAnswer(BaseModel):
    """A ticket of the workshop with all that goes with it."""

    id: UUID
    code: str
    inventory_item: UUID
    serial_number: str
    inventory_item_name: str
    inventory_item_status: InventoryState
    category: UUID | None
    category_name: str | None
    master: UUID | None = Field(description="Who took it in.")
    master_name: str | None
    technician: UUID | None
    technician_name: str | None
    title: str
    ticket_parts: list[PartSpecAnswer]
    total_duration: int = Field(description="Minutes that are planned.")
    flag_minutes: int
    flag_color: FlagColor
    xp_amount: int
    is_manual: bool = Field(description="Colour and points were set by a person.")
    status: RepairStatus
    approved_by: UUID | None
    approved_by_name: str | None
    approved_at: datetime | None
    assigned_at: datetime | None
    started_at: datetime | None = Field(description="For the first time.")
    finished_at: datetime | None
    cancelled_at: datetime | None
    work_session: OpenSession | None
    created_at: datetime
    version: int


class RepairDetail(RepairAnswer):
    """A ticket of the workshop as it is looked at alone."""

    active_seconds: int = Field(description="In all work sessions, by their events; what runs counts up to now.")


class RepairStep(BaseModel):
    """One step of a ticket."""

    id: int
    action: str
    from_status: RepairStatus | None
    to_status: RepairStatus
    actor: str
    actor_name: str | None
    actor_role: str | None
    metadata: dict[str, Any]
    created_at: datetime


class StockItem(BaseModel):
    """A thing of the inventory."""

    id: UUID
    serial_number: str
    name: str
    category: UUID | None
    category_name: str | None
    status: InventoryState
    is_active: bool = Field(description="Not archived.")
    creation_reason: str | None = Field(description="Why it was made known when it came in.")
    active_ticket: UUID | None
    created_at: datetime
    archived_at: datetime | None
    version: int


class StockCategory(BaseModel):
    """A kind of things."""

    id: UUID
    name: str
    created_at: datetime


class StockPart(BaseModel):
    """A part of the things of a category."""

    id: UUID
    name: str
    category: UUID
    category_name: str
    is_active: bool
    created_at: datetime
