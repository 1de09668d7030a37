"""The ledger of what was forgotten: how far each erasure has come, and what it took away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import ErasureKind, ErasureState

_ROW = """
    id AS erasure_id, org_id, kind, state, address, before_at, position, actor, reason, counts, created_at, finished_at
"""
_RUNNING = text(f"SELECT {_ROW} FROM erasures WHERE id = :id AND state = 'running' FOR UPDATE")  # noqa: S608 - the columns above
_LIST = text(f"""
    SELECT {_ROW} FROM erasures WHERE org_id = :org AND id < :before ORDER BY id DESC LIMIT :limit
""")  # noqa: S608 - the columns above
#: The same wish asked for twice is one.
_START = text("""
    INSERT INTO erasures (org_id, kind, address, address_sha256, before_at, actor, reason)
    VALUES (:org, :kind, :address, sha256(convert_to(CAST(:address AS text), 'UTF8')), :before, :actor, :reason)
        ON CONFLICT (org_id, kind, address) WHERE state = 'running' DO NOTHING
    RETURNING id
""")
_SAME = text("""
    SELECT id FROM erasures WHERE org_id = :org AND kind = :kind AND address IS NOT DISTINCT FROM :address
       AND state = 'running'
""")
_ADD = """
    counts = (SELECT coalesce(jsonb_object_agg(name, total), '{}')
                FROM (SELECT name, sum(CAST(number AS bigint)) AS total
                        FROM (SELECT * FROM jsonb_each_text(counts)
                              UNION ALL SELECT * FROM jsonb_each_text(CAST(:counts AS jsonb))) AS every(name, number)
                       GROUP BY name) AS added)
"""
_MOVE = text(f"UPDATE erasures SET position = :position, {_ADD} WHERE id = :id")  # noqa: S608 - made of the constant above
_FINISH = text(f"UPDATE erasures SET state = 'done', address = NULL, finished_at = now(), {_ADD} WHERE id = :id")  # noqa: S608 - made of the constant above

_FIRST_PAGE = 2**62


@dataclass(frozen=True, slots=True)
class Erasure:
    """One wish to forget: of an address, which is gone from here when it is done, or of what ended before a time."""

    erasure_id: int
    org_id: UUID
    kind: ErasureKind
    state: ErasureState
    address: str | None
    before_at: datetime | None
    position: int
    actor: str
    reason: str
    counts: Mapping[str, int]
    created_at: datetime
    finished_at: datetime | None


def start(
    connection: Connection,
    org_id: UUID,
    *,
    address: str | None = None,
    before_at: datetime | None = None,
    actor: str,
    reason: str,
) -> tuple[int, bool]:
    """Note a wish; return its id, and whether it is new: an equal one that goes on is joined."""
    kind = ErasureKind.AGE if address is None else ErasureKind.ADDRESS
    values = {"org": org_id, "kind": kind.value, "address": address, "before": before_at}
    made = connection.execute(_START, values | {"actor": actor, "reason": reason}).scalar_one_or_none()
    if made is not None:
        return int(made), True
    return int(connection.execute(_SAME, values).scalar_one()), False


def running(connection: Connection, erasure_id: int) -> Erasure | None:
    """Lock an erasure that goes on and return it; None when there is none."""
    row = connection.execute(_RUNNING, {"id": erasure_id}).mappings().one_or_none()
    return None if row is None else _read(row)


def listed(connection: Connection, org_id: UUID, *, limit: int, before: int | None = None) -> list[Erasure]:
    """Return an organization's erasures, newest first, from before an id on."""
    values = {"org": org_id, "limit": limit, "before": _FIRST_PAGE if before is None else before}
    return [_read(row) for row in connection.execute(_LIST, values).mappings()]


def move(connection: Connection, one: Erasure, position: int, counts: Mapping[str, int]) -> None:
    """Note how far it has come and what went."""
    connection.execute(_MOVE, {"id": one.erasure_id, "position": position, "counts": orjson.dumps(counts).decode()})


def finish(connection: Connection, one: Erasure, counts: Mapping[str, int]) -> None:
    """Note the end; the address goes with it."""
    connection.execute(_FINISH, {"id": one.erasure_id, "counts": orjson.dumps(counts).decode()})


def _read(row: Any) -> Erasure:
    return Erasure(**(dict(row) | {"kind": ErasureKind(row["kind"]), "state": ErasureState(row["state"])}))
