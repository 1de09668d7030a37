"""The search index: what is read of a message for it, and its rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import AddressRole, ExtractionState, Lane
from pipeline.core import extraction, search_terms
from pipeline.core.extraction import Extracted
from pipeline.core.search_words import words
from pipeline.runtime.jobs import Emit, Job

#: Written on every row; a new number makes messages worth indexing again (`fieldpost search --reindex`).
INDEX_VERSION = 1
#: Bytes of words: PostgreSQL refuses a document of more than 1,048,575 bytes (reliability, section 4). Each word takes
#: itself, up to one byte to align, and four for its place: twice its text at most. Exact terms have no place and take
#: their text. Twice the one and the other together always fit.
DOCUMENT_LIMIT, EXACT_LIMIT = 430_000, 160_000
_SUBJECT_LIMIT, _PEOPLE_LIMIT, _BODY_LIMIT = 4_000, 40_000, 350_000
#: Whoever wrote the mail comes first.
_MOST_PEOPLE = 500
#: Bytes of text that a batch holds at once: what it was loaded from, and the documents that are made of it.
PORTION = 16 * 1024 * 1024

#: Sizes are known without reading the texts (`octet_length` looks at the head of a value only).
_SIZES = text("""
    SELECT m.id, m.org_id, least(octet_length(c.body_text), 4 * :body) AS body,
           (SELECT coalesce(sum(octet_length(a.address) + octet_length(a.name) + 200), 0) FROM message_addresses a
             WHERE a.message_id = m.id AND a.position < :people) AS people
      FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS t(id, turn)
      JOIN messages m ON m.id = t.id AND m.erased_at IS NULL JOIN message_contents c ON c.message_id = m.id
     ORDER BY t.turn
""")
_LOAD = text("""
    SELECT m.id, m.org_id, m.received_at, m.subject, left(c.body_text, :body) AS body,
           ARRAY(SELECT ARRAY[a.role, a.address, a.name] FROM message_addresses a
                  WHERE a.message_id = m.id AND a.position < :people
                  ORDER BY a.role NOT IN ('from', 'reply_to'), a.role, a.position LIMIT :people) AS people
      FROM messages m JOIN message_contents c ON c.message_id = m.id
     WHERE m.id = ANY(CAST(:ids AS bigint[])) AND m.erased_at IS NULL
""")
_ATTACHMENTS = text("""
    SELECT a.message_id, a.org_id, a.sha256, a.filename, a.content_type, a.size, a.is_quarantined,
           x.state, coalesce(octet_length(x.content), 0) AS length
      FROM attachments a
      LEFT JOIN attachment_texts x ON x.org_id = a.org_id AND x.sha256 = a.sha256 AND x.version >= :version
     WHERE a.message_id = ANY(CAST(:ids AS bigint[])) AND a.position < 100
     ORDER BY a.message_id, a.position
""")
_TEXTS = text("""
    SELECT x.org_id, x.sha256, x.state, x.content
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:hashes AS bytea[])) AS t(org_id, sha256)
      JOIN attachment_texts x USING (org_id, sha256)
""")
#: Several jobs may hold the same attachment: whoever read it with the newest version stays.
_KEEP_TEXTS = text("""
    INSERT INTO attachment_texts (org_id, sha256, state, content, version)
    SELECT org_id, sha256, state, content, :version
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:hashes AS bytea[]), CAST(:states AS text[]), CAST(:contents AS text[]))
        AS t(org_id, sha256, state, content)
     WHERE EXISTS (SELECT FROM attachments a WHERE a.org_id = t.org_id AND a.sha256 = t.sha256)
     ORDER BY org_id, sha256
        ON CONFLICT (org_id, sha256) DO UPDATE
       SET state = excluded.state, content = excluded.content, version = excluded.version
     WHERE attachment_texts.version < excluded.version
""")
#: What was forgotten since it was read stays so: whoever forgets waits for this lock, or has done.
_STILL_THERE = text("""
    SELECT id FROM messages WHERE id = ANY(CAST(:ids AS bigint[])) AND erased_at IS NULL ORDER BY id FOR SHARE
""")
_INDEX = text("""
    INSERT INTO message_search (message_id, org_id, received_at, document, version)
    SELECT id, org_id, received_at,
           setweight(to_tsvector('simple', subject), 'A') || setweight(to_tsvector('simple', people), 'B')
           || setweight(to_tsvector('simple', body), 'C') || setweight(to_tsvector('simple', files), 'D')
           || array_to_tsvector(string_to_array(exact, chr(31))), :version
      FROM unnest(CAST(:ids AS bigint[]), CAST(:orgs AS uuid[]), CAST(:times AS timestamptz[]),
                  CAST(:subjects AS text[]), CAST(:people AS text[]), CAST(:bodies AS text[]), CAST(:files AS text[]),
                  CAST(:exact AS text[]))
        AS t(id, org_id, received_at, subject, people, body, files, exact)
     ORDER BY id
        ON CONFLICT (message_id) DO UPDATE
       SET document = excluded.document, received_at = excluded.received_at, version = excluded.version
""")
#: In the order of their ids, oldest first; a mailbox where it was seen keeps the lane's fairness.
_REINDEX = text("""
    WITH old AS (
        SELECT m.id, m.org_id
          FROM messages m LEFT JOIN message_search s ON s.message_id = m.id
         WHERE m.id > :after AND (CAST(:org AS uuid) IS NULL OR m.org_id = :org)
           AND (s.message_id IS NULL OR s.version < :version)
           AND EXISTS (SELECT FROM message_contents c WHERE c.message_id = m.id)
         ORDER BY m.id LIMIT :limit
    ), asked AS (
        INSERT INTO jobs (stage, key, org_id, lane, place, trace_id, state, run_at)
        SELECT 'index', CAST(id AS text), org_id, :lane, 0, md5(CAST(gen_random_uuid() AS text)), 'ready', now()
          FROM old ON CONFLICT (stage, key) DO NOTHING
    )
    SELECT count(*) AS asked, max(id) AS last FROM old
""")
_CHUNK = 10_000


@dataclass(frozen=True, slots=True)
class Attached:
    """One attachment: what is known of its text, and whether it is still to be read."""

    sha256: bytes
    filename: str
    content_type: str
    size: int
    known: Extracted | None
    is_read: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """What is indexed of one message."""

    message_id: int
    org_id: UUID
    received_at: datetime
    subject: str
    body: str
    people: Sequence[tuple[str, str, str]]
    attached: Sequence[Attached]


@dataclass(frozen=True, slots=True)
class Document:
    """One row of the index, and what was read for it: texts by the attachment's hash."""

    subject: str
    people: str
    body: str
    files: str
    exact: tuple[str, ...]
    read: Mapping[bytes, Extracted]


def step(job: Job, message_id: int) -> Emit:
    """Return the step that indexes a message: never in the lane of live mail, whose own chain goes first."""
    emit = job.then("index", str(message_id))
    return emit.in_lane(Lane.REPAIR) if emit.lane is Lane.LIVE else emit


def load(connection: Connection, message_ids: Sequence[int]) -> tuple[dict[int, Mail], set[int]]:
    """Return what is indexed of each message, and the messages that are left for later: a portion of 16 MB is full.

    With a message come the texts of attachments that were read before, each held once. The first message that there is
    always has its turn.
    """
    values = {"ids": list(message_ids), "body": _BODY_LIMIT, "people": _MOST_PEOPLE}
    sizes = connection.execute(_SIZES, values).all()
    attached: dict[int, list[Any]] = {}
    for row in connection.execute(_ATTACHMENTS, values | {"version": extraction.EXTRACTION_VERSION}):
        attached.setdefault(row.message_id, []).append(row)
    chosen = portion(sizes, attached)
    texts = _texts(connection, [row for message_id in chosen for row in attached.get(message_id, ())])
    found = {
        row.id: Mail(
            row.id,
            row.org_id,
            row.received_at,
            row.subject,
            row.body,
            [tuple(person) for person in row.people],
            [_attached(one, texts) for one in attached.get(row.id, ())],
        )
        for row in connection.execute(_LOAD, values | {"ids": chosen})
    }
    return found, {row.id for row in sizes}.difference(chosen)


def portion(sizes: Iterable[Any], attached: Mapping[int, Sequence[Any]], most: int = PORTION) -> list[int]:
    """Return the messages whose texts and documents together stay within `most` bytes; never none of some.

    A text counts once however many messages have it; the documents made of it count each.
    """
    chosen: list[int] = []
    held: set[tuple[UUID, bytes]] = set()
    left = most
    for row in sizes:
        texts = {(row.org_id, one.sha256): one.length for one in attached.get(row.id, ()) if one.length}
        said = row.body + row.people
        cost = said + sum(length for name, length in texts.items() if name not in held)
        cost += min(said + sum(texts.values()), DOCUMENT_LIMIT + EXACT_LIMIT)
        if chosen and cost > left:
            continue
        chosen.append(row.id)
        held |= texts.keys()
        left -= cost
    return chosen


def _texts(connection: Connection, rows: Iterable[Any]) -> dict[tuple[UUID, bytes], Extracted]:
    names = {(row.org_id, row.sha256) for row in rows if row.state is not None}
    if not names:
        return {}
    values = {"orgs": [org_id for org_id, _ in names], "hashes": [sha256 for _, sha256 in names]}
    return {
        (row.org_id, row.sha256): Extracted(ExtractionState(row.state), row.content)
        for row in connection.execute(_TEXTS, values)
    }


def _attached(row: Any, texts: Mapping[tuple[UUID, bytes], Extracted]) -> Attached:
    form = extraction.form_of(row.content_type)
    known = None if row.state is None else texts.get((row.org_id, row.sha256))
    is_read = form is not None and not row.is_quarantined and not extraction.is_too_large(form, row.size)
    return Attached(row.sha256, row.filename, row.content_type, row.size, known, is_read)


def compose(mail: Mail, read: Mapping[bytes, Extracted]) -> Document:
    """Return a message's row; together its words fit what PostgreSQL takes."""
    known = {one.sha256: one.known for one in mail.attached if one.known is not None and one.is_read}
    texts = [found.text for found in {**known, **read}.values() if found.text]
    subject = words(mail.subject, _SUBJECT_LIMIT)
    people = words(" ".join(dict.fromkeys(said for _, *both in mail.people for said in both)), _PEOPLE_LIMIT)
    body = words(mail.body, _BODY_LIMIT)
    left = DOCUMENT_LIMIT - sum(len(part.encode()) for part in (subject, people, body))
    files = words("\n".join([*(one.filename for one in mail.attached), *texts]), left) if mail.attached else ""
    return Document(subject, people, body, files, _exact(mail), read)


def _exact(mail: Mail) -> tuple[str, ...]:
    """Return the terms that fit, each once: of the first people all, of the last none."""
    found: dict[str, None] = {}
    left = EXACT_LIMIT
    for term in _terms(mail):
        if term not in found:
            left -= len(term.encode()) + 1
            if left < 0:
                break
            found[term] = None
    return tuple(found)


def _terms(mail: Mail) -> Iterable[str]:
    if mail.attached:
        yield search_terms.HAS_ATTACHMENT
    for role, address, name in mail.people[:_MOST_PEOPLE]:
        if role in (AddressRole.FROM, AddressRole.REPLY_TO):
            yield from search_terms.address_terms(search_terms.FROM, address, name)
        else:
            yield from search_terms.address_terms(search_terms.TO, address, name)


def save(connection: Connection, rows: Sequence[tuple[Mail, Document]]) -> None:
    """Write the rows, and the texts that were read for them; set-wise, and the same again when done again."""
    there = set(connection.execute(_STILL_THERE, {"ids": [mail.message_id for mail, _ in rows]}).scalars())
    rows = [row for row in rows if row[0].message_id in there]
    texts = {(mail.org_id, sha256): found for mail, document in rows for sha256, found in document.read.items()}
    if texts:
        connection.execute(
            _KEEP_TEXTS,
            {
                "orgs": [org_id for org_id, _ in texts],
                "hashes": [sha256 for _, sha256 in texts],
                "states": [found.state.value for found in texts.values()],
                "contents": [found.text for found in texts.values()],
                "version": extraction.EXTRACTION_VERSION,
            },
        )
    connection.execute(
        _INDEX,
        {
            "ids": [mail.message_id for mail, _ in rows],
            "orgs": [mail.org_id for mail, _ in rows],
            "times": [mail.received_at for mail, _ in rows],
            "subjects": [document.subject for _, document in rows],
            "people": [document.people for _, document in rows],
            "bodies": [document.body for _, document in rows],
            "files": [document.files for _, document in rows],
            "exact": ["\x1f".join(document.exact) for _, document in rows],
            "version": INDEX_VERSION,
        },
    )


def ask_again(connection: Connection, org_id: UUID | None, after: int = 0) -> tuple[int, int | None]:
    """Ask for the indexing of up to 10,000 messages after an id that have no row, or one of an older version.

    Returns how many, and the id to go on after; None when there are no more.
    """
    values = {"org": org_id, "after": after, "version": INDEX_VERSION, "limit": _CHUNK, "lane": Lane.BACKFILL.value}
    row = connection.execute(_REINDEX, values).one()
    return row.asked, row.last if row.asked == _CHUNK else None
