"""Routing: a new ticket is decided once, by its first message, and never over a person's decision."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from pipeline.core.routing_records import tried_rules
from pipeline.stages import routing
from tests.factories import NOON, mail
from tests.stages.world import World

STAGE = routing.STAGE


def allow(world: World, *patterns: str) -> None:
    for pattern in patterns:
        world.rows(
            "INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, :pattern)",
            org=world.org_id, pattern=pattern,
        )  # fmt: skip


def rule(world: World, **columns: object) -> UUID:
    names = ["org_id", *columns]
    statement = (
        f"INSERT INTO routing_rules ({', '.join(names)}) VALUES ({', '.join(':' + one for one in names)}) RETURNING id"
    )
    with world.db.begin() as connection:
        found: UUID = connection.execute(text(statement), {"org_id": world.org_id, **columns}).scalar_one()
    return found


def queue(world: World, slug: str) -> UUID:
    found: UUID = world.value(
        "INSERT INTO queues (org_id, slug, name) VALUES (:org, :slug, :slug) RETURNING id", org=world.org_id, slug=slug
    )
    return found


def test_without_rules_a_ticket_stays_new_gets_its_clocks_and_goes_on(world: World):
    (found,) = world.stitched(mail())
    ran = world.run(STAGE, found)
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.priority, ticket.closed_at) == ("new", "normal", None)
    assert (ticket.response_due_at, ticket.resolution_due_at) == (NOON + timedelta(days=1), NOON + timedelta(days=4))
    assert ticket.routed_at is not None
    message_id = world.value("SELECT message_id FROM occurrences")
    assert ran.next == [("triage", str(message_id))]
    assert world.state_of(found) == "routed"


def test_the_clock_runs_by_the_priority_a_rule_sets(world: World):
    rule(world, set_priority="urgent")
    (found,) = world.routed(mail())
    ticket = world.ticket_of(found)
    assert (ticket.priority, ticket.response_due_at) == ("urgent", NOON + timedelta(hours=1))
    assert ticket.resolution_due_at == NOON + timedelta(hours=4)


@pytest.mark.parametrize(
    ("patterns", "status"),
    [((), "new"), (("*@acme.example",), "new"), (("HELP@acme.example",), "new"), (("*@other.example",), "spam")],
)
def test_a_recipient_that_is_not_on_the_allowlist_is_spam(world: World, patterns: tuple[str, ...], status: str):
    allow(world, *patterns)
    (found,) = world.stitched(mail())
    ran = world.run(STAGE, found)
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.closed_at is not None) == (status, status == "spam")
    assert bool(ran.next) == (status != "spam")
    kind = "ticket.auto_spam" if status == "spam" else "ticket.routed"
    assert world.value("SELECT count(*) FROM events WHERE kind = :kind", kind=kind) == 1


def test_a_disabled_pattern_does_not_count(world: World):
    allow(world, "*@other.example", "help@acme.example")
    world.rows("UPDATE recipient_allowlist SET is_enabled = false WHERE pattern = 'help@acme.example'")
    (found,) = world.routed(mail())
    assert world.ticket_of(found).status == "spam"


def test_mail_to_nobody_is_spam_even_without_an_allowlist(world: World):
    (found,) = world.routed(b"From: a@x.example\r\nSubject: hi\r\n\r\nhello")
    assert world.ticket_of(found).status == "spam"
    assert (
        world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'ticket.auto_spam'")
        == "the recipient is unknown"
    )


def test_our_own_mail_is_no_spam_and_asks_for_no_work(world: World):
    allow(world, "*@acme.example")
    (found,) = world.stitched(mail(sender="help@acme.example", to="ann@customer.example"), labels=("SENT",))
    assert world.run(STAGE, found).next == []
    assert world.ticket_of(found).status == "new"


def test_the_first_matching_rule_by_priority_decides(world: World):
    slow, fast = queue(world, "slow"), queue(world, "fast")
    rule(world, priority=200, queue_id=slow, add_tags=["late"])
    first = rule(
        world,
        priority=10,
        queue_id=fast,
        match_subject_pattern="charger",
        set_status="open",
        add_tags=["hardware", "x"],
    )
    rule(world, priority=5, match_sender_domain_pattern="nobody.example", set_status="closed")
    (found,) = world.routed(mail("The CHARGER"))
    ticket = world.ticket_of(found)
    assert (ticket.queue_id, ticket.status, sorted(ticket.tags)) == (fast, "open", ["hardware", "x"])
    assert world.value("SELECT data ->> 'rule_id' FROM events WHERE kind = 'ticket.routed'") == str(first)


def test_a_rule_that_is_switched_off_decides_nothing(world: World):
    rule(world, is_enabled=False, set_status="closed")
    (found,) = world.routed(mail())
    assert world.ticket_of(found).status == "new"


def test_a_rule_may_close_at_once_and_then_nobody_has_work(world: World):
    rule(world, auto_close=True)
    (found,) = world.stitched(mail())
    assert world.run(STAGE, found).next == []
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.closed_at is not None) == ("closed", True)


def test_a_ticket_is_decided_once_by_its_oldest_message(world: World):
    rule(world, match_subject_pattern="^first", add_tags=["first"])
    rule(world, match_subject_pattern="^second", add_tags=["second"])
    one, two = world.stitched(mail("first", message_id="<a@x>"), mail("second", in_reply_to="<a@x>"))
    assert len(world.run(STAGE, two, one).next) == 2
    (three,) = world.stitched(mail("second again", in_reply_to="<a@x>"), minutes=9)
    world.run(STAGE, three)
    assert world.ticket_of(one).tags == ["first"]
    assert world.value("SELECT count(*) FROM events WHERE kind = 'ticket.routed'") == 1


def test_what_a_person_decided_after_routing_is_never_decided_again(world: World):
    (first,) = world.routed(mail(message_id="<a@x>"))
    rule(world, set_status="closed", set_priority="low")
    world.rows("UPDATE tickets SET status = 'open', priority = 'urgent'")
    (second,) = world.routed(mail("Re: a", in_reply_to="<a@x>"), minutes=5)
    ticket = world.ticket_of(first)
    assert (ticket.status, ticket.priority) == ("open", "urgent")
    assert world.state_of(second) == "routed"


@pytest.mark.parametrize(("manual", "closed"), [("pending", False), ("closed", True)])
@pytest.mark.parametrize("decided", ["open", "spam", None])
def test_what_a_person_decided_before_routing_came_stays(
    world: World, manual: str, decided: str | None, *, closed: bool
):
    if decided == "spam":
        allow(world, "*@other.example")
    elif decided:
        rule(world, set_status=decided)
    (found,) = world.stitched(mail())
    world.rows(
        "UPDATE tickets SET status = :status, closed_at = CASE WHEN :closed THEN now() END",
        status=manual, closed=closed,
    )  # fmt: skip
    world.run(STAGE, found)
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.closed_at is not None) == (manual, closed)
    assert ticket.routed_at is not None
    # Its clocks stand still, or never began.
    assert (ticket.response_due_at, ticket.sla_due_at) == (None, None)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Auto_Submitted": "auto-replied"}, "auto_reply"),
        ({"Return_Path": "<>"}, "bounce"),
        ({"X_Fieldpost_Loop": "x.example; t=tkt-1; n=9"}, "loop"),
    ],
)
def test_automatic_mail_that_answers_nothing_is_kept_in_a_closed_ticket_without_a_clock(
    world: World, headers: dict[str, str], kind: str
):
    rule(world, set_status="open", set_priority="urgent", add_tags=["x"])
    (found,) = world.stitched(mail(**headers))
    # Live mail that circles is quarantined before; what a listing brings comes as far as this.
    world.rows("UPDATE occurrences SET state = 'stitched'")
    assert world.run(STAGE, found).next == []
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.closed_at is not None, ticket.tags) == ("closed", True, ["automatic"])
    assert (ticket.response_due_at, ticket.resolution_due_at, ticket.priority) == (None, None, "normal")
    assert world.value("SELECT data ->> 'reason' FROM events WHERE kind = 'ticket.routed'") == f"machine:{kind}"
    assert world.state_of(found) == "routed"


@pytest.mark.parametrize("headers", [{"List_Id": "<l.x.example>"}, {"Auto_Submitted": "auto-generated"}])
def test_lists_and_alarms_open_tickets_that_ask_for_work(world: World, headers: dict[str, str]):
    (found,) = world.stitched(mail(**headers))
    assert len(world.run(STAGE, found).next) == 1
    assert world.ticket_of(found).status == "new"


@pytest.mark.parametrize("minutes", [-30, 30])
def test_the_first_person_who_writes_in_a_ticket_of_automatic_mail_makes_it_a_new_one(world: World, minutes: int):
    note = mail("Re: a", message_id="<note@x>", in_reply_to="<a@customer.example>", Auto_Submitted="auto-replied")
    (first,) = world.routed(note)
    assert world.ticket_of(first).status == "closed"
    rule(world, set_priority="urgent", add_tags=["x"])
    (found,) = world.stitched(mail("a", message_id="<a@customer.example>"), minutes=minutes)
    assert world.ticket_of(found).id == world.ticket_of(first).id
    ran = world.run(STAGE, found)
    ticket = world.ticket_of(found)
    assert (ticket.status in ("new", "open"), ticket.closed_at, ticket.tags, ticket.priority) == (
        True, None, ["x"], "urgent",
    )  # fmt: skip
    assert ticket.response_due_at is not None
    assert [stage for stage, _ in ran.next] == ["triage"]
    (last,) = world.routed(mail("Re: a", in_reply_to="<a@customer.example>"), minutes=40)
    assert world.ticket_of(last).tags == ["x"]
    assert world.value("SELECT count(*) FROM events WHERE kind = 'ticket.routed'") == 2


def test_of_a_batch_the_person_decides_and_not_the_absence_note_before(world: World):
    rule(world, match_subject_pattern="^a$", add_tags=["person"])
    note = mail("Re: a", message_id="<note@x>", in_reply_to="<a@customer.example>", Auto_Submitted="auto-replied")
    both = world.stitched(note, mail("a", message_id="<a@customer.example>"))
    assert [stage for stage, _ in world.run(STAGE, *both).next] == ["triage"]
    assert (world.ticket_of(both[0]).status, world.ticket_of(both[0]).tags) == ("new", ["person"])


def test_another_absence_note_in_a_ticket_of_automatic_mail_changes_nothing(world: World):
    world.routed(mail("Re: a", message_id="<n1@x>", in_reply_to="<a@customer.example>", Auto_Submitted="auto-replied"))
    before = world.rows("SELECT status, routing, tags FROM tickets")
    world.routed(mail("Re: a", message_id="<n2@x>", in_reply_to="<n1@x>", Auto_Submitted="auto-replied"), minutes=3)
    assert world.rows("SELECT status, routing, tags FROM tickets") == before


def test_the_decision_is_kept_with_its_version(world: World):
    slow = queue(world, "slow")
    first = rule(world, queue_id=slow, set_priority="high", set_status="open", add_tags=["a", "b"])
    (found,) = world.routed(mail())
    kept = dict(world.ticket_of(found).routing)
    assert tried_rules(kept) == [(first, None)]
    kept.pop("trace")
    assert kept == {
        "version": 1, "rule_id": str(first), "status": "open", "priority": "high", "queue_id": str(slow),
        "tags": ["a", "b"], "reason": f"matched rule {first} (any mail)", "tried": 1,
    }  # fmt: skip


def test_a_person_is_told_that_the_mail_came_only_where_the_organization_wants_it(world: World):
    (silent,) = world.stitched(mail())
    assert [stage for stage, _ in world.run(STAGE, silent).next] == ["triage"]
    world.rows("""UPDATE organizations SET policy = '{"acknowledge": true}'""")
    (told,) = world.stitched(mail("Another"))
    message_id = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=told)
    assert world.run(STAGE, told).next == [("triage", str(message_id)), ("acknowledge", str(message_id))]


def test_a_message_in_a_ticket_that_ended_asks_for_no_work(world: World):
    world.routed(mail(message_id="<a@x>"))
    world.rows("UPDATE tickets SET status = 'closed', closed_at = now() + interval '1000 days'")
    (late,) = world.stitched(mail("Re: a", in_reply_to="<a@x>"), minutes=5)
    assert world.run(STAGE, late).next == []


def test_a_policy_that_cannot_be_read_does_not_stop_the_mail_and_is_named(world: World):
    (found,) = world.stitched(mail())
    world.rows("""UPDATE organizations SET policy = '{"acknowledge": true, "automatic_answers_per_hour": 0}'""")
    assert [stage for stage, _ in world.run(STAGE, found).next] == ["triage"]
    said = world.value("SELECT data -> 'not_compiled' FROM events WHERE kind = 'ticket.routed'")
    assert said == ["automatic_answers_per_hour must be between 1 and 100, not 0"]


def test_the_rules_of_another_organization_do_not_apply(world: World):
    rule(world, set_status="closed")
    other = world.value("INSERT INTO organizations (name) VALUES ('other') RETURNING id")
    world.rows("UPDATE routing_rules SET org_id = :org", org=other)
    (found,) = world.routed(mail())
    assert world.ticket_of(found).status == "new"


def test_what_was_routed_is_not_routed_again(world: World):
    (found,) = world.routed(mail())
    assert world.run(STAGE, found).loaded == 0


def test_clocks_run_from_the_first_message_not_from_now(world: World):
    (found,) = world.routed(mail(), minutes=30)
    assert world.ticket_of(found).response_due_at == NOON + timedelta(days=1, minutes=30)
