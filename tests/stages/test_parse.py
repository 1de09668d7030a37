"""Parse: one canonical message however often it was sighted, with evidence, attachments and collisions."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from models.enums import BlobKind, OccurrenceState
from pipeline.core.mime import Unreadable
from pipeline.runtime.errors import Transient
from pipeline.stages import parse, stitch
from tests import factories
from tests.factories import NOON, mail
from tests.stages.world import World

STAGE = parse.STAGE


def test_a_mail_becomes_a_message_with_its_parts(world: World):
    raw = mail(
        "Re: The charger", "It burns.\n", message_id="<m@x>", in_reply_to="<p@x>", references="<r@x> <p@x>",
        Cc="Bob <bob@x.example>", Reply_To="desk@x.example",
    )  # fmt: skip
    found = world.arrive(raw, at=NOON + timedelta(minutes=5))
    assert world.run(STAGE, found).next == [("stitch", str(found))]
    (row,) = world.rows("SELECT * FROM messages")
    assert (row.subject, row.subject_norm, row.rfc_message_id) == ("Re: The charger", "the charger", "<m@x>")
    assert (row.from_address, row.from_name, row.direction) == ("ann@customer.example", "Ann", "inbound")
    assert (row.dated_at, row.received_at) == (NOON, NOON + timedelta(minutes=5))
    assert (row.machine, row.raw_sha256) == (None, hashlib.sha256(raw).digest())
    assert world.value("SELECT body_text FROM message_contents").strip() == "It burns."
    addresses = world.rows("SELECT role, address FROM message_addresses ORDER BY role")
    assert [tuple(one) for one in addresses] == [
        ("cc", "bob@x.example"), ("from", "ann@customer.example"), ("reply_to", "desk@x.example"),
        ("to", "help@acme.example"),
    ]  # fmt: skip
    references = world.rows("SELECT kind, position, reference FROM message_references ORDER BY kind, position")
    assert [tuple(one) for one in references] == [
        ("in_reply_to", 0, "<p@x>"), ("references", 0, "<r@x>"), ("references", 1, "<p@x>"),
    ]  # fmt: skip
    assert world.state_of(found) == "parsed"


def test_one_mail_in_two_mailboxes_is_one_message_with_two_occurrences(world: World):
    raw, other = mail(), world.mailbox("sales@acme.example")
    pair = [world.parsed(raw), world.parsed(raw, mailbox_id=other)]
    assert world.value("SELECT count(*) FROM messages") == 1
    assert world.value("SELECT count(DISTINCT message_id) FROM occurrences") == 1
    assert world.value("SELECT count(*) FROM message_contents") == 1
    assert [world.state_of(one) for one in pair] == ["parsed", "parsed"]


def test_one_mail_twice_in_a_batch_is_one_message(world: World):
    found = [world.arrive(mail(message_id="<m@x>")) for _ in range(3)]
    assert len(world.run(STAGE, *found).next) == 3
    assert world.value("SELECT count(*) FROM messages") == 1
    assert world.value("SELECT count(*) FROM occurrence_recipients") == 3


def test_one_mail_parsed_by_many_threads_at_once_is_one_message(world: World):
    raws = [mail(f"number {number}", message_id=f"<{number}@x>", attachment=b"plan") for number in range(10)]
    batches = [[world.arrive(raw) for raw in (raws if turn % 2 else raws[::-1])] for turn in range(4)]
    start = threading.Barrier(4)

    def go(batch: list[int]) -> None:
        start.wait()
        world.run(STAGE, *batch)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(go, batches))
    assert world.value("SELECT count(*) FROM messages") == 10
    assert world.value("SELECT count(*) FROM attachments") == 10
    assert world.value("SELECT count(*) FROM occurrences WHERE state = 'parsed' AND message_id IS NOT NULL") == 40


def test_mails_that_are_probably_but_not_surely_the_same_become_a_collision_group(world: World):
    one, other, apart = world.stitched(
        mail(message_id="<one@x>"), mail(message_id="<other@x>"), mail("Another matter", message_id="<apart@x>")
    )
    groups = {
        row.id: row.collision_group_id
        for row in world.rows(
            "SELECT o.id, m.collision_group_id FROM occurrences o JOIN messages m ON m.id = message_id"
        )
    }
    assert groups[one] is not None
    assert groups[one] == groups[other]
    assert groups[apart] is None
    late = world.parsed(mail(message_id="<late@x>"))
    world.run(stitch.STAGE, late)
    assert (
        world.value(
            "SELECT collision_group_id FROM messages m JOIN occurrences o ON m.id = message_id WHERE o.id = :id",
            id=late,
        )
        == groups[one]
    )


def test_equal_mails_of_two_organizations_never_share_a_message(world: World):
    world.parsed(mail(message_id="<m@x>"))
    with world.db.begin() as connection:
        org_id = factories.organization(connection)
        theirs = factories.mailbox(connection, org_id)
        found = factories.occurrence(
            connection, theirs, state=OccurrenceState.FETCHED, raw=mail(message_id="<m@x>"), at=NOON
        )
    world.run(STAGE, found)
    assert world.value("SELECT count(*) FROM messages") == 2
    assert world.value("SELECT count(DISTINCT org_id) FROM messages") == 2


def test_attachments_are_stored_once_and_described_for_each_message(world: World):
    for number in range(2):
        world.parsed(mail(f"number {number}", attachment=b"%PDF the same plan"))
    digest = hashlib.sha256(b"%PDF the same plan").digest()
    described = world.rows("SELECT filename, content_type, size, disposition, sha256, position FROM attachments")
    assert [tuple(one) for one in described] == [("plan.pdf", "application/pdf", 18, "attachment", digest, 0)] * 2
    assert world.value("SELECT count(*) FROM blobs WHERE kind = 'attachment'") == 1
    assert world.blobs.contents[BlobKind.ATTACHMENT, digest.hex()] == b"%PDF the same plan"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Auto_Submitted": "auto-replied"}, "auto_reply"),
        ({"List_Id": "<news.x.example>"}, "mailing_list"),
        ({"Precedence": "bulk"}, "bulk"),
    ],
)
def test_a_machine_that_wrote_a_mail_is_noted(world: World, headers: dict[str, str], expected: str | None):
    world.parsed(mail(**headers))
    assert world.value("SELECT machine FROM messages") == expected


@pytest.mark.parametrize(
    ("sender", "labels", "expected"),
    [
        ("ann@customer.example", ("INBOX",), "inbound"),
        ("Help <help@acme.example>", (), "outbound"),
        ("colleague@acme.example", ("SENT",), "outbound"),
    ],
)
def test_our_own_mail_is_outbound(world: World, sender: str, labels: tuple[str, ...], expected: str):
    world.parsed(mail(sender=sender), labels=labels)
    assert world.value("SELECT direction FROM messages") == expected


def test_an_empty_mail_is_never_readable_and_does_not_hurt_its_batch(world: World):
    good, empty = world.arrive(mail()), world.arrive(b" \r\n ")
    ran = world.run(STAGE, empty, good)
    assert isinstance(ran.unsaved[str(empty)], Unreadable)
    assert isinstance(ran.unsaved[str(empty)], STAGE.permanent)
    assert world.state_of(good) == "parsed"


def test_bytes_that_are_not_in_the_store_are_waited_for(world: World):
    found, other = world.arrive(mail("one")), world.arrive(mail("two"))
    sha256 = world.value("SELECT encode(raw_sha256, 'hex') FROM occurrences WHERE id = :id", id=found)
    del world.blobs.contents[BlobKind.RAW, sha256]
    ran = world.run(STAGE, found, other)
    assert isinstance(ran.unsaved[str(found)], Transient)
    assert world.state_of(other) == "parsed"


def test_trouble_of_the_blob_store_is_every_items_outcome_and_saves_nothing(world: World):
    found = world.arrive(mail())
    world.blobs.broken = Transient("away")
    assert world.run(STAGE, found).unsaved == {str(found): world.blobs.broken}
    assert world.value("SELECT count(*) FROM messages") == 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X_Gm_Original_To": "orig@acme.example"}, ("orig@acme.example", "workspace_header", "high")),
        ({"Delivered_To": "delivered@acme.example"}, ("delivered@acme.example", "delivered_to", "medium")),
        ({}, ("help@acme.example", "to_cc_scan", "low")),
    ],
)
def test_the_recipient_is_kept_with_its_evidence(world: World, headers: dict[str, str], expected: tuple[str, ...]):
    world.parsed(mail(**headers))
    (row,) = world.rows("SELECT address, source, confidence, evidence FROM occurrence_recipients")
    assert (row.address, row.source, row.confidence) == expected
    assert row.evidence["selected_value"] == expected[0]
    assert row.evidence["to_candidates"] == ["help@acme.example"]


def test_a_mail_without_any_recipient_is_kept_as_unknown(world: World):
    world.parsed(b"From: a@x.example\r\nSubject: hi\r\n\r\nhello")
    (row,) = world.rows("SELECT address, source FROM occurrence_recipients")
    assert tuple(row) == (None, "unknown")


def test_what_was_parsed_is_not_parsed_again_and_what_was_quarantined_is(world: World):
    found = world.parsed(mail())
    assert world.run(STAGE, found).loaded == 0
    replayed = world.arrive(mail("another"))
    world.rows("UPDATE occurrences SET state = 'quarantined' WHERE id = :id", id=replayed)
    assert world.run(STAGE, replayed).next == [("stitch", str(replayed))]


def test_hostile_characters_reach_the_database_unharmed(world: World):
    head = b"From: a@x.example\r\nMessage-ID: <\x00h@x>\r\nSubject: =?utf-8?q?nul_=00_tab_=09?= \xff\xfe"
    world.parsed(head + b"\r\n\r\nnul \x00 \xff")
    assert world.value("SELECT count(*) FROM messages") == 1
