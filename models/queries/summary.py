"""What a mailbox has become: its occurrences by state, what was made of them, and whether any is unaccounted for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import OccurrenceState

_BY_STATE = text("SELECT state, count(*) AS occurrences FROM occurrences WHERE mailbox_id = :id GROUP BY 1")
#: An occurrence on its way without the job that takes it on would stand still for ever.
_STRANDED = text("""
    SELECT count(*) FROM occurrences o
     WHERE o.mailbox_id = :id AND o.state IN ('seen', 'fetched', 'parsed', 'stitched')
       AND NOT EXISTS (
           SELECT FROM jobs j
            WHERE j.stage = CASE o.state WHEN 'seen' THEN 'fetch' WHEN 'fetched' THEN 'parse'
                                         WHEN 'parsed' THEN 'stitch' ELSE 'routing' END
              AND j.key = CAST(o.id AS text))
""")
_MADE = text("""
    WITH mine AS MATERIALIZED (
        SELECT DISTINCT message_id FROM occurrences WHERE mailbox_id = :id AND message_id IS NOT NULL
    ), found AS MATERIALIZED (
        SELECT DISTINCT s.case_id FROM mine JOIN signals s USING (message_id) WHERE s.case_id IS NOT NULL
    )
    SELECT (SELECT count(*) FROM mine) AS messages,
           (SELECT count(DISTINCT l.ticket_id) FROM mine JOIN ticket_messages l USING (message_id)
              JOIN tickets t ON t.id = l.ticket_id WHERE t.status <> 'merged') AS tickets,
           (SELECT count(*) FROM found) AS cases,
           (SELECT count(*) FROM work_orders w WHERE w.case_id IN (SELECT case_id FROM found)) AS work_orders,
           (SELECT count(*) FROM dead_letters WHERE mailbox_id = :id AND resolution IS NULL) AS dead_letters
""")
_MISSING = text("""
    SELECT provider_id FROM unnest(CAST(:provider_ids AS text[])) AS listed(provider_id)
     WHERE NOT EXISTS (SELECT FROM occurrences o WHERE o.mailbox_id = :id AND o.provider_id = listed.provider_id)
""")
_VANISHED = text("""
    SELECT count(*) FROM occurrences o
     WHERE o.mailbox_id = :id AND o.created_at <= :before
       AND NOT EXISTS (SELECT FROM unnest(CAST(:provider_ids AS text[])) AS listed(provider_id)
                        WHERE listed.provider_id = o.provider_id)
""")
_NOW = text("SELECT clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of one mailbox: `by_state` has every state; `stranded` are on their way without a job to go on.

    `messages` are distinct; `tickets` those of these messages and not merged away; `cases` those with a signal from
    them; `work_orders` those of these cases; `dead_letters` the open ones of the mailbox.
    """

    by_state: Mapping[str, int]
    stranded: int
    messages: int
    tickets: int
    cases: int
    work_orders: int
    dead_letters: int

    @property
    def occurrences(self) -> int:
        """Return how many ids of the provider stand in the ledger."""
        return sum(self.by_state.values())


def by_state(connection: Connection, mailbox_id: UUID) -> dict[str, int]:
    """Return how many occurrences of a mailbox stand in each state; every state is there."""
    counted = {row.state: row.occurrences for row in connection.execute(_BY_STATE, {"id": mailbox_id})}
    return {state.value: counted.get(state.value, 0) for state in OccurrenceState}


def stranded(connection: Connection, mailbox_id: UUID) -> int:
    """Return how many occurrences of a mailbox are on their way without a job that would take them on."""
    return int(connection.execute(_STRANDED, {"id": mailbox_id}).scalar_one())


def summarise(connection: Connection, mailbox_id: UUID) -> Summary:
    """Return what a mailbox has become."""
    made = connection.execute(_MADE, {"id": mailbox_id}).one()
    return Summary(by_state(connection, mailbox_id), stranded(connection, mailbox_id), *made)


def missing(connection: Connection, mailbox_id: UUID, provider_ids: Sequence[str]) -> list[str]:
    """Return those of one page of a provider's ids that the ledger does not know, in their order."""
    rows = connection.execute(_MISSING, {"id": mailbox_id, "provider_ids": list(provider_ids)}).scalars()
    unknown = set(rows)
    return [provider_id for provider_id in provider_ids if provider_id in unknown]


def vanished(connection: Connection, mailbox_id: UUID, provider_ids: Collection[str], before: datetime) -> int:
    """Return how many occurrences recorded up to `before` are no longer among all ids of the provider."""
    values = {"id": mailbox_id, "provider_ids": list(provider_ids), "before": before}
    return int(connection.execute(_VANISHED, values).scalar_one())


def database_time(connection: Connection) -> datetime:
    """Return what the database's clock shows now, not when the transaction began."""
    found: datetime = connection.execute(_NOW).scalar_one()
    return found
