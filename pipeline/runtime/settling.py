"""Cases brought up to date with what became of them: what was true, and whether they are over.

Of all findings about a trouble the most reliable counts, then the newest. Cases of both modes are about one trouble,
so both learn of it. Done again, nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import AssessedBecause, CaseEnd
from models.work_lifecycle import OPEN
from pipeline.core.triage_policy import BUILT_IN
from pipeline.runtime import case_rows, case_truths
from pipeline.runtime.case_rows import Assessed

_ASSETS = text("SELECT id, asset_id FROM cases WHERE id = ANY(CAST(:ids AS uuid[]))")
_TRUE = text(f"""
    UPDATE cases SET is_real = known.is_real, version = version + 1
      FROM (SELECT DISTINCT c.asset_id, c.number, {case_truths.IS_REAL} AS is_real
              FROM cases c WHERE c.id = ANY(CAST(:ids AS uuid[]))) AS known
     WHERE cases.asset_id = known.asset_id AND cases.number = known.number
       AND known.is_real IS NOT NULL AND cases.is_real IS DISTINCT FROM known.is_real
""")  # noqa: S608 - a constant
_FAMILY = "cases k JOIN {table} {alias} ON {alias}.case_id = k.id AND k.asset_id = c.asset_id AND k.number = c.number"
_ORDERS, _TASKS, _TRUTHS = (
    _FAMILY.format(table=table, alias=alias)
    for table, alias in (("work_orders", "w"), ("verification_tasks", "v"), ("case_truths", "t"))
)
#: An open case `c` that is known to be real, of which nothing since said that all is well: it waits for somebody who
#: goes, or for a word to the contrary, and does not end by silence.
IS_AWAITED = """
    (coalesce(c.is_real, c.verified_result = 'confirmed_issue', false) AND NOT EXISTS (
        SELECT FROM cases k JOIN signals s ON s.case_id = k.id
         WHERE k.asset_id = c.asset_id AND k.number = c.number AND s.status = 'online'
           AND s.at > coalesce((SELECT max(t.at) FROM cases f JOIN case_truths t ON t.case_id = f.id
                                 WHERE f.asset_id = c.asset_id AND f.number = c.number AND t.is_real),
                               c.verified_at)))
"""
#: What may end an open case, as it stands under its asset's lock.
_OPEN = text(f"""
    SELECT DISTINCT c.asset_id, c.number,
           (SELECT NOT t.is_real FROM {_TRUTHS} WHERE t.source = 'person' ORDER BY t.id DESC LIMIT 1) AS is_refuted,
           EXISTS (SELECT FROM {_ORDERS} WHERE w.{OPEN}) AS is_at_work,
           (SELECT max(w.closed_at) FROM {_ORDERS} WHERE w.state = 'done') AS done_at,
           c.last_signal_at IS NOT NULL AND EXISTS (SELECT FROM {_TASKS} WHERE v.status = 'open') AS is_asked,
           {IS_AWAITED} AS is_awaited,
           coalesce(c.last_signal_at, c.assessed_at) < now() - make_interval(
               days => coalesce(CAST(p.policy ->> 'quiet_days' AS int), :quiet_days)) AS is_quiet
      FROM cases c LEFT JOIN triage_policies p ON p.org_id = c.org_id AND p.state = 'active'
     WHERE c.id = ANY(CAST(:ids AS uuid[])) AND c.state = 'open'
     ORDER BY c.asset_id
""")  # noqa: S608 - parts from above
#: Reported after the work was done, and not that all is well: it is about the next trouble.
_AFTER = text("""
    WITH ended AS (
        SELECT * FROM unnest(CAST(:assets AS uuid[]), CAST(:numbers AS int[]), CAST(:done_ats AS timestamptz[]))
            AS e(asset_id, number, done_at)
    ), late AS (
        SELECT s.id, s.asset_id, s.status FROM ended e
          JOIN cases k ON k.asset_id = e.asset_id AND k.number = e.number
          JOIN signals s ON s.case_id = k.id AND s.at > e.done_at AND s.created_at > e.done_at
    )
    UPDATE signals SET case_id = NULL FROM late
     WHERE signals.id = late.id
       AND EXISTS (SELECT FROM late l WHERE l.asset_id = late.asset_id AND l.status <> 'online')
    RETURNING signals.asset_id
""")


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it: how many cases were closed, and the leading cases of troubles that began meanwhile."""

    closed: int = 0
    next_ones: Sequence[Assessed] = ()


def assets_of(connection: Connection, case_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the assets of those of these cases that are there, by case; an asset of a case never changes."""
    return {row.id: row.asset_id for row in connection.execute(_ASSETS, {"ids": list(case_ids)})}


def bring_up(connection: Connection, case_ids: Sequence[UUID]) -> Settled:
    """Bring cases up to date whose assets the caller has locked; what they ask is not asked any more once they close.

    A case closes when a person said that nothing was wrong, when its work is done, and when nothing was heard of it
    for as long as the policy says while nobody works or is asked, and nobody is needed; of one whose reports were all
    about another asset in the end nobody needs to be asked.
    """
    ids = list(case_ids)
    connection.execute(_TRUE, {"ids": ids, "sources": list(case_truths.RELIABLE)})
    rows = connection.execute(_OPEN, {"ids": ids, "quiet_days": BUILT_IN.quiet_days}).all()
    ends = {row: end for row in rows if (end := _end(row)) is not None}
    closed = sum(len(_close(connection, ends, end)) for end in CaseEnd)
    done = [row for row, end in ends.items() if end is CaseEnd.RESOLVED]
    return Settled(closed, _go_on(connection, done) if done else ())


def _end(row: Row[Any]) -> CaseEnd | None:
    """Return why an open case ends; None: it goes on."""
    if row.is_refuted:
        return CaseEnd.FALSE_ALARM
    if row.is_at_work:
        return None
    if row.done_at is not None:
        return CaseEnd.RESOLVED
    return CaseEnd.QUIET if row.is_quiet and not row.is_asked and not row.is_awaited else None


def _close(connection: Connection, ends: Mapping[Row[Any], CaseEnd], because: CaseEnd) -> list[UUID]:
    assets = [row.asset_id for row, end in ends.items() if end is because]
    return case_rows.close(connection, assets, because) if assets else []


def _go_on(connection: Connection, done: Sequence[Row[Any]]) -> Sequence[Assessed]:
    """Open the next trouble of assets that were reported about after their work was done, while nobody had closed."""
    values = {
        "assets": [row.asset_id for row in done],
        "numbers": [row.number for row in done],
        "done_ats": [row.done_at for row in done],
    }
    late = set(connection.execute(_AFTER, values).scalars())
    return case_rows.assess(connection, late, AssessedBecause.SIGNALS) if late else ()
