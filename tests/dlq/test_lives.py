"""The lives of a job: what a replay forgets of the one before, what a letter counts, and who locks what first."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from dlq import bulks, letters, reading
from dlq.letters import Death, describe
from dlq.reading import Letter
from models.enums import Cause, Lane
from pipeline.commands import replies
from pipeline.runtime import ledger
from pipeline.runtime.errors import Permanent, Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.ledger import Delay, Line
from tests.dlq.pile import LEASE, UNORDERED, Pile
from tests.factories import rows, value
from tests.worker_process import until


def claim(pile: Pile, lane: Lane, *, suspects: bool = False) -> list[Job]:
    with pile.db.begin() as connection:
        line = Line(UNORDERED, lane)
        return ledger.claim(connection, line, batch=100, worker=1, lease=LEASE, suspects=suspects)


def fail(pile: Pile, lane: Lane, said: str) -> None:
    """Let the only job of a line fail once, and be due again."""
    jobs = claim(pile, lane)
    error = describe(Transient(said), Cause.EXHAUSTED)
    with pile.db.begin() as connection:
        ledger.postpone(connection, [Delay(job, timedelta(0), is_failure=True, error=error) for job in jobs])
    with pile.db.begin() as connection:
        ledger.promote(connection)


def die(pile: Pile, lane: Lane, said: str, cause: Cause = Cause.EXHAUSTED) -> Letter:
    """Let the only job of a line die; return its letter."""
    jobs = claim(pile, lane)
    error = None if cause is Cause.CRASHED else Transient(said)
    with pile.db.begin() as connection:
        letters.bury(connection, [Death(job, cause, error, by_occurrence=False) for job in jobs])
        (letter,) = reading.find(connection)
    return letter


def put(pile: Pile, key: str = "k", lane: Lane = Lane.LIVE) -> None:
    with pile.db.begin() as connection:
        ledger.put(connection, [Emit(UNORDERED, key, pile.org_id, pile.mailbox_id, lane, 0, f"trace of {key}")])


def replay(pile: Pile, *ids: int) -> None:
    with pile.db.begin() as connection:
        assert letters.replay(connection, ids, actor="ann", reason="mended").letter_ids == tuple(sorted(ids))


def wake(pile: Pile, key: str, stage: str = UNORDERED) -> None:
    """Let a job go on as a person does who decides about a message that could not be sent."""
    with pile.db.begin() as connection:
        values = {"stage": stage, "key": key, "actor": "bo", "reason": "decided"}
        connection.execute(replies._WAKE, values)


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_first_error_of_a_letter_is_of_its_own_life(pile: Pile, by_hand: bool) -> None:
    put(pile)
    fail(pile, Lane.LIVE, "the old cause")
    old = die(pile, Lane.LIVE, "the old end")
    assert old.first_error is not None
    assert old.first_error["text"] == "the old cause"
    if by_hand:
        wake(pile, "k")
    else:
        replay(pile, old.letter_id)
    lane = Lane.LIVE if by_hand else Lane.REPAIR
    fail(pile, lane, "the new cause")
    new = die(pile, lane, "the new end")
    assert new.first_error is not None
    assert new.first_error["text"] == "the new cause"
    wake(pile, "k")
    assert die(pile, lane, "at once").first_error is None


def test_the_last_failure_counts_and_a_crash_is_no_failure(pile: Pile) -> None:
    put(pile)
    for said in ("one", "two"):
        fail(pile, Lane.LIVE, said)
    exhausted = die(pile, Lane.LIVE, "three")
    assert (exhausted.attempts, exhausted.failures) == (3, 3)
    assert value(pile.db, "SELECT failures FROM jobs") == 3
    replay(pile, exhausted.letter_id)
    assert die(pile, Lane.REPAIR, "", Cause.CRASHED).failures == 0


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_killed_its_process_runs_alone_when_it_is_replayed(pile: Pile, by_hand: bool) -> None:
    put(pile, lane=Lane.REPAIR)
    rows(pile.db, "UPDATE jobs SET company = 90")
    crashed = die(pile, Lane.REPAIR, "", Cause.CRASHED)
    if by_hand:
        wake(pile, "k")
    else:
        replay(pile, crashed.letter_id)
    for number in range(3):
        put(pile, f"healthy {number}", Lane.REPAIR)
    assert [job.key for job in claim(pile, Lane.REPAIR)] == [f"healthy {number}" for number in range(3)]
    (alone,) = claim(pile, Lane.REPAIR, suspects=True)
    assert (alone.key, alone.is_suspect) == ("k", True)
    other = pile.add(1)
    replay(pile, *other)
    assert [job.is_suspect for job in claim(pile, Lane.REPAIR)] == [False]


def test_a_decision_about_a_message_and_one_about_its_letter_wait_for_each_other_in_one_order(pile: Pile) -> None:
    key = str(uuid4())
    (letter_id,) = pile.add([key], stage="send")
    failed: list[DBAPIError] = []

    def decide() -> None:
        try:
            wake(pile, key, "send")
        except DBAPIError as error:
            failed.append(error)

    other = threading.Thread(target=decide)
    with pile.db.begin() as connection:
        bulks._choose(connection, {"org_id": pile.org_id})
        other.start()
        until(
            lambda: value(pile.db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1,
            "a lock",
        )
        assert letters.discard(connection, [letter_id], actor="ann", reason="old") == (letter_id,)
    other.join(timeout=20)
    assert failed == []
    assert rows(pile.db, "SELECT state FROM jobs") == []
    assert [row.action for row in rows(pile.db, "SELECT action FROM letter_actions")] == ["discarded"]


@pytest.mark.parametrize("control", ["\x1b[31m", "\x07", "\x9b31m", "\x7f", "\x08", "\r", "\x0c", "\x85"])
def test_no_letter_holds_what_a_terminal_obeys(control: str) -> None:
    found = describe(Permanent(f"boom {control}\tred\nmore{control}"), Cause.PERMANENT)
    assert found["text"] == f"boom {control}\tred\nmore{control}".replace(control[0], "\ufffd")
    assert describe(Permanent("one\r\ntwo"), Cause.PERMANENT)["text"] == "one\ntwo"
