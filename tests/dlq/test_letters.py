"""Dead letters: buried with their reason in the runner's transaction, replayed once, discarded for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from dlq import reading
from dlq.letters import Death, Replayed, bury, describe, discard, replay
from models.enums import Cause, Lane, OccurrenceState
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Permanent, Transient
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line
from tests.factories import claimed, emit, mailbox, occurrence, organization, rows, value


def raised(error: Exception) -> Exception:
    """Return an error with a traceback, as a stage would leave it."""
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return caught


def dead(
    db: Database, key: str = "1", error: Exception | None = None, cause: Cause = Cause.PERMANENT
) -> tuple[Job, int]:
    """Put, claim and bury one job; return it and its letter's id."""
    with db.begin() as connection:
        ledger.put(connection, [emit(key, lane=Lane.BACKFILL)])
        (job,) = claimed(connection, lane=Lane.BACKFILL)
        bury(connection, [Death(job, cause, error or raised(Permanent("broken")), by_occurrence=False)])
    return job, value(db, "SELECT id FROM dead_letters WHERE job_id = :id AND resolution IS NULL", id=job.job_id)


def replayed(db: Database, *ids: int) -> Replayed:
    with db.begin() as connection:
        return replay(connection, ids, actor="ann", reason="mended")


def test_a_letter_keeps_everything_needed_to_understand_and_replay_it(db: Database):
    job, _ = dead(db, error=raised(Permanent("broken")), cause=Cause.EXHAUSTED)
    (row,) = rows(db, "SELECT * FROM dead_letters")
    assert (row.job_id, row.org_id, row.stage, row.key, row.lane) == (job.job_id, job.org_id, "fetch", "1", "backfill")
    assert (row.cause, row.error_class, row.error_text, row.attempts) == ("exhausted", "Permanent", "broken", 1)
    assert (row.trace_id, row.resolution) == (job.trace_id, None)
    assert "raise error" in row.error_trace
    assert rows(db, "SELECT state, lease_until FROM jobs")[0] == ("dead", None)


def test_a_letter_keeps_what_its_first_failure_said_too(db: Database):
    with db.begin() as connection:
        ledger.put(connection, [emit("1")])
    for said in ("first", "second"):
        with db.begin() as connection:
            (job,) = claimed(connection)
            error = describe(Transient(said), Cause.EXHAUSTED)
            ledger.postpone(connection, [ledger.Delay(job, timedelta(0), is_failure=True, error=error)])
            ledger.promote(connection)
    with db.begin() as connection:
        (job,) = claimed(connection)
        bury(connection, [Death(job, Cause.EXHAUSTED, Transient("last"), by_occurrence=False)])
        (letter,) = reading.find(connection)
    assert letter.first_error is not None
    assert (letter.first_error["text"], letter.first_error["class"], letter.error_text) == (
        "first",
        "Transient",
        "last",
    )


def test_burying_is_undone_with_its_transaction(db: Database):
    with db.begin() as connection:
        ledger.put(connection, [emit("1")])
        (job,) = claimed(connection)
    with pytest.raises(ZeroDivisionError), db.begin() as connection:  # noqa: PT012 - a whole transaction
        bury(connection, [Death(job, Cause.PERMANENT, Permanent("x"), by_occurrence=False)])
        raise ZeroDivisionError
    assert value(db, "SELECT state FROM jobs") == "running"
    assert rows(db, "SELECT id FROM dead_letters") == []


def test_a_job_buried_twice_has_one_letter(db: Database):
    job, _ = dead(db)
    with db.begin() as connection:
        bury(connection, [Death(job, Cause.CRASHED, None, by_occurrence=False)])
    assert value(db, "SELECT count(*) FROM dead_letters") == 1


@pytest.mark.parametrize(
    ("state", "expected"),
    [(OccurrenceState.SEEN, "quarantined"), (OccurrenceState.FETCHED, "quarantined"), (OccurrenceState.GONE, "gone"),
     (OccurrenceState.IGNORED, "ignored")],
)  # fmt: skip
def test_the_occurrence_of_a_letter_stands_quarantined_and_keeps_its_raw_bytes(
    db: Database, state: OccurrenceState, expected: str
):
    with db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        raw = b"raw" if state is OccurrenceState.FETCHED else None
        found = occurrence(connection, mine, state=state, raw=raw)
        other = occurrence(connection, mine, state=OccurrenceState.SEEN)
        ledger.put(connection, [emit(str(found))])
        (job,) = claimed(connection)
        bury(connection, [Death(job, Cause.PERMANENT, Permanent("x"), by_occurrence=True)])
    standing = {row.id: row for row in rows(db, "SELECT id, state, raw_sha256 FROM occurrences")}
    assert standing[found].state == expected
    assert (standing[found].raw_sha256 is not None) == (raw is not None)
    assert standing[other].state == "seen"


def test_a_replay_gives_a_fresh_budget_in_the_repair_lane_and_keeps_the_fence(db: Database):
    job, letter_id = dead(db)
    rows(db, "UPDATE jobs SET failures = 7, crashes = 2, attempt = 9")
    done = replayed(db, letter_id)
    assert done == Replayed((letter_id,), frozenset({Line("fetch", Lane.REPAIR)}))
    (row,) = rows(db, "SELECT state, lane, attempt, failures, crashes, is_suspect FROM jobs")
    assert tuple(row) == ("ready", "repair", 9, 0, 0, False)
    with db.begin() as connection:
        (fresh,) = claimed(connection, lane=Lane.REPAIR)
        assert ledger.hold(connection, [job], worker=1) == set()
    assert (fresh.job_id, fresh.attempt) == (job.job_id, 10)
    (letter,) = rows(db, "SELECT resolution, resolved_by, resolved_reason, resolved_at FROM dead_letters")
    assert tuple(letter)[:3] == ("replayed", "ann", "mended")


def test_a_replayed_job_that_dies_again_gets_a_second_letter(db: Database):
    job, first = dead(db)
    replayed(db, first)
    with db.begin() as connection:
        (again,) = claimed(connection, lane=Lane.REPAIR)
        bury(connection, [Death(again, Cause.PERMANENT, Permanent("still"), by_occurrence=False)])
    found = rows(db, "SELECT job_id, resolution, attempts FROM dead_letters ORDER BY id")
    assert [tuple(row) for row in found] == [(job.job_id, "replayed", 1), (job.job_id, None, 2)]


def test_a_letter_replayed_before_cannot_revive_the_job_that_died_again(db: Database):
    _, first = dead(db)
    replayed(db, first)
    with db.begin() as connection:
        (again,) = claimed(connection, lane=Lane.REPAIR)
        bury(connection, [Death(again, Cause.PERMANENT, Permanent("still"), by_occurrence=False)])
    assert replayed(db, first) == Replayed((), frozenset())
    assert value(db, "SELECT state FROM jobs") == "dead"


def in_parallel(number: int, call: Callable[[], object]) -> list[object]:
    start = threading.Barrier(number)

    def go(_: int) -> object:
        start.wait()
        return call()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(go, range(number)))


@pytest.mark.fault("F-33")
def test_of_fifty_replays_of_one_letter_at_once_one_replays(database_url: str):
    db = Database(database_url, "test", pool_size=50)
    _, letter_id = dead(db)
    answers = in_parallel(50, lambda: replayed(db, letter_id).letter_ids)
    assert sorted(answers) == [()] * 49 + [(letter_id,)]
    assert value(db, "SELECT count(*) FROM jobs WHERE state = 'ready'") == 1
    assert value(db, "SELECT count(*) FROM letter_actions") == 1
    db.close()


def test_of_a_replay_and_a_discard_at_once_one_wins(db: Database):
    letter_ids = [dead(db, str(number))[1] for number in range(8)]

    def throw_away() -> tuple[int, ...]:
        with db.begin() as connection:
            return discard(connection, letter_ids, actor="bob", reason="old")

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.submit(lambda: replayed(db, *letter_ids).letter_ids), pool.submit(throw_away)
    assert sorted(one.result() + other.result()) == letter_ids
    assert value(db, "SELECT count(*) FROM dead_letters WHERE resolution IS NULL") == 0
    assert value(db, "SELECT count(*) FROM jobs") == len(one.result())


def test_a_discarded_letter_leaves_no_job_and_cannot_be_replayed(db: Database):
    _, letter_id = dead(db)
    with db.begin() as connection:
        assert discard(connection, [letter_id, 999], actor="bob", reason="a duplicate") == (letter_id,)
        assert discard(connection, [letter_id], actor="bob", reason="again") == ()
    assert replayed(db, letter_id).letter_ids == ()
    assert rows(db, "SELECT id FROM jobs") == []
    assert tuple(rows(db, "SELECT resolution, resolved_by FROM dead_letters")[0]) == ("discarded", "bob")


def test_a_dead_job_asked_for_again_stays_dead_until_a_person_acts(db: Database):
    dead(db)
    with db.begin() as connection:
        assert ledger.put(connection, [emit("1")]) == set()
    assert value(db, "SELECT state FROM jobs") == "dead"


def group(error: Exception | None, cause: Cause = Cause.EXHAUSTED) -> str:
    return describe(error, cause)["group"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("message 17 is bad", "message 4242 is bad"),
        (f"no such mailbox {UUID(int=0xABCDEF << 64)}", f"no such mailbox {UUID(int=0x60347721BD0F451A)}"),
        ("blob " + "ab" * 32, "blob " + "0f" * 32),
        ("cannot read 'a.pdf'", "cannot read 'other name.doc'"),
        ('bad value "x"', 'bad value "yy y"'),
        ("the cursor of ann@a.example moved", "the cursor of bob.b@other.example moved"),
        ("at 0x7f00", "at 0x8abc"),
        ("same\nfirst detail", "same\nother detail"),
    ],
)
def test_equal_errors_with_other_ids_are_one_group(one: str, other: str):
    assert group(Transient(one)) == group(Transient(other))


def test_other_classes_and_other_words_are_other_groups():
    groups = {group(Transient("a")), group(Permanent("a")), group(Transient("b")), group(None)}
    assert len(groups) == 4


def test_a_text_that_no_column_can_hold_is_kept_as_well_as_it_can_be(db: Database):
    dead(db, error=raised(Permanent("nul \x00, half \ud800, " + "long " * 1_000)))
    (row,) = rows(db, "SELECT error_text FROM dead_letters")
    assert row.error_text.startswith("nul \ufffd, half ?, long")
    assert len(row.error_text) == 2_000


@pytest.mark.parametrize("said", ["", "\n", "\x00"])
def test_an_error_that_says_nothing_still_makes_a_letter(db: Database, said: str):
    dead(db, error=raised(Permanent(said)))
    assert value(db, "SELECT error_text <> '' FROM dead_letters")


def test_a_worker_that_died_is_named_as_the_error(db: Database):
    assert describe(None, Cause.CRASHED)["class"] == "WorkerDied"


def test_a_letter_cannot_be_resolved_without_a_time(db: Database):
    dead(db)
    with pytest.raises(DBAPIError, match="resolved_when_resolution"):
        rows(db, "UPDATE dead_letters SET resolution = 'discarded'")
