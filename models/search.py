"""What is searched: one document per message, and the text of attachments."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from models.base import created, metadata, word
from models.enums import ExtractionState

#: Apart from `messages`, so that no wide row is rewritten when a message is indexed.
message_search = Table(
    "message_search",
    metadata,
    Column("message_id", BigInteger, ForeignKey("messages.id"), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("document", TSVECTOR, nullable=False),
    #: A new number makes the message worth indexing again.
    Column("version", SmallInteger, nullable=False),
    Index("ix_message_search_document", "document", postgresql_using="gin"),
)

attachment_texts = Table(
    "attachment_texts",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    word("state", ExtractionState),
    Column("content", Text, nullable=False),
    Column("version", SmallInteger, nullable=False),
    created(),
    PrimaryKeyConstraint("org_id", "sha256"),
)
