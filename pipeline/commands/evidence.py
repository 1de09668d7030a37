"""Evidence of field work: added, uploaded, withdrawn, and given up; what is there stays for the record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from models.enums import BlobKind
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Refused
from pipeline.commands.evidence_arguments import (
    FROZEN,
    HAS_ROOM,
    MAY_ADD,
    NAMED,
    OURS,
    PROMISE,
    AddEvidence,
    UploadEvidence,
    Waiver,
    WithdrawEvidence,
    by_one_who_was_sent,
    has_room,
    is_awaited,
    named_counts,
    not_frozen,
    store_is_taken,
)
from pipeline.commands.field import not_merged, ticket_target
from pipeline.core.evidence import our_hash, our_uri
from pipeline.core.field_work import FieldTicket
from pipeline.core.refusing import Refusal
from pipeline.core.written import plain
from pipeline.runtime import evidence_rows, field_rows
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.errors import BeingErased
from pipeline.runtime.evidence_rows import NewPiece

_ADDED = "closeout.add_evidence"
_UPLOADED = "closeout.upload_evidence"


def described(row: Row[Any]) -> dict[str, Any]:
    """Return a piece of evidence as contract 000 serves it, and what became of it."""
    metadata = dict(row.metadata)
    if row.evidence_key is not None:
        metadata["evidence_key"] = row.evidence_key
    return {
        "id": str(row.id),
        "ticket_id": str(row.ticket_id),
        "kind": row.kind,
        "uri": row.uri,
        "note": row.note,
        "evidence_key": row.evidence_key,
        "checksum": row.checksum,
        "metadata": metadata,
        "sha256": row.sha256,
        "size": row.size,
        "content_type": row.content_type,
        "taken_at": metadata.get("taken_at"),
        "position": metadata.get("position"),
        "has_thumbnail": row.thumbnail_sha256 is not None,
        "check": row.check_state,
        "status": _status(row),
        "superseded_by_id": plain(row.superseded_by_id),
        "withdrawn_at": plain(row.withdrawn_at),
        "withdrawn_by": row.withdrawn_by,
        "withdrawn_because": row.withdrawn_because,
        "created_by": row.created_by,
        "created_at": plain(row.created_at),
    }


def _look(connection: Connection, ask: Ask[Any], ticket: FieldTicket) -> Mapping[str, Any]:
    """Look up what every gate over evidence asks."""
    named = getattr(ask.arguments, "evidence_id", None) or getattr(ask.arguments, "supersedes_id", None)
    return {
        FROZEN: evidence_rows.is_frozen(connection, ticket),
        MAY_ADD: evidence_rows.may_add(connection, ticket, ask.principal),
        HAS_ROOM: evidence_rows.has_room(connection, ticket.ticket_id),
        NAMED: evidence_rows.find(connection, ticket.ticket_id, named) if named else None,
    }


def _look_for_bytes(connection: Connection, ask: Ask[AddEvidence], ticket: FieldTicket) -> Mapping[str, Any]:
    sha256 = our_hash(ask.arguments.uri or "")
    found = evidence_rows.same(connection, ticket.ticket_id, sha256) if sha256 else ()
    ours = next((row for row in found if row.sha256 == sha256), None)
    return {**_look(connection, ask, ticket), OURS: ours}


def _look_for_promise(connection: Connection, ask: Ask[Waiver], ticket: FieldTicket) -> Mapping[str, Any]:
    made = evidence_rows.promises(connection, ticket.ticket_id)
    found = next((one for one in made if one.sha256 == ask.arguments.sha256), None)
    return {FROZEN: evidence_rows.is_frozen(connection, ticket), PROMISE: found}


def _add(connection: Connection, ask: Ask[AddEvidence], ticket: FieldTicket) -> Effect:
    asked, ours, old = ask.arguments, ticket.known[OURS], ticket.known[NAMED]
    piece = NewPiece(
        kind=asked.kind,
        uri=asked.uri,
        note=asked.note,
        evidence_key=asked.key or (old.evidence_key if old else None),
        checksum=asked.checksum or (ours.checksum if ours else None),
        metadata={name: value for name, value in asked.metadata.items() if name != "evidence_key"},
        sha256=ours.sha256 if ours else None,
        thumbnail_sha256=ours.thumbnail_sha256 if ours else None,
        size=ours.size if ours else None,
        content_type=ours.content_type if ours else None,
    )
    return _added(connection, ask, ticket, piece, name=_ADDED, old=old)


def _upload(connection: Connection, ask: Ask[UploadEvidence], ticket: FieldTicket) -> Effect:
    asked, old = ask.arguments, ticket.known[NAMED]
    _note_bytes(connection, ticket, asked)
    hashes = [asked.received_sha256, asked.sha256]
    key = (
        asked.evidence_key
        or evidence_rows.promised_key(connection, ticket.ticket_id, hashes)
        or (old.evidence_key if old else None)
    )
    again = evidence_rows.same(connection, ticket.ticket_id, asked.sha256)
    found = next((row for row in again if key is None or row.evidence_key == key), None)
    if found is not None and (old is None or old.id == found.id):
        return Effect(described(found), version=ticket.version, details={"evidence_id": found.id, "is_again": True})
    piece = NewPiece(
        kind=asked.kind,
        uri=our_uri(asked.sha256),
        evidence_key=key,
        checksum=asked.received_sha256,
        metadata=_facts(asked),
        sha256=asked.sha256,
        thumbnail_sha256=asked.thumbnail_sha256,
        size=asked.size,
        content_type=asked.content_type,
    )
    return _added(connection, ask, ticket, piece, name=_UPLOADED, old=old)


def _added(
    connection: Connection, ask: Ask[Any], ticket: FieldTicket, piece: NewPiece, *, name: str, old: Row[Any] | None
) -> Effect:
    row = evidence_rows.add(connection, ticket, piece, ask.principal, old.id if old else None)
    details = {"evidence_id": row.id, "kind": row.kind, "evidence_key": row.evidence_key}
    details |= {"supersedes_id": old.id} if old else {}
    _tell(connection, ask, ticket, name, details)
    return Effect(described(row), status=201, version=ticket.version, details=details)


def _withdraw(connection: Connection, ask: Ask[WithdrawEvidence], ticket: FieldTicket) -> Effect:
    asked = ask.arguments
    by = ask.principal.actor_id
    row = evidence_rows.withdraw(connection, ticket, asked.evidence_id, by, asked.reason)
    details = {"evidence_id": row.id, "evidence_key": row.evidence_key, "reason": asked.reason}
    _tell(connection, ask, ticket, "evidence.withdraw", details)
    return Effect(described(row), version=ticket.version, details=details)


def _waive(connection: Connection, ask: Ask[Waiver], ticket: FieldTicket) -> Effect:
    asked, promised = ask.arguments, ticket.known[PROMISE]
    evidence_rows.waive(connection, ticket, asked.sha256, ask.principal.actor_id, asked.reason)
    left = evidence_rows.outstanding(connection, ticket.ticket_id)
    facts = {"sha256": asked.sha256, "evidence_key": promised.evidence_key, "reason": asked.reason}
    _tell(connection, ask, ticket, "evidence.waive", facts)
    body = {"ticket_id": str(ticket.ticket_id), **facts, "evidence_outstanding": left}
    return Effect(body, version=ticket.version, details=facts)


def _note_bytes(connection: Connection, ticket: FieldTicket, asked: UploadEvidence) -> None:
    """Hold on to bytes that were stored before this transaction: something else may be erasing the same ones."""
    rows = [(ticket.org_id, bytes.fromhex(asked.sha256), asked.size, asked.packed_size)]
    if asked.thumbnail_sha256:
        small = bytes.fromhex(asked.thumbnail_sha256)
        rows.append((ticket.org_id, small, asked.thumbnail_size, asked.thumbnail_packed_size))
    try:
        note_blobs(connection, BlobKind.EVIDENCE, rows)
    except BeingErased:
        said = "the same file is being erased just now; upload it again in a moment"
        raise Refused(Refusal("EVIDENCE_BEING_ERASED", said)) from None


def _facts(asked: UploadEvidence) -> dict[str, Any]:
    found = {
        "label": asked.label or None,
        "width": asked.width,
        "height": asked.height,
        "taken_at": plain(asked.taken_at),
        "position": asked.position,
    }
    return {name: value for name, value in found.items() if value is not None}


def _tell(connection: Connection, ask: Ask[Any], ticket: FieldTicket, kind: str, data: Mapping[str, Any]) -> None:
    field_rows.tell(connection, ticket, kind, data, actor=ask.principal.email, trace_id=ask.trace_id)


def _status(row: Row[Any]) -> str:
    if row.withdrawn_at is not None:
        return "withdrawn"
    return "current" if row.superseded_by_id is None else "superseded"


_GATES = (not_merged, not_frozen, by_one_who_was_sent)
ADD = Command(
    name=_ADDED,
    about="Adds evidence to a ticket: a reference into an object store, or a note.",
    arguments=AddEvidence,
    permission=Permission.ADD_EVIDENCE,
    target=ticket_target(_look_for_bytes),
    gates=(*_GATES, has_room, store_is_taken, named_counts),
    effect=_add,
    needs_key=True,
)
#: Sent again it is the same piece, with or without a key.
UPLOAD = Command(
    name=_UPLOADED,
    about="Adds an uploaded file to a ticket's evidence; the same bytes twice are one piece.",
    arguments=UploadEvidence,
    permission=Permission.ADD_EVIDENCE,
    target=ticket_target(_look),
    gates=(*_GATES, has_room, named_counts),
    effect=_upload,
)
WITHDRAW = Command(
    name="evidence.withdraw",
    about="Lets a piece of evidence count for nothing any more.",
    arguments=WithdrawEvidence,
    permission=Permission.ADD_EVIDENCE,
    target=ticket_target(_look),
    gates=(*_GATES, named_counts),
    effect=_withdraw,
    needs_key=True,
)
WAIVE = Command(
    name="evidence.waive",
    about="Does without a promised piece of evidence that will not come.",
    arguments=Waiver,
    permission=Permission.ASSIGNMENT_DISPATCH,
    target=ticket_target(_look_for_promise),
    gates=(not_merged, not_frozen, is_awaited),
    effect=_waive,
    needs_key=True,
)
COMMANDS = (ADD, UPLOAD, WITHDRAW, WAIVE)
