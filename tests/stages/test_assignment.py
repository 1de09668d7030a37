"""Assignment by rules: people of queues, their turns, room, skills, shifts and leave; never over a person's choice."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from models.enums import AssignmentStrategy
from models.queries.summary import database_time
from pipeline.core.routing_records import tried_rules
from pipeline.runtime import assigning
from pipeline.runtime.assigning import Wish
from pipeline.stages import routing
from tests.factories import mail
from tests.stages.test_routing import queue, rule
from tests.stages.world import World

STAGE = routing.STAGE
#: Far from the day of the test in every time zone.
_ELSEWHEN = timedelta(days=3)


def person(world: World, name: str, *queues: UUID, skills: tuple[str, ...] = (), capacity: int | None = None) -> UUID:
    """Insert a member who works queues."""
    with world.db.begin() as connection:
        found: UUID = connection.execute(
            text("INSERT INTO people (email) VALUES (:email) RETURNING id"), {"email": f"{name}@acme.example"}
        ).scalar_one()
        values = {"org": world.org_id, "person": found, "skills": list(skills), "capacity": capacity}
        connection.execute(
            text("""
                INSERT INTO memberships (org_id, person_id, role_id, skills, capacity)
                SELECT :org, :person, id, :skills, :capacity FROM roles WHERE code = 'agent' AND org_id IS NULL
            """),
            values,
        )
        connection.execute(
            text("""
                INSERT INTO queue_memberships (org_id, queue_id, person_id)
                SELECT :org, q, :person FROM unnest(CAST(:queues AS uuid[])) AS q
            """),
            values | {"queues": list(queues)},
        )
    return found


def now(world: World) -> datetime:
    with world.db.begin() as connection:
        return database_time(connection)


def who(world: World, *occurrences: int) -> list[UUID | None]:
    return [world.ticket_of(found).assignee_user_id for found in occurrences]


def why(world: World, occurrence: int) -> dict[str, str | None]:
    """Return by person why they did not get the ticket."""
    candidates = world.ticket_of(occurrence).routing["assignment"]["candidates"]
    return {one["person_id"]: one["unfit"] for one in candidates}


def test_tickets_go_round_the_people_of_the_queue_and_on_from_there(world: World):
    desk = queue(world, "desk")
    people = [person(world, name, desk) for name in ("ann", "bob", "cy")]
    rule(world, queue_id=desk, strategy="round_robin")
    first = world.routed(*(mail(f"Subject {number}") for number in range(4)))
    second = world.routed(*(mail(f"Other {number}") for number in range(5)))
    given = who(world, *first, *second)
    assert given[:3] == sorted(people)
    assert given == (given[:3] * 3)
    assert {world.ticket_of(found).queue_id for found in first} == {None}
    event = world.value(
        "SELECT data ->> 'assignee_user_id' FROM events WHERE kind = 'ticket.routed' ORDER BY id LIMIT 1"
    )
    assert event == str(given[0])


def test_the_least_loaded_gets_it_and_ended_tickets_do_not_count(world: World):
    desk = queue(world, "desk")
    ann, bob = person(world, "ann", desk), person(world, "bob", desk)
    rule(world, queue_id=desk, strategy="round_robin")
    old = world.routed(*(mail(f"Old {number}") for number in range(4)))
    assert Counter(who(world, *old)) == {ann: 2, bob: 2}
    world.rows("UPDATE tickets SET status = 'resolved' WHERE assignee_user_id = :ann", ann=ann)
    world.rows("UPDATE routing_rules SET strategy = 'least_loaded'")
    new = world.routed(*(mail(f"New {number}") for number in range(3)))
    assert Counter(who(world, *new)) == {ann: 3} or Counter(who(world, *new)) == {ann: 2, bob: 1}
    assert who(world, *new)[:2] == [ann, ann]


def test_whoever_lacks_a_skill_room_or_presence_is_passed_over_and_told(world: World):
    desk = queue(world, "desk")
    skills = ("dc",)
    ann = person(world, "ann", desk)
    bob = person(world, "bob", desk, skills=skills, capacity=1)
    cy = person(world, "cy", desk, skills=skills)
    dan = person(world, "dan", desk, skills=skills)
    eve = person(world, "eve", desk, skills=skills)
    fay = person(world, "fay", desk, skills=skills)
    at = now(world)
    world.rows(
        "INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone)"
        " VALUES (:org, :cy, :day, '08:00', '17:00', 'Europe/Berlin')",
        org=world.org_id, cy=cy, day=(at + _ELSEWHEN).weekday(),
    )  # fmt: skip
    world.rows(
        "INSERT INTO leaves (org_id, person_id, begins_at, ends_at) VALUES (:org, :dan, :begin, :end)",
        org=world.org_id, dan=dan, begin=at - timedelta(days=1), end=at + timedelta(days=1),
    )  # fmt: skip
    world.rows("UPDATE memberships SET is_active = false WHERE person_id = :eve", eve=eve)
    rule(world, queue_id=desk, strategy="round_robin", required_skills=list(skills))
    first, second, third = world.routed(mail("One"), mail("Two"), mail("Three"))
    assert set(who(world, first, second)) == {bob, fay}
    assert who(world, third) == [fay]
    assert why(world, third) == {
        str(ann): "skills", str(bob): "capacity", str(cy): "off_shift", str(dan): "on_leave", str(fay): None,
    }  # fmt: skip
    lines = {one["person_id"]: one for one in world.ticket_of(third).routing["assignment"]["candidates"]}
    assert datetime.fromisoformat(lines[str(dan)]["back_at"]) == at + timedelta(days=1)
    assert datetime.fromisoformat(lines[str(cy)]["back_at"]) > at
    assert lines[str(ann)]["missing_skills"] == ["dc"]


def test_a_ticket_nobody_is_free_for_stays_in_the_queue_with_the_reasons(world: World):
    desk = queue(world, "desk")
    ann = person(world, "ann", desk, capacity=1)
    rule(world, queue_id=desk, strategy="least_loaded")
    first, second = world.routed(mail("One"), mail("Two"))
    assert who(world, first, second) == [ann, None]
    assert (world.ticket_of(first).queue_id, world.ticket_of(second).queue_id) == (None, desk)
    assert why(world, second) == {str(ann): "capacity"}


def test_a_rule_may_name_a_person_and_one_who_left_gets_nothing(world: World):
    ann = person(world, "ann")
    rule(world, assign_user_id=ann)
    (first,) = world.routed(mail("One"))
    world.rows("UPDATE memberships SET is_active = false")
    (second,) = world.routed(mail("Two"))
    assert who(world, first, second) == [ann, None]
    assert world.ticket_of(second).routing["assignment"] == {"person_id": None, "unfit": "absent"}


def test_a_ticket_that_ends_at_once_is_nobodys_turn(world: World):
    desk = queue(world, "desk")
    person(world, "ann", desk)
    rule(world, queue_id=desk, strategy="round_robin", action_drop=True)
    (found,) = world.stitched(mail())
    assert world.run(STAGE, found).next == []
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.assignee_user_id, ticket.queue_id) == ("closed", None, desk)
    assert world.value("SELECT assigned_at FROM queue_memberships") is None


@pytest.mark.parametrize("taken", [True, False])
def test_over_a_person_s_decision_a_rule_only_fills_in_what_is_empty(world: World, *, taken: bool):
    desk = queue(world, "desk")
    ann, bob = person(world, "ann", desk), person(world, "bob")
    rule(world, queue_id=desk, strategy="round_robin", set_priority="urgent", set_status="open", add_tags=["x"])
    (found,) = world.stitched(mail())
    world.rows("UPDATE tickets SET decided_at = now(), assignee_user_id = :bob", bob=bob if taken else None)
    world.run(STAGE, found)
    ticket = world.ticket_of(found)
    assert (ticket.status, ticket.priority, ticket.tags) == ("new", "normal", ["x"])
    assert ticket.assignee_user_id == (bob if taken else ann)
    assert ticket.routing["kept"] == ["status", "priority", *(["assignee"] if taken else [])]
    said = world.value("SELECT data -> 'kept' FROM events WHERE kind = 'ticket.routed'")
    assert said == ticket.routing["kept"]


def test_a_ticket_knows_the_mailbox_it_came_in_by(world: World):
    other = world.mailbox("sales@acme.example")
    (found,) = world.routed(mail(to="sales@acme.example"), mailbox_id=other)
    assert world.ticket_of(found).mailbox_id == other


def test_a_shift_in_a_zone_that_is_gone_is_none_and_stops_no_mail(world: World):
    desk = queue(world, "desk")
    ann, bob = person(world, "ann", desk), person(world, "bob", desk)
    world.rows(
        "INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone)"
        " SELECT :org, :ann, d, '00:00', '23:59', 'Mars/Base' FROM generate_series(0, 6) AS d",
        org=world.org_id, ann=ann,
    )  # fmt: skip
    rule(world, queue_id=desk, strategy="round_robin")
    (found,) = world.routed(mail())
    assert who(world, found) == [bob]
    assert why(world, found)[str(ann)] == "off_shift"


def test_people_share_fairly_and_keep_their_room_when_many_batches_run_at_once(world: World):
    """Two queues with the same people: turns are fair in each, and nobody is given more than they may have."""
    queues = [queue(world, "one"), queue(world, "two")]
    people = [person(world, f"person{number}", *queues) for number in range(4)]
    bounded = person(world, "bounded", *queues, capacity=3)
    given: list[UUID | None] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                with world.db.begin() as connection:
                    wishes = [Wish(world.org_id, queues[number % 2], AssignmentStrategy.ROUND_ROBIN)] * 2
                    made = assigning.assign(connection, wishes)
                    connection.execute(
                        text("""
                            INSERT INTO tickets (org_id, code, subject, subject_norm, assignee_user_id, queue_id,
                                                 first_message_at, last_message_at, last_activity_at)
                            SELECT :org, 'c' || gen_random_uuid(), '', '', p, NULL, now(), now(), now()
                              FROM unnest(CAST(:people AS uuid[])) AS p
                        """),
                        {"org": world.org_id, "people": [one.person_id for one in made]},
                    )
                given.extend(one.person_id for one in made)
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    shares = Counter(given)
    assert sum(shares.values()) == 40
    assert shares[bounded] == 3
    # Each queue goes round by itself, so two queues may differ by one each.
    assert max(shares[one] for one in people) - min(shares[one] for one in people) <= 2


def test_the_shadow_says_what_it_would_do_and_nothing_follows(world: World):
    slow, fast = queue(world, "slow"), queue(world, "fast")
    live = rule(world, priority=20, queue_id=slow, add_tags=["live"])
    shadow = rule(world, priority=10, queue_id=fast, match_subject_pattern="charger", is_shadow=True, action_drop=True)
    one, two = world.routed(mail("The charger"), mail("Something else"))
    assert [world.ticket_of(found).queue_id for found in (one, two)] == [slow, slow]
    assert world.ticket_of(one).status == "new"
    assert [rule_id for rule_id, _ in tried_rules(world.ticket_of(one).routing)] == [live]
    said = {row.ticket_id: row.decision for row in world.rows("SELECT ticket_id, decision FROM shadow_decisions")}
    first, second = said[world.ticket_of(one).id], said[world.ticket_of(two).id]
    assert first["would"]["queue_id"] == str(fast)
    assert sorted(first["differs"]) == ["drop", "queue_id", "status", "tags"]
    assert first["matched"] == [str(shadow)]
    assert (second["differs"], second["matched"]) == ([], [str(live)])


def test_without_a_rule_in_shadow_nothing_is_written_for_it(world: World):
    rule(world, add_tags=["x"])
    world.routed(mail())
    assert world.value("SELECT count(*) FROM shadow_decisions") == 0


def test_a_rule_that_no_longer_compiles_is_passed_over_and_named(world: World):
    rule(world, name="broken one", priority=1, match_subject_pattern="(", set_status="closed")
    rule(world, add_tags=["x"])
    (found,) = world.routed(mail())
    assert (world.ticket_of(found).status, world.ticket_of(found).tags) == ("new", ["x"])
    (said,) = world.value("SELECT data -> 'not_compiled' FROM events WHERE kind = 'ticket.routed'")
    assert said.startswith("rule broken one: pattern '(' cannot be compiled")


def test_rules_that_do_not_stop_let_later_ones_fill_in(world: World):
    desk = queue(world, "desk")
    rule(world, priority=1, stop=False, add_tags=["one"], set_priority="high")
    rule(world, priority=2, queue_id=desk, set_priority="low", add_tags=["two"])
    rule(world, priority=3, add_tags=["never"])
    (found,) = world.routed(mail())
    ticket = world.ticket_of(found)
    assert (ticket.priority, ticket.queue_id, sorted(ticket.tags)) == ("high", desk, ["one", "two"])
