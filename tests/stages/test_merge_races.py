"""A merge commits while somebody waits for the ticket that loses: he holds and changes the one it went into."""

from __future__ import annotations

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from pipeline.runtime import regrouping, stitching
from pipeline.runtime.ticket_locks import lock_tickets
from pipeline.stages import routing, triage
from tests import factories
from tests.factories import mail
from tests.stages.world import World
from tests.worker_process import until

_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def while_merging(world: World, winner: UUID, loser: UUID, act: Callable[[], None]) -> None:
    """Let `act` begin while a merge holds both tickets, and the merge end when `act` waits."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=run)
    with world.db.begin() as connection:
        stitching.lock(connection, world.org_id)
        lock_tickets(connection, [winner, loser])
        regrouping.merge(connection, world.org_id, winner, [loser], reason="the test")
        thread.start()
        until(lambda: world.value(_WAITING) > 0, "somebody to wait")
    thread.join(20)
    assert failed == []


def test_routing_holds_the_ticket_that_it_decides(world: World):
    old, new = world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    a, b = world.ticket_of(old).id, world.ticket_of(new).id

    def load() -> None:
        with world.db.begin() as connection:
            (item,) = routing.STAGE.load(connection, [world.job(routing.STAGE, new)]).values()
            assert item.row.ticket_id == a
            with pytest.raises(DBAPIError):
                world.rows("SELECT id FROM tickets WHERE id = :id FOR NO KEY UPDATE NOWAIT", id=a)

    while_merging(world, a, b, load)


def test_triage_marks_the_ticket_that_the_message_stands_in(world: World):
    with world.db.begin() as connection:
        factories.asset(connection, world.org_id, "AUS_0123")
    old, new = world.stitched(
        mail("a", message_id="<a@x>"), mail("AUS_0123 is down", "AUS_0123 is offline", message_id="<b@x>")
    )
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=new)

    def run() -> None:
        world.run(triage.STAGE, message_id)

    while_merging(world, world.ticket_of(old).id, world.ticket_of(new).id, run)
    assert world.ticket_of(new).dispatch_state == "TRIAGED"
