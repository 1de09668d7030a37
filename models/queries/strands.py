"""Strands: things that should go on, and of which no job is left that would do it.

A step and the job of the next step are written in one transaction, so what one statement sees as a strand is one. What
can be told from small tables is told at once (`strands`). Of the archive one page is read at a time (`message_page`,
`ticket_page`, and `overview.occurrence_page`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import TriageMode


class Kind(StrEnum):
    """What stands still."""

    OCCURRENCE = "occurrence"  #: has work left
    MESSAGE = "message"  #: stands in no ticket
    TICKET = "ticket"  #: was never routed
    CASE = "case"  #: asks for a technician, and no work order was made
    OUTBOUND = "outbound"  #: a message of ours that is to be sent
    BULK = "bulk"  #: a wish about many dead letters
    REPROCESSING = "reprocessing"  #: a step that is being done again
    BACKFILL = "backfill"  #: a listing
    COMPARISON = "comparison"
    PAUSE = "pause"  #: a mailbox whose pause is over
    SCHEDULE = "schedule"  #: a slot that nobody took


@dataclass(frozen=True, slots=True)
class Strand:
    """Things of one kind that stand still; `seconds` is the age of the oldest, `example` its id or name."""

    kind: Kind
    count: int
    seconds: float
    example: str


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where on an organization's cases are dispatched without a person."""

    org_id: UUID
    mode: TriageMode
    min_confidence: float
    min_priority: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the archive: its rows, the last id (None: it was empty), and the strand among them, if any."""

    rows: int
    last_id: str | None
    strand: Strand | None


#: Each by the partial index of what is not finished. A dead job tells of itself as a dead letter: it is no strand.
_STRANDS = text("""
    WITH found(kind, since, example) AS (
        SELECT 'outbound', b.created_at, CAST(b.id AS text) FROM outbound b
         WHERE b.state IN ('queued', 'sending')
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'send' AND j.key = CAST(b.id AS text))
        UNION ALL
        SELECT 'bulk', b.topped_up_at, CAST(b.id AS text) FROM bulks b WHERE b.finished_at IS NULL
        UNION ALL
        SELECT 'reprocessing', r.created_at, CAST(r.id AS text) FROM reprocessings r
         WHERE r.state IN ('comparing', 'applying')
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'reprocess' AND j.key = CAST(r.id AS text))
        UNION ALL
        SELECT 'backfill', b.started_at, m.address FROM backfills b JOIN mailboxes m ON m.id = b.mailbox_id
         WHERE b.state = 'running'
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'backfill' AND j.key = CAST(m.id AS text))
        UNION ALL
        SELECT 'comparison', r.started_at, m.address FROM reconciles r JOIN mailboxes m ON m.id = r.mailbox_id
         WHERE r.state = 'running'
           AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'reconcile' AND j.key = CAST(m.id AS text))
        UNION ALL
        SELECT 'pause', m.paused_until, m.address FROM mailboxes m WHERE m.state IN ('paused', 'suspended')
    )
    SELECT kind, count(*) AS number, CAST(extract(epoch FROM now() - min(since)) AS float8) AS seconds,
           (array_agg(example ORDER BY since))[1] AS example
      FROM found WHERE since < now() - :patience GROUP BY kind ORDER BY kind
""")

#: The rule of `pipeline.core.dispatching.should_dispatch`. A person decided about a case whose job was discarded, and
#: about one that was assessed under another policy. After a month nobody can tell any more: letters are forgotten.
_CASES = text("""
    SELECT count(*) AS number, CAST(extract(epoch FROM now() - min(c.assessed_at)) AS float8) AS seconds,
           (array_agg(c.id ORDER BY c.assessed_at))[1] AS example
      FROM cases c
      JOIN unnest(CAST(:orgs AS uuid[]), CAST(:modes AS text[]), CAST(:confidences AS float8[]),
                  CAST(:priorities AS int[]))
           AS t(org_id, mode, confidence, priority) ON t.org_id = c.org_id AND t.mode = c.mode
     WHERE c.state = 'open' AND c.recommended_action = 'dispatch_field_tech' AND NOT c.verification_required
       AND c.confidence >= t.confidence AND c.priority_score >= t.priority
       AND c.assessed_at BETWEEN now() - interval '30 days' AND now() - :patience
       AND NOT EXISTS (SELECT FROM work_orders w WHERE w.case_id = c.id)
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.stage = 'dispatch' AND j.key = CAST(c.id AS text))
       AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.stage = 'dispatch' AND d.key = CAST(c.id AS text)
                          AND d.resolution = 'discarded')
       AND NOT EXISTS (SELECT FROM events e
                        WHERE e.org_id = c.org_id AND e.ticket_id IS NULL AND e.kind = 'policy.changed'
                          AND e.at > c.assessed_at)
""")

#: A message whose sightings are all on their way or set aside is told of as those are.
_MESSAGE_PAGE = text("""
    WITH page AS MATERIALIZED (SELECT id FROM messages WHERE id > :after ORDER BY id LIMIT :limit),
    loose AS (
        SELECT m.id, m.created_at FROM page JOIN messages m USING (id)
         WHERE NOT EXISTS (SELECT FROM ticket_messages l WHERE l.message_id = page.id)
           AND m.direction = 'inbound' AND m.created_at < now() - :patience
           AND EXISTS (SELECT FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                        WHERE r.message_id = m.id AND o.state IN ('stitched', 'routed'))
    )
    SELECT (SELECT count(*) FROM page) AS rows, (SELECT CAST(max(id) AS text) FROM page) AS last_id,
           count(*) AS number, CAST(extract(epoch FROM now() - min(created_at)) AS float8) AS seconds,
           CAST(min(id) AS text) AS example
      FROM loose
""")
#: Routing decides a ticket with the first of its messages that it lets through.
_TICKET_PAGE = text("""
    WITH page AS MATERIALIZED (
        SELECT id, code, routed_at, status, created_at FROM tickets
         WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT :limit
    ), loose AS (
        SELECT p.code, p.created_at FROM page p
         WHERE p.routed_at IS NULL AND p.status <> 'merged' AND p.created_at < now() - :patience
           AND EXISTS (SELECT FROM ticket_messages l JOIN occurrence_recipients r ON r.message_id = l.message_id
                         JOIN occurrences o ON o.id = r.occurrence_id
                        WHERE l.ticket_id = p.id AND o.state = 'routed')
    )
    SELECT (SELECT count(*) FROM page) AS rows, (SELECT CAST(id AS text) FROM page ORDER BY id DESC LIMIT 1) AS last_id,
           count(*) AS number, CAST(extract(epoch FROM now() - min(created_at)) AS float8) AS seconds,
           min(code) AS example
      FROM loose
""")
#: The newest are where things go wrong: they are looked at in every reading.
_TAILS = text("""
    SELECT (SELECT id FROM occurrences ORDER BY id DESC OFFSET :size LIMIT 1) AS occurrence,
           (SELECT id FROM messages ORDER BY id DESC OFFSET :size LIMIT 1) AS message,
           (SELECT id FROM tickets ORDER BY id DESC OFFSET :size LIMIT 1) AS ticket
""")

#: Before every id.
FIRST_MESSAGE, FIRST_TICKET = "0", str(UUID(int=0))


@dataclass(frozen=True, slots=True)
class Tails:
    """The ids behind which the newest rows of the archive stand."""

    occurrence: int
    message: str
    ticket: str


def strands(connection: Connection, patience: timedelta) -> list[Strand]:
    """Return what stands still among the things of small tables, for longer than `patience`."""
    rows = connection.execute(_STRANDS, {"patience": patience})
    return [Strand(Kind(row.kind), row.number, row.seconds, row.example) for row in rows]


def undispatched(connection: Connection, thresholds: Sequence[Threshold], patience: timedelta) -> Strand | None:
    """Return the cases that should have become work orders by themselves; None when there are none."""
    values = {
        "orgs": [one.org_id for one in thresholds],
        "modes": [one.mode.value for one in thresholds],
        "confidences": [one.min_confidence for one in thresholds],
        "priorities": [one.min_priority for one in thresholds],
    }
    row = connection.execute(_CASES, values | {"patience": patience}).one()
    return Strand(Kind.CASE, row.number, row.seconds, str(row.example)) if row.number else None


def message_page(connection: Connection, after: str, limit: int, patience: timedelta) -> Page:
    """Look at the `limit` messages with ids after `after` for those that were stitched and stand in no ticket."""
    values = {"after": int(after), "limit": limit, "patience": patience}
    return _page(connection, Kind.MESSAGE, values)


def ticket_page(connection: Connection, after: str, limit: int, patience: timedelta) -> Page:
    """Look at the `limit` tickets with ids after `after` for those whose mail was routed and which never were."""
    return _page(connection, Kind.TICKET, {"after": after, "limit": limit, "patience": patience})


def tails(connection: Connection, size: int) -> Tails:
    """Return where the newest `size` rows of the archive begin."""
    row = connection.execute(_TAILS, {"size": size}).one()
    return Tails(row.occurrence or 0, str(row.message or FIRST_MESSAGE), str(row.ticket or FIRST_TICKET))


def _page(connection: Connection, kind: Kind, values: dict[str, object]) -> Page:
    row = connection.execute(_MESSAGE_PAGE if kind is Kind.MESSAGE else _TICKET_PAGE, values).one()
    return Page(row.rows, row.last_id, Strand(kind, row.number, row.seconds, row.example) if row.number else None)
