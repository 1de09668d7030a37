"""The dispatcher's queue: open field work by its deadline, narrowed by anything, at a cost that is bounded.

An index gives the order. What it does not give is looked for by a bounded walk along it: a page may be short, even
empty, and yet not be the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, TextClause, text

from models.enums import DispatchPriority, DispatchState
from models.queries.scoping import EVERYTHING, Reached

#: Rows that one page looks at, in the order of the queue.
WALK = 10_000
_ORDER = "ORDER BY d.queue_due_at, d.ticket_id"
#: A walk stops early, which the planner cannot know: it must not gather and sort everything first.
_WALKING, _LOOKING = (
    text(f"""
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', '{said}', true),
           set_config('enable_sort', '{said}', true)
    """)
    for said in ("off", "on")
)
_NOW = text("SELECT now()")
#: By the whole minutes that are left, as `pipeline.core.dispatch_queue` counts them. Where somebody is there, the
#: deadline is over, as for the notices of `pipeline.runtime.field_deadlines`.
_STANDINGS = text("""
    SELECT count(*) FILTER (WHERE queue_due_at < now()) AS breach,
           count(*) FILTER (WHERE queue_due_at >= now() AND queue_due_at < now() + interval '46 minutes') AS warning,
           count(*) FILTER (WHERE queue_due_at >= now() + interval '46 minutes') AS healthy
      FROM dispatches WHERE queue_due_at IS NOT NULL AND arrived_at IS NULL
""")
_SHOWN = text("""
    SELECT t.id, t.code, t.subject AS summary, t.dispatch_state AS state, t.version, t.account_id, a.name AS account,
           t.site_id, s.name AS site, s.region, d.asset_id, d.incident_type, d.priority, d.due_at, d.arrived_at,
           d.scheduled_start, d.scheduled_end, d.assigned_tech_id, p.full_name AS technician, d.visit_number,
           d.rework_reason, t.created_at, d.updated_at
      FROM unnest(CAST(:ids AS uuid[])) AS w(id) JOIN tickets t ON t.id = w.id JOIN dispatches d ON d.ticket_id = w.id
      LEFT JOIN accounts a ON a.id = t.account_id LEFT JOIN sites s ON s.id = t.site_id
      LEFT JOIN people p ON p.id = d.assigned_tech_id
""")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What queued work must have; None narrows nothing. `due_since` is in it, `due_before` is not."""

    state: DispatchState | None = None
    priority: DispatchPriority | None = None
    due_since: datetime | None = None
    due_before: datetime | None = None
    account_id: UUID | None = None
    site_id: UUID | None = None
    assigned_tech_id: UUID | None = None
    incident_type: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    due_at: datetime
    ticket_id: UUID


@dataclass(frozen=True, slots=True)
class Found:
    """One page in no order; `last` is where the next one begins, None when nothing can follow."""

    rows: Sequence[Row[Any]]
    last: Place | None


@dataclass(slots=True)
class _Question:
    """The clauses that are in use, with their values: `driving` is what the index gives."""

    driving: list[str]
    filters: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def narrow(self, value: object, name: str, clause: str, *, driving: bool = False) -> None:
        """Add a clause with its value, when there is one."""
        if value is not None:
            (self.driving if driving else self.filters).append(clause)
            self.values[name] = value

    def walk(self, limit: int) -> TextClause:
        """Return the statement that goes along the queue and keeps what is asked for.

        Where it looked at `WALK` and did not find `limit`, a last row that is no hit tells the last that it looked at.
        """
        driving, filters = " AND ".join(self.driving), " AND ".join(self.filters) or "TRUE"
        return text(f"""
            WITH hits AS MATERIALIZED (
                SELECT d.ticket_id, d.queue_due_at
                  FROM (SELECT * FROM dispatches d WHERE {driving} {_ORDER} LIMIT {WALK if self.filters else limit}) d
                  JOIN tickets t ON t.id = d.ticket_id
                 WHERE {filters} {_ORDER} LIMIT {limit}
            )
            SELECT ticket_id, queue_due_at, true AS is_hit FROM hits
            UNION ALL
            SELECT e.ticket_id, e.queue_due_at, false
              FROM (SELECT d.ticket_id, d.queue_due_at FROM dispatches d
                     WHERE {driving} {_ORDER} OFFSET {WALK - 1} LIMIT 1) e
             WHERE {bool(self.filters)} AND (SELECT count(*) FROM hits) < {limit}
        """)  # noqa: S608 - made of clauses of this module


def now(connection: Connection) -> datetime:
    """Return the database's time: what deadlines are held against."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found


def standings(connection: Connection) -> dict[str, int]:
    """Count the field work of all organizations that waits for somebody to come, by how its deadline stands."""
    return dict(connection.execute(_STANDINGS).mappings().one())


def find(
    connection: Connection,
    org_id: UUID,
    wanted: Wanted,
    reach: Reached = EVERYTHING,
    *,
    limit: int,
    after: Place | None = None,
) -> Found:
    """Return a page of an organization's queue, that with the earliest deadlines.

    `reach` is what `models.queries.scoping.ticket_condition` says for whoever asks.
    """
    question = _question(org_id, wanted, reach, after)
    connection.execute(_WALKING)
    looked = connection.execute(question.walk(limit + 1), question.values).all()
    connection.execute(_LOOKING)
    hits = [Place(row.queue_due_at, row.ticket_id) for row in looked if row.is_hit]
    last = next((Place(row.queue_due_at, row.ticket_id) for row in looked if not row.is_hit), None)
    if len(hits) > limit:
        last = hits[limit - 1]
    ids = [one.ticket_id for one in hits[:limit]]
    return Found(connection.execute(_SHOWN, {"ids": ids}).all() if ids else (), last)


def _question(org_id: UUID, wanted: Wanted, reach: Reached, after: Place | None) -> _Question:
    question = _Question(["d.org_id = :org", "d.queue_due_at IS NOT NULL"], values={"org": org_id})
    question.narrow(wanted.due_since, "due_since", "d.queue_due_at >= :due_since", driving=True)
    question.narrow(wanted.due_before, "due_before", "d.queue_due_at < :due_before", driving=True)
    question.narrow(wanted.state and wanted.state.value, "state", "t.dispatch_state = :state")
    question.narrow(wanted.priority and wanted.priority.value, "priority", "d.priority = :priority")
    question.narrow(wanted.account_id, "account", "t.account_id = :account")
    question.narrow(wanted.site_id, "site", "t.site_id = :site")
    question.narrow(wanted.assigned_tech_id, "tech", "d.assigned_tech_id = :tech")
    question.narrow(wanted.incident_type, "incident", "d.incident_type = :incident")
    if after is not None:
        question.driving.append("(d.queue_due_at, d.ticket_id) > (CAST(:at AS timestamptz), CAST(:id AS uuid))")
        question.values |= {"at": after.due_at, "id": after.ticket_id}
    if reach[0] != EVERYTHING[0]:
        question.filters.append(f"({reach[0]})")
        question.values |= reach[1]
    return question
