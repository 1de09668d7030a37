"""The ledger of points in the database: each reference once, whoever else writes it at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.xp import Grant

#: In the order of the references, so that two who write the same ones do not wait for each other in a circle. What is
#: there already stays as it is, and aborts nothing (seed-behaviours, 3.8.2).
_GRANT = text("""
    INSERT INTO xp_transactions (org_id, person_id, kind, amount, reference, order_id, comment, created_by)
    SELECT :org, g.person_id, g.kind, g.amount, g.reference, g.order_id, g.comment, :by
      FROM unnest(CAST(:people AS uuid[]), CAST(:kinds AS text[]), CAST(:amounts AS int[]), CAST(:references AS text[]),
                  CAST(:orders AS uuid[]), CAST(:comments AS text[]))
        AS g(person_id, kind, amount, reference, order_id, comment)
     ORDER BY g.reference
        ON CONFLICT (org_id, reference) DO NOTHING
    RETURNING reference
""")
_TOTAL = text("SELECT coalesce(sum(amount), 0) FROM xp_transactions WHERE org_id = :org AND person_id = :person")


def grant(connection: Connection, org_id: UUID, grants: Sequence[Grant], by: str) -> list[Grant]:
    """Write points into the ledger; return those that were not there before."""
    values = {
        "org": org_id,
        "by": by,
        "people": [one.person_id for one in grants],
        "kinds": [one.kind.value for one in grants],
        "amounts": [one.amount for one in grants],
        "references": [one.reference for one in grants],
        "orders": [one.order_id for one in grants],
        "comments": [one.comment for one in grants],
    }
    written = {row.reference for row in connection.execute(_GRANT, values)}
    return [one for one in grants if one.reference in written]


def total(connection: Connection, org_id: UUID, person_id: UUID) -> int:
    """Return all points that somebody has."""
    return int(connection.execute(_TOTAL, {"org": org_id, "person": person_id}).scalar_one())
