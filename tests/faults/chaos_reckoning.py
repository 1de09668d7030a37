"""The reckoning of a chaos run: I1 to I14 (`tests.invariants`), the provider's outbox, and everything once more."""

from __future__ import annotations

from collections import Counter

from redis import Redis
from sqlalchemy import Connection, text

from models.enums import Lane
from pipeline.adapters.blobs import open_blob_store
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.settings import Settings
from tests import conservation, invariants
from tests.faults import chaos_journal
from tests.faults.chaos_mail import Company, GmailDesks
from tests.faults.chaos_people import People
from tests.faults.chaos_rest import Rest, patiently

_SHOWN = 5
_AGAIN = text("""
    SELECT s.stage, CAST(o.id AS text) AS key, o.org_id, o.mailbox_id
      FROM (SELECT * FROM occurrences WHERE state = 'routed' ORDER BY random() LIMIT :count) AS o,
           unnest(ARRAY['fetch', 'parse', 'stitch', 'routing']) AS s(stage)
    UNION SELECT 'triage', CAST(s.message_id AS text), s.org_id, CAST(NULL AS uuid) FROM signals s
    UNION SELECT 'dispatch', CAST(w.case_id AS text), w.org_id, NULL FROM work_orders w
""")
_OUTBOUND = text("""
    SELECT m.rfc_message_id, b.state, b.request_key FROM outbound b JOIN messages m ON m.id = b.message_id
""")


def check(settings: Settings, db: Database, company: Company, desks: GmailDesks, rest: Rest) -> list[str]:
    """Return all that is broken in the database and the raw store, in words; call it when all is at rest."""
    assert settings.blob_url is not None
    blobs, broken = open_blob_store(settings.blob_url), list[str]()
    with db.begin() as connection:
        for mailbox_id, address in rest.mailboxes():
            expected, served = rest.expected(connection, mailbox_id, address), rest.served(address)
            said = conservation.check(connection, mailbox_id, expected, served=served, blobs=blobs)
            broken += [f"{address}: {one}" for one in said]
        broken += invariants.broken(connection)
        broken += _tickets(connection, company, desks)
        broken += chaos_journal.broken(connection)
    return broken + invariants.dry_replay(db)


def check_replies(db: Database, desks: GmailDesks, people: People) -> list[str]:
    """I7: what is sent stands once at the provider, what is not sent does not; each reply asked for is one."""
    with db.begin() as connection:
        rows = connection.execute(_OUTBOUND).all()
    sent, keys = desks.sent(), Counter(row.request_key for row in rows)
    states = {row.rfc_message_id.strip("<>"): row.state for row in rows}
    return [
        *(f"I7: reply {key} stands {keys[key]} times" for key in people.acknowledged if keys[key] != 1),
        *(f"I7: reply {key} was never acknowledged" for key in people.wishes.keys() - people.acknowledged),
        *(
            f"I7: {name} is {state} and {'was taken' if sent[name] else 'taken'} {sent[name]} times"
            for name, state in states.items()
            if sent[name] != (1 if state == "sent" else 0)
        ),
        *(f"I7: {name} was sent by nobody" for name in sent.keys() - states.keys()),
    ]


def check_again(db: Database, redis_url: str, rest: Rest, count: int) -> list[str]:
    """I14: empty the broker, ask for the steps of `count` mails once more, and return what that changed."""
    with db.begin() as connection:
        before = conservation.facts(connection)
    with Redis.from_url(redis_url) as client:
        client.flushall()

    def put(connection: Connection) -> None:
        rows = connection.execute(_AGAIN, {"count": count}).all()
        emits = [Emit(row.stage, row.key, row.org_id, row.mailbox_id, Lane.REPAIR, 0, "again") for row in rows]
        ledger.put(connection, emits)

    patiently(db, put)
    broken = rest.come()
    with db.begin() as connection:
        after = conservation.facts(connection)
        broken += [
            f"I14: doing it again changed {name}: from {sorted(rows - after[name])[:_SHOWN]}"
            f" to {sorted(after[name] - rows)[:_SHOWN]}"
            for name, rows in before.items()
            if rows != after[name]
        ]
        return broken + invariants.broken(connection)


def _tickets(connection: Connection, company: Company, desks: GmailDesks) -> list[str]:
    """Return the tickets that differ from those of a model that was written apart from the product."""
    broken = []
    for side, mails in ((company, company.mails()), (desks, desks.mails(connection))):
        wanted = conservation.reference(mails, side.mailbox_ids)
        found = conservation.partition(connection, side.org_id)
        broken += [f"I4: ticket nobody expected: {sorted(group)[:6]}" for group in list(found - wanted)[:_SHOWN]]
        broken += [f"I4: no ticket for: {sorted(group)[:6]}" for group in list(wanted - found)[:_SHOWN]]
    return broken
