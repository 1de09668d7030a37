"""What we send, from which addresses, and what was set aside instead of answered."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from models.base import created, key, metadata, word
from models.enums import OutboundKind, OutboundState, QuarantineCause, SendIdentityStatus

#: The addresses that may be written from, each through one mailbox (contract 001).
send_identities = Table(
    "send_identities",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    Column("from_email", Text, nullable=False),
    Column("display_name", Text, nullable=False, server_default=text("''")),
    word("status", SendIdentityStatus, SendIdentityStatus.PENDING),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    created(),
    UniqueConstraint("org_id", "from_email"),
    CheckConstraint("from_email = lower(from_email)", name="from_email_lower"),
    Index(None, "mailbox_id"),
)

#: One row per message that we mean to send, written before anything leaves.
outbound = Table(
    "outbound",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    Column("identity_id", Uuid, ForeignKey("send_identities.id"), nullable=False),
    #: Its ticket is that of the message: a merge moves one thing.
    Column("message_id", BigInteger, ForeignKey("messages.id"), nullable=False, unique=True),
    word("kind", OutboundKind),
    word("state", OutboundState, OutboundState.QUEUED),
    #: The address it answers, lower case; what the breaker of automatic answers counts by.
    Column("recipient", Text, nullable=False),
    #: The caller's own name for the request: the same one twice is one message.
    Column("request_key", Text),
    Column("created_by", Text, nullable=False),
    #: How often it was handed over to the provider.
    Column("handed_over", SmallInteger, nullable=False, server_default=text("0")),
    Column("handed_over_at", DateTime(timezone=True)),
    Column("provider_id", Text),
    Column("sent_at", DateTime(timezone=True)),
    Column("last_error", Text),
    #: When a bounce of it came, the message that says so, and its status code (RFC 3463) or first words.
    Column("bounced_at", DateTime(timezone=True)),
    Column("bounce_message_id", BigInteger, ForeignKey("messages.id")),
    Column("bounce_reason", Text),
    created(),
    CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at_when_sent"),
    Index("ix_outbound_recipient", "org_id", "recipient", text("created_at DESC")),
    Index(
        "ix_outbound_unfinished",
        "state",
        "created_at",
        postgresql_where=text("state NOT IN ('sent', 'cancelled')"),
    ),
    Index(
        "uq_outbound_request_key",
        "org_id",
        "created_by",
        "request_key",
        unique=True,
        postgresql_where=text("request_key IS NOT NULL"),
    ),
)

#: Messages that wait for a person instead of reaching a ticket, with a named cause.
quarantines = Table(
    "quarantines",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("occurrence_id", BigInteger, ForeignKey("occurrences.id"), nullable=False),
    word("cause", QuarantineCause),
    Column("evidence", Text, nullable=False),
    #: The step it goes on with when it is released.
    Column("stage", Text, nullable=False),
    created(),
    Column("released_at", DateTime(timezone=True)),
    Column("released_by", Text),
    Column("released_reason", Text),
    CheckConstraint("(released_at IS NULL) = (released_by IS NULL)", name="released_by_somebody"),
    Index("uq_quarantines_open", "occurrence_id", unique=True, postgresql_where=text("released_at IS NULL")),
    Index("ix_quarantines_open_list", "org_id", "id", postgresql_where=text("released_at IS NULL")),
)
