"""Parsing done again: raw mail that is stored, understood with the parser of today."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import BlobKind, Direction
from pipeline.core.mime import PARSER_VERSION, Parsed
from pipeline.core.repetition import differences
from pipeline.ports import Ports
from pipeline.runtime import reparsed_rows
from pipeline.runtime.errors import FieldpostError, ParserDied, Permanent, Transient
from pipeline.runtime.indexing import step
from pipeline.runtime.jobs import Job
from pipeline.runtime.message_rows import Sighting, Understood
from pipeline.runtime.reparsed_rows import Change
from pipeline.runtime.reprocessing import CHANGED, Again, Effects, Run, Subject
from pipeline.runtime.understanding import understand

#: Raw mail that is held at once.
_TOGETHER = 32 * 1024 * 1024

#: What we wrote ourselves was never parsed.
_MINE = """
    m.org_id = :org AND NOT EXISTS (SELECT FROM outbound w WHERE w.message_id = m.id)
    AND (CAST(:mailbox AS uuid) IS NULL
         OR EXISTS (SELECT FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                     WHERE r.message_id = m.id AND o.mailbox_id = :mailbox))
"""
_COUNT = text(f"SELECT count(*) FROM messages m WHERE {_MINE}")  # noqa: S608 - made of the constant above
#: Mail that came after the run began was parsed by the parser of today.
_NEXT = text(f"""
    SELECT m.id FROM messages m
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
        """Return how many bytes its raw mails have together, as far as they are known."""
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
        ids = connection.execute(_NEXT, values | {"after": int(run.position or 0)}).scalars().all()
        return [Subject(str(message_id), one) for message_id, one in _stored(connection, ids).items()]

    def work(self, subjects: Sequence[Subject], ports: Ports, *, stores: bool) -> Sequence[Again | Exception]:
        """Parse each message again from its raw bytes; the provider is not asked for anything."""
        return [outcome for some in _bounded(subjects) for outcome in _work(some, ports, stores=stores)]

    def apply(self, connection: Connection, _: Run, changed: Sequence[tuple[Subject, Again]], job: Job) -> Effects:
        """Write what the parser makes of them now, and have them indexed again."""
        ids = [int(subject.key) for subject, _ in changed]
        if not ids:
            return Effects()
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
        return Effects(refused, [step(job, change.message_id) for change in changes])

    def agree(self, connection: Connection, _: Run, keys: Sequence[str]) -> None:
        """Note the parser's version on messages that it would understand the same."""
        if keys:
            connection.execute(_AGREE, {"ids": [int(key) for key in keys], "version": PARSER_VERSION})


def _stored(connection: Connection, ids: Sequence[int]) -> dict[int, Stored]:
    found: dict[int, Stored] = {}
    for row in reparsed_rows.read(connection, ids) if ids else ():
        sightings = tuple(
            Found(one["id"], tuple(one["labels"]), one["mailbox"], bytes.fromhex(one["sha256"]))
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


def _work(subjects: Sequence[Subject], ports: Ports, *, stores: bool) -> list[Again | Exception]:
    names = {one.sha256.hex() for subject in subjects for one in subject.loaded.sightings}
    names |= {subject.loaded.row.raw_sha256.hex() for subject in subjects}
    contents = _contents(sorted(names), ports)
    outcomes: list[Again | Exception] = []
    for subject in subjects:
        try:
            outcomes.append(_again(subject.loaded, contents, ports, stores=stores))
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


def _again(stored: Stored, contents: Mapping[str, bytes], ports: Ports, *, stores: bool) -> Again:
    """Understand a message from the bytes it was made of, and its recipients from each sighting's own."""
    own = stored.row.raw_sha256
    # What killed its reader once is read apart.
    mails = {own: _parsed(own, contents, ports, isolated="poison_mail" in stored.row.flags)}
    for sha256 in {one.sha256 for one in stored.sightings} - {own}:
        mails[sha256] = _parsed(sha256, contents, ports, isolated=False)
    payloads = {part.sha256: part.payload for part in mails[own].attachments}
    sizes = ports.blobs.put(BlobKind.ATTACHMENT, payloads) if stores and payloads else {}
    seen = {
        one.occurrence_id: understand(
            mails[one.sha256], mailbox=one.mailbox, labels=one.labels, stored=sizes, tokens=ports.reply_tokens
        )
        for one in stored.sightings
    }
    first = next((one for one in stored.sightings if one.sha256 == own), None)
    result = seen[first.occurrence_id] if first else _unseen(mails[own], stored, sizes, ports)
    sighting = Sighting(
        first.occurrence_id if first else 0, stored.row.org_id, own, stored.row.received_at, _light(result)
    )
    change = Change(stored.row.id, sighting, {key: done.parsed.recipient for key, done in seen.items()})
    changes = differences(stored.values, reparsed_rows.new_values(change))
    return Again(changes, replace(change, fields=frozenset(changes)))


def _unseen(mail: Parsed, stored: Stored, sizes: Mapping[str, int], ports: Ports) -> Understood:
    """Understand a message whose sighting is gone: which way it travelled stays as it was known."""
    found = understand(mail, mailbox="", labels=(), stored=sizes, tokens=ports.reply_tokens)
    return replace(found, direction=Direction(stored.row.direction))


def _light(done: Understood) -> Understood:
    """Let go of the contents, which are in the blob store when they are needed."""
    parts = tuple(replace(part, payload=b"") for part in done.parsed.attachments)
    return replace(done, parsed=replace(done.parsed, attachments=parts))


def _parsed(sha256: bytes, contents: Mapping[str, bytes], ports: Ports, *, isolated: bool) -> Parsed:
    raw = contents.get(sha256.hex())
    if raw is None or hashlib.sha256(raw).digest() != sha256:
        raise MissingRaw(f"the raw message {sha256.hex()} is not in the blob store")
    return ports.parser.parse(raw, isolated=isolated)


class MissingRaw(FieldpostError):
    """A message cannot be parsed again without its raw bytes."""
