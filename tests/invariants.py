"""The invariants I1 to I14 (reliability, section 6): which check serves which, and those of the database as a whole.

| | what must hold | where it is checked |
|---|---|---|
| I1 | every id the provider ever named has one occurrence | `conservation.check`: never seen, stands twice |
| I2 | exposed = routed + gone + ignored + quarantined | `conservation.check`: unfinished, strange ids; here |
| I3 | stored bytes are those served; each content is there | `conservation.check`: other bytes, not stored |
| I4 | every message stands in exactly one ticket, once | `conservation.check`: one link; `partition` and `reference` |
| I5 | what is kept beside its source equals a recount | here: times of tickets, listings, wishes |
| I6 | one open work order per case, announced once | `conservation.check`; no outside system takes them yet |
| I7 | at most one mail per reply at the provider | here, and the chaos run with the provider's outbox |
| I8 | a cursor only grows, and nothing before it is missing | the chaos run's journal; I1 once all is at rest |
| I9 | nothing runs with an expired lease, no attempt goes back | `conservation.check`, here; the chaos run's journal |
| I10 | every dead letter says why, and could be replayed | here, and `dry_replay` |
| I11 | each change by a person is written down, with who and why | here; `runtime.audit_checking` |
| I12 | no row refers to another organization's | here: every foreign key, and the references without one |
| I13 | entered = replayed + discarded + open, for letters and for wishes | `conservation.check`, here |
| I14 | the broker holds nothing: emptied, everything again, no change | `conservation.snapshot` before and after |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text

from dlq import letters
from models import schema
from models.base import metadata
from pipeline.runtime.db import Database
from pipeline.table import STAGES

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """A query that answers with the rows that break it."""

    invariant: str
    said: str
    query: str


RULES = (
    Rule("I2", "an occurrence is not at its end", """
        SELECT o.id, o.state FROM occurrences o
         WHERE o.state NOT IN ('routed', 'gone', 'ignored', 'quarantined')"""),
    Rule("I4", "a message that was routed stands in no ticket", """
        SELECT m.id FROM messages m
         WHERE EXISTS (SELECT FROM occurrences o WHERE o.message_id = m.id AND o.state = 'routed')
           AND NOT EXISTS (SELECT FROM ticket_messages l WHERE l.message_id = m.id)"""),
    Rule("I4", "a link's ticket was never told of it", """
        SELECT l.message_id FROM ticket_messages l
         WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = l.message_id AND m.org_id = l.org_id)"""),
    Rule("I5", "a ticket's first or last message is not what its messages say", """
        SELECT t.id, t.first_message_at, min(m.received_at), t.last_message_at, max(m.received_at)
          FROM tickets t JOIN ticket_messages l ON l.ticket_id = t.id JOIN messages m ON m.id = l.message_id
         WHERE t.status <> 'merged' GROUP BY t.id
        HAVING t.first_message_at <> min(m.received_at) OR t.last_message_at <> max(m.received_at)"""),
    Rule("I5", "a listing counted other than its windows did", """
        SELECT b.id, b.listed, sum(w.listed) FROM backfills b JOIN backfill_windows w ON w.backfill_id = b.id
         WHERE b.state = 'done' GROUP BY b.id HAVING b.listed <> sum(w.listed)"""),
    Rule("I5", "a repetition counted other than its rows", """
        SELECT r.id, r.changed, count(d.subject) FROM reprocessings r
          LEFT JOIN reprocessed d ON d.reprocessing_id = r.id
         GROUP BY r.id HAVING r.changed <> count(d.subject)"""),
    Rule("I5", "a wish counted other than its letters", """
        SELECT b.id, b.total, count(i.place) FROM bulks b LEFT JOIN bulk_items i ON i.bulk_id = b.id
         GROUP BY b.id HAVING b.total <> count(i.place)"""),
    Rule("I6", "a work order hangs on no case of its own organization", """
        SELECT w.id FROM work_orders w JOIN cases c ON c.id = w.case_id WHERE c.org_id <> w.org_id"""),
    Rule("I7", "an outbound message was told of more or less than once", """
        SELECT b.id, b.state, count(e.id) FILTER (WHERE e.kind = 'outbound.queued'),
               count(e.id) FILTER (WHERE e.kind = 'outbound.sent')
          FROM outbound b LEFT JOIN events e ON e.data ->> 'outbound_id' = CAST(b.id AS text)
         GROUP BY b.id
        HAVING count(e.id) FILTER (WHERE e.kind = 'outbound.queued') <> 1
            OR count(e.id) FILTER (WHERE e.kind = 'outbound.sent') <> CASE WHEN b.state = 'sent' THEN 1 ELSE 0 END"""),
    Rule("I9", "a ready job is older than a minute", """
        SELECT id, stage, key, run_at FROM jobs WHERE state = 'ready' AND run_at < now() - interval '1 minute'"""),
    Rule("I9", "a job is held by a worker that is not there", """
        SELECT j.id, j.stage, j.worker FROM jobs j WHERE j.state = 'running'
           AND NOT EXISTS (SELECT FROM workers w WHERE w.number = j.worker)"""),
    Rule("I10", "a letter does not say why", """
        SELECT id, stage, key FROM dead_letters
         WHERE error_class = '' OR error_text = '' OR error_group = '' OR trace_id = '' OR attempts < 1"""),
    Rule("I10", "a letter's subject is gone", """
        SELECT d.id, d.stage, d.key FROM dead_letters d
         WHERE d.resolution IS NULL AND d.stage IN ('fetch', 'parse', 'stitch', 'routing')
           AND NOT EXISTS (SELECT FROM occurrences o WHERE CAST(o.id AS text) = d.key)"""),
    Rule("I11", "a letter was resolved by nobody or without a reason", """
        SELECT id FROM dead_letters
         WHERE resolution IS NOT NULL AND (coalesce(resolved_by, '') = '' OR coalesce(resolved_reason, '') = '')"""),
    Rule("I11", "a regrouping names nobody", "SELECT id FROM regroupings WHERE actor = '' OR reason = ''"),
    Rule("I11", "an audit trail's row does not follow the one before it", """
        SELECT org_id, number FROM (
            SELECT org_id, number, previous, lag(hash) OVER trail AS before, lag(number, 1, 0) OVER trail AS last
              FROM audit_events WINDOW trail AS (PARTITION BY org_id ORDER BY number)) e
         WHERE number <> last + 1 OR previous <> coalesce(before, decode(repeat('00', 32), 'hex'))"""),
    Rule("I11", "an audit trail's head is not its newest row", """
        SELECT h.org_id, h.number FROM audit_heads h
          FULL JOIN (SELECT org_id, max(number) AS number FROM audit_events GROUP BY org_id) e USING (org_id)
         WHERE coalesce(h.number, 0) <> coalesce(e.number, 0)"""),
    Rule("I13", "a wish that is over still has letters to let go", """
        SELECT b.id, b.state, count(*) FROM bulks b JOIN bulk_items i ON i.bulk_id = b.id
         WHERE b.state IN ('done', 'cancelled', 'stopped') AND i.state = 'waiting' GROUP BY b.id"""),
    Rule("I13", "a letter is in two wishes at a time", """
        SELECT letter_id, count(*) FROM bulk_items WHERE state IN ('waiting', 'released')
         GROUP BY letter_id HAVING count(*) > 1"""),
    Rule("I13", "an open letter stands beside another of the same job", """
        SELECT job_id, count(*) FROM dead_letters WHERE resolution IS NULL GROUP BY job_id HAVING count(*) > 1"""),
)  # fmt: skip

#: What was done to a letter is written down once for each time: I11, I13. Letters from before 0004 have no history.
_ACTIONS = Rule("I11", "a letter's history does not add up to how it stands", """
    SELECT d.id, d.resolution, count(a.id) FILTER (WHERE a.action = 'replayed'),
           count(a.id) FILTER (WHERE a.action = 'discarded'), count(a.id) FILTER (WHERE a.action = 'restored')
      FROM dead_letters d LEFT JOIN letter_actions a ON a.letter_id = d.id
     GROUP BY d.id
    HAVING count(a.id) FILTER (WHERE a.action = 'replayed') <> CASE WHEN d.resolution = 'replayed' THEN 1 ELSE 0 END
        OR count(a.id) FILTER (WHERE a.action = 'discarded') - count(a.id) FILTER (WHERE a.action = 'restored')
           <> CASE WHEN d.resolution = 'discarded' THEN 1 ELSE 0 END""")  # fmt: skip

#: References that no foreign key guards: occurrences and jobs change at every hop and pay for none.
_LOOSE = (
    ("occurrences", "message_id", "messages", "id"),
    ("jobs", "mailbox_id", "mailboxes", "id"),
    ("dead_letters", "mailbox_id", "mailboxes", "id"),
    ("bulk_items", "job_id", "jobs", "id"),
)


def broken(connection: Connection) -> list[str]:
    """Return every rule that is broken, in words with examples; call it when nothing is under way."""
    found: list[str] = []
    for rule in (*RULES, _ACTIONS, *_by_organization()):
        rows = [tuple(row) for row in connection.execute(text(rule.query)).fetchmany(_SHOWN + 1)]
        found += [f"{rule.invariant}: {rule.said}: {row}" for row in rows[:_SHOWN]]
        found += [f"{rule.invariant}: {rule.said}: and more"] if len(rows) > _SHOWN else []
    found += [f"I10: stage {stage} of a letter is not in the table" for stage in _strange_stages(connection)]
    return found


def dry_replay(db: Database) -> list[str]:
    """I10: replay every open letter in a transaction that is not kept; return those that cannot be."""
    with db.engine.connect() as connection:
        ids = list(connection.execute(text("SELECT id FROM dead_letters WHERE resolution IS NULL")).scalars())
        done = letters.replay(connection, ids, actor="check", reason="a dry run").letter_ids if ids else ()
        connection.rollback()
    return [f"I10: letter {one} cannot be replayed" for one in sorted(set(ids) - set(done))]


def _strange_stages(connection: Connection) -> list[str]:
    found = connection.execute(text("SELECT DISTINCT stage FROM dead_letters")).scalars()
    return sorted(set(found) - set(STAGES))


def _by_organization() -> Iterator[Rule]:
    """I12: a row and what it refers to belong to one organization; so do two things that one row refers to."""
    assert schema.TABLES  # their import fills the metadata
    for table in metadata.sorted_tables:
        owners = [("c.org_id", "")] if "org_id" in table.columns else []
        for number, (columns, target, its) in enumerate(_references(table)):
            if target.name == "organizations" or "org_id" not in target.columns:
                continue
            on = " AND ".join(f"p{number}.{its_one} = c.{one}" for one, its_one in zip(columns, its, strict=True))
            owners.append((f"p{number}.org_id", f" JOIN {target.name} p{number} ON {on}"))
        first, *others = owners or [("", "")]
        for other in others:
            yield Rule(
                "I12", f"a row of {table.name} and {other[1].split()[1]} belong to two organizations",
                f"SELECT {first[0]}, {other[0]} FROM {table.name} c{first[1]}{other[1]} WHERE {first[0]} <> {other[0]}",
            )  # fmt: skip


def _references(table: Table) -> Iterator[tuple[list[str], Table, list[str]]]:
    for key in table.foreign_key_constraints:
        yield key.column_keys, key.referred_table, [element.column.name for element in key.elements]
    for name, column, target, its in _LOOSE:
        if name == table.name:
            yield [column], metadata.tables[target], [its]
