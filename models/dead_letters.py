"""The dead letters, what people do with many of them at once, and who did what."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, metadata, word
from models.enums import (
    BulkAction,
    BulkState,
    Cause,
    ItemState,
    Lane,
    LetterAction,
    Resolution,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("org_id", Uuid, nullable=False),
    Column("mailbox_id", Uuid),
    Column("stage", Text, nullable=False),
    Column("key", Text, nullable=False),
    word("lane", Lane),
    word("cause", Cause),
    #: What its first failure said, and when (class, text, at); NULL when it died of its first.
    Column("first_error", JSONB),
    Column("error_class", Text, nullable=False),
    Column("error_text", Text, nullable=False),
    #: Where the error was raised, deepest frame last; for engineers.
    Column("error_trace", Text),
    #: Equal for errors of the same kind at the same place, whatever ids their texts carry.
    Column("error_group", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("args", JSONB),
    Column("trace_id", Text, nullable=False),
    Column("queued_at", DateTime(timezone=True), nullable=False),
    Column("buried_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    #: The job's place in its lane: an undone discard stands there again.
    Column("place", BigInteger, nullable=False, server_default=text("0")),
    word("resolution", Resolution, nullable=True),
    Column("resolved_at", DateTime(timezone=True)),
    Column("resolved_by", Text),
    Column("resolved_reason", Text),
    CheckConstraint("(resolution IS NULL) = (resolved_at IS NULL)", name="resolved_when_resolution"),
    Index("uq_dead_letters_open", "job_id", unique=True, postgresql_where=text("resolution IS NULL")),
    Index("ix_dead_letters_open", "org_id", text("id DESC"), postgresql_where=text("resolution IS NULL")),
    Index(None, "mailbox_id", "id"),
    Index("ix_dead_letters_group", "error_group", "stage", "buried_at"),
    Index("ix_dead_letters_resolved", "resolved_at", postgresql_where=text("resolution IS NOT NULL")),
    Index("ix_dead_letters_trace", "trace_id"),
    #: Was this thing's job discarded? Asked at every scrape (`models.queries.strands`).
    Index("ix_dead_letters_discarded", "stage", "key", postgresql_where=text("resolution = 'discarded'")),
    Index(None, "job_id", "id"),
)


#: One wish of a person about many letters: replay or discard them, by selection or by filter.
bulks = Table(
    "bulks",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    #: NULL: letters of every organization, asked for at the machine itself.
    Column("org_id", Uuid),
    word("action", BulkAction),
    word("state", BulkState),
    #: How the letters were chosen: filters, or ids.
    Column("selection", JSONB, nullable=False),
    #: The digest of action and selection: an equal wish while this one goes on is this one.
    Column("selection_digest", Text, nullable=False),
    #: So many letters go first, in turn from each kind of error; 0 for none.
    Column("canaries", Integer, nullable=False, server_default=text("0")),
    #: Letters per second; NULL as fast as they can be let go.
    Column("per_second", Float),
    #: What may be let go now, in letters: it grows by `per_second` and is spent one by one.
    Column("allowance", Float, nullable=False, server_default=text("0")),
    Column("topped_up_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("total", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    created(),
    Column("finished_at", DateTime(timezone=True)),
    #: Why it ended before its last letter.
    Column("ended_because", Text),
    CheckConstraint(
        "(state IN ('done', 'stopped', 'cancelled')) = (finished_at IS NOT NULL)", name="finished_when_over"
    ),
    Index("ix_bulks_going", "id", postgresql_where=text("finished_at IS NULL")),
    Index(None, "org_id", "id"),
)

#: The letters of a wish, and what became of each: the result list.
bulk_items = Table(
    "bulk_items",
    metadata,
    Column("bulk_id", BigInteger, ForeignKey("bulks.id"), nullable=False),
    #: The order in which they go.
    Column("place", Integer, nullable=False),
    Column("letter_id", BigInteger, ForeignKey("dead_letters.id"), nullable=False),
    Column("job_id", BigInteger, nullable=False),
    #: Letters with an equal one go one after the other: a ticket, or a thread at the provider before it has one.
    Column("order_key", Text),
    word("state", ItemState, ItemState.WAITING),
    Column("released_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    #: What was said when it failed again, or why it was left out.
    Column("note", Text),
    #: The letter it became when it died again.
    Column("again_id", BigInteger, ForeignKey("dead_letters.id")),
    PrimaryKeyConstraint("bulk_id", "place"),
    CheckConstraint("(state IN ('waiting', 'released')) = (ended_at IS NULL)", name="ended_when_over"),
    #: A letter is in one wish at a time.
    Index("uq_bulk_items_going", "letter_id", unique=True, postgresql_where=text("state IN ('waiting', 'released')")),
    Index("ix_bulk_items_going", "bulk_id", "place", postgresql_where=text("state IN ('waiting', 'released')")),
    Index("ix_bulk_items_released", "bulk_id", postgresql_where=text("state = 'released'")),
    Index(None, "letter_id"),
    Index("ix_bulk_items_again", "again_id", postgresql_where=text("again_id IS NOT NULL")),
)

#: Who did what to which letter, and why; only ever added to, and kept as long as the letter.
letter_actions = Table(
    "letter_actions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid),
    Column("letter_id", BigInteger, ForeignKey("dead_letters.id")),
    Column("bulk_id", BigInteger, ForeignKey("bulks.id")),
    word("action", LetterAction),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    #: Of an edit: the arguments before and after.
    Column("data", JSONB),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("letter_id IS NOT NULL OR bulk_id IS NOT NULL", name="is_about_something"),
    Index(None, "letter_id", "id"),
    Index(None, "bulk_id", "id"),
)
