"""Tickets, the messages in them, the keys that stitch them, and the rules that route them."""

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
    Integer,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, key, metadata, word
from models.enums import (
    AssignmentStrategy,
    Confidence,
    Direction,
    DispatchState,
    RegroupingKind,
    StitchReason,
    TicketPriority,
    TicketStatus,
)

tickets = Table(
    "tickets",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: By bytes, wherever the database stands: the beginning of a code is looked up in its index.
    Column("code", Text(collation="C"), nullable=False),
    word("status", TicketStatus, TicketStatus.NEW),
    word("dispatch_state", DispatchState, DispatchState.NEW),
    word("priority", TicketPriority, TicketPriority.NORMAL),
    Column("subject", Text, nullable=False),
    Column("subject_norm", Text, nullable=False),
    Column("requester_email", Text),
    Column("requester_name", Text),
    #: One of both at most: whose it is, or which queue's (contract 001).
    Column("assignee_user_id", Uuid, ForeignKey("people.id")),
    Column("queue_id", Uuid, ForeignKey("queues.id")),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: Where it belongs; NULL until somebody says.
    Column("account_id", Uuid, ForeignKey("accounts.id")),
    Column("site_id", Uuid, ForeignKey("sites.id")),
    #: The mailbox that it came in by.
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id")),
    Column("first_message_at", DateTime(timezone=True), nullable=False),
    Column("last_message_at", DateTime(timezone=True), nullable=False),
    Column("last_activity_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("merged_into", Uuid, ForeignKey("tickets.id")),
    #: Set once, by the ticket's first message: routing never decides twice.
    Column("routed_at", DateTime(timezone=True)),
    #: What routing decided, with the version of its rules: what a repetition is compared with.
    Column("routing", JSONB),
    #: When a person first decided on it: no rule decides over that.
    Column("decided_at", DateTime(timezone=True)),
    Column("response_due_at", DateTime(timezone=True)),
    Column("resolution_due_at", DateTime(timezone=True)),
    #: What is due next; NULL while nothing is, or the clocks stand still. Kept by what keeps the clocks.
    Column("sla_due_at", DateTime(timezone=True)),
    Column("responded_at", DateTime(timezone=True)),
    Column("resolved_at", DateTime(timezone=True)),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    created(),
    UniqueConstraint("org_id", "code"),
    CheckConstraint("(status = 'merged') = (merged_into IS NOT NULL)", name="merged_into_when_merged"),
    CheckConstraint("(status IN ('closed', 'spam', 'merged')) = (closed_at IS NOT NULL)", name="closed_when_ended"),
    CheckConstraint("merged_into <> id", name="not_into_itself"),
    #: The site of whoever wrote before.
    Index(
        "ix_tickets_requester_site",
        "org_id",
        "requester_email",
        text("last_activity_at DESC"),
        postgresql_where=text("site_id IS NOT NULL"),
    ),
    Index("ix_tickets_merged_into", "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    CheckConstraint("num_nonnulls(assignee_user_id, queue_id) <= 1", name="one_assignee"),
    Index("ix_tickets_inbox", "org_id", "status", text("last_activity_at DESC"), text("id DESC")),
    Index("ix_tickets_all", "org_id", text("last_activity_at DESC"), text("id DESC")),
    Index(
        "ix_tickets_assignee",
        "assignee_user_id",
        text("last_activity_at DESC"),
        text("id DESC"),
        postgresql_where=text("assignee_user_id IS NOT NULL"),
    ),
    #: How much somebody has to do, whatever they were ever given.
    Index(
        "ix_tickets_open_assignee",
        "assignee_user_id",
        postgresql_where=text("assignee_user_id IS NOT NULL AND status IN ('new', 'open', 'pending')"),
    ),
    Index(
        "ix_tickets_queue",
        "queue_id",
        text("last_activity_at DESC"),
        text("id DESC"),
        postgresql_where=text("queue_id IS NOT NULL"),
    ),
    Index("ix_tickets_sla", "org_id", "sla_due_at", "id", postgresql_where=text("sla_due_at IS NOT NULL")),
)

ticket_messages = Table(
    "ticket_messages",
    metadata,
    Column("message_id", BigInteger, ForeignKey("messages.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("reason", StitchReason),
    word("confidence", Confidence),
    Column("evidence", Text),
    #: Tickets that evidence named and that were not believed, each with why not; NULL when there were none.
    Column("rejected", JSONB),
    #: The version of the stitching rules that placed it.
    Column("rules_version", SmallInteger, nullable=False, server_default=text("1")),
    #: Set when a person put it there: no rule moves it.
    Column("is_pinned", Boolean, nullable=False, server_default=text("false")),
    #: The moment itself, not that of its transaction's beginning: what came after a merge is told by it.
    Column("linked_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index(None, "ticket_id", "linked_at"),
)

#: One row per key (`pipeline.core.threading`) that a message of a ticket has; the forest of the union-find.
thread_keys = Table(
    "thread_keys",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: First 16 bytes of SHA-256 over kind, value and whom it is believed from: flat cost for ids of any length.
    Column("digest", LargeBinary, nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    PrimaryKeyConstraint("org_id", "digest"),
    Index(None, "ticket_id"),
)

#: Merges and splits, by rules and by people, with all that undoing them needs.
regroupings = Table(
    "regroupings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    word("kind", RegroupingKind),
    #: The ticket that the others merged into, or that was split.
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    #: Those that merged into it, or the new one.
    Column("other_ids", ARRAY(Uuid), nullable=False),
    #: The tickets as they were, by id.
    Column("before", JSONB, nullable=False),
    Column("actor", Text, nullable=False, server_default=text("'system'")),
    Column("reason", Text, nullable=False),
    created(),
    Column("undone_at", DateTime(timezone=True)),
    Column("undone_by", Text),
    CheckConstraint("(undone_at IS NULL) = (undone_by IS NULL)", name="undone_by_somebody"),
    Index(None, "ticket_id"),
    Index("ix_regroupings_other_ids", "other_ids", postgresql_using="gin"),
)

#: What a regrouping moved, and from which ticket: one thing per row.
regrouped = Table(
    "regrouped",
    metadata,
    Column("regrouping_id", BigInteger, ForeignKey("regroupings.id"), nullable=False),
    Column("from_ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("message_id", BigInteger, ForeignKey("messages.id")),
    Column("work_order_id", Uuid, ForeignKey("work_orders.id")),
    CheckConstraint("num_nonnulls(message_id, work_order_id) = 1", name="one_thing"),
    Index(None, "regrouping_id"),
)

#: Tickets that a person took apart: no evidence joins them again.
held_apart = Table(
    "held_apart",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("one_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("other_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    Column("regrouping_id", BigInteger, ForeignKey("regroupings.id"), nullable=False),
    PrimaryKeyConstraint("one_id", "other_id"),
    CheckConstraint("one_id < other_id", name="in_order"),
    Index(None, "other_id"),
    Index(None, "org_id"),
)

allowlist = Table(
    "recipient_allowlist",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("pattern", Text, nullable=False),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    created(),
    UniqueConstraint("org_id", "pattern"),
    CheckConstraint("pattern <> ''", name="pattern_not_blank"),
)

routing_rules = Table(
    "routing_rules",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("is_enabled", Boolean, nullable=False, server_default=text("true")),
    Column("priority", Integer, nullable=False, server_default=text("100")),
    Column("match_recipient_pattern", Text),
    Column("match_sender_domain_pattern", Text),
    Column("match_sender_email_pattern", Text),
    Column("match_subject_pattern", Text),
    word("match_direction", Direction, nullable=True),
    Column("queue_id", Uuid, ForeignKey("queues.id")),
    Column("assign_user_id", Uuid, ForeignKey("people.id")),
    #: Give the ticket to a person of the queue, found like this; NULL leaves it in the queue.
    word("strategy", AssignmentStrategy, nullable=True),
    Column("required_skills", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: No later rule is tried where this one matches (contract 001: the first match decides).
    Column("stop", Boolean, nullable=False, server_default=text("true")),
    #: Only says what it would do.
    Column("is_shadow", Boolean, nullable=False, server_default=text("false")),
    #: The ticket is closed from the start and asks for nobody's work.
    Column("action_drop", Boolean, nullable=False, server_default=text("false")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    word("set_status", TicketStatus, nullable=True),
    word("set_priority", TicketPriority, nullable=True),
    Column("add_tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("auto_close", Boolean, nullable=False, server_default=text("false")),
    created(),
    CheckConstraint("priority BETWEEN 0 AND 10000", name="priority_range"),
    CheckConstraint("set_status <> 'merged'", name="set_status_possible"),
    CheckConstraint("num_nonnulls(assign_user_id, queue_id) <= 1", name="one_assignee"),
    CheckConstraint("strategy IS NULL OR queue_id IS NOT NULL", name="strategy_for_queue"),
    Index(None, "org_id", "priority", "id", postgresql_where=text("is_enabled")),
)

events = Table(
    "events",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id")),
    Column("kind", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("actor", Text, nullable=False, server_default=text("'system'")),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    Column("trace_id", Text),
    Index(None, "ticket_id", "id"),
    #: Few among very many: asked for at every scrape (`models.queries.strands`).
    Index("ix_events_policy", "org_id", "at", postgresql_where=text("kind = 'policy.changed'")),
)
