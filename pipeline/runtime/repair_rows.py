"""Repairs in the database: made with their parts, judged, read, and said in the words of contract 002."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import FlagColor, WorkOrderState
from models.permissions import Permission
from models.queries import repairs
from pipeline.core.orders import Order, code_of
from pipeline.core.repairs import ACTIONS, KnownPart, Metrics, PartSpec, Repair, enveloped
from pipeline.core.written import plain, read_id
from pipeline.runtime.order_rows import number_of

_NEW = text("SELECT uuidv7()")
_INSERT = text("""
    INSERT INTO repairs (order_id, org_id, minutes, flag_color, xp_amount, is_manual)
    VALUES (:order, :org, :minutes, :color, :xp, :is_manual)
""")
_PARTS = text("""
    INSERT INTO repair_parts (order_id, part_id, org_id, position, color, comment, minutes)
    SELECT :order, s.part, :org, s.position, s.color, s.comment, s.minutes
      FROM unnest(CAST(:parts AS uuid[]), CAST(:colors AS text[]), CAST(:comments AS text[]), CAST(:minutes AS int[]))
           WITH ORDINALITY AS s(part, color, comment, minutes, position)
""")
_READ = text("""
    SELECT order_id, minutes, flag_color, xp_amount, is_manual, approved_by_id, approved_at
      FROM repairs WHERE order_id = :order
""")
#: Whoever approved it first stays (seed-behaviours, 3.8.6).
_APPROVE = text("""
    UPDATE repairs SET approved_by_id = :person, approved_at = now() WHERE order_id = :order AND approved_at IS NULL
""")
_JUDGE = text("""
    UPDATE repairs SET flag_color = :color, xp_amount = :xp, is_manual = true WHERE order_id = :order
""")
#: By themselves, or by a token of theirs.
_JUDGED = text("""
    SELECT EXISTS (
        SELECT FROM work_order_events
         WHERE order_id = :order AND command = 'workshop.set_metrics'
           AND actor_id IN (SELECT CAST(:person AS text) UNION ALL
                            SELECT 'api_token:' || id FROM api_tokens WHERE org_id = :org AND person_id = :person)
    )
""")
_KNOWN_PARTS = text("""
    SELECT id, category_id FROM parts WHERE org_id = :org AND id = ANY(CAST(:ids AS uuid[])) AND is_active
""")
_MAY = text("""
    SELECT EXISTS (
        SELECT FROM memberships m
          JOIN people p ON p.id = m.person_id AND p.is_active AND p.erased_at IS NULL
          JOIN role_permissions h ON h.role_id = m.role_id AND h.permission = :permission
         WHERE m.org_id = :org AND m.person_id = :person AND m.is_active
    )
""")


def new_id(connection: Connection) -> UUID:
    """Return the id of an order that is to be made."""
    found: UUID = connection.execute(_NEW).scalar_one()
    return found


def make(connection: Connection, order: Order, parts: Sequence[PartSpec], metrics: Metrics) -> None:
    """Keep what only a repair knows of an order that was made in this transaction."""
    values = {
        "order": order.order_id,
        "org": order.org_id,
        "minutes": sum(part.minutes for part in parts),
        "color": metrics.color.value,
        "xp": metrics.xp,
        "is_manual": metrics.is_manual,
    }
    connection.execute(_INSERT, values)
    listed = {
        "parts": [part.part_id for part in parts],
        "colors": [part.color.value for part in parts],
        "comments": [part.comment for part in parts],
        "minutes": [part.minutes for part in parts],
    }
    connection.execute(_PARTS, {"order": order.order_id, "org": order.org_id, **listed})


def repair(connection: Connection, order_id: UUID) -> Repair:
    """Return what only a repair knows of its order, as the transaction sees it; the order's lock guards it."""
    row = connection.execute(_READ, {"order": order_id}).one()
    metrics = Metrics(FlagColor(row.flag_color), row.xp_amount, row.is_manual)
    return Repair(row.order_id, row.minutes, metrics, row.approved_by_id, row.approved_at)


def approve(connection: Connection, order_id: UUID, person_id: UUID) -> None:
    """Note who approved the review, unless somebody did before."""
    connection.execute(_APPROVE, {"order": order_id, "person": person_id})


def judge(connection: Connection, order_id: UUID, color: FlagColor, xp: int) -> None:
    """Set a repair's metrics by hand."""
    connection.execute(_JUDGE, {"order": order_id, "color": color.value, "xp": xp})


def has_judged(connection: Connection, order: Order, person_id: UUID) -> bool:
    """Say whether somebody set a repair's metrics by hand."""
    values = {"org": order.org_id, "order": order.order_id, "person": person_id}
    return bool(connection.execute(_JUDGED, values).scalar_one())


def known_parts(connection: Connection, org_id: UUID, part_ids: Sequence[UUID]) -> list[KnownPart]:
    """Return those of an organization's parts in use that are named."""
    found = connection.execute(_KNOWN_PARTS, {"org": org_id, "ids": sorted(set(part_ids))})
    return [KnownPart(row.id, row.category_id) for row in found]


def may(connection: Connection, org_id: UUID, person_id: UUID, permission: Permission) -> bool:
    """Say whether somebody is an active member whose role has a permission."""
    values = {"org": org_id, "person": person_id, "permission": permission.value}
    return bool(connection.execute(_MAY, values).scalar_one())


def find(connection: Connection, org_id: UUID, name: str) -> UUID | None:
    """Return the id of an organization's repair by its id or code."""
    order_id = read_id(name)
    number = number_of(name) if order_id is None else None
    return None if order_id is None and number is None else repairs.find(connection, org_id, order_id, number)


def say(connection: Connection, order: Order) -> Mapping[str, Any]:
    """Return the whole answer of contract 002 for a repair as it is now."""
    return enveloped(described(repairs.one(connection, order.order_id)))


def described(row: Row[Any]) -> dict[str, Any]:
    """Return a repair that was read, by the names of contract 002."""
    is_done = row.state == WorkOrderState.DONE.value
    session = {
        "id": plain(row.session_id),
        "technician": plain(row.session_technician_id),
        "status": row.session_state,
        "started_at": plain(row.session_started_at),
    }
    return {
        "id": str(row.id),
        "code": code_of(row.number),
        "inventory_item": str(row.item_id),
        "serial_number": row.serial_number,
        "inventory_item_name": row.item_name,
        "inventory_item_status": row.item_state,
        "category": plain(row.category_id),
        "category_name": row.category,
        "master": plain(row.master_id),
        "master_name": row.master_name,
        "technician": plain(row.technician_id),
        "technician_name": row.technician_name,
        "title": row.title,
        "ticket_parts": row.parts,
        "total_duration": row.minutes,
        "flag_minutes": row.minutes,
        "flag_color": row.flag_color,
        "xp_amount": row.xp_amount,
        "is_manual": row.is_manual,
        "status": row.state,
        "approved_by": plain(row.approved_by_id),
        "approved_by_name": row.approved_by_name,
        "approved_at": plain(row.approved_at),
        "assigned_at": plain(row.assigned_at),
        "started_at": plain(row.started_at),
        "finished_at": plain(row.closed_at) if is_done else None,
        "cancelled_at": None if is_done else plain(row.closed_at),
        "work_session": None if row.session_id is None else session,
        "created_at": plain(row.created_at),
        "version": row.version,
    }


def step(row: Row[Any]) -> dict[str, Any]:
    """Return one step of a repair that was read, by the names of contract 002."""
    return {
        "id": row.id,
        "action": ACTIONS[row.command],
        "from_status": row.from_state,
        "to_status": row.to_state,
        "actor": row.actor_id,
        "actor_name": row.actor_name,
        "actor_role": row.actor_role,
        "metadata": row.data,
        "created_at": plain(row.at),
    }
