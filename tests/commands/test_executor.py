"""The executor: its order of checks, keys and twins, versions, states, and the rows it leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from models.enums import Lane, TransitionKind
from models.permissions import Permission
from pipeline import executor
from pipeline.command import Command, Move, Refused
from pipeline.commands import desk
from pipeline.commands.desk_arguments import NewNote, TagChange, TicketUpdate
from pipeline.core.canonical_json import canonical
from pipeline.core.principals import Scope
from pipeline.core.refusing import Because, Refusal
from pipeline.executor import BadMove
from pipeline.runtime import auditing, idempotency, ledger
from pipeline.runtime.auditing import Entry
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.table import COMMANDS, legal_moves
from tests.commands.desks import Desk, principal
from tests.factories import rows, value
from tests.worker_process import until

CLOSE, NOTE = TicketUpdate(status="closed"), NewNote(body_markdown="canary-note: she called")


@pytest.fixture
def ours(db: Database) -> Desk:
    return Desk.of(db)


def code(caught: pytest.ExceptionInfo[Refused]) -> str:
    return caught.value.refusal.code


def test_what_was_done_leaves_its_effect_an_audit_row_and_a_transition(ours: Desk) -> None:
    answer = ours.run(desk.UPDATE, CLOSE, request_id="r-1", trace_id="t-1")
    assert (answer.status, answer.body["status"], answer.version, answer.is_replayed) == (200, "closed", 1, False)
    assert ours.trail() == [("ticket.update", "done", None, str(ours.ticket_id))]
    (row,) = rows(ours.db, "SELECT e.*, d.data FROM audit_events e JOIN audit_details d USING (org_id, number)")
    assert (row.actor_id, row.actor_role, row.actor_kind) == (str(ours.person_id), "agent", "HUMAN")
    assert (row.request_id, row.trace_id, row.target_kind) == ("r-1", "t-1", "ticket")
    assert row.data["changes"] == {"status": {"before": "new", "after": "closed"}}
    statement = "SELECT ticket_id, kind, from_state, to_state, command, audit_number FROM transitions"
    assert [tuple(row) for row in rows(ours.db, statement)] == [
        (ours.ticket_id, "status", "new", "closed", "ticket.update", 1)
    ]


def test_the_permission_is_looked_at_before_the_key_and_a_refusal_is_recorded_and_keeps_no_key(ours: Desk) -> None:
    viewer = principal(ours.org_id, ours.person_id, "viewer")
    with pytest.raises(Refused) as caught:
        ours.run(desk.UPDATE, CLOSE, principal=viewer, key=ours.key())
    assert (code(caught), caught.value.refusal.because) == ("FORBIDDEN", Because.FORBIDDEN)
    assert ours.trail() == [("ticket.update", "refused", "FORBIDDEN", str(ours.ticket_id))]
    assert value(ours.db, "SELECT count(*) FROM idempotency_keys") == 0
    assert ours.ticket().status == "new"


def test_the_same_key_with_the_same_body_has_the_same_answer_and_one_effect(ours: Desk) -> None:
    first = ours.run(desk.ADD_NOTE, NOTE, key=ours.key())
    again = ours.run(desk.ADD_NOTE, NOTE, key=ours.key())
    assert (again.body, again.status, again.version) == (first.body, 201, 1)
    assert (first.is_replayed, again.is_replayed) == (False, True)
    assert value(ours.db, "SELECT count(*) FROM ticket_notes") == 1
    assert len(ours.trail()) == 1


def test_a_replay_comes_before_the_version_and_the_state(ours: Desk) -> None:
    first = ours.run(desk.UPDATE, CLOSE, key=ours.key(), version=0)
    assert ours.run(desk.UPDATE, CLOSE, key=ours.key(), version=0).body == first.body


def test_a_key_is_bound_to_actor_method_path_and_body(ours: Desk) -> None:
    ours.run(desk.ADD_NOTE, NOTE, key=ours.key())
    with pytest.raises(Refused) as caught:
        ours.run(desk.ADD_NOTE, NOTE, key=ours.key(body=b"another"))
    assert code(caught) == "IDEMPOTENCY_PAYLOAD_MISMATCH"
    others = [ours.key(path="/tickets/2"), ours.key(method="PUT"), replace(ours.key(), actor_id="somebody")]
    assert [ours.run(desk.ADD_NOTE, NOTE, key=key).is_replayed for key in others] == [False, False, False]
    assert value(ours.db, "SELECT count(*) FROM ticket_notes") == 4


def test_a_failure_keeps_no_key_so_that_the_same_key_may_be_tried_again(ours: Desk) -> None:
    with pytest.raises(Refused):
        ours.run(desk.UPDATE, CLOSE, key=ours.key(), version=9)
    assert ours.run(desk.UPDATE, CLOSE, key=ours.key(), version=0).status == 200


def test_a_key_is_forgotten_after_its_time(ours: Desk) -> None:
    ours.run(desk.ADD_NOTE, NOTE, key=ours.key())
    ours.run(desk.ADD_NOTE, NOTE, key=ours.key("other"))
    left = value(ours.db, "SELECT min(expires_at) - now() FROM idempotency_keys")
    assert timedelta(hours=47) < left <= timedelta(hours=48)
    ours.change("UPDATE idempotency_keys SET expires_at = now() - interval '1 s' WHERE key = 'k'")
    assert not ours.run(desk.ADD_NOTE, NOTE, key=ours.key(body=b"another")).is_replayed
    ours.change("UPDATE idempotency_keys SET expires_at = now() - interval '1 s' WHERE key = 'k'")
    with ours.db.begin() as connection:
        assert idempotency.clean(connection) == 1
    assert value(ours.db, "SELECT key FROM idempotency_keys") == "other"


@pytest.mark.parametrize("does_commit", [True, False])
def test_a_twin_waits_for_the_first_and_then_replays_or_does_it_itself(ours: Desk, does_commit: bool) -> None:
    ask = ours.ask(NOTE, key=ours.key())
    with ThreadPoolExecutor(1) as pool:
        with ours.db.engine.connect() as first:
            executor.execute(first, desk.ADD_NOTE, ask)
            twin = pool.submit(executor.run, ours.db.begin, desk.ADD_NOTE, ask)
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            until(lambda: value(ours.db, waiting) == 1, "the twin to wait")
            assert not twin.done()
            first.commit() if does_commit else first.rollback()
        assert twin.result().is_replayed is does_commit
    assert value(ours.db, "SELECT count(*) FROM ticket_notes") == 1
    assert len(ours.trail()) == 1


def test_a_hundred_parallel_equal_requests_have_one_effect(ours: Desk) -> None:
    ask = ours.ask(NOTE, key=ours.key())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: executor.run(ours.db.begin, desk.ADD_NOTE, ask), range(100)))
    assert sum(not answer.is_replayed for answer in found) == 1
    assert {canonical(answer.body) for answer in found} == {canonical(found[0].body)}
    assert value(ours.db, "SELECT count(*) FROM ticket_notes") == 1
    assert ours.trail() == [("ticket.note", "done", None, str(ours.ticket_id))]
    assert ours.ticket().version == 1


def test_parallel_changes_of_one_version_are_one_change_and_conflicts(ours: Desk) -> None:
    def change(n: int) -> str:
        try:
            ours.run(desk.CHANGE_TAGS, TagChange(add=[f"tag{n}"]), version=0)
        except Refused as refused:
            return refused.refusal.code
        return "done"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(change, range(8)))
    assert sorted(found) == ["STALE_VERSION"] * 7 + ["done"]
    assert len(ours.ticket().tags) == 1
    assert [outcome for _, outcome, _, _ in ours.trail()].count("refused") == 7


def test_a_ticket_out_of_reach_is_answered_like_none_and_recorded_as_what_it_is(ours: Desk, db: Database) -> None:
    theirs = Desk.of(db)
    narrow = principal(ours.org_id, ours.person_id, scope=Scope(account_ids=frozenset({uuid4()})))
    said = set()
    for target, who in (
        (str(ours.ticket_id), narrow),
        (str(theirs.ticket_id), None),
        (str(uuid4()), None),
        ("tkt-0", None),
    ):
        with pytest.raises(Refused) as caught:
            ours.run(desk.UPDATE, CLOSE, target=target, **({"principal": who} if who else {}))
        refusal = caught.value.refusal
        said.add((refusal.code, refusal.said, refusal.because))
    assert said == {("TICKET_NOT_FOUND", "your organization has no such ticket", Because.MISSING)}
    assert [row[2] for row in ours.trail()] == ["FORBIDDEN_SCOPE", *["TICKET_NOT_FOUND"] * 3]
    assert theirs.ticket().status == "new"
    assert theirs.trail() == []


def test_a_merged_ticket_takes_no_command(ours: Desk, db: Database) -> None:
    other = Desk.of(db)
    ours.change(
        "UPDATE tickets SET status = 'merged', closed_at = now(), merged_into = :into WHERE id = :id",
        id=ours.ticket_id, into=other.ticket_id,
    )  # fmt: skip
    for command, arguments in ((desk.UPDATE, CLOSE), (desk.ADD_NOTE, NOTE), (desk.CHANGE_TAGS, TagChange(add=["a"]))):
        with pytest.raises(Refused) as caught:
            ours.run(command, arguments)
        assert code(caught) == "INVALID_STATE_TRANSITION"
        assert caught.value.refusal.details["from_state"] == "merged"
    assert [row[1:3] for row in ours.trail()] == [("refused", "INVALID_STATE_TRANSITION")] * 3
    details = rows(ours.db, "SELECT data FROM audit_details ORDER BY number")[0].data
    assert (details["from_state"], details["to_state"]) == ("merged", "closed")


def test_gates_are_asked_in_their_order_and_what_they_say_is_recorded(ours: Desk) -> None:
    said = [
        Refusal("FIRST", "first", details={"missing_ids": ["a"], "password": "canary"}),
        Refusal("SECOND", "second"),
    ]
    closed = replace(desk.UPDATE, gates=[lambda _, __: None, *(lambda _, __, one=one: one for one in said)])
    with pytest.raises(Refused) as caught:
        ours.run(closed, CLOSE)
    assert code(caught) == "FIRST"
    assert ours.trail() == [("ticket.update", "refused", "FIRST", str(ours.ticket_id))]
    details = value(ours.db, "SELECT data FROM audit_details")
    assert details["missing_ids"] == ["a"]
    assert "canary" not in str(details)


def test_a_command_that_needs_a_key_is_refused_without_one(ours: Desk) -> None:
    with pytest.raises(Refused) as caught:
        ours.run(replace(desk.UPDATE, needs_key=True), CLOSE)
    assert (code(caught), caught.value.refusal.because) == ("MISSING_IDEMPOTENCY_KEY", Because.MALFORMED)


def test_an_effect_that_moves_where_its_command_may_not_changes_nothing(ours: Desk) -> None:
    wrong = replace(desk.UPDATE, moves=frozenset({("new", "open")}), wanted=None)
    with pytest.raises(BadMove):
        ours.run(wrong, CLOSE)
    assert ours.ticket().status == "new"
    assert ours.trail() == []


def test_a_move_that_the_table_does_not_have_is_refused_before_the_effect(ours: Desk) -> None:
    narrow = replace(desk.UPDATE, moves=frozenset({("new", "open")}))
    with pytest.raises(Refused) as caught:
        ours.run(narrow, CLOSE)
    assert caught.value.refusal.details == {"from_state": "new", "to_state": "closed"}


def test_several_moves_of_one_command_are_kept_in_their_order(ours: Desk) -> None:
    def twice(connection: object, ask: object, subject: object) -> executor.Effect:
        return executor.Effect({}, moves=[Move("new", "open"), Move("open", "open"), Move("open", "pending")])

    ours.run(replace(desk.UPDATE, effect=twice, wanted=None), CLOSE)
    found = rows(ours.db, "SELECT from_state, to_state FROM transitions ORDER BY id")
    assert [tuple(row) for row in found] == [("new", "open"), ("open", "pending")]


def test_the_trail_is_locked_last_so_that_nobody_who_has_an_equal_job_waits_in_a_circle(ours: Desk) -> None:
    job = Emit("clocks", "k", ours.org_id, None, Lane.REPAIR, 0, "t")
    asking = replace(desk.UPDATE, effect=lambda *_: executor.Effect({}, jobs=[job]), wanted=None)
    with ThreadPoolExecutor(1) as pool:
        with ours.db.begin() as connection:
            ledger.put(connection, [job])
            waiting = pool.submit(ours.run, asking, CLOSE)
            until(lambda: value(ours.db, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "the command waits")
            auditing.append(connection, Entry(ours.org_id, "other", "somebody"))
        assert waiting.result().status == 200
    assert [row[0] for row in ours.trail()] == ["other", "ticket.update"]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda one: one.name)
def test_every_command_may_be_given_by_some_role_and_names_states_of_its_kind(command: Command[object, object]) -> None:  # type: ignore[type-var]
    assert command.permission in Permission
    assert command.from_states is None or {before for before, _ in command.moves} <= {
        *command.from_states,
        *(a for _, a in command.moves),
    }


def test_every_status_that_is_not_final_has_a_way_to_the_end_that_a_person_can_take() -> None:
    """Merged alone is final: undoing its merge (`ticket.merge`) is what ends it."""
    moves = legal_moves(TransitionKind.STATUS)
    states = {state for move in moves for state in move}
    assert states == {"new", "open", "pending", "resolved", "closed", "spam"}
    for start in states:
        reached, more = {start}, {start}
        while more:
            more = {after for before, after in moves if before in more} - reached
            reached |= more
        assert {"closed", "open"} <= reached, f"no way on from {start}"
