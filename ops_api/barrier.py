"""The barrier between organizations around a request's transaction, where the database has one."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection

from models import row_security
from pipeline.runtime.logs import get_logger


class Barrier:
    """Binds transactions to one organization. Without the role in the database the queries' conditions stand alone."""

    def __init__(self) -> None:
        self._is_ready = False
        self._has_warned = False

    def check(self, connection: Connection) -> bool:
        """Say whether the barrier is there; that it is not is told to the log once."""
        if not self._is_ready:
            # Looked at again until it is there: an operator may put it up while this process serves.
            self._is_ready = row_security.is_ready(connection)
            if not self._is_ready and not self._has_warned:
                self._has_warned = True
                get_logger().warning(
                    "barrier.missing",
                    why=f"the role {row_security.ROLE} cannot be taken on; see `Who may do what` in docs/operations.md",
                )
        return self._is_ready

    def bind(self, connection: Connection, org_id: UUID) -> None:
        """Put the rest of the transaction behind the barrier of one organization, if there is one."""
        if self.check(connection):
            row_security.bind(connection, org_id)
