"""The checker checked: a mailbox that was read well breaks no rule, and each way of breaking one is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from deploy.local.lock import Endpoints
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import invariants
from tests.conftest import fresh_database
from tests.engine import Engine
from tests.flow.imports import Import

_SIZE = 60
_A_TICKET = "(SELECT ticket_id FROM ticket_messages ORDER BY message_id LIMIT 1)"
_JOB = "INSERT INTO jobs (stage, key, org_id, lane, trace_id, state, run_at, lease_until, worker)"
_LETTER = """
    INSERT INTO dead_letters (job_id, org_id, stage, key, lane, cause, error_class, error_text, error_group, attempts,
                              failures, crashes, trace_id, queued_at, resolution, resolved_at, resolved_by,
                              resolved_reason)
    SELECT 1, id, 'parse', '0', 'live', 'permanent', 'Error', {said}, 'group', 1, 1, 0, 'trace', now(), {resolved}
      FROM organizations WHERE name <> 'other' LIMIT 1
"""
_OPEN, _REPLAYED = "NULL, NULL, NULL, NULL", "'replayed', now(), 'ann', 'because'"
_OUTBOUND = """
    WITH identity AS (
        INSERT INTO send_identities (org_id, mailbox_id, from_email) SELECT org_id, id, address FROM mailboxes LIMIT 1
        RETURNING id, org_id, mailbox_id
    ) INSERT INTO outbound (org_id, mailbox_id, identity_id, message_id, kind, recipient, created_by)
      SELECT org_id, mailbox_id, id, (SELECT min(id) FROM messages), 'reply', 'ann@example.org', 'bo' FROM identity
"""

#: A row so many after the newest of a trail, behind something that is, or is not, its hash.
_ROW = """
    INSERT INTO audit_events (org_id, number, at, actor_kind, actor_id, action, outcome, previous, hash)
    SELECT id, coalesce(h.number, 0) + {step}, now(), 'HUMAN', 'ann', 'a.b', 'done', {previous}, ''
      FROM organizations LEFT JOIN audit_heads h ON h.org_id = id LIMIT 1
"""
_HASH = "coalesce(h.hash, decode(repeat('00', 32), 'hex'))"

#: What is done to rows that are well, and the rule that must say so.
_BREAKAGES = {
    "UPDATE occurrences SET state = 'stitched' WHERE id = (SELECT min(id) FROM occurrences)": "I2: an occurrence",
    f"DELETE FROM ticket_messages WHERE ticket_id = {_A_TICKET}": "I4: a message that was routed",
    f"UPDATE tickets SET last_message_at = now() WHERE id = {_A_TICKET}": "I5: a ticket's first or last",
    f"UPDATE tickets SET first_message_at = '2001-01-01' WHERE id = {_A_TICKET}": "I5: a ticket's first or last",
    "UPDATE backfills SET listed = listed + 1": "I5: a listing",
    _OUTBOUND: "I7: an outbound message",
    f"{_JOB} SELECT 'parse', '0', id, 'live', 't', 'ready', now() - interval '2 minutes', NULL, NULL "
    "FROM organizations LIMIT 1": "I9: a ready job",
    f"{_JOB} SELECT 'parse', '0', id, 'live', 't', 'running', now(), now(), 77 FROM organizations LIMIT 1": (
        "I9: a job is held"
    ),
    _LETTER.format(said="''", resolved=_OPEN): "I10: a letter does not say why",
    _LETTER.format(said="'said'", resolved=_OPEN): "I10: a letter's subject is gone",
    _LETTER.format(said="'said'", resolved=_REPLAYED): "I11: a letter's history",
    _LETTER.format(said="'said'", resolved="'discarded', now(), '', ''"): "I11: a letter was resolved by nobody",
    _ROW.format(step=2, previous="decode(repeat('01', 32), 'hex')"): "I11: an audit trail's row",
    _ROW.format(step=1, previous=_HASH): "I11: an audit trail's head",
    "UPDATE mailboxes SET org_id = (SELECT id FROM organizations WHERE name = 'other')": "I12: a row of occurrences",
    "UPDATE messages SET org_id = (SELECT id FROM organizations WHERE name = 'other')": "I12: a row of ticket_messages",
    f"UPDATE tickets SET org_id = (SELECT id FROM organizations WHERE name = 'other') WHERE id = {_A_TICKET}": (
        "I12: a row of ticket_messages"
    ),
    "UPDATE teams SET org_id = (SELECT id FROM organizations WHERE name = 'other')": "I12: a row of work_orders",
}


@pytest.fixture(scope="module")
def read_well(servers: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Return a database in which a company's mail was read by an engine without faults."""
    folder: Path = tmp_path_factory.mktemp("mail")
    with fresh_database(servers) as url:
        db = Database(url, "test")
        settings = Settings(
            database_url=url, redis_url="redis://unused", blob_url=f"file://{folder}/blobs", data_dir=folder,
            secret_key=SecretStr("a secret key that only tests know"), quota_minute_seconds=0.05,
        )  # fmt: skip
        mail = Import(db, settings, folder, _SIZE)
        mail.deliver(mail.mails)
        with Engine(db, settings) as engine:
            engine.run()
        with db.begin() as connection:
            connection.execute(text("INSERT INTO organizations (name) VALUES ('other')"))
        yield db
        db.close()


@pytest.fixture
def rows(read_well: Database) -> Iterator[Connection]:
    """Return a transaction over these rows that is not kept."""
    with read_well.engine.connect() as connection:
        yield connection
        connection.rollback()


def test_what_was_read_well_breaks_no_rule(rows: Connection) -> None:
    assert invariants.broken(rows) == []


@pytest.mark.parametrize(("statement", "said"), _BREAKAGES.items(), ids=[str(n) for n in range(len(_BREAKAGES))])
def test_what_is_broken_is_noticed(rows: Connection, statement: str, said: str) -> None:
    rows.execute(text(statement))
    found = invariants.broken(rows)
    assert any(one.startswith(said) for one in found), found


def test_a_letter_that_cannot_be_replayed_is_noticed(read_well: Database) -> None:
    with read_well.begin() as connection:
        connection.execute(text(_LETTER.format(said="'said'", resolved=_OPEN)))
    try:
        assert len(invariants.dry_replay(read_well)) == 1
    finally:
        with read_well.begin() as connection:
            connection.execute(text("DELETE FROM dead_letters"))
