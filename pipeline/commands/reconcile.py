"""Comparing mailboxes with their providers: nightly, asked for, as an audit, and to fill gaps."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import Lane, ReconcileScope
from pipeline.core.comparison import Comparison
from pipeline.runtime import comparing, ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit

#: How far back the nightly comparison reads (reliability, 3.1), and how often it reads everything.
NIGHTLY_REACH = timedelta(days=8)
FULL_EVERY = timedelta(days=7)

_MAILBOX = text("SELECT org_id, provider, now() AS now FROM mailboxes WHERE id = :id")
#: Paused ones are compared when they go on; those a person must connect again have nothing to read with. An audit that
#: is running stays one.
_NIGHTLY = text("""
    SELECT m.id, m.last_full_sync_at IS NOT NULL
           AND NOT EXISTS (SELECT FROM reconciles r WHERE r.mailbox_id = m.id AND r.scope = 'full'
                                                      AND r.started_at > now() - :every) AS is_full
      FROM mailboxes m
     WHERE m.provider <> 'files' AND m.sync_cursor IS NOT NULL AND m.state NOT IN ('auth_required', 'blocked')
       AND NOT EXISTS (SELECT FROM reconciles r WHERE r.mailbox_id = m.id AND r.state = 'running' AND r.scope = 'audit')
     ORDER BY m.id
""")
_CORRECTS = text("""
    SELECT EXISTS (SELECT FROM reconciles WHERE mailbox_id = :id AND state = 'running' AND scope <> 'audit')
""")
_FILL = text("""
    WITH mine AS (
        UPDATE gaps SET state = 'filling', filled_by = :actor WHERE mailbox_id = :id AND state = 'open'
        RETURNING from_at
    )
    SELECT count(*) AS gaps, count(*) FILTER (WHERE from_at IS NULL) AS endless, min(from_at) AS from_at FROM mine
""")


def request_reconcile(connection: Connection, mailbox_id: UUID, scope: ReconcileScope, actor: str) -> UUID:
    """Ask for a comparison of a mailbox with its provider; joins one that is running. Returns the comparison's id.

    An audit changes nothing but notes a gap; every other scope fetches what is missing. A mailbox that was listed with
    `--since` only is compared back to there. Raises `UserError` for a mailbox of files, which has no provider to ask,
    and for an audit while a comparison corrects.
    """
    row = _mailbox(connection, mailbox_id)
    if scope is ReconcileScope.AUDIT and connection.execute(_CORRECTS, {"id": mailbox_id}).scalar_one():
        raise UserError("a comparison that corrects is running; ask for the audit when it is finished")
    if scope in (ReconcileScope.NIGHTLY, ReconcileScope.RESYNC):
        wanted = Comparison(scope, row.now - NIGHTLY_REACH)
    else:
        wanted = comparing.whole(connection, mailbox_id, scope)
    return _ask(connection, row.org_id, mailbox_id, wanted, actor)


def request_nightly(connection: Connection, actor: str = "schedule") -> int:
    """Ask for the nightly comparison of every mailbox that is read, once a week of all its ids; return how many."""
    rows = connection.execute(_NIGHTLY, {"every": FULL_EVERY}).all()
    for row in rows:
        scope = ReconcileScope.FULL if row.is_full else ReconcileScope.NIGHTLY
        request_reconcile(connection, row.id, scope, actor)
    return len(rows)


def fill_gaps(connection: Connection, mailbox_id: UUID, actor: str) -> int:
    """Fetch exactly what is missing in every open gap of a mailbox, and nothing twice; return how many gaps.

    One call covers all: from the oldest gap's beginning to now.
    """
    mailbox = _mailbox(connection, mailbox_id)
    row = connection.execute(_FILL, {"id": mailbox_id, "actor": actor}).one()
    if row.gaps:
        bounded = Comparison(ReconcileScope.NIGHTLY, row.from_at)
        wanted = comparing.whole(connection, mailbox_id) if row.endless else bounded
        _ask(connection, mailbox.org_id, mailbox_id, wanted, actor)
    return int(row.gaps)


def _mailbox(connection: Connection, mailbox_id: UUID) -> Row[Any]:
    row = connection.execute(_MAILBOX, {"id": mailbox_id}).one_or_none()
    if row is None:
        raise UserError(f"unknown mailbox {mailbox_id}")
    if row.provider == "files":
        raise UserError("this mailbox reads files, which no provider counts; `fieldpost audit` compares them")
    return row


def _ask(connection: Connection, org_id: UUID, mailbox_id: UUID, wanted: Comparison, actor: str) -> UUID:
    found = comparing.ask(connection, mailbox_id, wanted, actor)
    emit = Emit("reconcile", str(mailbox_id), org_id, mailbox_id, Lane.REPAIR, 0, secrets.token_hex(16))
    ledger.put(connection, [emit])
    ledger.hasten_stage(connection, "reconcile", [mailbox_id])
    return found
