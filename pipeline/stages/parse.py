"""Parse: raw bytes to one canonical message, with recipient evidence, attachments and deduplication."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, text

from models.enums import AddressRole, BlobKind, Direction, ReferenceKind
from pipeline.core import machines, mime
from pipeline.core.recipients import Recipient
from pipeline.ports import Ports
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.db import copy_rows
from pipeline.runtime.errors import FieldpostError, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work

#: Written on every message; a new number makes stored raw mail worth parsing again.
PARSER_VERSION = 1

_LOAD = text("""
    SELECT o.id, o.org_id, o.raw_sha256, coalesce(o.internal_at, o.created_at) AS received_at, o.labels, m.address
      FROM occurrences o JOIN mailboxes m ON m.id = o.mailbox_id
     WHERE o.id = ANY(CAST(:ids AS bigint[])) AND o.state IN ('fetched', 'quarantined')
       AND o.raw_sha256 IS NOT NULL AND o.message_id IS NULL
""")
_INSERT = text("""
    INSERT INTO messages (org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm,
                          from_address, from_name, dated_at, received_at, snippet, flags, machine, raw_sha256,
                          parser_version)
    SELECT org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address, from_name,
           dated_at, received_at, snippet, CAST(flags AS text[]), machine, raw_sha256, :version
      FROM unnest(CAST(:org_id AS uuid[]), CAST(:direction AS text[]), CAST(:rfc_message_id AS text[]),
                  CAST(:fingerprint AS bytea[]), CAST(:signature AS bytea[]), CAST(:subject AS text[]),
                  CAST(:subject_norm AS text[]), CAST(:from_address AS text[]), CAST(:from_name AS text[]),
                  CAST(:dated_at AS timestamptz[]), CAST(:received_at AS timestamptz[]), CAST(:snippet AS text[]),
                  CAST(:flags AS text[]), CAST(:machine AS text[]), CAST(:raw_sha256 AS bytea[]))
        AS t(org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address, from_name,
             dated_at, received_at, snippet, flags, machine, raw_sha256)
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
]

#: What makes two sightings one message (contract 001: fingerprint and signature both match).
Identity = tuple[UUID, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Raw:
    """One fetched occurrence: where its bytes are, when it arrived, and whose mailbox it stands in."""

    org_id: UUID
    sha256: bytes
    received_at: datetime
    labels: tuple[str, ...]
    mailbox: str


@dataclass(frozen=True, slots=True)
class Understood:
    """A parsed message, whether a machine wrote it, and the stored sizes of its attachments by hash."""

    parsed: mime.Parsed
    machine: str | None
    direction: Direction
    stored: Mapping[str, int]


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Raw]:
    """Return what was fetched and not parsed yet."""
    rows = {str(row.id): row for row in connection.execute(_LOAD, {"ids": [int(job.key) for job in jobs]})}
    return {
        job.job_id: Raw(row.org_id, row.raw_sha256, row.received_at, tuple(row.labels), row.address)
        for job in jobs
        if (row := rows.get(job.key)) is not None
    }


def work(items: Sequence[Raw], ports: Ports) -> Sequence[Understood | Exception]:
    """Read the raw bytes together, understand each message for itself, store the attachments together."""
    try:
        contents = ports.blobs.get(BlobKind.RAW, [item.sha256.hex() for item in items])
    except FieldpostError as error:
        return [error] * len(items)
    parsed = [_parse(item, contents.get(item.sha256.hex())) for item in items]
    mails = [mail for mail in parsed if isinstance(mail, mime.Parsed)]
    payloads = {part.sha256: part.payload for mail in mails for part in mail.attachments}
    try:
        stored = ports.blobs.put(BlobKind.ATTACHMENT, payloads) if payloads else {}
    except FieldpostError as error:
        stored, parsed = {}, [error if isinstance(mail, mime.Parsed) and mail.attachments else mail for mail in parsed]
    return [
        _understand(item, mail, stored) if isinstance(mail, mime.Parsed) else mail
        for item, mail in zip(items, parsed, strict=True)
    ]


def _parse(item: Raw, raw: bytes | None) -> mime.Parsed | Exception:
    if raw is None:
        return Transient(f"the raw message {item.sha256.hex()} is not in the blob store")
    try:
        return mime.parse(raw)
    except Exception as error:  # noqa: BLE001 - one hostile mail is that mail's outcome
        return error


def _understand(item: Raw, mail: mime.Parsed, stored: Mapping[str, int]) -> Understood:
    sender = mail.from_[0].address if mail.from_ else None
    marker = machines.classify(mail.headers, sender, mail.subject, ())
    is_ours = "SENT" in item.labels or sender == item.mailbox
    direction = Direction.OUTBOUND if is_ours else Direction.INBOUND
    return Understood(mail, None if marker is None else marker.kind.value, direction, stored)


def save(connection: Connection, works: Sequence[Work[Raw, Understood]]) -> Sequence[Emit]:
    """Insert what is new, find what is known, and tie each occurrence to its message."""
    by_identity: dict[Identity, Work[Raw, Understood]] = {}
    for done in works:
        by_identity.setdefault(_identity(done), done)
    fresh = _insert(connection, list(by_identity.values()))
    known = _find(connection, [identity for identity in by_identity if identity not in fresh])
    _insert_parts(connection, [(message_id, by_identity[identity]) for identity, message_id in fresh.items()])
    messages = fresh | known
    _tie(connection, [(messages[_identity(done)], done) for done in works])
    return [done.job.then("stitch", done.job.key) for done in works]


def _identity(done: Work[Raw, Understood]) -> Identity:
    parsed = done.result.parsed
    return done.item.org_id, bytes.fromhex(parsed.fingerprint), bytes.fromhex(parsed.signature)


def _insert(connection: Connection, works: Sequence[Work[Raw, Understood]]) -> dict[Identity, int]:
    rows = [_row(done) for done in works]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    found = connection.execute(_INSERT, {**columns, "version": PARSER_VERSION})
    return {(row.org_id, row.fingerprint, row.signature): row.id for row in found}


def _row(done: Work[Raw, Understood]) -> dict[str, Any]:
    parsed, result = done.result.parsed, done.result
    org_id, fingerprint, signature = _identity(done)
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
        "received_at": done.item.received_at,
        "snippet": parsed.snippet,
        "flags": "{" + ",".join(parsed.flags) + "}",
        "machine": result.machine,
        "raw_sha256": done.item.sha256,
    }


def _find(connection: Connection, identities: Sequence[Identity]) -> dict[Identity, int]:
    if not identities:
        return {}
    orgs, fingerprints, signatures = (list(column) for column in zip(*identities, strict=True))
    rows = connection.execute(_FIND, {"orgs": orgs, "fingerprints": fingerprints, "signatures": signatures})
    return {(row.org_id, row.fingerprint, row.signature): row.id for row in rows}


def _insert_parts(connection: Connection, fresh: Sequence[tuple[int, Work[Raw, Understood]]]) -> None:
    parsed = [(message_id, done.result.parsed) for message_id, done in fresh]
    copy_rows(
        connection,
        "message_contents",
        ("message_id", "body_text", "body_html"),
        [(message_id, mail.text, mail.html) for message_id, mail in parsed],
    )
    copy_rows(
        connection,
        "message_addresses",
        ("message_id", "role", "position", "address", "name"),
        [(message_id, *row) for message_id, mail in parsed for row in _address_rows(mail)],
    )
    copy_rows(
        connection,
        "message_references",
        ("message_id", "kind", "position", "reference"),
        [(message_id, *row) for message_id, mail in parsed for row in _reference_rows(mail)],
    )
    _insert_attachments(connection, [pair for pair in fresh if pair[1].result.parsed.attachments])


def _address_rows(mail: mime.Parsed) -> Iterable[tuple[str, int, str, str]]:
    roles = (
        (AddressRole.FROM, mail.from_),
        (AddressRole.TO, mail.to),
        (AddressRole.CC, mail.cc),
        (AddressRole.REPLY_TO, mail.reply_to),
    )
    for role, addresses in roles:
        for position, address in enumerate(addresses):
            yield role.value, position, address.address, address.name


def _reference_rows(mail: mime.Parsed) -> Iterable[tuple[str, int, str]]:
    for kind, ids in ((ReferenceKind.IN_REPLY_TO, mail.in_reply_to), (ReferenceKind.REFERENCES, mail.references)):
        for position, reference in enumerate(ids):
            yield kind.value, position, reference


def _insert_attachments(connection: Connection, fresh: Sequence[tuple[int, Work[Raw, Understood]]]) -> None:
    if not fresh:
        return
    parts = [
        (message_id, done.item.org_id, position, part, done.result.stored)
        for message_id, done in fresh
        for position, part in enumerate(done.result.parsed.attachments)
    ]
    blobs = [
        (org_id, bytes.fromhex(part.sha256), part.size, stored[part.sha256]) for _, org_id, _, part, stored in parts
    ]
    note_blobs(connection, BlobKind.ATTACHMENT, blobs)
    copy_rows(connection, "attachments", _ATTACHMENT, [_attachment_row(*part[:4]) for part in parts])


def _attachment_row(message_id: int, org_id: UUID, position: int, part: mime.Attachment) -> tuple[Any, ...]:
    sha256 = bytes.fromhex(part.sha256)
    what = (part.filename, part.content_type, part.size, part.disposition, part.content_id)
    return (org_id, message_id, position, sha256, *what)


def _tie(connection: Connection, tied: Sequence[tuple[int, Work[Raw, Understood]]]) -> None:
    copy_rows(
        connection,
        "occurrence_recipients",
        ("occurrence_id", "address", "source", "confidence", "evidence"),
        [_recipient_row(int(done.job.key), done.result.parsed.recipient) for _, done in tied],
    )
    connection.execute(
        _PARSED,
        {"ids": [int(done.job.key) for _, done in tied], "messages": [message_id for message_id, _ in tied]},
    )


def _recipient_row(occurrence_id: int, found: Recipient) -> tuple[Any, ...]:
    evidence = orjson.dumps(found.evidence).decode()
    return (occurrence_id, found.address, found.source.value, found.confidence.value, evidence)


STAGE = Stage(
    name="parse",
    about="Understands a raw message, and joins sightings of the same one.",
    load=load,
    work=work,
    save=save,
    emits=("stitch",),
    io=True,
    batch=100,
    permanent=(mime.Unreadable,),
    by_occurrence=True,
)
