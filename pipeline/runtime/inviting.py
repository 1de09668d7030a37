"""What the invitation to a visit is made of: the visit as it stands, whom it goes to, and from which address."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from pipeline.runtime import stitching

#: The customer's address goes before the requester's: the mail may have come from somebody else.
_VISITS = text("""
    SELECT v.id AS visit_id, v.org_id, v.ticket_id, v.sequence, v.state, v.starts_at, v.ends_at,
           date_trunc('second', now()) AS now, t.code, o.name AS company, o.policy, x.recipient,
           coalesce(s.timezone, 'UTC') AS timezone,
           nullif(concat_ws(', ', nullif(s.address1, ''), nullif(s.address2, ''), nullif(s.city, ''),
                            nullif(concat_ws(' ', s.region, s.postal_code), '')), '') AS location,
           i.id AS identity_id, i.from_email, i.provider, i.source,
           EXISTS (SELECT FROM mailboxes m WHERE m.org_id = v.org_id AND m.address = x.recipient)
           OR EXISTS (SELECT FROM send_identities y WHERE y.org_id = v.org_id AND y.from_email = x.recipient)
           AS is_ours,
           coalesce((SELECT m.machine IS NOT NULL FROM ticket_messages l JOIN messages m ON m.id = l.message_id
                      WHERE l.ticket_id = v.ticket_id AND m.direction = 'inbound'
                        AND lower(m.from_address) = x.recipient
                      ORDER BY m.received_at DESC, m.id DESC LIMIT 1), false) AS is_machine,
           EXISTS (SELECT FROM outbound b WHERE b.org_id = v.org_id AND b.recipient = x.recipient
                      AND b.bounced_at IS NOT NULL
                      AND NOT EXISTS (SELECT FROM outbound later
                                       WHERE later.org_id = b.org_id AND later.recipient = b.recipient
                                         AND later.created_at > b.created_at AND later.state = 'sent'
                                         AND later.bounced_at IS NULL)) AS has_bounced,
           (SELECT count(*) FROM outbound b
             WHERE b.org_id = v.org_id AND b.created_by = 'system' AND b.state <> 'cancelled'
               AND b.request_key = ANY(ARRAY(SELECT 'visit:' || v.id || ':' || n FROM generate_series(0, v.sequence) n))
           ) AS told,
           (SELECT count(*) FROM outbound b JOIN ticket_messages l ON l.message_id = b.message_id
             WHERE l.ticket_id = v.ticket_id AND b.kind = 'visit' AND b.created_at > now() - interval '1 day') AS had
      FROM unnest(CAST(:ids AS uuid[]), CAST(:sequences AS integer[])) AS asked(id, sequence)
      JOIN visits v ON v.id = asked.id AND v.sequence = asked.sequence AND v.state <> 'done'
      JOIN tickets t ON t.id = v.ticket_id
      JOIN organizations o ON o.id = v.org_id
      LEFT JOIN dispatches d ON d.ticket_id = v.ticket_id
      LEFT JOIN sites s ON s.id = t.site_id
      CROSS JOIN LATERAL (SELECT lower(coalesce(d.customer_email, t.requester_email)) AS recipient) x
      LEFT JOIN LATERAL (
          SELECT i.id, i.from_email, m.provider, m.source
            FROM send_identities i JOIN mailboxes m ON m.id = i.mailbox_id
           WHERE i.org_id = v.org_id AND i.is_enabled AND i.status = 'verified'
           ORDER BY (i.mailbox_id = t.mailbox_id) IS TRUE DESC, i.from_email = m.address DESC, i.created_at, i.id
           LIMIT 1) i ON true
""")


def key(visit_id: UUID, sequence: int) -> str:
    """Return what a step is called that tells of a visit as it stood then."""
    return f"{visit_id}:{sequence}"


def request_key(visit_id: UUID, sequence: int) -> str:
    """Return what the mail is called: the same one twice is one mail."""
    return f"visit:{key(visit_id, sequence)}"


def visits(connection: Connection, org_ids: Collection[UUID], keys: Sequence[str]) -> Mapping[str, Row[Any]]:
    """Return by key those visits that still stand so, once their organizations' stitching is locked.

    Writing to somebody takes that lock anyway; taken first, what is told of one visit goes out in the order in which
    it came to be.
    """
    for org_id in sorted(set(org_ids)):
        stitching.lock(connection, org_id)
    asked = [(UUID(one.partition(":")[0]), int(one.partition(":")[2])) for one in keys]
    values = {"ids": [one[0] for one in asked], "sequences": [one[1] for one in asked]}
    rows = connection.execute(_VISITS, values)
    return {key(row.visit_id, row.sequence): row for row in rows}
