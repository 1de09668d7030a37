"""Photos of work orders, and uploads that may break off and go on."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from models.base import created, key, metadata, word
from models.enums import PhotoKind

#: One picture of one order: made anew from its pixels, its time and place beside it. The same bytes are there once.
order_photos = Table(
    "order_photos",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    word("kind", PhotoKind),
    #: The giving of the order that it proves: one of an earlier attempt is no proof of a later one.
    Column("attempt", SmallInteger, nullable=False),
    #: Of the bytes as they came, and of what is stored.
    Column("source_sha256", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("thumbnail_sha256", LargeBinary, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    #: When and where the camera says it was taken; NULL where it does not.
    Column("taken_at", DateTime(timezone=True)),
    Column("lat", Double),
    Column("lon", Double),
    Column("device", Text),
    Column("uploaded_by", Text, nullable=False),
    Column("uploaded_by_id", Uuid, ForeignKey("people.id")),
    created(),
    Column("removed_at", DateTime(timezone=True)),
    Column("removed_by", Text),
    CheckConstraint("length(source_sha256) = 32 AND length(sha256) = 32", name="sha256_length"),
    CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="position_whole"),
    CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
    Index(
        "uq_order_photos_source",
        "order_id",
        "kind",
        "attempt",
        "source_sha256",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index("ix_order_photos_there", "order_id", "id", postgresql_where=text("removed_at IS NULL")),
    Index(None, "sha256"),
    Index(None, "thumbnail_sha256"),
)

#: An upload that goes on where it broke off (tus 1.0.0). Its bytes wait in `upload_parts` until they are whole.
resumable_uploads = Table(
    "resumable_uploads",
    metadata,
    key(),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("order_id", Uuid, ForeignKey("work_orders.id"), nullable=False),
    Column("owner", Text, nullable=False),
    word("kind", PhotoKind),
    Column("device", Text),
    #: The caller's name for it: asked for again, it is the same upload.
    Column("client_id", Text),
    Column("length", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False, server_default=text("0")),
    #: Of the whole, as the caller promised it.
    Column("sha256", LargeBinary),
    Column("photo_id", Uuid, ForeignKey("order_photos.id")),
    created(),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("length > 0 AND received BETWEEN 0 AND length", name="received_in_range"),
    Index("uq_resumable_uploads_client", "org_id", "owner", "client_id", unique=True),
    Index(None, "expires_at"),
    Index(None, "order_id"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", Uuid, ForeignKey("resumable_uploads.id", ondelete="CASCADE"), nullable=False),
    Column("org_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    #: Where it begins.
    Column("begins_at", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("upload_id", "begins_at"),
)
