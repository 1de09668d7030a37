"""How tickets are locked by whoever changes several of them."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Connection, text

#: Everything that changes tickets locks them in the order of their ids, so that none waits in a circle.
_LOCK = text("SELECT id FROM tickets WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id FOR NO KEY UPDATE")


def lock_tickets(connection: Connection, ticket_ids: Iterable[UUID]) -> None:
    """Lock tickets in the order of their ids."""
    connection.execute(_LOCK, {"ids": list(set(ticket_ids))})
