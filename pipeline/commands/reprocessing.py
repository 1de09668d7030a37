"""Doing a step again: asked for, applied and cancelled by a person."""

from __future__ import annotations

import secrets
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import Lane, ReprocessKind, ReprocessState
from pipeline.runtime import ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit
from pipeline.runtime.repeatable import KINDS

_MAILBOX = text("SELECT count(*) FROM mailboxes WHERE id = :id AND org_id = :org")
#: Who came first is let finish: two at once would find each other's changes.
_START = text("""
    INSERT INTO reprocessings (org_id, mailbox_id, kind, version, total, started_by)
    VALUES (:org, :mailbox, :kind, :version, :total, :actor)
        ON CONFLICT (org_id, kind) WHERE state IN ('comparing', 'applying') DO NOTHING
    RETURNING id
""")
_RUNNING = text("""
    SELECT id, state FROM reprocessings
     WHERE org_id = :org AND kind = :kind AND state IN ('comparing', 'applying') AND id IS DISTINCT FROM :but
""")
_LOCK = text("""
    SELECT id, kind, state, version FROM reprocessings WHERE org_id = :org AND id = :id FOR NO KEY UPDATE
""")
_APPLY = text("""
    UPDATE reprocessings SET state = 'applying', position = NULL, applied_by = :actor WHERE id = :id
""")
_CANCEL = text("UPDATE reprocessings SET state = 'cancelled', finished_at = now() WHERE id = :id")


def start(connection: Connection, org_id: UUID, mailbox_id: UUID | None, kind: ReprocessKind, actor: str) -> int:
    """Begin to compare what is stored with what the step would make of it today; return the repetition's id.

    Changes nothing: `apply` does, when a person has seen the differences. Raises `UserError` while one of this kind is
    under way in the organization.
    """
    if kind not in KINDS:
        raise UserError(f"{kind.value} cannot be done again yet; there are {', '.join(sorted(KINDS))}")
    if mailbox_id is not None and not connection.execute(_MAILBOX, {"id": mailbox_id, "org": org_id}).scalar_one():
        raise UserError(f"unknown mailbox {mailbox_id}")
    found = KINDS[kind]
    values = {
        "org": org_id,
        "mailbox": mailbox_id,
        "kind": kind.value,
        "version": found.version,
        "total": found.count(connection, org_id, mailbox_id),
        "actor": actor,
    }
    run_id = connection.execute(_START, values).scalar_one_or_none()
    if run_id is None:
        raise _busy(connection, org_id, kind, None)
    _put(connection, org_id, int(run_id))
    return int(run_id)


def apply(connection: Connection, org_id: UUID, run_id: int, actor: str) -> None:
    """Make the changes that were compared; asked for again it does nothing more.

    Only what still is as it was compared is changed; the rest is refused with the reason. Raises `UserError` before it
    is compared, after it was cancelled, and when the step has another version by now.
    """
    row = _locked(connection, org_id, run_id)
    if row.state in (ReprocessState.APPLYING, ReprocessState.APPLIED):
        return
    if row.state != ReprocessState.COMPARED:
        raise UserError(f"repetition {run_id} is {row.state}; only a compared one can be applied")
    kind = ReprocessKind(row.kind)
    if row.version != KINDS[kind].version:
        raise UserError(
            f"repetition {run_id} was compared with version {row.version}, now it is {KINDS[kind].version}: start anew"
        )
    if connection.execute(_RUNNING, {"org": org_id, "kind": row.kind, "but": run_id}).first() is not None:
        raise _busy(connection, org_id, kind, run_id)
    connection.execute(_APPLY, {"id": run_id, "actor": actor})
    _put(connection, org_id, run_id)


def cancel(connection: Connection, org_id: UUID, run_id: int) -> None:
    """End a repetition where it is; what it has changed already stays changed. Raises `UserError` when it is over."""
    row = _locked(connection, org_id, run_id)
    if row.state == ReprocessState.CANCELLED:
        return
    if row.state == ReprocessState.APPLIED:
        raise UserError(f"repetition {run_id} is applied already")
    connection.execute(_CANCEL, {"id": run_id})


def _locked(connection: Connection, org_id: UUID, run_id: int) -> Row[tuple[int, str, str, int]]:
    row = connection.execute(_LOCK, {"org": org_id, "id": run_id}).one_or_none()
    if row is None:
        raise UserError(f"there is no repetition {run_id}; see `fieldpost reprocess list`")
    return row


def _busy(connection: Connection, org_id: UUID, kind: ReprocessKind, but: int | None) -> UserError:
    row = connection.execute(_RUNNING, {"org": org_id, "kind": kind.value, "but": but}).first()
    which = "another one" if row is None else f"repetition {row.id} ({row.state})"
    return UserError(f"{which} of {kind.value} is under way in this organization; wait for it, or cancel it")


def _put(connection: Connection, org_id: UUID, run_id: int) -> None:
    ledger.put(connection, [Emit("reprocess", str(run_id), org_id, None, Lane.REPAIR, 0, secrets.token_hex(16))])
