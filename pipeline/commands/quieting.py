"""Quiet cases: those of which nothing was heard for as long as their policy says, looked for by the schedule."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from models.work_lifecycle import OPEN
from pipeline.core.triage_policy import BUILT_IN
from pipeline.runtime import case_truths, ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settling import IS_AWAITED

#: Cases that one statement finds.
_PAGE = 1_000
#: No policy calls less than a day quiet; so the index of when cases were heard of finds the first ones.
_LEADING = f"""
    SELECT c.id, c.org_id, {{heard}} AS heard_at FROM cases c
      LEFT JOIN triage_policies p ON p.org_id = c.org_id AND p.state = 'active'
     WHERE c.state = 'open' AND {{which}} AND {{heard}} < now() - interval '1 day'
       AND {{heard}} < now() - make_interval(days => coalesce(CAST(p.policy ->> 'quiet_days' AS int), :quiet_days))
       AND c.mode = coalesce(p.policy ->> 'mode', :mode)
       AND NOT EXISTS (SELECT FROM cases k JOIN work_orders w ON w.case_id = k.id
                        WHERE k.asset_id = c.asset_id AND k.number = c.number AND w.{OPEN})
       AND NOT {IS_AWAITED} AND {{unasked}} AND ({{heard}}, c.id) > (:heard_at, :id)
     ORDER BY {{heard}}, c.id LIMIT :page
"""  # noqa: S608 - a constant
_UNASKED = """
    NOT EXISTS (SELECT FROM cases k JOIN verification_tasks v ON v.case_id = k.id AND v.status = 'open'
                 WHERE k.asset_id = c.asset_id AND k.number = c.number)
"""
_QUIET = text(_LEADING.format(heard="c.last_signal_at", which="c.last_signal_at IS NOT NULL", unasked=_UNASKED))
#: All its reports were about another asset in the end: whatever is asked about it, nobody waits for the answer.
_EMPTY = text(_LEADING.format(heard="c.assessed_at", which="c.last_signal_at IS NULL", unasked="true"))
_LONG_AGO, _FIRST = datetime.fromisoformat("0001-01-02T00:00:00+00:00"), UUID(int=0)


def request_quiet(connection: Connection, page: int = _PAGE) -> int:
    """Ask for the quiet cases to be closed, page by page; return how many. Each is looked at anew under its lock."""
    asked = 0
    for statement in (_QUIET, _EMPTY):
        heard_at, last = _LONG_AGO, _FIRST
        while True:
            values = {"quiet_days": BUILT_IN.quiet_days, "mode": BUILT_IN.mode.value, "page": page}
            rows = connection.execute(statement, {**values, "heard_at": heard_at, "id": last}).all()
            ledger.put(connection, [_job(row.org_id, row.id) for row in rows])
            asked += len(rows)
            if len(rows) < page:
                break
            heard_at, last = rows[-1].heard_at, rows[-1].id
    return asked


def _job(org_id: UUID, case_id: UUID) -> Emit:
    return Emit(case_truths.STAGE, str(case_id), org_id, None, Lane.REPAIR, 0, secrets.token_hex(16))
