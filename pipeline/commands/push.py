"""What announcements of providers lead to, and who asks for them: history jobs and watch jobs."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import Lane
from pipeline.runtime import ledger
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line

_FOUND = text("""
    SELECT id, org_id, address, sync_cursor IS NOT NULL AS has_cursor FROM mailboxes
     WHERE address = ANY(CAST(:addresses AS text[])) AND provider <> 'files' ORDER BY id
""")
#: Locked in one order, since several may be announced at once.
_HEARD = text("""
    WITH heard AS (
        SELECT mailbox_id FROM watches
         WHERE mailbox_id = ANY(CAST(:ids AS uuid[])) ORDER BY mailbox_id FOR NO KEY UPDATE
    )
    UPDATE watches SET pushed_at = now(), unannounced_since = NULL,
                       state = CASE WHEN state = 'silent' THEN 'active' ELSE state END
      FROM heard WHERE watches.mailbox_id = heard.mailbox_id
""")
_UNWATCHED = text("""
    SELECT m.id, m.org_id FROM mailboxes m LEFT JOIN watches w ON w.mailbox_id = m.id
     WHERE m.provider = 'gmail' AND m.state = 'active'
       AND (w.mailbox_id IS NULL OR w.renew_at <= now() OR w.topic <> :topic)
     ORDER BY w.renew_at NULLS FIRST, m.id LIMIT 1000
""")


@dataclass(frozen=True, slots=True)
class Announced:
    """How many announced addresses are mailboxes and how many are not, and the lines to ring after the commit."""

    known: int
    unknown: int
    lines: frozenset[Line]


def announce(connection: Connection, addresses: Collection[str]) -> Announced:
    """Ask for the changes of each mailbox that a provider says has changed; an unknown address is only counted.

    A mailbox that is paused keeps the wish, and one whose history waits or stands ready is not asked twice. A watch
    that was silent is believed again. When this is committed, the announcement may be acknowledged.
    """
    wanted = {address.lower() for address in addresses}
    found = connection.execute(_FOUND, {"addresses": sorted(wanted)}).all()
    if not found:
        return Announced(0, len(wanted), frozenset())
    # Before the jobs: history's own transaction takes the watch, too, while it holds its job.
    connection.execute(_HEARD, {"ids": [row.id for row in found]})
    # What was never listed has no changes to read: its listing takes a cursor before it begins.
    readable = [row for row in found if row.has_cursor]
    return Announced(len(found), len(wanted) - len(found), frozenset(_ask(connection, readable)))


def news(connection: Connection, mailbox_id: UUID, org_id: UUID) -> set[Line]:
    """Ask for the changes of a mailbox whose provider was waited on and spoke; return the lines to ring."""
    return ledger.put(connection, [_live("history", mailbox_id, org_id)])


def request_watches(connection: Connection, topic: str) -> int:
    """Ask for a watch on `topic` (`projects/P/topics/T`) for each active Gmail mailbox whose time has come.

    That is: it was never watched, is to be renewed by now, or is watched on another topic. Returns how many (up to
    1000; the rest are asked for the next time). The ledger's unique key keeps several callers from renewing twice.
    """
    due = connection.execute(_UNWATCHED, {"topic": topic}).all()
    ledger.put(connection, [_live("watch", row.id, row.org_id, topic=topic) for row in due])
    return len(due)


def _ask(connection: Connection, found: Sequence[Row[Any]]) -> set[Line]:
    return ledger.put(connection, [_live("history", row.id, row.org_id) for row in found])


def _live(stage: str, mailbox_id: UUID, org_id: UUID, **args: str) -> Emit:
    return Emit(stage, str(mailbox_id), org_id, mailbox_id, Lane.LIVE, 0, secrets.token_hex(16), args)
