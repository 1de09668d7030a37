"""Work orders of the field as they are answered: in a list, whole, and step by step (contract 004)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, Field
from sqlalchemy import Row

from models.enums import ParentState, PhotoKind, TicketPriority
from ops_api import order_actions
from ops_api.photo_links import links_of
from pipeline.core.orders import code_of, sla
from pipeline.core.principals import Principal
from pipeline.runtime.photo_rows import Photo

#: Steps that a whole order is answered with; its timeline has the rest.
MOST_STEPS = 100


class Named(BaseModel):
    """Something or somebody by id and name."""

    id: UUID
    name: str


class OrderSla(BaseModel):
    """How an order stands to its deadline."""

    dueAt: datetime
    ageHrs: float = Field(description="Hours since it was made, until it was closed; one decimal.")
    overdue: bool


class OrderAnswer(BaseModel):
    """A work order in a list."""

    id: UUID
    code: str
    state: str = Field(description="In capitals, like IN_PROGRESS.")
    version: int = Field(description="What If-Match takes.")
    priority: TicketPriority
    title: str
    gameZone: Named | None
    ride: Named | None
    sourceChecklist: Named | None = Field(description="Null for an order that no checklist asked for.")
    aItemText: str | None
    issuePhotoCount: int
    sla: OrderSla
    assignedTo: Named | None
    assignedBy: Named | None
    attempt: int = Field(description="Which giving to somebody it is: a photo proves its own.")
    ticketId: UUID | None = Field(description="The ticket whose field work it follows: it is worked there.")
    createdAt: datetime
    startedAt: datetime | None
    closedAt: datetime | None


class Orders(BaseModel):
    """One page of orders. It may be short, even empty, and yet not be the last."""

    workOrders: list[OrderAnswer]
    nextCursor: str | None = Field(description="Null when nothing follows.")


class DashboardCounts(BaseModel):
    """How many orders of a technician stand how; what is late counts by its state, too."""

    assigned: int
    inProgress: int
    returned: int
    done: int = Field(description="Of the last 30 days.")
    overdue: int
    dueSoon: int


class Dashboard(BaseModel):
    """A technician's day at a glance."""

    counts: DashboardCounts
    workOrders: list[OrderAnswer] = Field(description="The five that are most urgent.")


class FailedItem(BaseModel):
    """What a checklist found wrong."""

    id: str
    text: str
    note: str | None


class OrderPhoto(BaseModel):
    """A photo of an order; its addresses need no token and are good for five minutes."""

    id: UUID
    url: str
    thumbUrl: str
    kind: PhotoKind
    attempt: int
    takenAt: datetime | None


class StepAnswer(BaseModel):
    """One step of an order."""

    state: str = Field(description="The state that it led to; in capitals.")
    actor: str = Field(description="A name, or what the audit trail calls who did it.")
    role: str | None
    at: datetime
    action: str = Field(description="The command, like `work_order.start`.")
    attempt: int


class ReturnAnswer(BaseModel):
    """One time that an order was given back."""

    reason: str | None
    actor: str
    role: str | None
    at: datetime
    attempt: int


class WholeOrder(OrderAnswer):
    """A work order with all that belongs to it."""

    aItem: FailedItem | None
    issuePhotos: list[OrderPhoto]
    fixPhotos: list[OrderPhoto] = Field(description="Of every attempt; those of the present one prove it.")
    returnPhotos: list[OrderPhoto] = Field(description="Why it was given back.")
    instructions: str | None
    routedBy: Named | None
    returnReason: str | None
    fixNote: str | None
    outsourcedTo: str | None
    returnHistory: list[ReturnAnswer] = Field(description="The oldest first; at most the newest 50.")
    timeline: list[StepAnswer] = Field(description="The oldest first; the newest 100.")
    timelineTruncated: bool = Field(description="True when there are more steps than these.")
    allowedActions: list[str] = Field(description="What who asks may do to it now.")


class OrderTimeline(BaseModel):
    """One page of an order's steps, the oldest first; the newest page without a cursor."""

    items: list[StepAnswer]
    nextCursor: str | None = Field(description="To the page before this one; null at the beginning.")


class ChecklistAnswer(BaseModel):
    """A checklist that failed, whether it still holds its ride, and the orders that it asked for."""

    id: UUID
    name: str
    state: str = Field(description="HELD or RELEASED.")
    gameZone: Named
    ride: Named | None
    createdAt: datetime
    releasedAt: datetime | None
    workOrders: list[OrderAnswer] = Field(description="Those that who asks may see; at most 100.")


def order_answer(row: Row[Any]) -> OrderAnswer:
    """Return an order in a list."""
    return OrderAnswer(**_plain(row), issuePhotoCount=row.issue_photos)


def order_answers(rows: Iterable[Row[Any]]) -> list[OrderAnswer]:
    """Return orders in a list."""
    return [order_answer(row) for row in rows]


def dashboard_answer(counts: Row[Any], rows: Iterable[Row[Any]]) -> Dashboard:
    """Return a technician's day at a glance."""
    told = DashboardCounts(
        assigned=counts.assigned,
        inProgress=counts.in_progress,
        returned=counts.returned,
        done=counts.done,
        overdue=counts.overdue,
        dueSoon=counts.due_soon,
    )
    return Dashboard(counts=told, workOrders=order_answers(rows))


def whole_order(
    request: Request, row: Row[Any], photos: Sequence[Photo], steps: Sequence[Row[Any]], returns: Sequence[Row[Any]]
) -> WholeOrder:
    """Return an order with all that belongs to it; steps and returns come the newest first."""
    principal: Principal = request.state.principal
    pictures = {kind: [_photo(request, one) for one in photos if one.kind is kind] for kind in PhotoKind}
    return WholeOrder(
        **_plain(row),
        issuePhotoCount=len(pictures[PhotoKind.ISSUE]),
        aItem=None if row.item_id is None else FailedItem(id=row.item_id, text=row.item_text, note=row.item_note),
        issuePhotos=pictures[PhotoKind.ISSUE],
        fixPhotos=pictures[PhotoKind.COMPLETION],
        returnPhotos=pictures[PhotoKind.RETURN],
        instructions=row.instructions,
        routedBy=_named(row.created_by_id, row.created_by),
        returnReason=row.return_reason,
        fixNote=row.fix_note,
        outsourcedTo=row.outsourced_to,
        returnHistory=[_return(one) for one in reversed(returns)],
        timeline=step_answers(steps[:MOST_STEPS]),
        timelineTruncated=len(steps) > MOST_STEPS,
        allowedActions=order_actions.allowed(principal, row),
    )


def step_answers(steps: Sequence[Row[Any]]) -> list[StepAnswer]:
    """Return steps, which come the newest first, the oldest first."""
    return [
        StepAnswer(
            state=one.to_state.upper(),
            actor=one.actor or one.actor_id,
            role=one.actor_role,
            at=one.at,
            action=one.command,
            attempt=one.attempt,
        )
        for one in reversed(steps)
    ]


def checklist_answer(row: Row[Any], orders: Iterable[Row[Any]]) -> ChecklistAnswer:
    """Return a checklist with its orders."""
    return ChecklistAnswer(
        id=row.id,
        name=row.name,
        state=ParentState(row.state).name,
        gameZone=Named(id=row.site_id, name=row.site),
        ride=_named(row.asset_id, row.ride),
        createdAt=row.created_at,
        releasedAt=row.released_at,
        workOrders=order_answers(orders),
    )


def _plain(row: Row[Any]) -> dict[str, Any]:
    """Return what a list and a whole order have in common."""
    return {
        "id": row.id,
        "code": code_of(row.number),
        "state": row.state.upper(),
        "version": row.version,
        "priority": row.priority,
        "title": row.title,
        "gameZone": _named(row.site_id, row.site),
        "ride": _named(row.asset_id, row.ride),
        "sourceChecklist": _named(row.checklist_id, row.checklist),
        "aItemText": row.item_text,
        "sla": _sla(row),
        "assignedTo": _named(row.assigned_to_id, row.assigned_to),
        "assignedBy": _named(row.assigned_by_id, row.assigned_by),
        "attempt": row.attempt,
        "ticketId": row.ticket_id,
        "createdAt": row.created_at,
        "startedAt": row.started_at,
        "closedAt": row.closed_at,
    }


def _sla(row: Any) -> OrderSla:
    # A row has the fields of an order that this rule looks at.
    return OrderSla(**sla(row))


def _named(found_id: UUID | None, name: str | None) -> Named | None:
    return None if found_id is None else Named(id=found_id, name=name or "")


def _photo(request: Request, photo: Photo) -> OrderPhoto:
    return OrderPhoto(
        id=photo.photo_id,
        **links_of(request, photo),
        kind=photo.kind,
        attempt=photo.attempt,
        takenAt=photo.taken_at,
    )


def _return(step: Row[Any]) -> ReturnAnswer:
    return ReturnAnswer(
        reason=step.data.get("reason"),
        actor=step.actor or step.actor_id,
        role=step.actor_role,
        at=step.at,
        attempt=step.attempt,
    )
