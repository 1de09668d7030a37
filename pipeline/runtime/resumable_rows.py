"""Uploads that may break off, in the database: begun once, their bytes kept in order, whole or forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import PhotoKind
from models.work_lifecycle import OPEN
from pipeline.core.principals import Principal
from pipeline.core.resumable import LASTS, MOST_OPEN, MOST_OPEN_BYTES, Progress, parts
from pipeline.runtime import locks, order_rows

_COLUMNS = """
    u.id AS upload_id, u.org_id, u.order_id, u.owner, u.kind, u.device, u.client_id, u.length, u.received,
    encode(u.sha256, 'hex') AS sha256, u.photo_id, u.created_at, u.expires_at
"""
#: One that is over is not there any more, whether it was swept or not.
_THERE = "u.org_id = :org AND u.owner = :owner AND u.expires_at > now()"
_FIND = text(f"SELECT {_COLUMNS} FROM resumable_uploads u WHERE u.id = :upload AND {_THERE}")  # noqa: S608 - constants
_LOCK = text(f"""
    SELECT {_COLUMNS} FROM resumable_uploads u WHERE u.id = :upload AND {_THERE} FOR UPDATE
""")  # noqa: S608 - constants
_OF_CLIENT = text(f"""
    SELECT {_COLUMNS} FROM resumable_uploads u WHERE u.client_id = :client AND {_THERE} FOR UPDATE
""")  # noqa: S608 - constants
_TURN = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:owner))")
_OVER = text("DELETE FROM resumable_uploads WHERE org_id = :org AND owner = :owner AND expires_at <= now()")
#: One that could end now, as the gates over photos say: its order is not over, and still who sends it is to show it.
#: One without a name whose first byte never came is one whose address was lost with the answer.
_IS_LIVE = f"""
    (u.client_id IS NOT NULL OR u.received > 0 OR u.created_at > now() - interval '1 hour')
    AND w.ticket_id IS NULL AND coalesce(({{reached}}), false)
    AND CASE WHEN u.kind = '{PhotoKind.ISSUE.value}' THEN w.{OPEN}
             ELSE w.assigned_to_id = CAST(:person AS uuid) AND w.state IN ('assigned', 'in_progress') END
"""
_UNDER_WAY = """
    SELECT count(*) AS number, coalesce(sum(u.length), 0) AS bytes,
           count(*) FILTER (WHERE {is_live}) AS live, coalesce(sum(u.length) FILTER (WHERE {is_live}), 0) AS live_bytes
      FROM resumable_uploads u JOIN work_orders w ON w.id = u.order_id
     WHERE u.org_id = :org AND u.owner = :owner AND u.photo_id IS NULL AND u.expires_at > now()
"""
#: Never waits: one that somebody has at hand is let be.
_DROP_STUCK = """
    DELETE FROM resumable_uploads WHERE id IN (
        SELECT u.id FROM resumable_uploads u JOIN work_orders w ON w.id = u.order_id
         WHERE u.org_id = :org AND u.owner = :owner AND u.photo_id IS NULL AND ({is_live}) IS NOT TRUE
         ORDER BY u.id FOR UPDATE OF u SKIP LOCKED)
"""
#: By the clock, and not by the transaction's beginning: the order may have been given to somebody while this waited.
_BEGIN = text(f"""
    INSERT INTO resumable_uploads AS u (org_id, order_id, owner, kind, device, client_id, length, sha256, created_at,
                                        expires_at)
    VALUES (:org, :order, :owner, :kind, :device, :client, :length, decode(CAST(:sha256 AS text), 'hex'),
            clock_timestamp(), clock_timestamp() + :lasts)
    RETURNING {_COLUMNS}
""")  # noqa: S608 - constants
#: Row by row: an array of them would be written out as text, at six times the room, for each that comes at once.
_KEEP = text("""
    INSERT INTO upload_parts (upload_id, org_id, begins_at, content) VALUES (:upload, :org, :begins, :content)
""")
_COUNT_UP = text("UPDATE resumable_uploads SET received = :received WHERE id = :upload")
_CONTENT = text("SELECT content FROM upload_parts WHERE upload_id = :upload ORDER BY begins_at")
_DROP_PARTS = text("DELETE FROM upload_parts WHERE upload_id = :upload")
_FINISH = text("UPDATE resumable_uploads SET received = length, photo_id = :photo WHERE id = :upload")
_END = text("""
    DELETE FROM resumable_uploads WHERE id = :upload AND org_id = :org AND owner = :owner AND expires_at > now()
""")
_SWEEP = text("DELETE FROM resumable_uploads WHERE expires_at <= now()")


@dataclass(frozen=True, slots=True)
class Standing:
    """An upload as it stands. `photo_id` is what it became; its bytes wait here no more then."""

    upload_id: UUID
    org_id: UUID
    order_id: UUID
    owner: str
    kind: PhotoKind
    device: str | None
    client_id: str | None
    length: int
    received: int
    #: Of the whole, as it was promised; hex.
    sha256: str | None
    photo_id: UUID | None
    created_at: datetime
    expires_at: datetime

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        return Progress(self.length, self.received)


_NAMES = frozenset(one.name for one in fields(Standing))


@dataclass(frozen=True, slots=True)
class Begun:
    """What an upload begins with."""

    org_id: UUID
    order_id: UUID
    owner: str
    kind: PhotoKind
    length: int
    device: str | None = None
    client_id: str | None = None
    sha256: str | None = None


def find(connection: Connection, org_id: UUID, owner: str, upload_id: UUID) -> Standing | None:
    """Return an upload of somebody; None when there is none, it is another's, or its time is over."""
    return _one(connection.execute(_FIND, {"upload": upload_id, "org": org_id, "owner": owner}))


def lock(connection: Connection, org_id: UUID, owner: str, upload_id: UUID) -> Standing | None:
    """Return the same, locked. Where an order is locked as well, that goes first."""
    return _one(connection.execute(_LOCK, {"upload": upload_id, "org": org_id, "owner": owner}))


def take_turn(connection: Connection, owner: str) -> None:
    """Let one request at a time begin uploads for somebody: what they have open is counted."""
    connection.execute(_TURN, {"kind": locks.UPLOADS, "owner": owner})


def of_client(connection: Connection, org_id: UUID, owner: str, client_id: str | None) -> Standing | None:
    """Return the upload that somebody calls by this name, locked; None when there is none."""
    if client_id is None:
        return None
    return _one(connection.execute(_OF_CLIENT, {"client": client_id, "org": org_id, "owner": owner}))


def has_room(connection: Connection, who: Principal, length: int) -> bool:
    """Say whether somebody may have one more open upload of so many bytes, beside those that could end now."""
    row = _count(connection, who)
    return _fits(row.live, row.live_bytes, length)


def make_room(connection: Connection, who: Principal, length: int) -> None:
    """Forget uploads whose order is over or is not theirs to show now, where they take the room of one more.

    Till then they wait: the order may be given to them again.
    """
    row = _count(connection, who)
    if not _fits(row.number, row.bytes, length):
        statement, values = _of_owner(_DROP_STUCK, who)
        connection.execute(text(statement), values)


def begin(connection: Connection, begun: Begun) -> Standing:
    """Begin an upload. Those of its owner that are over go first, with the names that they hold."""
    connection.execute(_OVER, {"org": begun.org_id, "owner": begun.owner})
    values = {
        "org": begun.org_id,
        "order": begun.order_id,
        "owner": begun.owner,
        "kind": begun.kind.value,
        "device": begun.device,
        "client": begun.client_id,
        "length": begun.length,
        "sha256": begun.sha256,
        "lasts": LASTS,
    }
    return _standing(connection.execute(_BEGIN, values).one())


def keep(connection: Connection, upload: Standing, content: bytes) -> Standing:
    """Keep the bytes that go on where a locked upload is; return it as it stands then."""
    after = upload.progress.after(len(content))
    came, ids = memoryview(content), {"upload": upload.upload_id, "org": upload.org_id}
    rows = [
        {**ids, "begins": upload.received + at, "content": came[at : at + size]} for at, size in parts(0, len(content))
    ]
    if rows:
        connection.execute(_KEEP, rows)
        connection.execute(_COUNT_UP, {"upload": upload.upload_id, "received": after.received})
    return replace(upload, received=after.received)


def content(connection: Connection, upload: Standing) -> bytes:
    """Return the bytes that wait."""
    return b"".join(connection.execute(_CONTENT, {"upload": upload.upload_id}).scalars())


def start_over(connection: Connection, upload: Standing) -> None:
    """Forget the bytes of a locked upload: what came is not what was promised."""
    connection.execute(_DROP_PARTS, {"upload": upload.upload_id})
    connection.execute(_COUNT_UP, {"upload": upload.upload_id, "received": 0})


def finish(connection: Connection, upload: Standing, photo_id: UUID) -> None:
    """Say what a locked upload became; its bytes are stored elsewhere by now."""
    connection.execute(_DROP_PARTS, {"upload": upload.upload_id})
    connection.execute(_FINISH, {"upload": upload.upload_id, "photo": photo_id})


def end(connection: Connection, org_id: UUID, owner: str, upload_id: UUID) -> bool:
    """Give an upload up, with its bytes; what it became stays. False when there is none."""
    return connection.execute(_END, {"upload": upload_id, "org": org_id, "owner": owner}).rowcount > 0


def forget(connection: Connection) -> int:
    """Forget the uploads whose time is over; return how many."""
    return connection.execute(_SWEEP).rowcount


def _count(connection: Connection, who: Principal) -> Row[Any]:
    statement, values = _of_owner(_UNDER_WAY, who)
    return connection.execute(text(statement), values).one()


def _of_owner(statement: str, who: Principal) -> tuple[str, dict[str, Any]]:
    """Return a statement on somebody's uploads and their orders (`w`), with its parameters."""
    reached, values = order_rows.reach(who)
    found = {**values, "org": who.org_id, "owner": who.actor_id, "person": who.person_id}
    return statement.format(is_live=_IS_LIVE.format(reached=reached)), found


def _fits(number: int, size: int, length: int) -> bool:
    return number < MOST_OPEN and size + length <= MOST_OPEN_BYTES


def _one(rows: Any) -> Standing | None:
    found: Sequence[Row[Any]] = rows.all()
    return _standing(found[0]) if found else None


def _standing(row: Row[Any]) -> Standing:
    values = {name: value for name, value in row._asdict().items() if name in _NAMES}
    return Standing(**(values | {"kind": PhotoKind(values["kind"])}))
