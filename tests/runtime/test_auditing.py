"""The audit trail: one chain of any number of writers, and whatever is done to it afterwards is found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from models import row_security
from models.enums import AuditOutcome
from pipeline.core.audit_chain import GENESIS, Place, Wrong, hash_of
from pipeline.runtime import audit_checking, audit_seals, auditing
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.factories import value

KEYS = Secrets("a secret key that only tests know")
AT_ONCE = timedelta(0)


def entry(org_id: UUID, n: int = 0, **more: Any) -> Entry:
    values: dict[str, Any] = {
        "actor_id": f"person-{n % 3}",
        "target_kind": "ticket",
        "target_id": f"t-{n}",
        "details": {"status": {"after": f"s{n}"}},
    }
    return Entry(org_id, "ticket.update", **(values | more))


def organizations(db: Database, count: int = 1) -> list[UUID]:
    with db.begin() as connection:
        return [factories.organization(connection) for _ in range(count)]


def trail(db: Database, org_id: UUID, rows: int, sealed_at: int | None = None) -> None:
    """Write rows, and seal the chain at one of them."""
    for first, last in ((0, sealed_at or 0), (sealed_at or 0, rows)):
        with db.begin() as connection:
            auditing.append_all(connection, org_id, [entry(org_id, n) for n in range(first, last)])
        if sealed_at is not None and last == sealed_at:
            with db.begin() as connection:
                audit_seals.seal(connection, KEYS, org_id=org_id, every=AT_ONCE)


def wrongs(connection: Connection, org_id: UUID, known: tuple[Place, ...] = ()) -> set[Wrong]:
    return {one.wrong for one in audit_checking.check(connection, KEYS, org_id, known).problems}


def by_pages(connection: Connection, org_id: UUID) -> set[Wrong]:
    found: set[Wrong] = set()
    after: int | None = 0
    while after is not None:
        page = audit_checking.check_page(connection, KEYS, org_id, after, 3)
        found |= {one.wrong for one in page.problems}
        after = page.next
    return found


def test_rows_are_numbered_without_a_gap_and_each_is_hashed_to_the_one_before_it(db: Database) -> None:
    (org_id,) = organizations(db)
    trail(db, org_id, 5, sealed_at=3)
    with db.begin() as connection:
        found = list(audit_checking.links(connection, org_id))
        checked = audit_checking.check(connection, KEYS, org_id)
    assert [one.facts.number for one in found] == [1, 2, 3, 4, 5]
    assert [one.previous for one in found] == [GENESIS, *(one.hash for one in found[:-1])]
    assert [one.details["status"] for one in found if one.details] == [{"after": f"s{n}"} for n in range(5)]
    assert (checked.rows, checked.seals, checked.problems, checked.next) == (5, 1, (), None)
    assert checked.newest == Place(5, found[-1].hash)


def test_an_empty_trail_is_whole(db: Database) -> None:
    (org_id,) = organizations(db)
    with db.begin() as connection:
        assert audit_checking.check(connection, KEYS, org_id).problems == ()
        assert audit_checking.check_page(connection, KEYS, org_id, 0, 10).next is None


def test_eight_writers_keep_one_chain(db: Database) -> None:
    (org_id,) = organizations(db)

    def write(writer: int) -> list[int]:
        numbers = []
        for n in range(12):
            with db.begin() as connection:
                numbers.append(auditing.append(connection, entry(org_id, n, actor_id=f"writer-{writer}")))
        return numbers

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(write, range(8)))
    assert sorted(number for numbers in found for number in numbers) == list(range(1, 97))
    with db.begin() as connection:
        assert audit_checking.check(connection, KEYS, org_id).problems == ()


def test_two_organizations_do_not_wait_for_each_other_and_writers_of_one_do(db: Database) -> None:
    ours, theirs = organizations(db, 2)
    with db.begin() as holding:
        auditing.append(holding, entry(ours))
        with db.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '50ms'"))
            assert auditing.append(other, entry(theirs)) == 1
        with db.engine.connect() as waiting:
            waiting.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(DBAPIError) as caught:
                auditing.append(waiting, entry(ours))
        assert isinstance(caught.value.orig, LockNotAvailable)


def test_what_is_rolled_back_leaves_no_gap(db: Database) -> None:
    (org_id,) = organizations(db)
    with db.engine.connect() as connection:
        auditing.append(connection, entry(org_id))
        connection.rollback()
    with db.begin() as connection:
        assert auditing.append(connection, entry(org_id)) == 1


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events CASCADE",
     "UPDATE audit_details SET data = '{}'", "DELETE FROM audit_details"],
)  # fmt: skip
def test_the_tables_refuse_every_change(db: Database, statement: str) -> None:
    (org_id,) = organizations(db)
    trail(db, org_id, 1)
    with pytest.raises(DBAPIError) as caught, db.begin() as connection:
        connection.execute(text(statement))
    assert isinstance(caught.value.orig, InsufficientPrivilege)


def test_a_request_behind_the_barrier_appends_and_sees_its_own_organization_only(db: Database) -> None:
    ours, theirs = organizations(db, 2)
    trail(db, theirs, 2)
    with db.begin() as connection:
        row_security.bind(connection, ours)
        assert auditing.append(connection, entry(ours)) == 1
        assert connection.execute(text("SELECT count(*) FROM audit_events")).scalar_one() == 1
        assert audit_checking.check_page(connection, KEYS, ours, 0, 10).problems == ()
        assert audit_checking.check_page(connection, KEYS, theirs, 0, 10).rows == 0


def test_erased_details_leave_the_chain_whole(db: Database) -> None:
    (org_id,) = organizations(db)
    trail(db, org_id, 3)
    with db.begin() as connection:
        connection.execute(text("UPDATE audit_details SET data = NULL, erased_at = now() WHERE number = 2"))
    with db.begin() as connection:
        assert audit_checking.check(connection, KEYS, org_id).problems == ()


def test_no_canary_reaches_the_trail(db: Database) -> None:
    (org_id,) = organizations(db)
    details = {"password": "canary-1", "changes": {"email": {"after": "canary-2"}}, "free": "canary-3"}
    with db.begin() as connection:
        auditing.append(connection, entry(org_id, target_id="canary-\x00id" + "x" * 500, details=details))
        said = connection.execute(
            text("SELECT CAST(e AS text) || d.data FROM audit_events e, audit_details d")
        ).scalar_one()
        assert audit_checking.check(connection, KEYS, org_id).problems == ()
    assert not [canary for canary in ("canary-1", "canary-2", "canary-3") if canary in said]


def test_heads_that_moved_are_sealed_once_an_hour_and_told_to_the_log(db: Database) -> None:
    ours, theirs = organizations(db, 2)
    trail(db, ours, 2)
    trail(db, theirs, 1)
    with db.begin() as connection, capture_logs() as logs:
        seals = audit_seals.seal(connection, KEYS)
        audit_seals.tell(seals)
        assert audit_seals.seal(connection, KEYS) == []
    assert {(one.org_id, one.place.number) for one in seals} == {(ours, 2), (theirs, 1)}
    assert {(one["org_id"], one["number"]) for one in logs} == {(str(ours), 2), (str(theirs), 1)}
    trail(db, ours, 1)
    with db.begin() as connection:
        assert audit_seals.seal(connection, KEYS) == []
        connection.execute(text("UPDATE audit_seals SET sealed_at = now() - interval '1 hour'"))
        assert [one.place.number for one in audit_seals.seal(connection, KEYS)] == [3]
    with db.begin() as connection:
        assert audit_checking.check(connection, Secrets("a new secret key of tests", [KEYS_TEXT]), ours).problems == ()
        assert wrongs(connection, ours) == set()
        unknown = audit_checking.check(connection, Secrets("quite another secret key"), ours).problems
    assert {one.wrong for one in unknown} == {Wrong.FORGED_SEAL}


KEYS_TEXT = "a secret key that only tests know"
Tamper = Callable[[Connection, UUID, Random], None]
_ROWS, _SEALED = 10, 7


def _run(connection: Connection, statement: str, **values: Any) -> None:
    connection.execute(text(statement), values)


def _change_a_word(connection: Connection, org_id: UUID, random: Random) -> None:
    column = random.choice(
        ["actor_id", "actor_role", "action", "target_kind", "target_id", "request_id", "correlation_id", "trace_id"]
    )
    _run(connection, f"UPDATE audit_events SET {column} = 'other' WHERE org_id = :org AND number = :n",
         org=org_id, n=random.randint(1, _ROWS))  # fmt: skip


def _change_a_time(connection: Connection, org_id: UUID, random: Random) -> None:
    _run(connection, "UPDATE audit_events SET at = at + interval '1 us' WHERE org_id = :org AND number = :n",
         org=org_id, n=random.randint(1, _ROWS))  # fmt: skip


def _change_an_outcome(connection: Connection, org_id: UUID, random: Random) -> None:
    _run(connection, "UPDATE audit_events SET outcome = 'refused', code = 'X' WHERE org_id = :org AND number = :n",
         org=org_id, n=random.randint(1, _ROWS))  # fmt: skip


def _delete_rows(connection: Connection, org_id: UUID, random: Random) -> None:
    first = random.randint(1, _ROWS)
    values = {"org": org_id, "first": first, "last": random.randint(first, _ROWS)}
    details = random.random() < 0.5
    for table in ("audit_events", "audit_details") if details else ("audit_events",):
        _run(connection, f"DELETE FROM {table} WHERE org_id = :org AND number BETWEEN :first AND :last", **values)


def _swap_rows(connection: Connection, org_id: UUID, random: Random) -> None:
    one, other = random.sample(range(1, _ROWS + 1), 2)
    for before, after in ((one, -1), (other, one), (-1, other)):
        _run(connection, "UPDATE audit_events SET number = :after WHERE org_id = :org AND number = :before",
             org=org_id, before=before, after=after)  # fmt: skip


def _close_a_gap(connection: Connection, org_id: UUID, random: Random) -> None:
    """Take a row out and move those after it and the head, so that the numbers show nothing."""
    gone = random.randint(1, _ROWS - 1)
    _run(connection, "DELETE FROM audit_events WHERE org_id = :org AND number = :n", org=org_id, n=gone)
    _run(connection, "DELETE FROM audit_details WHERE org_id = :org AND number = :n", org=org_id, n=gone)
    for table in ("audit_events", "audit_details"):
        for number in range(gone + 1, _ROWS + 1):
            _run(connection, f"UPDATE {table} SET number = number - 1 WHERE org_id = :org AND number = :n",
                 org=org_id, n=number)  # fmt: skip
    _run(connection, "UPDATE audit_heads SET number = number - 1 WHERE org_id = :org", org=org_id)


def _put_a_row_in(connection: Connection, org_id: UUID, random: Random) -> None:
    """Put a row before the others that has the right hash for its place, and move them up."""
    at = random.randint(1, _ROWS)
    links = list(audit_checking.links(connection, org_id))
    for table in ("audit_events", "audit_details"):
        for number in range(_ROWS, at - 1, -1):
            _run(connection, f"UPDATE {table} SET number = number + 1 WHERE org_id = :org AND number = :n",
                 org=org_id, n=number)  # fmt: skip
    previous = links[at - 2].hash if at > 1 else GENESIS
    facts = replace(links[at - 1].facts, actor_id="nobody", details_sha256=None)
    _run(connection, """
        INSERT INTO audit_events (org_id, number, at, actor_kind, actor_id, action, outcome, previous, hash)
        VALUES (:org, :n, now(), 'HUMAN', 'nobody', 'ticket.update', 'done', :previous, :hash)
    """, org=org_id, n=at, previous=previous, hash=hash_of(previous, facts))  # fmt: skip
    _run(connection, "UPDATE audit_heads SET number = number + 1 WHERE org_id = :org", org=org_id)


def _change_details(connection: Connection, org_id: UUID, random: Random) -> None:
    change = random.choice(["data = '{\"status\": 1}'", "data = data - '_salt'", "data = data || '{\"more\": 1}'"])
    _run(connection, f"UPDATE audit_details SET {change} WHERE org_id = :org AND number = :n",
         org=org_id, n=random.randint(1, _ROWS))  # fmt: skip


def _take_details_away(connection: Connection, org_id: UUID, random: Random) -> None:
    _run(connection, "DELETE FROM audit_details WHERE org_id = :org AND number = :n",
         org=org_id, n=random.randint(1, _ROWS))  # fmt: skip


def _cut_the_end(connection: Connection, org_id: UUID, random: Random) -> None:
    _run(connection, "DELETE FROM audit_events WHERE org_id = :org AND number > :n",
         org=org_id, n=random.randint(0, _ROWS - 1))  # fmt: skip


def _cut_the_end_and_move_the_head(connection: Connection, org_id: UUID, random: Random) -> None:
    last = random.randint(0, _SEALED - 1)
    for table in ("audit_details", "audit_events"):
        _run(connection, f"DELETE FROM {table} WHERE org_id = :org AND number > :n", org=org_id, n=last)
    _run(connection, """
        UPDATE audit_heads SET number = :n,
               hash = coalesce((SELECT hash FROM audit_events WHERE org_id = :org AND number = :n), hash)
         WHERE org_id = :org
    """, org=org_id, n=last)  # fmt: skip


def _take_the_head_away(connection: Connection, org_id: UUID, _: Random) -> None:
    _run(connection, "DELETE FROM audit_heads WHERE org_id = :org", org=org_id)


def _forge(connection: Connection, org_id: UUID, first: int) -> None:
    """Make the chain anew from a row on, with the right hashes and head: what only a seal shows."""
    links = list(audit_checking.links(connection, org_id))
    previous = links[first - 2].hash if first > 1 else GENESIS
    for link in links[first - 1 :]:
        facts = replace(link.facts, actor_id="somebody else") if link.facts.number == first else link.facts
        made = hash_of(previous, facts)
        _run(connection, """
            UPDATE audit_events SET actor_id = :actor, previous = :previous, hash = :hash
             WHERE org_id = :org AND number = :n
        """, org=org_id, n=facts.number, actor=facts.actor_id, previous=previous, hash=made)  # fmt: skip
        previous = made
    _run(connection, "UPDATE audit_heads SET hash = :hash WHERE org_id = :org", org=org_id, hash=previous)


def _make_it_anew(connection: Connection, org_id: UUID, random: Random) -> None:
    _forge(connection, org_id, random.randint(1, _SEALED))


TAMPERINGS: tuple[Tamper, ...] = (
    _change_a_word, _change_a_time, _change_an_outcome, _delete_rows, _swap_rows, _close_a_gap, _put_a_row_in,
    _change_details, _take_details_away, _cut_the_end, _cut_the_end_and_move_the_head, _take_the_head_away,
    _make_it_anew,
)  # fmt: skip


def test_each_tampering_deletion_and_reordering_is_found(db: Database) -> None:
    """Edits of a real chain by somebody who may do everything in the database, whose triggers are off."""
    ours, theirs = organizations(db, 2)
    trail(db, ours, _ROWS, sealed_at=_SEALED)
    trail(db, theirs, 3, sealed_at=2)

    def attempt(how: Tamper, seed: int) -> None:
        with db.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            how(connection, ours, Random(seed))
            assert wrongs(connection, ours), f"{how.__name__}, seed {seed}, was not found"
            # A page at a time finds it, too.
            assert by_pages(connection, ours), f"{how.__name__}, seed {seed}, was not found page by page"
            assert wrongs(connection, theirs) == set()
            transaction.rollback()

    for how in TAMPERINGS:
        attempt(how, 0)
    bounded = settings(max_examples=90, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
    bounded(given(st.sampled_from(TAMPERINGS), st.integers(0, 2**32))(attempt))()
    with db.begin() as connection:
        assert wrongs(connection, ours) == set()


def test_a_forged_tail_after_the_last_seal_is_found_by_a_row_that_was_noted_elsewhere(db: Database) -> None:
    (org_id,) = organizations(db)
    trail(db, org_id, _ROWS, sealed_at=_SEALED)
    with db.begin() as connection:
        noted = audit_checking.check(connection, KEYS, org_id).newest
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        _forge(connection, org_id, _SEALED + 1)
        assert wrongs(connection, org_id) == set()
        assert wrongs(connection, org_id, (noted,)) == {Wrong.SEAL}


def test_a_trail_is_walked_while_it_grows(db: Database) -> None:
    (org_id,) = organizations(db)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with db.begin() as connection:
                auditing.append(connection, entry(org_id))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            for _ in range(20):
                with db.begin() as connection:
                    assert audit_checking.check(connection, KEYS, org_id).problems == ()
        finally:
            stop.set()
        writing.result()
    assert value(db, "SELECT count(*) FROM audit_events") > 0


def test_a_refusal_needs_a_code_and_what_was_done_has_none(db: Database) -> None:
    (org_id,) = organizations(db)
    for wrong in ({"outcome": AuditOutcome.REFUSED}, {"code": "X"}):
        with pytest.raises(DBAPIError), db.begin() as connection:
            auditing.append(connection, entry(org_id, **wrong))
