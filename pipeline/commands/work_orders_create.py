"""How a work order of the field begins: a failed item of a checklist, whose ride is held until it is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import WorkOrderState, WorkPolicy
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Move, Refused, Target
from pipeline.commands.orders import MISSING, NOT_YOURS, record
from pipeline.commands.work_order_arguments import NewOrder, invalid
from pipeline.core import order_answers
from pipeline.core.orders import DUE_IN
from pipeline.core.refusing import Refusal
from pipeline.core.written import plain
from pipeline.runtime import checklist_rows, order_rows
from pipeline.runtime.checklist_rows import Checklist, Round

_NAMED = text("""
    SELECT uuidv7() AS order_id, now() AS now,
           (SELECT s.name FROM sites s WHERE s.org_id = :org AND s.id = :site) AS site,
           (SELECT s.account_id FROM sites s WHERE s.org_id = :org AND s.id = :site) AS account_id,
           (SELECT coalesce(nullif(a.name, ''), a.tag) FROM assets a WHERE a.org_id = :org AND a.id = :ride) AS ride
""")


@dataclass(frozen=True, slots=True)
class Named:
    """What a new order names, as far as it is there."""

    order_id: UUID
    now: datetime
    site: str | None
    account_id: UUID | None
    #: As it is named, else the checklist's.
    ride_id: UUID | None
    ride: str | None
    checklist: Checklist | None


def _lock(connection: Connection, ask: Ask[NewOrder]) -> Locked[Named]:
    """Look up what is named; the checklist is locked by the effect."""
    asked, org_id, wanted = ask.arguments, ask.principal.org_id, ask.arguments.source_checklist.id
    checklist = None if wanted is None else checklist_rows.find(connection, org_id, wanted)
    ride_id = asked.ride_id or (checklist.asset_id if checklist else None)
    row = connection.execute(_NAMED, {"org": org_id, "site": asked.game_zone_id, "ride": ride_id}).one()
    named = Named(row.order_id, row.now, row.site, row.account_id, ride_id, row.ride, checklist)
    return Locked(str(named.order_id), named, 0, is_reached=_is_reached(ask, named), trace_id=ask.trace_id)


def _is_reached(ask: Ask[NewOrder], named: Named) -> bool:
    """Say whether who asks reaches the zone; one that nobody has is told of by a gate to those who reach all."""
    scope = ask.principal.scope
    is_zone = scope.site_ids is None or ask.arguments.game_zone_id in scope.site_ids
    return is_zone and (scope.account_ids is None or named.account_id in scope.account_ids)


def place_exists(ask: Ask[NewOrder], named: Named) -> Refusal | None:
    """Refuse a zone, a ride or a checklist that the organization does not have, and a checklist of another place."""
    asked = ask.arguments
    if named.site is None:
        return invalid("gameZoneId", "your organization has no such zone")
    if named.ride_id is not None and named.ride is None:
        return invalid("rideId", "your organization has no such ride")
    if asked.source_checklist.id is None:
        return None
    checklist = named.checklist
    if checklist is None or checklist.site_id != asked.game_zone_id:
        return invalid("sourceChecklist", "this zone has no such checklist")
    if checklist.asset_id is not None and asked.ride_id not in {None, checklist.asset_id}:
        return invalid("rideId", "the checklist is of another ride")
    return None


def _create(connection: Connection, ask: Ask[NewOrder], named: Named) -> Effect:
    asked = ask.arguments
    checklist = checklist_rows.hold(connection, _round(ask))
    _refuse_second(connection, checklist, asked.a_item.id)
    values = {
        "id": named.order_id,
        "org_id": ask.principal.org_id,
        "policy": WorkPolicy.FIELD,
        "title": asked.title or asked.a_item.text,
        "priority": asked.priority,
        "checklist_id": checklist.checklist_id,
        "site_id": asked.game_zone_id,
        "asset_id": named.ride_id,
        "created_by_id": ask.principal.person_id,
        "instructions": asked.instructions or None,
        "due_at": asked.due_at or named.now + DUE_IN[asked.priority],
        "trace_id": ask.trace_id,
    }
    order = order_rows.make(connection, values)
    item = {"id": asked.a_item.id, "text": asked.a_item.text, "note": asked.a_item.note or None}
    checklist_rows.note_finding(connection, order, checklist, item)
    return Effect(
        order_answers.made(order, _around(asked, named, checklist, item)),
        status=201,
        version=order.version,
        moves=[Move(None, order.state.value)],
        details={"checklist_id": checklist.checklist_id, "site_id": order.site_id, "due_at": order.due_at},
        subject=order,
    )


def _round(ask: Ask[NewOrder]) -> Round:
    asked, who = ask.arguments, ask.principal
    source = asked.source_checklist
    return Round(who.org_id, asked.game_zone_id, asked.ride_id, who.actor_id, source.id, source.name)


def _refuse_second(connection: Connection, checklist: Checklist, item_id: str) -> None:
    """Refuse a second open order for one failed item; the checklist is locked. Raises `Refused`."""
    code = checklist_rows.open_order(connection, checklist.checklist_id, item_id)
    if code is not None:
        said = f"{code} is open for this item of this checklist: go on with it"
        raise Refused(Refusal("DUPLICATE_WORK_ORDER", said, details={"code": code}))


def _around(asked: NewOrder, named: Named, checklist: Checklist, item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "gameZone": {"id": str(asked.game_zone_id), "name": named.site},
        "ride": None if named.ride_id is None else {"id": plain(named.ride_id), "name": named.ride},
        "sourceChecklist": {
            "id": str(checklist.checklist_id),
            "name": checklist.name,
            "state": order_answers.state_word(checklist.state),
        },
        "aItem": dict(item),
    }


#: Made by nobody who is known to it yet: whoever reaches the zone may.
NEW_ORDER: Target[Any, Named] = Target("work_order", _lock, MISSING, NOT_YOURS, record)
CREATE = Command(
    name="work_order.create",
    about="Makes an order of what a checklist found; the checklist is held until its orders are over.",
    arguments=NewOrder,
    permission=Permission.WORK_ORDERS_CREATE,
    target=NEW_ORDER,
    effect=_create,
    gates=(place_exists,),
    beginnings=frozenset({WorkOrderState.CREATED.value}),
)
#: What `pipeline.table` finds here.
COMMANDS = (CREATE,)
