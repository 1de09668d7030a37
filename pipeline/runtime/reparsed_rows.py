"""The parsed columns and rows of messages that exist: read as values that can be compared, and written over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, Row, text

from pipeline.core.mime import PARSER_VERSION
from pipeline.core.recipients import Recipient
from pipeline.runtime import collisions, message_rows
from pipeline.runtime.db import copy_rows
from pipeline.runtime.message_rows import Sighting

#: The message's own columns that come out of the parser.
_COLUMNS = (
    "direction", "rfc_message_id", "fingerprint", "signature", "subject", "subject_norm", "from_address", "from_name",
    "dated_at", "snippet", "flags", "machine", "list_id", "forwarded_from",
)  # fmt: skip
_TEXTS = ("body_text", "body_html", "fresh_text")

_READ = text("""
    SELECT m.id, m.org_id, m.received_at, m.raw_sha256, m.direction, m.rfc_message_id, m.fingerprint, m.signature,
           m.subject, m.subject_norm, m.from_address, m.from_name, m.dated_at, m.snippet, m.flags, m.machine, m.list_id,
           m.forwarded_from, c.body_text, c.body_html, c.fresh_text, p.addresses, q."references", a.attachments,
           s.sightings, s.recipients,
           coalesce((SELECT b.size FROM blobs b
                      WHERE b.org_id = m.org_id AND b.kind = 'raw' AND b.sha256 = m.raw_sha256), 0)
             AS size
      FROM messages m
      LEFT JOIN message_contents c ON c.message_id = m.id
      LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_array(role, position, address, name)
                                          ORDER BY role, position) AS addresses
                           FROM message_addresses WHERE message_id = m.id) AS p ON true
      LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_array(kind, position, reference)
                                          ORDER BY kind, position) AS "references"
                           FROM message_references WHERE message_id = m.id) AS q ON true
      LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_array(position, encode(sha256, 'hex'), filename, content_type,
                                                            size, disposition, content_id, is_quarantined)
                                          ORDER BY position) AS attachments
                           FROM attachments WHERE message_id = m.id) AS a ON true
      LEFT JOIN LATERAL (SELECT jsonb_agg(jsonb_build_object('id', o.id, 'labels', o.labels, 'provider', x.provider,
                                                             'mailbox', x.address,
                                                             'sha256', encode(o.raw_sha256, 'hex'))
                                          ORDER BY o.id) AS sightings,
                                jsonb_object_agg(o.id, jsonb_build_array(r.address, r.source, r.confidence, r.evidence))
                                  AS recipients
                           FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                           JOIN mailboxes x ON x.id = o.mailbox_id
                          WHERE r.message_id = m.id AND o.raw_sha256 IS NOT NULL) AS s ON true
     WHERE m.id = ANY(CAST(:ids AS bigint[])) ORDER BY m.id
""")
#: Another message that has the same identity already, or would have it.
_TAKEN = text("""
    SELECT t.id, m.id AS other
      FROM unnest(CAST(:ids AS bigint[]), CAST(:orgs AS uuid[]), CAST(:fingerprints AS bytea[]),
                  CAST(:signatures AS bytea[])) AS t(id, org_id, fingerprint, signature)
      JOIN messages m USING (org_id, fingerprint, signature)
     WHERE m.id <> t.id
""")
_WRITE = text("""
    UPDATE messages m
       SET direction = t.direction, rfc_message_id = t.rfc_message_id, fingerprint = t.fingerprint,
           signature = t.signature, subject = t.subject, subject_norm = t.subject_norm, from_address = t.from_address,
           from_name = t.from_name, dated_at = t.dated_at, snippet = t.snippet, flags = CAST(t.flags AS text[]),
           machine = t.machine, list_id = t.list_id, forwarded_from = t.forwarded_from, parser_version = :version,
           collision_group_id = CASE WHEN m.fingerprint = t.fingerprint THEN m.collision_group_id END
      FROM unnest(CAST(:ids AS bigint[]), CAST(:direction AS text[]), CAST(:rfc_message_id AS text[]),
                  CAST(:fingerprint AS bytea[]), CAST(:signature AS bytea[]), CAST(:subject AS text[]),
                  CAST(:subject_norm AS text[]), CAST(:from_address AS text[]), CAST(:from_name AS text[]),
                  CAST(:dated_at AS timestamptz[]), CAST(:snippet AS text[]), CAST(:flags AS text[]),
                  CAST(:machine AS text[]), CAST(:list_id AS text[]), CAST(:forwarded_from AS text[]))
        AS t(id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address, from_name,
             dated_at, snippet, flags, machine, list_id, forwarded_from)
     WHERE m.id = t.id
""")
_WRITE_RECIPIENTS = text("""
    UPDATE occurrence_recipients r
       SET address = t.address, source = t.source, confidence = t.confidence, evidence = t.evidence
      FROM unnest(CAST(:ids AS bigint[]), CAST(:addresses AS text[]), CAST(:sources AS text[]),
                  CAST(:confidences AS text[]), CAST(:evidences AS jsonb[]))
        AS t(id, address, source, confidence, evidence)
     WHERE r.occurrence_id = t.id
""")


@dataclass(frozen=True, slots=True)
class Change:
    """What a message would be: as a sighting of it, its recipient at each occurrence, and which fields differ."""

    message_id: int
    sighting: Sighting
    recipients: Mapping[int, Recipient]
    fields: frozenset[str] = field(default_factory=frozenset)

    @property
    def identity(self) -> tuple[UUID, bytes, bytes]:
        """Return what makes it one message."""
        return self.sighting.identity


def read(connection: Connection, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Return messages with everything that was parsed of them, in the order of their ids."""
    return connection.execute(_READ, {"ids": list(ids)}).all()


def values_of(row: Row[Any]) -> dict[str, object]:
    """Return the parsed values of a stored message, as JSON."""
    own = {name: _plain(getattr(row, name)) for name in (*_COLUMNS, *_TEXTS)}
    own["flags"] = list(row.flags)
    return own | {
        "addresses": row.addresses or [],
        "references": row.references or [],
        "attachments": row.attachments or [],
        "recipients": row.recipients or {},
    }


def new_values(change: Change) -> dict[str, object]:
    """Return the same values as they would be."""
    row, mail = message_rows.row_of(change.sighting), change.sighting.result.parsed
    own = {name: _plain(row[name]) for name in _COLUMNS}
    own["flags"] = list(mail.flags)
    parts = enumerate(mail.attachments)
    found: dict[str, object] = own | {
        "body_text": mail.text,
        "body_html": mail.html,
        "fresh_text": message_rows.fresh_unless_all(mail),
        "addresses": sorted(map(list, message_rows.address_rows(mail))),
        "references": sorted(map(list, message_rows.reference_rows(mail))),
        "attachments": [[place, part.sha256, *_of(part)] for place, part in parts],
        "recipients": {str(key): _recipient(one) for key, one in change.recipients.items()},
    }
    plain: dict[str, object] = orjson.loads(orjson.dumps(found))
    return plain


def _of(part: Any) -> list[object]:
    return [
        part.filename, part.content_type, part.size, part.disposition, part.content_id, part.is_dangerous,
    ]  # fmt: skip


def _recipient(found: Recipient) -> list[object]:
    return [found.address, found.source.value, found.confidence.value, found.evidence]


def _plain(value: Any) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value.astimezone(UTC).isoformat() if hasattr(value, "astimezone") else value


def taken(connection: Connection, changes: Sequence[Change]) -> dict[str, str]:
    """Return by message why it may not become what it would be: another one has that identity.

    Two messages are never made one here: what their tickets and people made of them would be lost.
    """
    wanted: dict[tuple[UUID, bytes, bytes], int] = {}
    refused: dict[str, str] = {}
    for change in changes:
        first = wanted.setdefault(change.identity, change.message_id)
        if first != change.message_id:
            refused[str(change.message_id)] = _same_as(first)
    if wanted:
        orgs, fingerprints, signatures = (list(column) for column in zip(*wanted, strict=True))
        values = {"ids": list(wanted.values()), "orgs": orgs, "fingerprints": fingerprints, "signatures": signatures}
        refused |= {str(row.id): _same_as(row.other) for row in connection.execute(_TAKEN, values)}
    return refused


def _same_as(other: int) -> str:
    return f"it would be the same message as {other}: look at both, nothing joins them by itself"


def write(connection: Connection, changes: Sequence[Change]) -> None:
    """Write messages over, set-wise; of what they hold only the kinds that differ."""
    if not changes:
        return
    rows = [message_rows.row_of(change.sighting) for change in changes]
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    values = columns | {"ids": [change.message_id for change in changes], "version": PARSER_VERSION}
    connection.execute(_WRITE, values)
    _replace(connection, changes)
    _write_recipients(connection, [change for change in changes if "recipients" in change.fields])
    for org_id in {change.sighting.org_id for change in changes}:
        moved = [c for c in changes if c.sighting.org_id == org_id and "fingerprint" in c.fields]
        collisions.mark(connection, org_id, [change.identity[1] for change in moved])


def _replace(connection: Connection, changes: Sequence[Change]) -> None:
    """Take out the rows of each kind that differ, and append them as they would be."""
    kinds: tuple[tuple[str, frozenset[str], Callable[[Connection, Sequence[Change]], None]], ...] = (
        ("message_contents", frozenset(_TEXTS), _append_contents),
        ("message_addresses", frozenset({"addresses"}), _append_addresses),
        ("message_references", frozenset({"references"}), _append_references),
        ("attachments", frozenset({"attachments"}), _append_attachments),
    )
    for table, fields, append in kinds:
        some = [change for change in changes if change.fields & fields]
        if some:
            connection.execute(_TAKE_OUT[table], {"ids": [change.message_id for change in some]})
            append(connection, some)


_TAKE_OUT = {
    table: text(f"DELETE FROM {table} WHERE message_id = ANY(CAST(:ids AS bigint[]))")  # noqa: S608 - names below
    for table in ("message_contents", "message_addresses", "message_references", "attachments")
}


def _append_contents(connection: Connection, changes: Sequence[Change]) -> None:
    mails = [(change.message_id, change.sighting.result.parsed) for change in changes]
    rows = [(key, mail.text, mail.html, message_rows.fresh_unless_all(mail)) for key, mail in mails]
    copy_rows(connection, "message_contents", ("message_id", *_TEXTS), rows)


def _append_addresses(connection: Connection, changes: Sequence[Change]) -> None:
    rows = [(c.message_id, *row) for c in changes for row in message_rows.address_rows(c.sighting.result.parsed)]
    copy_rows(connection, "message_addresses", ("message_id", "role", "position", "address", "name"), rows)


def _append_references(connection: Connection, changes: Sequence[Change]) -> None:
    rows = [(c.message_id, *row) for c in changes for row in message_rows.reference_rows(c.sighting.result.parsed)]
    copy_rows(connection, "message_references", ("message_id", "kind", "position", "reference"), rows)


def _append_attachments(connection: Connection, changes: Sequence[Change]) -> None:
    some = [(c.message_id, c.sighting) for c in changes if c.sighting.result.parsed.attachments]
    message_rows.insert_attachments(connection, some)


def _write_recipients(connection: Connection, changes: Sequence[Change]) -> None:
    found = [(key, one) for change in changes for key, one in change.recipients.items()]
    if found:
        values = {
            "ids": [key for key, _ in found],
            "addresses": [one.address for _, one in found],
            "sources": [one.source.value for _, one in found],
            "confidences": [one.confidence.value for _, one in found],
            "evidences": [orjson.dumps(one.evidence).decode() for _, one in found],
        }
        connection.execute(_WRITE_RECIPIENTS, values)
