"""Backfill: every id is an occurrence before the cursor moves, and what arrives meanwhile is seen by history."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from models.enums import MailboxState
from pipeline.commands import sync
from pipeline.ports import ALL, Listed, Page, Span
from pipeline.runtime.errors import NeedsAuthorization, PageExpired, Transient
from pipeline.stage import Again, Blocked
from pipeline.stages import backfill
from tests.factories import NOON
from tests.stages.fakes import MemorySource
from tests.stages.world import Ran, World

STAGE = backfill.STAGE


def listing(world: World, *, has_dates: bool = False, **columns: object) -> None:
    """Let a listing be asked for; a source without dates is listed in one window."""
    world.source.has_dates = has_dates
    world.rows(
        "INSERT INTO backfills (mailbox_id, since) VALUES (:id, :since)",
        id=world.mailbox_id, since=columns.get("since"),
    )  # fmt: skip


def ids(*names: str) -> list[Listed]:
    return [Listed(name, f"thread {name}", None, ("INBOX",)) for name in names]


def step(world: World) -> Ran:
    return world.run(STAGE, world.mailbox_id)


def standing(world: World) -> tuple[object, ...]:
    query = """
        SELECT b.state, w.cursor, b.listed, b.estimate, b.finished_at IS NOT NULL
          FROM backfills b LEFT JOIN backfill_windows w ON w.backfill_id = b.id ORDER BY b.started_at, w.number DESC
    """
    return tuple(world.rows(query)[0])


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
    assert [stage for stage, _ in step(world).next] == ["fetch", "history"]
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
    world.rows("UPDATE mailboxes SET sync_cursor = NULL")
    listing(world)
    world.source.pages = {None: Page(ids("a"), "page 2"), "page 2": Page(ids("b"), None)}
    step(world)
    assert world.source.calls == ["profile", "list"]
    world.source.cursor = "900"
    step(world)
    assert world.source.calls == ["profile", "list", "list"]
    assert world.value("SELECT sync_cursor FROM mailboxes") == "100"


def test_a_cursor_that_stands_already_is_not_moved_by_a_listing(world: World):
    listing(world)
    world.source.pages = {None: Page((), None)}
    step(world)
    assert world.value("SELECT sync_cursor FROM mailboxes") == "50"


@pytest.mark.fault("F-46")
def test_a_page_token_that_expired_starts_the_listing_again_and_loses_nothing(world: World):
    listing(world)
    world.source.pages = {None: Page(ids("c", "b"), "page 2"), "page 2": PageExpired("token")}
    step(world)
    assert step(world).next == [("backfill", str(world.mailbox_id))]
    assert standing(world)[:3] == ("running", None, 0)
    world.source.pages["page 2"] = Page(ids("a"), None)
    assert [stage for stage, _ in step(world).next] == ["backfill"]
    step(world)
    assert world.value("SELECT count(*) FROM occurrences") == 3
    assert standing(world)[0] == "done"
    (row,) = world.rows(
        "SELECT b.listed, sum(w.listed) AS of_windows FROM backfills b JOIN backfill_windows w ON w.backfill_id = b.id"
        " GROUP BY b.id"
    )
    assert row.listed == row.of_windows, "an id that is listed again counts once"


def test_listing_a_mailbox_again_finds_nothing_new(world: World):
    world.source.pages = {None: Page(ids("b", "a", "a"), None)}
    listing(world)
    assert [stage for stage, _ in step(world).next] == ["fetch", "fetch", "history"]
    listing(world)
    assert [stage for stage, _ in step(world).next] == ["history"]
    assert [row.fresh for row in world.rows("SELECT fresh FROM backfills ORDER BY started_at")] == [2, 0]
    assert world.value("SELECT count(*) FROM occurrences") == 2


def test_a_bounded_listing_asks_the_provider_for_no_more_than_it_needs(world: World):
    listing(world, since=NOON)
    world.source.pages = {None: Page((), None)}
    step(world)
    assert world.source.listed == [(None, Span(after=NOON), None)]


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


class DatedSource(MemorySource):
    """A mailbox of ids with dates, listed newest first in pages of two; a page token names its place."""

    def __init__(self, dates: dict[str, datetime]) -> None:
        super().__init__(has_dates=True)
        self.dates = dates
        self.expired = False
        self.ignores_dates = False

    def list_page(self, cursor: str | None, *, span: Span = ALL, limit: int, label_id: str | None = None) -> Page:
        self.listed.append((cursor, span, label_id))
        span = ALL if self.ignores_dates else span
        if cursor is not None and self.expired:
            raise PageExpired("token")
        inside = [
            name
            for name, at in sorted(self.dates.items(), key=lambda one: one[1], reverse=True)
            if (span.after is None or at >= span.after) and (span.before is None or at < span.before)
        ]
        start = int(cursor or 0)
        more = str(start + 2) if len(inside) > start + 2 else None
        return Page([Listed(name) for name in inside[start : start + 2]], more)


def dated(world: World, *days_ago: int) -> DatedSource:
    """Put a dated mailbox behind the world's; ids are d0, d30, ... by their age."""
    now = world.value("SELECT now()")
    source = DatedSource({f"d{days}": now - timedelta(days=days) for days in days_ago})
    world.sources.by_mailbox[world.mailbox_id] = source
    return source


def finish(world: World, most: int = 100) -> int:
    """List to the end; return how many pages it took."""
    for number in range(1, most):
        assert step(world).unsaved == {}
        if world.value("SELECT count(*) FROM backfills WHERE state = 'running'") == 0:
            return number
    raise AssertionError(f"still listing after {most} pages")


def recorded(world: World) -> list[str]:
    return [
        row.provider_id for row in world.rows("SELECT provider_id FROM occurrences ORDER BY created_at, provider_id")
    ]


def test_windows_go_from_the_newest_mail_to_the_oldest_and_leave_nothing_between_them(world: World):
    source = dated(world, 0, 1, 29, 31, 400, 2_000, 9_000)
    world.rows("INSERT INTO backfills (mailbox_id) VALUES (:id)", id=world.mailbox_id)
    finish(world)
    assert recorded(world) == list(source.dates)
    spans = [span for cursor, span, _ in source.listed if cursor is None]
    assert spans[0].before is None
    assert spans[-1].after is None
    assert all(upper.after == lower.before for upper, lower in pairwise(spans))


@pytest.mark.fault("F-46")
def test_a_window_resumes_where_it_was_and_an_expired_token_costs_only_its_own_window(world: World):
    source = dated(world, 1, 2, 3, 40, 41, 42)
    world.rows("INSERT INTO backfills (mailbox_id) VALUES (:id)", id=world.mailbox_id)
    for _ in range(3):
        step(world)
    source.expired = True
    step(world)
    source.expired = False
    source.listed.clear()
    finish(world)
    assert sorted(recorded(world)) == sorted(source.dates)
    assert source.listed[0][1].before is not None, "the newest window was listed again"


def test_a_window_too_wide_for_its_page_tokens_is_narrowed_until_it_can_be_listed(world: World):
    source = dated(world, *range(1, 24, 2))
    world.rows("INSERT INTO backfills (mailbox_id) VALUES (:id)", id=world.mailbox_id)
    source.expired = True
    for _ in range(60):
        step(world)
        world.rows("UPDATE backfill_windows SET started_at = now()")
    width = world.value("SELECT max(now() - after_at) FROM backfill_windows WHERE number = 0")
    assert width <= timedelta(days=8)
    source.expired = False
    finish(world)
    assert sorted(recorded(world)) == sorted(source.dates)


def test_page_tokens_that_are_always_refused_are_asked_for_less_and_less_often(world: World):
    source = dated(world, *range(1, 24, 2))
    world.rows("INSERT INTO backfills (mailbox_id) VALUES (:id)", id=world.mailbox_id)
    source.expired = True
    for _ in range(100):
        step(world)
    assert len(source.listed) < 20
    assert isinstance(next(iter(step(world).unsaved.values())), Again)


def test_a_listing_asked_to_reach_further_back_goes_on_below_its_old_end(world: World):
    source = dated(world, 1, 2, 3, 50)
    now = world.value("SELECT now()")
    with world.db.begin() as connection:
        sync.request_backfill(connection, world.mailbox_id, now - timedelta(days=10))
    step(world)
    with world.db.begin() as connection:
        sync.request_backfill(connection, world.mailbox_id, now - timedelta(days=20))
        sync.request_backfill(connection, world.mailbox_id, now - timedelta(days=60))
    finish(world)
    assert recorded(world) == list(source.dates)
    assert world.value("SELECT count(*) FROM backfills") == 1


def test_a_provider_that_ignores_dates_is_still_listed_to_an_end(world: World):
    source = dated(world, 1, 2, 3)
    source.ignores_dates = True
    world.rows("INSERT INTO backfills (mailbox_id) VALUES (:id)", id=world.mailbox_id)
    finish(world, most=700)
    assert sorted(recorded(world)) == ["d1", "d2", "d3"]
