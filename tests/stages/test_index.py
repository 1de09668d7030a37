"""The index stage: what becomes findable, and at what price."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from itertools import islice, product
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from models.enums import ExtractionState, Lane
from pipeline.core.extraction import Extracted
from pipeline.runtime import indexing
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Transient
from pipeline.runtime.searching import search
from pipeline.stage import Again
from pipeline.stages import index, parse
from tests.adapters.pdfs import pdf
from tests.factories import NOON, mail
from tests.stages.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def with_file(content: bytes, kind: str = "application/pdf", name: str = "plan.pdf", **options: Any) -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "ann@customer.example", "help@acme.example", "A file"
    made["Message-ID"] = f"<{hashlib.sha256(content + name.encode()).hexdigest()[:12]}@x>"
    made.set_content("See the file.")
    main, sub = kind.split("/")
    made.add_attachment(content, maintype=main, subtype=sub, filename=name, **options)
    return made.as_bytes()


def indexed(world: World, *raws: bytes) -> list[int]:
    """Let mails be parsed and indexed; return the messages."""
    steps = world.run(parse.STAGE, *(world.arrive(raw) for raw in raws))
    ids = [int(key) for stage, key in steps.next if stage == "index"]
    assert world.run(index.STAGE, *ids).unsaved == {}
    return ids


def found(world: World, question: str) -> list[int]:
    with world.db.begin() as connection:
        return [hit.message_id for hit in search(connection, world.org_id, question, limit=50).hits]


def test_a_new_message_is_indexed_once_and_a_copy_not_again(world: World) -> None:
    raw = mail()
    first = world.run(parse.STAGE, world.arrive(raw), world.arrive(raw))
    assert [stage for stage, _ in first.next].count("index") == 1
    assert [stage for stage, _ in world.run(parse.STAGE, world.arrive(raw)).next] == ["stitch"]


def test_live_mail_is_indexed_behind_its_own_chain(world: World) -> None:
    job = world.job(parse.STAGE, 1)
    assert indexing.step(job, 7).lane is Lane.REPAIR
    assert indexing.step(replace(job, lane=Lane.BACKFILL), 7).lane is Lane.BACKFILL


def test_subject_people_body_and_names_of_files_are_found_in_any_form(world: World) -> None:
    one = mail(
        "Ladesäule AUS_0123", "Der Stecker klemmt.", sender="Jörg Groß <joerg@kunde.example>", attachment=b"%PDF-x"
    )
    (message_id,) = indexed(world, one)
    for question in ("ladesaule", "AUS-0123", "gross", "joerg@kunde.example", "from:kunde.example", "plan", "klemmt"):
        assert found(world, question) == [message_id], question
    assert found(world, "to:joerg") == []


def test_the_text_of_pdf_html_and_plain_attachments_is_found(world: World) -> None:
    files = [
        with_file(pdf("Invoice for zebras")),
        with_file(b"<p>about giraffes</p><script>lions()</script>", "text/html", "a.html"),
        with_file("über Löwen".encode(), "text/plain", "a.txt"),
    ]
    zebra, giraffe, lion = indexed(world, *files)
    assert found(world, "zebras") == [zebra]
    assert found(world, "giraffes") == [giraffe]
    assert found(world, "lowen") == [lion]
    assert found(world, "lions") == []
    assert set(found(world, "has:attachment")) == {zebra, giraffe, lion}


def test_only_what_a_reader_sees_of_the_mail_is_found(world: World) -> None:
    made = EmailMessage()
    made["From"], made["Subject"] = "ann@customer.example", "Hello"
    made.set_content("<p>seen</p><style>hidden {}</style><script>secret()</script>", subtype="html")
    (message_id,) = indexed(world, made.as_bytes())
    assert found(world, "seen") == [message_id]
    assert found(world, "hidden or secret") == []


def test_an_attachment_is_read_once_for_all_its_messages(world: World) -> None:
    reads: list[str] = []

    class Counting:
        def extract(self, content_type: str, content: bytes) -> Extracted:
            reads.append(content_type)
            return Extracted(ExtractionState.DONE, "counted words")

    world.ports = replace(world.ports, texts=Counting())
    same = pdf("the same")
    messages = indexed(world, with_file(same, name="a.pdf"), with_file(same, name="b.pdf"))
    messages += indexed(world, with_file(same, name="c.pdf"))
    assert reads == ["application/pdf"]
    assert sorted(found(world, "counted")) == sorted(messages)


def test_a_quarantined_attachment_is_not_read_but_found_by_its_name(world: World) -> None:
    (message_id,) = indexed(world, with_file(pdf("poison"), name="danger.pdf"))
    world.rows("UPDATE attachments SET is_quarantined = true")
    world.rows("DELETE FROM attachment_texts")
    world.run(index.STAGE, message_id)
    assert found(world, "poison") == []
    assert found(world, "danger") == [message_id]
    assert world.value("SELECT count(*) FROM attachment_texts") == 0


def test_a_hostile_document_is_remembered_as_failed(world: World) -> None:
    (message_id,) = indexed(world, with_file(b"%PDF-1.4 nothing more"))
    assert world.value("SELECT state FROM attachment_texts") == "failed"
    assert found(world, "file") == [message_id]


def test_an_attachment_that_is_not_there_yet_is_tried_again(world: World) -> None:
    steps = world.run(parse.STAGE, world.arrive(with_file(pdf("later"))))
    key = next(key for stage, key in steps.next if stage == "index")
    world.blobs.contents.clear()
    assert isinstance(world.run(index.STAGE, key).unsaved[key], Transient)


def test_messages_without_files_do_not_wait_for_slow_ones(world: World) -> None:
    class Slow:
        def extract(self, content_type: str, content: bytes) -> Extracted:
            clock.at += 100
            return Extracted(ExtractionState.DONE, "slow")

    class Counted:
        at = 0.0

        def monotonic(self) -> float:
            return self.at

        def wait(self, duration: timedelta) -> None: ...

        def now(self) -> Any:
            return NOON

    clock = Counted()
    world.ports = replace(world.ports, texts=Slow(), clock=clock)
    raws = [with_file(pdf("1"), name="1.pdf"), with_file(pdf("2"), name="2.pdf"), mail()]
    steps = world.run(parse.STAGE, *(world.arrive(raw) for raw in raws))
    keys = [key for stage, key in steps.next if stage == "index"]
    ran = world.run(index.STAGE, *keys)
    assert [key for key, outcome in ran.unsaved.items() if isinstance(outcome, Again)] == [keys[1]]
    assert world.run(index.STAGE, keys[1]).unsaved == {}


@pytest.mark.parametrize(
    "body",
    [
        " ".join(f"{number:x}" for number in range(150_000)),
        " ".join(map(chr, range(0x4E00, 0x9FFF))) * 20,
        "-".join(f"a{number}.b/c" for number in range(60_000)),
        "x" * 1_000_000,
        "a " * 500_000,
    ],
    ids=["words", "characters", "compounds", "one word", "one letter"],
)
def test_no_text_is_too_large_for_the_database(world: World, body: str) -> None:
    (message_id,) = indexed(world, mail("Large", body))
    assert found(world, "large") == [message_id]


def test_a_later_version_asks_for_what_an_older_one_indexed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = indexed(world, mail("one"))
    world.run(parse.STAGE, world.arrive(mail("two")))
    world.rows("DELETE FROM jobs")
    with world.db.begin() as connection:
        assert indexing.ask_again(connection, world.org_id) == (1, None)
    monkeypatch.setattr(indexing, "INDEX_VERSION", indexing.INDEX_VERSION + 1)
    world.rows("DELETE FROM jobs")
    with world.db.begin() as connection:
        assert indexing.ask_again(connection, None) == (2, None)
        assert indexing.ask_again(connection, None) == (2, None)
    assert world.value("SELECT count(*) FROM jobs WHERE stage = 'index' AND lane = 'backfill'") == 2
    world.run(index.STAGE, one)
    assert world.value("SELECT version FROM message_search") == indexing.INDEX_VERSION


def distinct(count: int, length: int) -> str:
    """Return words that all differ, the most that a text of their size can have."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return " ".join("".join(word) for word in islice(product(letters, repeat=length), count))


def test_many_recipients_with_long_names_fit_and_the_sender_is_found(world: World) -> None:
    (message_id,) = indexed(world, mail())
    names = (" ".join(f"n{number}x{word}" for word in range(100)) for number in range(500))
    people = [("from", "zoe@writer.example", "Zoe Writer")]
    people += [("to", f"{'a' * 60}@{'d' * 60}.{'e' * 60}.x{number}.example", name) for number, name in enumerate(names)]
    files = [indexing.Attached(b"1" * 32, "f.txt", "text/plain", 9, None, True)]
    text = f"{distinct(46_000, 3)} {distinct(60_000, 4)}"
    large = indexing.Mail(message_id, world.org_id, NOON, "Large", text, people, files)
    read = {b"1" * 32: Extracted(ExtractionState.DONE, distinct(200_000, 4)[-200_000:])}
    with world.db.begin() as connection:
        indexing.save(connection, [(large, indexing.compose(large, read))])
    for question in ("from:zoe@writer.example", "from:writer", "has:attachment", "to:n0x1", "subject:large"):
        assert found(world, question) == [message_id], question


def test_a_text_that_many_messages_share_is_held_once(world: World) -> None:
    same = pdf("the same")
    messages = indexed(world, *(with_file(same, name=f"{number}.pdf") for number in range(5)))
    with world.db.begin() as connection:
        mails, later = indexing.load(connection, messages)
    known = [one.known for mail in mails.values() for one in mail.attached]
    assert later == set()
    assert len(known) == 5
    assert len({id(one) for one in known}) == 1


def test_a_portion_is_bounded_by_bytes_and_never_empty() -> None:
    org = uuid4()
    text = SimpleNamespace(sha256=b"1", length=600)
    rows = [SimpleNamespace(id=number, org_id=org, body=100, people=0) for number in range(5)]
    attached = {row.id: [text] for row in rows}
    # The text once, and for each message its body and its document of 700.
    assert indexing.portion(rows, attached, 600 + 3 * 800) == [0, 1, 2]
    assert indexing.portion(rows, {}, 5 * 200) == [0, 1, 2, 3, 4]
    assert indexing.portion(rows, attached, 1) == [0]
    assert indexing.portion([], {}, 1) == []


def test_what_does_not_fit_into_a_batch_comes_with_the_next(world: World) -> None:
    steps = world.run(
        parse.STAGE, *(world.arrive(mail(f"number {number}", f"{number} " + "word " * 140_000)) for number in range(20))
    )
    waiting = [key for stage, key in steps.next if stage == "index"]
    batches = 0
    while waiting:
        ran = world.run(index.STAGE, *waiting)
        assert all(isinstance(outcome, Again) for outcome in ran.unsaved.values())
        assert len(ran.unsaved) < len(waiting)
        waiting, batches = list(ran.unsaved), batches + 1
    assert batches == 2
    assert world.value("SELECT count(*) FROM message_search") == 20


def test_texts_that_are_read_for_the_first_time_are_bounded_too(world: World) -> None:
    class Long:
        def extract(self, content_type: str, content: bytes) -> Extracted:
            return Extracted(ExtractionState.DONE, "word " * 40_000)

    world.ports = replace(world.ports, texts=Long())
    raws = [with_file(pdf(f"{number}"), name=f"{number}.pdf") for number in range(20)]
    steps = world.run(parse.STAGE, *(world.arrive(raw) for raw in raws), world.arrive(mail()))
    keys = [key for stage, key in steps.next if stage == "index"]
    ran = world.run(index.STAGE, *keys)
    assert 0 < len(ran.unsaved) < 20
    plain = world.value("SELECT id FROM messages m WHERE NOT EXISTS (SELECT FROM attachments WHERE message_id = m.id)")
    assert str(plain) not in ran.unsaved
    assert world.run(index.STAGE, *ran.unsaved).unsaved == {}


def test_a_document_with_marks_without_end_is_indexed_like_any_other(world: World) -> None:
    marks = "zebra" + "\u0316\u0301" * 90_000
    raws = [mail("One", marks), with_file(marks.encode(), "text/plain", "a.txt")]
    messages = indexed(world, *raws)
    assert sorted(found(world, "zebra")) == sorted(messages)
