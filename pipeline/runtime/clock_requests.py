"""Asking for clocks to be computed anew: one walk over an organization's open tickets for each change."""

from __future__ import annotations

import secrets
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line

_STAGE = "clocks"
#: Open and routed, and yet without a ledger: from before there were clocks.
_WITHOUT = text("""
    SELECT o.id FROM organizations o
     WHERE EXISTS (SELECT FROM tickets t
                    WHERE t.org_id = o.id AND t.status IN ('new', 'open', 'pending') AND t.routed_at IS NOT NULL
                      AND NOT EXISTS (SELECT FROM ticket_clocks c WHERE c.ticket_id = t.id))
""")


def request(connection: Connection, org_id: UUID) -> frozenset[Line]:
    """Ask for the clocks of an organization's open tickets; return the lines that have work now."""
    change = secrets.token_hex(8)
    return frozenset(
        ledger.put(connection, [Emit(_STAGE, change, org_id, None, Lane.REPAIR, 0, secrets.token_hex(16))])
    )


def request_missing(connection: Connection) -> int:
    """Ask for clocks wherever open tickets have none; return for how many organizations."""
    org_ids = connection.execute(_WITHOUT).scalars().all()
    for org_id in org_ids:
        request(connection, org_id)
    return len(org_ids)
