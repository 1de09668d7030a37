"""Occurrences, messages, what they hold, and the blobs behind them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.base import created, metadata, word
from models.enums import (
    AddressRole,
    BlobKind,
    Confidence,
    Direction,
    Disposition,
    MachineKind,
    OccurrenceState,
    RecipientSource,
    ReferenceKind,
)

#: Updated at every hop: narrow, room left on each page, and no index on what changes (HOT updates).
occurrences = Table(
    "occurrences",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("mailbox_id", Uuid, ForeignKey("mailboxes.id"), nullable=False),
    Column("provider_id", Text, nullable=False),
    Column("thread_id", Text),
    Column("locator", Text),
    word("state", OccurrenceState, OccurrenceState.SEEN),
    Column("labels", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("internal_at", DateTime(timezone=True)),
    Column("raw_sha256", LargeBinary),
    Column("message_id", BigInteger),
    #: Since when the provider names it no more; a tombstone only after a grace, for a move looks like a deletion.
    Column("vanished_at", DateTime(timezone=True)),
    #: What says that it is gone: 2 for the provider's own word, 1 for each complete listing without it. 2 are needed.
    Column("absences", SmallInteger, nullable=False, server_default=text("0")),
    Column("deleted_at", DateTime(timezone=True)),
    created(),
    UniqueConstraint("mailbox_id", "provider_id"),
    CheckConstraint("state NOT IN ('fetched', 'parsed', 'stitched', 'routed') OR raw_sha256 IS NOT NULL", name="raw"),
    CheckConstraint("state NOT IN ('parsed', 'stitched', 'routed') OR message_id IS NOT NULL", name="parsed"),
    Index(
        "ix_occurrences_vanished", "mailbox_id", postgresql_where=text("vanished_at IS NOT NULL AND deleted_at IS NULL")
    ),
    #: Rows come in order of time, so this stays tiny; comparisons with the provider reach back by it.
    Index(None, "created_at", postgresql_using="brin"),
    postgresql_with={"fillfactor": "60"},
)

occurrence_recipients = Table(
    "occurrence_recipients",
    metadata,
    Column("occurrence_id", BigInteger, ForeignKey("occurrences.id"), primary_key=True),
    #: Where a message was seen; indexed here, for occurrences change at every hop. NULL: by the version before 0003.
    Column("message_id", BigInteger, ForeignKey("messages.id")),
    Column("address", Text),
    word("source", RecipientSource),
    word("confidence", Confidence),
    Column("evidence", JSONB, nullable=False),
    CheckConstraint("(source = 'unknown') = (address IS NULL)", name="address_unless_unknown"),
    Index(None, "message_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    word("direction", Direction, Direction.INBOUND),
    Column("rfc_message_id", Text),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("collision_group_id", Uuid),
    Column("subject", Text, nullable=False),
    Column("subject_norm", Text, nullable=False),
    Column("from_address", Text),
    Column("from_name", Text),
    #: The Date header, for display only; ordering uses `received_at` (reliability, section 4).
    Column("dated_at", DateTime(timezone=True)),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("snippet", Text, nullable=False),
    Column("flags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    #: The kind of machine that wrote it (auto_reply, bounce, ...); NULL for people.
    word("machine", MachineKind, nullable=True),
    #: The list it came through (RFC 2919), lower case.
    Column("list_id", Text),
    #: Who wrote what this message forwards, where it says so.
    Column("forwarded_from", Text),
    Column("raw_sha256", LargeBinary, nullable=False),
    Column("parser_version", SmallInteger, nullable=False),
    #: Since when nothing of it is left but that it was there (`pipeline.runtime.erasing`).
    Column("erased_at", DateTime(timezone=True)),
    created(),
    UniqueConstraint("org_id", "fingerprint", "signature"),
    Index(None, "collision_group_id", postgresql_where=text("collision_group_id IS NOT NULL")),
    #: By hash: ids of up to 998 characters fit no B-tree page when hostile (reliability, section 4).
    Index(
        "ix_messages_rfc_message_id",
        "org_id",
        text("hashtextextended(rfc_message_id, 0)"),
        postgresql_where=text("rfc_message_id IS NOT NULL"),
    ),
)

message_contents = Table(
    "message_contents",
    metadata,
    Column("message_id", BigInteger, ForeignKey("messages.id"), primary_key=True),
    Column("body_text", Text, nullable=False),
    Column("body_html", Text),
    #: What its sender wrote anew, without quotes and signature; NULL when that is all of `body_text`.
    Column("fresh_text", Text),
)

message_addresses = Table(
    "message_addresses",
    metadata,
    Column("message_id", BigInteger, ForeignKey("messages.id"), nullable=False),
    word("role", AddressRole),
    Column("position", SmallInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("message_id", "role", "position"),
)

message_references = Table(
    "message_references",
    metadata,
    Column("message_id", BigInteger, ForeignKey("messages.id"), nullable=False),
    word("kind", ReferenceKind),
    Column("position", SmallInteger, nullable=False),
    Column("reference", Text, nullable=False),
    PrimaryKeyConstraint("message_id", "kind", "position"),
    #: Who answers a message: the other side of `ix_messages_rfc_message_id`.
    Index("ix_message_references_reference", text("hashtextextended(reference, 0)")),
)

blobs = Table(
    "blobs",
    metadata,
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    word("kind", BlobKind),
    Column("sha256", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored_size", BigInteger, nullable=False),
    #: Its object is being taken away: whoever stores the same bytes anew waits until this row is gone.
    Column("erased_at", DateTime(timezone=True)),
    created(),
    PrimaryKeyConstraint("org_id", "kind", "sha256"),
    CheckConstraint("length(sha256) = 32", name="sha256_length"),
    #: Few at any time: what is stored anew looks here whether the object is about to go, for all organizations.
    Index("ix_blobs_erased", "kind", "sha256", postgresql_where=text("erased_at IS NOT NULL")),
)

attachments = Table(
    "attachments",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("org_id", Uuid, nullable=False),
    Column("message_id", BigInteger, ForeignKey("messages.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False, server_default=BlobKind.ATTACHMENT.value),
    Column("sha256", LargeBinary, nullable=False),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    word("disposition", Disposition),
    Column("content_id", Text),
    Column("is_quarantined", Boolean, nullable=False, server_default=text("false")),
    UniqueConstraint("message_id", "position"),
    ForeignKeyConstraint(["org_id", "kind", "sha256"], ["blobs.org_id", "blobs.kind", "blobs.sha256"]),
    #: Whether a content is still of use: asked for each that is forgotten, also by the foreign key.
    Index(None, "org_id", "sha256"),
)
