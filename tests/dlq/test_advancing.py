"""The tick of bulk replays: pace, canaries, order per ticket, stopping by itself, and many sweepers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from math import floor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from dlq import advancing, letters
from models.enums import BulkState, ItemState, Lane
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.ledger import Line
from tests.dlq.pile import UNORDERED, Pile
from tests.factories import rows, value

SECOND = timedelta(seconds=1)


def test_a_canary_on_the_wrong_group_stops_itself_and_leaves_the_rest_untouched(pile: Pile) -> None:
    wrong, right = pile.add(30, "wrong"), pile.add(10, "right")
    started = pile.start(pile.wish(canaries=2, group=_group(pile, wrong[0])))
    assert pile.tick() == {Line(UNORDERED, Lane.REPAIR)}
    assert pile.tick() == set()
    assert len(pile.work(lambda _: "die")) == 2
    pile.tick()
    found = pile.bulk(started)
    assert (found.state, found.failed, found.skipped, found.waiting) == (BulkState.STOPPED, 2, 28, 0)
    assert found.ended_because == "2 of 2 canaries failed again: Permanent: still broken"
    failed = [item for item in pile.items(started) if item.state == ItemState.FAILED]
    again = rows(pile.db, "SELECT id FROM dead_letters WHERE error_text = 'still broken' ORDER BY id")
    assert {item.again_id for item in failed} == {row.id for row in again}
    assert {item.note for item in failed} == {"Permanent: still broken"}
    assert set(pile.open()) == {*wrong[2:], *right, *(row.id for row in again)}
    pile.audit()


def test_a_canary_on_the_right_group_lets_the_rest_go(pile: Pile) -> None:
    pile.add(30)
    started = pile.start(pile.wish(canaries=3))
    pile.tick()
    assert len(pile.work(most=2)) == 2
    pile.tick()
    assert (pile.bulk(started).state, pile.bulk(started).waiting) == (BulkState.CANARY, 27)
    pile.work()
    pile.tick()
    assert (pile.bulk(started).state, pile.bulk(started).released) == (BulkState.RUNNING, 27)
    pile.work()
    pile.tick()
    assert (pile.bulk(started).state, pile.bulk(started).passed) == (BulkState.DONE, 30)
    pile.audit()


def test_a_canary_that_failed_once_stops_its_bulk_without_waiting_for_its_other_attempts(pile: Pile) -> None:
    pile.add(5)
    started = pile.start(pile.wish(canaries=2))
    pile.tick()
    outcomes = iter(["pass", "fail"])
    pile.work(lambda _: next(outcomes))
    pile.tick()
    found = pile.bulk(started)
    assert (found.state, found.passed, found.failed, found.skipped) == (BulkState.STOPPED, 1, 1, 3)
    assert found.ended_because == "1 of 2 canaries failed again: Transient: not yet"
    assert [item.note for item in pile.items(started) if item.state == "failed"] == [
        "failed once more: Transient: not yet"
    ]
    assert value(pile.db, "SELECT state FROM jobs WHERE failures = 1 AND state <> 'dead'") == "waiting"


def test_a_canary_whose_letter_is_not_open_any_more_is_replaced_by_the_next(pile: Pile) -> None:
    ids = pile.add(4)
    started = pile.start(pile.wish(canaries=1))
    with pile.db.begin() as connection:
        letters.replay(connection, ids[:1], actor="bo", reason="by hand")
    pile.tick()
    pile.tick()
    states = [(item.state, item.note) for item in pile.items(started)]
    assert states[:3] == [("skipped", "not open any more"), ("released", None), ("waiting", None)]


def test_outside_a_canary_a_failure_is_not_the_end(pile: Pile) -> None:
    pile.add(2)
    started = pile.start()
    pile.tick()
    pile.work(lambda _: "fail")
    pile.tick()
    assert pile.bulk(started).released == 2
    rows(pile.db, "UPDATE jobs SET state = 'ready'")
    pile.work()
    pile.tick()
    assert (pile.bulk(started).state, pile.bulk(started).passed) == (BulkState.DONE, 2)


def test_a_bulk_stops_by_itself_when_more_than_half_of_twenty_fail_again(pile: Pile) -> None:
    ids = pile.add(60)
    started = pile.start(pile.wish(per_second=19))
    pile.tick(SECOND)
    pile.work(lambda _: "die")
    pile.tick(timedelta(milliseconds=60))
    assert (pile.bulk(started).state, pile.bulk(started).failed) == (BulkState.RUNNING, 19)
    pile.work(lambda _: "die")
    pile.tick(SECOND)
    found = pile.bulk(started)
    assert (found.state, found.failed, found.skipped) == (BulkState.STOPPED, 20, 40)
    assert found.ended_because == "20 of 20 failed again: Permanent: still broken"
    assert set(pile.open()) & set(ids) == set(ids[20:])
    pile.audit()


def test_a_bulk_of_which_half_passes_goes_on(pile: Pile) -> None:
    pile.add(60)
    started = pile.start(pile.wish(per_second=30))
    for _ in range(3):
        pile.tick(SECOND)
        pile.work(lambda job: "die" if job.job_id % 2 else "pass")
    pile.tick()
    found = pile.bulk(started)
    assert (found.state, found.passed, found.failed) == (BulkState.DONE, 30, 30)


def test_the_pace_is_kept_by_the_databases_time_and_a_rest_of_all_sweepers_saves_nothing_up(pile: Pile) -> None:
    pile.add(40)
    started = pile.start(pile.wish(per_second=4))
    allowance, gone = 1.0, 0
    for milliseconds in (0, 100, 100, 50, 500, 3_600_000, 250, 240, 20, 1_000):
        pile.tick(timedelta(milliseconds=milliseconds))
        allowance = min(allowance + 4 * milliseconds / 1000, 4.0)
        gone, allowance = gone + floor(allowance + 1e-9), allowance - floor(allowance + 1e-9)
        assert pile.bulk(started).released == gone, milliseconds
    assert gone == 14


def test_less_than_one_letter_a_second_is_a_pace_too(pile: Pile) -> None:
    pile.add(4)
    started = pile.start(pile.wish(per_second=0.1))
    for seconds, gone in ((0, 1), (9, 1), (1, 2), (600, 3), (1, 3)):
        pile.tick(timedelta(seconds=seconds))
        assert pile.bulk(started).released == gone


def test_a_bulk_without_a_pace_has_a_bounded_number_on_its_way(pile: Pile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advancing, "IN_LINE", 7)
    monkeypatch.setattr(advancing, "ON_THEIR_WAY", 10)
    pile.add(40)
    started = pile.start()
    assert [_released(pile, started) for _ in range(2)] == [7, 7]
    pile.work(most=4)
    assert _released(pile, started) == 7
    pile.work(lambda _: "fail")
    assert [_released(pile, started) for _ in range(2)] == [10, 10], "what failed once comes back"
    rows(pile.db, "UPDATE jobs SET state = 'blocked' WHERE state IN ('ready', 'waiting')")
    assert _released(pile, started) == 17, "what waits for a person burdens nobody"
    rows(pile.db, "UPDATE jobs SET state = 'waiting', failures = 0 WHERE state IN ('ready', 'blocked')")
    assert _released(pile, started) == 24, "nor what waits for the end of its mailbox's pause"


def test_a_bulk_whose_letters_all_fail_and_come_back_stops_no_other_bulk(
    pile: Pile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "ON_THEIR_WAY", 4)
    pile.add(9, "failing")
    failing = pile.start(pile.wish(text="failing"))
    pile.tick()
    pile.work(lambda _: "fail")
    pile.tick()
    pile.add(3, "healthy")
    healthy = pile.start(pile.wish(text="healthy"))
    pile.tick()
    assert (pile.bulk(failing).released, pile.bulk(failing).waiting) == (4, 5)
    assert (pile.bulk(healthy).released, pile.bulk(healthy).waiting) == (3, 0)


def test_nobody_guesses_how_long_letters_take_that_were_let_go(pile: Pile) -> None:
    pile.add(3)
    started = pile.start(pile.wish(per_second=2))
    pile.tick(SECOND)
    assert pile.bulk(started).eta_seconds is not None
    pile.work(lambda job: "pass" if job.job_id % 2 else "fail")
    pile.tick(SECOND)
    found = pile.bulk(started)
    assert (found.waiting, found.finished_at, found.eta_seconds) == (0, None, None)


def test_a_pace_that_a_person_chose_is_bounded_by_what_may_be_on_its_way_alone(
    pile: Pile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advancing, "IN_LINE", 3)
    monkeypatch.setattr(advancing, "ON_THEIR_WAY", 10)
    pile.add(40)
    started = pile.start(pile.wish(per_second=8))
    for gone in (8, 10, 10):
        pile.tick(SECOND)
        assert pile.bulk(started).released == gone


def test_of_a_ticket_one_letter_is_on_its_way_at_a_time_whatever_bulk_it_is_of(pile: Pile) -> None:
    one, two, free = pile.add_threads(["a", "a", None])
    first = pile.start(pile.wish(letter_ids=[one]))
    second = pile.start(pile.wish(letter_ids=[two, free]))
    pile.tick()
    assert [item.state for item in pile.items(second)] == ["waiting", "released"]
    pile.work()
    pile.tick()
    assert pile.bulk(first).state == BulkState.DONE
    assert [item.state for item in pile.items(second)] == ["released", "passed"]


def test_two_bulks_never_let_two_letters_of_one_ticket_go_in_the_same_tick(pile: Pile) -> None:
    one, two = pile.add_threads(["a", "a"])
    started = [pile.start(pile.wish(letter_ids=[letter])) for letter in (one, two)]
    pile.tick()
    assert sorted(item.state for wish in started for item in pile.items(wish)) == ["released", "waiting"]


fates = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from(["pass", "pass", "die"])), min_size=1, max_size=14
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(letters_=fates, in_line=st.integers(1, 5), canaries=st.integers(0, 2))
def test_whatever_happens_tickets_keep_their_order_and_every_letter_ends_once(
    db: Database, letters_: list[tuple[str | None, str]], in_line: int, canaries: int
) -> None:
    pile = Pile(db)
    before = value(db, "SELECT coalesce(max(id), 0) FROM letter_actions")
    ids = pile.add_threads([thread for thread, _ in letters_])
    thread_of = dict(zip(ids, [thread for thread, _ in letters_], strict=True))
    queued = rows(db, "SELECT key FROM dead_letters WHERE id = ANY(:ids) ORDER BY job_id", ids=ids)
    fate = {row.key: end for row, (_, end) in zip(queued, letters_, strict=True)}
    started = pile.start(pile.wish(canaries=canaries))
    ran: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(advancing, "IN_LINE", in_line)
        for _ in range(3 * len(ids) + 5):
            pile.tick()
            on_their_way = [thread_of[i.letter_id] for i in pile.items(started) if i.state == "released"]
            named = [thread for thread in on_their_way if thread]
            assert len(named) == len(set(named))
            ran += [job.key for job in pile.work(lambda job: fate[job.key])]
    found = pile.bulk(started)
    assert found.state in (BulkState.DONE, BulkState.STOPPED)
    assert found.waiting == found.released == 0
    keys = {row.id: row.key for row in rows(db, "SELECT id, key FROM dead_letters WHERE id = ANY(:ids)", ids=ids)}
    for thread in ("a", "b", "c"):
        mine = [keys[one] for one in ids if thread_of[one] == thread]
        done = [key for key in ran if key in mine]
        assert done == mine[: len(done)]
        assert "die" not in [fate[key] for key in done[:-1]]
    assert len(ran) == len(set(ran)) == found.passed + found.failed
    said = rows(db, "SELECT action FROM letter_actions WHERE id > :before", before=before)
    assert sorted(row.action for row in said) == sorted(
        ["replayed"] * len(ran) + ["bulk_started", f"bulk_{found.state}"]
    )


def test_later_letters_of_a_ticket_whose_earlier_one_failed_again_stay_open(pile: Pile) -> None:
    one, two, three, other = pile.add_threads(["a", "a", "a", "b"])
    started = pile.start()
    pile.tick()
    pile.work(lambda job: "die" if job.job_id == pile.items(started)[0].job_id else "pass")
    pile.tick()
    assert [(item.letter_id, item.state) for item in pile.items(started)] == [
        (one, "failed"), (two, "skipped"), (three, "skipped"), (other, "passed"),
    ]  # fmt: skip
    assert pile.items(started)[1].note == "an earlier one of its ticket failed again"
    assert {two, three} < set(pile.open())


def test_many_sweepers_at_once_let_each_letter_go_once(database_url: str) -> None:
    db = Database(database_url, "test", pool_size=12)
    pile = Pile(db)
    pile.add(150)
    started = pile.start()

    def sweep(_: int) -> int:
        lines = 0
        for _ in range(20):
            with db.begin() as connection:
                lines += len(advancing.advance(connection))
            pile.work(most=9)
        return lines

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as pool:
        patch.setattr(advancing, "IN_LINE", 11)
        list(pool.map(sweep, range(8)))
    while pile.bulk(started).state is BulkState.RUNNING:
        pile.tick()
        pile.work()
    assert pile.bulk(started).passed == 150
    assert pile.actions("replayed") == 150
    pile.audit()
    db.close()


def test_while_another_transaction_is_at_it_a_tick_does_nothing(pile: Pile) -> None:
    pile.add(1)
    pile.start()
    with pile.db.begin() as other:
        assert advancing.advance(other) != set()
        assert pile.tick() == set()


def test_within_the_pause_a_bulk_is_left_alone(pile: Pile) -> None:
    pile.add(2)
    started = pile.start(pile.wish(per_second=0.5))
    pause = timedelta(hours=1)
    with pile.db.begin() as connection:
        assert advancing.advance(connection, pause=pause) != set(), "the first tick comes at once"
    rows(pile.db, "UPDATE bulks SET allowance = 9")
    with pile.db.begin() as connection:
        assert advancing.advance(connection, pause=pause) == set()
        assert advancing.advance(connection) != set()
    rows(pile.db, "UPDATE bulks SET topped_up_at = now() + interval '1 day'")
    pile.work()
    with pile.db.begin() as connection:
        advancing.advance(connection, pause=pause)
    assert pile.bulk(started).state == BulkState.DONE, "a clock that was set back keeps nobody waiting"


def test_a_letter_that_died_again_and_was_replayed_by_hand_at_once_has_failed_nevertheless(pile: Pile) -> None:
    (first,) = pile.add(1)
    started = pile.start()
    pile.tick()
    pile.work(lambda _: "die")
    (again,) = pile.open()
    with pile.db.begin() as connection:
        letters.discard(connection, [again], actor="bo", reason="hopeless")
    pile.tick()
    (item,) = pile.items(started)
    assert (item.letter_id, item.state, item.again_id) == (first, "failed", again)
    assert pile.bulk(started).state == BulkState.DONE


def test_a_job_that_was_asked_for_again_while_it_ran_has_passed_though_its_row_goes_on(pile: Pile) -> None:
    pile.add(["k"])
    started = pile.start()
    pile.tick()
    with pile.db.begin() as connection:
        (job,) = ledger.claim(connection, Line(UNORDERED, Lane.REPAIR), batch=1, worker=2, lease=SECOND)
    pile.tick()
    assert pile.items(started)[0].state == "released"
    with pile.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET is_wanted = true"))
        ledger.settle(connection, [job.job_id])
    pile.tick()
    assert pile.items(started)[0].state == "passed"
    assert value(pile.db, "SELECT state FROM jobs") == "ready"


def _group(pile: Pile, letter_id: int) -> str:
    found = value(pile.db, "SELECT error_group FROM dead_letters WHERE id = :id", id=letter_id)
    assert isinstance(found, str)
    return found


def _released(pile: Pile, started: object) -> int:
    pile.tick()
    return pile.bulk(started).released  # type: ignore[arg-type]
