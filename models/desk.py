"""The desk: notes, saved views, who works which queue when, and the words that tickets are found by."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, key, metadata, word
from models.enums import ErasureKind, ErasureState

ticket_notes = Table(
    "ticket_notes",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id")),
    Column("actor", Text, nullable=False),
    Column("body_markdown", Text, nullable=False),
    created(),
    CheckConstraint("body_markdown <> ''", name="body_not_blank"),
    Index(None, "ticket_id", "id"),
)

saved_views = Table(
    "saved_views",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("filters", JSONB, nullable=False),
    Column("created_by_id", Uuid, ForeignKey("people.id")),
    created(),
    UniqueConstraint("org_id", "name"),
    CheckConstraint("name <> ''", name="name_not_blank"),
)

#: What `q` and tags look in, apart from `tickets`: row security forbids its tables the indexes that these need
#: (`models.row_security`), and no wide row is rewritten. Kept by a trigger on `tickets`.
ticket_words = Table(
    "ticket_words",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Subject and requester, lower case, one per line.
    Column("haystack", Text, nullable=False),
    Column("tags", ARRAY(Text), nullable=False),
    Index("ix_ticket_words_haystack", "haystack", postgresql_using="gin", postgresql_ops={"haystack": "gin_trgm_ops"}),
    #: A row without any would stand in it, too.
    Index("ix_ticket_words_tags", "tags", postgresql_using="gin", postgresql_where=text("tags <> '{}'")),
)

queue_memberships = Table(
    "queue_memberships",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("queue_id", Uuid, ForeignKey("queues.id", ondelete="CASCADE"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: When a rule gave them a ticket of this queue last: whose turn it is.
    Column("assigned_at", DateTime(timezone=True)),
    created(),
    PrimaryKeyConstraint("queue_id", "person_id"),
    Index(None, "person_id"),
)

#: Weekly hours of a person; somebody without any is always on duty.
shifts = Table(
    "shifts",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    #: Monday is 0. A shift that ends before it begins ends on the next day.
    Column("weekday", SmallInteger, nullable=False),
    Column("begins", Time, nullable=False),
    Column("ends", Time, nullable=False),
    Column("timezone", Text, nullable=False),
    CheckConstraint("weekday BETWEEN 0 AND 6", name="weekday_range"),
    CheckConstraint("begins <> ends", name="not_empty"),
    Index(None, "org_id", "person_id"),
)

leaves = Table(
    "leaves",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("person_id", Uuid, ForeignKey("people.id"), nullable=False),
    Column("begins_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False, server_default=text("''")),
    created(),
    CheckConstraint("begins_at < ends_at", name="in_order"),
    Index(None, "org_id", "person_id", "ends_at"),
)

#: What rules in shadow would have decided; nothing follows from it.
shadow_decisions = Table(
    "shadow_decisions",
    metadata,
    Column("ticket_id", Uuid, ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("decision", JSONB, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "org_id", "decided_at"),
)

#: Wishes to forget an address, and what ended long ago. The address goes when it is done, its hash stays.
erasures = Table(
    "erasures",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    word("kind", ErasureKind),
    word("state", ErasureState, ErasureState.RUNNING),
    Column("address", Text),
    Column("address_sha256", LargeBinary),
    #: Tickets that ended and have been quiet since then.
    Column("before_at", DateTime(timezone=True)),
    #: The last message that was looked at.
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    #: How many of what are gone.
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    created(),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="finished_when_done"),
    CheckConstraint("(kind = 'address' AND state <> 'done') = (address IS NOT NULL)", name="address_until_done"),
    CheckConstraint("(kind = 'address') = (address_sha256 IS NOT NULL)", name="hash_of_address"),
    CheckConstraint("(kind = 'age') = (before_at IS NOT NULL)", name="time_of_age"),
    Index(None, "org_id", "id"),
    Index(
        "uq_erasures_running",
        "org_id",
        "kind",
        "address",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("state = 'running'"),
    ),
)
