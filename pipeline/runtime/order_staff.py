"""Whether somebody may be given a work order: what they may do, and whether they reach its place."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.permissions import Permission
from pipeline.core.orders import Order
from pipeline.core.principals import Principal, Way
from pipeline.runtime import identity, order_rows


@dataclass(frozen=True, slots=True)
class Fitness:
    """What speaks for and against somebody."""

    #: An active member whose role works orders.
    is_technician: bool = False
    is_in_zone: bool = False


def fitness(connection: Connection, order: Order, person_id: UUID) -> Fitness:
    """Return how a person fits an order, as their membership is now."""
    found = identity.by_person(connection, order.org_id, person_id, Way.SESSION)
    if found is None or not found.may(Permission.WORK_ORDERS_WORK):
        return Fitness()
    return Fitness(is_technician=True, is_in_zone=_reaches(connection, order, found))


def _reaches(connection: Connection, order: Order, person: Principal) -> bool:
    """Say whether accounts and sites hold the order; whoever it is given to reaches it by that in every other way."""
    condition, values = order_rows.place_reach(person, "w")
    statement = text(f"SELECT EXISTS (SELECT FROM work_orders w WHERE w.id = :order AND ({condition}))")  # noqa: S608 - a condition of ours
    return bool(connection.execute(statement, {**values, "order": order.order_id}).scalar_one())
