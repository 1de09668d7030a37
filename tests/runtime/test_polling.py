"""How a reading of changes moves the next poll of its mailbox."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline.core.polling import PUSHED, SLOWEST, STANDARD
from pipeline.runtime.db import Database
from pipeline.runtime.polling import note_read
from tests.factories import mailbox, organization, rows, value


def test_readings_that_find_nothing_grow_the_distance_and_a_find_makes_it_short_and_due(db: Database):
    with db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        connection.execute(text("UPDATE mailboxes SET poll_at = now() + interval '1 hour'"))
        note_read(connection, mine, found=False)
        note_read(connection, mine, found=False)
    assert rows(db, "SELECT poll_interval, poll_at > now() FROM mailboxes") == [(STANDARD * 9 / 4, True)]
    with db.begin() as connection:
        note_read(connection, mine, found=True)
    assert rows(db, "SELECT poll_interval, poll_at <= now() FROM mailboxes") == [(STANDARD, True)]


@pytest.mark.parametrize(
    ("watch", "factor"),
    [
        ("'active', now() + interval '1 day', now()", SLOWEST * PUSHED),
        ("'active', now() + interval '1 day', NULL", SLOWEST),
        ("'active', now() - interval '1 day', now()", SLOWEST),
        ("'silent', now() + interval '1 day', now()", SLOWEST),
    ],
)
def test_only_push_that_was_heard_and_has_not_expired_makes_polling_rarer(db: Database, watch: str, factor: int):
    with db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        connection.execute(
            text(f"INSERT INTO watches (mailbox_id, topic, state, expires_at, pushed_at) SELECT :id, 't', {watch}"),
            {"id": mine},
        )
        for _ in range(12):
            note_read(connection, mine, found=False)
    assert value(db, "SELECT poll_interval FROM mailboxes") == STANDARD * factor


def test_a_mailbox_that_is_gone_is_left_alone(db: Database):
    with db.begin() as connection:
        note_read(connection, organization(connection), found=True)
    assert value(db, "SELECT count(*) FROM mailboxes") == 0
