"""Field work that mail begins, and what merging, splitting and undoing do to field work."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import DispatchPriority
from pipeline import executor
from pipeline.command import Ask, Command
from pipeline.commands import endings, intake, regrouping, triaging
from pipeline.runtime import regrouping as regroup
from pipeline.runtime.errors import UserError
from pipeline.runtime.field_regrouping import BothWorked
from pipeline.runtime.idempotency import Key
from pipeline.stages import dispatch
from tests import factories
from tests.commands.desks import principal
from tests.factories import mail
from tests.stages.world import World

INCIDENT = "DOOR_WONT_LATCH"


def command(world: World, which: Command[Any, Any], asked: Any, target: object = None) -> dict[str, Any]:
    """Give a command as an administrator; return the answer's body."""
    key = Key(world.org_id, "x", "POST", "/tests", str(uuid4()), b"x")
    ask = Ask(principal(world.org_id, role="admin"), asked, None if target is None else str(target), key=key)
    return executor.run(world.db.begin, which, ask).body


def triage(world: World, ticket_id: UUID, outcome: str = "TRIAGED") -> dict[str, Any]:
    asked = triaging.Triage(priority="URGENT", incident_type=INCIDENT, workflow_outcome=outcome)  # type: ignore[arg-type]
    return command(world, triaging.TRIAGE, asked, ticket_id)


def merge(world: World, into: UUID, *others: UUID) -> int:
    with world.db.begin() as connection:
        first, *rest = regrouping.find_tickets(connection, world.org_id, [str(one) for one in (into, *others)])
        return regrouping.merge_tickets(connection, world.org_id, first, rest, actor="eve", reason="the same")


def undo(world: World, regrouping_id: int) -> None:
    with world.db.begin() as connection:
        regrouping.undo_regrouping(connection, world.org_id, regrouping_id, actor="eve")


def queued(world: World) -> set[UUID]:
    """Return the tickets that stand in the dispatcher's queue."""
    return {row.ticket_id for row in world.rows("SELECT ticket_id FROM dispatches WHERE queue_due_at IS NOT NULL")}


def ids(world: World, *occurrences: int) -> list[UUID]:
    return [world.ticket_of(one).id for one in occurrences]


def two(world: World) -> tuple[UUID, UUID]:
    old, new = ids(world, *world.stitched(mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>")))
    return old, new


def bridge(world: World) -> int:
    """Let a mail come that answers both."""
    (found,) = world.stitched(mail("c", in_reply_to="<b@x>", references="<a@x>", message_id="<c@x>"), minutes=30)
    return found


def test_a_mail_about_an_asset_begins_field_work_under_its_own_trace(world: World):
    with world.db.begin() as connection:
        asset_id = factories.asset(connection, world.org_id)
    ran = world.dispatched(
        *(
            mail("Trouble", "AUS_0123 is down.", sender=f"{name.title()} <{name}@x.example>", in_reply_to="<a@x>")
            for name in ("ann", "bob", "cid")
        )
    )
    assert ran.unsaved == {}
    (ticket,) = world.rows("SELECT * FROM tickets")
    (order,) = world.rows("SELECT * FROM work_orders")
    (case,) = world.rows("SELECT * FROM cases WHERE id IN (SELECT case_id FROM signals)")
    (work,) = world.rows("SELECT * FROM dispatches")
    assert (work.ticket_id, work.asset_id, work.trace_id) == (ticket.id, asset_id, order.trace_id)
    assert (work.customer_email, work.customer_name) == ("ann@x.example", "Ann")
    assert (work.description, work.queue_due_at) == (case.explanation, work.due_at)
    wanted = {2: "EMERGENCY", 4: "URGENT", 8: "URGENT", 24: "ROUTINE"}[case.sla_hours]
    assert work.priority == wanted
    moved = world.rows("SELECT from_state, to_state, command, audit_number FROM transitions ORDER BY id")
    assert [tuple(row)[:3] for row in moved] == [
        ("NEW", "TRIAGED", "stage.triage"), ("TRIAGED", "READY_TO_SCHEDULE", "stage.dispatch"),
    ]  # fmt: skip
    trail = world.rows("SELECT number, actor_kind, action, target_id, trace_id FROM audit_events ORDER BY number")
    steps = world.rows("SELECT audit_number FROM work_order_events WHERE order_id = :id", id=order.id)
    assert [row.number for row in trail] == [row.audit_number for row in (*moved, *steps)]
    assert [(row.actor_kind, row.target_id) for row in trail] == [
        *([("SYSTEM", str(ticket.id))] * 2), ("SYSTEM", str(order.id)),
    ]  # fmt: skip
    assert {row.trace_id for row in trail[1:]} == {order.trace_id}


def test_many_cases_in_one_batch_move_each_ticket_once(world: World):
    cases = []
    with world.db.begin() as connection:
        for number in range(3):
            asset_id = factories.asset(connection, world.org_id, f"A{number}")
            cases.append(factories.case(connection, world.org_id, asset_id))
    (ticket_id,) = ids(world, *world.stitched(mail("x", "nothing known")))
    world.rows(
        """
        INSERT INTO signals (org_id, asset_id, source, reporter, message_id, at, status, text, rules_version, case_id)
        SELECT c.org_id, c.asset_id, 'mail', '', l.message_id, now(), 'down', '', 1, c.id
          FROM cases c, ticket_messages l
        """
    )
    world.run(dispatch.STAGE, *cases)
    assert world.value("SELECT count(*) FROM work_orders WHERE ticket_id = :id", id=ticket_id) == 3
    assert world.value("SELECT count(*) FROM dispatches") == 1
    assert [tuple(row) for row in world.rows("SELECT from_state, to_state FROM transitions")] == [
        ("NEW", "READY_TO_SCHEDULE")
    ]


def test_a_customers_answer_is_shown_and_moves_nothing(world: World):
    (first,) = world.routed(mail("a", message_id="<a@x>"))
    ticket_id = world.ticket_of(first).id
    command(world, triaging.REQUEST_INFO, triaging.Question(question="which door?"), ticket_id)
    (answer,) = world.routed(mail("Re: a", in_reply_to="<a@x>"), minutes=5)
    row = world.ticket_of(answer)
    assert (row.id, row.dispatch_state) == (ticket_id, "NEEDS_INFO")
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=answer)
    assert [tuple(row) for row in world.rows("SELECT kind, data FROM events ORDER BY id DESC LIMIT 1")] == [
        ("ticket.info_arrived", {"message_id": message_id})
    ]
    assert triage(world, ticket_id, "READY_TO_SCHEDULE")["state"] == "READY_TO_SCHEDULE"


def test_the_ticket_that_people_work_on_stays_though_it_is_the_younger_one(world: World):
    old, new = two(world)
    triage(world, new)
    (stays,) = ids(world, bridge(world))
    assert stays == new
    assert world.value("SELECT merged_into FROM tickets WHERE id = :id", id=old) == new
    assert world.value("SELECT dispatch_state FROM tickets WHERE id = :id", id=new) == "TRIAGED"
    assert queued(world) == {new}


def test_two_tickets_that_people_work_on_are_joined_by_no_rule(world: World):
    old, new = two(world)
    triage(world, old)
    triage(world, new, "READY_TO_SCHEDULE")
    (stands,) = ids(world, bridge(world))
    assert stands == new, "its In-Reply-To is the stronger evidence"
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'merged'") == 0
    assert queued(world) == {old, new}


@pytest.mark.parametrize(
    ("worked", "said"), [((0, 1), "work on both in the field"), ((1,), "merge the other way round")]
)
def test_a_person_is_told_why_field_work_does_not_merge_away(world: World, worked: tuple[int, ...], said: str):
    pair = two(world)
    for one in worked:
        triage(world, pair[one])
    with pytest.raises(UserError, match=said):
        merge(world, *pair)
    assert world.value("SELECT count(*) FROM regroupings") == 0


def test_work_that_began_since_the_rules_looked_is_not_merged_away(world: World):
    old, new = two(world)
    triage(world, new)
    with world.db.begin() as connection, pytest.raises(BothWorked):
        regroup.merge(connection, world.org_id, old, [new], reason="seen before")
    assert queued(world) == {new}


def test_a_ticket_that_was_only_made_merges_and_comes_back_with_its_field_work(world: World):
    (mailed,) = ids(world, *world.stitched(mail("a", message_id="<a@x>")))
    places = world.rows(
        """
        WITH a AS (INSERT INTO accounts (org_id, name) VALUES (:org, 'Acme') RETURNING id)
        INSERT INTO sites (org_id, account_id, name) SELECT :org, id, 'North' FROM a RETURNING account_id, id
        """,
        org=world.org_id,
    )[0]
    asked = intake.NewTicket(
        account_id=places.account_id, site_id=places.id, summary="door", priority=DispatchPriority.EMERGENCY
    )
    made = UUID(command(world, intake.CREATE, asked)["id"])
    done = merge(world, mailed, made)
    assert queued(world) == {mailed}
    assert world.value("SELECT priority FROM dispatches WHERE ticket_id = :id", id=mailed) == "EMERGENCY"
    undo(world, done)
    assert queued(world) == {made}
    assert world.value("SELECT count(*) FROM dispatches") == 1
    done = merge(world, mailed, made)
    triage(world, mailed)
    undo(world, done)
    assert queued(world) == {made, mailed}
    assert world.value("SELECT incident_type FROM dispatches WHERE ticket_id = :id", id=mailed) == INCIDENT


def test_a_made_ticket_keeps_its_own_words_when_mail_joins_it(world: World):
    old, new = two(world)
    world.rows(
        "INSERT INTO audit_events (org_id, number, at, actor_kind, actor_id, action, outcome, previous, hash) "
        "VALUES (:org, 1, now(), 'HUMAN', 'x', 'ticket.create', 'done', '', '')",
        org=world.org_id,
    )
    world.rows(
        "INSERT INTO transitions (org_id, ticket_id, kind, to_state, command, audit_number) "
        "VALUES (:org, :id, 'dispatch', 'NEW', 'ticket.create', 1)",
        org=world.org_id, id=old,
    )  # fmt: skip
    world.rows("UPDATE tickets SET subject = 'as I said', requester_email = NULL WHERE id = :id", id=old)
    merge(world, old, new)
    row = world.rows("SELECT subject, requester_email, first_message_at FROM tickets WHERE id = :id", id=old)[0]
    assert (row.subject, row.requester_email) == ("as I said", None)


def test_splitting_leaves_the_field_work_and_is_not_undone_once_people_work_on_the_new_one(world: World):
    first, second = world.stitched(mail("a", message_id="<a@x>"), mail("Re: a", in_reply_to="<a@x>"))
    ticket = world.ticket_of(first)
    triage(world, ticket.id)
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=second)

    def split() -> regrouping.Split:
        with world.db.begin() as connection:
            (found,) = regrouping.find_tickets(connection, world.org_id, [ticket.code])
            return regrouping.split_ticket(connection, world.org_id, found, [message_id], actor="eve", reason="other")

    done = split()
    assert queued(world) == {ticket.id}
    assert world.ticket_of(second).dispatch_state == "NEW"
    undo(world, done.regrouping_id)
    assert world.ticket_of(second).id == ticket.id
    assert queued(world) == {ticket.id}
    done = split()
    triage(world, done.ticket_id)
    with pytest.raises(UserError, match="stays a ticket of its own"):
        undo(world, done.regrouping_id)


def test_work_that_is_over_is_no_reason_for_the_queue(world: World):
    old, new = two(world)
    triage(world, old)
    command(world, endings.CANCEL, endings.Ending(reason="x"), old)
    assert queued(world) == set()
    done = merge(world, old, new)
    undo(world, done)
    assert queued(world) == set()
