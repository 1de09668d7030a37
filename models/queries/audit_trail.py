"""Reading the audit trail, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import ActorKind, AuditOutcome

#: Rows that one page looks at, whatever matches: filters that few rows pass go on with the next page.
WALK = 20_000

_ROWS = """
    SELECT w.*, d.data, d.erased_at FROM ({walked}) w
      LEFT JOIN audit_details d ON d.org_id = w.org_id AND d.number = w.number
     WHERE {conditions} ORDER BY w.number DESC LIMIT :limit
"""
_WALKED = """
    SELECT * FROM audit_events
     WHERE org_id = :org AND (CAST(:before AS bigint) IS NULL OR number < :before) ORDER BY number DESC LIMIT :walk
"""
#: One thing's rows stand in an index of their own.
_OF_TARGET = """
    SELECT * FROM audit_events
     WHERE org_id = :org AND target_id = :target AND (CAST(:before AS bigint) IS NULL OR number < :before)
     ORDER BY number DESC LIMIT :walk
"""
_END = "SELECT min(number) AS number, min(at) AS at, count(*) AS looked_at FROM ({walked}) w"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the trail, with its details."""

    org_id: UUID
    number: int
    at: datetime
    actor_kind: ActorKind
    actor_id: str
    actor_role: str | None
    action: str
    outcome: AuditOutcome
    code: str | None
    target_kind: str | None
    target_id: str | None
    request_id: str | None
    correlation_id: str | None
    trace_id: str | None
    hash: str
    details: dict[str, Any] | None
    is_erased: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """What rows must match; None matches all."""

    actor: str | None = None
    #: A whole action, or its beginning when it ends in a dot: `ticket.`
    action: str | None = None
    target: str | None = None
    outcome: AuditOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the number to go on before; None at the end of the trail."""

    rows: Sequence[AuditRow]
    before: int | None


def find(connection: Connection, org_id: UUID, wanted: Filter, *, before: int | None = None, limit: int = 50) -> Page:
    """Return up to `limit` rows that match, older than number `before`, newest first.

    At most `WALK` rows are looked at, so that a page may be short, or empty, and yet have one after it.
    """
    values: dict[str, Any] = {
        "org": org_id,
        "before": before,
        "walk": WALK,
        "limit": limit + 1,
        "target": wanted.target,
    }
    walked = _OF_TARGET if wanted.target is not None else _WALKED
    conditions = _conditions(wanted, values)
    found = connection.execute(text(_ROWS.format(walked=walked, conditions=conditions)), values).all()
    rows = [_row(row) for row in found[:limit]]
    if len(found) > limit:
        return Page(rows, rows[-1].number)
    end = connection.execute(text(_END.format(walked=walked)), values).one()
    is_over = end.looked_at < WALK or (wanted.since is not None and end.at < wanted.since)
    return Page(rows, None if is_over else end.number)


def _conditions(wanted: Filter, values: dict[str, Any]) -> str:
    """Return the conditions that are in use, and add their parameters."""
    is_beginning = wanted.action is not None and wanted.action.endswith(".")
    named = {
        "actor": (wanted.actor, "w.actor_id = :actor"),
        "action": (wanted.action, "starts_with(w.action, :action)" if is_beginning else "w.action = :action"),
        "outcome": (wanted.outcome, "w.outcome = :outcome"),
        "since": (wanted.since, "w.at >= :since"),
        "until": (wanted.until, "w.at < :until"),
    }
    used = {name: condition for name, (value, condition) in named.items() if value is not None}
    values |= {name: named[name][0] for name in used}
    return " AND ".join(used.values()) or "TRUE"


def _row(row: Row[Any]) -> AuditRow:
    details = {name: value for name, value in (row.data or {}).items() if not name.startswith("_")}
    return AuditRow(
        org_id=row.org_id,
        number=row.number,
        at=row.at,
        actor_kind=ActorKind(row.actor_kind),
        actor_id=row.actor_id,
        actor_role=row.actor_role,
        action=row.action,
        outcome=AuditOutcome(row.outcome),
        code=row.code,
        target_kind=row.target_kind,
        target_id=row.target_id,
        request_id=row.request_id,
        correlation_id=row.correlation_id,
        trace_id=row.trace_id,
        hash=bytes(row.hash).hex(),
        details=details or None,
        is_erased=row.erased_at is not None,
    )
