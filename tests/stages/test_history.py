"""History: what changed is recorded before the cursor moves, and the cursor moves by compare-and-set."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from models.enums import OccurrenceState, ReconcileScope
from pipeline.core.comparison import Comparison
from pipeline.ports import Changes, Listed
from pipeline.runtime import comparing
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


def cursor(world: World) -> str | None:
    found: str | None = world.value("SELECT sync_cursor FROM mailboxes WHERE id = :id", id=world.mailbox_id)
    return found


def seen(world: World, provider_id: str, **options: object) -> int:
    with world.db.begin() as connection:
        return factories.occurrence(connection, world.mailbox_id, provider_id, **options)  # type: ignore[arg-type]


def test_every_page_of_changes_is_read_before_the_cursor_moves(world: World):
    world.source.history = {
        ("50", None): Changes("60", [Listed("a")], next_page="2"),
        ("50", "2"): Changes("70", [Listed("b"), Listed("a")]),
    }
    ran = step(world)
    assert states(world) == {"a": "seen", "b": "seen"}
    assert [emit.stage for emit in ran.emits] == ["fetch", "fetch"]
    assert {emit.lane.value for emit in ran.emits} == {"live"}
    assert cursor(world) == "70"
    assert world.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes")


def test_no_change_moves_the_time_of_the_last_sync_only(world: World):
    world.source.history = {("50", None): Changes("50")}
    assert step(world).next == []
    assert cursor(world) == "50"
    assert world.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes")


def test_a_cursor_that_somebody_else_moved_is_not_overwritten_and_nothing_is_recorded(world: World):
    world.source.history = {("50", None): Changes("60", [Listed("a")])}
    job = world.job(STAGE, world.mailbox_id)
    with world.db.begin() as connection:
        items = STAGE.load(connection, [job])
    results = STAGE.work(list(items.values()), world.ports)
    world.rows("UPDATE mailboxes SET sync_cursor = '55'")
    with pytest.raises(Transient, match="moved"), world.db.begin() as connection:
        STAGE.save(connection, [Work(job, items[job.job_id], results[0])])
    assert cursor(world) == "55"
    assert states(world) == {}


def test_a_deleted_message_keeps_what_is_known_and_an_unread_one_is_gone(world: World):
    seen(world, "read", state=OccurrenceState.FETCHED, raw=b"x")
    seen(world, "unread")
    world.source.history = {("50", None): Changes("60", deleted=["read", "unread", "never seen"])}
    step(world)
    assert states(world) == {"read": "fetched", "unread": "gone", "never seen": "gone"}
    assert world.value("SELECT count(*) FROM occurrences WHERE vanished_at IS NOT NULL") == 3


def test_a_tombstone_is_set_after_a_grace_and_not_when_the_message_comes_back(world: World):
    seen(world, "deleted", state=OccurrenceState.FETCHED, raw=b"x")
    seen(world, "moved", state=OccurrenceState.FETCHED, raw=b"y")
    world.source.history = {
        ("50", None): Changes("60", deleted=["deleted", "moved"]),
        ("60", None): Changes("61", [Listed("moved")]),
        ("61", None): Changes("61"),
    }
    step(world)
    assert tombstones(world) == set()
    world.rows("UPDATE occurrences SET vanished_at = vanished_at - interval '2 minutes'")
    step(world)
    step(world)
    assert tombstones(world) == {"deleted"}
    assert states(world) == {"deleted": "fetched", "moved": "fetched"}


def test_a_tombstone_that_is_named_again_is_read_after_all(world: World):
    world.source.history = {
        ("50", None): Changes("60", deleted=["a"]),
        ("60", None): Changes("61", [Listed("a")]),
    }
    step(world)
    assert states(world) == {"a": "gone"}
    assert [emit.stage for emit in step(world).emits] == ["fetch"]
    assert states(world) == {"a": "seen"}


@pytest.mark.parametrize("label", ["SPAM", "DRAFT", "CHAT"])
def test_what_is_nobody_s_request_is_counted_and_read_when_it_leaves_that_label(world: World, label: str):
    world.source.history = {
        ("50", None): Changes("60", [Listed("a", labels=(label, "UNREAD"))]),
        ("60", None): Changes("61", labels={"a": ("INBOX",)}),
    }
    assert step(world).emits == []
    assert states(world) == {"a": "ignored"}
    (emit,) = step(world).emits
    assert (emit.stage, emit.lane.value) == ("fetch", "live")
    assert states(world) == {"a": "seen"}


def tombstones(world: World) -> set[str]:
    return {row.provider_id for row in world.rows("SELECT provider_id FROM occurrences WHERE deleted_at IS NOT NULL")}


def test_a_message_first_heard_of_by_its_label_is_fetched(world: World):
    world.source.history = {("50", None): Changes("60", labels={"moved here": ("INBOX",)})}
    assert [emit.stage for emit in step(world).emits] == ["fetch"]
    assert states(world) == {"moved here": "seen"}


@pytest.mark.fault("F-43")
def test_a_message_added_and_deleted_in_one_window_is_accounted_for_as_gone(world: World):
    world.source.history = {
        ("50", None): Changes("60", [Listed("flash"), Listed("stays")], next_page="2"),
        ("50", "2"): Changes("61", deleted=["flash"]),
    }
    step(world)
    assert states(world) == {"flash": "gone", "stays": "seen"}


def test_labels_follow_the_provider(world: World):
    seen(world, "a", labels=("INBOX", "UNREAD"))
    seen(world, "b", labels=("INBOX",))
    seen(world, "c", labels=("INBOX",))
    world.source.history = {("50", None): Changes("60", labels={"a": ("INBOX", "Ü x"), "b": ()})}
    step(world)
    labels = {row.provider_id: row.labels for row in world.rows("SELECT provider_id, labels FROM occurrences")}
    assert labels == {"a": ["INBOX", "Ü x"], "b": [], "c": ["INBOX"]}


@pytest.mark.parametrize(("synced_at", "scope"), [(None, "full"), (NOON, "resync")])
def test_an_expired_cursor_is_replaced_at_once_and_a_comparison_finds_what_it_hid(
    world: World, synced_at: object, scope: str
):
    world.rows("UPDATE mailboxes SET last_incremental_sync_at = :at", at=synced_at)
    world.source.history = {("50", None): CursorExpired("404")}
    assert step(world).next == [("reconcile", str(world.mailbox_id))]
    assert cursor(world) == "100"
    since = None if synced_at is None else NOON - timedelta(days=2)
    assert [tuple(row) for row in world.rows("SELECT scope, since, state FROM reconciles")] == [
        (scope, since, "running")
    ]
    assert [tuple(row) for row in world.rows("SELECT cause, state, from_at FROM gaps")] == [
        ("history_expired", "filling", since)
    ]


@pytest.mark.fault("F-41")
def test_a_cursor_that_expires_while_paging_records_nothing_and_is_replaced(world: World):
    world.source.history = {
        ("50", None): Changes("60", [Listed("a")], next_page="2"),
        ("50", "2"): CursorExpired("404"),
    }
    assert step(world).next == [("reconcile", str(world.mailbox_id))]
    assert states(world) == {}


def test_a_mailbox_without_a_cursor_gets_one_before_it_is_listed(world: World):
    world.rows("UPDATE mailboxes SET sync_cursor = NULL")
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert world.source.calls == ["profile"]
    assert cursor(world) == "100"
    assert world.value("SELECT count(*) FROM backfills WHERE state = 'running' AND since IS NULL") == 1


def test_a_provider_that_does_not_know_its_own_cursor_is_not_compared_again_and_again(world: World):
    world.source.cursor = "50"
    world.source.history = {("50", None): CursorExpired("404")}
    assert step(world).next == []
    assert world.value("SELECT count(*) FROM reconciles") == 0
    assert world.value("SELECT last_incremental_sync_at IS NOT NULL FROM mailboxes")


def test_a_provider_that_forgets_again_and_again_leaves_one_gap_and_one_comparison(world: World):
    distances = []
    for number in range(50, 57):
        world.source.cursor = str(number + 1)
        world.source.history = {(str(number), None): CursorExpired("404")}
        step(world)
        distances.append(world.value("SELECT started_at - now() FROM reconciles"))
    assert distances[0] <= timedelta(0)
    assert distances[1] <= timedelta(0)
    assert len(distances) == 7
    assert world.value("SELECT count(*) FROM gaps") == 1, "the gap is widened, not found again"
    assert world.value("SELECT expiries FROM gaps") == 7
    assert world.value("SELECT started_at <= now() FROM reconciles"), "who asks again never puts it off"


def test_what_is_compared_again_after_one_that_was_disturbed_keeps_a_distance(world: World):
    world.rows("INSERT INTO gaps (org_id, mailbox_id, cause, to_at, expiries)"
               " SELECT org_id, id, 'history_expired', now(), 8 FROM mailboxes")  # fmt: skip
    with world.db.begin() as connection:
        comparing.ask_again(connection, world.mailbox_id, Comparison(ReconcileScope.FULL, None))
    distance = world.value("SELECT started_at - now() FROM reconciles")
    assert timedelta(minutes=10) < distance <= timedelta(minutes=15)


def test_a_mailbox_that_is_being_listed_is_not_listed_further_back_for_want_of_a_cursor(world: World):
    world.rows("UPDATE mailboxes SET sync_cursor = NULL")
    world.rows("INSERT INTO backfills (mailbox_id, since) VALUES (:id, :since)", id=world.mailbox_id, since=NOON)
    step(world)
    assert [row.since for row in world.rows("SELECT since FROM backfills")] == [NOON]


def test_more_pages_than_one_job_reads_are_recorded_up_to_where_the_provider_can_go_on(world: World):
    pages = {
        ("50", str(number) if number else None): Changes(
            "900", [Listed(f"m{number}")], next_page=str(number + 1), so_far=str(60 + number)
        )
        for number in range(200)
    }
    world.source.history = dict(pages)
    ran = step(world)
    assert ("history", str(world.mailbox_id)) in ran.next
    count = len(states(world))
    assert 30 < count < 60
    assert cursor(world) == str(60 + count - 1)


def test_a_provider_that_gives_the_same_page_for_ever_is_not_read_for_ever(world: World):
    world.source.history = {
        ("50", None): Changes("60", next_page="again"),
        ("50", "again"): Changes("60", next_page="again"),
    }
    (outcome,) = step(world).unsaved.values()
    assert isinstance(outcome, Transient)


def test_only_the_history_passes_while_a_mailbox_is_tried_and_its_success_opens_it(world: World):
    world.rows("UPDATE mailboxes SET state = 'probing', failures_in_row = 7, trips = 3, paused_by = 'breaker'")
    world.source.history = {("50", None): Changes("60")}
    step(world)
    assert tuple(world.rows("SELECT state, failures_in_row, trips, paused_by FROM mailboxes")[0]) == (
        "active", 0, 0, None,
    )  # fmt: skip


def test_one_mailbox_in_trouble_does_not_hold_up_the_others(world: World):
    other: UUID = world.mailbox("other@acme.example", cursor="9")
    world.source.history = {("50", None): Changes("60", [Listed("a")])}
    world.sources.refused[other] = NeedsAuthorization("consent")
    ran = world.run(STAGE, world.mailbox_id, other)
    assert set(ran.unsaved) == {str(other)}
    assert cursor(world) == "60"
