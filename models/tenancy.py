"""Organizations, their mailboxes, and the listings that read a mailbox from its newest message down."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, key, metadata, word
from models.enums import BackfillState, MailboxState, Provider

organizations = Table(
    "organizations",
    metadata,
    key(),
    Column("name", Text, nullable=False, unique=True),
    #: Triage mode, dispatch thresholds, own domains: validated by `pipeline.core.policies`.
    Column("policy", JSONB, nullable=False, server_default=text("'{}'")),
    created(),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

mailboxes = Table(
    "mailboxes",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("address", Text, nullable=False, unique=True),
    word("provider", Provider),
    word("state", MailboxState, MailboxState.ACTIVE),
    Column("state_reason", Text),
    Column("paused_until", DateTime(timezone=True)),
    #: Where the mail is: paths of a file source, endpoint of a provider. Nothing secret.
    Column("source", JSONB, nullable=False, server_default=text("'{}'")),
    #: Sealed credentials (`pipeline.runtime.secrets`); never logged, never answered.
    Column("credentials", LargeBinary),
    #: The provider's history cursor; moved by compare-and-set only.
    Column("history_id", BigInteger),
    Column("last_full_sync_at", DateTime(timezone=True)),
    Column("last_incremental_sync_at", DateTime(timezone=True)),
    Column("last_sync_error", Text),
    created(),
    CheckConstraint("address = lower(address)", name="address_lower"),
    Index(None, "org_id"),
)

backfills = Table(
    "backfills",
    metadata,
    key(),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    word("state", BackfillState, BackfillState.RUNNING),
    Column("since", DateTime(timezone=True)),
    #: Where the listing goes on; NULL before its first page.
    Column("cursor", Text),
    Column("listed", BigInteger, nullable=False, server_default=text("0")),
    Column("estimate", BigInteger),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished_when_done"),
    Index("uq_backfills_running", "mailbox_id", unique=True, postgresql_where=text("state = 'running'")),
)

queues = Table(
    "queues",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "slug"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)
