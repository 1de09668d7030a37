"""Screening: what circles or answers our automatic answers is set aside with its cause, and nothing else is."""

from __future__ import annotations

import pytest

from models.enums import Lane
from pipeline.commands import quarantine
from pipeline.core import loops
from pipeline.stages import parse, routing, stitch
from tests.factories import mail
from tests.stages import chain
from tests.stages.world import SECRETS, World

ROBOT = "Thank you for contacting Globex. Your request {} was received and our team will look into it soon."


def held(world: World) -> list[tuple[str, str]]:
    """Return cause and stage of what waits in quarantine."""
    rows = world.rows("SELECT cause, stage FROM quarantines WHERE released_at IS NULL ORDER BY id")
    return [(row.cause, row.stage) for row in rows]


def robot(number: int, **more: str) -> bytes:
    """A mail of a desk that answers whatever it gets, with a new subject and without any mark."""
    return mail(f"[Globex #{number}] received", ROBOT.format(number), sender="desk@globex.example", **more)


def marked(world: World, *, hop: int = 1, address: str = "help@acme.example", key: bytes | None = None) -> bytes:
    """A mail that carries a loop header."""
    keys = world.ports.reply_tokens.loop_keys()
    value = loops.loop_header(address, "tkt-abcdefghij234567", hop, key or keys[0])
    return mail(**{loops.LOOP_HEADER.replace("-", "_"): value})


def test_our_own_automatic_mail_that_comes_back_is_quarantined_and_goes_no_further(world: World):
    found = world.arrive(marked(world), at=chain.now())
    assert "stitch" not in {stage for stage, _ in world.run(parse.STAGE, found).next}
    assert world.state_of(found) == "quarantined"
    assert held(world) == [("loop", "stitch")]
    evidence = world.value("SELECT evidence FROM quarantines")
    assert evidence.startswith("x-fieldpost-loop: help@acme.example; t=tkt-")
    assert world.value("SELECT count(*) FROM events WHERE kind = 'message.quarantined'") == 1
    assert world.value("SELECT count(*) FROM tickets") == 0


@pytest.mark.parametrize(
    ("hop", "address", "key", "expected"),
    [
        (1, "help@acme.example", b"somebody else's key", []),  # forged, or of another installation
        (1, "desk@globex.example", b"somebody else's key", []),
        (3, "desk@globex.example", b"somebody else's key", []),
        (4, "desk@globex.example", b"somebody else's key", [("loop", "stitch")]),
    ],
)
def test_a_mark_that_we_did_not_sign_is_no_loop_until_it_has_gone_too_far(
    world: World, hop: int, address: str, key: bytes, expected: list[tuple[str, str]]
):
    chain.receive(world, marked(world, hop=hop, address=address, key=key))
    assert held(world) == expected
    assert world.value("SELECT machine FROM messages") == ("loop" if expected else "notification")


def test_mail_that_circles_is_quarantined(world: World):
    raw = b"".join(b"Received: from a by b\r\n" for _ in range(101)) + mail()
    chain.receive(world, raw)
    assert held(world) == [("loop", "stitch")]


def test_our_own_copy_under_sent_mail_is_no_loop(world: World):
    found = world.arrive(marked(world), at=chain.now(), labels=("SENT",))
    assert ("stitch", str(found)) in world.run(parse.STAGE, found).next
    assert held(world) == []


@pytest.mark.parametrize("lane", [Lane.BACKFILL, Lane.REPAIR])
def test_old_mail_is_never_quarantined(world: World, lane: Lane):
    chain.receive(world, marked(world), lane=lane)
    assert held(world) == []
    assert world.value("SELECT status FROM tickets") == "closed"


def answered(world: World, times: int = 5) -> None:
    """Let the robot answer each of our automatic answers."""
    for number in range(times):
        chain.receive(world, robot(number))


def test_a_desk_that_answers_every_answer_is_quarantined_after_the_limit(world: World):
    sender = chain.desk(world)
    answered(world)
    assert (len(sender.sent), held(world)) == (5, [])
    (found,) = chain.receive(world, robot(6))
    assert held(world) == [("answers_back", "stitch")]
    assert world.state_of(found) == "quarantined"
    assert len(sender.sent) == 5
    said = world.value("SELECT evidence FROM quarantines")
    assert said == "its sender had 5 automatic answers within the hour and wrote this text 6 times"


@pytest.mark.parametrize("lane", [Lane.LIVE, Lane.BACKFILL])
def test_what_is_quarantined_is_quarantined_in_every_mailbox_that_shows_it(world: World, lane: Lane):
    chain.desk(world)
    answered(world)
    raw = robot(6, message_id="<six@globex.example>")
    chain.receive(world, raw)
    other = world.mailbox("sales@acme.example")
    again = world.arrive(raw, mailbox_id=other, at=chain.now())
    assert world.run_jobs(parse.STAGE, chain.job(world, parse.STAGE.name, again, lane)).next == []
    assert held(world) == [("answers_back", "stitch")] * 2


def test_a_release_brings_every_sighting_to_one_ticket_and_no_loop_begins_anew(world: World):
    sender = chain.desk(world)
    answered(world)
    raw = robot(6, message_id="<six@globex.example>")
    chain.receive(world, raw)
    other = world.mailbox("sales@acme.example")
    world.run(parse.STAGE, world.arrive(raw, mailbox_id=other, at=chain.now()))
    (first, second) = [row.id for row in world.rows("SELECT id FROM quarantines ORDER BY id")]
    with world.db.begin() as connection:
        done = quarantine.release(connection, [first], org_id=world.org_id, actor="eve@acme.example", reason="real")
    assert done.quarantine_ids == (first, second)
    assert {(line.stage, line.lane) for line in done.lines} == {("stitch", Lane.REPAIR)}
    jobs = world.rows("SELECT stage, key, lane, mailbox_id FROM jobs ORDER BY id")
    chain.follow(world, [chain.step(world, job.stage, job.key, Lane(job.lane), job.mailbox_id) for job in jobs])
    assert held(world) == []
    assert world.value("SELECT count(DISTINCT ticket_id) FROM ticket_messages l JOIN occurrences o"
                       " ON o.message_id = l.message_id JOIN quarantines q ON q.occurrence_id = o.id") == 1  # fmt: skip
    assert world.value("SELECT count(*) FROM occurrences WHERE state = 'routed'") == 7
    assert len(sender.sent) == 5
    row = world.rows("SELECT released_by, released_reason FROM quarantines")[0]
    assert tuple(row) == ("eve@acme.example", "real")
    assert (
        world.value("SELECT count(*) FROM events WHERE kind = 'message.released' AND actor = 'eve@acme.example'") == 2
    )


def test_a_release_of_nothing_or_of_another_organization_changes_nothing(world: World):
    chain.receive(world, marked(world))
    other = world.value("INSERT INTO organizations (name) VALUES ('other') RETURNING id")
    found = world.value("SELECT id FROM quarantines")
    with world.db.begin() as connection:
        assert quarantine.release(connection, [found], org_id=other, actor="a", reason="b").quarantine_ids == ()
        assert quarantine.release(connection, [], org_id=world.org_id, actor="a", reason="b").quarantine_ids == ()
        assert quarantine.release(connection, [found], org_id=None, actor="a", reason="b").quarantine_ids == (found,)
        assert quarantine.release(connection, [found], org_id=None, actor="a", reason="b").quarantine_ids == ()
    assert world.value("SELECT count(*) FROM jobs") == 1


def test_a_storm_of_alarms_is_never_quarantined(world: World):
    chain.desk(world)
    chain.receive(world, *(mail(f"Alarm {number}", ROBOT, Auto_Submitted="auto-generated") for number in range(500)))
    assert held(world) == []
    assert world.value("SELECT count(*) FROM outbound") == 0
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'new'") == 500


def test_a_storm_without_any_mark_that_comes_at_once_is_never_quarantined(world: World):
    sender = chain.desk(world)
    chain.receive(world, *(robot(number) for number in range(100)))
    chain.receive(world, *(robot(number) for number in range(100, 200)))
    assert held(world) == []
    assert len(sender.sent) == 5


def test_a_busy_customer_is_never_quarantined(world: World):
    sender = chain.desk(world)
    things = ("pump", "door", "lift", "window", "charger", "heater", "boiler", "gate", "lamp", "roof")
    for number, thing in enumerate(things):
        text = (
            f"The {thing} on floor {number} does not work since {thing} day, could somebody look at the {thing} soon?"
        )
        chain.receive(world, mail(f"Broken {thing}", text))
    assert held(world) == []
    assert len(sender.sent) == 5
    assert world.value("SELECT count(*) FROM tickets WHERE status = 'new'") == 10


def test_a_customer_who_writes_the_matter_into_the_subject_is_never_quarantined(world: World):
    chain.desk(world)
    text = "Kind regards, Ann Smith, Facility Management, Customer Ltd, 12 Long Street, Springfield, phone 123"
    for thing in ("pump", "door", "lift", "window", "charger", "heater", "boiler"):
        chain.receive(world, mail(f"Broken {thing}", text))
    assert held(world) == []


def test_a_customer_that_sends_pictures_with_the_same_signature_is_never_quarantined(world: World):
    chain.desk(world)
    text = "Kind regards, Ann Smith, Facility Management, Customer Ltd, 12 Long Street, Springfield, phone 123"
    for number in range(8):
        chain.receive(world, mail(f"Photo {number}", text, attachment=b"picture %d" % number))
    assert held(world) == []


def test_without_anything_sent_screening_costs_one_statement(world: World, monkeypatch: pytest.MonkeyPatch):
    found = [world.arrive(robot(number), at=chain.now()) for number in range(50)]
    said: list[str] = []
    execute = parse.screening._by_database

    def counted(connection, arrivals):  # type: ignore[no-untyped-def]
        real = connection.execute
        monkeypatch.setattr(connection, "execute", lambda *given: (said.append("one"), real(*given))[1])
        try:
            return execute(connection, arrivals)
        finally:
            monkeypatch.undo()

    monkeypatch.setattr(parse.screening, "_by_database", counted)
    world.run(parse.STAGE, *found)
    assert len(said) == 1


def conversation(world: World, turns: int) -> None:
    """Let a ticket's two sides write in turn, within the last minutes."""
    (first,) = world.routed(mail("Chat", message_id="<0@customer.example>"))
    ticket = world.ticket_of(first)
    world.rows("UPDATE messages SET received_at = now() - interval '5 minutes'")
    for number in range(1, turns + 1):
        (found,) = world.stitched(mail("Re: Chat", message_id=f"<{number}@x>", in_reply_to="<0@customer.example>"))
        direction = "outbound" if number % 2 else "inbound"
        world.rows(
            "UPDATE messages SET direction = :direction, received_at = now() - interval '5 min' + :at * interval '1 s'"
            " WHERE id = (SELECT message_id FROM occurrences WHERE id = :id)",
            direction=direction, at=number, id=found,
        )  # fmt: skip
        assert world.ticket_of(found).id == ticket.id
        world.rows("UPDATE occurrences SET state = 'routed' WHERE id = :id", id=found)


@pytest.mark.parametrize(("turns", "lane", "is_held"), [(10, Lane.LIVE, True), (8, Lane.LIVE, False),
                                                        (20, Lane.BACKFILL, False)])  # fmt: skip
def test_a_ticket_whose_sides_answer_each_other_faster_than_people_do_is_stopped(
    world: World, turns: int, lane: Lane, *, is_held: bool
):
    conversation(world, turns + 1)
    (found,) = world.stitched(mail("Re: Chat", message_id="<last@x>", in_reply_to="<0@customer.example>"))
    world.rows("UPDATE messages SET received_at = now() WHERE rfc_message_id = '<last@x>'")
    ran = world.run_jobs(routing.STAGE, chain.job(world, routing.STAGE.name, found, lane))
    assert world.state_of(found) == ("quarantined" if is_held else "routed")
    assert held(world) == ([("thread_rate", "routing")] if is_held else [])
    assert bool(ran.next) is not is_held
    if is_held:
        (event,) = world.rows("SELECT ticket_id FROM events WHERE kind = 'message.quarantined'")
        assert event.ticket_id == world.ticket_of(found).id


def test_what_a_ticket_held_back_goes_to_triage_when_it_is_released(world: World):
    conversation(world, 11)
    (found,) = world.stitched(mail("Re: Chat", message_id="<last@x>", in_reply_to="<0@customer.example>"))
    world.rows("UPDATE messages SET received_at = now() WHERE rfc_message_id = '<last@x>'")
    world.run(routing.STAGE, found)
    with world.db.begin() as connection:
        quarantine_id = world.value("SELECT id FROM quarantines")
        done = quarantine.release(connection, [quarantine_id], org_id=world.org_id, actor="eve", reason="people")
    assert {line.stage for line in done.lines} == {"routing"}
    ran = world.run_jobs(routing.STAGE, chain.job(world, routing.STAGE.name, found, Lane.REPAIR))
    assert [stage for stage, _ in ran.next] == ["triage"]
    assert world.state_of(found) == "routed"


def test_a_slow_conversation_is_not_stopped_however_long_it_is(world: World):
    conversation(world, 21)
    world.rows("UPDATE messages SET received_at = received_at - interval '1 hour'")
    (found,) = world.stitched(mail("Re: Chat", message_id="<last@x>", in_reply_to="<0@customer.example>"))
    world.rows("UPDATE messages SET received_at = now() WHERE rfc_message_id = '<last@x>'")
    world.run(routing.STAGE, found)
    assert world.state_of(found) == "routed"


def test_the_signing_key_of_before_still_proves_a_loop(world: World):
    old = SECRETS.keys("loop header")[-1]
    chain.receive(world, marked(world, key=old))
    assert held(world) == [("loop", "stitch")]
    assert stitch.STAGE.name == "stitch"
