"""Parse: one canonical message however often it was sighted, with evidence, attachments and collisions."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from models.enums import BlobKind, OccurrenceState
from pipeline.adapters.clock import SystemClock
from pipeline.core import mime, minimal
from pipeline.core.mime import Unreadable
from pipeline.runtime.errors import ParserDied, Permanent, ReaderBusy, Transient
from pipeline.runtime.message_rows import Understood
from pipeline.stage import Again
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
    ran = world.run(STAGE, found)
    (row,) = world.rows("SELECT * FROM messages")
    assert ran.next == [("stitch", str(found)), ("index", str(row.id))]
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
    steps = world.run(STAGE, *found).next
    assert [key for stage, key in steps if stage == "stitch"] == [str(one) for one in found]
    assert len(steps) == 4  # one message is indexed once
    assert world.value("SELECT count(*) FROM messages") == 1
    assert world.value("SELECT count(*) FROM occurrence_recipients") == 3


@pytest.mark.fault("F-50")
def test_one_mail_parsed_by_eight_threads_in_eight_mailboxes_is_one_message(world: World):
    raws = [mail(f"number {number}", message_id=f"<{number}@x>", attachment=b"plan") for number in range(10)]
    boxes = [world.mailbox(f"box{number}@acme.example") for number in range(8)]
    batches = [
        [world.arrive(raw, mailbox_id=box) for raw in (raws if turn % 2 else raws[::-1])]
        for turn, box in enumerate(boxes)
    ]
    start = threading.Barrier(8)

    def go(batch: list[int]) -> list[str]:
        start.wait()
        return [key for stage, key in world.run(STAGE, *batch).next if stage == "index"]

    with ThreadPoolExecutor(8) as pool:
        indexed = [key for keys in pool.map(go, batches) for key in keys]
    assert world.value("SELECT count(*) FROM messages") == 10
    assert world.value("SELECT count(*) FROM attachments") == 10
    assert world.value("SELECT count(*) FROM occurrences WHERE state = 'parsed' AND message_id IS NOT NULL") == 80
    assert len(indexed) == len(set(indexed)) == 10  # every message was new to one of them alone


@pytest.mark.fault("F-50")
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
        world.parsed(mail(f"number {number}", attachment=b"%PDF-1.7 the same plan"))
    digest = hashlib.sha256(b"%PDF-1.7 the same plan").digest()
    described = world.rows("SELECT filename, content_type, size, disposition, sha256, position FROM attachments")
    assert [tuple(one) for one in described] == [("plan.pdf", "application/pdf", 22, "attachment", digest, 0)] * 2
    assert world.value("SELECT count(*) FROM blobs WHERE kind = 'attachment'") == 1
    assert world.blobs.contents[BlobKind.ATTACHMENT, digest.hex()] == b"%PDF-1.7 the same plan"


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
    ("sender", "labels", "provider", "expected"),
    [
        ("ann@customer.example", ("INBOX",), "gmail", "inbound"),
        ("Help <help@acme.example>", ("INBOX",), "gmail", "inbound"),
        ("Help <help@acme.example>", (), "imap", "inbound"),
        ("Help <help@acme.example>", (), "files", "outbound"),
        ("colleague@acme.example", ("SENT",), "gmail", "outbound"),
    ],
)
def test_our_own_mail_stands_under_sent_mail_and_only_files_are_believed_by_from(
    world: World, sender: str, labels: tuple[str, ...], provider: str, expected: str
):
    world.rows("UPDATE mailboxes SET provider = :provider", provider=provider)
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
    assert ("stitch", str(replayed)) in world.run(STAGE, replayed).next


def test_hostile_characters_reach_the_database_unharmed(world: World):
    head = b"From: a@x.example\r\nMessage-ID: <\x00h@x>\r\nSubject: =?utf-8?q?nul_=00_tab_=09?= \xff\xfe"
    world.parsed(head + b"\r\n\r\nnul \x00 \xff")
    assert world.value("SELECT count(*) FROM messages") == 1


def test_contents_that_are_in_the_store_are_held_no_longer(world: World):
    found = world.arrive(mail(attachment=b"a plan"))
    with world.db.begin() as connection:
        items = list(STAGE.load(connection, [world.job(STAGE, found)]).values())
    (done,) = STAGE.work(items, world.ports)
    assert isinstance(done, Understood)
    assert [(part.size, part.payload) for part in done.parsed.attachments] == [(6, b"")]
    assert (BlobKind.ATTACHMENT, hashlib.sha256(b"a plan").hexdigest()) in world.blobs.contents


def test_large_mail_of_a_batch_is_read_in_portions(world: World, monkeypatch: pytest.MonkeyPatch):
    raws = [mail(f"number {number}") for number in range(5)]
    found = [world.arrive(raw) for raw in raws]
    world.rows(
        "INSERT INTO blobs (org_id, kind, sha256, size, stored_size)"
        " SELECT org_id, 'raw', raw_sha256, 10485760, 1 FROM occurrences"
    )
    portions: list[int] = []
    get = world.blobs.get

    def noted(kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        portions.append(len(hashes))
        return get(kind, hashes)

    monkeypatch.setattr(world.blobs, "get", noted)
    assert world.run(STAGE, *found).unsaved == {}
    assert portions == [3, 2]


def test_a_damaged_blob_is_its_own_mails_trouble(world: World, monkeypatch: pytest.MonkeyPatch):
    found = [world.arrive(mail(f"number {number}")) for number in range(3)]
    damaged = world.value("SELECT encode(raw_sha256, 'hex') FROM occurrences WHERE id = :id", id=found[1])
    get = world.blobs.get

    def checked(kind: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        if damaged in hashes:
            raise Permanent(f"blob {damaged} is corrupt")
        return get(kind, hashes)

    monkeypatch.setattr(world.blobs, "get", checked)
    ran = world.run(STAGE, *found)
    assert list(ran.unsaved) == [str(found[1])]
    assert [world.state_of(one) for one in (found[0], found[2])] == ["parsed", "parsed"]


def test_ordinary_mail_is_read_here_and_what_failed_or_crashed_before_is_read_apart(world: World):
    found = [world.arrive(mail(f"number {number}")) for number in range(4)]
    jobs = [world.job(STAGE, one) for one in found]
    changes: list[dict[str, Any]] = [{}, {"failures": 1}, {"crashes": 1}, {"is_suspect": True}]
    apart = []
    for job, change in zip(jobs, changes, strict=True):
        before = world.parser.isolated
        assert world.run_jobs(STAGE, replace(job, **change)).unsaved == {}
        apart.append(world.parser.isolated - before)
    assert apart == [0, 1, 1, 1]


@pytest.mark.fault("F-09")
def test_a_mail_that_kills_its_reader_three_times_becomes_a_message_with_a_ticket(world: World):
    raw = mail("The charger", sender="ann@customer.example", message_id="<m@x>", X_Deadly="yes", attachment=b"plan")
    found = world.arrive(raw)
    job = world.job(STAGE, found)
    for failures in range(2):
        ran = world.run_jobs(STAGE, replace(job, failures=failures))
        assert isinstance(ran.unsaved[str(found)], ParserDied)
        assert world.value("SELECT count(*) FROM messages") == 0
    assert world.run_jobs(STAGE, replace(job, failures=2)).unsaved == {}
    (row,) = world.rows("SELECT * FROM messages")
    assert (row.subject, row.from_address, row.rfc_message_id) == ("The charger", "ann@customer.example", "<m@x>")
    assert "poison_mail" in row.flags
    assert row.raw_sha256 == hashlib.sha256(raw).digest()
    assert world.value("SELECT body_text FROM message_contents") == minimal.BODY
    assert world.value("SELECT address FROM occurrence_recipients") == "help@acme.example"
    world.run(stitch.STAGE, found)
    assert world.ticket_of(found).subject == "The charger"


def test_a_mail_beside_which_two_workers_died_is_judged_by_a_reader_of_its_own(world: World):
    innocent, deadly = world.arrive(mail("One")), world.arrive(mail("Two", X_Deadly="yes"))
    for found in (innocent, deadly):
        job = replace(world.job(STAGE, found), crashes=2, is_suspect=True)
        assert world.run_jobs(STAGE, job).unsaved == {}
    assert world.parser.isolated == 2
    found = world.rows("SELECT subject, 'poison_mail' = ANY(flags) AS is_poison FROM messages ORDER BY subject")
    assert [tuple(row) for row in found] == [("One", False), ("Two", True)]


def test_a_mail_on_which_the_parser_fails_becomes_a_message_the_third_time(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    found = world.arrive(mail("The charger"))
    monkeypatch.setattr(world.parser, "parse", Mock(side_effect=ZeroDivisionError("a defect")))
    job = world.job(STAGE, found)
    assert isinstance(world.run_jobs(STAGE, replace(job, failures=1)).unsaved[str(found)], ZeroDivisionError)
    assert world.run_jobs(STAGE, replace(job, failures=2)).unsaved == {}
    assert world.value("SELECT subject FROM messages") == "The charger"


def test_a_reader_that_cannot_be_started_is_not_the_mails_fault(world: World, monkeypatch: pytest.MonkeyPatch):
    found = world.arrive(mail())
    trouble = Transient("no process could be started")
    monkeypatch.setattr(world.parser, "parse", Mock(side_effect=trouble))
    for failures in (2, 6):
        job = replace(world.job(STAGE, found), failures=failures)
        assert world.run_jobs(STAGE, job).unsaved == {str(found): trouble}
    assert world.value("SELECT count(*) FROM messages") == 0


def test_two_mails_that_nobody_can_read_stay_two_messages(world: World):
    for body in ("one", "two"):
        found = world.arrive(mail("The charger", body, message_id="<m@x>"))
        assert world.run_jobs(STAGE, replace(world.job(STAGE, found), crashes=2)).unsaved == {}
    assert world.value("SELECT count(*) FROM messages") == 2


class Ticking(SystemClock):
    """A clock that only goes on when it is told to."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


class Slow:
    """A parser that takes twenty seconds for whatever it reads apart, and notes the order."""

    def __init__(self, clock: Ticking) -> None:
        self.clock, self.read = clock, list[str]()

    def parse(self, raw: bytes, *, isolated: bool = False, patience: timedelta | None = None) -> mime.Parsed:
        parsed = mime.parse(raw)
        self.clock.at += 20 * isolated
        self.read.append(parsed.subject)
        return parsed

    def close(self) -> None:
        """Nothing was started."""


@pytest.mark.fault("F-32")
def test_ordinary_mail_of_a_batch_does_not_wait_for_what_is_read_apart(world: World):
    clock = Ticking()
    slow = Slow(clock)
    world.ports = replace(world.ports, clock=clock, parser=slow)
    odd = [mail(f"odd {number}", "multipart/ " * 4_000) for number in range(3)]
    failed = world.arrive(mail("failed"))
    found = [world.arrive(raw) for raw in (*odd, mail("plain"))]
    jobs = [replace(world.job(STAGE, failed), failures=1), *(world.job(STAGE, one) for one in found)]
    ran = world.run_jobs(STAGE, *jobs)
    assert slow.read == ["plain", "failed"]
    assert set(ran.unsaved) == {str(one) for one in found[:3]}
    assert all(isinstance(outcome, Again) for outcome in ran.unsaved.values())
    for number in range(3):
        world.run(STAGE, *found)
        assert slow.read[-1] == f"odd {number}"
    assert world.value("SELECT count(*) FROM messages") == 5


def test_a_mail_whose_turn_does_not_come_waits_without_an_attempt(world: World, monkeypatch: pytest.MonkeyPatch):
    found = world.arrive(mail())
    job = replace(world.job(STAGE, found), failures=2)
    monkeypatch.setattr(world.parser, "parse", Mock(side_effect=ReaderBusy("others are read")))
    assert isinstance(world.run_jobs(STAGE, job).unsaved[str(found)], Again)
    assert world.value("SELECT count(*) FROM messages") == 0
