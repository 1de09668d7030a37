"""What happened to a ticket's field work: its rows of the audit trail, oldest first, and the states it went through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import DispatchState

#: More changes of state than any ticket has: what is beyond them is not counted.
MOST_MOVES = 10_000
#: A ticket is named by its id, or by its code where a request that was refused named it so.
_NAMED = """
    (SELECT e.* FROM audit_events e
      WHERE e.org_id = :org AND e.target_id = :{name} AND e.number > :after {outcome} ORDER BY e.number LIMIT :limit)
"""
_EVENTS = """
    SELECT e.number, e.at, e.actor_kind, e.actor_id, e.actor_role, e.action, e.outcome, e.code, e.request_id,
           e.correlation_id, e.trace_id, d.data, d.erased_at IS NOT NULL AS is_erased
      FROM ({by_id} UNION ALL {by_code}) e
      LEFT JOIN audit_details d ON d.org_id = e.org_id AND d.number = e.number
     ORDER BY e.number LIMIT :limit
"""
_ALL, _DONE = (
    text(_EVENTS.format(by_id=_NAMED.format(name="id", outcome=said), by_code=_NAMED.format(name="code", outcome=said)))
    for said in ("", "AND e.outcome = 'done'")
)
_MOVES = text("""
    SELECT audit_number, kind, from_state, to_state FROM transitions
     WHERE ticket_id = :ticket AND audit_number = ANY(CAST(:numbers AS bigint[])) ORDER BY id
""")
_ENTERED = text(f"""
    SELECT from_state, to_state, at FROM transitions WHERE ticket_id = :ticket AND kind = 'dispatch'
     ORDER BY id LIMIT {MOST_MOVES}
""")  # noqa: S608 - a number of this module
_BEGUN = text("""
    SELECT t.created_at, t.dispatch_state, now() AS now FROM tickets t WHERE t.id = :ticket
""")


@dataclass(frozen=True, slots=True)
class Told:
    """One row of the trail, and the changes of a state that came with it."""

    row: Row[Any]
    moves: Sequence[Row[Any]]

    @property
    def before_state(self) -> str | None:
        """The field work's state before, None when this did not change it or made the ticket."""
        return next((one.from_state for one in self.moves if one.kind == "dispatch"), None)

    @property
    def after_state(self) -> str | None:
        """The field work's state after, None when this did not change it."""
        return next((one.to_state for one in reversed(self.moves) if one.kind == "dispatch"), None)


@dataclass(frozen=True, slots=True)
class Course:
    """The states that a ticket's field work was in: the first since its beginning, then those that it entered."""

    began_at: datetime
    first: DispatchState
    entered: Sequence[tuple[DispatchState, datetime]]
    #: The database's time.
    now: datetime


def timeline(
    connection: Connection, org_id: UUID, ticket_id: UUID, code: str, *, after: int, limit: int, with_refused: bool
) -> list[Told]:
    """Return what the audit trail tells of a ticket after a row's number, oldest first."""
    values = {"org": org_id, "id": str(ticket_id), "code": code, "after": after, "limit": limit}
    rows = connection.execute(_ALL if with_refused else _DONE, values).all()
    moves: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    numbers = [row.number for row in rows]
    for one in connection.execute(_MOVES, {"ticket": ticket_id, "numbers": numbers}):
        moves[one.audit_number].append(one)
    return [Told(row, moves[row.number]) for row in rows]


def course(connection: Connection, ticket_id: UUID) -> Course:
    """Return the states that a ticket's field work went through; the ticket exists."""
    begun = connection.execute(_BEGUN, {"ticket": ticket_id}).one()
    rows = connection.execute(_ENTERED, {"ticket": ticket_id}).all()
    first = (rows[0].from_state or rows[0].to_state) if rows else begun.dispatch_state
    entered = [(DispatchState(row.to_state), row.at) for row in rows if row.from_state is not None]
    return Course(begun.created_at, DispatchState(first), entered, begun.now)
