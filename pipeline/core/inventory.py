"""A thing of the inventory as a value, and what may be done to it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models.enums import InventoryState


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that is repaired, as commands see it."""

    item_id: UUID
    serial_number: str
    name: str
    category_id: UUID | None
    state: InventoryState
    version: int
    archived_at: datetime | None
    #: The repair that is open; while there is one, the thing is the workshop's.
    open_order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of things; parts belong to one."""

    category_id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the things of one category; what it takes, each repair says anew."""

    part_id: UUID
    category_id: UUID
    name: str
    is_active: bool
