"""The walk that brings open cases to a changed policy of triage: asked for once for each change, done in pages.

A page is a job of its own, so that workers share a walk. What is right already is left alone, so a page that is done
again, and a walk after the walk, cost what reading costs.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import AssessedBecause, Lane
from pipeline.runtime import case_rows, triage_policies
from pipeline.runtime.case_rows import Assessed
from pipeline.runtime.jobs import Emit
from pipeline.runtime.triage_policies import Judging

STAGE = "retriage"
#: Assets that are assessed anew in one transaction: nobody else may speak of them meanwhile.
PAGE = 250
#: Signals that were at hand while the policy changed are judged by the one before, in cases that no walk has seen.
_ONCE_MORE = timedelta(minutes=1)
_FIRST = UUID(int=0)

#: Not judged by the policy in force, or the shadow has said nothing of it since it began.
_STALE = """
    c.org_id = :org AND c.state = 'open'
      AND (c.policy_version <> :version
           OR (c.mode = :mode AND CAST(:shadow AS uuid) IS NOT NULL
               AND NOT EXISTS (SELECT FROM case_shadows s
                                WHERE s.policy_id = CAST(:shadow AS uuid) AND s.case_id = c.id AND s.at >= :since)))
"""
#: The last asset of every page.
_PAGES = text(f"""
    SELECT asset_id FROM (
        SELECT asset_id, row_number() OVER (ORDER BY asset_id) AS number FROM (
            SELECT DISTINCT c.asset_id FROM cases c WHERE {_STALE}) AS stale) AS numbered
     WHERE number % :page = 0 ORDER BY asset_id
""")  # noqa: S608 - a condition from above
_ASSETS = text(f"""
    SELECT DISTINCT c.asset_id FROM cases c
     WHERE {_STALE} AND c.asset_id > :after AND (CAST(:upto AS uuid) IS NULL OR c.asset_id <= CAST(:upto AS uuid))
     ORDER BY c.asset_id
""")  # noqa: S608 - a condition from above
#: What somebody was sent to before waits for what they find, and what was called off waits for a person.
_HAD_WORK = text("""
    SELECT DISTINCT c.asset_id FROM cases c JOIN work_orders w ON w.case_id = c.id
     WHERE c.asset_id = ANY(CAST(:assets AS uuid[])) AND c.state = 'open'
""")


@dataclass(frozen=True, slots=True)
class Stretch:
    """The assets of one page: after one, up to and with another; None: to the end."""

    after: UUID = _FIRST
    upto: UUID | None = None


def request(org_id: UUID) -> list[Emit]:
    """Return the jobs that bring an organization's open cases to its policy of now: at once, and once more soon."""
    return [_walk(org_id), _walk(org_id, _ONCE_MORE)]


def _walk(org_id: UUID, delay: timedelta = timedelta(0)) -> Emit:
    return Emit(STAGE, secrets.token_hex(8), org_id, None, Lane.REPAIR, 0, secrets.token_hex(16), delay=delay)


def stretches(connection: Connection, org_id: UUID, page: int = PAGE) -> list[Stretch]:
    """Return the pages of a walk."""
    values = _values(org_id, triage_policies.judging(connection, [org_id])[org_id])
    ends = list(connection.execute(_PAGES, {**values, "page": page}).scalars())
    # The last one is open: what is opened meanwhile belongs to it.
    return [Stretch(after, upto) for after, upto in zip([_FIRST, *ends], [*ends, None], strict=True)]


def assess(connection: Connection, org_id: UUID, stretch: Stretch) -> Sequence[Assessed]:
    """Assess a page anew; return the leading cases that are to be dispatched now, and were never before."""
    values = _values(org_id, triage_policies.judging(connection, [org_id])[org_id])
    found = connection.execute(_ASSETS, {**values, "after": stretch.after, "upto": stretch.upto})
    assessed = case_rows.assess(connection, found.scalars(), AssessedBecause.POLICY)
    asking = case_rows.to_dispatch(assessed)
    had = connection.execute(_HAD_WORK, {"assets": [one.asset_id for one in asking]}) if asking else None
    at_work = set(had.scalars()) if had is not None else set()
    return [one for one in asking if one.asset_id not in at_work]


def _values(org_id: UUID, judging: Judging) -> dict[str, object]:
    shadow = judging.shadow
    return {
        "org": org_id,
        "version": judging.active.number,
        "mode": judging.active.policy.mode.value,
        "shadow": None if shadow is None else shadow.policy_id,
        "since": None if shadow is None else shadow.since,
    }
