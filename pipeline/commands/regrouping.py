"""What a person does to tickets as wholes: merge them, split messages off, and undo either."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.queries.scoping import EVERYTHING, Reached
from pipeline.core import ticket_codes
from pipeline.core.written import read_id
from pipeline.runtime import field_regrouping, regrouping, stitching, undoing
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import UserError
from pipeline.runtime.ticket_locks import lock_tickets
from pipeline.runtime.undoing import Undone

_MOST = 100
_FIND = """
    SELECT t.id, t.code, t.status, i.code AS merged_into FROM tickets t LEFT JOIN tickets i ON i.id = t.merged_into
     WHERE t.org_id = :org AND (t.code = ANY(CAST(:codes AS text[])) OR t.id = ANY(CAST(:ids AS uuid[])))
       AND {reach}
"""
_STATUS = text("SELECT id, status FROM tickets WHERE id = ANY(CAST(:ids AS uuid[]))")
_MESSAGES = text("SELECT message_id FROM ticket_messages WHERE ticket_id = :ticket ORDER BY message_id")
_JOINED = text("""
    DELETE FROM held_apart WHERE one_id = ANY(CAST(:ids AS uuid[])) AND other_id = ANY(CAST(:ids AS uuid[]))
""")
_PART = """
    SELECT count(t.id) = 1 + cardinality(g.other_ids) AS is_reached
      FROM regroupings g
      LEFT JOIN tickets t ON (t.id = g.ticket_id OR t.id = ANY(g.other_ids)) AND {reach}
     WHERE g.id = :id AND (g.ticket_id = :ticket OR g.other_ids @> ARRAY[CAST(:ticket AS uuid)])
     GROUP BY g.id
"""
_NEW_ID = text("SELECT uuidv7()")


@dataclass(frozen=True, slots=True)
class Found:
    """A ticket by the name that a person gave."""

    ticket_id: UUID
    code: str


@dataclass(frozen=True, slots=True)
class Split:
    """The new ticket, and the regrouping that undoes it."""

    regrouping_id: int
    ticket_id: UUID
    code: str


def find_tickets(
    connection: Connection, org_id: UUID, names: Sequence[str], reach: Reached = EVERYTHING
) -> list[Found]:
    """Return tickets by code or id, in order.

    Raises `UserError` for one that is unknown or out of reach, and for one that was merged.
    """
    wanted = [name.strip().lower() for name in names]
    ids = [found for name in wanted if (found := read_id(name)) is not None]
    statement = text(_FIND.format(reach=reach[0]))
    rows = connection.execute(statement, {"org": org_id, "codes": wanted, "ids": ids, **reach[1]})
    by_name: dict[str, Row[Any]] = {}
    for row in rows:
        by_name |= {row.code: row, str(row.id): row}
    return [_found(name, by_name.get(name)) for name in wanted]


def _found(name: str, row: Row[Any] | None) -> Found:
    if row is None:
        raise UserError(f"there is no ticket {name!r}")
    if row.merged_into is not None:
        raise UserError(f"{row.code} was merged into {row.merged_into}; name that one, or undo the merge")
    return Found(row.id, row.code)


def merge_tickets(
    connection: Connection, org_id: UUID, into: Found, others: Sequence[Found], *, actor: str, reason: str
) -> int:
    """Merge tickets into one that a person chose; return the regrouping's id. Their later replies follow.

    Raises `UserError` for no other ticket, the same one twice, or more than 100, and where people work in the field on
    one that would go.
    """
    losers = sorted({other.ticket_id for other in others})
    if not losers or len(losers) < len(others) or into.ticket_id in losers or len(losers) > _MOST:
        raise UserError(f"name up to {_MOST} different tickets to merge into {into.code}")
    involved = [into.ticket_id, *losers]
    _enter(connection, org_id, involved)
    field_regrouping.check_merge(connection, into.ticket_id, losers)
    regrouping_id = regrouping.merge(connection, org_id, into.ticket_id, losers, actor=actor, reason=reason)
    connection.execute(_JOINED, {"ids": involved})
    data = {"regrouping_id": regrouping_id, "merged": [other.code for other in others], "reason": reason}
    _tell(connection, org_id, {into.ticket_id: data}, "ticket.merged", actor)
    told = {other.ticket_id: {"regrouping_id": regrouping_id, "into": into.code} for other in others}
    _tell(connection, org_id, told, "ticket.merged_into", actor)
    return regrouping_id


def split_ticket(
    connection: Connection, org_id: UUID, ticket: Found, message_ids: Iterable[int], *, actor: str, reason: str
) -> Split:
    """Make some messages of a ticket a ticket of their own; replies to them follow, and the two stay apart.

    Raises `UserError` unless they are some of its messages, and not all.
    """
    _enter(connection, org_id, [ticket.ticket_id])
    all_ids = list(connection.execute(_MESSAGES, {"ticket": ticket.ticket_id}).scalars())
    chosen = sorted(set(message_ids))
    if not chosen or not set(chosen) < set(all_ids):
        raise UserError(f"name some of the {len(all_ids)} messages of {ticket.code}, not all of them")
    code = ticket_codes.ticket_code(secrets.token_bytes(ticket_codes.CODE_BYTES))
    new_id: UUID = connection.execute(_NEW_ID).scalar_one()
    regrouping_id = regrouping.split(
        connection, org_id, ticket.ticket_id, (new_id, code),
        message_ids=chosen, actor=actor, reason=reason,
    )  # fmt: skip
    stitching.rekey(connection, org_id, [ticket.ticket_id, new_id])
    data = {"regrouping_id": regrouping_id, "messages": chosen, "reason": reason}
    told = {ticket.ticket_id: {**data, "new": code}, new_id: {**data, "from": ticket.code}}
    _tell(connection, org_id, told, "ticket.split", actor)
    return Split(regrouping_id, new_id, code)


def check_part(connection: Connection, ticket_id: UUID, regrouping_id: int, reach: Reached = EVERYTHING) -> None:
    """Raise `UserError` when a ticket took no part in a regrouping, or one that did is out of reach."""
    statement = text(_PART.format(reach=reach[0]))
    if not connection.execute(statement, {"ticket": ticket_id, "id": regrouping_id, **reach[1]}).scalar_one_or_none():
        raise UserError(f"this ticket took no part in a regrouping {regrouping_id}")


def undo_regrouping(connection: Connection, org_id: UUID, regrouping_id: int, *, actor: str) -> Undone:
    """Undo a merge or a split. Raises `UserError` as `undoing.undo`."""
    undone = undoing.undo(connection, org_id, regrouping_id, actor=actor)
    data = {"regrouping_id": regrouping_id, "messages_replaced": undone.replaced}
    told = dict.fromkeys((undone.ticket_id, *undone.other_ids), data)
    _tell(connection, org_id, told, f"ticket.{undone.kind.value}_undone", actor)
    return undone


def _enter(connection: Connection, org_id: UUID, ticket_ids: Sequence[UUID]) -> None:
    """Keep stitching and everybody else away from the tickets; they may have been merged since they were found."""
    stitching.lock(connection, org_id)
    lock_tickets(connection, ticket_ids)
    rows = connection.execute(_STATUS, {"ids": list(ticket_ids)})
    if any(row.status == "merged" for row in rows):
        raise UserError("one of the tickets was merged meanwhile; look at them again")


def _tell(
    connection: Connection, org_id: UUID, told: Mapping[UUID, Mapping[str, object]], kind: str, actor: str
) -> None:
    rows = [(org_id, ticket_id, kind, actor, orjson.dumps(data).decode()) for ticket_id, data in told.items()]
    copy_rows(connection, "events", ("org_id", "ticket_id", "kind", "actor", "data"), rows)
