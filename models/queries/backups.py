"""How far backups that follow the log have come: the replication slots that the server keeps its log for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

_SLOTS = text("""
    SELECT slot_name AS name, active AS is_active, coalesce(wal_status = 'lost', false) AS is_lost,
           CAST(pg_wal_lsn_diff(
               CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
           ) AS float8) AS behind
      FROM pg_replication_slots WHERE slot_name LIKE 'fieldpost\\_%' ORDER BY slot_name
""")


@dataclass(frozen=True, slots=True)
class BackupSlot:
    """One slot of `fieldpost backup --follow`: does somebody receive, has the server let go of its log.

    `behind_bytes` is how much log was written and not received; None when the server does not know any more.
    """

    name: str
    is_active: bool
    is_lost: bool
    behind_bytes: float | None


def backup_slots(connection: Connection) -> Sequence[BackupSlot]:
    """Return the slots of Fieldpost's backups by name; none where nobody ever followed."""
    return [BackupSlot(row.name, row.is_active, row.is_lost, row.behind) for row in connection.execute(_SLOTS)]
