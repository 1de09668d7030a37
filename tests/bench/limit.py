"""The limit: the same mail parsed by the same parser into the same tables and blobs, as fast as one loop can.

No queue, no states, no tickets, nothing anybody could resume after a crash: one process per core reads its part of the
mail, stores the raw bytes, parses, and appends the rows of each 200 messages by COPY in one transaction.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import orjson
from sqlalchemy import Connection

from models.enums import AddressRole, BlobKind, Direction, ReferenceKind
from pipeline.adapters.blobs import open_blob_store
from pipeline.adapters.files import FileSource
from pipeline.core import machines, mime
from pipeline.ports import BlobStore, Fetched
from pipeline.runtime.db import Database, copy_rows
from tests.bench.children import MARK, NEXT

_BATCH = 200

_OCCURRENCE = ("id", "org_id", "mailbox_id", "provider_id", "state", "internal_at", "raw_sha256", "message_id")
_MESSAGE = (
    "id", "org_id", "direction", "rfc_message_id", "fingerprint", "signature", "subject", "subject_norm",
    "from_address", "from_name", "dated_at", "received_at", "snippet", "flags", "machine", "raw_sha256",
    "parser_version",
)  # fmt: skip
_ATTACHMENT = (
    "org_id", "message_id", "position", "sha256", "filename", "content_type", "size", "disposition", "content_id",
)  # fmt: skip
_TABLES = {
    "blobs": ("org_id", "kind", "sha256", "size", "stored_size"),
    "messages": _MESSAGE,
    "message_contents": ("message_id", "body_text", "body_html"),
    "message_addresses": ("message_id", "role", "position", "address", "name"),
    "message_references": ("message_id", "kind", "position", "reference"),
    "attachments": _ATTACHMENT,
    "occurrences": _OCCURRENCE,
    "occurrence_recipients": ("occurrence_id", "address", "source", "confidence", "evidence"),
}

Rows = dict[str, list[tuple[object, ...]]]


@dataclass(slots=True)
class Filler:
    """One process's part: its organization and mailbox, where its ids begin, and what it has written already."""

    org_id: UUID
    mailbox_id: UUID
    next_id: int
    blobs: BlobStore
    known_blobs: set[tuple[str, str]] = field(default_factory=set)
    known_messages: dict[tuple[str, str], int] = field(default_factory=dict)

    def rows(self, batch: Sequence[Fetched]) -> Rows:
        """Store the blobs of a batch; return its rows by table."""
        rows: Rows = {name: [] for name in _TABLES}
        raws = {hashlib.sha256(mail.raw).hexdigest(): mail for mail in batch}
        self._store(rows, BlobKind.RAW, {sha256: mail.raw for sha256, mail in raws.items()})
        parsed = {sha256: found for sha256, mail in raws.items() if (found := _parsed(mail.raw)) is not None}
        parts = {part.sha256: part.payload for mail in parsed.values() for part in mail.attachments}
        self._store(rows, BlobKind.ATTACHMENT, parts)
        for sha256, mail in raws.items():
            self._add(rows, sha256, mail, parsed.get(sha256))
        return rows

    def _store(self, rows: Rows, kind: BlobKind, contents: Mapping[str, bytes]) -> None:
        fresh = {sha256: content for sha256, content in contents.items() if (kind, sha256) not in self.known_blobs}
        stored = self.blobs.put(kind, fresh) if fresh else {}
        for sha256, content in fresh.items():
            self.known_blobs.add((kind, sha256))
            rows["blobs"].append((self.org_id, kind.value, bytes.fromhex(sha256), len(content), stored[sha256]))

    def _add(self, rows: Rows, sha256: str, mail: Fetched, parsed: mime.Parsed | None) -> None:
        own_id, self.next_id = self.next_id, self.next_id + 1
        received_at = mail.internal_at or datetime.now(UTC)  # noqa: TID251 - a benchmark of its own clock
        message_id = None
        if parsed is not None:
            identity = (parsed.fingerprint, parsed.signature)
            message_id = self.known_messages.setdefault(identity, own_id)
            if message_id == own_id:
                rows["messages"].append(_message(own_id, self.org_id, parsed, received_at, sha256))
                _add_parts(rows, own_id, self.org_id, parsed)
            found = parsed.recipient
            evidence = orjson.dumps(found.evidence).decode()
            recipient = (own_id, found.address, found.source.value, found.confidence.value, evidence)
            rows["occurrence_recipients"].append(recipient)
        state = "quarantined" if message_id is None else "routed"
        place = (own_id, self.org_id, self.mailbox_id, mail.provider_id, state)
        rows["occurrences"].append((*place, received_at, bytes.fromhex(sha256), message_id))


def _parsed(raw: bytes) -> mime.Parsed | None:
    try:
        return mime.parse(raw)
    except mime.Unreadable:
        return None


def _message(own_id: int, org_id: UUID, parsed: mime.Parsed, received_at: datetime, sha256: str) -> tuple[object, ...]:
    sender = parsed.from_[0] if parsed.from_ else None
    marker = machines.classify(parsed.headers, sender.address if sender else None, parsed.subject, ())
    return (
        own_id, org_id, Direction.INBOUND.value, parsed.message_id, bytes.fromhex(parsed.fingerprint),
        bytes.fromhex(parsed.signature), parsed.subject, parsed.subject_norm, sender.address if sender else None,
        sender.name if sender else None, parsed.date, received_at, parsed.snippet, list(parsed.flags),
        None if marker is None else marker.kind.value, bytes.fromhex(sha256), mime.PARSER_VERSION,
    )  # fmt: skip


def _add_parts(rows: Rows, own_id: int, org_id: UUID, parsed: mime.Parsed) -> None:
    rows["message_contents"].append((own_id, parsed.text, parsed.html))
    people = (
        (AddressRole.FROM, parsed.from_), (AddressRole.TO, parsed.to), (AddressRole.CC, parsed.cc),
        (AddressRole.REPLY_TO, parsed.reply_to),
    )  # fmt: skip
    rows["message_addresses"] += [
        (own_id, role.value, position, one.address, one.name)
        for role, found in people
        for position, one in enumerate(found)
    ]
    named = ((ReferenceKind.IN_REPLY_TO, parsed.in_reply_to), (ReferenceKind.REFERENCES, parsed.references))
    rows["message_references"] += [
        (own_id, kind.value, position, reference) for kind, ids in named for position, reference in enumerate(ids)
    ]
    rows["attachments"] += [
        (org_id, own_id, position, bytes.fromhex(part.sha256), part.filename, part.content_type, part.size,
         part.disposition, part.content_id)
        for position, part in enumerate(parsed.attachments)
    ]  # fmt: skip


def _batches(source: FileSource) -> Iterator[list[Fetched]]:
    cursor: str | None = None
    while True:
        page = source.list_page(cursor, limit=_BATCH)
        yield [found for found in source.fetch(page.items) if isinstance(found, Fetched)]
        cursor = page.next_cursor
        if cursor is None:
            return


def _write(connection: Connection, rows: Rows) -> None:
    for table, columns in _TABLES.items():
        copy_rows(connection, table, columns, rows[table])


def main() -> int:
    """Say that all is ready, wait for SIGUSR1, do the part, and say how many messages were done and when."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {NEXT, signal.SIGTERM})
    options = _options()
    filler = Filler(options.org, options.mailbox, options.first_id, open_blob_store(options.blobs))
    done = 0
    with (
        closing(Database(options.database, "limit", pool_size=1)) as db,
        closing(FileSource([options.part], options.spool)) as source,
    ):
        db.check()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        print(MARK + json.dumps({"ready": True}), flush=True)
        signal.sigwait({NEXT})
        for batch in _batches(source):
            rows = filler.rows(batch)
            with db.begin() as connection:
                _write(connection, rows)
            done += len(batch)
        print(MARK + json.dumps({"messages": done, "at": time.monotonic()}), flush=True)
        signal.sigwait({NEXT, signal.SIGTERM})
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limit")
    for name, kind in (("database", str), ("blobs", str), ("part", Path), ("spool", Path), ("org", UUID)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--mailbox", type=UUID, required=True)
    parser.add_argument("--first-id", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
