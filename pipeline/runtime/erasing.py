"""Forgetting mail: what a message said and who wrote it goes, that it was there stays, so every count still adds up.

Gone are texts, subjects, addresses, attachments, words of the index, what cases and answers quoted of it, and what
dead letters, events, notes and the audit trail say of its tickets. Left are ids, times, states and hashes: the
provider's id stays accounted for, a second copy is known again and brings nothing back, and replies find their ticket.
Raw bytes and attachments that nothing else needs are marked; `pipeline.stages.forget` takes them out of the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.runtime import evidence_erasing, field_erasing, photo_erasing, regrouping
from pipeline.runtime.ticket_locks import lock_tickets

#: Messages looked at, and at most erased, in one transaction.
PAGE = 2_000

#: Written by the address, or by us to it alone; what others wrote to it besides stays theirs.
_OF_ADDRESS = text("""
    WITH page AS MATERIALIZED (
        SELECT id, from_address, forwarded_from, direction, erased_at FROM messages
         WHERE id > :after AND org_id = :org ORDER BY id LIMIT :limit
    )
    SELECT (SELECT max(id) FROM page) AS last,
           ARRAY(SELECT id FROM page WHERE erased_at IS NULL
                    AND (from_address = :address OR forwarded_from = :address
                         OR EXISTS (SELECT FROM message_addresses a WHERE a.message_id = page.id
                                       AND a.address = :address
                                       AND (a.role IN ('from', 'reply_to')
                                            OR (page.direction = 'outbound' AND a.role = 'to'))))
                  ORDER BY id) AS found
""")
#: Ended, and quiet since then.
_AGED = text("""
    WITH page AS MATERIALIZED (
        SELECT m.id, m.erased_at, t.status, t.last_activity_at
          FROM messages m JOIN ticket_messages l ON l.message_id = m.id JOIN tickets t ON t.id = l.ticket_id
         WHERE m.id > :after AND m.org_id = :org ORDER BY m.id LIMIT :limit
    )
    SELECT (SELECT max(id) FROM page) AS last,
           ARRAY(SELECT id FROM page WHERE erased_at IS NULL AND status IN ('closed', 'spam', 'merged')
                    AND last_activity_at < :before ORDER BY id) AS found
""")
_MENTIONS = text("""
    DELETE FROM message_addresses a USING messages m
     WHERE m.id = a.message_id AND m.org_id = :org AND a.address = :address
       AND m.id > :after AND m.id <= :last
""")
#: A second sighting of one of these waits here, and finds it erased (`message_rows.keep`); indexing does, too.
_LOCK = text("SELECT FROM messages WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE")
_REQUESTED = text("""
    SELECT t.id FROM ticket_words w JOIN tickets t ON t.id = w.ticket_id
     WHERE w.org_id = :org AND w.haystack LIKE :pattern AND t.requester_email = :address
    UNION SELECT ticket_id FROM dispatches WHERE org_id = :org AND customer_email = :address
""")

#: Somebody with an account who is no colleague any more, here or elsewhere; another organization's stay theirs.
_FORMER = text("""
    SELECT p.id FROM people p
     WHERE p.email = :address AND NOT EXISTS (
           SELECT FROM memberships m WHERE m.person_id = p.id AND (m.is_active OR m.org_id <> :org))
       FOR UPDATE
""")
_PEOPLE_STEPS = {
    "people": text("""
        UPDATE people SET email = NULL, phone = NULL, full_name = '', password_hash = NULL, is_active = false,
                          erased_at = now()
         WHERE id = ANY(CAST(:people AS uuid[]))
    """),
    "identities": text("DELETE FROM identities WHERE person_id = ANY(CAST(:people AS uuid[]))"),
    # Where they live, and what they may do.
    "technicians": text("DELETE FROM technicians WHERE person_id = ANY(CAST(:people AS uuid[]))"),
    "certificates": text("DELETE FROM certificates WHERE person_id = ANY(CAST(:people AS uuid[]))"),
    # Tokens that push to them, and what they were told.
    "devices": text("DELETE FROM devices WHERE person_id = ANY(CAST(:people AS uuid[]))"),
    "notifications": text("DELETE FROM notifications WHERE person_id = ANY(CAST(:people AS uuid[]))"),
    "photos": photo_erasing.OF_PEOPLE,
    "photo_uploads": photo_erasing.UPLOADS_OF_PEOPLE,
    "notices": text("""
        UPDATE notices SET recipient = '', sealed = NULL, last_error = NULL
         WHERE person_id = ANY(CAST(:people AS uuid[]))
    """),
}

_MARK_RAW = text("""
    UPDATE blobs SET erased_at = now()
     WHERE org_id = :org AND kind = 'raw' AND erased_at IS NULL AND sha256 IN (
           SELECT raw_sha256 FROM messages WHERE id = ANY(CAST(:ids AS bigint[]))
           UNION SELECT o.raw_sha256 FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                  WHERE r.message_id = ANY(CAST(:ids AS bigint[])) AND o.raw_sha256 IS NOT NULL)
""")
_MARK_FILES = text("""
    WITH gone AS (
        DELETE FROM attachments WHERE message_id = ANY(CAST(:ids AS bigint[])) RETURNING id, sha256
    )
    SELECT coalesce(array_agg(DISTINCT sha256), '{}') AS hashes, count(*) AS number FROM gone
""")
_UNUSED_FILES = text("""
    WITH unused AS (
        SELECT h.sha256 FROM unnest(CAST(:hashes AS bytea[])) AS h(sha256)
         WHERE NOT EXISTS (SELECT FROM attachments a WHERE a.org_id = :org AND a.sha256 = h.sha256)
    ), texts AS (
        DELETE FROM attachment_texts WHERE org_id = :org AND sha256 IN (SELECT sha256 FROM unused)
    )
    UPDATE blobs SET erased_at = now()
     WHERE org_id = :org AND kind = 'attachment' AND erased_at IS NULL AND sha256 IN (SELECT sha256 FROM unused)
""")
#: By what is counted: the statement that takes it away. `ids` are messages, `tickets` the tickets they stand in.
_STEPS = {
    "texts": text("""
        UPDATE message_contents SET body_text = '', body_html = NULL, fresh_text = NULL
         WHERE message_id = ANY(CAST(:ids AS bigint[]))
    """),
    "addresses": text("DELETE FROM message_addresses WHERE message_id = ANY(CAST(:ids AS bigint[]))"),
    "references": text("DELETE FROM message_references WHERE message_id = ANY(CAST(:ids AS bigint[]))"),
    "index": text("DELETE FROM message_search WHERE message_id = ANY(CAST(:ids AS bigint[]))"),
    "evidence": text("""
        UPDATE occurrence_recipients r
           SET evidence = '{}',
               -- Whom we wrote to; what was written to us names ourselves, by which it is routed.
               address = CASE WHEN m.direction = 'outbound' AND r.address IS NOT NULL THEN '(erased)'
                              ELSE r.address END
          FROM messages m WHERE m.id = r.message_id AND m.id = ANY(CAST(:ids AS bigint[]))
    """),
    "placements": text("""
        UPDATE ticket_messages SET evidence = NULL, rejected = NULL
         WHERE message_id = ANY(CAST(:ids AS bigint[])) AND (evidence IS NOT NULL OR rejected IS NOT NULL)
    """),
    "signals": text("""
        UPDATE signals SET text = '', reporter = '', span = NULL, symptoms = '{}'
         WHERE message_id = ANY(CAST(:ids AS bigint[]))
    """),
    "sent": text("""
        UPDATE outbound SET recipient = '', last_error = NULL, bounce_reason = NULL
         WHERE message_id = ANY(CAST(:ids AS bigint[])) AND state IN ('sent', 'failed', 'cancelled')
    """),
    "dead_letters": text("""
        UPDATE dead_letters SET error_text = '', error_trace = NULL, first_error = NULL, args = NULL
         WHERE org_id = :org
           AND ((stage IN ('fetch', 'parse', 'stitch', 'routing') AND key IN (
                    SELECT CAST(occurrence_id AS text) FROM occurrence_recipients
                     WHERE message_id = ANY(CAST(:ids AS bigint[]))))
                OR (stage IN ('triage', 'index', 'acknowledge')
                    AND key = ANY(SELECT CAST(unnest(CAST(:ids AS bigint[])) AS text))))
    """),
    "quarantines": text("""
        UPDATE quarantines SET evidence = '' WHERE org_id = :org AND occurrence_id IN (
            SELECT occurrence_id FROM occurrence_recipients WHERE message_id = ANY(CAST(:ids AS bigint[])))
    """),
    "differences": text("""
        DELETE FROM reprocessed WHERE subject = ANY(SELECT CAST(unnest(CAST(:ids AS bigint[])) AS text))
           AND reprocessing_id IN (SELECT id FROM reprocessings WHERE org_id = :org)
    """),
    "events": text("UPDATE events SET data = '{}' WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND data <> '{}'"),
    "audit_details": text("""
        UPDATE audit_details d SET data = NULL, erased_at = now()
          FROM audit_events e
         WHERE e.org_id = :org AND e.target_id = ANY(SELECT CAST(unnest(CAST(:tickets AS uuid[])) AS text))
           AND d.org_id = e.org_id AND d.number = e.number AND d.data IS NOT NULL
    """),
    "messages": text("""
        UPDATE messages SET subject = '', subject_norm = '', from_address = NULL, from_name = NULL, snippet = '',
                            flags = '{}', list_id = NULL, forwarded_from = NULL, rfc_message_id = NULL,
                            dated_at = NULL, erased_at = now()
         WHERE id = ANY(CAST(:ids AS bigint[]))
    """),
}
#: Tickets of which nothing else is left, or that the address asked for.
_EMPTY = text("""
    SELECT t.id FROM unnest(CAST(:tickets AS uuid[])) AS t(id)
     WHERE NOT EXISTS (SELECT FROM ticket_messages l JOIN messages m ON m.id = l.message_id
                        WHERE l.ticket_id = t.id AND m.erased_at IS NULL)
""")
_TICKET_STEPS = {
    "tickets": text("""
        UPDATE tickets SET subject = '', subject_norm = '', requester_email = NULL, requester_name = NULL,
                           version = version + 1
         WHERE id = ANY(CAST(:tickets AS uuid[])) AND (subject <> '' OR requester_email IS NOT NULL)
    """),
    "notes": text("""
        UPDATE ticket_notes SET body_markdown = '(erased)'
         WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND body_markdown <> '(erased)'
    """),
    "shadows": text("DELETE FROM shadow_decisions WHERE ticket_id = ANY(CAST(:tickets AS uuid[]))"),
    # The request that comes again has no second effect, and learns no more than that.
    "answers": text("""
        UPDATE idempotency_keys SET answer = jsonb_set(answer, '{body}', '{}')
         WHERE org_id IN (SELECT org_id FROM tickets WHERE id = ANY(CAST(:tickets AS uuid[])))
           AND coalesce(answer #>> '{body,ticket_id}', answer #>> '{body,ticket,id}', answer #>> '{body,id}')
               = ANY(SELECT CAST(unnest(CAST(:tickets AS uuid[])) AS text))
    """),
    # What people were told of its work orders: these may have its words.
    "notifications": text("""
        UPDATE notifications SET body = '' WHERE id IN (
            SELECT n.id FROM notifications n JOIN work_orders w ON w.id = n.order_id
             WHERE w.ticket_id = ANY(CAST(:tickets AS uuid[])) AND n.body <> '' ORDER BY n.id FOR NO KEY UPDATE OF n)
    """),
    **field_erasing.STEPS,
    "regroupings": text("""
        UPDATE regroupings g SET before = g.before || (
            SELECT jsonb_object_agg(part, (
                SELECT coalesce(jsonb_object_agg(e.id, e.stored || CASE
                           WHEN CAST(e.id AS uuid) = ANY(CAST(:tickets AS uuid[]))
                           THEN '{"subject": "", "subject_norm": "", "requester_email": null, "requester_name": null}'
                           ELSE '{}' END), '{}')
                  FROM jsonb_each(g.before -> part) AS e(id, stored)))
              FROM unnest(ARRAY['tickets', 'after']) AS p(part) WHERE jsonb_typeof(g.before -> part) = 'object')
         WHERE g.ticket_id = ANY(CAST(:tickets AS uuid[])) OR g.other_ids && CAST(:tickets AS uuid[])
    """),
}


@dataclass(frozen=True, slots=True)
class Page:
    """Messages to erase, and the id to go on from; None when the archive is through."""

    message_ids: Sequence[int]
    last: int | None


def page_of_address(connection: Connection, org_id: UUID, address: str, after: int) -> Page:
    """Return the next messages of an address; `address` is lower case."""
    values = {"org": org_id, "address": address, "after": after, "limit": PAGE}
    row = connection.execute(_OF_ADDRESS, values).one()
    return Page(row.found, row.last)


def page_of_age(connection: Connection, org_id: UUID, before: Any, after: int) -> Page:
    """Return the next messages of tickets that ended and have been quiet since before a time; locks these tickets."""
    values = {"org": org_id, "before": before, "after": after, "limit": PAGE}
    row = connection.execute(_AGED, values).one()
    if not row.found:
        return Page((), row.last)
    regrouping.lock_tickets_of(connection, row.found)
    # Whoever had one of them at hand may have opened it again.
    still = set(connection.execute(_AGED, values).one().found)
    return Page([message_id for message_id in row.found if message_id in still], row.last)


def erase_messages(connection: Connection, org_id: UUID, message_ids: Sequence[int]) -> Counter[str]:
    """Erase what is known of messages, in the caller's transaction; return how many of what are gone. Idempotent."""
    if not message_ids:
        return Counter()
    tickets = sorted(set(regrouping.lock_tickets_of(connection, message_ids).values()))
    values = {"org": org_id, "ids": list(message_ids), "tickets": tickets}
    connection.execute(_LOCK, values)
    counts = Counter({"raw": connection.execute(_MARK_RAW, values).rowcount})
    files = connection.execute(_MARK_FILES, values).one()
    counts["attachments"] = files.number
    connection.execute(_UNUSED_FILES, {"org": org_id, "hashes": files.hashes})
    counts += _counted(connection, _STEPS, values)
    return counts + erase_tickets(connection, list(connection.execute(_EMPTY, {"tickets": tickets}).scalars()))


def erase_mentions(connection: Connection, org_id: UUID, address: str, after: int, last: int) -> Counter[str]:
    """Take an address out of the recipients of messages that stay, within a range of ids."""
    values = {"org": org_id, "address": address, "after": after, "last": last}
    return Counter({"recipients": connection.execute(_MENTIONS, values).rowcount})


def erase_requests(connection: Connection, org_id: UUID, address: str) -> Counter[str]:
    """Erase what tickets say of who asked for them, whatever stands in them, their notes, and a former colleague."""
    escaped = address.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = connection.execute(_REQUESTED, {"org": org_id, "address": address, "pattern": f"%{escaped}%"})
    counts = erase_tickets(connection, list(found.scalars()))
    former = list(connection.execute(_FORMER, {"org": org_id, "address": address}).scalars())
    return counts + (_counted(connection, _PEOPLE_STEPS, {"people": former}) if former else Counter())


def erase_tickets(connection: Connection, ticket_ids: Sequence[UUID]) -> Counter[str]:
    """Erase subject, requester and notes of tickets, and what was kept of them for undoing and for repetitions."""
    if not ticket_ids:
        return Counter()
    lock_tickets(connection, ticket_ids)
    steps = {**_TICKET_STEPS, **photo_erasing.STEPS, **evidence_erasing.STEPS}
    return _counted(connection, steps, {"tickets": list(ticket_ids)})


def _counted(connection: Connection, steps: dict[str, Any], values: dict[str, Any]) -> Counter[str]:
    return Counter({name: connection.execute(step, values).rowcount for name, step in steps.items()})
