"""Parse: what the mail tells beside its words is stored: quotes, forwards, lists, reports, recipients, files."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import pytest

from pipeline.stages import parse
from tests.stages.world import World

STAGE = parse.STAGE
EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff" + b"\0" * 46 + b"\x40\0\0\0PE\0\0"


def letter(text: str = "It burns.", **headers: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = "ann@customer.example", "help@acme.example", "The charger"
    mail["Message-ID"] = "<m@x>"
    for name, value in headers.items():
        key = name.replace("_", "-")
        del mail[key]
        mail[key] = value
    mail.set_content(text)
    return mail


def test_the_senders_own_words_are_stored_beside_the_whole_text(world: World):
    world.parsed(letter("Yes.\n\nOn 4 Mar 2026 at 05:06, Help <help@acme.example> wrote:\n> Does it?\n").as_bytes())
    (row,) = world.rows("SELECT body_text, fresh_text FROM message_contents")
    assert row.fresh_text == "Yes."
    assert "> Does it?" in row.body_text


def test_a_text_that_is_all_the_senders_own_is_stored_once(world: World):
    world.parsed(letter().as_bytes())
    assert world.value("SELECT fresh_text FROM message_contents") is None


def test_a_forward_a_list_and_their_absence_are_stored(world: World):
    text = "---------- Forwarded message ---------\nFrom: Bob <bob@other.example>\nDate: x\nSubject: y\n\nHi"
    world.parsed(letter(text, Message_ID="<1@x>", List_Id="Users <Users.Lists.example>").as_bytes())
    world.parsed(letter(Message_ID="<2@x>").as_bytes())
    rows = world.rows("SELECT forwarded_from, list_id FROM messages ORDER BY rfc_message_id")
    assert [tuple(row) for row in rows] == [("bob@other.example", "users.lists.example"), (None, None)]


def test_what_a_report_speaks_of_is_a_reference_of_its_own_kind(world: World):
    inner = letter(Message_ID="<sent@acme.example>", References="<r@x>")
    bounce = letter(From="mailer-daemon@mx.example", Return_Path="<>")
    bounce.add_attachment(inner)
    world.parsed(bounce.as_bytes())
    rows = world.rows("SELECT kind, position, reference FROM message_references")
    assert [tuple(row) for row in rows] == [("reported", 0, "<sent@acme.example>")]


@pytest.mark.parametrize(
    ("to", "evidence"),
    [
        ("help@acme.example", (None, None, False)),
        ("help+berlin@acme.example", ("help@acme.example", "berlin", False)),
        ("service@acme.example", (None, None, True)),
    ],
)
def test_a_plus_address_and_an_alias_are_told(world: World, to: str, evidence: tuple[str | None, str | None, bool]):
    world.parsed(letter(Delivered_To=to).as_bytes())
    (row,) = world.rows("SELECT address, evidence FROM occurrence_recipients")
    assert row.address == to
    assert (row.evidence.get("base_address"), row.evidence.get("tag"), row.evidence["is_alias"]) == evidence


def test_one_message_is_an_alias_in_one_mailbox_and_not_in_the_other(world: World):
    raw = letter(Delivered_To="help@acme.example").as_bytes()
    world.parsed(raw)
    world.parsed(raw, mailbox_id=world.mailbox("sales@acme.example"))
    rows = world.rows("SELECT evidence FROM occurrence_recipients ORDER BY occurrence_id")
    assert [row.evidence["is_alias"] for row in rows] == [False, True]


def test_a_program_is_quarantined_under_its_true_type(world: World):
    mail = letter()
    mail.add_attachment(EXE, maintype="application", subtype="pdf", filename="invoice.pdf")
    mail.add_attachment(b"%PDF-1.4 plan", maintype="application", subtype="octet-stream", filename="plan.pdf")
    world.parsed(mail.as_bytes())
    rows = world.rows("SELECT filename, content_type, is_quarantined FROM attachments ORDER BY position")
    assert [tuple(row) for row in rows] == [
        ("invoice.pdf", "application/vnd.microsoft.portable-executable", True),
        ("plan.pdf", "application/pdf", False),
    ]
    assert world.value("SELECT flags FROM messages") == ["dangerous_attachment", "type_mismatch"]
