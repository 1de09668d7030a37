"""Forgetting: resolved letters after their time, never open ones, and all that hangs on them."""

from __future__ import annotations

from datetime import timedelta

from actors.schedules import declared
from dlq import bulks, letters, retention
from models.enums import BulkAction, OccurrenceState
from pipeline.runtime.settings import Settings
from tests.dlq.pile import Pile
from tests.factories import mailbox, occurrence, rows, value

KEPT = timedelta(days=30)
_TABLES = ("dead_letters", "bulk_items", "bulks", "letter_actions")


def forget(pile: Pile, limit: int = 10_000) -> int:
    with pile.db.begin() as connection:
        return retention.forget(connection, kept=KEPT, limit=limit)


def age(pile: Pile) -> None:
    """Let more than the time of keeping pass for everything that stands resolved now."""
    rows(pile.db, "UPDATE dead_letters SET resolved_at = resolved_at - :by WHERE resolution IS NOT NULL",
         by=KEPT + timedelta(days=1))  # fmt: skip


def counts(pile: Pile) -> list[int]:
    return [value(pile.db, f"SELECT count(*) FROM {table}") for table in _TABLES]


def test_old_resolved_letters_go_with_their_bulk_and_history_and_nothing_else_does(pile: Pile) -> None:
    pile.add(3, "old")
    pile.start(pile.wish(BulkAction.DISCARD))
    age(pile)
    young = pile.add(2, "young")
    pile.start(pile.wish(BulkAction.DISCARD))
    still_open = pile.add(1, "open")
    assert forget(pile) == 3
    assert forget(pile) == 0
    assert counts(pile) == [3, 2, 1, 4]
    left = [row.id for row in rows(pile.db, "SELECT id FROM dead_letters ORDER BY id")]
    assert left == sorted([*young, *still_open])


def test_what_a_bulk_has_under_way_is_kept(pile: Pile) -> None:
    pile.add(2)
    started = pile.start(pile.wish(per_second=0.001))
    pile.tick()
    age(pile)
    assert forget(pile) == 0
    pile.work()
    pile.tick()
    assert forget(pile) == 0, "a bulk that goes on judges itself by all of its letters"
    assert (pile.bulk(started).passed, pile.bulk(started).waiting, pile.bulk(started).forgotten) == (1, 1, 0)
    with pile.db.begin() as connection:
        assert bulks.cancel(connection, started.bulk_id or 0, actor="bo", reason="enough")
    assert forget(pile) == 1
    found = pile.bulk(started)
    assert (found.total, found.passed, found.skipped, found.forgotten) == (2, 0, 1, 1)


def test_the_beginning_of_an_open_letters_story_is_kept_until_that_is_resolved(pile: Pile) -> None:
    pile.add(1)
    pile.start()
    pile.tick()
    pile.work(lambda _: "die")
    pile.tick()
    age(pile)
    assert forget(pile) == 0
    (again,) = pile.open()
    with pile.db.begin() as connection:
        letters.discard(connection, [again], actor="bo", reason="hopeless")
    age(pile)
    assert forget(pile, limit=1) == 1
    assert counts(pile)[:3] == [1, 0, 0]
    assert forget(pile, limit=1) == 1
    assert counts(pile) == [0, 0, 0, 0]


def test_a_bulk_is_kept_as_long_as_one_of_its_letters(pile: Pile) -> None:
    ids = pile.add(2)
    pile.start(pile.wish(BulkAction.DISCARD))
    rows(pile.db, "UPDATE dead_letters SET resolved_at = resolved_at - :by WHERE id = :id",
         by=KEPT + timedelta(days=1), id=ids[0])  # fmt: skip
    assert forget(pile) == 1
    assert counts(pile) == [1, 1, 1, 3]


def test_no_more_than_the_limit_goes_at_once_the_oldest_first(pile: Pile) -> None:
    ids = pile.add(4)
    with pile.db.begin() as connection:
        letters.discard(connection, ids, actor="bo", reason="old")
    rows(pile.db, "UPDATE dead_letters SET resolved_at = now() - :by - make_interval(secs => id)", by=KEPT)
    assert forget(pile, limit=3) == 3
    assert [row.id for row in rows(pile.db, "SELECT id FROM dead_letters")] == [min(ids)]


def test_the_routine_forgets_after_the_days_that_the_settings_say_and_never_for_zero(pile: Pile) -> None:
    ids = pile.add(1)
    with pile.db.begin() as connection:
        letters.discard(connection, ids, actor="bo", reason="old")
    rows(pile.db, "UPDATE dead_letters SET resolved_at = resolved_at - interval '179 days'")
    for days, left in ((0, 1), (180, 1), (178, 0)):
        settings = Settings(dead_letters_kept_days=days)
        (tidy,) = (one for one in declared(settings) if one.name == "tidy")
        with pile.db.begin() as connection:
            tidy.ask(connection)
        assert counts(pile)[0] == left, days
    assert Settings().dead_letters_kept_days == 180


def test_a_discarded_letter_is_kept_while_its_mail_stands_quarantined(pile: Pile) -> None:
    with pile.db.begin() as connection:
        mailbox_id = mailbox(connection, pile.org_id)
        one = occurrence(connection, mailbox_id, state=OccurrenceState.QUARANTINED)
    (letter_id,) = pile.add(1)
    rows(pile.db, "UPDATE dead_letters SET stage = 'parse', key = :key WHERE id = :id", key=str(one), id=letter_id)
    with pile.db.begin() as connection:
        letters.discard(connection, [letter_id], actor="ann", reason="a scanner's blank page")
    age(pile)
    assert forget(pile) == 0
    rows(pile.db, "UPDATE occurrences SET state = 'gone'")
    assert forget(pile) == 1
