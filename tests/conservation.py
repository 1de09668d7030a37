"""What must hold whatever happened: nothing lost, nothing doubled, everything accounted for; and an own union-find.

`tests.invariants` says which check serves which invariant of reliability, section 6, and holds those of the whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind
from pipeline.core.thread_keys import Facts
from pipeline.ports import BlobStore
from tests.core import threading_model

#: The job that moves an occurrence on from a state; a state that is not here is final.
_NEXT = """
    CASE o.state WHEN 'seen' THEN 'fetch' WHEN 'fetched' THEN 'parse' WHEN 'parsed' THEN 'stitch'
                 WHEN 'stitched' THEN 'routing' END
"""
_BY_OCCURRENCE = "('fetch', 'parse', 'stitch', 'routing')"

#: Each query answers with the rows that break its rule (reliability, section 6).
_OF_THE_MAILBOX = {
    "stands in an unfinished state without a job": f"""
        SELECT o.provider_id, o.state FROM occurrences o
         WHERE o.mailbox_id = :mailbox AND o.state IN ('seen', 'fetched', 'parsed', 'stitched')
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.key = CAST(o.id AS text) AND j.stage = {_NEXT}
                              AND j.state <> 'dead')""",
    "is quarantined without an open or discarded letter": f"""
        SELECT o.provider_id FROM occurrences o
         WHERE o.mailbox_id = :mailbox AND o.state = 'quarantined'
           AND NOT EXISTS (SELECT FROM dead_letters d
                            WHERE d.key = CAST(o.id AS text) AND d.stage IN {_BY_OCCURRENCE}
                              AND (d.resolution IS NULL OR d.resolution = 'discarded'))
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.key = CAST(o.id AS text) AND j.stage IN {_BY_OCCURRENCE})""",
    "is routed without a message, or its message without exactly one link": """
        SELECT o.provider_id, count(l.message_id) FROM occurrences o
          LEFT JOIN messages m ON m.id = o.message_id LEFT JOIN ticket_messages l ON l.message_id = m.id
         WHERE o.mailbox_id = :mailbox AND o.state = 'routed'
         GROUP BY o.id, o.provider_id HAVING count(l.message_id) <> 1""",
    "is routed without evidence of its recipient": """
        SELECT o.provider_id FROM occurrences o
         WHERE o.mailbox_id = :mailbox AND o.state = 'routed'
           AND NOT EXISTS (SELECT FROM occurrence_recipients r WHERE r.occurrence_id = o.id)""",
    "names raw bytes without a row in blobs": """
        SELECT o.provider_id FROM occurrences o
         WHERE o.mailbox_id = :mailbox AND o.raw_sha256 IS NOT NULL
           AND NOT EXISTS (SELECT FROM blobs b WHERE b.org_id = o.org_id AND b.kind = 'raw'
                                                 AND b.sha256 = o.raw_sha256)""",
}
_OF_ALL = {
    "message is linked to a ticket that was merged away": """
        SELECT l.message_id, t.id FROM ticket_messages l JOIN tickets t ON t.id = l.ticket_id
         WHERE t.status = 'merged'""",
    "thread key leads to a ticket that was merged away": """
        SELECT encode(k.digest, 'hex'), t.id FROM thread_keys k JOIN tickets t ON t.id = k.ticket_id
         WHERE t.status = 'merged'""",
    "work order hangs on a ticket that was merged away": """
        SELECT w.id, t.id FROM work_orders w JOIN tickets t ON t.id = w.ticket_id WHERE t.status = 'merged'""",
    "ticket holds no message": """
        SELECT t.id FROM tickets t WHERE t.status <> 'merged'
           AND NOT EXISTS (SELECT FROM ticket_messages l WHERE l.ticket_id = t.id)""",
    "ticket was opened more or less than once": """
        SELECT t.id, count(e.id) FROM tickets t
          LEFT JOIN events e ON e.ticket_id = t.id AND e.kind = 'ticket.opened'
         GROUP BY t.id HAVING count(e.id) <> 1""",
    "ticket was decided more than once, though no machine opened it": """
        SELECT e.ticket_id, count(*) FROM events e JOIN tickets t ON t.id = e.ticket_id
         WHERE e.kind IN ('ticket.routed', 'ticket.auto_spam')
           AND NOT EXISTS (SELECT FROM events o
                            WHERE o.ticket_id = e.ticket_id AND o.data ->> 'reason' LIKE 'machine:%')
         GROUP BY e.ticket_id HAVING count(*) > 1""",
    "message has no occurrence": """
        SELECT m.id FROM messages m WHERE NOT EXISTS (SELECT FROM occurrences o WHERE o.message_id = m.id)
           AND NOT EXISTS (SELECT FROM outbound b WHERE b.message_id = m.id)""",
    "message stands twice": """
        SELECT encode(fingerprint, 'hex'), count(*) FROM messages
         GROUP BY org_id, fingerprint, signature HAVING count(*) > 1""",
    "case has several open work orders, of both modes together": """
        SELECT c.asset_id, c.number, count(*) FROM work_orders w JOIN cases c ON c.id = w.case_id
         WHERE w.state NOT IN ('done', 'cancelled') GROUP BY c.asset_id, c.number HAVING count(*) > 1""",
    "work order was announced more or less than once": """
        SELECT w.id, count(e.id) FROM work_orders w
          LEFT JOIN events e ON e.kind = 'work_order.created' AND e.data ->> 'work_order_id' = CAST(w.id AS text)
         WHERE w.case_id IS NOT NULL GROUP BY w.id HAVING count(e.id) <> 1""",
    "asset has several open cases": """
        SELECT asset_id, mode, count(*) FROM cases WHERE state = 'open' GROUP BY asset_id, mode HAVING count(*) > 1""",
    "message signals an asset twice": """
        SELECT message_id, asset_id, count(*) FROM signals WHERE message_id IS NOT NULL
         GROUP BY message_id, asset_id HAVING count(*) > 1""",
    # Evidence reaches 30 days back from the newest (decision 48): a report of before that, read later, is of no case.
    "signal belongs to no case though its asset has an open one": """
        SELECT s.id, s.at, c.mode FROM signals s JOIN cases c ON c.asset_id = s.asset_id AND c.state = 'open'
         WHERE s.case_id IS NULL
           AND s.at >= (SELECT max(n.at) FROM signals n WHERE n.asset_id = s.asset_id) - interval '30 days'""",
    "job runs with an expired lease": "SELECT id, stage, key FROM jobs WHERE state = 'running' AND lease_until < now()",
    "job is held that no budget lets go": """
        SELECT id, stage, key, lane FROM jobs WHERE state = 'held' AND (stage <> 'fetch' OR lane = 'live')""",
    "dead job has no open letter": """
        SELECT j.id, j.stage, j.key FROM jobs j WHERE j.state = 'dead'
           AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.job_id = j.id AND d.resolution IS NULL)""",
    "open letter has no dead job": """
        SELECT d.id, d.stage, d.key FROM dead_letters d WHERE d.resolution IS NULL
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = d.job_id AND j.state = 'dead')""",
    "letters do not add up: entered, replayed, discarded, open": """
        SELECT count(*), count(*) FILTER (WHERE resolution = 'replayed'),
               count(*) FILTER (WHERE resolution = 'discarded'), count(*) FILTER (WHERE resolution IS NULL)
          FROM dead_letters
        HAVING count(*) <> count(*) FILTER (WHERE resolution = 'replayed')
                         + count(*) FILTER (WHERE resolution = 'discarded')
                         + count(*) FILTER (WHERE resolution IS NULL)""",
}
_OCCURRENCES = text("""
    SELECT provider_id, state, encode(raw_sha256, 'hex') AS sha256 FROM occurrences WHERE mailbox_id = :mailbox
""")
_HASHES = text("""
    SELECT kind, encode(sha256, 'hex') AS sha256 FROM blobs WHERE org_id = (SELECT org_id FROM mailboxes WHERE id = :id)
""")
_LINKS = text("""
    SELECT l.ticket_id, m.rfc_message_id FROM ticket_messages l JOIN messages m ON m.id = l.message_id
     WHERE CAST(:org AS uuid) IS NULL OR l.org_id = :org
""")

#: What a second run must leave as it is; versions and times of assessment are not among it.
_FACTS = {
    "occurrences": "id, state, message_id, encode(raw_sha256, 'hex'), labels, deleted_at",
    "messages": "id, collision_group_id, received_at",
    "ticket_messages": "message_id, ticket_id, reason",
    "tickets": "id, code, status, dispatch_state, priority, queue_id, merged_into, routed_at, first_message_at",
    "thread_keys": "encode(digest, 'hex'), ticket_id",
    "signals": "id, case_id",
    "cases": "id, state, priority_score, recommended_action",
    "verification_tasks": "id, status",
    "work_orders": "id, state, team_id, ticket_id",
    "dead_letters": "id, resolution",
    "blobs": "kind, encode(sha256, 'hex')",
    "attachments": "id, message_id",
    "events": "id, kind",
}

_CHUNK = 200
_SHOWN = 5
_ID = re.compile(r"<([^<>]+)>")
#: Ids are compared by this many characters: the product keeps the length of one line (RFC 5322 2.1.1) of longer ones.
_ID_LENGTH = 900

_ENVELOPES = (
    "To", "Cc", "Delivered-To", "X-Original-To", "X-Gm-Original-To", "Envelope-To", "X-Envelope-To", "X-Forwarded-To",
)  # fmt: skip
#: The model knows no order, so that any time will do.
_WHENEVER = datetime(2026, 1, 1, tzinfo=UTC)

Partition = set[frozenset[str]]


def check(
    connection: Connection,
    mailbox_id: UUID,
    expected_ids: Iterable[str],
    *,
    served: Mapping[str, str] | None = None,
    blobs: BlobStore | None = None,
) -> list[str]:
    """Return every broken invariant in words, none when all is well; call it when nothing runs.

    `expected_ids` are all ids the provider ever named. `served` is the hex SHA-256 of the bytes behind each id: what
    was fetched must have it. With `blobs`, every content the tables name is read and verified, too.
    """
    broken = _check_occurrences(connection, mailbox_id, set(expected_ids), served or {})
    rules = [*_OF_THE_MAILBOX.items(), *_OF_ALL.items()]
    for rule, query in rules:
        rows = connection.execute(text(query), {"mailbox": mailbox_id} if ":mailbox" in query else {}).all()
        broken += _said(rule, [tuple(row) for row in rows])
    if blobs is not None:
        broken += _check_blobs(connection, mailbox_id, blobs)
    return broken


def partition(connection: Connection, org_id: UUID | None = None) -> Partition:
    """Return the Message-IDs of each ticket; a message without one is named by nobody and left out."""
    rows = connection.execute(_LINKS, {"org": org_id})
    groups: dict[Any, set[str]] = {}
    for row in rows:
        if row.rfc_message_id:
            groups.setdefault(row.ticket_id, set()).add(row.rfc_message_id.strip("<>")[:_ID_LENGTH])
    return {frozenset(group) for group in groups.values()}


def reference(mails: Iterable[tuple[bytes, str | None]], own: Iterable[str]) -> Partition:
    """Return the partition that raw mails form; each comes with its provider thread, `own` are our addresses.

    Written apart from the product: headers are read with the standard library, and the model (`tests.core.
    threading_model`) knows no keys, no batches and no order.
    """
    ours = {address.lower() for address in own}
    facts = [_facts(number, message_from_bytes(raw), thread, ours) for number, (raw, thread) in enumerate(mails)]
    groups = threading_model.partition(facts, {f"@{address.partition('@')[2]}" for address in ours})
    ids = {one.message_id: one.rfc_message_id for one in facts}
    named = ({found for number in group if (found := ids[number])} for group in groups)
    return {frozenset(group) for group in named if group}


def _facts(number: int, message: Message, thread: str | None, ours: set[str]) -> Facts:
    senders, recipients, reply_to = (_addresses(message, *names) for names in (("From",), ("To", "Cc"), ("Reply-To",)))
    sender = senders[0] if senders else None
    return Facts(
        message_id=number,
        at=_WHENEVER,
        rfc_message_id=next(iter(_ids(message, "Message-ID")), None),
        in_reply_to=tuple(_ids(message, "In-Reply-To")),
        references=tuple(_ids(message, "References")),
        reported=_reported(message),
        sender=sender,
        recipients=tuple(recipients),
        reply_to=tuple(reply_to),
        is_outbound=sender in ours,
        is_list=any(message.get(name) for name in ("List-Id", "List-Post")) or message.get("Precedence") == "list",
        list_id=next(iter(_ID.findall(message.get("List-Id", ""))), None),
        is_unaddressed=not any(message.get(name) for name in _ENVELOPES),
        threads=(("mailbox", thread),) if thread else (),
    )


def _addresses(message: Message, *names: str) -> list[str]:
    values = [str(value) for name in names for value in message.get_all(name, [])]
    return [address.lower() for _, address in getaddresses(values) if address]


def _reported(message: Message) -> tuple[str, ...]:
    """Return the ids inside a delivery report (RFC 3462: the third part is the message, or its header)."""
    if message.get_content_type() != "multipart/report" or message.get_param("report-type") != "delivery-status":
        return ()
    found: list[str] = []
    for part in message.walk():
        if part.get_content_type() == "message/rfc822" and isinstance(inner := part.get_payload(0), Message):
            found += _ids(inner, "Message-ID")
        if part.get_content_type() == "text/rfc822-headers":
            found += _ids(message_from_bytes(bytes(part.get_payload(decode=True) or b"")), "Message-ID")
    return tuple(found)


def facts(connection: Connection) -> dict[str, Counter[str]]:
    """Return the facts in each table, row by row: what a snapshot digests, for telling what changed."""
    return {
        table: Counter(connection.execute(text(f"SELECT CAST(ROW({columns}) AS text) FROM {table}")).scalars())
        for table, columns in _FACTS.items()
    }


def snapshot(connection: Connection) -> dict[str, str]:
    """Return a digest of the facts in each table; equal when nothing of weight changed."""
    return {
        table: connection.execute(
            text(f"SELECT count(*) || ' ' || coalesce(md5(string_agg(x, chr(10) ORDER BY x)), '')"
                 f"  FROM (SELECT CAST(ROW({columns}) AS text) AS x FROM {table}) AS rows")
        ).scalar_one()
        for table, columns in _FACTS.items()
    }  # fmt: skip


def _check_occurrences(
    connection: Connection, mailbox_id: UUID, expected: set[str], served: Mapping[str, str]
) -> list[str]:
    rows = connection.execute(_OCCURRENCES, {"mailbox": mailbox_id}).all()
    found = [row.provider_id for row in rows]
    doubled = sorted({one for one in found if found.count(one) > 1}) if len(set(found)) < len(found) else []
    changed = [
        (row.provider_id, row.state)
        for row in rows
        if row.sha256 is not None and row.provider_id in served and served[row.provider_id] != row.sha256
    ]
    return [
        *_said("id was never seen", sorted(expected - set(found))),
        *_said("id nobody named is there", sorted(set(found) - expected)),
        *_said("id stands twice", doubled),
        *_said("id has other bytes than were served", changed),
    ]


def _check_blobs(connection: Connection, mailbox_id: UUID, blobs: BlobStore) -> list[str]:
    broken = []
    hashes: dict[str, list[str]] = {}
    for row in connection.execute(_HASHES, {"id": mailbox_id}):
        hashes.setdefault(row.kind, []).append(row.sha256)
    for kind, names in hashes.items():
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            broken += _said(f"{BlobKind(kind)} is not stored", sorted(set(chunk) - set(blobs.get(kind, chunk))))
    return broken


def _said(rule: str, rows: list[Any]) -> list[str]:
    shown = [f"{rule}: {row}" for row in rows[:_SHOWN]]
    return [*shown, f"{rule}: {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else shown


def _ids(message: Message, name: str) -> list[str]:
    values = [str(value) for value in message.get_all(name, [])]
    return ["".join(found.split())[:_ID_LENGTH] for value in values for found in _ID.findall(value)]
