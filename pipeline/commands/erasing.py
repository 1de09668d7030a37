"""Forgetting, asked for by a person or by an organization's policy."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.runtime import erasures, ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line

_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")
_OURS = text("""
    SELECT EXISTS (SELECT FROM mailboxes WHERE org_id = :org AND address = :address)
        OR EXISTS (SELECT FROM send_identities WHERE org_id = :org AND from_email = :address)
""")
_DUE = text("""
    SELECT id AS org_id, now() - make_interval(days => CAST(policy ->> 'retention_days' AS int)) AS before_at
      FROM organizations WHERE CAST(policy ->> 'retention_days' AS numeric) > 0
""")


def erase_address(
    connection: Connection, org_id: UUID, address: str, *, actor: str, reason: str
) -> tuple[int, bool, set[Line]]:
    """Begin to forget the mail of an address; return the erasure's id, whether it is new, and the lines to ring.

    Raises `UserError` for what is no address, and for one of our own mailboxes: all mail would go with it.
    """
    said = address.strip().lower()
    if not _ADDRESS.fullmatch(said):
        raise UserError(f"{address[:60]!a} is no address: write name@example.org")
    if not reason.strip():
        raise UserError("say why: it is kept")
    if connection.execute(_OURS, {"org": org_id, "address": said}).scalar_one():
        raise UserError(f"{said} is an address of your own organization: remove its mailbox instead")
    erasure_id, is_new = erasures.start(connection, org_id, address=said, actor=actor, reason=reason.strip())
    return erasure_id, is_new, ledger.put(connection, [_job(org_id, erasure_id)])


def request_retention(connection: Connection) -> int:
    """Begin to forget what ended longer ago than each organization's policy keeps it; return how many began."""
    emits = []
    for row in connection.execute(_DUE).all():
        erasure_id, _ = erasures.start(
            connection, row.org_id, before_at=row.before_at, actor="schedule", reason="older than the policy keeps"
        )
        emits.append(_job(row.org_id, erasure_id))
    ledger.put(connection, emits)
    return len(emits)


def _job(org_id: UUID, erasure_id: int) -> Emit:
    return Emit("erase", str(erasure_id), org_id, None, Lane.REPAIR, 0, secrets.token_hex(16), delay=timedelta(0))
