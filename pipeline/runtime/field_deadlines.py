"""Deadlines of field work: told once when they come near and once when they have passed, unless somebody is there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

#: As `events.kind` calls them.
DUE_SOON, OVERDUE = "dispatch.due_soon", "dispatch.overdue"
#: Notices of a kind that one sweep tells; the next one goes on.
SWEEP = 500

#: Both are locked, skipping what somebody has at hand: no sweep waits, and none tells twice. What is told and that it
#: was told are one statement: a crash undoes both.
_TELL = """
    WITH due AS (
        SELECT d.ticket_id, d.due_at, d.{at} AS fell_at, t.dispatch_state
          FROM dispatches d JOIN tickets t ON t.id = d.ticket_id
         WHERE d.queue_due_at IS NOT NULL AND d.arrived_at IS NULL AND d.{mark} IS NULL AND d.{at} < now(){unless}
         ORDER BY d.{at} LIMIT :limit FOR UPDATE OF d SKIP LOCKED FOR KEY SHARE OF t SKIP LOCKED
    ), marked AS (
        UPDATE dispatches d SET {sets} FROM due WHERE d.ticket_id = due.ticket_id
        RETURNING d.org_id, d.ticket_id, d.trace_id, d.priority, due.due_at, due.fell_at, due.dispatch_state
    ), told AS (
        INSERT INTO events (org_id, ticket_id, kind, data, trace_id)
        SELECT org_id, ticket_id, :notice,
               jsonb_build_object('due_at', due_at, 'priority', priority, 'state', dispatch_state), trace_id FROM marked
    )
    SELECT count(*) AS told, CAST(extract(epoch FROM now() - min(fell_at)) AS float8) AS lag FROM marked
"""
_OVERDUE = text(
    _TELL.format(
        at="due_at",
        mark="overdue_told_at",
        sets="overdue_told_at = now(), due_soon_told_at = coalesce(d.due_soon_told_at, now())",
        unless="",
    )
)
#: Nobody is told that it will be late what is late already.
_DUE_SOON = text(
    _TELL.format(
        at="due_soon_at", mark="due_soon_told_at", sets="due_soon_told_at = now()", unless=" AND d.due_at >= now()"
    )
)


@dataclass(frozen=True, slots=True)
class Notices:
    """How many were told, and by how much the latest of them came late, in seconds."""

    told: int
    lag: float


def announce(connection: Connection, limit: int = SWEEP) -> dict[str, Notices]:
    """Tell, as events, of field work that is overdue, and of what is due soon; each once, however many do this."""
    found = {}
    for notice, statement in ((OVERDUE, _OVERDUE), (DUE_SOON, _DUE_SOON)):
        row = connection.execute(statement, {"limit": limit, "notice": notice}).one()
        found[notice] = Notices(row.told, row.lag or 0.0)
    return found
