"""The workshop: what is repaired, of which parts, in which sessions; and the points, levels and rules of who works."""

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
from models.enums import (
    FlagColor,
    InventoryState,
    LevelSource,
    LevelStatus,
    QaResult,
    RulesAction,
    WorkSessionAction,
    WorkSessionState,
    XpKind,
)

item_categories = Table(
    "item_categories",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

parts = Table(
    "parts",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("category_id", Uuid, ForeignKey("item_categories.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    created(),
    UniqueConstraint("category_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

#: Things that come in to be repaired, by serial number.
inventory_items = Table(
    "inventory_items",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Without white space, in capitals.
    Column("serial_number", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("category_id", Uuid, ForeignKey("item_categories.id")),
    word("state", InventoryState, InventoryState.READY),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    #: Why it was made when it came in; NULL for what was known before.
    Column("made_because", Text),
    created(),
    Column("archived_at", DateTime(timezone=True)),
    UniqueConstraint("org_id", "serial_number"),
    CheckConstraint("serial_number = upper(serial_number) AND length(serial_number) BETWEEN 1 AND 32", name="serial"),
)

#: What only a repair knows of a work order (contract 002).
repairs = Table(
    "repairs",
    metadata,
    Column("order_id", Uuid, ForeignKey("work_orders.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Planned: the sum over the parts.
    Column("minutes", Integer, nullable=False),
    word("flag_color", FlagColor),
    Column("xp_amount", Integer, nullable=False),
    #: Colour and points were set by a person.
    Column("is_manual", Boolean, nullable=False, server_default=text("false")),
    Column("approved_by_id", Uuid, ForeignKey("people.id")),
    Column("approved_at", DateTime(timezone=True)),
    created(),
    CheckConstraint("minutes > 0", name="minutes_positive"),
    CheckConstraint("xp_amount >= 0", name="xp_amount_positive"),
    CheckConstraint("(approved_by_id IS NULL) = (approved_at IS NULL)", name="approved_by_somebody"),
)

repair_parts = Table(
    "repair_parts",
    metadata,
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("part_id", Uuid, ForeignKey("parts.id"), nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("position", SmallInteger, nullable=False),
    word("color", FlagColor),
    Column("comment", Text, nullable=False, server_default=text("''")),
    Column("minutes", Integer, nullable=False),
    PrimaryKeyConstraint("order_id", "part_id"),
    CheckConstraint("minutes >= 1", name="minutes_positive"),
)

#: One sitting of one technician at one order. How long it was active follows from its events alone.
work_sessions = Table(
    "work_sessions",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("technician_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("state", WorkSessionState, WorkSessionState.RUNNING),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint("(state = 'stopped') = (ended_at IS NOT NULL)", name="ended_when_stopped"),
    Index("uq_work_sessions_order_open", "order_id", unique=True, postgresql_where=text("state <> 'stopped'")),
    Index(
        "uq_work_sessions_technician_open",
        "org_id",
        "technician_id",
        unique=True,
        postgresql_where=text("state <> 'stopped'"),
    ),
    Index(None, "order_id", "id"),
)

#: What happened in a session, in order. A trigger refuses every change.
work_session_events = Table(
    "work_session_events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("session_id", Uuid, ForeignKey("work_sessions.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("technician_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("action", WorkSessionAction),
    Column("event_at", DateTime(timezone=True), nullable=False),
    #: "system" where a pause was over by itself.
    Column("actor_id", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Index(None, "session_id", "id"),
    Index(None, "order_id", "id"),
    Index(None, "org_id", "technician_id", "event_at"),
)

#: Each look at finished work, with whose work it was.
quality_checks = Table(
    "quality_checks",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("technician_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("inspector_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("result", QaResult),
    Column("notes", Text),
    created(),
    Index(None, "order_id", "id"),
    Index(None, "org_id", "technician_id", "id"),
    CheckConstraint("inspector_id <> technician_id", name="four_eyes"),
)

#: Points, each given once for what `reference` names. A trigger refuses every change.
xp_transactions = Table(
    "xp_transactions",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("kind", XpKind),
    Column("amount", Integer, nullable=False),
    Column("reference", Text, nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id")),
    Column("comment", Text),
    Column("created_by", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "reference"),
    Index(None, "org_id", "person_id", "id", postgresql_include=["amount", "created_at"]),
)

#: The rules in force are those of the newest version; each names what it changed and why.
rules_versions = Table(
    "rules_versions",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("version", Integer, nullable=False),
    word("action", RulesAction),
    Column("rules", JSONB, nullable=False),
    #: SHA-256 as hex over their canonical form.
    Column("checksum", Text, nullable=False),
    Column("diff", JSONB, nullable=False, server_default=text("'{}'")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("source_version", Integer),
    Column("created_by", Text, nullable=False),
    created(),
    PrimaryKeyConstraint("org_id", "version"),
    CheckConstraint("version > 0", name="version_positive"),
    CheckConstraint("(action = 'rollback') = (source_version IS NOT NULL)", name="source_of_rollback"),
)

attendance_records = Table(
    "attendance_records",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: The local day.
    Column("work_date", Date, nullable=False),
    Column("checked_in_at", DateTime(timezone=True), nullable=False),
    Column("checked_out_at", DateTime(timezone=True)),
    Column("created_by", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "person_id", "work_date"),
    CheckConstraint("checked_out_at >= checked_in_at", name="in_order"),
    Index(None, "org_id", "work_date", "id"),
)

#: Where somebody stands; the row is locked while an evaluation or a person changes it.
levels = Table(
    "levels",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("level", SmallInteger, nullable=False, server_default=text("1")),
    Column("is_warned", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("org_id", "person_id"),
    CheckConstraint("level BETWEEN 1 AND 5", name="level_range"),
)

#: Every change of a level, and every week in which none changed. A trigger refuses every change.
level_events = Table(
    "level_events",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    word("status", LevelStatus),
    word("source", LevelSource),
    #: A Monday; of evaluations alone, and once per week.
    Column("week_start", Date),
    Column("week_xp", Integer),
    Column("total_xp", Integer, nullable=False),
    Column("from_level", SmallInteger, nullable=False),
    Column("to_level", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("created_by", Text, nullable=False),
    created(),
    CheckConstraint("(source = 'weekly_evaluation') = (week_start IS NOT NULL)", name="week_of_evaluations"),
    UniqueConstraint("org_id", "person_id", "week_start"),
    Index(None, "org_id", "person_id", "id"),
)

#: What a higher level earns, once per reference.
level_coupons = Table(
    "level_coupons",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("reference", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    created(),
    UniqueConstraint("org_id", "reference"),
    CheckConstraint("amount > 0", name="amount_positive"),
)
