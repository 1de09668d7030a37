"""From an uploaded file to stored bytes: judged by its content, opened apart, kept under its hash, and noted."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import BlobKind, Lane
from pipeline.core.uploads import KINDS, LIMITS, PDF, Limits, Picture, Position, Refused, examine, no_picture
from pipeline.ports import BlobStore, UploadReader
from pipeline.runtime import ledger
from pipeline.runtime.blob_rows import SOON, note_blobs
from pipeline.runtime.jobs import Emit

#: What uploads are in the blob store.
KIND = BlobKind.EVIDENCE

#: What is under way, and what its sender sends again at once, is younger.
_LEFT_AFTER = timedelta(days=1)
_LET_GO = text("""
    WITH gone AS (
        UPDATE blobs b SET erased_at = now()
         WHERE b.kind = 'evidence' AND b.erased_at IS NULL AND b.created_at < now() - :after
           AND NOT EXISTS (SELECT FROM evidence_items e WHERE e.org_id = b.org_id AND e.sha256 = b.sha256)
           AND NOT EXISTS (SELECT FROM evidence_items e WHERE e.org_id = b.org_id AND e.thumbnail_sha256 = b.sha256)
           AND NOT EXISTS (SELECT FROM order_photos p
                            WHERE p.org_id = b.org_id AND p.sha256 = b.sha256 AND p.removed_at IS NULL)
           AND NOT EXISTS (SELECT FROM order_photos p
                            WHERE p.org_id = b.org_id AND p.thumbnail_sha256 = b.sha256 AND p.removed_at IS NULL)
        RETURNING b.org_id
    ) SELECT DISTINCT org_id FROM gone
""")


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that is taken, as it will be stored; `received_sha256` is the hash of what came."""

    content_type: str
    received_sha256: str
    content: bytes = field(repr=False)
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One content in the blob store: its hash, its size, and its size as it is packed there."""

    sha256: str
    size: int
    packed_size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored upload. Pictures alone have sides and a thumbnail; `taken_at` and `position` where the camera told."""

    stored: Stored
    content_type: str
    #: The name it is given out under.
    file_name: str
    received_sha256: str
    width: int | None = None
    height: int | None = None
    taken_at: datetime | None = None
    position: Position | None = None
    thumbnail: Stored | None = None

    @property
    def sha256(self) -> str:
        """The hash of what is stored."""
        return self.stored.sha256

    @property
    def size(self) -> int:
        """The bytes of what is stored."""
        return self.stored.size


def check(
    reader: UploadReader,
    content: bytes,
    declared: str = "",
    *,
    limits: Limits = LIMITS,
    turn: timedelta | None = None,
    only_pictures: bool = False,
) -> Checked | Refused:
    """Return a file as it will be stored, or why it is not taken; `declared` is its sender's word for its type.

    Pictures are made anew from their pixels; PDFs and texts stay as they came. Raises `Transient` and `ReaderBusy`.
    """
    kind = examine(content, declared, limits)
    if isinstance(kind, Refused):
        return kind
    if only_pictures and not kind.is_picture:
        return no_picture()
    came = hashlib.sha256(content).hexdigest()
    if kind.is_picture:
        picture = reader.picture(kind.content_type, content, turn=turn)
        if isinstance(picture, Refused):
            return picture
        return Checked(picture.content_type, came, picture.content, picture)
    refused = reader.pdf(content, turn=turn) if kind.content_type == PDF else None
    return refused or Checked(kind.content_type, came, content)


def keep(blobs: BlobStore, checked: Checked) -> Kept:
    """Store a checked file, and its thumbnail, under their hashes: the same bytes twice are one content.

    To be called while no transaction is open. Raises what the store raises.
    """
    picture = checked.picture
    contents = {hashlib.sha256(one).hexdigest(): one for one in _contents(checked)}
    packed = blobs.put(KIND, contents)
    stored = [Stored(name, len(content), packed[name]) for name, content in contents.items()]
    file_name = KINDS[checked.content_type].file_name
    kept = Kept(stored[0], checked.content_type, file_name, checked.received_sha256)
    if picture is None:
        return kept
    return replace(
        kept,
        width=picture.width,
        height=picture.height,
        taken_at=picture.taken_at,
        position=picture.position,
        thumbnail=stored[-1],
    )


def note(connection: Connection, org_id: UUID, kept: Kept) -> None:
    """Note an upload's contents as stored for an organization. Raises `BeingErased`: then it is stored again later."""
    rows = [(org_id, bytes.fromhex(one.sha256), one.size, one.packed_size) for one in _stored(kept)]
    note_blobs(connection, KIND, rows)


def let_go(connection: Connection) -> None:
    """Let uploads be erased that no evidence and no photo names: refused after they were stored, or taken away.

    Nobody else would find them when a ticket is erased.
    """
    orgs = connection.execute(_LET_GO, {"after": _LEFT_AFTER}).scalars()
    trace = secrets.token_hex(16)
    ledger.put(connection, [Emit("forget", str(one), one, None, Lane.LIVE, 0, trace, delay=SOON) for one in orgs])


def _stored(kept: Kept) -> tuple[Stored, ...]:
    return (kept.stored, kept.thumbnail) if kept.thumbnail else (kept.stored,)


def _contents(checked: Checked) -> tuple[bytes, ...]:
    picture = checked.picture
    return (checked.content,) if picture is None else (checked.content, picture.thumbnail)
