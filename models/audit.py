"""The audit trail: append-only, chained by hash per organization; and what commands remember of their requests."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, metadata, word
from models.enums import ActorKind, AuditOutcome, TransitionKind
from models.lifecycle import legal_condition

#: Who did what to which thing. Ids and words only: whatever could name a person stands in `audit_details`, of which
#: the chain holds the hash, so that erasing it breaks nothing. A trigger refuses every change.
audit_events = Table(
    "audit_events",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Counts up without a gap in each organization.
    Column("number", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    word("actor_kind", ActorKind),
    Column("actor_id", Text, nullable=False),
    Column("actor_role", Text),
    Column("action", Text, nullable=False),
    word("outcome", AuditOutcome),
    #: The code of a refusal.
    Column("code", Text),
    Column("target_kind", Text),
    Column("target_id", Text),
    Column("request_id", Text),
    Column("correlation_id", Text),
    Column("trace_id", Text),
    Column("details_sha256", LargeBinary),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("org_id", "number"),
    CheckConstraint("(outcome = 'refused') = (code IS NOT NULL)", name="code_when_refused"),
    Index(None, "org_id", "target_id", "number"),
)

audit_details = Table(
    "audit_details",
    metadata,
    Column("org_id", Uuid, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("data", JSONB),
    Column("erased_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("org_id", "number"),
    ForeignKeyConstraint(["org_id", "number"], ["audit_events.org_id", "audit_events.number"]),
    CheckConstraint("(data IS NULL) = (erased_at IS NOT NULL)", name="erased_or_there"),
)

#: The newest link of each chain; locked by whoever appends.
audit_heads = Table(
    "audit_heads",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

#: Heads signed from time to time and told to the log: they show a chain that was cut short or made anew.
audit_seals = Table(
    "audit_seals",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    #: Names the key that signed, without telling anything of it.
    Column("key_id", Text, nullable=False),
    Column("sealed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index(None, "org_id", "number"),
)

#: Bound to actor, method, concrete path and body; written before the effect, so a concurrent twin waits for it.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("status", SmallInteger),
    Column("answer", JSONB),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("org_id", "actor_id", "method", "path", "key"),
    Index(None, "expires_at"),
)

#: Every change of a state, with the audit row that tells who and why.
transitions = Table(
    "transitions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("ticket_id", Uuid, ForeignKey("tickets.id"), nullable=False),
    word("kind", TransitionKind),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("command", Text, nullable=False),
    Column("audit_number", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ForeignKeyConstraint(["org_id", "audit_number"], ["audit_events.org_id", "audit_events.number"]),
    #: The legal pairs of contract 000, from the one table of the lifecycle.
    CheckConstraint(legal_condition(), name="dispatch_legal"),
    Index(None, "ticket_id", "id"),
    #: What happened in a stretch of time: alerts.
    Index("ix_transitions_dispatch", "org_id", "at", postgresql_where=text("kind = 'dispatch'")),
)
