"""Asking for clocks to be computed anew: one walk over an organization's open tickets for each change."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line

_STAGE = "clocks"
#: Tickets that routing had at hand while the levels changed are timed by those before, and no walk has seen them.
_ONCE_MORE = timedelta(minutes=1)
#: Open and routed, and yet without a ledger: from before there were clocks.
_WITHOUT = text("""
    SELECT o.id FROM organizations o
     WHERE EXISTS (SELECT FROM tickets t
                    WHERE t.org_id = o.id AND t.status IN ('new', 'open', 'pending') AND t.routed_at IS NOT NULL
                      AND NOT EXISTS (SELECT FROM ticket_clocks c WHERE c.ticket_id = t.id))
""")


def request(connection: Connection, org_id: UUID) -> frozenset[Line]:
    """Ask for the clocks of an organization's open tickets, now and soon after; return the lines that have work now."""
    return frozenset(ledger.put(connection, [_walk(org_id), _walk(org_id, _ONCE_MORE)]))


def _walk(org_id: UUID, delay: timedelta = timedelta(0)) -> Emit:
    change = secrets.token_hex(8)
    return Emit(_STAGE, change, org_id, None, Lane.REPAIR, 0, secrets.token_hex(16), delay=delay)


def request_missing(connection: Connection) -> int:
    """Ask for clocks wherever open tickets have none; return for how many organizations."""
    org_ids = connection.execute(_WITHOUT).scalars().all()
    ledger.put(connection, [_walk(org_id) for org_id in org_ids])
    return len(org_ids)
