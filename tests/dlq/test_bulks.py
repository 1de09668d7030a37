"""Beginning a bulk: once whoever asks how often, each letter in one bulk, in order; taken back; discards whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from dlq import advancing, bulk_reading, bulks, history, letters
from dlq.bulks import Started
from models.enums import BulkAction, BulkState, ItemState, LetterAction
from pipeline.runtime.db import Database
from tests.cli.archive import Archive
from tests.dlq.pile import Pile
from tests.dlq.plans import walked
from tests.factories import organization, rows, value


def at_once(number: int, call: Callable[[], Started]) -> list[Started]:
    barrier = threading.Barrier(number)

    def go(_: int) -> Started:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(go, range(number)))


@pytest.mark.fault("F-33")
def test_fifty_equal_wishes_at_once_are_one_bulk_and_each_letter_is_replayed_once(database_url: str) -> None:
    db = Database(database_url, "test", pool_size=52)
    pile = Pile(db)
    pile.add(45)
    answers = at_once(50, pile.start)
    assert len({one.bulk_id for one in answers}) == 1
    assert sorted(one.is_new for one in answers) == [False] * 49 + [True]
    assert {one.total for one in answers} == {45}
    pile.tick()
    assert len(pile.work()) == 45
    pile.tick()
    found = pile.bulk(answers[0])
    assert (found.state, found.passed, found.failed) == (BulkState.DONE, 45, 0)
    assert pile.start() == Started(None, 0, is_new=False)
    twice = "SELECT letter_id FROM letter_actions WHERE action = 'replayed' GROUP BY 1 HAVING count(*) > 1"
    assert rows(db, twice) == []
    pile.audit()
    db.close()


@pytest.mark.fault("F-33")
def test_fifty_equal_discards_at_once_discard_each_letter_once(database_url: str) -> None:
    db = Database(database_url, "test", pool_size=52)
    pile = Pile(db)
    pile.add(20)
    answers = at_once(50, lambda: pile.start(pile.wish(BulkAction.DISCARD)))
    assert sorted(one.total for one in answers) == [0] * 49 + [20]
    assert pile.actions("discarded") == 20
    pile.audit()
    db.close()


def test_an_equal_wish_joins_the_bulk_under_way_whoever_asks_and_whenever_it_was_counted(pile: Pile) -> None:
    ids = pile.add(3)
    first = pile.start(pile.wish(newest_id=ids[-1]))
    pile.add(1, "another")
    assert first.is_new
    assert pile.start(pile.wish()) == Started(first.bulk_id, 3, is_new=False, left_out=1)
    assert pile.start(pile.wish(newest_id=ids[0])).bulk_id == first.bulk_id
    assert pile.start(pile.wish(stage="dispatch")) == Started(
        pile.bulk(first).bulk_id + 1, 1, is_new=True, left_out=3, under_way=3
    )


def test_a_letter_is_in_one_bulk_at_a_time_and_free_again_afterwards(pile: Pile) -> None:
    ids = pile.add(4)
    chosen = pile.start(pile.wish(letter_ids=ids[:2]))
    rest = pile.start()
    assert (rest.total, rest.left_out, rest.under_way) == (2, 2, 2)
    assert pile.start(pile.wish(stage="dispatch")) == Started(None, 0, is_new=False, left_out=4, under_way=4)
    with pile.db.begin() as connection:
        assert chosen.bulk_id is not None
        assert bulks.cancel(connection, chosen.bulk_id, actor="bo", reason="wait for the update")
    assert pile.start(pile.wish(stage="dispatch")).total == 2


def test_letters_named_by_id_that_are_not_open_or_stand_in_another_bulk_are_left_out_and_counted(pile: Pile) -> None:
    gone, busy, free = pile.add(3)
    with pile.db.begin() as connection:
        letters.discard(connection, [gone], actor="bo", reason="old")
    pile.start(pile.wish(letter_ids=[busy]))
    wish = pile.wish(BulkAction.DISCARD, letter_ids=[gone, busy, free])
    started = pile.start(wish)
    assert (started.total, started.left_out, started.under_way) == (1, 2, 1)
    again = pile.start(wish)
    assert (again.bulk_id, again.left_out, again.under_way) == (None, 3, 1)


def test_no_statement_goes_through_a_flood_of_letters_for_each_of_them(pile: Pile) -> None:
    number = 1_500
    pile.heap(4, "few")
    pile.start(pile.wish(BulkAction.DISCARD))
    pile.heap(2, "two")
    pile.start()
    pile.tick()
    pile.work()
    pile.tick()
    for table in ("jobs", "dead_letters", "bulk_items", "bulks", "letter_actions"):
        rows(pile.db, f"ANALYZE {table}")
    pile.heap(number)
    with walked(pile.db) as met:
        replay = pile.start()
        pile.tick()
        with pile.db.begin() as connection:
            assert bulks.cancel(connection, replay.bulk_id or 0, actor="bo", reason="not yet")
        discard = pile.start(pile.wish(BulkAction.DISCARD))
        with pile.db.begin() as connection:
            ids = bulk_reading.letter_ids(connection, discard.bulk_id or 0, ItemState.PASSED)
            restored = letters.restore(connection, ids, actor="ann", reason="wanted")
            replayed = letters.replay(connection, ids, actor="ann", reason="wanted")
    assert len(ids) == len(restored.letter_ids) == len(replayed.letter_ids) == number - advancing.IN_LINE
    assert max(met.values()) > number
    assert {said: n // number for said, n in met.items() if n > 60 * number} == {}


def test_letters_buried_after_the_count_are_not_meant(pile: Pile) -> None:
    ids = pile.add(2)
    pile.add(["later"])
    assert pile.start(pile.wish(newest_id=ids[-1])).total == 2


def test_another_organizations_letters_are_not_touched_and_its_equal_wish_is_another_bulk(pile: Pile) -> None:
    pile.add(2)
    with pile.db.begin() as connection:
        other = organization(connection)
    assert pile.start(pile.wish(org_id=other)) == Started(None, 0, is_new=False)
    mine = pile.start()
    theirs = Pile(pile.db)
    theirs.add(1, "theirs")
    started = theirs.start()
    assert started.is_new
    with pile.db.begin() as connection:
        assert mine.bulk_id is not None
        assert bulk_reading.bulk(connection, mine.bulk_id, org_id=theirs.org_id) is None
        assert [one.bulk_id for one in bulk_reading.bulks(connection, org_id=theirs.org_id)] == [started.bulk_id]
        assert len(bulk_reading.bulks(connection)) == 2


def test_wishes_about_everything_and_about_each_organization_at_once_share_no_letter(database_url: str) -> None:
    db = Database(database_url, "test", pool_size=20)
    piles = [Pile(db) for _ in range(4)]
    for number, one in enumerate(piles):
        one.add(10, f"of {number}")
    wishes = [one.wish() for one in piles] + [piles[0].wish(org_id=None)] * 4
    waiting = iter(wishes)
    lock = threading.Lock()

    def call() -> Started:
        with lock:
            wish = next(waiting)
        return piles[0].start(wish)

    answers = at_once(len(wishes), call)
    assert sum(one.total for one in answers if one.is_new) == 40
    assert value(db, "SELECT count(DISTINCT letter_id) FROM bulk_items") == 40
    db.close()


def test_canaries_come_in_turn_from_each_kind_of_error_and_the_rest_in_the_order_of_their_jobs(pile: Pile) -> None:
    many, few = pile.add(4, "common"), pile.add(2, "rare")
    started = pile.start(pile.wish(canaries=3))
    order = [item.letter_id for item in pile.items(started)]
    assert order == [many[0], few[0], many[1], many[2], many[3], few[1]]


def test_a_canary_never_overtakes_an_older_letter_of_its_ticket(pile: Pile) -> None:
    old = pile.add_threads(["a"], "common")
    young = pile.add_threads(["a"], "rare")
    free = pile.add_threads([None], "rare")
    order = [item.letter_id for item in pile.items(pile.start(pile.wish(canaries=2)))]
    assert order == [*old, *free, *young]


def test_the_order_key_is_the_ticket_and_before_there_is_one_the_thread_at_the_provider(db: Database) -> None:
    pile = Pile(db)
    with db.begin() as connection:
        archive = Archive(connection)
        message_id = archive.message("The pump leaks", "<1@x>")
        ticket_id = archive.ticket("t-1", message_id)
        stitched = archive.occurrence("b", "stitched", message_id)
    pile.add([stitched], stage="routing")
    pile.add([message_id], stage="triage")
    pile.add([message_id], stage="acknowledge")
    pile.add_threads(["t7", "", None])
    pile.add(["of nobody"])
    keys = [item.order_key for item in pile.items(pile.start())]
    thread = f"thread:{pile.mailbox_id}:t7"
    assert keys == [*[f"ticket:{ticket_id}"] * 3, thread, None, None, None]


def test_a_cancelled_bulk_lets_nothing_go_any_more_and_judges_what_it_had_let_go(pile: Pile) -> None:
    ids = pile.add(5)
    started = pile.start(pile.wish(per_second=2))
    pile.tick(timedelta(seconds=1))
    with pile.db.begin() as connection:
        assert started.bulk_id is not None
        assert bulks.cancel(connection, started.bulk_id, actor="bo", reason="wait")
        assert not bulks.cancel(connection, started.bulk_id, actor="bo", reason="again")
        assert not bulks.cancel(connection, 10**9, actor="bo", reason="nothing there")
    pile.work()
    pile.tick(timedelta(seconds=9))
    found = pile.bulk(started)
    assert (found.state, found.passed, found.skipped, found.released) == (BulkState.CANCELLED, 2, 3, 0)
    assert found.ended_because == "cancelled by bo: wait"
    assert {item.note for item in pile.items(started) if item.state == ItemState.SKIPPED} == {"cancelled by bo"}
    assert pile.open() == ids[2:]
    pile.audit()


def test_a_discard_is_done_whole_with_its_result_list_and_history(pile: Pile) -> None:
    ids = pile.add(3)
    started = pile.start(pile.wish(BulkAction.DISCARD, text="broken"))
    found = pile.bulk(started)
    assert (found.state, found.passed, found.eta_seconds) == (BulkState.DONE, 3, None)
    assert dict(found.selection) == {"text": "broken"}
    assert rows(pile.db, "SELECT id FROM jobs") == []
    with pile.db.begin() as connection:
        assert started.bulk_id is not None
        about = history.actions(connection, bulk_id=started.bulk_id)
        mine = history.actions(connection, letter_id=ids[0])
        page = bulk_reading.items(connection, started.bulk_id, limit=2)
        rest = bulk_reading.items(connection, started.bulk_id, after_place=page[-1].place, state=ItemState.PASSED)
    assert [one.action for one in about] == [LetterAction.BULK_DONE, LetterAction.BULK_STARTED]
    assert (about[-1].actor, about[-1].reason, about[-1].data) == ("ann", "mended", {"letters": 3})
    assert [(one.action, one.actor, one.bulk_id) for one in mine] == [("discarded", "ann", started.bulk_id)]
    assert [one.letter_id for one in [*page, *rest]] == ids
    assert (page[0].stage, page[0].key, page[0].mailbox is not None) == ("dispatch", "broken 0", True)
    pile.audit()
