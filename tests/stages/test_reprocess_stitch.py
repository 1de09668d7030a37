"""Stitching again as a repetition: shown in shadow, applied once, refused where tickets changed, by mailbox."""

from __future__ import annotations

from models.enums import ReprocessKind
from pipeline.stages import stitch
from tests.factories import mail
from tests.stages.test_regrouping import message_of
from tests.stages.test_reprocess import apply, compared
from tests.stages.test_restitching import put
from tests.stages.world import World


def stranger_inside(world: World) -> tuple[int, int]:
    """Return a customer's mail, and a stranger's that older rules let into its ticket."""
    customer, stranger = world.stitched(
        mail("a", message_id="<a@x>"), mail("c", sender="mallory@evil.example", in_reply_to="<a@x>")
    )
    put(world, stranger, customer)
    return customer, stranger


def test_what_stitching_would_change_is_shown_and_nothing_is_changed(world: World):
    customer, stranger = stranger_inside(world)
    run_id = compared(world, kind=ReprocessKind.STITCH)
    (row,) = world.rows("SELECT * FROM reprocessings")
    assert (row.state, row.seen, row.changed, row.failed) == ("compared", 2, 1, 0)
    (found,) = world.rows("SELECT subject, changes FROM reprocessed WHERE reprocessing_id = :id", id=run_id)
    assert found.subject == str(message_of(world, stranger))
    assert found.changes == {
        "ticket": [world.ticket_of(customer).code, f"a new ticket with message {message_of(world, stranger)}"]
    }
    assert world.ticket_of(stranger).id == world.ticket_of(customer).id


def test_it_is_applied_once_and_then_nothing_differs(world: World):
    customer, stranger = stranger_inside(world)
    run_id = compared(world, kind=ReprocessKind.STITCH)
    assert apply(world, run_id) == []
    assert world.ticket_of(stranger).id != world.ticket_of(customer).id
    (row,) = world.rows("SELECT state, applied, failed FROM reprocessings")
    assert tuple(row) == ("applied", 1, 0)
    assert (
        world.value("SELECT actor FROM regroupings ORDER BY id DESC LIMIT 1")
        == f"reprocess:{run_id} for ann@example.org"
    )
    again = compared(world, kind=ReprocessKind.STITCH)
    assert world.value("SELECT changed FROM reprocessings WHERE id = :id", id=again) == 0


def test_a_conversation_that_changed_meanwhile_is_refused(world: World):
    customer, stranger = stranger_inside(world)
    run_id = compared(world, kind=ReprocessKind.STITCH)
    (friend,) = world.stitched(mail("d", sender="mallory@evil.example", message_id="<d@x>"), minutes=9)
    put(world, stranger, friend)
    apply(world, run_id)
    assert world.ticket_of(stranger).id == world.ticket_of(friend).id != world.ticket_of(customer).id
    assert world.value("SELECT refused FROM reprocessed") == "it has changed since it was compared"


def test_a_mailbox_narrows_what_is_looked_at(world: World):
    stranger_inside(world)
    other = world.mailbox("other@acme.example")
    compared(world, kind=ReprocessKind.STITCH, mailbox_id=other)
    assert tuple(*world.rows("SELECT seen, changed FROM reprocessings")) == (0, 0)


def test_a_message_whose_id_a_newer_parser_reads_is_found_by_its_answers(world: World):
    found = world.parsed(mail("Q", message_id="<q@x>"))
    # As the parser before left it: it could not read the id.
    world.rows("UPDATE messages SET rfc_message_id = NULL, parser_version = 0")
    world.run(stitch.STAGE, found)
    apply(world, compared(world, kind=ReprocessKind.PARSE))
    assert world.value("SELECT rfc_message_id FROM messages") == "<q@x>"
    (late,) = world.stitched(mail("Re: Q", in_reply_to="<q@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(found).id


def test_stitching_again_gives_messages_that_stand_right_the_keys_they_lack(world: World):
    """As after a rolling upgrade: the version before stitched it, with keys that this version does not read."""
    (found,) = world.stitched(mail("Q", message_id="<q@x>"))
    world.rows("DELETE FROM thread_keys")
    apply(world, compared(world, kind=ReprocessKind.STITCH))
    (late,) = world.stitched(mail("Re: Q", in_reply_to="<q@x>"), minutes=9)
    assert world.ticket_of(late).id == world.ticket_of(found).id
