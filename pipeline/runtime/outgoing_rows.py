"""The rows of outbound messages: written whole, read for sending, marked, settled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import AddressRole, BlobKind, Direction, MachineKind, OutboundKind, OutboundState, ReferenceKind
from pipeline.core import mime
from pipeline.core.composing import Draft, Invitation
from pipeline.core.mime import Parsed
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.db import copy_rows

_MESSAGE = text("""
    INSERT INTO messages (org_id, direction, rfc_message_id, fingerprint, signature, subject, subject_norm,
                          from_address, from_name, dated_at, received_at, snippet, flags, machine, raw_sha256,
                          parser_version)
    VALUES (:org, :direction, :rfc_message_id, :fingerprint, :signature, :subject, :subject_norm, :from_address,
            :from_name, :dated_at, now(), :snippet, CAST(:flags AS text[]), :machine, :raw_sha256, :version)
    RETURNING id
""")
_READ = text("""
    SELECT b.id, b.org_id, b.mailbox_id, b.message_id, b.kind, b.state, b.handed_over, b.handed_over_at, b.created_at,
           b.last_error, now() AS now, i.is_enabled AND i.status = 'verified' AS may_send, l.ticket_id,
           m.rfc_message_id, m.subject, m.from_address, m.from_name, m.dated_at, m.raw_sha256, c.body_text,
           ARRAY(SELECT address FROM message_addresses WHERE message_id = m.id AND role = 'to'
                  ORDER BY position) AS "to",
           ARRAY(SELECT address FROM message_addresses WHERE message_id = m.id AND role = 'cc'
                  ORDER BY position) AS cc,
           (SELECT address FROM message_addresses WHERE message_id = m.id AND role = 'reply_to'
             ORDER BY position LIMIT 1) AS reply_to,
           (SELECT reference FROM message_references WHERE message_id = m.id AND kind = 'in_reply_to'
             ORDER BY position LIMIT 1) AS in_reply_to,
           ARRAY(SELECT reference FROM message_references WHERE message_id = m.id AND kind = 'references'
                  ORDER BY position) AS "references"
      FROM outbound b
      JOIN send_identities i ON i.id = b.identity_id
      JOIN messages m ON m.id = b.message_id
      JOIN message_contents c ON c.message_id = m.id
      LEFT JOIN ticket_messages l ON l.message_id = m.id
     WHERE b.id = ANY(CAST(:ids AS uuid[])) AND b.state IN ('queued', 'sending')
     ORDER BY b.id FOR UPDATE OF b
""")
_MARK = text("""
    UPDATE outbound SET state = 'sending', handed_over = handed_over + 1, handed_over_at = clock_timestamp()
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'queued'
""")
#: Who decided meanwhile is not overruled. What bounced did leave, whoever else could not tell. Whoever ended in doubt
#: or without success may have been at it until now.
_SETTLE = text("""
    UPDATE outbound b SET state = t.state, sent_at = CASE WHEN t.state = 'sent' THEN clock_timestamp() END,
                          provider_id = coalesce(t.provider_id, b.provider_id), last_error = t.said,
                          handed_over_at = CASE WHEN t.state IN ('queued', 'sending') THEN clock_timestamp()
                                                ELSE b.handed_over_at END
      FROM (SELECT u.id, u.provider_id,
                   CASE WHEN u.state = 'unknown' AND x.bounced_at IS NOT NULL THEN 'sent' ELSE u.state END AS state,
                   CASE WHEN u.state = 'unknown' AND x.bounced_at IS NOT NULL THEN NULL ELSE u.said END AS said
              FROM unnest(CAST(:ids AS uuid[]), CAST(:states AS text[]), CAST(:provider_ids AS text[]),
                          CAST(:said AS text[])) AS u(id, state, provider_id, said)
              JOIN outbound x ON x.id = u.id) AS t
     WHERE b.id = t.id AND b.state IN ('queued', 'sending')
    RETURNING b.id, b.state
""")
_RAW = text("""
    UPDATE messages SET raw_sha256 = t.sha256
      FROM unnest(CAST(:ids AS bigint[]), CAST(:hashes AS bytea[])) AS t(id, sha256)
     WHERE messages.id = t.id AND messages.raw_sha256 <> t.sha256
""")


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a message as the blob store has them."""

    raw: bytes
    sha256: bytes
    stored_size: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How an outbound message stands from now on, and what was said to that."""

    outbound_id: UUID
    state: OutboundState
    said: str | None
    provider_id: str | None


def write(connection: Connection, org_id: UUID, kind: OutboundKind, draft: Draft, raw: bytes) -> int:
    """Insert the message of a draft with its parts, as the draft has them; return its id.

    Its fingerprint and signature are those that a copy of its bytes is parsed to.
    """
    row = _message_row(draft, mime.parse(raw), raw)
    row |= {"org": org_id, "machine": None if kind is OutboundKind.REPLY else MachineKind.AUTO_REPLY.value}
    message_id: int = connection.execute(_MESSAGE, row).scalar_one()
    copy_rows(connection, "message_contents", ("message_id", "body_text"), [(message_id, draft.body)])
    columns = ("message_id", "role", "position", "address", "name")
    copy_rows(connection, "message_addresses", columns, [(message_id, *row) for row in _address_rows(draft)])
    references = [(ReferenceKind.IN_REPLY_TO, [draft.in_reply_to] if draft.in_reply_to else [])]
    references.append((ReferenceKind.REFERENCES, list(draft.references)))
    rows = [(message_id, kind.value, at, one) for kind, ids in references for at, one in enumerate(ids)]
    copy_rows(connection, "message_references", ("message_id", "kind", "position", "reference"), rows)
    return message_id


def _message_row(draft: Draft, parsed: Parsed, raw: bytes) -> dict[str, Any]:
    return {
        "direction": Direction.OUTBOUND.value,
        "rfc_message_id": draft.message_id,
        "fingerprint": bytes.fromhex(parsed.fingerprint),
        "signature": bytes.fromhex(parsed.signature),
        "subject": draft.subject,
        "subject_norm": parsed.subject_norm,
        "from_address": draft.from_address,
        "from_name": draft.from_name,
        "dated_at": draft.at,
        "snippet": parsed.snippet,
        "flags": list(parsed.flags),
        "raw_sha256": hashlib.sha256(raw).digest(),
        "version": mime.PARSER_VERSION,
    }


def _address_rows(draft: Draft) -> list[tuple[str, int, str, str]]:
    reply_to = [draft.reply_to] if draft.reply_to else []
    plain = ((AddressRole.TO, draft.to), (AddressRole.CC, draft.cc))
    named = ((AddressRole.FROM, [draft.from_address]), (AddressRole.REPLY_TO, reply_to))
    return [
        *((role.value, at, one, draft.from_name) for role, found in named for at, one in enumerate(found)),
        *((role.value, at, one, "") for role, found in plain for at, one in enumerate(found)),
    ]


def stored_draft(row: Any, proof: str, headers: Sequence[Sequence[str]], invitation: Invitation | None = None) -> Draft:
    """Return the draft that an outbound message's row and its parts describe; the same one that was intended."""
    return Draft(
        message_id=row.rfc_message_id,
        at=row.dated_at,
        from_address=row.from_address,
        from_name=row.from_name,
        to=tuple(row.to),
        cc=tuple(row.cc),
        reply_to=row.reply_to,
        subject=row.subject,
        body=row.body_text,
        in_reply_to=row.in_reply_to,
        references=tuple(row.references),
        proof=proof,
        headers=tuple((name, value) for name, value in headers),
        invitation=invitation,
    )


def read(connection: Connection, outbound_ids: Sequence[UUID]) -> list[Row[Any]]:
    """Return those that are to be sent or were handed over, locked, with all that their bytes are composed from."""
    return list(connection.execute(_READ, {"ids": list(outbound_ids)}))


def mark(connection: Connection, outbound_ids: Sequence[UUID]) -> None:
    """Mark queued messages as handed over; it must be committed before anything leaves."""
    if outbound_ids:
        connection.execute(_MARK, {"ids": list(outbound_ids)})


def settle(connection: Connection, standings: Sequence[Standing]) -> dict[UUID, OutboundState]:
    """Write how messages stand; return those that nobody else decided about meanwhile."""
    values = {
        "ids": [one.outbound_id for one in standings],
        "states": [one.state.value for one in standings],
        "provider_ids": [one.provider_id for one in standings],
        "said": [one.said for one in standings],
    }
    return {row.id: OutboundState(row.state) for row in connection.execute(_SETTLE, values)}


def note_stored(connection: Connection, kept: Sequence[tuple[UUID, int, Stored]]) -> None:
    """Note which bytes (organization, message, bytes) were stored, and that they are their messages'."""
    if not kept:
        return
    blobs = [(org_id, stored.sha256, len(stored.raw), stored.stored_size) for org_id, _, stored in kept]
    note_blobs(connection, BlobKind.RAW, blobs)
    ids = [message_id for _, message_id, _ in kept]
    connection.execute(_RAW, {"ids": ids, "hashes": [stored.sha256 for *_, stored in kept]})
