"""The runner: a batch is claimed, worked and settled; one bad item never hurts its batch, and no effect is doubled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from actors import runner
from models.enums import Lane
from pipeline.core.moments import Moment
from pipeline.runtime import ledger
from pipeline.runtime.errors import (
    Forbidden,
    Gone,
    KeyUnknown,
    NeedsAuthorization,
    Permanent,
    Suspended,
    Throttled,
    Transient,
)
from pipeline.runtime.jobs import Job
from pipeline.runtime.ledger import Line
from pipeline.stage import Again, Blocked
from tests.actors.bench import Bench
from tests.factories import claimed, mailbox, organization, rows, value

BOTH = pytest.mark.parametrize("io", [False, True], ids=["pure", "io"])


def outcome_of(bad: str, outcome: Any) -> Any:
    return lambda key: outcome if key == bad else key


@BOTH
def test_a_batch_is_worked_together_and_its_jobs_leave(bench: Bench, *, io: bool):
    bench.put("a", "b", "c")
    assert bench.answer(io=io) == 3
    assert bench.worked == [["a", "b", "c"]]
    assert bench.effects == ["a", "b", "c"]
    assert bench.jobs == {}
    assert bench.answer(io=io) == 0


def test_each_load_knows_when_it_began_also_the_second_one(bench: Bench):
    bench.put("a", "bad")
    began: list[Moment] = []
    taken: list[Moment] = []

    def see(connection: Connection, jobs: Sequence[Job]) -> None:
        began.append(Moment.of(bench.clock))
        taken.extend({job.taken for job in jobs})
        if len(jobs) > 1:
            raise ValueError("this cannot be loaded together")

    before = Moment.of(bench.clock)
    bench.on_load = see
    bench.answer(io=True)
    assert len(taken) == len(began) == 3
    times = [before, *(moment for pair in zip(taken, began, strict=True) for moment in pair)]
    assert [one.monotonic for one in times] == sorted(one.monotonic for one in times)
    assert before.wall <= taken[0].wall


@BOTH
def test_one_bad_item_settles_only_itself(bench: Bench, *, io: bool):
    bench.put("a", "bad", "c")
    bench.doing = outcome_of("bad", ValueError("broken"))
    bench.answer(io=io)
    assert bench.effects == ["a", "c"]
    assert bench.jobs == {"bad": "waiting"}
    assert bench.worked == [["a", "bad", "c"]]
    (row,) = rows(bench.db, "SELECT failures, last_error, run_at > now() AS later FROM jobs")
    assert (row.failures, row.last_error["class"], row.last_error["text"], row.later) == (
        1, "ValueError", "broken", True,
    )  # fmt: skip


def test_an_error_in_saving_a_batch_is_retried_item_by_item_and_work_outside_is_not_done_twice(bench: Bench):
    bench.put("a", "bad", "c")

    def refuse(connection: Connection, keys: list[str]) -> None:
        if "bad" in keys:
            raise ValueError("this cannot be saved")

    bench.on_save = refuse
    bench.answer(io=True)
    assert bench.worked == [["a", "bad", "c"]]
    assert bench.effects == ["a", "c"]
    assert bench.jobs == {"bad": "waiting"}


def test_an_error_in_saving_a_pure_batch_is_retried_item_by_item(bench: Bench):
    bench.put("a", "bad", "c")
    bench.doing = lambda key: "a" if key == "bad" else key  # the unique key of the effects refuses it
    bench.answer()
    assert bench.effects == ["a", "c"]
    assert value(bench.db, "SELECT last_error ->> 'class' FROM jobs WHERE key = 'bad'") == "IntegrityError"
    assert bench.jobs == {"bad": "waiting"}


@BOTH
def test_an_error_in_loading_a_batch_hurts_only_the_item_that_causes_it(bench: Bench, *, io: bool):
    bench.put("1", "x", "3")
    bench.on_load = lambda _, jobs: [int(job.key) for job in jobs] and None
    bench.answer(io=io)
    assert bench.effects == ["1", "3"]
    assert bench.jobs == {"x": "waiting"}


@pytest.mark.parametrize(
    ("error", "changes"),
    [(Permanent("never"), {}), (Gone("vanished"), {}), (KeyError("own"), {"permanent": (KeyError,)})],
)
def test_what_never_goes_away_is_a_dead_letter_at_once(bench: Bench, error: Exception, changes: dict[str, Any]):
    bench.put("a", "bad")
    bench.doing = outcome_of("bad", error)
    bench.answer(**changes)
    assert bench.jobs == {"bad": "dead"}
    (letter,) = rows(bench.db, "SELECT key, cause, error_class, attempts, failures, resolution FROM dead_letters")
    assert tuple(letter) == ("bad", "permanent", type(error).__name__, 1, 1, None)


def test_a_job_that_fails_as_often_as_its_stage_allows_is_a_dead_letter(bench: Bench):
    bench.put("bad")
    bench.doing = outcome_of("bad", Transient("not now"))
    for _ in range(3):
        assert bench.answer(attempts=3) == 1
        bench.wake()
    assert bench.answer(attempts=3) == 0
    (letter,) = rows(bench.db, "SELECT cause, error_text, attempts, failures, trace_id FROM dead_letters")
    assert tuple(letter)[:4] == ("exhausted", "not now", 3, 3)
    assert letter.trace_id == value(bench.db, "SELECT trace_id FROM jobs")


@pytest.mark.parametrize(
    "outcome", [Again(timedelta(minutes=5), "paused"), Throttled("slow down", timedelta(minutes=5))]
)
def test_waiting_is_not_failing(bench: Bench, outcome: Any):
    bench.put("a")
    bench.doing = outcome_of("a", outcome)
    for _ in range(5):
        assert bench.answer(attempts=2) == 1
        bench.wake()
    (row,) = rows(bench.db, "SELECT state, attempt, failures FROM jobs")
    assert tuple(row) == ("ready", 5, 0)
    bench.answer(attempts=2)
    seconds = value(bench.db, "SELECT CAST(extract(epoch FROM run_at - now()) AS float) FROM jobs")
    assert 290 < seconds <= 300


@pytest.mark.parametrize(("state", "left"), [("active", 0), ("paused", 3600), ("suspended", 3600)])
def test_a_wait_for_the_end_of_a_pause_ends_with_it_even_when_it_was_just_over(bench: Bench, state: str, left: int):
    with bench.db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        connection.execute(text("UPDATE mailboxes SET state = :state"), {"state": state})
    bench.put("a", mailbox_id=mine)
    bench.doing = outcome_of("a", Again(timedelta(hours=1), "paused", ends_with_pause=True))
    bench.answer()
    (row,) = rows(bench.db, "SELECT state, failures, CAST(extract(epoch FROM run_at - now()) AS float) AS s FROM jobs")
    assert (row.state, row.failures) == ("waiting", 0)
    assert left - 10 < row.s <= left


def test_a_mailbox_without_authorization_is_marked_and_its_job_waits_for_a_person(bench: Bench):
    with bench.db.begin() as connection:
        org_id = organization(connection)
        mine, other = mailbox(connection, org_id), mailbox(connection, org_id)
    bench.put("a", mailbox_id=mine)
    bench.put("b", mailbox_id=other)
    bench.doing = lambda key: NeedsAuthorization(f"consent for {key} is gone")
    bench.answer()
    assert bench.jobs == {"a": "blocked", "b": "blocked"}
    found = {row.id: (row.state, row.state_reason) for row in rows(bench.db, "SELECT * FROM mailboxes")}
    assert found == {
        mine: ("auth_required", "consent for a is gone"),
        other: ("auth_required", "consent for b is gone"),
    }
    assert value(bench.db, "SELECT sum(failures) FROM jobs") == 0


def test_a_job_held_back_by_a_paused_mailbox_does_not_make_it_ask_for_authorization(bench: Bench):
    with bench.db.begin() as connection:
        mine = mailbox(connection, organization(connection))
        connection.execute(text("UPDATE mailboxes SET state = 'paused', state_reason = 'by a person'"))
    bench.put("a", mailbox_id=mine)
    bench.doing = outcome_of("a", Blocked("by a person"))
    bench.answer()
    assert bench.jobs == {"a": "blocked"}
    assert value(bench.db, "SELECT state FROM mailboxes") == "paused"


def test_a_mailbox_resumed_while_its_job_found_it_closed_strands_nothing(bench: Bench):
    with bench.db.begin() as connection:
        mine = mailbox(connection, organization(connection))
    bench.put("a", mailbox_id=mine)
    # The stage saw the mailbox closed; by the time it settles, a person has opened it and found nothing to unblock.
    bench.doing = outcome_of("a", Blocked("authorization"))
    bench.answer()
    bench.wake()
    assert bench.jobs == {"a": "ready"}


def test_a_step_the_table_does_not_list_is_refused_with_everything_it_came_with(bench: Bench):
    bench.put("a")
    bench.then = lambda done: [done.job.then("elsewhere", "1")]
    bench.answer()
    assert bench.effects == []
    assert bench.jobs == {"a": "waiting"}
    assert value(bench.db, "SELECT last_error ->> 'class' FROM jobs") == "UndeclaredEmit"


@BOTH
def test_a_result_whose_fence_was_lost_changes_nothing(bench: Bench, *, io: bool):
    bench.put("a", "b")

    def lose(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET attempt = attempt + 1, worker = 999 WHERE key = 'a'"))

    def work(key: str) -> str:
        if key == "a":
            with bench.db.begin() as connection:
                lose(connection)
        return key

    if io:
        bench.doing = work
        bench.answer(io=True)
    else:
        runner = bench.runner()
        with bench.db.begin() as connection:
            jobs = claimed(connection, "probe", worker=bench.holdings.worker)
            lose(connection)
        runner._run(bench.stage(), jobs)
    assert bench.effects == ["b"]
    assert bench.jobs == {"a": "running"}
    assert value(bench.db, "SELECT count(*) FROM jobs WHERE stage = 'next'") == 0


def test_a_job_without_an_item_leaves_without_being_worked(bench: Bench):
    bench.put("a", "nothing left")
    bench.absent = {"nothing left"}
    bench.answer()
    assert bench.worked == [["a"]]
    assert bench.jobs == {}


def test_a_batch_in_which_nothing_is_left_to_do_leaves_without_work(bench: Bench):
    bench.put("a")
    bench.absent = {"a"}
    bench.answer()
    assert (bench.worked, bench.jobs, bench.effects) == ([], {}, [])


def test_the_next_step_inherits_lane_place_trace_and_mailbox(bench: Bench):
    with bench.db.begin() as connection:
        mine = mailbox(connection, organization(connection))
    (asked,) = bench.put("a", mailbox_id=mine, lane=Lane.BACKFILL, place=77)
    bench.then = lambda done: [done.job.then("next", "n")]
    bench.answer(Lane.BACKFILL)
    (row,) = rows(bench.db, "SELECT stage, key, lane, place, trace_id, mailbox_id, org_id, attempt FROM jobs")
    assert tuple(row) == ("next", "n", "backfill", 77, asked.trace_id, mine, asked.org_id, 0)
    assert bench.rung == [{Line("next", Lane.BACKFILL)}]


def test_a_full_batch_rings_for_the_rest_before_it_works(bench: Bench):
    bench.put("a", "b", "c")
    seen: list[int] = []
    bench.doing = lambda key: seen.append(len(bench.rung)) or key
    bench.answer(batch=2)
    assert seen == [1, 1]
    assert bench.rung[0] == {Line("probe", Lane.LIVE)}


def test_a_stage_that_asks_for_itself_goes_on(bench: Bench):
    bench.put("page")
    bench.then = lambda done: [done.job.then("probe", done.job.key)]
    bench.answer(emits=("probe",))
    assert bench.jobs == {"page": "ready"}
    assert bench.rung == [{Line("probe", Lane.LIVE)}]


@BOTH
def test_a_backend_that_is_terminated_in_the_middle_is_waited_for_and_nothing_is_charged(bench: Bench, *, io: bool):
    bench.put("a", "b")
    cut = Counter[str]()

    def cut_once(connection: Connection, keys: list[str]) -> None:
        cut["saves"] += 1
        if cut["saves"] <= 2:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    bench.on_save = cut_once
    bench.then = lambda done: [done.job.then("next", done.job.key)]
    bench.answer(io=io)
    assert cut["saves"] == 3
    assert bench.effects == ["a", "b"]
    assert bench.jobs == {}
    assert value(bench.db, "SELECT count(*) FROM jobs WHERE stage = 'next'") == 2
    assert len(bench.worked) == (1 if io else 3)
    assert rows(bench.db, "SELECT * FROM dead_letters") == []


def test_a_deadlock_is_tried_again(bench: Bench):
    bench.put("a")
    tries: list[int] = []

    def deadlock_once(connection: Connection, keys: list[str]) -> None:
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'deadlock_detected'; END $$"))

    bench.on_save = deadlock_once
    bench.answer()
    assert (len(tries), bench.effects, bench.jobs) == (2, ["a"], {})


def test_a_stopping_worker_leaves_a_failing_batch_for_others_uncharged(bench: Bench):
    bench.put("a", "b")

    def stop(connection: Connection, keys: list[str]) -> None:
        bench.stopping.set()
        raise ValueError("cut by the shutdown")

    bench.on_save = stop
    with pytest.raises(ValueError, match="shutdown"):
        bench.answer()
    assert bench.jobs == {"a": "running", "b": "running"}
    with bench.db.begin() as connection:
        ledger.release(connection, bench.holdings.worker)
    assert value(bench.db, "SELECT sum(failures) + sum(crashes) FROM jobs") == 0


def test_a_text_that_no_column_can_hold_still_becomes_a_dead_letter(bench: Bench):
    bench.put("bad")
    bench.doing = outcome_of("bad", Permanent("nul \x00 and half \ud800 a character"))
    bench.answer()
    assert value(bench.db, "SELECT error_text FROM dead_letters") == "nul \ufffd and half ? a character"


def test_outcomes_are_counted(bench: Bench):
    bench.put("a", "again", "bad", "dead")
    answers = {"again": Again(timedelta(0), "x"), "bad": ValueError("x"), "dead": Permanent("x")}
    bench.doing = lambda key: answers.get(key, key)
    bench.answer()
    counted = {
        outcome: bench.metrics.registry.get_sample_value("fieldpost_runs_total", {"stage": "probe", "outcome": outcome})
        for outcome in ("done", "again", "failed", "dead")
    }
    assert counted == {"done": 1, "again": 1, "failed": 1, "dead": 1}


def put_for_mailbox(bench: Bench, *keys: str) -> None:
    with bench.db.begin() as connection:
        mine = mailbox(connection, organization(connection), cursor="5")
    bench.put(*keys, mailbox_id=mine)


def state_of_mailbox(bench: Bench) -> str:
    return str(value(bench.db, "SELECT state FROM mailboxes"))


@pytest.mark.parametrize(
    ("outcome", "job", "mailbox_state"),
    [
        (NeedsAuthorization("consent"), "blocked", "auth_required"),
        (Forbidden("the domain says no"), "blocked", "blocked"),
        (Suspended("mail service not enabled"), "waiting", "suspended"),
        (KeyUnknown("the key 0a1b2c3d", timedelta(minutes=1)), "waiting", "active"),
    ],
)
def test_what_stops_a_mailbox_or_a_process_costs_no_attempt_and_no_letter(
    bench: Bench, outcome: Exception, job: str, mailbox_state: str
):
    put_for_mailbox(bench, "a")
    bench.doing = outcome_of("a", outcome)
    bench.answer(io=True)
    assert bench.jobs == {"a": job}
    assert state_of_mailbox(bench) == mailbox_state
    assert value(bench.db, "SELECT failures FROM jobs") == 0
    assert value(bench.db, "SELECT count(*) FROM dead_letters") == 0


@pytest.mark.parametrize("error", [Transient("503"), Permanent("400"), ValueError("a bug")])
def test_a_job_of_a_mailbox_itself_never_dies_by_an_error_and_its_breaker_opens(bench: Bench, error: Exception):
    put_for_mailbox(bench, "a")
    bench.doing = outcome_of("a", error)
    for _ in range(30):
        bench.wake()
        bench.answer(io=True, by_mailbox=True)
    assert bench.jobs == {"a": "waiting"}
    assert state_of_mailbox(bench) == "paused"
    assert value(bench.db, "SELECT count(*) FROM dead_letters") == 0
    bench.doing = lambda key: key
    bench.wake()
    bench.answer(io=True, by_mailbox=True)
    assert bench.jobs == {}


def test_one_message_that_fails_again_and_again_does_not_pause_its_mailbox(bench: Bench):
    put_for_mailbox(bench, "a")
    bench.doing = outcome_of("a", Transient("500"))
    for _ in range(7):
        bench.wake()
        bench.answer(io=True, by_budget=True)
    assert state_of_mailbox(bench) == "active"


def test_a_flood_of_mail_that_cannot_be_worked_on_does_not_pause_its_mailbox(bench: Bench):
    put_for_mailbox(bench, "a", "b", "c")
    bench.doing = lambda _: ValueError("poison")
    for _ in range(6):
        bench.wake()
        bench.answer(io=True)
    assert state_of_mailbox(bench) == "active"


def test_batches_of_which_nothing_passes_pause_their_mailbox(bench: Bench):
    put_for_mailbox(bench, "a", "b")
    bench.doing = lambda _: Transient("503")
    for _ in range(5):
        bench.wake()
        bench.answer(io=True, by_budget=True)
    assert state_of_mailbox(bench) == "paused"


def test_suspects_have_their_turn_in_a_line_that_always_has_others(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "_THEIR_TURN_SECONDS", -1.0)
    bench.put("suspect")
    rows(bench.db, "UPDATE jobs SET is_suspect = true")
    for number in range(3):
        bench.put(f"new {number}")
    assert bench.answer() == 4
    assert bench.worked[-1] == ["suspect"]
    monkeypatch.setattr(runner, "_THEIR_TURN_SECONDS", 3600.0)
    bench.put("another")
    rows(bench.db, "UPDATE jobs SET is_suspect = true")
    bench.put("new")
    assert bench.answer() == 1
    assert bench.jobs == {"another": "ready"}


def test_suspects_follow_each_other_alone_and_without_a_doorbell_in_between(bench: Bench):
    bench.put("a", "b", "c")
    rows(bench.db, "UPDATE jobs SET is_suspect = true")
    assert bench.answer() == 3
    assert sorted(bench.worked) == [["a"], ["b"], ["c"]]
    assert (bench.effects, bench.jobs) == (["a", "b", "c"], {})
