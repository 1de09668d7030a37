"""Service levels as facts: calendars, policies, each ticket's clocks, and the intervals they ran or stood still."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, key, metadata, word
from models.enums import ClockKind, ClockState, IntervalState

#: Hours of work in one time zone: `{"0": [["08:00", "12:00"], ["13:00", "17:00"]], ...}`, Monday is 0.
calendars = Table(
    "calendars",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("hours", JSONB, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

holidays = Table(
    "holidays",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("calendar_id", Uuid, ForeignKey("calendars.id", ondelete="CASCADE"), nullable=False),
    Column("day", Date, nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("calendar_id", "day"),
)

#: The first enabled policy whose conditions a ticket meets times it.
sla_policies = Table(
    "sla_policies",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("position", Integer, nullable=False, server_default=text("100")),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    #: NULL: the clock runs day and night.
    Column("calendar_id", Uuid, ForeignKey("calendars.id")),
    #: `{"priorities": [...], "queue_ids": [...], "mailbox_ids": [...], "tags": [...]}`; an absent one is met by all.
    Column("conditions", JSONB, nullable=False, server_default=text("'{}'")),
    #: Minutes by ticket priority: `{"urgent": {"response": 60, "resolution": 240}, ...}`.
    Column("targets", JSONB, nullable=False),
    #: Ticket statuses in which the clocks stand still.
    Column("pauses", ARRAY(Text), nullable=False, server_default=text("'{pending}'")),
    Column("warning_minutes", Integer, nullable=False, server_default=text("45")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
    CheckConstraint("warning_minutes >= 0", name="warning_positive"),
    Index(None, "calendar_id"),
)

#: One row per ticket and target; `due_at` is NULL while it stands still.
ticket_clocks = Table(
    "ticket_clocks",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("kind", ClockKind),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    word("state", ClockState, ClockState.RUNNING),
    #: NULL: the times of contract 000, day and night.
    Column("policy_id", Uuid, ForeignKey("sla_policies.id")),
    Column("policy_version", Integer, nullable=False, server_default=text("0")),
    Column("target", Interval, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("warn_at", DateTime(timezone=True)),
    Column("due_at", DateTime(timezone=True)),
    Column("warned_at", DateTime(timezone=True)),
    Column("breached_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("version", SmallInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("ticket_id", "kind"),
    CheckConstraint("(state IN ('met', 'missed', 'cancelled')) = (ended_at IS NOT NULL)", name="ended_when_over"),
    CheckConstraint("(state = 'running') = (due_at IS NOT NULL AND ended_at IS NULL)", name="due_while_running"),
    Index(None, "policy_id", postgresql_where=text("policy_id IS NOT NULL")),
    Index("ix_ticket_clocks_warn", "warn_at", postgresql_where=text("state = 'running' AND warned_at IS NULL")),
    Index("ix_ticket_clocks_due", "due_at", postgresql_where=text("state = 'running' AND breached_at IS NULL")),
)

#: When a ticket's clocks ran and stood still, without a gap; the last one is open until both clocks are over.
clock_intervals = Table(
    "clock_intervals",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("state", IntervalState),
    #: Why it began: the status, a reopening, a person.
    Column("because", Text, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("ticket_id", "id"),
    CheckConstraint("began_at <= ended_at", name="in_order"),
    Index("uq_clock_intervals_open", "ticket_id", unique=True, postgresql_where=text("ended_at IS NULL")),
)
