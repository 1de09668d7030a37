"""Time that passes for tests: whoever waits for it need not."""

from __future__ import annotations

from sqlalchemy import text

from pipeline.runtime.db import Database

#: Each by itself, and nothing that a worker has at hand: two that wait for each other's rows would be a deadlock.
_STATEMENTS = (
    # What was handed over was long ago.
    """
    UPDATE outbound SET handed_over_at = now() - interval '30 minutes'
     WHERE id IN (SELECT id FROM outbound WHERE state IN ('queued', 'sending') FOR UPDATE SKIP LOCKED)
    """,
    # What is erased may be taken away.
    """
    UPDATE blobs SET erased_at = erased_at - interval '1 hour' WHERE (org_id, kind, sha256) IN (
        SELECT org_id, kind, sha256 FROM blobs WHERE erased_at IS NOT NULL FOR UPDATE SKIP LOCKED)
    """,
    # What waits is due.
    """
    UPDATE jobs SET run_at = now() WHERE id IN (SELECT id FROM jobs WHERE state = 'waiting' FOR UPDATE SKIP LOCKED)
    """,
)


def let_time_pass(db: Database) -> None:
    """Let every wait of jobs, sends and erasures be over, but of those that a worker has at hand."""
    for statement in _STATEMENTS:
        with db.begin() as connection:
            connection.execute(text(statement))
