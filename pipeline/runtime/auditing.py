"""The audit trail: rows are appended in the transaction of what they tell, each hashed to the one before it.

Whoever appends holds the organization's head until the transaction ends, so that one chain comes of any number of
writers; others of the same organization wait, those of another one do not. Append last, just before the commit. Bulk
work of stages is not written here: the ledger, `events` and `letter_actions` tell of it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import ActorKind, AuditOutcome
from pipeline.core.audit_chain import GENESIS, Facts, Place, details_hash, hash_of
from pipeline.core.principals import Principal
from pipeline.core.redaction import redacted

#: Keeps a hash of few possible words from telling them after they were erased.
SALT = "_salt"
_LONGEST_WORD = 200

_HEAD = text("SELECT number, hash, clock_timestamp() AS at FROM audit_heads WHERE org_id = :org FOR UPDATE")
_FIRST = text("INSERT INTO audit_heads (org_id, number, hash) VALUES (:org, 0, :genesis) ON CONFLICT DO NOTHING")
_APPEND = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:number AS bigint[]), CAST(:at AS timestamptz[]), CAST(:actor_kind AS text[]),
            CAST(:actor_id AS text[]), CAST(:actor_role AS text[]), CAST(:action AS text[]), CAST(:outcome AS text[]),
            CAST(:code AS text[]), CAST(:target_kind AS text[]), CAST(:target_id AS text[]),
            CAST(:request_id AS text[]), CAST(:correlation_id AS text[]), CAST(:trace_id AS text[]),
            CAST(:details_sha256 AS bytea[]), CAST(:previous AS bytea[]), CAST(:hash AS bytea[])
        ) AS g(number, at, actor_kind, actor_id, actor_role, action, outcome, code, target_kind, target_id, request_id,
               correlation_id, trace_id, details_sha256, previous, hash)
    ), appended AS (
        INSERT INTO audit_events (org_id, number, at, actor_kind, actor_id, actor_role, action, outcome, code,
                                  target_kind, target_id, request_id, correlation_id, trace_id, details_sha256,
                                  previous, hash)
        SELECT :org, number, at, actor_kind, actor_id, actor_role, action, outcome, code, target_kind, target_id,
               request_id, correlation_id, trace_id, details_sha256, previous, hash FROM given
    ), detailed AS (
        INSERT INTO audit_details (org_id, number, data)
        SELECT :org, number, data FROM unnest(CAST(:detailed AS bigint[]), CAST(:data AS jsonb[])) AS g(number, data)
    )
    UPDATE audit_heads SET number = :last_number, hash = :last_hash WHERE org_id = :org
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to which thing. `details` are redacted by an allow list of names (`pipeline.core.redaction`)."""

    org_id: UUID
    action: str
    actor_id: str
    actor_kind: ActorKind = ActorKind.HUMAN
    actor_role: str | None = None
    outcome: AuditOutcome = AuditOutcome.DONE
    #: The code of a refusal, and only of one.
    code: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    request_id: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


def by(principal: Principal, action: str, **more: Any) -> Entry:
    """Return an entry of what a principal did; `more` are other fields of `Entry`."""
    return Entry(principal.org_id, action, principal.actor_id, principal.actor_kind, principal.role, **more)


def append(connection: Connection, entry: Entry) -> int:
    """Append one row; return its number. The organization's chain stays locked until the transaction ends."""
    return append_all(connection, entry.org_id, [entry])[0]


def append_all(connection: Connection, org_id: UUID, entries: Sequence[Entry]) -> list[int]:
    """Append rows of one organization in their order, in two statements however many; return their numbers."""
    if any(entry.org_id != org_id for entry in entries):
        raise ValueError("rows of one organization's chain only")
    if not entries:
        return []
    place, at = _lock(connection, org_id)
    columns: dict[str, list[Any]] = {one.name: [] for one in fields(Facts) if one.name != "org_id"}
    previous, hashes, details = [], [], {}
    for entry in entries:
        number = place.number + 1
        kept = _kept(entry)
        if kept is not None:
            details[number] = kept
        facts = _facts(entry, number, at, kept)
        for name, values in columns.items():
            values.append(getattr(facts, name))
        previous.append(place.hash)
        place = Place(number, hash_of(place.hash, facts))
        hashes.append(place.hash)
    data = [orjson.dumps(one).decode() for one in details.values()]
    told = {"detailed": list(details), "data": data, "last_number": place.number, "last_hash": place.hash}
    connection.execute(_APPEND, {"org": org_id, **columns, "previous": previous, "hash": hashes, **told})
    return list(columns["number"])


def _lock(connection: Connection, org_id: UUID) -> tuple[Place, Any]:
    row = connection.execute(_HEAD, {"org": org_id}).one_or_none()
    if row is None:
        connection.execute(_FIRST, {"org": org_id, "genesis": GENESIS})
        row = connection.execute(_HEAD, {"org": org_id}).one()
    return Place(row.number, bytes(row.hash)), row.at


def _kept(entry: Entry) -> dict[str, Any] | None:
    return {**redacted(entry.details), SALT: secrets.token_hex(8)} if entry.details else None


def _facts(entry: Entry, number: int, at: Any, kept: Mapping[str, Any] | None) -> Facts:
    return Facts(
        org_id=entry.org_id,
        number=number,
        at=at,
        actor_kind=entry.actor_kind.value,
        actor_id=_word(entry.actor_id) or "",
        actor_role=_word(entry.actor_role),
        action=_word(entry.action) or "",
        outcome=entry.outcome.value,
        code=_word(entry.code),
        target_kind=_word(entry.target_kind),
        target_id=_word(entry.target_id),
        request_id=_word(entry.request_id),
        correlation_id=_word(entry.correlation_id),
        trace_id=_word(entry.trace_id),
        details_sha256=None if kept is None else details_hash(kept),
    )


def _word(said: str | None) -> str | None:
    """Bound a word that a client may have chosen, and drop what a text column does not take."""
    if said is None:
        return None
    plain = said.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if len(plain) <= _LONGEST_WORD:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:16]
    return f"{plain[: _LONGEST_WORD - 20]}...{digest}"
