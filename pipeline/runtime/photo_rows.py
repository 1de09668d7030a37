"""Photos of work orders in the database: added once, removed by a mark, counted as proof, found within reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import PhotoKind
from pipeline.core.orders import Order
from pipeline.core.principals import Principal
from pipeline.core.written import read_id
from pipeline.runtime import order_rows

#: Photos of a kind in one attempt at an order; what is there of others, whom nobody can ask any more, blocks nobody.
MOST_PHOTOS = 200

_PLAIN = (
    *("org_id", "order_id", "kind", "attempt", "content_type", "size", "width", "height", "taken_at", "lat", "lon"),
    *("device", "uploaded_by", "uploaded_by_id", "created_at", "removed_at"),
)
_HASHES = ("source_sha256", "sha256", "thumbnail_sha256")
COLUMNS = ", ".join(
    (
        "p.id AS photo_id",
        "now() AS now",
        *(f"p.{name}" for name in _PLAIN),
        *(f"encode(p.{name}, 'hex') AS {name}" for name in _HASHES),
    )
)
_COUNT = text("""
    SELECT count(*) FROM order_photos
     WHERE order_id = :order AND attempt = :attempt AND kind = :kind AND removed_at IS NULL
""")
_OF_ORDERS = text(f"""
    SELECT {COLUMNS} FROM order_photos p
     WHERE p.order_id = ANY(CAST(:orders AS uuid[])) AND p.removed_at IS NULL ORDER BY p.order_id, p.id
""")  # noqa: S608 - columns of a constant
_SAME = text(f"""
    SELECT {COLUMNS} FROM order_photos p
     WHERE p.order_id = :order AND p.kind = :kind AND p.source_sha256 = decode(:source, 'hex') AND p.removed_at IS NULL
     ORDER BY p.attempt LIMIT 1
""")  # noqa: S608 - columns of a constant
_FIND = text(f"SELECT {COLUMNS} FROM order_photos p WHERE p.id = :photo AND p.org_id = :org")  # noqa: S608 - a constant
#: Bytes that were erased are not there any more.
_REACHED = """
    SELECT {columns}, coalesce({reached}, false) AS is_reached
      FROM order_photos p JOIN work_orders w ON w.id = p.order_id
      JOIN blobs b ON b.org_id = p.org_id AND b.kind = 'evidence' AND b.sha256 = p.sha256 AND b.erased_at IS NULL
     WHERE p.id = :photo AND p.org_id = :org AND p.removed_at IS NULL
"""
_IS_REACHED = """
    SELECT coalesce({reached}, false) AS is_reached FROM work_orders w
     WHERE w.org_id = :org AND w.policy = 'field' AND {named} = :name
"""
#: Steps tell which giving it was then; an order that has none is in its first.
_ATTEMPT_AT = text("""
    SELECT coalesce((SELECT max(attempt) FROM work_order_events WHERE order_id = :order AND at <= :then),
                    greatest(:attempt - 1, 0))
""")
_ADD = text(f"""
    INSERT INTO order_photos AS p (org_id, order_id, kind, attempt, source_sha256, sha256, thumbnail_sha256,
                                   content_type, size, width, height, taken_at, lat, lon, device, uploaded_by,
                                   uploaded_by_id)
    VALUES (:org_id, :order_id, :kind, :attempt, decode(:source_sha256, 'hex'), decode(:sha256, 'hex'),
            decode(:thumbnail_sha256, 'hex'), :content_type, :size, :width, :height, :taken_at, :lat, :lon, :device,
            :uploaded_by, :uploaded_by_id)
    RETURNING {COLUMNS}
""")  # noqa: S608 - columns of a constant
_REMOVE = text(f"""
    UPDATE order_photos p SET removed_at = now(), removed_by = :by WHERE p.id = :photo AND p.removed_at IS NULL
    RETURNING {COLUMNS}
""")  # noqa: S608 - columns of a constant


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of one order; hashes are hex: `source_sha256` of what came, the others of what is stored."""

    photo_id: UUID
    org_id: UUID
    order_id: UUID
    kind: PhotoKind
    #: The giving of the order that it proves.
    attempt: int
    source_sha256: str
    sha256: str
    thumbnail_sha256: str
    content_type: str
    size: int
    width: int
    height: int
    taken_at: datetime | None
    #: By WGS 84, in degrees.
    lat: float | None
    lon: float | None
    device: str | None
    uploaded_by: str
    uploaded_by_id: UUID | None
    created_at: datetime
    removed_at: datetime | None
    #: The database's time, when it was read.
    now: datetime


_NAMES = frozenset(one.name for one in fields(Photo))


def count_of(connection: Connection, order_id: UUID, attempt: int, kind: PhotoKind) -> int:
    """Return how many photos of a kind prove an attempt at an order; under its lock the answer stays true."""
    values = {"order": order_id, "attempt": attempt, "kind": kind.value}
    return int(connection.execute(_COUNT, values).scalar_one())


def has_room(connection: Connection, order_id: UUID, attempt: int, kind: PhotoKind) -> bool:
    """Say whether an attempt at an order takes one photo more of a kind."""
    return count_of(connection, order_id, attempt, kind) < MOST_PHOTOS


def of_orders(connection: Connection, order_ids: Sequence[UUID]) -> list[Photo]:
    """Return the photos of orders that were not removed, order by order, oldest first."""
    rows = connection.execute(_OF_ORDERS, {"orders": list(order_ids)})
    return [photo_of(row) for row in rows]


def same(connection: Connection, order_id: UUID, kind: PhotoKind, source_sha256: str) -> Photo | None:
    """Return the photo that came as the same bytes, in whichever attempt; None when there is none.

    A form that a phone sends again late must not prove an attempt in which nobody took a picture.
    """
    values = {"order": order_id, "kind": kind.value, "source": source_sha256}
    row = connection.execute(_SAME, values).one_or_none()
    return None if row is None else photo_of(row)


def find(connection: Connection, org_id: UUID, photo_id: UUID) -> Photo | None:
    """Return a photo of an organization, removed ones too; None when there is none."""
    row = connection.execute(_FIND, {"org": org_id, "photo": photo_id}).one_or_none()
    return None if row is None else photo_of(row)


def reached(connection: Connection, principal: Principal, photo_id: UUID) -> tuple[Photo, bool] | None:
    """Return a photo whose bytes are here, and whether its order is within reach; None when there is none."""
    condition, values = order_rows.reach(principal)
    statement = text(_REACHED.format(columns=COLUMNS, reached=condition))
    row = connection.execute(statement, {**values, "org": principal.org_id, "photo": photo_id}).one_or_none()
    return None if row is None else (photo_of(row), row.is_reached)


def reaches_order(connection: Connection, principal: Principal, name: str) -> bool | None:
    """Say whether an order of the field, by its id or code, is within reach; None when there is none."""
    order_id, number = read_id(name), order_rows.number_of(name)
    if order_id is None and number is None:
        return None
    condition, values = order_rows.reach(principal)
    statement = text(_IS_REACHED.format(reached=condition, named="w.number" if order_id is None else "w.id"))
    values = {**values, "org": principal.org_id, "name": order_id or number}
    found: bool | None = connection.execute(statement, values).scalar_one_or_none()
    return found


def attempt_at(connection: Connection, order: Order, then: datetime | None) -> int:
    """Return the attempt at an order that was under way at a time; the present one for None.

    An upload may be begun in one attempt and end in the next: what it shows is of the first.
    """
    if then is None or order.assigned_at is None or then >= order.assigned_at:
        return order.attempt
    values = {"order": order.order_id, "then": then, "attempt": order.attempt}
    return int(connection.execute(_ATTEMPT_AT, values).scalar_one())


def add(connection: Connection, values: dict[str, Any]) -> Photo:
    """Add a photo; `values` by the names of `Photo`, hashes in hex."""
    return photo_of(connection.execute(_ADD, values).one())


def remove(connection: Connection, photo_id: UUID, by: str) -> Photo | None:
    """Mark a photo as removed; None when it was already. Its bytes go with the next tidying."""
    row = connection.execute(_REMOVE, {"photo": photo_id, "by": by}).one_or_none()
    return None if row is None else photo_of(row)


def photo_of(row: Row[Any]) -> Photo:
    """Return a photo from a row that has `COLUMNS`."""
    values = {name: value for name, value in row._asdict().items() if name in _NAMES}
    return Photo(**(values | {"kind": PhotoKind(values["kind"])}))
