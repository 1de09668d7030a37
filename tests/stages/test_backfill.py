"""Backfill: every id is an occurrence before the cursor moves, and what arrives meanwhile is seen by history."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.enums import MailboxState
from pipeline.ports import Listed, Page
from pipeline.runtime.errors import NeedsAuthorization, PageExpired, Transient
from pipeline.stage import Again, Blocked
from pipeline.stages import backfill
from tests.factories import NOON
from tests.stages.world import Ran, World

STAGE = backfill.STAGE


def listing(world: World, **columns: object) -> None:
    world.rows(
        "INSERT INTO backfills (mailbox_id, since) VALUES (:id, :since)",
        id=world.mailbox_id, since=columns.get("since"),
    )  # fmt: skip


def ids(*names: str) -> list[Listed]:
    return [Listed(name, f"thread {name}", None, ("INBOX",)) for name in names]


def step(world: World) -> Ran:
    return world.run(STAGE, world.mailbox_id)


def standing(world: World) -> tuple[object, ...]:
    return tuple(world.rows("SELECT state, cursor, listed, estimate, finished_at IS NOT NULL FROM backfills")[0])


def test_a_page_becomes_occurrences_with_a_fetch_each_and_the_listing_goes_on(world: World):
    listing(world)
    world.source.pages = {None: Page(ids("c", "b"), "page 2", 3), "page 2": Page(ids("a"), None, 3)}
    ran = step(world)
    found = {row.provider_id: row for row in world.rows("SELECT * FROM occurrences")}
    assert set(found) == {"b", "c"}
    assert (found["c"].state, found["c"].thread_id, found["c"].labels) == ("seen", "thread c", ["INBOX"])
    assert ran.next == [
        ("fetch", str(found["c"].id)), ("fetch", str(found["b"].id)), ("backfill", str(world.mailbox_id)),
    ]  # fmt: skip
    assert len({emit.trace_id for emit in ran.emits}) == 3
    assert [emit.place for emit in ran.emits[:2]] == [0, 1]
    assert standing(world) == ("running", "page 2", 2, 3, False)


def test_the_last_page_ends_the_listing(world: World):
    listing(world)
    world.source.pages = {None: Page(ids("a"), None)}
    assert [stage for stage, _ in step(world).next] == ["fetch"]
    assert standing(world) == ("done", None, 1, None, True)
    assert world.value("SELECT last_full_sync_at IS NOT NULL FROM mailboxes")
    assert step(world).loaded == 0


def test_an_empty_page_with_a_next_cursor_is_not_the_end(world: World):
    listing(world)
    world.source.pages = {None: Page((), "page 2"), "page 2": Page(ids("a"), None)}
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    step(world)
    assert world.value("SELECT count(*) FROM occurrences") == 1


def test_the_history_cursor_is_taken_before_the_first_list_and_only_then(world: World):
    world.rows("UPDATE mailboxes SET history_id = NULL")
    listing(world)
    world.source.pages = {None: Page(ids("a"), "page 2"), "page 2": Page(ids("b"), None)}
    step(world)
    assert world.source.calls == ["profile", "list"]
    world.source.cursor = 900
    step(world)
    assert world.source.calls == ["profile", "list", "list"]
    assert world.value("SELECT history_id FROM mailboxes") == 100


def test_a_cursor_that_stands_already_is_not_moved_by_a_listing(world: World):
    listing(world)
    world.source.pages = {None: Page((), None)}
    step(world)
    assert world.value("SELECT history_id FROM mailboxes") == 50


def test_a_page_token_that_expired_starts_the_listing_again_and_loses_nothing(world: World):
    listing(world)
    world.source.pages = {None: Page(ids("c", "b"), "page 2"), "page 2": PageExpired("token")}
    step(world)
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert standing(world)[:3] == ("running", None, 2)
    world.source.pages["page 2"] = Page(ids("a"), None)
    assert [stage for stage, _ in step(world).next] == ["backfill"]
    step(world)
    assert world.value("SELECT count(*) FROM occurrences") == 3
    assert standing(world)[0] == "done"


def test_listing_a_mailbox_again_finds_nothing_new(world: World):
    world.source.pages = {None: Page(ids("b", "a", "a"), None)}
    listing(world)
    assert len(step(world).next) == 2
    listing(world)
    assert step(world).next == []
    assert world.value("SELECT count(*) FROM occurrences") == 2


def test_a_bounded_listing_asks_the_provider_for_no_more_than_it_needs(world: World):
    listing(world, since=NOON)
    world.source.pages = {None: Page((), None)}
    step(world)
    assert world.source.listed == [(None, NOON)]


@pytest.mark.parametrize("error", [Transient("503"), NeedsAuthorization("consent"), RuntimeError("a bug")])
def test_trouble_at_the_provider_is_the_outcome_of_that_mailbox_and_moves_nothing(world: World, error: Exception):
    listing(world)
    world.source.pages = {None: error}
    assert step(world).unsaved == {str(world.mailbox_id): error}
    assert standing(world)[:3] == ("running", None, 0)
    assert world.value("SELECT count(*) FROM occurrences") == 0


def test_a_mailbox_that_is_paused_waits_and_one_without_authorization_is_blocked(world: World):
    listing(world)
    world.rows("UPDATE mailboxes SET state = 'paused', paused_until = now() + interval '1 hour'")
    (outcome,) = step(world).unsaved.values()
    assert isinstance(outcome, Again)
    assert timedelta(minutes=59) < outcome.delay <= timedelta(hours=1)
    world.rows("UPDATE mailboxes SET state = :state", state=MailboxState.AUTH_REQUIRED.value)
    (outcome,) = step(world).unsaved.values()
    assert isinstance(outcome, Blocked)
    assert world.source.calls == []


def test_a_mailbox_that_is_gone_or_not_listed_has_nothing_left_to_do(world: World):
    assert step(world).loaded == 0
    assert world.run(STAGE, world.org_id).loaded == 0
