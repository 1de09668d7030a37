"""Forgetting what field work says of people: who asked, how to reach them, and every word that somebody wrote.

Left are ids, times, states, keys, sums and hashes of files, so that counts and invoices still add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import text

_TICKETS = "ticket_id = ANY(CAST(:tickets AS uuid[]))"


def _without(table: str, **columns: str) -> Any:
    """Return the statement that sets text columns of tickets' rows to `columns`, where they hold something else."""
    sets = ", ".join(f"{name} = CASE WHEN {name} IS NULL THEN NULL ELSE {value} END" for name, value in columns.items())
    differs = " OR ".join(f"{name} IS DISTINCT FROM {value}" for name, value in columns.items())
    some = " OR ".join(f"{name} IS NOT NULL" for name in columns)
    return text(f"UPDATE {table} SET {sets} WHERE {_TICKETS} AND ({some}) AND ({differs})")  # noqa: S608 - constants


_ERASED = "'(erased)'"
#: By what is counted: the statement that takes it away, for `tickets`.
STEPS: Mapping[str, Any] = MappingProxyType(
    {
        "field_work": text(f"""
            UPDATE dispatches SET description = NULL, customer_name = NULL, customer_phone = NULL,
                                  customer_email = NULL, identity_signature = NULL, sop_handoff_prompt = NULL,
                                  rework_reason = CASE WHEN rework_reason IS NOT NULL THEN {_ERASED} END
             WHERE {_TICKETS}
               AND num_nonnulls(description, customer_name, customer_phone, customer_email, identity_signature,
                                sop_handoff_prompt, nullif(rework_reason, {_ERASED})) > 0
        """),  # noqa: S608 - constants
        # Those that follow it. What the trail says of them has ids, or a reason.
        "orders": text(f"""
            UPDATE work_orders SET title = '', instructions = NULL,
                                   return_reason = CASE WHEN return_reason IS NOT NULL THEN {_ERASED} END,
                                   fix_note = CASE WHEN fix_note IS NOT NULL THEN {_ERASED} END
             WHERE {_TICKETS}
               AND num_nonnulls(nullif(title, ''), instructions, nullif(return_reason, {_ERASED}),
                                nullif(fix_note, {_ERASED})) > 0
        """),  # noqa: S608 - constants
        "told_of_orders": text(f"""
            UPDATE audit_details d SET data = NULL, erased_at = now()
              FROM audit_events e, work_orders w
             WHERE w.{_TICKETS} AND e.org_id = w.org_id AND e.target_id = CAST(w.id AS text)
               AND d.org_id = e.org_id AND d.number = e.number AND d.data IS NOT NULL
        """),  # noqa: S608 - constants
        # A hash of few possible words tells them.
        "intakes": text(f"DELETE FROM intakes WHERE {_TICKETS}"),  # noqa: S608 - constants
        "approvals": _without("approvals", reason=_ERASED, notes=_ERASED),
        "holds": _without("schedule_holds", ended_because=_ERASED),
        "assignments": _without("assignments", overruled_because=_ERASED, ended_because=_ERASED),
        "completions": _without("completions", no_signature_reason=_ERASED),
        "checks": _without("qa_checks", notes=_ERASED),
        "evidence_notes": _without("evidence_items", note=_ERASED, withdrawn_because=_ERASED),
        "visit_links": text(f"""
            UPDATE visit_links SET revoked_at = now() WHERE {_TICKETS} AND revoked_at IS NULL
        """),  # noqa: S608 - constants
        # Those of mail are forgotten with it; a ticket that nobody wrote a mail in has none.
        "told": text(f"UPDATE events SET data = '{{}}' WHERE {_TICKETS} AND data <> '{{}}'"),  # noqa: S608 - constants
        "told_in_trail": text("""
            UPDATE audit_details d SET data = NULL, erased_at = now()
              FROM audit_events e
             WHERE e.org_id IN (SELECT org_id FROM tickets WHERE id = ANY(CAST(:tickets AS uuid[])))
               AND e.target_id = ANY(SELECT CAST(unnest(CAST(:tickets AS uuid[])) AS text))
               AND d.org_id = e.org_id AND d.number = e.number AND d.data IS NOT NULL
        """),
    }
)
