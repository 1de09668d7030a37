"""Work orders for tests: proved by a photo, held by a checklist, and what is told of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from models.enums import PhotoKind, WorkOrderState
from pipeline.commands import work_orders, work_orders_create, work_orders_lead
from pipeline.commands.work_order_arguments import Assignment, FailedItem, NewOrder, SourceChecklist
from pipeline.core.orders import Order
from pipeline.executor import Answer
from tests.commands.work_desk import WorkDesk

_PHOTO = """
    INSERT INTO order_photos (org_id, order_id, kind, attempt, source_sha256, sha256, thumbnail_sha256, content_type,
                              size, width, height, uploaded_by)
    VALUES (:org, :order, :kind, :attempt, sha256(:bytes), sha256(:bytes), sha256(:bytes), 'image/jpeg', 1, 1, 1, 'x')
"""
_CHECKLIST = """
    INSERT INTO checklists (org_id, site_id, asset_id, name, created_by)
    VALUES (:org, :site, :ride, 'Morning round', 'test') RETURNING id
"""
#: The commands of contract 004 on one order, by the word of their address.
COMMANDS = {
    "start": work_orders.START,
    "done": work_orders.DONE,
    "return": work_orders.RETURN,
    "assign": work_orders_lead.ASSIGN,
    "outsource": work_orders_lead.OUTSOURCE,
    "complete-outsourced": work_orders_lead.COMPLETE_OUTSOURCED,
    "cancel": work_orders_lead.CANCEL,
}


def prove(desk: WorkDesk, order_id: UUID, attempt: int = 1, kind: PhotoKind = PhotoKind.COMPLETION) -> None:
    """Let there be a photo of an order."""
    desk.change(_PHOTO, order=order_id, kind=kind.value, attempt=attempt, bytes=uuid4().bytes)


def checklist(desk: WorkDesk) -> UUID:
    """Return a held checklist of the ride."""
    found: UUID = desk.one(_CHECKLIST, org=desk.org_id, site=desk.site_id, ride=desk.ride_id).id
    return found


def parent(desk: WorkDesk, checklist_id: UUID) -> str:
    """Return the state of a checklist."""
    return str(desk.one("SELECT state FROM checklists WHERE id = :id", id=checklist_id).state)


def at_work(desk: WorkDesk, **more: Any) -> Order:
    """Return an order that the technician works on and has proved."""
    order = desk.order(WorkOrderState.IN_PROGRESS, "tech", **more)
    prove(desk, order.order_id)
    return order


def assignment(desk: WorkDesk, name: str) -> Assignment:
    """Return the wish to give an order to somebody."""
    return Assignment(technician_id=desk.person_id(name))


def new_order(desk: WorkDesk, item: str = "b7", **more: Any) -> NewOrder:
    """Return the wish for an order of a failed item."""
    source = more.pop("source", SourceChecklist(name="Morning round"))
    values = {"game_zone_id": desk.site_id, "ride_id": desk.ride_id, **more}
    return NewOrder(source_checklist=source, a_item=FailedItem(id=item, text="The brake squeals"), **values)


def make(desk: WorkDesk, item: str = "b7", **more: Any) -> Answer:
    """Make an order of a failed item, as the leader of operations."""
    return desk.run(work_orders_create.CREATE, new_order(desk, item, **more), by="ops_lead")


def told(desk: WorkDesk) -> list[tuple[str, UUID]]:
    """Return what was told, and whom."""
    return desk.rows("SELECT kind, person_id FROM notifications WHERE org_id = :org ORDER BY id")
