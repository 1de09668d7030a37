"""Cases and the questions about them, read: lists by priority, one by what it is called, and its history.

An asset's cases of both modes share asset, number and code: signals, questions, orders and findings belong to both.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import CaseState, TriageMode
from models.queries.scoping import Reached

#: Signals that one answer names of a case, the newest; `signal_count` says how many there are.
MOST_EVIDENCE = 1_000
#: Rows of each kind of history that one answer tells, the newest.
MOST_HISTORY = 100
#: Newest first, as scoring lists them; of many as many as the case was assessed by.
_EVIDENCE = f"""ARRAY(
    SELECT coalesce(s.external_id, CAST(s.id AS text)) FROM cases k JOIN signals s ON s.case_id = k.id
     WHERE k.asset_id = c.asset_id AND k.number = c.number
     ORDER BY s.at DESC, coalesce(s.external_id, CAST(s.id AS text)) COLLATE "C" DESC
     LIMIT least(c.signal_count, {MOST_EVIDENCE}))"""  # noqa: S608 - a constant
COLUMNS = f"""
    c.id, c.org_id, c.asset_id, c.code, c.number, c.mode, c.state, c.version, c.priority_score, c.sla_hours,
    c.root_cause_tag, c.confidence, c.recommended_action, c.grid_stress_level, c.explanation, c.uncertainty_reasons,
    c.verification_required, c.verified_result, c.verified_at, c.policy_version, c.signal_count, c.first_signal_at,
    c.last_signal_at, c.decided_at, c.is_real, c.assessed_at, c.created_at, c.closed_at, c.closed_because,
    a.tag AS charger_id, {_EVIDENCE} AS evidence_ids
"""
_TASK = "v.id, v.code, c.code AS case_code, v.question, v.owner, v.status, v.result, v.created_at, v.ended_at"
_OF_ASSETS = text(f"""
    SELECT {COLUMNS} FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.asset_id = ANY(CAST(:assets AS uuid[])) AND c.mode = :mode AND c.state = 'open'
""")  # noqa: S608 - columns from above
_OPEN_TASKS = text(f"""
    SELECT {_TASK} FROM cases k
      JOIN cases c ON c.asset_id = k.asset_id AND c.number = k.number
      JOIN verification_tasks v ON v.case_id = c.id AND v.status = 'open'
     WHERE k.id = ANY(CAST(:cases AS uuid[])) ORDER BY c.code, v.id
""")  # noqa: S608 - columns from above
_LISTED = """
    SELECT {columns} FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.org_id = :org AND c.mode = :mode AND c.state = :state AND {reached}{more}
     ORDER BY c.priority_score DESC, c.code LIMIT :limit
"""
_AFTER = " AND c.priority_score <= :priority AND (c.priority_score < :priority OR c.code > :code)"
_WAITING = """
    SELECT {columns}, c.priority_score, c.sla_hours, a.tag AS charger_id
      FROM verification_tasks v JOIN cases c ON c.id = v.case_id JOIN assets a ON a.id = c.asset_id
     WHERE v.org_id = :org AND v.status = 'open' AND {reached}{more} ORDER BY v.id LIMIT :limit
"""
_BY_ID = text("SELECT asset_id, number FROM cases WHERE org_id = :org AND id = :id")
#: A case is never deleted, and keeps its code when its asset gets another tag.
_BY_CODE = text("""
    SELECT asset_id, number FROM cases WHERE org_id = :org AND mode IN ('baseline', 'certainty') AND code = :code
     LIMIT 1
""")
#: Of what was renamed after its first case, no case has the bare code.
_BY_TAG = text("""
    SELECT c.asset_id, c.number FROM assets a JOIN cases c ON c.asset_id = a.id
     WHERE a.org_id = :org AND a.slug = :slug ORDER BY c.number DESC LIMIT 1
""")
_ONE = """
    SELECT {columns}, ({reached}) AS is_reached FROM cases c JOIN assets a ON a.id = c.asset_id
     WHERE c.org_id = :org AND c.asset_id = :asset AND (CAST(:number AS int) IS NULL OR c.number = :number)
     ORDER BY c.number DESC, (c.mode = :mode) DESC LIMIT 1
"""
_ASSESSMENTS = text("""
    SELECT version, because, policy_version, priority_score, confidence, recommended_action, signal_count, at
      FROM case_assessments WHERE case_id = :case ORDER BY version DESC LIMIT :most
""")
_FAMILY = (
    """JOIN cases c ON c.id = {alias}.case_id AND c.org_id = :org AND c.asset_id = :asset AND c.number = :number"""
)
_TASKS = text(f"""
    SELECT {_TASK} FROM verification_tasks v {_FAMILY.format(alias="v")} ORDER BY v.id DESC LIMIT :most
""")  # noqa: S608 - columns from above
_OUTCOMES = text(f"""
    SELECT v.code AS task_code, o.result, o.notes, o.actor_id, o.at
      FROM verification_outcomes o {_FAMILY.format(alias="o")} JOIN verification_tasks v ON v.id = o.task_id
     ORDER BY o.id DESC LIMIT :most
""")  # noqa: S608 - columns from above
_TRUTHS = text(f"""
    SELECT h.source, h.is_real, h.note, h.actor_id, h.at
      FROM case_truths h {_FAMILY.format(alias="h")} ORDER BY h.id DESC LIMIT :most
""")  # noqa: S608 - columns from above
_ORDERS = text(f"""
    SELECT w.id, w.number, c.code AS case_code, w.state, w.due_at, w.ticket_id, w.version,
           (SELECT t.name FROM teams t WHERE t.id = w.team_id) AS team
      FROM work_orders w {_FAMILY.format(alias="w")} ORDER BY w.number DESC LIMIT :most
""")  # noqa: S608 - columns from above
_ORDER = text("""
    SELECT w.id, w.number, c.code AS case_code, w.state, w.due_at, w.ticket_id, w.version,
           (SELECT t.name FROM teams t WHERE t.id = w.team_id) AS team
      FROM work_orders w JOIN cases c ON c.id = w.case_id WHERE w.id = :order
""")


@dataclass(frozen=True, slots=True)
class Named:
    """What a name leads to: an asset, and which of its troubles; None for the newest."""

    asset_id: UUID
    number: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of cases ended."""

    priority: int
    code: str


@dataclass(frozen=True, slots=True)
class History:
    """What became of a case, the newest first."""

    assessments: Sequence[Row[Any]]
    tasks: Sequence[Row[Any]]
    outcomes: Sequence[Row[Any]]
    truths: Sequence[Row[Any]]
    orders: Sequence[Row[Any]]


def of_assets(connection: Connection, asset_ids: Collection[UUID], mode: TriageMode) -> list[Row[Any]]:
    """Return the open cases of assets in a mode, in no order."""
    return list(connection.execute(_OF_ASSETS, {"assets": list(asset_ids), "mode": mode.value}))


def open_tasks(connection: Connection, case_ids: Collection[UUID]) -> list[Row[Any]]:
    """Return the questions that are open about cases, by their codes."""
    return list(connection.execute(_OPEN_TASKS, {"cases": list(case_ids)}))


def listed(
    connection: Connection,
    org_id: UUID,
    mode: TriageMode,
    state: CaseState,
    reached: Reached,
    *,
    needs_verification: bool = False,
    after: Place | None = None,
    limit: int,
) -> list[Row[Any]]:
    """Return cases of a mode, the most urgent first, equals by code; `reached` is `case_scoping.case_condition`."""
    condition, values = reached
    more = " AND c.verification_required" if needs_verification else ""
    values = {**values, "org": org_id, "mode": mode.value, "state": state.value, "limit": limit}
    if after is not None:
        more += _AFTER
        values |= {"priority": after.priority, "code": after.code}
    statement = _LISTED.format(columns=COLUMNS, reached=condition, more=more)
    return list(connection.execute(text(statement), values))


def waiting(
    connection: Connection, org_id: UUID, reached: Reached, *, after: UUID | None, limit: int
) -> list[Row[Any]]:
    """Return the open questions of an organization, the oldest first."""
    condition, values = reached
    more = "" if after is None else " AND v.id > :after"
    statement = _WAITING.format(columns=_TASK, reached=condition, more=more)
    return list(connection.execute(text(statement), {**values, "org": org_id, "after": after, "limit": limit}))


def named(connection: Connection, org_id: UUID, name: str | UUID) -> Named | None:
    """Return what an id or a code leads to; a code without a number to the newest trouble of its asset.

    Assets that are spelled alike share their codes: one with a number leads to the asset that has it.
    """
    if isinstance(name, UUID):
        row = connection.execute(_BY_ID, {"org": org_id, "id": name}).one_or_none()
        return None if row is None else Named(row.asset_id, row.number)
    code = name.lower()
    bare, _, number = code.rpartition("__")
    is_numbered = bool(bare) and number.isascii() and number.isdecimal() and 0 < len(number) <= 9
    row = connection.execute(_BY_CODE, {"org": org_id, "code": code}).one_or_none()
    if row is not None:
        return Named(row.asset_id, row.number if is_numbered else None)
    if is_numbered:
        row = connection.execute(_BY_CODE, {"org": org_id, "code": bare}).one_or_none()
        return None if row is None else Named(row.asset_id, int(number))
    row = connection.execute(_BY_TAG, {"org": org_id, "slug": code.removeprefix("case_")}).one_or_none()
    return None if row is None else Named(row.asset_id, None)


def one(connection: Connection, org_id: UUID, place: Named, mode: TriageMode, reached: Reached) -> Row[Any] | None:
    """Return the case of a mode, or where there is none the other one, with whether it is reached."""
    condition, values = reached
    statement = _ONE.format(columns=COLUMNS, reached=condition)
    known = {"org": org_id, "asset": place.asset_id, "number": place.number, "mode": mode.value}
    return connection.execute(text(statement), {**values, **known}).one_or_none()


def history(connection: Connection, case: Row[Any]) -> History:
    """Return what became of a case: its own assessments, and what belongs to the trouble in both modes."""
    own = {"case": case.id, "most": MOST_HISTORY}
    family = {"org": case.org_id, "asset": case.asset_id, "number": case.number, "most": MOST_HISTORY}
    tasks, outcomes, truths, orders = (
        connection.execute(statement, family).all() for statement in (_TASKS, _OUTCOMES, _TRUTHS, _ORDERS)
    )
    return History(connection.execute(_ASSESSMENTS, own).all(), tasks, outcomes, truths, orders)


def order(connection: Connection, order_id: UUID) -> Row[Any]:
    """Return a case's work order as an answer tells it."""
    return connection.execute(_ORDER, {"order": order_id}).one()
