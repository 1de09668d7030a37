"""History: what changed is recorded before the cursor moves, and the cursor moves by compare-and-set."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from models.enums import OccurrenceState
from pipeline.ports import Changes, Listed
from pipeline.runtime.errors import CursorExpired, NeedsAuthorization, Transient
from pipeline.stage import Work
from pipeline.stages import history
from tests import factories
from tests.factories import NOON
from tests.stages.world import Ran, World

STAGE = history.STAGE


def step(world: World) -> Ran:
    return world.run(STAGE, world.mailbox_id)


def states(world: World) -> dict[str, str]:
    return {row.provider_id: row.state for row in world.rows("SELECT provider_id, state FROM occurrences")}


def cursor(world: World) -> int | None:
    found: int | None = world.value("SELECT history_id FROM mailboxes WHERE id = :id", id=world.mailbox_id)
    return found


def seen(world: World, provider_id: str, **options: object) -> int:
    with world.db.begin() as connection:
        return factories.occurrence(connection, world.mailbox_id, provider_id, **options)  # type: ignore[arg-type]


def test_every_page_of_changes_is_read_before_the_cursor_moves(world: World):
    world.source.history = {
        (50, None): Changes(60, [Listed("a")], next_page="2"),
        (50, "2"): Changes(70, [Listed("b"), Listed("a")]),
    }
    ran = step(world)
    assert states(world) == {"a": "seen", "b": "seen"}
    assert [emit.stage for emit in ran.emits] == ["fetch", "fetch"]
    assert {emit.lane.value for emit in ran.emits} == {"live"}
    assert cursor(world) == 70
    assert world.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes")


def test_no_change_moves_the_time_of_the_last_sync_only(world: World):
    world.source.history = {(50, None): Changes(50)}
    assert step(world).next == []
    assert cursor(world) == 50
    assert world.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes")


def test_a_cursor_never_moves_back(world: World):
    world.source.history = {(50, None): Changes(40, [Listed("a")])}
    step(world)
    assert cursor(world) == 50


def test_a_cursor_that_somebody_else_moved_is_not_overwritten_and_nothing_is_recorded(world: World):
    world.source.history = {(50, None): Changes(60, [Listed("a")])}
    job = world.job(STAGE, world.mailbox_id)
    with world.db.begin() as connection:
        items = STAGE.load(connection, [job])
    results = STAGE.work(list(items.values()), world.ports)
    world.rows("UPDATE mailboxes SET history_id = 55")
    with pytest.raises(Transient, match="moved"), world.db.begin() as connection:
        STAGE.save(connection, [Work(job, items[job.job_id], results[0])])
    assert cursor(world) == 55
    assert states(world) == {}


def test_a_deleted_message_keeps_what_is_known_and_an_unread_one_is_gone(world: World):
    seen(world, "read", state=OccurrenceState.FETCHED, raw=b"x")
    seen(world, "unread")
    world.source.history = {(50, None): Changes(60, deleted=["read", "unread", "never seen"])}
    step(world)
    assert states(world) == {"read": "fetched", "unread": "gone", "never seen": "gone"}
    assert world.value("SELECT count(*) FROM occurrences WHERE deleted_at IS NOT NULL") == 3


def test_a_message_first_heard_of_by_its_label_is_fetched(world: World):
    world.source.history = {(50, None): Changes(60, labels={"moved here": ("INBOX",)})}
    assert [emit.stage for emit in step(world).emits] == ["fetch"]
    assert states(world) == {"moved here": "seen"}


def test_a_message_added_and_deleted_in_one_window_is_accounted_for_as_gone(world: World):
    world.source.history = {
        (50, None): Changes(60, [Listed("flash"), Listed("stays")], next_page="2"),
        (50, "2"): Changes(61, deleted=["flash"]),
    }
    step(world)
    assert states(world) == {"flash": "gone", "stays": "seen"}


def test_labels_follow_the_provider(world: World):
    seen(world, "a", labels=("INBOX", "UNREAD"))
    seen(world, "b", labels=("INBOX",))
    seen(world, "c", labels=("INBOX",))
    world.source.history = {(50, None): Changes(60, labels={"a": ("INBOX", "Ü x"), "b": ()})}
    step(world)
    labels = {row.provider_id: row.labels for row in world.rows("SELECT provider_id, labels FROM occurrences")}
    assert labels == {"a": ["INBOX", "Ü x"], "b": [], "c": ["INBOX"]}


@pytest.mark.parametrize("synced_at", [None, NOON])
def test_an_expired_cursor_starts_a_listing_bounded_by_the_last_good_sync(world: World, synced_at: object):
    world.rows("UPDATE mailboxes SET last_incremental_sync_at = :at", at=synced_at)
    world.source.history = {(50, None): CursorExpired("404")}
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert cursor(world) is None
    assert world.value("SELECT last_sync_error FROM mailboxes").startswith("history cursor expired")
    expected = None if synced_at is None else NOON - timedelta(days=2)
    assert [row.since for row in world.rows("SELECT since FROM backfills WHERE state = 'running'")] == [expected]


def test_a_cursor_that_expires_while_paging_records_nothing_and_resyncs(world: World):
    world.source.history = {
        (50, None): Changes(60, [Listed("a")], next_page="2"),
        (50, "2"): CursorExpired("404"),
    }
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert states(world) == {}


def test_a_mailbox_without_a_cursor_is_listed(world: World):
    world.rows("UPDATE mailboxes SET history_id = NULL")
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert world.source.calls == []


def test_an_expired_cursor_twice_keeps_one_listing(world: World):
    world.source.history = {(50, None): CursorExpired("404")}
    step(world)
    step(world)
    assert world.value("SELECT count(*) FROM backfills") == 1


def test_one_mailbox_in_trouble_does_not_hold_up_the_others(world: World):
    other: UUID = world.mailbox("other@acme.example", history_id=9)
    world.source.history = {(50, None): Changes(60, [Listed("a")])}
    world.sources.refused[other] = NeedsAuthorization("consent")
    ran = world.run(STAGE, world.mailbox_id, other)
    assert set(ran.unsaved) == {str(other)}
    assert cursor(world) == 60
