"""Rows of understood mail: one message per identity, its parts, and the tie of each occurrence to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import AddressRole, BlobKind, Direction, MachineKind, ReferenceKind
from pipeline.core.mime import PARSER_VERSION, Attachment, Parsed
from pipeline.core.recipients import Recipient
from pipeline.runtime.blob_rows import mark, note_blobs
from pipeline.runtime.db import copy_rows

_INSERT = text("""
    INSERT INTO messages (org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm,
                          from_address, from_name, dated_at, received_at, snippet, flags, machine, list_id,
                          forwarded_from, raw_sha256, parser_version)
    SELECT org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address, from_name,
           dated_at, received_at, snippet, CAST(flags AS text[]), machine, list_id, forwarded_from, raw_sha256, :version
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:direction AS text[]), CAST(:rfc_message_id AS text[]),
                  CAST(:fingerprint AS bytea[]), CAST(:signature AS bytea[]), CAST(:subject AS text[]),
                  CAST(:subject_norm AS text[]), CAST(:from_address AS text[]), CAST(:from_name AS text[]),
                  CAST(:dated_at AS timestamptz[]), CAST(:received_at AS timestamptz[]), CAST(:snippet AS text[]),
                  CAST(:flags AS text[]), CAST(:machine AS text[]), CAST(:list_id AS text[]),
                  CAST(:forwarded_from AS text[]), CAST(:raw_sha256 AS bytea[]))
        AS t(org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address, from_name,
             dated_at, received_at, snippet, flags, machine, list_id, forwarded_from, raw_sha256)
     ORDER BY org_id, fingerprint, signature
        ON CONFLICT (org_id, fingerprint, signature) DO NOTHING
    RETURNING id, org_id, fingerprint, signature
""")
_FIND = text("""
    SELECT m.id, m.org_id, m.fingerprint, m.signature
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:fingerprints AS bytea[]), CAST(:signatures AS bytea[]))
        AS t(org_id, fingerprint, signature)
      JOIN messages m USING (org_id, fingerprint, signature)
""")
#: Whoever forgets one of them has done so by then, or waits until this sighting is tied to it.
_ERASED = text("""
    WITH locked AS MATERIALIZED (
        SELECT id, direction, erased_at FROM messages WHERE id = ANY(CAST(:ids AS bigint[]))
         ORDER BY id FOR NO KEY UPDATE
    )
    SELECT id, direction FROM locked WHERE erased_at IS NOT NULL
""")
_SENT = text("""
    SELECT id, org_id, message_id FROM outbound WHERE id = ANY(CAST(:ids AS uuid[]))
""")
#: What one sighting proves holds for the message, whichever was read first: that we sent it, that a list carried it.
_PROVE = text("""
    UPDATE messages m SET direction = CASE WHEN p.is_sent THEN 'outbound' ELSE m.direction END,
                          list_id = coalesce(m.list_id, p.list_id),
                          machine = CASE WHEN p.is_list THEN coalesce(m.machine, 'mailing_list') ELSE m.machine END
      FROM (SELECT id, bool_or(is_sent) AS is_sent, bool_or(is_list) AS is_list, min(list_id) AS list_id
              FROM unnest(CAST(:ids AS bigint[]), CAST(:sent AS bool[]), CAST(:listed AS bool[]),
                          CAST(:lists AS text[]))
                AS t(id, is_sent, is_list, list_id) GROUP BY id) AS p
     WHERE m.id = p.id
       AND ((p.is_sent AND m.direction <> 'outbound') OR (p.list_id IS NOT NULL AND m.list_id IS NULL)
            OR (p.is_list AND m.machine IS NULL))
""")
_PARSED = text("""
    UPDATE occurrences SET state = 'parsed', message_id = t.message_id
      FROM unnest(CAST(:ids AS bigint[]), CAST(:messages AS bigint[])) AS t(id, message_id)
     WHERE occurrences.id = t.id
""")

_ATTACHMENT = [
    "org_id",
    "message_id",
    "position",
    "sha256",
    "filename",
    "content_type",
    "size",
    "disposition",
    "content_id",
    "is_quarantined",
]

#: What makes two sightings one message (contract 001: fingerprint and signature both match).
Identity = tuple[UUID, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Understood:
    """A parsed message, whether a machine wrote it, and the stored sizes of its attachments by hash."""

    parsed: Parsed
    machine: str | None
    direction: Direction
    stored: Mapping[str, int]
    #: The header that gave the machine away, with its value; "" for people.
    marker: str = ""
    #: Which message of ours this proves to be a sent copy of, whatever was rewritten on its way.
    outbound_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One occurrence with what was understood of it; `received_at` is the provider's time."""

    occurrence_id: int
    org_id: UUID
    raw_sha256: bytes
    received_at: datetime
    result: Understood

    @property
    def identity(self) -> Identity:
        """Return what makes this and another sighting one message."""
        parsed = self.result.parsed
        return self.org_id, bytes.fromhex(parsed.fingerprint), bytes.fromhex(parsed.signature)


@dataclass(frozen=True, slots=True)
class Kept:
    """The message of each sighting, in order, which of the messages are new, and which were forgotten."""

    message_ids: Sequence[int]
    fresh: Mapping[int, Sighting]
    erased: frozenset[int] = frozenset()


def keep(connection: Connection, sightings: Sequence[Sighting]) -> Kept:
    """Insert what is new, find what is known, and tie each occurrence to its message; set-wise.

    Transactions that keep the same message at once end with one row: the later waits for the earlier. A sighting of
    what was forgotten brings nothing back: its own bytes are marked, too.
    """
    sent = _sent(connection, sightings)
    by_identity: dict[Identity, Sighting] = {}
    for sighting in sightings:
        if sighting.occurrence_id not in sent:
            by_identity.setdefault(sighting.identity, sighting)
    inserted = _insert(connection, list(by_identity.values()))
    known = _find(connection, [identity for identity in by_identity if identity not in inserted])
    fresh = {message_id: by_identity[identity] for identity, message_id in inserted.items()}
    insert_parts(connection, list(fresh.items()))
    messages = inserted | known
    message_ids = [sent.get(one.occurrence_id) or messages[one.identity] for one in sightings]
    tied = list(zip(message_ids, sightings, strict=True))
    seen = [pair for pair in tied if pair[0] not in fresh or fresh[pair[0]] is not pair[1]]
    erased = _erased(connection, {message_id for message_id, _ in seen} - set(fresh))
    _prove(connection, [pair for pair in seen if pair[0] not in erased])
    _tie(connection, tied, erased)
    _mark(connection, [sighting for message_id, sighting in seen if message_id in erased])
    return Kept(message_ids, fresh, frozenset(erased))


def _erased(connection: Connection, message_ids: Iterable[int]) -> dict[int, str]:
    """Lock messages that were known before; return those that were forgotten, with their direction."""
    ids = list(message_ids)
    return {row.id: row.direction for row in connection.execute(_ERASED, {"ids": ids})} if ids else {}


def _mark(connection: Connection, sightings: Sequence[Sighting]) -> None:
    """Mark the bytes of sightings, and what was just stored of their attachments; what others need is found then."""
    for org_id in sorted({one.org_id for one in sightings}):
        mine = [one for one in sightings if one.org_id == org_id]
        parts = {part.sha256: part for one in mine for part in one.result.parsed.attachments}
        stored = {name: size for one in mine for name, size in one.result.stored.items()}
        files = {bytes.fromhex(name): (part.size, stored[name]) for name, part in parts.items()}
        note_blobs(connection, BlobKind.ATTACHMENT, [(org_id, name, *sizes) for name, sizes in files.items()])
        mark(connection, BlobKind.RAW, org_id, {one.raw_sha256 for one in mine})
        mark(connection, BlobKind.ATTACHMENT, org_id, files)


def _prove(connection: Connection, seen: Sequence[tuple[int, Sighting]]) -> None:
    if not seen:
        return
    results = [sighting.result for _, sighting in seen]
    values = {
        "ids": [message_id for message_id, _ in seen],
        "sent": [result.direction is Direction.OUTBOUND for result in results],
        "listed": [result.machine == MachineKind.MAILING_LIST for result in results],
        "lists": [result.parsed.list_id for result in results],
    }
    connection.execute(_PROVE, values)


def _sent(connection: Connection, sightings: Sequence[Sighting]) -> dict[int, int]:
    """Return, by occurrence, the message of ours that a sent copy proves to be; providers may rewrite its id."""
    proofs = {one.occurrence_id: (one.org_id, one.result.outbound_id) for one in sightings if one.result.outbound_id}
    if not proofs:
        return {}
    rows = connection.execute(_SENT, {"ids": [outbound_id for _, outbound_id in proofs.values()]})
    by_id = {(row.org_id, row.id): row.message_id for row in rows}
    return {occurrence_id: by_id[proof] for occurrence_id, proof in proofs.items() if proof in by_id}


def _insert(connection: Connection, sightings: Sequence[Sighting]) -> dict[Identity, int]:
    if not sightings:
        return {}
    rows = [row_of(sighting) for sighting in sightings]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    found = connection.execute(_INSERT, {**columns, "version": PARSER_VERSION})
    return {(row.org_id, row.fingerprint, row.signature): row.id for row in found}


def row_of(sighting: Sighting) -> dict[str, Any]:
    """Return the columns of a message's own row."""
    result = sighting.result
    parsed = result.parsed
    org_id, fingerprint, signature = sighting.identity
    sender = parsed.from_[0] if parsed.from_ else None
    return {
        "org_id": org_id,
        "direction": result.direction.value,
        "rfc_message_id": parsed.message_id,
        "fingerprint": fingerprint,
        "signature": signature,
        "subject": parsed.subject,
        "subject_norm": parsed.subject_norm,
        "from_address": sender.address if sender else None,
        "from_name": sender.name if sender else None,
        "dated_at": parsed.date,
        "received_at": sighting.received_at,
        "snippet": parsed.snippet,
        "flags": "{" + ",".join(parsed.flags) + "}",
        "machine": result.machine,
        "list_id": parsed.list_id,
        "forwarded_from": parsed.forwarded_from,
        "raw_sha256": sighting.raw_sha256,
    }


def _find(connection: Connection, identities: Sequence[Identity]) -> dict[Identity, int]:
    if not identities:
        return {}
    orgs, fingerprints, signatures = (list(column) for column in zip(*identities, strict=True))
    rows = connection.execute(_FIND, {"orgs": orgs, "fingerprints": fingerprints, "signatures": signatures})
    return {(row.org_id, row.fingerprint, row.signature): row.id for row in rows}


def insert_parts(connection: Connection, fresh: Sequence[tuple[int, Sighting]]) -> None:
    """Append what messages hold: texts, people, references, attachments; set-wise."""
    parsed = [(message_id, sighting.result.parsed) for message_id, sighting in fresh]
    copy_rows(
        connection,
        "message_contents",
        ("message_id", "body_text", "body_html", "fresh_text"),
        [(message_id, mail.text, mail.html, fresh_unless_all(mail)) for message_id, mail in parsed],
    )
    copy_rows(
        connection,
        "message_addresses",
        ("message_id", "role", "position", "address", "name"),
        [(message_id, *row) for message_id, mail in parsed for row in address_rows(mail)],
    )
    copy_rows(
        connection,
        "message_references",
        ("message_id", "kind", "position", "reference"),
        [(message_id, *row) for message_id, mail in parsed for row in reference_rows(mail)],
    )
    insert_attachments(connection, [pair for pair in fresh if pair[1].result.parsed.attachments])


def fresh_unless_all(mail: Parsed) -> str | None:
    """Return what the sender wrote anew, None when that is the whole text."""
    return mail.fresh if mail.fresh != mail.text else None


def address_rows(mail: Parsed) -> Iterable[tuple[str, int, str, str]]:
    """Yield role, position, address and name of everybody in the header."""
    roles = (
        (AddressRole.FROM, mail.from_),
        (AddressRole.TO, mail.to),
        (AddressRole.CC, mail.cc),
        (AddressRole.REPLY_TO, mail.reply_to),
    )
    for role, addresses in roles:
        for position, address in enumerate(addresses):
            yield role.value, position, address.address, address.name


def reference_rows(mail: Parsed) -> Iterable[tuple[str, int, str]]:
    """Yield kind, position and Message-ID of every message that is named."""
    kinds = (
        (ReferenceKind.IN_REPLY_TO, mail.in_reply_to),
        (ReferenceKind.REFERENCES, mail.references),
        (ReferenceKind.REPORTED, mail.reported),
    )
    for kind, ids in kinds:
        for position, reference in enumerate(ids):
            yield kind.value, position, reference


def insert_attachments(connection: Connection, fresh: Sequence[tuple[int, Sighting]]) -> None:
    """Append messages' attachments, and note their contents as stored."""
    if not fresh:
        return
    parts = [
        (message_id, sighting.org_id, position, part, sighting.result.stored)
        for message_id, sighting in fresh
        for position, part in enumerate(sighting.result.parsed.attachments)
    ]
    blobs = [
        (org_id, bytes.fromhex(part.sha256), part.size, stored[part.sha256]) for _, org_id, _, part, stored in parts
    ]
    note_blobs(connection, BlobKind.ATTACHMENT, blobs)
    copy_rows(connection, "attachments", _ATTACHMENT, [attachment_row(*part[:4]) for part in parts])


def attachment_row(message_id: int, org_id: UUID, position: int, part: Attachment) -> tuple[Any, ...]:
    """Return one attachment's row, without what the database fills in."""
    sha256 = bytes.fromhex(part.sha256)
    what = (part.filename, part.content_type, part.size, part.disposition, part.content_id)
    return (org_id, message_id, position, sha256, *what, part.is_dangerous)


def _tie(connection: Connection, tied: Sequence[tuple[int, Sighting]], erased: Mapping[int, str]) -> None:
    copy_rows(
        connection,
        "occurrence_recipients",
        ("occurrence_id", "message_id", "address", "source", "confidence", "evidence"),
        [
            (sighting.occurrence_id, message_id, *_recipient(sighting.result.parsed.recipient, erased.get(message_id)))
            for message_id, sighting in tied
        ],
    )
    connection.execute(
        _PARSED,
        {
            "ids": [sighting.occurrence_id for _, sighting in tied],
            "messages": [message_id for message_id, _ in tied],
        },
    )


def _recipient(found: Recipient, erased: str | None) -> tuple[Any, ...]:
    """Return who was written to, and how that is known; of what was `erased` in a direction, no more than is left."""
    how = (found.source.value, found.confidence.value)
    if erased is None:
        return found.address, *how, orjson.dumps(found.evidence).decode()
    is_told = found.address is None or erased == Direction.INBOUND
    return found.address if is_told else "(erased)", *how, "{}"
