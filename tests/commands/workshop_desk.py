"""A workshop for tests: things, parts, and repairs in any state, made by commands or at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import FlagColor, InventoryState, WorkOrderState, WorkPolicy
from pipeline.commands import work_sessions, workshop
from pipeline.commands.workshop_arguments import Cancelling, NewRepair, Nothing, RepairAssignment
from pipeline.core.orders import Order
from pipeline.core.repairs import Metrics, PartSpec
from pipeline.executor import Answer
from pipeline.runtime import order_rows, repair_rows
from pipeline.runtime.db import Database
from tests.commands.work_desk import WorkDesk

_STATE = WorkOrderState
_CATEGORY = text("INSERT INTO item_categories (org_id, name) VALUES (:org, :name) RETURNING id")
_PART = text("INSERT INTO parts (org_id, category_id, name) VALUES (:org, :category, :name) RETURNING id")
_ITEM = text("""
    INSERT INTO inventory_items (org_id, serial_number, name, category_id, state)
    VALUES (:org, :serial, :serial, :category, :state) RETURNING id
""")
#: States in which it is in somebody's hands.
_TOUCHED = {_STATE.IN_PROGRESS, _STATE.WAITING_QC, _STATE.REWORK}


@dataclass
class WorkshopDesk(WorkDesk):
    """One organization with a workshop: one category of things with three parts, and one of other things."""

    category_id: UUID
    other_category_id: UUID
    #: Frame, wheel and lamp, of the first category.
    part_ids: list[UUID]
    #: Of the other category.
    other_part_id: UUID
    _serials: count[int] = field(default_factory=lambda: count(1001))

    @classmethod
    def of(cls, db: Database) -> Self:
        """Build one."""
        desk = WorkDesk.of(db)
        with db.begin() as connection:
            bikes, scooters = (
                connection.execute(_CATEGORY, {"org": desk.org_id, "name": name}).scalar_one()
                for name in ("Bikes", "Scooters")
            )
            parts = [_part(connection, desk.org_id, bikes, name) for name in ("Frame", "Wheel", "Lamp")]
            deck = _part(connection, desk.org_id, scooters, "Deck")
        return cls(
            **vars(desk), category_id=bikes, other_category_id=scooters, part_ids=parts, other_part_id=deck
        )  # fmt: skip

    def serial(self) -> str:
        """Return a serial number that nothing has."""
        return f"RM-{next(self._serials)}"

    def item(self, serial: str | None = None, state: InventoryState = InventoryState.READY, **more: Any) -> UUID:
        """Return a new thing of the inventory; `category` names another category than the first."""
        values = {"org": self.org_id, "serial": serial or self.serial(), "category": self.category_id, "state": state}
        with self.db.begin() as connection:
            found: UUID = connection.execute(_ITEM, {**values, **more}).scalar_one()
        return found

    def specs(self, minutes: Sequence[int] = (20,)) -> list[dict[str, Any]]:
        """Return part specs as a body has them, one of each part for as many minutes as are named."""
        return [
            {"part_id": str(part_id), "color": "green", "minutes": some}
            for part_id, some in zip(self.part_ids, minutes, strict=False)
        ]

    def wish(self, serial: str | None = None, minutes: Sequence[int] = (20,), **more: Any) -> NewRepair:
        """Return what an intake asks for; without a serial number a new thing is brought in."""
        if serial is None:
            serial = self.serial()
            self.item(serial)
        return NewRepair(**{"serial_number": serial, "part_specs": self.specs(minutes), **more})

    def intake(
        self, serial: str | None = None, minutes: Sequence[int] = (20,), by: str = "master", **more: Any
    ) -> UUID:
        """Take something in by the command; return the order's id."""
        answer = self.run(workshop.CREATE, self.wish(serial, minutes, **more), by=by)
        return UUID(answer.body["data"]["id"])

    def repair(
        self, state: WorkOrderState = _STATE.NEW, to: str | None = None, *, minutes: Sequence[int] = (20,), **more: Any
    ) -> Order:
        """Make a repair in a state at once, reviewed by the manager where it must be; no step of it is kept.

        `more` are columns of the order; its metrics are those of the built-in rules.
        """
        is_touched = state in _TOUCHED
        item_id = more.pop("item_id", None) or self.item(
            state=InventoryState.IN_SERVICE if is_touched else InventoryState.READY
        )
        total = sum(minutes)
        color = FlagColor.GREEN if total <= 30 else FlagColor.YELLOW if total <= 60 else FlagColor.RED
        values = {
            "policy": WorkPolicy.WORKSHOP,
            "item_id": item_id,
            "site_id": None,
            "asset_id": None,
            "due_at": None,
            "title": "It squeals",
            "created_by_id": self.person_id("master"),
            **more,
        }
        order = self.order(state, to, **values)
        specs = [PartSpec(part, FlagColor.GREEN, "", some) for part, some in zip(self.part_ids, minutes, strict=False)]
        with self.db.begin() as connection:
            repair_rows.make(connection, order, specs, Metrics(color, -(-total // 20), is_manual=False))
            if state is not _STATE.UNDER_REVIEW:
                repair_rows.approve(connection, order.order_id, self.person_id("ops_manager"))
            return order_rows.read(connection, order.order_id)

    def at(self, state: WorkOrderState, to: str = "tech", minutes: Sequence[int] = (20,)) -> Order:
        """Lead a new repair to a state by commands."""
        if state is _STATE.UNDER_REVIEW:
            return self.read(self.intake(minutes=minutes))
        before, step = STEPS[state]
        order_id = self.at(before, to, minutes).order_id
        step(self, order_id, to)
        order = self.read(order_id)
        assert order.state is state
        return order

    def item_state(self, item_id: UUID | None) -> str:
        """Return where a thing stands."""
        (state,) = self.one("SELECT state FROM inventory_items WHERE id = :id", id=item_id)
        return str(state)

    def review(self, order_id: UUID, by: str = "ops_manager") -> Answer:
        """Approve a review."""
        return self.run(workshop.REVIEW, Nothing(), order_id, by=by)

    def assign(self, order_id: UUID, to: str = "tech", by: str = "ops_manager") -> Answer:
        """Give a repair to somebody."""
        return self.run(workshop.ASSIGN, RepairAssignment(technician_id=self.person_id(to)), order_id, by=by)

    def cancel(self, order_id: UUID, by: str = "ops_manager") -> Answer:
        """Give a repair up."""
        return self.run(workshop.CANCEL, Cancelling(reason="scrapped"), order_id, by=by)

    def start(self, order_id: UUID, by: str = "tech") -> Answer:
        """Begin a repair, or go on with it."""
        return self.run(work_sessions.START, Nothing(), order_id, by=by)

    def pause(self, order_id: UUID, by: str = "tech") -> Answer:
        """Pause a work session."""
        return self.run(work_sessions.PAUSE, Nothing(), order_id, by=by)

    def resume(self, order_id: UUID, by: str = "tech") -> Answer:
        """Go on after a pause."""
        return self.run(work_sessions.RESUME, Nothing(), order_id, by=by)

    def stop(self, order_id: UUID, by: str = "tech") -> Answer:
        """End a work session."""
        return self.run(work_sessions.STOP, Nothing(), order_id, by=by)

    def hand_over(self, order_id: UUID, by: str = "tech") -> Answer:
        """Stop the work, and hand it over to quality control."""
        self.stop(order_id, by)
        return self.run(work_sessions.TO_WAITING_QC, Nothing(), order_id, by=by)


def _part(connection: Connection, org_id: UUID, category_id: UUID, name: str) -> UUID:
    found: UUID = connection.execute(_PART, {"org": org_id, "category": category_id, "name": name}).scalar_one()
    return found


#: What leads a repair to a state, and from which: the desk, the order's id, and the name of who works on it.
STEPS: dict[WorkOrderState, tuple[WorkOrderState, Callable[[WorkshopDesk, UUID, str], object]]] = {
    _STATE.NEW: (_STATE.UNDER_REVIEW, lambda desk, order_id, _: desk.review(order_id)),
    _STATE.ASSIGNED: (_STATE.NEW, lambda desk, order_id, to: desk.assign(order_id, to)),
    _STATE.IN_PROGRESS: (_STATE.ASSIGNED, lambda desk, order_id, to: desk.start(order_id, to)),
    _STATE.WAITING_QC: (_STATE.IN_PROGRESS, lambda desk, order_id, to: desk.hand_over(order_id, to)),
    _STATE.CANCELLED: (_STATE.NEW, lambda desk, order_id, _: desk.cancel(order_id)),
}
