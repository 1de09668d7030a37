"""Steps done anew with what is stored: compared first, applied when a person says so."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from models.base import created, metadata, word
from models.enums import ReprocessKind, ReprocessState

reprocessings = Table(
    "reprocessings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: NULL: every mailbox of the organization.
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id")),
    word("kind", ReprocessKind),
    word("state", ReprocessState, ReprocessState.COMPARING),
    #: The version of the rules it is done with.
    Column("version", SmallInteger, nullable=False),
    #: How far it has come: the last message or ticket that was looked at, in the order of the kind.
    Column("position", Text),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("seen", BigInteger, nullable=False, server_default=text("0")),
    Column("changed", BigInteger, nullable=False, server_default=text("0")),
    Column("applied", BigInteger, nullable=False, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, server_default=text("0")),
    Column("started_by", Text, nullable=False),
    Column("applied_by", Text),
    created(),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("(state IN ('applied', 'cancelled')) = (finished_at IS NOT NULL)", name="finished_when_over"),
    Index(None, "org_id", "id"),
    Index(
        "uq_reprocessings_running",
        "org_id",
        "kind",
        unique=True,
        postgresql_where=text("state IN ('comparing', 'applying')"),
    ),
)

#: What would change, one row per message or ticket: the difference, and when it was applied.
reprocessed = Table(
    "reprocessed",
    metadata,
    Column("reprocessing_id", BigInteger, ForeignKey("reprocessings.id"), nullable=False),
    #: A message's id, or a ticket's.
    Column("subject", Text, nullable=False),
    #: By field: [as stored, as it would be].
    Column("changes", JSONB, nullable=False),
    Column("applied_at", DateTime(timezone=True)),
    #: Why it was not applied: the row had changed meanwhile, or the step failed.
    Column("refused", Text),
    PrimaryKeyConstraint("reprocessing_id", "subject"),
)
