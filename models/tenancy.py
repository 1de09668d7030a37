"""Organizations, their mailboxes, and the listings that read a mailbox from its newest message down."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Interval,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, key, metadata, word
from models.enums import BackfillState, MailboxState, Provider, WindowState

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
    #: Until when it is paused, or not asked again while suspended.
    Column("paused_until", DateTime(timezone=True)),
    Column("paused_at", DateTime(timezone=True)),
    #: Who paused it: a person, or `breaker`.
    Column("paused_by", Text),
    #: The circuit breaker: failed batches in a row, and how often it opened in a row.
    Column("failures_in_row", SmallInteger, nullable=False, server_default=text("0")),
    Column("trips", SmallInteger, nullable=False, server_default=text("0")),
    #: When changes are asked for next, and the distance to the time after at the standard pace of 30 s, which the
    #: schedule scales: it follows the mailbox's activity.
    Column("poll_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("poll_interval", Interval, nullable=False, server_default=text("interval '30 seconds'")),
    #: The provider's project whose quota pays for the calls; NULL where nothing is counted.
    Column("project", Text),
    #: Where the mail is: paths of a file source, endpoint of a provider. Nothing secret.
    Column("source", JSONB, nullable=False, server_default=text("'{}'")),
    #: Sealed credentials (`pipeline.runtime.secrets`); never logged, never answered.
    Column("credentials", LargeBinary),
    #: The provider's history cursor, opaque; moved by compare-and-set only.
    Column("sync_cursor", Text),
    #: The cursor as the version before 0002 keeps it; written by that version only.
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
    #: Where the listing goes on in the version before 0002; windows have their own.
    Column("cursor", Text),
    Column("listed", BigInteger, nullable=False, server_default=text("0")),
    #: Ids that the ledger did not know.
    Column("fresh", BigInteger, nullable=False, server_default=text("0")),
    Column("estimate", BigInteger),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished_when_done"),
    Index("uq_backfills_running", "mailbox_id", unique=True, postgresql_where=text("state = 'running'")),
)

#: The window ledger: page tokens expire, windows do not.
backfill_windows = Table(
    "backfill_windows",
    metadata,
    Column("backfill_id", Uuid, ForeignKey("backfills.id"), nullable=False),
    Column("number", Integer, nullable=False),
    word("state", WindowState, WindowState.OPEN),
    Column("after_at", DateTime(timezone=True)),
    Column("before_at", DateTime(timezone=True)),
    Column("cursor", Text),
    Column("pages", Integer, nullable=False, server_default=text("0")),
    Column("listed", BigInteger, nullable=False, server_default=text("0")),
    Column("fresh", BigInteger, nullable=False, server_default=text("0")),
    Column("restarts", Integer, nullable=False, server_default=text("0")),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("backfill_id", "number"),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished_when_done"),
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
