"""Many tickets, made set-wise: organizations, people, queues, tags, words of every rarity, messages for a part."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

#: Of a hundred tickets, how many each organization has.
_SHARES = (70, 20, 10)
#: A word, and of how many tickets one has it: `common` is everywhere, `rare` in a handful of a million.
COMMON, RARE, ABSENT = "charger", "zwitscherbox", "quetzalcoatlus"
COMMON_TAG, RARE_TAG = "hardware", "recall-2019"

_PEOPLE = text("""
    WITH made AS (
        INSERT INTO people (email, full_name) SELECT 'agent' || n || '@desk.example', 'Agent ' || n
          FROM generate_series(1, 200) n RETURNING id, email
    )
    INSERT INTO memberships (org_id, person_id, role_id)
    SELECT o.id, made.id, r.id FROM made, organizations o, roles r WHERE r.code = 'agent' AND r.org_id IS NULL
""")
_PLACES = text("""
    WITH mine AS (
        INSERT INTO accounts (org_id, name) SELECT o.id, 'account ' || n FROM organizations o, generate_series(1, 20) n
        RETURNING id, org_id
    )
    INSERT INTO sites (org_id, account_id, name) SELECT org_id, id, 'site ' || n FROM mine, generate_series(1, 3) n
""")
_DESKS = (
    text("INSERT INTO organizations (name) SELECT 'desk ' || n FROM generate_series(1, :orgs) n"),
    _PEOPLE,
    text("""
        INSERT INTO queues (org_id, slug, name) SELECT o.id, 'queue-' || n, 'Queue ' || n
          FROM organizations o, generate_series(1, 200) n
    """),
    text("""
        INSERT INTO mailboxes (org_id, address, provider)
        SELECT o.id, n || '@' || replace(o.name, ' ', '') || '.example', 'files'
          FROM organizations o, generate_series(1, 5) n
    """),
    _PLACES,
)
#: Numbers of a ticket come from a hash of its own number, so that two runs make the same; a few people and queues have
#: most of the work, and what is open is mostly new.
_TICKETS = text("""
    WITH many AS (
        SELECT array_agg(id ORDER BY id) AS orgs FROM organizations
    ), staff AS (
        SELECT array_agg(id ORDER BY id) AS people FROM people
    ), per AS (
        SELECT o.id AS org_id, (SELECT array_agg(q.id ORDER BY q.id) FROM queues q WHERE q.org_id = o.id) AS queues,
               (SELECT array_agg(m.id ORDER BY m.id) FROM mailboxes m WHERE m.org_id = o.id) AS boxes,
               (SELECT array_agg(a.id ORDER BY a.id) FROM accounts a WHERE a.org_id = o.id) AS accounts
          FROM organizations o
    ), numbers AS (
        SELECT n, (hashint8(n) & 2147483647) / 2147483648.0 AS a, (hashint8(n + 7) & 2147483647) / 2147483648.0 AS b,
               (hashint8(n + 31) & 2147483647) / 2147483648.0 AS c, (hashint8(n + 77) & 2147483647) % 1000 AS d
          FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n
    ), drawn AS (
        SELECT n, a, b, c, d, many.orgs[CASE WHEN d % 100 < 70 THEN 1 WHEN d % 100 < 90 THEN 2 ELSE 3 END] AS org_id,
               now() - interval '2 years' * (1 - n / CAST(:total AS float8)) AS born_at,
               1 - n / CAST(:total AS float8) < 0.04 AS is_young
          FROM numbers, many
    ), told AS (
        SELECT drawn.*, born_at + interval '20 days' * a * a * a * (1 - n / CAST(:total AS float8)) AS active_at,
               CASE WHEN is_young
                    THEN (ARRAY['new', 'open', 'open', 'pending', 'resolved', 'closed', 'spam'])[1 + floor(b * 7)]
                    WHEN b < 0.9 THEN 'closed' WHEN b < 0.94 THEN 'resolved' WHEN b < 0.97 THEN 'spam'
                    WHEN b < 0.98 THEN 'pending' WHEN b < 0.985 THEN 'open' ELSE 'closed' END AS status
          FROM drawn
    )
    INSERT INTO tickets (org_id, code, status, priority, subject, subject_norm, requester_email, requester_name,
                         assignee_user_id, queue_id, tags, account_id, mailbox_id, first_message_at, last_message_at,
                         last_activity_at, closed_at, sla_due_at, created_at)
    SELECT t.org_id, 'tkt-' || translate(substr(md5(CAST(n AS text)), 1, 16), '0189', 'wxyz'), status,
           (ARRAY['low', 'normal', 'normal', 'normal', 'normal', 'high', 'high', 'urgent'])[1 + d % 8], s, s,
           'customer' || floor(c * :total / 4) || '@'
                      || (ARRAY['mail', 'post', 'office', 'shop'])[1 + d % 4] || '.example',
           'Customer ' || floor(c * :total / 4),
           CASE WHEN d % 3 = 0 THEN staff.people[1 + floor(200 * b * b)] END,
           CASE WHEN d % 3 = 1 THEN per.queues[1 + floor(200 * c * c)] END,
           CASE WHEN n % 90001 = 77 THEN ARRAY[CAST(:rare_tag AS text)] WHEN d % 5 < 2 THEN '{}'
                ELSE ARRAY[CAST(:common_tag AS text), 'topic-' || floor(400 * a * a)] END,
           per.accounts[1 + floor(20 * c)], per.boxes[1 + floor(5 * b)], born_at, active_at, active_at,
           CASE WHEN status IN ('closed', 'spam') THEN active_at END,
           CASE WHEN status IN ('new', 'open') THEN now() + interval '1 hour' * (200 * c - 60) END, born_at
      FROM told t JOIN per USING (org_id), staff,
           LATERAL (SELECT (ARRAY['The charger does not start', 'Charger in bay', 'Card is not taken at', 'Invoice',
                                  'No connection to charger', 'Display stays dark on', 'Cable is stuck in',
                                  'Question about my bill for'])[1 + floor(a * 8)] || ' '
                           || CASE WHEN n % 90001 = 5 THEN CAST(:rare AS text) ELSE 'AUS_' || floor(c * 9999) END
                           || ' ' || (ARRAY['again', 'since monday', 'urgent', 'please help', ''])[1 + d % 5] AS s) said
""")
_MERGED = text("""
    WITH picked AS (
        SELECT id, org_id, lead(id) OVER (PARTITION BY org_id ORDER BY created_at) AS into_id
          FROM tickets WHERE status = 'closed' AND created_at > now() - interval '60 days'
    )
    UPDATE tickets t SET status = 'merged', merged_into = p.into_id FROM picked p
     WHERE p.id = t.id AND p.into_id IS NOT NULL AND hashtext(CAST(t.id AS text)) % 20 = 0
""")
_WORDS = text("""
    INSERT INTO ticket_words (ticket_id, org_id, haystack, tags)
    SELECT id, org_id, lower(concat_ws(chr(10), left(subject, 1000), requester_email)), tags FROM tickets
""")
_CLOCKS = text("""
    INSERT INTO ticket_clocks (ticket_id, kind, org_id, state, target, started_at, warn_at, due_at, policy_version)
    SELECT id, 'response', org_id, 'running', interval '1 day', created_at, sla_due_at - interval '45 minutes',
           sla_due_at, 0
      FROM tickets WHERE sla_due_at IS NOT NULL
    UNION ALL
    SELECT id, 'response', org_id, 'paused', interval '1 day', created_at, NULL, NULL, 0
      FROM tickets WHERE status = 'pending'
""")
#: The newest tickets of each organization have mail, and the very newest a long thread.
_MESSAGES = text("""
    WITH newest AS (
        SELECT id, org_id, subject, last_activity_at,
               row_number() OVER (PARTITION BY org_id ORDER BY last_activity_at DESC, id DESC) AS n
          FROM tickets WHERE merged_into IS NULL
    ), mails AS (
        SELECT newest.*, k FROM newest, generate_series(1, CASE WHEN n = 1 THEN :longest ELSE 3 END) k WHERE n <= :mails
    ), kept AS (
        INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address,
                              received_at, snippet, raw_sha256, parser_version, collision_group_id)
        SELECT org_id, '<' || id || '.' || k || '@x.example>', decode(md5(CAST(id AS text)), 'hex'),
               decode(md5(CAST(k AS text)), 'hex'), subject, subject, 'ann@customer.example',
               last_activity_at - interval '1 minute' * k, 'It does not start.', '\\xab', 1, id
          FROM mails RETURNING id, org_id, collision_group_id AS ticket_id, received_at
    ), bodies AS (
        INSERT INTO message_contents (message_id, body_text, body_html)
        SELECT id, repeat('It does not start, and the display says nothing. ', 20), '<p>It does not start.</p>'
          FROM kept
    ), people AS (
        INSERT INTO message_addresses (message_id, role, position, address, name)
        SELECT id, 'to', 0, 'help@desk.example', '' FROM kept
    )
    INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence, linked_at)
    SELECT id, org_id, ticket_id, 'references', 'high', received_at FROM kept
""")
_SEEN = text("""
    WITH seen AS (
        INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256, message_id)
        SELECT m.org_id, (SELECT b.id FROM mailboxes b WHERE b.org_id = m.org_id LIMIT 1), 'p' || m.id, 'routed',
               '\\xab', m.id FROM messages m RETURNING id, message_id
    )
    INSERT INTO occurrence_recipients (occurrence_id, message_id, address, source, confidence, evidence)
    SELECT id, message_id, 'help@desk.example', 'delivered_to', 'medium', '[]' FROM seen
""")
_FILES = (
    text("""
        INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
        SELECT id, 'attachment', sha256('plan'), 4, 4 FROM organizations
    """),
    text("""
        INSERT INTO attachments (org_id, message_id, position, sha256, filename, content_type, size, disposition)
        SELECT org_id, id, 0, sha256('plan'), 'plan.pdf', 'application/pdf', 4, 'attachment'
          FROM messages WHERE id % 3 = 0
    """),
    text("UPDATE messages SET collision_group_id = NULL"),
)
_LOG = (
    text("""
        INSERT INTO events (org_id, ticket_id, kind, actor)
        SELECT l.org_id, l.ticket_id, 'ticket_updated', 'ann' FROM ticket_messages l
    """),
    text("""
        INSERT INTO ticket_notes (org_id, ticket_id, actor, body_markdown)
        SELECT l.org_id, l.ticket_id, 'ann', 'Called them.' FROM ticket_messages l WHERE l.message_id % 2 = 0
    """),
)
_INDEXES = text("""
    SELECT indexname, indexdef FROM pg_indexes i
     WHERE schemaname = current_schema() AND tablename IN ('tickets', 'ticket_words')
       AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)
""")
#: Field work of every ticket; that of the open ones is queued, most of it with a deadline that is to come.
_WORK = (
    text("""
        UPDATE tickets SET dispatch_state = (ARRAY['NEW', 'TRIAGED', 'READY_TO_SCHEDULE', 'SCHEDULED', 'DISPATCHED',
                                                   'IN_PROGRESS'])[1 + (hashtext(code) & 2147483647) % 6]
         WHERE status IN ('new', 'open', 'pending')
    """),
    text("""
        INSERT INTO dispatches (ticket_id, org_id, priority, incident_type, assigned_tech_id, due_at, due_soon_at,
                                queue_due_at)
        SELECT id, org_id, (ARRAY['EMERGENCY', 'URGENT', 'ROUTINE', 'ROUTINE'])[1 + h % 4],
               (ARRAY['DOOR_WONT_LATCH', 'AUTO_OPERATOR_FAULT'])[1 + h % 2],
               CASE WHEN h % 5 < 2 THEN (ARRAY(SELECT p.id FROM people p ORDER BY p.id LIMIT 40))[1 + h % 40] END,
               due_at, due_at - interval '45 minutes', CASE WHEN is_open THEN due_at END
          FROM (SELECT t.*, hashtext(code) & 1048575 AS h, status IN ('new', 'open', 'pending') AS is_open,
                       CASE WHEN status IN ('new', 'open', 'pending')
                            THEN now() + interval '1 minute' * ((hashtext(code) & 1048575) % 12000 - 2000)
                            ELSE created_at + interval '1 day' END AS due_at
                  FROM tickets t WHERE merged_into IS NULL) w
    """),
)
#: Tickets per statement: what one of them may hold in memory.
_BATCH = 100_000


@dataclass(frozen=True, slots=True)
class Made:
    """The largest organization, one of its people and queues with much work, and the ticket with the longest thread."""

    org_id: UUID
    person_id: UUID
    queue_id: UUID
    mailbox_id: UUID
    ticket_id: UUID


def make(connection: Connection, tickets: int, mails: int, longest: int = 2_000) -> Made:
    """Fill an empty, migrated database; the newest `mails` tickets of each organization get messages. Superusers only.

    Triggers and foreign keys rest meanwhile, and indexes are made at the end, as for any bulk load.
    """
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
    for statement in _DESKS:
        connection.execute(statement, {"orgs": len(_SHARES)} if statement is _DESKS[0] else {})
    found = list(connection.execute(_INDEXES))
    for name, _ in found:
        connection.execute(text(f"DROP INDEX {name}"))
    named = {"rare": RARE, "rare_tag": RARE_TAG, "common_tag": COMMON_TAG, "total": tickets}
    for first in range(1, tickets + 1, _BATCH):
        connection.execute(_TICKETS, {**named, "first": first, "last": min(first + _BATCH - 1, tickets)})
    for statement in (_MERGED, _WORDS, _CLOCKS):
        connection.execute(statement)
    for _, definition in found:
        connection.execute(text(definition))
    connection.execute(_MESSAGES, {"mails": mails, "longest": longest})
    for statement in (_SEEN, *_FILES, *_LOG):
        connection.execute(statement)
    return _made(connection)


def make_work(connection: Connection) -> None:
    """Give the tickets field work."""
    for statement in _WORK:
        connection.execute(statement)


def _made(connection: Connection) -> Made:
    statement = text("""
        SELECT o.id AS org_id, (SELECT id FROM people ORDER BY id LIMIT 1) AS person_id,
               (SELECT q.id FROM queues q WHERE q.org_id = o.id ORDER BY q.id LIMIT 1) AS queue_id,
               (SELECT b.id FROM mailboxes b WHERE b.org_id = o.id ORDER BY b.id LIMIT 1) AS mailbox_id,
               (SELECT l.ticket_id FROM ticket_messages l WHERE l.org_id = o.id
                 GROUP BY l.ticket_id ORDER BY count(*) DESC LIMIT 1) AS ticket_id
          FROM organizations o ORDER BY o.id LIMIT 1
    """)
    return Made(*connection.execute(statement).one())
