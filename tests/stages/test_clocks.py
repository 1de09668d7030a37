"""Clocks in the database: started once, moved with their tickets, told of once, and computed anew without loss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from models import row_security
from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.commands import calendars as calendar_commands
from pipeline.commands import sla_policies
from pipeline.core.handing_over import Handed, HandOver
from pipeline.runtime import clock_requests, clocks
from pipeline.stage import Work
from pipeline.stages import clocks as stage
from pipeline.stages import routing, send, stitch
from tests.factories import NOON, mail
from tests.stages.post import MemorySender
from tests.stages.test_regrouping import merge, split, undo
from tests.stages.test_send import intend
from tests.stages.world import World

OFFICE = {str(day): [["08:00", "12:00"], ["13:00", "17:00"]] for day in range(5)}
TARGETS = {one: {"response": 120, "resolution": 600} for one in ("low", "normal", "high", "urgent")}
DAY = timedelta(days=1)


def minutes_from_noon() -> int:
    """Return how many minutes after the tests' noon now is, less an hour: mail of then is an hour old."""
    return int((SystemClock().now() - NOON) / timedelta(minutes=1)) - 60


def fresh(world: World, *raws: bytes, **options: Any) -> list[int]:
    """Let mail arrive an hour ago and be routed."""
    return world.routed(*raws, minutes=minutes_from_noon(), **options)


def clocks_of(world: World, ticket_id: UUID) -> dict[str, Any]:
    found = world.rows("SELECT * FROM ticket_clocks WHERE ticket_id = :id", id=ticket_id)
    return {row.kind: row for row in found}


def ledger_of(world: World, ticket_id: UUID) -> list[tuple[str, str, bool]]:
    """Return state, reason and whether it is open of each interval; there must be no gap."""
    found = world.rows("SELECT * FROM clock_intervals WHERE ticket_id = :id ORDER BY began_at, id", id=ticket_id)
    for before, after in pairwise(found):
        assert before.ended_at == after.began_at
    return [(row.state, row.because, row.ended_at is None) for row in found]


def notices(world: World) -> list[tuple[str, str]]:
    said = "SELECT kind, data ->> 'clock' AS clock FROM events WHERE kind LIKE 'sla.%' ORDER BY 1, 2"
    return [tuple(row) for row in world.rows(said)]


def set_status(world: World, ticket_id: UUID, status: str, **more: Any) -> None:
    """Do as a person's command does: change the row, then say so."""
    with world.db.begin() as connection:
        if more.get("bound"):
            row_security.bind(connection, world.org_id)
        connection.exec_driver_sql(
            "UPDATE tickets SET status = %s, closed_at = CASE WHEN %s THEN now() END WHERE id = %s",
            (status, status in ("closed", "spam"), ticket_id),
        )
        clocks.note_status(connection, [ticket_id])


def policy(world: World, name: str = "p", **changes: Any) -> UUID:
    with world.db.begin() as connection:
        return sla_policies.add_policy(connection, world.org_id, {"name": name, "targets": TARGETS, **changes})


def carry_through(world: World) -> int:
    """Run the walks that may begin now to their end, as a worker does; return in how many batches."""
    said = "DELETE FROM jobs WHERE stage = 'clocks' AND run_at <= now() RETURNING key"
    waiting = [row.key for row in world.rows(said)]
    batches = 0
    while waiting:
        batches += 1
        ran = world.run(stage.STAGE, waiting.pop())
        waiting += [key for _, key in ran.next]
    return batches


def assert_row_agrees(world: World, ticket_id: UUID) -> None:
    """A ticket's own row says what its clocks say."""
    (ticket,) = world.rows("SELECT * FROM tickets WHERE id = :id", id=ticket_id)
    found = clocks_of(world, ticket_id)
    assert ticket.response_due_at == found["response"].due_at
    assert ticket.resolution_due_at == found["resolution"].due_at
    running = [one.due_at for one in found.values() if one.state == "running"]
    assert ticket.sla_due_at == min(running, default=None)


def test_a_routed_ticket_has_two_clocks_and_one_open_interval_since_its_first_message(world: World):
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    assert ledger_of(world, ticket.id) == [("running", "new", True)]
    found = clocks_of(world, ticket.id)
    assert {kind: one.due_at - ticket.first_message_at for kind, one in found.items()} == {
        "response": DAY, "resolution": 4 * DAY,
    }  # fmt: skip
    assert {one.state for one in found.values()} == {"running"}
    assert ticket.sla_due_at == ticket.response_due_at == ticket.first_message_at + DAY
    assert_row_agrees(world, ticket.id)
    assert notices(world) == []


def test_spam_has_no_clock_until_somebody_takes_it_out(world: World):
    world.rows("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:o, 'nobody@x.example')", o=world.org_id)
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    assert (ticket.status, ticket.sla_due_at, clocks_of(world, ticket.id)) == ("spam", None, {})
    set_status(world, ticket.id, "open")
    assert ledger_of(world, ticket.id) == [("running", "opened", True)]
    assert world.ticket_of(arrived).response_due_at > ticket.first_message_at + DAY
    assert_row_agrees(world, ticket.id)


@pytest.mark.parametrize("bound", [False, True], ids=["free", "behind the barrier"])
def test_clocks_stand_still_while_the_customer_is_awaited_and_go_on_with_the_answer(world: World, *, bound: bool):
    (arrived,) = fresh(world, mail(message_id="<a@customer.example>"))
    ticket = world.ticket_of(arrived)
    set_status(world, ticket.id, "pending", bound=bound)
    assert {one.state for one in clocks_of(world, ticket.id).values()} == {"paused"}
    assert_row_agrees(world, ticket.id)
    assert world.ticket_of(arrived).sla_due_at is None
    world.stitched(mail(in_reply_to="<a@customer.example>"), minutes=minutes_from_noon() + 70)
    assert world.ticket_of(arrived).status == "open"
    assert ledger_of(world, ticket.id) == [
        ("running", "new", False), ("paused", "pending", False), ("running", "mail", True),
    ]  # fmt: skip
    (ran, stood, _) = world.rows("SELECT ended_at - began_at AS took FROM clock_intervals ORDER BY began_at")
    assert world.ticket_of(arrived).response_due_at == ticket.response_due_at + stood.took
    assert ran.took < DAY
    assert_row_agrees(world, ticket.id)


def test_resolving_and_reopening_keep_the_ledger_whole(world: World):
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    set_status(world, ticket.id, "resolved")
    resolved = world.ticket_of(arrived)
    found = clocks_of(world, ticket.id)
    assert (found["response"].state, found["resolution"].state) == ("cancelled", "met")
    assert (resolved.sla_due_at, resolved.resolved_at is not None) == (None, True)
    set_status(world, ticket.id, "closed")
    assert world.ticket_of(arrived).resolved_at == resolved.resolved_at
    set_status(world, ticket.id, "open")
    assert ledger_of(world, ticket.id) == [
        ("running", "new", False), ("paused", "was over", False), ("running", "open", True),
    ]  # fmt: skip
    assert {one.state for one in clocks_of(world, ticket.id).values()} == {"running"}
    assert world.ticket_of(arrived).resolved_at is None
    assert_row_agrees(world, ticket.id)


def test_a_reply_that_left_meets_the_response_and_one_that_waits_does_not(world: World):
    (arrived,) = fresh(world, mail(message_id="<q@customer.example>"))
    ticket = world.ticket_of(arrived)
    sender = world.senders.by_mailbox.setdefault(world.mailbox_id, MemorySender())
    sender.answers = [Handed(HandOver.LATER, said="busy")]
    intended = intend(world, ticket.id)
    set_status(world, ticket.id, "open")
    world.run(send.STAGE, intended.outbound_id)
    assert clocks_of(world, ticket.id)["response"].state == "running"
    world.rows("UPDATE outbound SET handed_over_at = handed_over_at - interval '1 hour'")
    world.run(send.STAGE, intended.outbound_id)
    sent_at = world.value("SELECT sent_at FROM outbound WHERE state = 'sent'")
    found = clocks_of(world, ticket.id)
    assert (found["response"].state, found["response"].ended_at) == ("met", sent_at)
    assert found["resolution"].state == "running"
    assert world.ticket_of(arrived).responded_at == sent_at
    assert world.ticket_of(arrived).sla_due_at == found["resolution"].due_at


def test_an_answer_by_another_program_counts_and_an_automatic_one_does_not(world: World):
    (arrived,) = fresh(world, mail(message_id="<a@customer.example>"))
    ticket = world.ticket_of(arrived)
    ours: dict[str, str] = {"sender": "help@acme.example", "to": "ann@customer.example"}
    late = minutes_from_noon() + 5
    world.stitched(
        mail(in_reply_to="<a@customer.example>", Auto_Submitted="auto-replied", **ours), minutes=late, labels=("SENT",)
    )
    assert clocks_of(world, ticket.id)["response"].state == "running"
    world.stitched(mail(in_reply_to="<a@customer.example>", **ours), minutes=late + 5, labels=("SENT",))
    found = clocks_of(world, ticket.id)["response"]
    assert (found.state, found.ended_at) == ("met", NOON + timedelta(minutes=late + 5))


def test_what_we_wrote_first_ourselves_is_answered_already(world: World):
    (arrived,) = fresh(world, mail(sender="help@acme.example", to="ann@customer.example"), labels=("SENT",))
    ticket = world.ticket_of(arrived)
    found = clocks_of(world, ticket.id)
    assert (found["response"].state, found["resolution"].state) == ("met", "running")
    assert ticket.responded_at == ticket.first_message_at
    assert_row_agrees(world, ticket.id)


def test_any_number_of_sweepers_tell_of_each_clock_once(world: World):
    fresh(world, *(mail(str(number)) for number in range(12)))
    world.rows(
        "UPDATE ticket_clocks SET due_at = now() - interval '1 minute', warn_at = now() - interval '2 minutes'"
        " WHERE kind = 'response'"
    )
    world.rows("UPDATE ticket_clocks SET warn_at = now() - interval '1 second' WHERE kind = 'resolution'")

    def sweep(_: int) -> clocks.Announced:
        with world.db.begin() as connection:
            return clocks.announce(connection, limit=5)

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(sweep, range(40)))
    assert (sum(one.breaches for one in told), sum(one.warnings for one in told)) == (12, 12)
    assert notices(world) == [("sla.breach", "response")] * 12 + [("sla.warning", "resolution")] * 12
    assert max(one.breach_lag for one in told) >= 60
    assert sweep(0) == clocks.Announced()


def test_a_sweep_passes_over_what_somebody_has_at_hand(world: World):
    fresh(world, mail("a"), mail("b"))
    world.rows("UPDATE ticket_clocks SET due_at = now() - interval '1 minute' WHERE kind = 'response'")
    with world.db.begin() as holding:
        holding.exec_driver_sql("SELECT FROM tickets ORDER BY id LIMIT 1 FOR UPDATE")
        with world.db.begin() as connection:
            connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
            assert clocks.announce(connection).breaches == 1
    with world.db.begin() as connection:
        assert clocks.announce(connection).breaches == 1


def test_a_clock_that_ran_out_unseen_is_told_of_by_whatever_moves_it_and_by_no_sweep_after(world: World):
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    # As if it had come two days earlier.
    world.rows("UPDATE clock_intervals SET began_at = began_at - interval '2 days'")
    set_status(world, ticket.id, "pending")
    assert notices(world) == [("sla.breach", "response")]
    set_status(world, ticket.id, "open")
    with world.db.begin() as connection:
        assert clocks.announce(connection).breaches == 0
    assert notices(world) == [("sla.breach", "response")]


def test_mail_out_of_an_archive_is_late_for_nobody(world: World):
    (arrived,) = world.stitched(mail())
    world.run_jobs(routing.STAGE, world.job(routing.STAGE, arrived, Lane.BACKFILL))
    found = clocks_of(world, world.ticket_of(arrived).id)
    assert all(one.breached_at is not None for one in found.values())
    with world.db.begin() as connection:
        assert clocks.announce(connection) == clocks.Announced()
    assert notices(world) == []


def test_a_policy_that_is_added_reaches_the_open_tickets_in_batches_and_keeps_what_ran(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    arrived = fresh(world, *(mail(str(number)) for number in range(5)))
    tickets = [world.ticket_of(one) for one in arrived]
    set_status(world, tickets[0].id, "pending")
    set_status(world, tickets[1].id, "resolved")
    ended = clocks_of(world, tickets[1].id)
    before = [ledger_of(world, one.id) for one in tickets]
    monkeypatch.setattr(clocks, "BATCH", 2)
    made = policy(world, pauses=["pending"])
    assert carry_through(world) == 3
    assert [ledger_of(world, one.id) for one in tickets] == before
    for one in tickets[2:]:
        found = clocks_of(world, one.id)
        assert (found["response"].policy_id, found["response"].policy_version) == (made, 1)
        assert found["response"].due_at == one.first_message_at + timedelta(minutes=120)
        assert_row_agrees(world, one.id)
    assert clocks_of(world, tickets[0].id)["response"].state == "paused"
    assert clocks_of(world, tickets[1].id) == ended


def test_a_ticket_that_routing_has_at_hand_while_a_policy_is_added_is_timed_by_it_soon_after(world: World):
    (arrived,) = world.stitched(mail(), minutes=minutes_from_noon())
    with world.db.begin() as connection:
        job = world.job(routing.STAGE, arrived)
        items = routing.STAGE.load(connection, [job])
        (outcome,) = routing.STAGE.work(list(items.values()), world.ports)
        routing.STAGE.save(connection, [Work(job, items[job.job_id], outcome)])
        made = policy(world)
        carry_through(world)
    ticket = world.ticket_of(arrived)
    assert clocks_of(world, ticket.id)["response"].policy_id is None
    world.rows("UPDATE jobs SET run_at = now() WHERE stage = 'clocks' AND run_at < now() + interval '2 minutes'")
    assert carry_through(world) == 1
    assert clocks_of(world, ticket.id)["response"].policy_id == made


def test_a_holiday_that_is_added_moves_what_is_due(world: World):
    (arrived,) = fresh(world, mail())
    with world.db.begin() as connection:
        hours = {str(day): [["00:00", "24:00"]] for day in range(7)}
        values = {"name": "all", "timezone": "UTC", "hours": hours}
        calendar = calendar_commands.add_calendar(connection, world.org_id, values)
    policy(world, calendar_id=calendar)
    carry_through(world)
    before = world.ticket_of(arrived)
    assert before.response_due_at == before.first_message_at + timedelta(minutes=120)
    with world.db.begin() as connection:
        day = before.response_due_at.date()
        calendar_commands.add_holidays(connection, world.org_id, calendar, {day: "", day + DAY: "", day + 2 * DAY: ""})
    carry_through(world)
    after = world.ticket_of(arrived)
    assert after.response_due_at - before.response_due_at >= 2 * DAY
    assert clocks_of(world, before.id)["response"].policy_version == 2
    with world.db.begin() as connection:
        assert calendar_commands.delete_holiday(connection, world.org_id, calendar, day)
    carry_through(world)
    assert clocks_of(world, before.id)["response"].policy_version == 3


def test_statuses_that_a_policy_pauses_are_its_own(world: World):
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    policy(world, pauses=["open"])
    carry_through(world)
    set_status(world, ticket.id, "open")
    assert {one.state for one in clocks_of(world, ticket.id).values()} == {"paused"}
    set_status(world, ticket.id, "pending")
    assert {one.state for one in clocks_of(world, ticket.id).values()} == {"running"}


def test_a_merged_ticket_leaves_its_time_to_the_one_that_stays_and_gets_it_back(world: World):
    kept, lost = fresh(world, mail("a", message_id="<a@x>"), mail("b", message_id="<b@x>"))
    stays, goes = world.ticket_of(kept), world.ticket_of(lost)
    # The other one has run for ten hours longer, and the one that stays awaits its customer.
    world.rows("UPDATE clock_intervals SET began_at = began_at - interval '10 hours' WHERE ticket_id = :id", id=goes.id)
    with world.db.begin() as connection:
        clocks.note_status(connection, [goes.id])
    earlier = clocks_of(world, goes.id)["resolution"].due_at
    set_status(world, stays.id, "pending")
    set_status(world, stays.id, "open")
    own = clocks_of(world, stays.id)["resolution"].due_at
    done = merge(world, stays.code, goes.code)
    assert {one.state for one in clocks_of(world, goes.id).values()} == {"cancelled"}
    found = clocks_of(world, stays.id)["resolution"]
    assert (found.state, abs(found.due_at - earlier) < timedelta(seconds=1)) == ("running", True)
    assert ledger_of(world, stays.id)[0] == ("running", f"merge {done}", False)
    assert_row_agrees(world, stays.id)
    undo(world, done)
    assert clocks_of(world, stays.id)["resolution"].due_at == own
    again = clocks_of(world, goes.id)["resolution"]
    assert (again.state, again.due_at) == ("running", earlier)
    assert ledger_of(world, goes.id)[-1] == ("running", "undone", True)
    assert_row_agrees(world, goes.id)


def test_a_ticket_that_is_split_off_stands_where_the_old_one_stood(world: World):
    first, second = fresh(world, mail("a", message_id="<a@x>"), mail("b", in_reply_to="<a@x>"))
    old = world.ticket_of(first)
    set_status(world, old.id, "pending")
    made = split(world, old.code, second)
    assert ledger_of(world, made.ticket_id) == ledger_of(world, old.id)
    assert {one.state for one in clocks_of(world, made.ticket_id).values()} == {"paused"}
    undo(world, made.regrouping_id)
    assert {one.state for one in clocks_of(world, made.ticket_id).values()} == {"cancelled"}
    assert {one.state for one in clocks_of(world, old.id).values()} == {"paused"}


def test_tickets_from_before_there_were_clocks_get_them_without_a_word(world: World):
    arrived = fresh(world, mail("a"), mail("b"), mail("c"))
    running, paused, closed = (world.ticket_of(one) for one in arrived)
    set_status(world, closed.id, "closed")
    world.rows("DELETE FROM ticket_clocks")
    world.rows("DELETE FROM clock_intervals")
    world.rows("UPDATE tickets SET sla_due_at = NULL, response_due_at = first_message_at + interval '1 day'")
    world.rows("UPDATE tickets SET first_message_at = first_message_at - interval '9 days' WHERE id = :i", i=running.id)
    world.rows("UPDATE tickets SET status = 'pending', last_activity_at = now() WHERE id = :id", id=paused.id)
    with world.db.begin() as connection:
        assert clock_requests.request_missing(connection) == 1
    assert carry_through(world) == 1
    assert ledger_of(world, running.id) == [("running", "adopted", True)]
    assert ledger_of(world, paused.id) == [("running", "adopted", False), ("paused", "pending", True)]
    assert clocks_of(world, closed.id) == {}
    assert clocks_of(world, running.id)["response"].breached_at is not None
    assert_row_agrees(world, running.id)
    with world.db.begin() as connection:
        assert clock_requests.request_missing(connection) == 0
        assert clocks.announce(connection) == clocks.Announced()
    assert notices(world) == []


def test_a_person_who_opened_a_ticket_before_a_rule_decided_it_anew_keeps_its_clock(world: World):
    note = mail("Re: a", message_id="<n@x>", in_reply_to="<a@customer.example>", Auto_Submitted="auto-replied")
    (first,) = fresh(world, note)
    ticket = world.ticket_of(first)
    assert clocks_of(world, ticket.id) == {}
    set_status(world, ticket.id, "open")
    before = ledger_of(world, ticket.id)
    fresh(world, mail("a", message_id="<a@customer.example>"))
    assert world.ticket_of(first).id == ticket.id
    assert ledger_of(world, ticket.id) == before
    assert_row_agrees(world, ticket.id)


def test_the_queue_that_a_rule_gave_a_ticket_out_of_still_times_it(world: World):
    queue = world.value("INSERT INTO queues (org_id, slug, name) VALUES (:o, 'q', 'q') RETURNING id", o=world.org_id)
    person = world.value("INSERT INTO people (email, full_name) VALUES ('bo@acme.example', 'Bo') RETURNING id")
    made = policy(world, conditions={"queue_ids": [str(queue)]})
    world.rows("INSERT INTO routing_rules (org_id, name, queue_id) VALUES (:o, 'r', :q)", o=world.org_id, q=queue)
    (arrived,) = fresh(world, mail())
    ticket = world.ticket_of(arrived)
    assert clocks_of(world, ticket.id)["response"].policy_id == made
    world.rows("UPDATE tickets SET queue_id = NULL, assignee_user_id = :p", p=person)
    with world.db.begin() as connection:
        clocks.note_status(connection, [ticket.id])
    assert clocks_of(world, ticket.id)["response"].policy_id == made
    world.rows("UPDATE tickets SET assignee_user_id = NULL")
    with world.db.begin() as connection:
        clocks.note_status(connection, [ticket.id])
    assert clocks_of(world, ticket.id)["response"].policy_id is None


def test_stitching_notes_nothing_for_mail_that_changes_no_status(world: World, monkeypatch: pytest.MonkeyPatch):
    fresh(world, mail(message_id="<a@customer.example>"))
    noted: list[list[UUID]] = []
    note = clocks.note_status
    monkeypatch.setattr(
        clocks, "note_status", lambda connection, ids, **more: (noted.append(list(ids)), note(connection, ids, **more))
    )
    found = world.parsed(mail(in_reply_to="<a@customer.example>"), at=NOON + timedelta(minutes=minutes_from_noon() + 1))
    world.run(stitch.STAGE, found)
    assert noted == [[]]
