"""Push: every device of a person is told once, whatever becomes of the others, and nobody after it is of no use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from models.enums import NotificationKind, Platform
from pipeline.commands import devices
from pipeline.core.pushing import How, Pushed
from pipeline.runtime import device_rows, ledger, notifying, order_rows, sessions
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Transient
from pipeline.stage import Again
from pipeline.stages import push
from pipeline.stages.push import STAGE
from tests.stages.world import SECRETS, World
from tests.worker_process import until


class Told:
    """Ann, who was notified of a work order, and her devices."""

    def __init__(self, world: World, devices: int = 2) -> None:
        self.world = world
        with world.db.begin() as connection:
            person = text("INSERT INTO people (email) VALUES (:email) RETURNING id")
            self.person_id: UUID = connection.execute(person, {"email": "ann@example.org"}).scalar_one()
            self.session_id = sessions.begin(connection, world.org_id, self.person_id).session_id
            now = connection.execute(text("SELECT now()")).scalar_one()
            order = order_rows.make(connection, {"org_id": world.org_id, "title": "It squeals", "due_at": now})
            self.pushes = notifying.tell(connection, order, NotificationKind.ASSIGNED, [self.person_id], "one")
            ledger.put(connection, self.pushes)
        self.order_id = order.order_id
        self.devices = [self.device(f"phone-{number}") for number in range(devices)]

    @property
    def notification_id(self) -> UUID:
        """Return what she was told."""
        return UUID(self.pushes[0].key)

    def device(self, token: str, *, org_id: UUID | None = None) -> UUID:
        """Register a device in her session."""
        with self.world.db.begin() as connection:
            return device_rows.register(
                connection, SECRETS, org_id=org_id or self.world.org_id, person_id=self.person_id,
                session_id=self.session_id, platform=Platform.ANDROID, token=token,
            )  # fmt: skip

    def is_pushed(self) -> bool:
        """Say whether it is known to have been pushed."""
        return bool(self.world.value("SELECT pushed_at IS NOT NULL FROM notifications"))

    def live(self) -> set[UUID]:
        """Return the devices that get pushes."""
        return {row.id for row in self.world.rows("SELECT id FROM devices WHERE dropped_at IS NULL")}


@pytest.fixture
def world(db: Database) -> World:
    made = World(db)
    made.pusher.is_ready = True
    return made


def test_every_device_is_told_once_and_the_job_is_done(world: World) -> None:
    told = Told(world)
    assert world.value("SELECT count(*) FROM jobs WHERE stage = 'push' AND lane = 'live'") == 1
    ran = world.run(STAGE, told.notification_id)
    assert (ran.unsaved, ran.next) == ({}, [])
    assert [one for _, one in world.pusher.pushed] == sorted(told.devices)
    (push, _), _ = world.pusher.pushed
    assert (push.notification_id, push.order_id) == (told.notification_id, told.order_id)
    assert (push.title, push.body.partition(": ")[2]) == ("New work order", "It squeals")
    assert told.is_pushed()
    assert world.run(STAGE, told.notification_id).loaded == 0


def test_a_device_that_is_gone_is_dropped_and_its_token_with_it(world: World) -> None:
    told = Told(world)
    gone, other = told.devices
    world.pusher.answers = {gone: Pushed(How.GONE, "FCM answered 404 UNREGISTERED")}
    assert world.run(STAGE, told.notification_id).unsaved == {}
    assert told.live() == {other}
    (row,) = world.rows("SELECT dropped_because, token_sealed FROM devices WHERE id = :id", id=gone)
    assert (row.dropped_because, bytes(row.token_sealed)) == ("unregistered", b"")
    assert told.is_pushed()


def test_a_device_that_is_left_is_tried_by_itself_and_the_others_do_not_ring_twice(world: World) -> None:
    told = Told(world, devices=3)
    slow, lost, good = told.devices
    world.pusher.answers = {slow: Pushed(How.LATER, "429", timedelta(seconds=7)), lost: Pushed(How.DOUBTFUL, "500")}
    ran = world.run(STAGE, told.notification_id)
    assert [(emit.key, emit.delay.total_seconds()) for emit in ran.emits] == [
        (f"{told.notification_id}:{slow}", 7.0),
        (f"{told.notification_id}:{lost}", 10.0),
    ]
    world.pusher.pushed.clear()
    again = [emit.key for emit in ran.emits]
    found = world.run(STAGE, *again)
    assert [type(found.unsaved[key]) for key in again] == [Again, Transient]
    world.pusher.answers = {}
    world.pusher.pushed.clear()
    assert world.run(STAGE, *again).unsaved == {}
    assert [one for _, one in world.pusher.pushed] == [slow, lost]
    assert good not in [one for _, one in world.pusher.pushed]


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        (
            [Pushed(How.LATER, "429", timedelta(seconds=7)), Pushed(How.LATER, "503")],
            Again(timedelta(minutes=1), "429"),
        ),
        ([Pushed(How.LATER, "429"), Pushed(How.REFUSED, "403")], Transient),
        ([Pushed(How.DOUBTFUL, "500"), Pushed(How.GONE, "404")], Transient),
    ],
)
def test_while_no_device_had_it_all_are_tried_again(world: World, answers: list[Pushed], outcome: object) -> None:
    told = Told(world)
    world.pusher.answers = dict(zip(told.devices, answers, strict=True))
    found = world.run(STAGE, told.notification_id).unsaved[str(told.notification_id)]
    assert found == outcome or type(found) is outcome
    assert not told.is_pushed()


def test_nobody_is_pushed_to_without_a_service_or_a_device_and_the_job_is_done(world: World) -> None:
    world.pusher.is_ready = False
    told = Told(world)
    assert world.run(STAGE, told.notification_id).unsaved == {}
    assert told.is_pushed()
    assert world.pusher.pushed == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE notifications SET created_at = now() - interval '25 hours'",
        "UPDATE notifications SET read_at = now()",
        "UPDATE sessions SET expires_at = now()",
        "UPDATE sessions SET ended_at = now()",
        "UPDATE devices SET dropped_at = now(), dropped_because = 'removed'",
        "UPDATE devices SET org_id = (INSERTED)",
    ],
)
def test_what_is_of_no_use_or_for_nobody_any_more_is_not_pushed(world: World, change: str) -> None:
    told = Told(world)
    if "INSERTED" in change:
        other = "INSERT INTO organizations (name) VALUES ('Other') RETURNING id"
        change = f"UPDATE devices SET org_id = '{world.rows(other)[0].id}'"
    world.rows(f"{change} RETURNING 1")
    assert world.run(STAGE, told.notification_id).unsaved == {}
    assert world.pusher.pushed == []
    assert told.is_pushed()


def test_who_reads_all_and_who_notes_pushes_lock_them_in_one_order(world: World) -> None:
    """Else each could hold what the other waits for."""
    told = Told(world, devices=0)
    low, high = sorted(uuid4() for _ in range(2))
    with world.db.begin() as connection:
        connection.execute(text("DELETE FROM notifications"))
        for number in (high, low):
            connection.execute(
                text("""
                    INSERT INTO notifications (id, org_id, person_id, kind, order_id, title, body, reference)
                    VALUES (:id, :org, :person, 'WO_ASSIGNED', :order, 't', 'b', CAST(:id AS text))
                """),
                {"id": number, "org": world.org_id, "person": told.person_id, "order": told.order_id},
            )

    def reads(connection: Connection) -> None:
        values = {"org": world.org_id, "person": told.person_id, "until": None}
        connection.execute(devices._READ_ALL, values)

    def notes(connection: Connection) -> None:
        connection.execute(push._PUSHED, {"ids": [high, low]})

    for one in (reads, notes):
        with ThreadPoolExecutor(1) as pool, world.db.begin() as holder:
            holder.execute(text("SELECT FROM notifications WHERE id = :id FOR UPDATE"), {"id": low})
            going = pool.submit(_in_transaction, world.db, one)
            until(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, "it waits")
            with world.db.begin() as other:
                other.execute(text("SELECT FROM notifications WHERE id = :id FOR UPDATE NOWAIT"), {"id": high})
            holder.commit()
            going.result()
    assert world.value("SELECT count(*) FROM notifications WHERE num_nulls(read_at, pushed_at) = 0") == 2


def _in_transaction(db: Database, go: Callable[[Connection], None]) -> None:
    with db.begin() as connection:
        go(connection)
