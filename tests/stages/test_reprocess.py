"""Doing a step again: compared in shadow, applied exactly, and left alone where the world moved on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models.enums import Lane, ReprocessKind
from models.queries import reprocessing as queries
from pipeline.commands import reprocessing as commands
from pipeline.core import mime
from pipeline.core.mime import Parsed
from pipeline.ports import Parser
from pipeline.runtime import reparsed_rows, reparsing, reprocessing
from pipeline.runtime.db import Database
from pipeline.runtime.errors import ParserDied, Permanent, Transient, UserError
from pipeline.stage import Again, Stage, Work
from pipeline.stages import parse, reprocess
from tests.factories import NOON, mail
from tests.stages.test_assignment import person
from tests.stages.test_routing import queue
from tests.stages.world import World

_EVERYTHING = """
    SELECT m.*, c.body_text, c.body_html, c.fresh_text,
           (SELECT array_agg(a.role || a.position || a.address || a.name ORDER BY 1)
              FROM message_addresses a WHERE a.message_id = m.id) AS addresses,
           (SELECT array_agg(r.kind || r.position || r.reference ORDER BY 1)
              FROM message_references r WHERE r.message_id = m.id) AS refs,
           (SELECT array_agg(x.filename || x.content_type || x.size || x.disposition ORDER BY x.position)
              FROM attachments x WHERE x.message_id = m.id) AS files,
           (SELECT array_agg(coalesce(e.address, '') || e.source || e.confidence || CAST(e.evidence AS text))
              FROM occurrence_recipients e WHERE e.message_id = m.id) AS recipients
      FROM messages m JOIN message_contents c ON c.message_id = m.id ORDER BY m.id
"""
RICH = mail(
    "Re: Ladesäule defekt",
    "Es geht nicht.\n\nOn Monday Ann wrote:\n> what?",
    in_reply_to="<1@x>",
    references="<0@x> <1@x>",
    attachment=b"%PDF-1.4 x",
    Cc="Bob <bob@customer.example>",
    Delivered_To="help@acme.example",
)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def everything(world: World) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in world.rows(_EVERYTHING)]


def begin(world: World, kind: ReprocessKind = ReprocessKind.PARSE, mailbox_id: UUID | None = None) -> int:
    with world.db.begin() as connection:
        return commands.start(connection, world.org_id, mailbox_id, kind, "ann@example.org")


def apply(world: World, run_id: int) -> list[tuple[str, str]]:
    """Apply, and walk to the end; return the steps that other stages were asked for."""
    with world.db.begin() as connection:
        commands.apply(connection, world.org_id, run_id, "ann@example.org")
    return [step for step in walk(world, run_id) if step[0] != "reprocess"]


def walk(world: World, run_id: int) -> Iterator[tuple[str, str]]:
    """Run the stage as long as it goes on with itself; yield every step it asks for."""
    for _ in range(50):
        ran = world.run_jobs(reprocess.STAGE, world.job(reprocess.STAGE, run_id, Lane.REPAIR))
        assert ran.unsaved == {}
        yield from ran.next
        if ("reprocess", str(run_id)) not in ran.next:
            return
    raise AssertionError("it never ends")


def compared(world: World, **options: Any) -> int:
    run_id = begin(world, **options)
    list(walk(world, run_id))
    return run_id


def state(world: World, run_id: int) -> queries.Reprocessing:
    with world.db.begin() as connection:
        found = queries.find(connection, world.org_id, run_id)
    assert found is not None
    return found


def differences(world: World, run_id: int) -> dict[str, queries.Difference]:
    with world.db.begin() as connection:
        return {one.subject: one for one in queries.differences(connection, run_id, limit=100)}


def spoil(world: World, message_id: int) -> None:
    """Store what an older parser might have made of it."""
    world.rows(
        "UPDATE messages SET subject = 'wrong', flags = '{old}', dated_at = NULL, parser_version = 1 WHERE id = :id",
        id=message_id,
    )
    world.rows(
        "UPDATE message_contents SET body_text = 'wrong', fresh_text = NULL WHERE message_id = :id", id=message_id
    )
    world.rows("DELETE FROM message_references WHERE message_id = :id", id=message_id)
    world.rows("UPDATE message_addresses SET name = 'wrong' WHERE message_id = :id AND role = 'cc'", id=message_id)
    world.rows("UPDATE attachments SET content_type = 'text/wrong' WHERE message_id = :id", id=message_id)
    world.rows("UPDATE occurrence_recipients SET address = 'wrong@x' WHERE message_id = :id", id=message_id)


SPOILED = {
    "subject", "flags", "dated_at", "body_text", "fresh_text", "references", "addresses", "attachments", "recipients",
}  # fmt: skip


def message_of(world: World, occurrence_id: int) -> int:
    found: int = world.value("SELECT message_id FROM occurrences WHERE id = :id", id=occurrence_id)
    return found


def test_mail_that_is_understood_the_same_differs_in_nothing_and_gets_the_version(world: World) -> None:
    occurrences = [world.parsed(RICH), world.parsed(mail()), world.parsed(mail("HTML", "<b>x</b>"))]
    world.rows("UPDATE messages SET parser_version = 1")
    before = everything(world)
    run_id = compared(world)
    found = state(world, run_id)
    assert (found.state, found.seen, found.total, found.changed, found.failed) == ("compared", 3, 3, 0, 0)
    assert everything(world) == before
    assert apply(world, run_id) == []
    assert world.rows("SELECT DISTINCT parser_version FROM messages") == [(mime.PARSER_VERSION,)]
    assert len(occurrences) == state(world, run_id).seen


def test_exactly_what_differs_is_listed_and_then_applied(world: World) -> None:
    spoiled, fine = message_of(world, world.parsed(RICH)), message_of(world, world.parsed(mail()))
    right = everything(world)
    spoil(world, spoiled)
    wrong = everything(world)
    run_id = compared(world)
    assert everything(world) == wrong
    (found,) = differences(world, run_id).values()
    assert found.subject == str(spoiled)
    assert set(found.changes) >= SPOILED - {"fresh_text"}
    assert set(found.changes) <= SPOILED
    assert found.changes["subject"] == ["wrong", "Re: Ladesäule defekt"]
    assert apply(world, run_id) == [("index", str(spoiled))]
    assert everything(world) == right
    assert (state(world, run_id).applied, state(world, run_id).state) == (1, "applied")
    assert fine not in map(int, differences(world, run_id))


def test_applying_twice_changes_nothing(world: World) -> None:
    spoil(world, message_of(world, world.parsed(RICH)))
    run_id = compared(world)
    apply(world, run_id)
    right = everything(world)
    assert apply(world, run_id) == []
    assert everything(world) == right
    assert state(world, run_id).applied == 1
    again = compared(world)
    assert state(world, again).changed == 0


def test_another_parser_shows_its_own_differences(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = message_of(world, world.parsed(mail("Hello", "It does not start.")))
    monkeypatch.setattr(mime, "snippet", lambda *_: "another snippet")
    run_id = compared(world)
    assert differences(world, run_id)[str(message_id)].changes == {"snippet": ["It does not start.", "another snippet"]}
    apply(world, run_id)
    assert world.value("SELECT snippet FROM messages") == "another snippet"


def test_the_provider_is_not_asked(world: World) -> None:
    spoil(world, message_of(world, world.parsed(RICH)))
    apply(world, compared(world))
    assert world.source.calls == []


def test_what_changed_meanwhile_is_left_with_the_reason(world: World) -> None:
    one, two = message_of(world, world.parsed(RICH)), message_of(world, world.parsed(mail()))
    for message_id in (one, two):
        world.rows("UPDATE messages SET subject = 'wrong' WHERE id = :id", id=message_id)
    run_id = compared(world)
    world.rows("UPDATE messages SET subject = 'changed by somebody' WHERE id = :id", id=one)
    apply(world, run_id)
    found = differences(world, run_id)
    assert found[str(one)].refused == reprocessing.CHANGED
    assert found[str(one)].applied_at is None
    assert found[str(two)].applied_at is not None
    assert world.value("SELECT subject FROM messages WHERE id = :id", id=one) == "changed by somebody"


def test_what_changes_between_reading_and_writing_is_left_too(world: World) -> None:
    one = message_of(world, world.parsed(mail()))
    world.rows("UPDATE messages SET subject = 'wrong'")
    run_id = compared(world)
    with world.db.begin() as connection:
        commands.apply(connection, world.org_id, run_id, "ann")
    job = world.job(reprocess.STAGE, run_id, Lane.REPAIR)
    with world.db.begin() as connection:
        items = reprocess.STAGE.load(connection, [job])
    outcomes = reprocess.STAGE.work(list(items.values()), world.ports)
    world.rows("UPDATE messages SET snippet = 'changed by somebody'")
    with world.db.begin() as connection:
        work = Work(job, items[job.job_id], outcomes[0])
        reprocess.STAGE.save(connection, [work])
    assert differences(world, run_id)[str(one)].refused == reprocessing.CHANGED
    assert world.value("SELECT subject FROM messages") == "wrong"


def test_a_message_is_never_made_the_same_as_another(world: World) -> None:
    raw = mail("Twice")
    first = message_of(world, world.parsed(raw))
    world.rows("UPDATE messages SET signature = '\\x00' WHERE id = :id", id=first)
    second = message_of(world, world.parsed(raw))
    assert first != second
    run_id = compared(world)
    apply(world, run_id)
    found = differences(world, run_id)[str(first)]
    assert found.refused is not None
    assert str(second) in found.refused
    assert world.value("SELECT count(*) FROM messages") == 2


def test_a_message_without_its_raw_bytes_fails_alone(world: World) -> None:
    lost, kept = message_of(world, world.parsed(mail("lost"))), message_of(world, world.parsed(mail("kept")))
    world.rows("UPDATE messages SET subject = 'wrong'")
    sha256 = world.value("SELECT encode(raw_sha256, 'hex') FROM messages WHERE id = :id", id=lost)
    del world.blobs.contents["raw", sha256]
    run_id = compared(world)
    found = differences(world, run_id)
    assert "not in the blob store" in str(found[str(lost)].refused)
    assert set(found[str(kept)].changes) == {"subject"}
    assert (state(world, run_id).failed, state(world, run_id).changed) == (1, 1)
    apply(world, run_id)
    assert world.value("SELECT subject FROM messages WHERE id = :id", id=lost) == "wrong"


def test_a_blob_store_that_is_away_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.parsed(mail())
    run_id = begin(world)

    def away(*_: object) -> object:
        raise Transient("away")

    monkeypatch.setattr(world.blobs, "get", away)
    ran = world.run(reprocess.STAGE, run_id)
    assert isinstance(ran.unsaved[str(run_id)], Transient)
    assert state(world, run_id).seen == 0


def test_chunks_go_on_where_the_last_one_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprocess, "CHUNK", 2)
    for number in range(5):
        world.parsed(mail(f"mail {number}"))
    world.rows("UPDATE messages SET subject = 'wrong' WHERE id % 2 = 0")
    wrong = world.value("SELECT count(*) FROM messages WHERE subject = 'wrong'")
    run_id = begin(world)
    assert len(list(walk(world, run_id))) == 3
    assert (state(world, run_id).seen, state(world, run_id).changed) == (5, wrong)
    assert len(apply(world, run_id)) == wrong
    assert world.value("SELECT count(*) FROM messages WHERE subject = 'wrong'") == 0


def test_large_mail_is_held_in_portions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reparsing, "_TOGETHER", 1)
    for number in range(3):
        world.parsed(mail(f"mail {number}"))
    asked: list[int] = []
    get = world.blobs.get
    monkeypatch.setattr(world.blobs, "get", lambda kind, names: asked.append(len(names)) or get(kind, names))
    world.rows("INSERT INTO blobs (org_id, kind, sha256, size, stored_size)"
               " SELECT org_id, 'raw', raw_sha256, 10, 10 FROM messages ON CONFLICT DO NOTHING")  # fmt: skip
    compared(world)
    assert asked == [1, 1, 1]


def test_only_what_a_mailbox_holds(world: World) -> None:
    other = world.mailbox("other@acme.example")
    world.parsed(mail("one"))
    mine = message_of(world, world.parsed(mail("two"), mailbox_id=other))
    world.rows("UPDATE messages SET subject = 'wrong'")
    run_id = compared(world, mailbox_id=other)
    assert list(differences(world, run_id)) == [str(mine)]


def test_each_mailbox_s_own_copy_says_whom_it_reached(world: World) -> None:
    other = world.mailbox("other@acme.example")
    shared = {"message_id": "<1@x>", "to": "both@acme.example"}
    first = mail("same", Delivered_To="help@acme.example", **shared)
    second = mail("same", Delivered_To="other@acme.example", **shared)
    a, b = world.parsed(first), world.parsed(second, mailbox_id=other)
    assert message_of(world, a) == message_of(world, b)
    assert state(world, compared(world)).changed == 0
    world.rows("UPDATE occurrence_recipients SET address = 'wrong@x' WHERE occurrence_id = :id", id=b)
    apply(world, compared(world))
    addresses = [row.address for row in world.rows("SELECT address FROM occurrence_recipients ORDER BY occurrence_id")]
    assert addresses == ["help@acme.example", "other@acme.example"]


def test_new_mail_is_not_lost_and_not_compared(world: World) -> None:
    world.parsed(mail("before"))
    run_id = begin(world)
    after = world.arrive(mail("meanwhile"))
    ran = world.run(parse.STAGE, after)
    assert ("stitch", str(after)) in ran.next
    list(walk(world, run_id))
    assert state(world, run_id).seen == 1


def test_a_cancelled_repetition_stops_and_another_may_start(world: World) -> None:
    world.parsed(mail())
    run_id = begin(world)
    with pytest.raises(UserError, match="under way"):
        begin(world)
    with world.db.begin() as connection:
        commands.cancel(connection, world.org_id, run_id)
        commands.cancel(connection, world.org_id, run_id)
    assert list(walk(world, run_id)) == []
    assert state(world, run_id).state == "cancelled"
    with pytest.raises(UserError, match="cancelled"), world.db.begin() as connection:
        commands.apply(connection, world.org_id, run_id, "ann")
    begin(world)


def test_only_what_was_compared_with_the_rules_of_today_is_applied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parsed(mail())
    run_id = begin(world)
    with pytest.raises(UserError, match="comparing"), world.db.begin() as connection:
        commands.apply(connection, world.org_id, run_id, "ann")
    list(walk(world, run_id))
    monkeypatch.setattr(reparsing, "PARSER_VERSION", mime.PARSER_VERSION + 1)
    with pytest.raises(UserError, match="start anew"), world.db.begin() as connection:
        commands.apply(connection, world.org_id, run_id, "ann")


def test_what_we_wrote_ourselves_is_not_parsed(world: World) -> None:
    message_id = message_of(world, world.parsed(mail()))
    world.rows("INSERT INTO send_identities (org_id, mailbox_id, from_email) VALUES (:org, :box, 'help@acme.example')",
               org=world.org_id, box=world.mailbox_id)  # fmt: skip
    world.rows(
        "INSERT INTO outbound (org_id, mailbox_id, identity_id, message_id, kind, recipient, created_by)"
        " SELECT :org, :box, id, :message, 'reply', 'ann@customer.example', 'ann' FROM send_identities",
        org=world.org_id, box=world.mailbox_id, message=message_id,
    )  # fmt: skip
    assert state(world, compared(world)).total == 0


def test_a_fingerprint_that_changes_leaves_and_joins_its_collision_group(world: World) -> None:
    raw = {"message_id": "<1@x>"}
    one = message_of(world, world.parsed(mail("same", **raw)))
    two = message_of(world, world.parsed(mail("same", to="else@acme.example", **raw)))
    world.rows("UPDATE messages SET fingerprint = '\\x01', collision_group_id = NULL WHERE id = :id", id=two)
    apply(world, compared(world))
    groups = {row.collision_group_id for row in world.rows("SELECT collision_group_id FROM messages")}
    assert len(groups) == 1
    assert None not in groups
    assert one != two


def test_values_are_read_as_they_would_be_written(world: World) -> None:
    world.parsed(RICH)
    with world.db.begin() as connection:
        (row,) = reparsed_rows.read(connection, [world.value("SELECT id FROM messages")])
    assert set(reparsed_rows.values_of(row)) >= SPOILED


# Routing


def rule(world: World, **columns: Any) -> None:
    names = ", ".join(columns)
    world.rows(
        f"INSERT INTO routing_rules (org_id, {names}) VALUES (:org, {', '.join(':' + name for name in columns)})",
        org=world.org_id, **columns,
    )  # fmt: skip


def ticket(world: World, occurrence_id: int) -> Any:
    return world.ticket_of(occurrence_id)


def test_new_rules_change_what_routing_set_and_nothing_a_person_set(world: World) -> None:
    plain, touched = world.routed(
        mail("Charger one", to="help@acme.example"), mail("Charger two", to="help@acme.example")
    )
    world.rows("UPDATE tickets SET priority = 'low' WHERE id = :id", id=ticket(world, touched).id)
    rule(world, match_subject_pattern="charger", set_priority="urgent", add_tags=["charger"])
    run_id = compared(world, kind=ReprocessKind.ROUTING)
    found = differences(world, run_id)
    assert found[str(ticket(world, plain).id)].changes["priority"] == ["normal", "urgent"]
    assert "priority" not in found[str(ticket(world, touched).id)].changes
    assert ticket(world, plain).priority == "normal"
    apply(world, run_id)
    assert (ticket(world, plain).priority, ticket(world, plain).tags) == ("urgent", ["charger"])
    assert (ticket(world, touched).priority, ticket(world, touched).tags) == ("low", ["charger"])
    due = ticket(world, plain).response_due_at - ticket(world, plain).first_message_at
    assert due < ticket(world, touched).response_due_at - ticket(world, touched).first_message_at
    kinds = world.rows("SELECT kind, actor FROM events WHERE kind = 'ticket.rerouted'")
    assert kinds == [("ticket.rerouted", "ann@example.org")] * 2
    assert state(world, compared(world, kind=ReprocessKind.ROUTING)).changed == 0


def test_a_ticket_that_is_no_spam_any_more_gets_the_work_it_missed(world: World) -> None:
    world.rows(
        "INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, 'other@acme.example')", org=world.org_id
    )
    (occurrence,) = world.routed(mail(to="help@acme.example"))
    assert ticket(world, occurrence).status == "spam"
    world.rows("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, 'help@acme.example')", org=world.org_id)
    run_id = compared(world, kind=ReprocessKind.ROUTING)
    assert apply(world, run_id) == [("triage", str(message_of(world, occurrence)))]
    assert (ticket(world, occurrence).status, ticket(world, occurrence).closed_at) == ("new", None)


def test_a_tag_that_a_person_took_away_stays_away(world: World) -> None:
    rule(world, match_subject_pattern="charger", add_tags=["one"])
    (occurrence,) = world.routed(mail("Charger", to="help@acme.example"))
    world.rows("UPDATE tickets SET tags = '{mine}'")
    world.rows("UPDATE routing_rules SET add_tags = '{one,two}'")
    apply(world, compared(world, kind=ReprocessKind.ROUTING))
    assert ticket(world, occurrence).tags == ["mine", "two"]


def test_a_rule_that_is_gone_takes_back_what_it_set(world: World) -> None:
    rule(world, match_subject_pattern="charger", add_tags=["one"], set_priority="high", set_status="pending")
    (occurrence,) = world.routed(mail("Charger", to="help@acme.example"))
    assert (ticket(world, occurrence).priority, ticket(world, occurrence).status) == ("high", "pending")
    world.rows("DELETE FROM routing_rules")
    apply(world, compared(world, kind=ReprocessKind.ROUTING))
    found = ticket(world, occurrence)
    assert (found.priority, found.status, found.tags) == ("normal", "new", [])


def test_a_decision_by_older_rules_gets_the_version(world: World) -> None:
    world.routed(mail(to="help@acme.example"))
    world.rows("""UPDATE tickets SET routing = routing || '{"version": 0}'""")
    apply(world, compared(world, kind=ReprocessKind.ROUTING))
    assert world.value("SELECT routing ->> 'version' FROM tickets") != "0"


def test_tickets_decided_before_decisions_were_kept_are_left_alone(world: World) -> None:
    world.routed(mail(to="help@acme.example"))
    world.rows("UPDATE tickets SET routing = NULL")
    assert state(world, compared(world, kind=ReprocessKind.ROUTING)).total == 0


def test_times_of_the_walk_are_the_database_s(world: World) -> None:
    world.parsed(mail(), at=NOON + timedelta(days=3650))
    assert state(world, compared(world)).seen == 1


def test_the_stage_names_what_it_asks_for() -> None:
    assert isinstance(reprocess.STAGE, Stage)
    assert set(reprocess.STAGE.emits) == {"index", "triage", "reprocess"}


def test_a_worker_of_an_older_version_leaves_a_run_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    message_id = message_of(world, world.parsed(mail()))
    old = mime.PARSER_VERSION
    monkeypatch.setattr(reparsing, "PARSER_VERSION", old + 1)
    run_id = begin(world)
    monkeypatch.setattr(reparsing, "PARSER_VERSION", old)
    ran = world.run(reprocess.STAGE, run_id)
    assert isinstance(ran.unsaved[str(run_id)], Again)
    assert (state(world, run_id).seen, state(world, run_id).state) == (0, "comparing")
    monkeypatch.setattr(reparsing, "PARSER_VERSION", old + 1)
    list(walk(world, run_id))
    apply(world, run_id)
    assert world.value("SELECT parser_version FROM messages WHERE id = :id", id=message_id) == old + 1


def test_a_run_of_an_older_version_ends_as_a_dead_letter_that_says_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.parsed(mail())
    run_id = begin(world)
    monkeypatch.setattr(reparsing, "PARSER_VERSION", mime.PARSER_VERSION + 1)
    error = world.run(reprocess.STAGE, run_id).unsaved[str(run_id)]
    assert isinstance(error, Permanent)
    assert f"fieldpost reprocess cancel {run_id}" in str(error)


class _Watching:
    """Remembers which mails were asked for apart; one of them ends the process that reads it."""

    def __init__(self, parser: Parser) -> None:
        self.asked: list[bool] = []
        self._parser = parser

    def parse(self, raw: bytes, *, isolated: bool = False) -> Parsed:
        self.asked.append(isolated)
        if b"Subject: kills" in raw:
            assert isolated, "the whole process would be gone"
            raise ParserDied("it died")
        return self._parser.parse(raw)

    def close(self) -> None:
        """Hold nothing."""


@pytest.mark.parametrize("change", [{"is_suspect": True}, {"failures": 1}, {"crashes": 1}], ids=str)
def test_a_mail_that_kills_its_reader_fails_alone_once_the_chunk_was_tried(
    world: World, change: dict[str, Any]
) -> None:
    world.parsed(mail("good"))
    killer = message_of(world, world.parsed(mail("kills")))
    parser = _Watching(world.parser)
    world.ports = replace(world.ports, parser=parser)
    run_id = begin(world)
    world.run_jobs(reprocess.STAGE, replace(world.job(reprocess.STAGE, run_id, Lane.REPAIR), **change))
    assert parser.asked == [True, True]
    assert "it died" in str(differences(world, run_id)[str(killer)].refused)
    assert (state(world, run_id).seen, state(world, run_id).failed) == (2, 1)


def test_a_chunk_ends_before_it_holds_too_much_and_holds_no_message_whole_when_comparing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        world.parsed(mail(f"mail {number}", "x" * 20_000))
    world.rows("UPDATE messages SET subject = 'wrong'")
    world.rows(
        "INSERT INTO blobs (org_id, kind, sha256, size, stored_size)"
        " SELECT org_id, 'raw', raw_sha256, 20000, 100 FROM messages"
    )
    monkeypatch.setattr(reparsing, "_CHUNK", 130_000)  # each has 20,000 raw, and its text twice
    run_id = begin(world)
    job = world.job(reprocess.STAGE, run_id, Lane.REPAIR)
    with world.db.begin() as connection:
        (chunk,) = reprocess.STAGE.load(connection, [job]).values()
    assert len(chunk.subjects) == 2
    (outcomes,) = reprocess.STAGE.work([chunk], world.ports)
    assert [outcome.effect for outcome in outcomes.values()] == [None, None]
    monkeypatch.setattr(reparsing, "_CHUNK", 1)
    list(walk(world, run_id))
    apply(world, run_id)
    assert (state(world, run_id).seen, state(world, run_id).applied) == (4, 4)


def test_each_sightings_recipient_comes_from_its_own_bytes(world: World) -> None:
    other = world.mailbox("sales@acme.example")
    raw = mail("Both", Delivered_To="help@acme.example")
    message_id = message_of(world, world.parsed(raw))
    copy = raw.replace(b"Delivered-To: help@acme.example", b"Delivered-To: sales@acme.example")
    assert message_of(world, world.parsed(copy, mailbox_id=other)) == message_id
    right = everything(world)
    world.rows("UPDATE occurrence_recipients SET address = 'wrong@x'")
    run_id = compared(world)
    assert set(differences(world, run_id)[str(message_id)].changes) == {"recipients"}
    apply(world, run_id)
    assert everything(world) == right


def test_whom_the_rules_gave_a_ticket_follows_them_and_whom_a_person_chose_stays(world: World) -> None:
    desk, other = queue(world, "desk"), queue(world, "other")
    ann, bob, cy = person(world, "ann", desk), person(world, "bob", other), person(world, "cy")
    rule(world, queue_id=desk, strategy="round_robin")
    given, chosen = world.routed(mail("Charger one"), mail("Charger two"))
    world.rows("UPDATE tickets SET assignee_user_id = :cy WHERE id = :id", cy=cy, id=ticket(world, chosen).id)
    assert state(world, compared(world, kind=ReprocessKind.ROUTING)).changed == 0
    world.rows("UPDATE routing_rules SET queue_id = :other", other=other)
    run_id = compared(world, kind=ReprocessKind.ROUTING)
    (found,) = differences(world, run_id).values()
    assert found.changes == {"queue_id": [None, str(other)], "assignee_user_id": [str(ann), None]}
    apply(world, run_id)
    assert [ticket(world, one).assignee_user_id for one in (given, chosen)] == [bob, cy]
    assert ticket(world, given).routing["assignment"]["candidates"][0]["person_id"] == str(bob)
    assert state(world, compared(world, kind=ReprocessKind.ROUTING)).changed == 0


def test_a_ticket_that_a_person_decided_on_only_gets_what_is_empty(world: World) -> None:
    desk = queue(world, "desk")
    (found,) = world.routed(mail("Charger"))
    world.rows("UPDATE tickets SET decided_at = now()")
    rule(world, queue_id=desk, set_priority="urgent", set_status="closed", add_tags=["x"])
    apply(world, compared(world, kind=ReprocessKind.ROUTING))
    now = ticket(world, found)
    assert (now.priority, now.status, now.queue_id, now.tags) == ("normal", "new", desk, ["x"])
