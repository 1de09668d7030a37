"""The dispatcher's queue among many tickets: in the order of its index, at a bounded cost, and nothing left out.

`python -m tests.bench.desk` measures a million.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from deploy.local.lock import Endpoints
from models import row_security
from models.enums import DispatchPriority, DispatchState, Reach
from models.queries import dispatch_queue
from models.queries.dispatch_queue import Place, Wanted
from models.queries.scoping import EVERYTHING, Reached, ticket_condition
from pipeline.runtime.db import Database
from tests.bench import desk_data
from tests.bench.desk_data import Made
from tests.bench.plans import explained
from tests.conftest import fresh_database

TICKETS = 8_000


class Queue:
    """A database with many tickets; `rows` is the queue of the largest organization, in order."""

    def __init__(self, db: Database, made: Made) -> None:
        self.db, self.made = db, made
        with db.begin() as connection:
            self.rows = connection.execute(
                text("""
                    SELECT t.id, t.dispatch_state AS state, t.account_id, d.priority, d.queue_due_at,
                           d.assigned_tech_id, d.incident_type
                      FROM dispatches d JOIN tickets t ON t.id = d.ticket_id
                     WHERE d.org_id = :org AND d.queue_due_at IS NOT NULL ORDER BY d.queue_due_at, d.ticket_id
                """),
                {"org": made.org_id},
            ).all()

    def page(self, wanted: Wanted, *, limit: int = 50, after: Place | None = None, reach: Reached = EVERYTHING) -> Any:
        with self.db.begin() as connection:
            row_security.bind(connection, self.made.org_id)
            return dispatch_queue.find(connection, self.made.org_id, wanted, reach, limit=limit, after=after)

    def pages(self, wanted: Wanted, *, limit: int = 50, reach: Reached = EVERYTHING) -> list[UUID]:
        """Follow the places to the end; return the ids, each page in the order of the queue."""
        found: list[UUID] = []
        after = None
        for _ in range(1_000):
            page = self.page(wanted, limit=limit, after=after, reach=reach)
            assert len(page.rows) <= limit
            found += [row.id for row in sorted(page.rows, key=lambda row: (row.due_at, row.id))]
            if page.last is None:
                return found
            after = page.last
        raise AssertionError("the queue has no end")

    def ids(self, wanted: Wanted) -> list[UUID]:
        """Say the same as the query, one row at a time."""
        return [row.id for row in self.rows if _has(row, wanted)]


def _has(row: Any, wanted: Wanted) -> bool:
    return all(
        (
            wanted.state in {None, row.state},
            wanted.priority in {None, row.priority},
            wanted.due_since is None or row.queue_due_at >= wanted.due_since,
            wanted.due_before is None or row.queue_due_at < wanted.due_before,
            wanted.account_id in {None, row.account_id},
            wanted.assigned_tech_id in {None, row.assigned_tech_id},
            wanted.incident_type in {None, row.incident_type},
        )
    )


@pytest.fixture(scope="module")
def queue(servers: Endpoints) -> Iterator[Queue]:
    with fresh_database(servers) as url:
        db = Database(url, "test")
        with db.begin() as connection:
            made = desk_data.make(connection, TICKETS, mails=1, longest=1)
            desk_data.make_work(connection)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))
        yield Queue(db, made)
        db.close()


def _questions(queue: Queue) -> list[Wanted]:
    row = queue.rows[len(queue.rows) // 2]
    due = row.queue_due_at
    return [
        Wanted(),
        Wanted(state=DispatchState.SCHEDULED),
        Wanted(priority=DispatchPriority.EMERGENCY),
        Wanted(due_since=due),
        Wanted(due_before=due),
        Wanted(due_since=due - timedelta(hours=9), due_before=due, state=DispatchState.NEW),
        Wanted(account_id=row.account_id),
        Wanted(assigned_tech_id=next(one.assigned_tech_id for one in queue.rows if one.assigned_tech_id)),
        Wanted(incident_type="AUTO_OPERATOR_FAULT", priority=DispatchPriority.URGENT),
        Wanted(state=DispatchState.ON_HOLD),
    ]


@pytest.mark.parametrize("walk", [10_000, 70])
def test_every_page_together_are_what_a_look_at_every_row_finds(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, walk: int
) -> None:
    assert len(queue.rows) > 200
    monkeypatch.setattr(dispatch_queue, "WALK", walk)
    for wanted in _questions(queue):
        assert queue.pages(wanted) == queue.ids(wanted), wanted


def test_a_page_is_in_the_order_of_the_index_and_reads_no_table_through(queue: Queue) -> None:
    middle = queue.rows[len(queue.rows) // 2]
    for wanted in _questions(queue):
        for after in (None, Place(middle.queue_due_at, middle.id)):
            with explained(queue.db.engine) as plans:
                queue.page(wanted, after=after)
            walk, said = plans[0], "\n".join(plans)
            assert "using ix_dispatches_queue" in walk, (wanted, walk)
            assert "Sort" not in walk, (wanted, walk)
            for table in ("dispatches", "tickets"):
                assert f"Seq Scan on {table}" not in said, (wanted, said)


def test_a_reach_narrows_the_queue(queue: Queue) -> None:
    row = queue.rows[0]
    account = ticket_condition(
        reach=Reach.ACCOUNT, person_id=None, account_ids=[row.account_id], site_ids=None, team_id=None, queue_ids=()
    )
    wanted = Wanted(incident_type=row.incident_type)
    assert queue.pages(wanted, reach=account) == queue.ids(replace(wanted, account_id=row.account_id))


def test_nothing_of_another_organization_is_queued(queue: Queue) -> None:
    with queue.db.begin() as connection:
        other = connection.execute(
            text("SELECT id FROM organizations WHERE id <> :own LIMIT 1"), {"own": queue.made.org_id}
        ).scalar_one()
        row_security.bind(connection, queue.made.org_id)
        assert not dispatch_queue.find(connection, other, Wanted(), limit=10).rows


def test_standings_count_what_is_queued(queue: Queue) -> None:
    with queue.db.begin() as connection:
        counts = dispatch_queue.standings(connection)
        waiting = "SELECT count(*) FROM dispatches WHERE queue_due_at IS NOT NULL AND arrived_at IS NULL"
        queued = connection.execute(text(waiting)).scalar_one()
        first = "ticket_id = (SELECT ticket_id FROM dispatches WHERE queue_due_at IS NOT NULL LIMIT 1)"
        connection.execute(text(f"UPDATE dispatches SET arrived_at = now() WHERE {first}"))
        arrived = dispatch_queue.standings(connection)
        connection.rollback()
    assert set(counts) == {"breach", "warning", "healthy"}
    assert sum(counts.values()) == queued
    assert sum(arrived.values()) == queued - 1
