"""A small archive in a test's database, written as the stages would leave it."""

from __future__ import annotations

import hashlib
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import Provider
from pipeline.commands.mailboxes import add_mailbox, ensure_organization

ADDRESS = "support@example.org"

_OCCURRENCE = text("""
    INSERT INTO occurrences (org_id, mailbox_id, provider_id, state, raw_sha256, message_id)
    VALUES (:org, :mailbox, :provider_id, :state, :sha256, :message) RETURNING id
""")
_MESSAGE = text("""
    INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address,
                          received_at, snippet, raw_sha256, parser_version)
    VALUES (:org, :rfc, :sha256, :sha256, :subject, :subject, 'customer@example.net', now(), '', :sha256, 1)
    RETURNING id
""")
_TICKET = text("""
    INSERT INTO tickets (org_id, code, subject, subject_norm, first_message_at, last_message_at, last_activity_at,
                         status, merged_into, closed_at)
    VALUES (:org, :code, :code, :code, now(), now(), now(), :status, :into, CASE WHEN :is_merged THEN now() END)
    RETURNING id
""")
_LINK = text("""
    INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence)
    VALUES (:message, :org, :ticket, 'new_ticket', 'high')
""")


class Archive:
    """Writes rows; every method returns the id of what it wrote."""

    def __init__(self, connection: Connection, address: str = ADDRESS) -> None:
        self._connection = connection
        self.org_id = ensure_organization(connection, "Default")
        source = {"paths": ["/nowhere"], "spool": "/nowhere"}
        self.mailbox_id = add_mailbox(connection, self.org_id, address, Provider.FILES, source=source)

    def occurrence(self, provider_id: str, state: str = "seen", message_id: int | None = None) -> int:
        sha256 = None if state in {"seen", "gone"} else hashlib.sha256(provider_id.encode()).digest()
        values = {"provider_id": provider_id, "state": state, "sha256": sha256, "message": message_id}
        found = self._connection.execute(_OCCURRENCE, {"org": self.org_id, "mailbox": self.mailbox_id, **values})
        return int(found.scalar_one())

    def message(self, subject: str, rfc_message_id: str | None) -> int:
        values = {"rfc": rfc_message_id, "sha256": hashlib.sha256(subject.encode()).digest(), "subject": subject}
        return int(self._connection.execute(_MESSAGE, {"org": self.org_id, **values}).scalar_one())

    def ticket(self, code: str, *message_ids: int, merged_into: UUID | None = None) -> UUID:
        status = "new" if merged_into is None else "merged"
        values = {"code": code, "status": status, "into": merged_into, "is_merged": merged_into is not None}
        ticket_id: UUID = self._connection.execute(_TICKET, {"org": self.org_id, **values}).scalar_one()
        for message_id in message_ids:
            self._connection.execute(_LINK, {"message": message_id, "org": self.org_id, "ticket": ticket_id})
        return ticket_id
