"""Checklists in the database: found or made, held while work that they asked for is open, released with the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import ParentState
from models.work_lifecycle import OPEN
from pipeline.core.orders import Order, code_of

_COLUMNS = "c.id, c.site_id, c.asset_id, c.name, c.state"
_FIND = text(f"SELECT {_COLUMNS} FROM checklists c WHERE c.org_id = :org AND c.id = :id")  # noqa: S608 - columns from above
_LOCK = text(f"SELECT {_COLUMNS} FROM checklists c WHERE c.org_id = :org AND c.id = :id FOR NO KEY UPDATE")  # noqa: S608
#: Two rounds of one name begin one after the other: the second finds the first.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:name AS text), 0))")
_NAMED = text(f"""
    SELECT {_COLUMNS} FROM checklists c
     WHERE c.org_id = :org AND c.site_id = :site AND c.asset_id IS NOT DISTINCT FROM CAST(:asset AS uuid)
       AND c.name = :name AND c.state = 'held'
     ORDER BY c.id DESC LIMIT 1 FOR NO KEY UPDATE
""")  # noqa: S608 - columns from above
_MAKE = text(f"""
    INSERT INTO checklists AS c (org_id, site_id, asset_id, name, created_by)
    VALUES (:org, :site, :asset, :name, :by) RETURNING {_COLUMNS}
""")  # noqa: S608 - columns from above
_HOLD = text("UPDATE checklists SET state = 'held', released_at = NULL WHERE id = :id AND state <> 'held'")
#: A statement of its own, after the lock: it sees what ended while this one waited.
_RELEASE = text(f"""
    UPDATE checklists SET state = 'released', released_at = now()
     WHERE id = :id AND state = 'held'
       AND NOT EXISTS (SELECT FROM work_orders w WHERE w.checklist_id = :id AND w.id <> :order AND w.{OPEN})
""")  # noqa: S608 - a constant
_SAME = text(f"""
    SELECT w.number FROM findings f JOIN work_orders w ON w.id = f.order_id AND w.{OPEN}
     WHERE f.checklist_id = :checklist AND f.item_id = :item ORDER BY w.number LIMIT 1
""")  # noqa: S608 - a constant
_FOUND = text("""
    INSERT INTO findings (order_id, org_id, checklist_id, item_id, item_text, item_note)
    VALUES (:order, :org, :checklist, :item, :text, :note)
""")


@dataclass(frozen=True, slots=True)
class Checklist:
    """A round of checks of a place, or of one ride there."""

    checklist_id: UUID
    site_id: UUID
    asset_id: UUID | None
    name: str
    state: ParentState


@dataclass(frozen=True, slots=True)
class Round:
    """Which round of checks is meant: one by its id, or the one that goes on under a name."""

    org_id: UUID
    site_id: UUID
    asset_id: UUID | None
    by: str
    checklist_id: UUID | None = None
    name: str | None = None


def find(connection: Connection, org_id: UUID, checklist_id: UUID) -> Checklist | None:
    """Return a checklist of an organization; None when there is none."""
    row = connection.execute(_FIND, {"org": org_id, "id": checklist_id}).one_or_none()
    return None if row is None else _checklist(row)


def hold(connection: Connection, wanted: Round) -> Checklist:
    """Lock a round, or begin it, and hold it: work that it asks for is about to be made. LookupError without one."""
    found = _begin(connection, wanted) if wanted.checklist_id is None else _locked(connection, wanted)
    connection.execute(_HOLD, {"id": found.checklist_id})
    return replace(found, state=ParentState.HELD)


def release_without(connection: Connection, order: Order) -> bool:
    """Release an order's checklist where no other work of it is open; say whether this released it.

    The caller ends the order in this transaction. Locks the checklist: two that end together follow each other, and
    one that is made meanwhile holds it again.
    """
    if order.checklist_id is None:
        return False
    connection.execute(_LOCK, {"org": order.org_id, "id": order.checklist_id})
    values = {"id": order.checklist_id, "order": order.order_id}
    return connection.execute(_RELEASE, values).rowcount == 1


def open_order(connection: Connection, checklist_id: UUID, item_id: str) -> str | None:
    """Return the code of the open order that a failed item of a locked checklist has; None when it has none."""
    number = connection.execute(_SAME, {"checklist": checklist_id, "item": item_id}).scalar_one_or_none()
    return None if number is None else code_of(number)


def note_finding(connection: Connection, order: Order, checklist: Checklist, item: Mapping[str, Any]) -> None:
    """Keep what an order is about; `item` has `id`, `text` and `note`."""
    values = {"order": order.order_id, "org": order.org_id, "checklist": checklist.checklist_id}
    connection.execute(_FOUND, {**values, "item": item["id"], "text": item["text"], "note": item["note"]})


def _begin(connection: Connection, wanted: Round) -> Checklist:
    place = (wanted.org_id, wanted.site_id, wanted.asset_id, wanted.name)
    connection.execute(_ALONE, {"name": "checklist " + " ".join(map(str, place))})
    values = {"org": wanted.org_id, "site": wanted.site_id, "asset": wanted.asset_id, "name": wanted.name}
    row = connection.execute(_NAMED, values).one_or_none()
    return _checklist(row or connection.execute(_MAKE, {**values, "by": wanted.by}).one())


def _locked(connection: Connection, wanted: Round) -> Checklist:
    row = connection.execute(_LOCK, {"org": wanted.org_id, "id": wanted.checklist_id}).one_or_none()
    if row is None:
        raise LookupError(f"there is no checklist {wanted.checklist_id}")
    return _checklist(row)


def _checklist(row: Row[Any]) -> Checklist:
    return Checklist(row.id, row.site_id, row.asset_id, row.name, ParentState(row.state))
