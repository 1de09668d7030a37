"""Parsing done again: raw mail that is stored, understood with the parser of today."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import BlobKind, Direction
from pipeline.core.mime import PARSER_VERSION, Parsed
from pipeline.core.recipients import Recipient
from pipeline.core.repetition import differences
from pipeline.ports import Ports
from pipeline.runtime import reparsed_rows, stitching
from pipeline.runtime.errors import FieldpostError, ParserDied, Permanent, Transient
from pipeline.runtime.indexing import step
from pipeline.runtime.jobs import Job
from pipeline.runtime.message_rows import Sighting, Understood
from pipeline.runtime.reparsed_rows import Change
from pipeline.runtime.reprocessing import CHANGED, Again, Effects, Run, Subject
from pipeline.runtime.understanding import understand

#: Raw mail that is held at once.
_TOGETHER = 32 * 1024 * 1024
#: Raw mail and stored texts of one chunk, in bytes; what is compared holds a text twice. One message may be larger.
_CHUNK = 32 * 1024 * 1024

#: What we wrote ourselves was never parsed.
_MINE = """
    m.org_id = :org AND m.erased_at IS NULL AND NOT EXISTS (SELECT FROM outbound w WHERE w.message_id = m.id)
    AND (CAST(:mailbox AS uuid) IS NULL
         OR EXISTS (SELECT FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                     WHERE r.message_id = m.id AND o.mailbox_id = :mailbox))
"""
_COUNT = text(f"SELECT count(*) FROM messages m WHERE {_MINE}")  # noqa: S608 - made of the constant above
#: Mail that came after the run began was parsed by the parser of today.
_NEXT = text(f"""
    SELECT m.id, coalesce((SELECT b.size FROM blobs b
                            WHERE b.org_id = m.org_id AND b.kind = 'raw' AND b.sha256 = m.raw_sha256), 0)
                 + coalesce((SELECT 2 * (coalesce(octet_length(c.body_text), 0) + coalesce(octet_length(c.body_html), 0)
                                         + coalesce(octet_length(c.fresh_text), 0))
                               FROM message_contents c WHERE c.message_id = m.id), 0) AS size
      FROM messages m
     WHERE m.id > :after AND m.created_at <= :started_at AND {_MINE}
     ORDER BY m.id LIMIT :limit
""")  # noqa: S608 - made of the constant above
_LOCK = text("SELECT id FROM messages WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE")
_AGREE = text("""
    UPDATE messages SET parser_version = :version
     WHERE id = ANY(CAST(:ids AS bigint[])) AND parser_version < :version
""")


@dataclass(frozen=True, slots=True)
class Found:
    """One sighting of a message: whose mailbox it stands in, under which labels, and where its bytes are."""

    occurrence_id: int
    labels: tuple[str, ...]
    provider: str
    mailbox: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is stored: every parsed value as JSON, its sightings, and its raw bytes' address and size."""

    row: Row[Any]
    values: Mapping[str, object]
    sightings: tuple[Found, ...]

    @property
    def size(self) -> int:
        """Return how many bytes its raw mail has, 0 when that is not known."""
        return int(self.row.size)


class Reparsing:
    """The kind `parse`; its subjects are messages, in the order of their ids."""

    @property
    def version(self) -> int:
        """The parser's version."""
        return PARSER_VERSION

    def count(self, connection: Connection, org_id: UUID, mailbox_id: UUID | None) -> int:
        """Return how many messages there are to parse again."""
        return int(connection.execute(_COUNT, {"org": org_id, "mailbox": mailbox_id}).scalar_one())

    def load(self, connection: Connection, run: Run, limit: int) -> Sequence[Subject]:
        """Return the next messages as they are stored."""
        values = {"org": run.org_id, "mailbox": run.mailbox_id, "started_at": run.started_at, "limit": limit}
        ids = list(_first(connection.execute(_NEXT, values | {"after": int(run.position or 0)})))
        return [Subject(str(message_id), one) for message_id, one in _stored(connection, ids).items()]

    def work(
        self, subjects: Sequence[Subject], ports: Ports, *, stores: bool, isolated: bool
    ) -> Sequence[Again | Exception]:
        """Parse each message again from its raw bytes; the provider is not asked for anything."""
        how = _How(ports, stores=stores, isolated=isolated)
        return [outcome for some in _bounded(subjects) for outcome in _work(some, how)]

    def apply(self, connection: Connection, run: Run, changed: Sequence[tuple[Subject, Again]], job: Job) -> Effects:
        """Write what the parser makes of them now, have them indexed, and let answers to a newly read id find it."""
        ids = [int(subject.key) for subject, _ in changed]
        if not ids:
            return Effects()
        stitching.lock(connection, run.org_id)
        connection.execute(_LOCK, {"ids": ids})
        now = _stored(connection, ids)
        refused = {
            subject.key: CHANGED
            for subject, _ in changed
            if int(subject.key) not in now or now[int(subject.key)].values != subject.loaded.values
        }
        changes = [again.effect for subject, again in changed if subject.key not in refused]
        refused |= reparsed_rows.taken(connection, changes)
        changes = [change for change in changes if str(change.message_id) not in refused]
        reparsed_rows.write(connection, changes)
        stitching.register_all(connection, run.org_id, [change.message_id for change in changes])
        return Effects(refused, [step(job, change.message_id) for change in changes])

    def agree(self, connection: Connection, run: Run, keys: Sequence[str]) -> None:
        """Note the parser's version on messages that it would understand the same."""
        if keys:
            connection.execute(_AGREE, {"ids": [int(key) for key in keys], "version": run.version})


@dataclass(frozen=True, slots=True)
class _How:
    """With what mails are parsed, whether their attachments are stored, and whether each is read apart."""

    ports: Ports
    stores: bool
    isolated: bool


def _first(rows: Iterable[Row[Any]]) -> Iterator[int]:
    """Return the ids of the first rows that fit into a chunk, at least one."""
    size = 0
    for row in rows:
        if size and size + row.size > _CHUNK:
            return
        size += max(1, row.size)
        yield row.id


def _stored(connection: Connection, ids: Sequence[int]) -> dict[int, Stored]:
    found: dict[int, Stored] = {}
    for row in reparsed_rows.read(connection, ids) if ids else ():
        sightings = tuple(
            Found(one["id"], tuple(one["labels"]), one["provider"], one["mailbox"], bytes.fromhex(one["sha256"]))
            for one in row.sightings or ()
        )
        found[row.id] = Stored(row, reparsed_rows.values_of(row), sightings)
    return found


def _bounded(subjects: Sequence[Subject]) -> Iterator[list[Subject]]:
    together: list[Subject] = []
    size = 0
    for subject in subjects:
        if together and size + subject.loaded.size > _TOGETHER:
            yield together
            together, size = [], 0
        together.append(subject)
        size += subject.loaded.size
    if together:
        yield together


def _work(subjects: Sequence[Subject], how: _How) -> list[Again | Exception]:
    contents = _contents(sorted({subject.loaded.row.raw_sha256.hex() for subject in subjects}), how.ports)
    outcomes: list[Again | Exception] = []
    for subject in subjects:
        try:
            outcomes.append(_again(subject.loaded, contents, how))
        except Exception as error:
            if isinstance(error, Transient) and not isinstance(error, ParserDied):
                raise  # the store is away: the chunk is tried again
            outcomes.append(error)  # one hostile mail is that mail's outcome
    return outcomes


def _contents(names: Sequence[str], ports: Ports) -> Mapping[str, bytes]:
    """Return the raw mails by hash, without what is damaged or absent."""
    try:
        return ports.blobs.get(BlobKind.RAW, names)
    except Permanent:
        if len(names) == 1:
            return {}
    return {name: content for one in names for name, content in _contents([one], ports).items()}


def _again(stored: Stored, contents: Mapping[str, bytes], how: _How) -> Again:
    """Understand a message from the bytes it was made of, and its recipients from each sighting's own."""
    own = stored.row.raw_sha256
    mail = _parsed(own, contents, stored, how)
    payloads = {part.sha256: part.payload for part in mail.attachments}
    sizes = how.ports.blobs.put(BlobKind.ATTACHMENT, payloads) if how.stores and payloads else {}
    found: dict[int, Recipient] = {}
    result: Understood | None = None
    first = next((one for one in stored.sightings if one.sha256 == own), None)
    for sha256, sightings in _by_raw(stored).items():
        # One copy after the other: a mail that went to many mailboxes has as many.
        copy = mail if sha256 == own else _parsed(sha256, _contents([sha256.hex()], how.ports), stored, how)
        for one in sightings:
            seen = _seen(copy, one, sizes, how.ports)
            found[one.occurrence_id] = seen.parsed.recipient
            result = seen if one is first else result
    light = _light(result or _unseen(mail, stored, sizes, how.ports))
    sighting = Sighting(first.occurrence_id if first else 0, stored.row.org_id, own, stored.row.received_at, light)
    change = Change(stored.row.id, sighting, found)
    changes = differences(stored.values, reparsed_rows.new_values(change))
    # The whole message is held only where it is written.
    return Again(changes, replace(change, fields=frozenset(changes)) if how.stores and changes else None)


def _by_raw(stored: Stored) -> dict[bytes, list[Found]]:
    found: dict[bytes, list[Found]] = {}
    for one in stored.sightings:
        found.setdefault(one.sha256, []).append(one)
    return found


def _seen(mail: Parsed, at: Found, sizes: Mapping[str, int], ports: Ports) -> Understood:
    return understand(
        mail, mailbox=at.mailbox, provider=at.provider, labels=at.labels, stored=sizes, tokens=ports.reply_tokens
    )


def _unseen(mail: Parsed, stored: Stored, sizes: Mapping[str, int], ports: Ports) -> Understood:
    """Understand a message whose sighting is gone: which way it travelled stays as it was known."""
    found = understand(mail, mailbox="", provider="", labels=(), stored=sizes, tokens=ports.reply_tokens)
    return replace(found, direction=Direction(stored.row.direction))


def _light(done: Understood) -> Understood:
    """Let go of the contents, which are in the blob store when they are needed."""
    parts = tuple(replace(part, payload=b"") for part in done.parsed.attachments)
    return replace(done, parsed=replace(done.parsed, attachments=parts))


def _parsed(sha256: bytes, contents: Mapping[str, bytes], stored: Stored, how: _How) -> Parsed:
    raw = contents.get(sha256.hex())
    if raw is None or hashlib.sha256(raw).digest() != sha256:
        raise MissingRaw(f"the raw message {sha256.hex()} is not in the blob store")
    # What killed its reader once is read apart.
    return how.ports.parser.parse(raw, isolated=how.isolated or "poison_mail" in stored.row.flags)


class MissingRaw(FieldpostError):
    """A message cannot be parsed again without its raw bytes."""
