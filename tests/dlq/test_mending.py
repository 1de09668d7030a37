"""Undoing a discard, and editing the arguments of a dead job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from dlq import history, letters
from dlq.letters import Edited, Restored
from models.enums import Cause, Lane, LetterAction
from pipeline.runtime import ledger
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit
from pipeline.runtime.ledger import Line
from tests.dlq.pile import LEASE, UNORDERED, Pile
from tests.factories import rows, value


def discard(pile: Pile, *ids: int) -> None:
    with pile.db.begin() as connection:
        letters.discard(connection, ids, actor="bo", reason="old")


def restore(pile: Pile, *ids: int) -> Restored:
    with pile.db.begin() as connection:
        return letters.restore(connection, ids, actor="ann", reason="it was needed")


def edit(pile: Pile, letter_id: int, args: dict[str, object]) -> Edited | None:
    with pile.db.begin() as connection:
        return letters.edit(connection, letter_id, args, actor="ann", reason="the topic moved")


def test_an_undone_discard_stands_as_before_under_its_id_and_can_be_replayed(pile: Pile) -> None:
    ids = pile.add(2)
    rows(pile.db, "UPDATE jobs SET place = 7, args = '{\"a\": 1}'")
    rows(pile.db, "UPDATE dead_letters SET place = 7, args = '{\"a\": 1}'")
    kept = "SELECT id, stage, key, org_id, mailbox_id, lane, state, place, attempt, failures, crashes, args, trace_id,"
    kept += " created_at, last_error FROM jobs ORDER BY id"
    jobs, open_letters = rows(pile.db, kept), rows(pile.db, "SELECT * FROM dead_letters ORDER BY id")
    discard(pile, *ids)
    assert restore(pile, *ids) == Restored(tuple(sorted(ids)), {})
    assert rows(pile.db, kept) == jobs
    assert rows(pile.db, "SELECT * FROM dead_letters ORDER BY id") == open_letters
    with pile.db.begin() as connection:
        letters.replay(connection, ids, actor="ann", reason="mended")
    assert {job.attempt for job in pile.work()} == {2}, "the fence goes on growing"
    pile.audit()


def test_burying_keeps_the_place_in_line(pile: Pile) -> None:
    with pile.db.begin() as connection:
        ledger.put(connection, [Emit("dispatch", "k", pile.org_id, None, Lane.LIVE, 42, "t")])
        jobs = ledger.claim(connection, Line("dispatch", Lane.LIVE), batch=1, worker=1, lease=LEASE)
        letters.bury(connection, [letters.Death(job, Cause.PERMANENT, None, by_occurrence=False) for job in jobs])
    assert value(pile.db, "SELECT place FROM dead_letters") == 42


def test_what_cannot_be_restored_is_refused_in_words(pile: Pile) -> None:
    late, twin, still_open, replayed, good = pile.add(5)
    discard(pile, late, twin, good)
    rows(pile.db, "UPDATE dead_letters SET resolved_at = now() - :late WHERE id = :id",
         late=letters.UNDO_WITHIN + timedelta(minutes=1), id=late)  # fmt: skip
    with pile.db.begin() as connection:
        ledger.put(connection, [Emit(UNORDERED, "broken 1", pile.org_id, None, Lane.LIVE, 0, "new")])
        letters.replay(connection, [replayed], actor="ann", reason="mended")
    assert restore(pile, late, twin, still_open, replayed, good, 10**12) == Restored(
        (good,),
        {
            late: "it was discarded more than 3 days ago",
            twin: "an equal job stands in line meanwhile",
            still_open: "it is not discarded",
            replayed: "it was replayed, not discarded",
            10**12: "there is no such letter",
        },
    )
    assert pile.actions("restored") == 1


def test_of_many_restores_at_once_one_restores(pile: Pile) -> None:
    ids = pile.add(3)
    discard(pile, *ids)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: restore(pile, *ids).letter_ids, range(8)))
    assert sorted(answers) == [()] * 7 + [tuple(sorted(ids))]
    assert value(pile.db, "SELECT count(*) FROM jobs") == 3
    assert pile.actions("restored") == 3


def test_a_replay_uses_the_edited_arguments_and_the_former_ones_are_kept(pile: Pile) -> None:
    (letter_id,) = pile.add(1)
    assert edit(pile, letter_id, {"topic": "a"}) == Edited({}, {"topic": "a"})
    assert edit(pile, letter_id, {"topic": "b"}) == Edited({"topic": "a"}, {"topic": "b"})
    assert value(pile.db, "SELECT args FROM dead_letters") == {"topic": "b"}
    with pile.db.begin() as connection:
        letters.replay(connection, [letter_id], actor="ann", reason="mended")
        said = history.actions(connection, letter_id=letter_id)
        newest = history.actions(connection, limit=1)
    (job,) = pile.work()
    assert job.args == {"topic": "b"}
    assert [one.action for one in said] == [LetterAction.REPLAYED, LetterAction.EDITED, LetterAction.EDITED]
    assert said[1].data == {"before": {"topic": "a"}, "after": {"topic": "b"}}
    assert (said[1].actor, said[1].reason) == ("ann", "the topic moved")
    assert newest == said[:1]
    pile.audit()


def test_a_letter_that_is_not_open_is_not_edited(pile: Pile) -> None:
    (letter_id,) = pile.add(1)
    discard(pile, letter_id)
    assert edit(pile, letter_id, {"topic": "a"}) is None
    assert edit(pile, 10**12, {}) is None
    assert pile.actions("edited") == 0


def test_of_edits_at_once_each_keeps_what_was_there_before_it(pile: Pile) -> None:
    (letter_id,) = pile.add(1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: edit(pile, letter_id, {"n": number}), range(6)))
    befores = [one.before.get("n") for one in answers if one]
    last = value(pile.db, "SELECT args FROM jobs")["n"]
    assert sorted([*(one for one in befores if one is not None), last]) == list(range(6))
    assert befores.count(None) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"a": "x\x00y"}, "NUL"),
        ({"a": "\\\x00"}, "NUL"),
        ({"a": "x" * 70_000}, "too long"),
        ({"a": object()}, "no JSON"),
        ({"a": "\ud800"}, "no JSON"),
        ({"a": [float("nan")]}, "no JSON"),
        ({"a": {"b": float("-inf")}}, "no JSON"),
    ],
)
def test_arguments_that_no_row_can_keep_are_refused_in_words(pile: Pile, args: dict[str, object], said: str) -> None:
    (letter_id,) = pile.add(1)
    with pytest.raises(UserError, match=said):
        edit(pile, letter_id, args)
    assert edit(pile, letter_id, {"a": "\\u0000 said, not meant"}) is not None
