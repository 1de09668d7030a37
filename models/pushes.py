"""What people are told of work, and the devices that are told it."""

from __future__ import annotations

from sqlalchemy import (
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

from models.base import created, key, metadata, word
from models.enums import NotificationKind, Platform

#: A device that gets pushes, for as long as its session goes on.
devices = Table(
    "devices",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: Ends with it; NULL where somebody came without one.
    Column("session_id", Uuid, ForeignKey("sessions.id", ondelete="SET NULL")),
    word("platform", Platform),
    #: The token lets anybody push: it is sealed, and found by its hash.
    Column("token_sha256", LargeBinary, nullable=False),
    Column("token_sealed", LargeBinary, nullable=False),
    created(),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("dropped_at", DateTime(timezone=True)),
    Column("dropped_because", Text),
    CheckConstraint("(dropped_at IS NULL) = (dropped_because IS NULL)", name="dropped_because_of_something"),
    Index("uq_devices_token", "token_sha256", unique=True, postgresql_where=text("dropped_at IS NULL")),
    Index("ix_devices_person", "person_id", postgresql_where=text("dropped_at IS NULL")),
    Index("ix_devices_session", "session_id", postgresql_where=text("session_id IS NOT NULL")),
)

#: Said once: `reference` names what happened.
notifications = Table(
    "notifications",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("kind", NotificationKind),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("reference", Text, nullable=False),
    created(),
    Column("read_at", DateTime(timezone=True)),
    #: When a device had it, or none was there to have it; devices that are left have jobs of their own.
    Column("pushed_at", DateTime(timezone=True)),
    UniqueConstraint("org_id", "person_id", "reference"),
    Index(None, "org_id", "person_id", "id"),
    Index("ix_notifications_unread", "org_id", "person_id", postgresql_where=text("read_at IS NULL")),
    Index(None, "order_id"),
)
