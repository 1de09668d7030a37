"""Evidence in the database: pieces and promises of a ticket, added, withdrawn and superseded under its lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from models.enums import DispatchState, EvidenceCheck
from models.queries.evidence import COLUMNS
from pipeline.core.evidence import Piece, Promise, plain_sha256
from pipeline.core.field_work import FROZEN, FieldTicket
from pipeline.core.principals import Principal

#: Pieces of one ticket, with those that count for nothing any more.
MOST_PIECES = 1_000

#: A checksum as `pipeline.core.evidence.plain_sha256` reads it.
_CHECKSUM = "lower(regexp_replace(btrim(e.checksum), '^sha-?256[:=]', '', 'i'))"
_PIECES = text("""
    SELECT id, kind, evidence_key, uri, encode(sha256, 'hex') AS sha256, checksum FROM evidence_items
     WHERE ticket_id = :ticket AND withdrawn_at IS NULL AND superseded_by_id IS NULL ORDER BY id
""")
_PROMISES = text("""
    SELECT encode(sha256, 'hex') AS sha256, evidence_key, evidence_id, waived_because, captured_at
      FROM expected_evidence WHERE ticket_id = :ticket ORDER BY evidence_key, sha256
""")
_COUNT = text("SELECT count(*) FROM evidence_items WHERE ticket_id = :ticket")
_FIND = text(f"SELECT {COLUMNS} FROM evidence_items e WHERE e.ticket_id = :ticket AND e.id = :id")  # noqa: S608
#: By what was sent or by what is stored of it.
_SAME = text(f"""
    SELECT {COLUMNS} FROM evidence_items e
     WHERE e.ticket_id = :ticket AND e.withdrawn_at IS NULL AND e.superseded_by_id IS NULL AND e.sha256 IS NOT NULL
       AND (e.sha256 = decode(:sha256, 'hex') OR {_CHECKSUM} = :sha256)
     ORDER BY e.id
""")  # noqa: S608 - columns of a constant
_ADD = text(f"""
    INSERT INTO evidence_items AS e (org_id, ticket_id, kind, uri, note, evidence_key, checksum, metadata, sha256,
                                     thumbnail_sha256, size, content_type, check_state, created_by, created_by_id)
    VALUES (:org, :ticket, :kind, :uri, :note, :evidence_key, :checksum, CAST(:metadata AS jsonb),
            decode(CAST(:sha256 AS text), 'hex'), decode(CAST(:thumbnail AS text), 'hex'), :size, :content_type,
            :check_state, :by, :by_id)
    RETURNING {COLUMNS}
""")  # noqa: S608 - columns of a constant
_SUPERSEDE = text("UPDATE evidence_items SET superseded_by_id = :new WHERE id = :old AND ticket_id = :ticket")
_WITHDRAW = text(f"""
    UPDATE evidence_items e SET withdrawn_at = now(), withdrawn_by = :by, withdrawn_because = :reason
     WHERE e.id = :id AND e.ticket_id = :ticket RETURNING {COLUMNS}
""")  # noqa: S608 - columns of a constant
#: What came again after its piece was withdrawn keeps the promise, too.
_KEEP_PROMISE = text("""
    UPDATE expected_evidence x SET evidence_id = :piece
     WHERE x.ticket_id = :ticket AND encode(x.sha256, 'hex') = ANY(CAST(:hashes AS text[]))
       AND NOT EXISTS (SELECT FROM evidence_items e WHERE e.id = x.evidence_id
                          AND e.withdrawn_at IS NULL AND e.superseded_by_id IS NULL)
""")
_PROMISED_KEY = text("""
    SELECT evidence_key FROM expected_evidence
     WHERE ticket_id = :ticket AND encode(sha256, 'hex') = ANY(CAST(:hashes AS text[])) ORDER BY sha256 LIMIT 1
""")
#: What has come already keeps its promise at once. One that was waived stays so.
_PROMISE = text(f"""
    INSERT INTO expected_evidence AS x (ticket_id, sha256, org_id, evidence_key, captured_at, evidence_id)
    SELECT :ticket, decode(m.sha256, 'hex'), :org, m.evidence_key, m.captured_at, (
               SELECT e.id FROM evidence_items e
                WHERE e.ticket_id = :ticket AND e.withdrawn_at IS NULL AND e.superseded_by_id IS NULL
                  AND (e.sha256 = decode(m.sha256, 'hex') OR {_CHECKSUM} = m.sha256)
                ORDER BY e.id LIMIT 1)
      FROM unnest(CAST(:hashes AS text[]), CAST(:keys AS text[]), CAST(:times AS timestamptz[]))
           AS m(sha256, evidence_key, captured_at)
        ON CONFLICT (ticket_id, sha256) DO UPDATE
       SET evidence_key = excluded.evidence_key, captured_at = excluded.captured_at, evidence_id = excluded.evidence_id
     WHERE x.waived_because IS NULL
""")  # noqa: S608 - an expression from above
_WAIVE = text("""
    UPDATE expected_evidence SET waived_because = :reason, waived_by = :by
     WHERE ticket_id = :ticket AND sha256 = decode(:sha256, 'hex')
""")
_OUTSTANDING = text("""
    SELECT count(*) FROM expected_evidence
     WHERE ticket_id = :ticket AND evidence_id IS NULL AND waived_because IS NULL
""")
#: A limit is asked for after the check: the work goes back to VERIFIED whatever is decided.
_GOES_BACK = text("""
    SELECT EXISTS (SELECT FROM approvals WHERE ticket_id = :ticket AND state = 'PENDING' AND return_state = 'VERIFIED')
""")
_SENT = text("""
    SELECT count(*) > 0 AS is_any, coalesce(bool_or(CAST(technician_id AS text) = ANY(:names)), false) AS is_one
      FROM assignments WHERE ticket_id = :ticket
""")


@dataclass(frozen=True, slots=True)
class NewPiece:
    """A piece of evidence as it is added; hashes are hex. What is stored here has `sha256`."""

    kind: str
    uri: str | None = None
    note: str | None = None
    evidence_key: str | None = None
    checksum: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    thumbnail_sha256: str | None = None
    size: int | None = None
    content_type: str | None = None

    @property
    def hashes(self) -> list[str]:
        """What a promise may have called it, by the hashes that are known of it."""
        return [found for said in (self.checksum, self.sha256) if said and (found := plain_sha256(said))]


def pieces(connection: Connection, ticket_id: UUID) -> list[Piece]:
    """Return the pieces that count, oldest first."""
    rows = connection.execute(_PIECES, {"ticket": ticket_id})
    return [Piece(str(row.id), row.kind, row.evidence_key, row.uri, row.sha256, row.checksum) for row in rows]


def promises(connection: Connection, ticket_id: UUID) -> list[Promise]:
    """Return what was promised, by key."""
    rows = connection.execute(_PROMISES, {"ticket": ticket_id})
    return [
        Promise(
            row.sha256,
            row.evidence_key,
            str(row.evidence_id) if row.evidence_id else None,
            row.waived_because is not None,
            row.captured_at,
        )
        for row in rows
    ]


def outstanding(connection: Connection, ticket_id: UUID) -> int:
    """Return how many promised pieces have neither come nor been given up."""
    return int(connection.execute(_OUTSTANDING, {"ticket": ticket_id}).scalar_one())


def find(connection: Connection, ticket_id: UUID, evidence_id: UUID) -> Row[Any] | None:
    """Return a piece of a ticket, whatever became of it; None when there is none."""
    return connection.execute(_FIND, {"ticket": ticket_id, "id": evidence_id}).one_or_none()


def same(connection: Connection, ticket_id: UUID, sha256: str) -> Sequence[Row[Any]]:
    """Return the pieces that count whose bytes we keep and that have this hash, as sent or as stored."""
    return connection.execute(_SAME, {"ticket": ticket_id, "sha256": sha256}).all()


def has_room(connection: Connection, ticket_id: UUID) -> bool:
    """Say whether one more piece may be added."""
    return int(connection.execute(_COUNT, {"ticket": ticket_id}).scalar_one()) < MOST_PIECES


def add(
    connection: Connection, ticket: FieldTicket, piece: NewPiece, who: Principal, old_id: UUID | None = None
) -> Row[Any]:
    """Add a piece, in the place of `old_id` where that is named; promises of its bytes are kept by it."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "kind": piece.kind,
        "uri": piece.uri,
        "note": piece.note,
        "evidence_key": piece.evidence_key,
        "checksum": piece.checksum,
        "metadata": orjson.dumps(dict(piece.metadata), default=str).decode(),
        "sha256": piece.sha256,
        "thumbnail": piece.thumbnail_sha256,
        "size": piece.size,
        "content_type": piece.content_type,
        "check_state": (EvidenceCheck.CHECKED if piece.sha256 or piece.note else EvidenceCheck.UNCHECKED).value,
        "by": who.actor_id,
        "by_id": who.person_id,
    }
    row = connection.execute(_ADD, values).one()
    if old_id is not None:
        connection.execute(_SUPERSEDE, {"ticket": ticket.ticket_id, "old": old_id, "new": row.id})
    if piece.hashes:
        kept = {"ticket": ticket.ticket_id, "piece": row.id, "hashes": piece.hashes}
        connection.execute(_KEEP_PROMISE, kept)
    return row


def promised_key(connection: Connection, ticket_id: UUID, hashes: Sequence[str]) -> str | None:
    """Return the key under which bytes were promised; None when they were not."""
    found: str | None = connection.execute(
        _PROMISED_KEY, {"ticket": ticket_id, "hashes": list(hashes)}
    ).scalar_one_or_none()
    return found


def withdraw(connection: Connection, ticket: FieldTicket, evidence_id: UUID, by: str, reason: str) -> Row[Any]:
    """Let a piece count for nothing any more; return it. It stays where it is."""
    values = {"ticket": ticket.ticket_id, "id": evidence_id, "by": by, "reason": reason}
    return connection.execute(_WITHDRAW, values).one()


def promise(connection: Connection, ticket: FieldTicket, made: Sequence[Promise]) -> None:
    """Note what a device says it took; what is there already has come. Each hash stands once in `made`."""
    values = {
        "org": ticket.org_id,
        "ticket": ticket.ticket_id,
        "hashes": [one.sha256 for one in made],
        "keys": [one.evidence_key for one in made],
        "times": [one.captured_at for one in made],
    }
    if made:
        connection.execute(_PROMISE, values)


def waive(connection: Connection, ticket: FieldTicket, sha256: str, by: str, reason: str) -> None:
    """Give up a promised piece: its key counts as proved."""
    connection.execute(_WAIVE, {"ticket": ticket.ticket_id, "sha256": sha256, "by": by, "reason": reason})


def is_frozen(connection: Connection, ticket: FieldTicket) -> bool:
    """Say whether a ticket's evidence stays as it is: from the check on, also while a higher limit is asked for."""
    if ticket.state is DispatchState.APPROVAL_REQUIRED:
        return bool(connection.execute(_GOES_BACK, {"ticket": ticket.ticket_id}).scalar_one())
    return ticket.state in FROZEN


def may_add(connection: Connection, ticket: FieldTicket, who: Principal) -> bool:
    """Say whether somebody may add to a ticket's evidence: of technicians those who were ever sent, once one was."""
    if not who.is_sent:
        return True
    names = [str(one) for one in (who.actor_id, who.person_id) if one]
    row = connection.execute(_SENT, {"ticket": ticket.ticket_id, "names": names}).one()
    return bool(row.is_one) or not row.is_any
