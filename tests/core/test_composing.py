"""Composing: whatever people type, a mail has the headers we meant, one line each, and the same bytes every time."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import mime
from pipeline.core.composing import (
    BODY_LENGTH,
    SUBJECT_LENGTH,
    Draft,
    Unwritable,
    address,
    compose,
    display_name,
    draft,
    reply_subject,
    usable_ids,
)

BOUNDED = settings(max_examples=300, deadline=None)
AT = datetime(2026, 3, 2, 12, 30, 15, 250_000, tzinfo=UTC)
#: What breaks headers, mixed with what does not.
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(
            ["\r\n", "\n", "\r", "\x00", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\ud800", "\u202e", "\t",
             "Bcc: eve@evil.example", "\r\n\r\n", "\r\n.\r\n", ":", "=?utf-8?q?=0d=0aBcc:_x@y.example?=", '"', "\\",
             "<eve@evil.example>", ",", ";", " ", "  ", "é", "漢字", "😀", "a" * 90, "Re: "]
        ),
        st.text(max_size=20),
    ),
    max_size=12,
).map("".join)  # fmt: skip
HEADERS = {"from", "to", "cc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
           "x-fieldpost-message", "auto-submitted", "content-type", "content-transfer-encoding",
           "mime-version"}  # fmt: skip


def written(**changes: Any) -> Draft:
    values: dict[str, Any] = {
        "message_id": "<01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11@acme.example>",
        "at": AT,
        "from_address": "support@acme.example",
        "from_name": "Acme Support",
        "to": ["ann@customer.example"],
        "subject": "Re: The charger is broken",
        "body": "We come tomorrow.",
        "proof": "01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11.abcdefghijklmnop",
    }
    return draft(**(values | changes))


@BOUNDED
@given(
    subject=HOSTILE,
    body=HOSTILE,
    name=HOSTILE,
    reference=HOSTILE,
    to=HOSTILE,
    cc=HOSTILE,
    value=HOSTILE,
    header=HOSTILE,
)
def test_nothing_that_is_typed_adds_or_ends_a_header(**typed: str) -> None:
    options: dict[str, Any] = {
        "subject": typed["subject"], "body": typed["body"], "from_name": typed["name"],
        "references": [typed["reference"], "<a@b.example>"], "in_reply_to": typed["reference"],
    }  # fmt: skip
    for extra in (
        {}, {"to": [typed["to"]]}, {"cc": [typed["cc"]]}, {"headers": [("Auto-Submitted", typed["value"])]},
        {"headers": [(typed["header"], "no")]}, {"proof": typed["value"]}, {"message_id": typed["value"]},
    ):  # fmt: skip
        try:
            mail = written(**(options | extra))
        except Unwritable:
            continue
        raw = compose(mail)
        head, _, body = raw.partition(b"\r\n\r\n")
        assert b"\x00" not in raw
        assert raw.isascii()
        assert b"\n" not in raw.replace(b"\r\n", b"")
        assert b"\r" not in raw.replace(b"\r\n", b"")
        assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
        lines = head.replace(b"\r\n ", b" ").split(b"\r\n")
        names = [line.split(b":", 1)[0].lower().decode() for line in lines]
        allowed = HEADERS | {name.lower() for name, _ in mail.headers}
        assert len(names) == len(set(names))
        assert set(names) <= allowed
        assert "bcc" not in names
        assert body


@BOUNDED
@given(subject=HOSTILE, body=HOSTILE, name=HOSTILE)
def test_a_reader_reads_what_was_meant_and_the_same_draft_has_the_same_bytes(
    subject: str, body: str, name: str
) -> None:
    try:
        mail = written(subject=subject, body=body, from_name=name)
    except Unwritable:
        return
    raw = compose(mail)
    assert raw == compose(mail)
    read = mime.parse(raw)
    assert read.subject == mail.subject
    assert read.text.rstrip("\n") == mail.body
    assert [person.address for person in read.from_] == ["support@acme.example"]
    assert read.from_[0].name == mail.from_name
    assert read.message_id == mail.message_id
    assert read.date == AT.replace(microsecond=0)
    # What is stored of a draft gives the same draft: its bytes are composed from the rows.
    assert written(subject=mail.subject, body=mail.body, from_name=mail.from_name) == mail


def test_a_mail_as_other_programs_read_it() -> None:
    raw = compose(
        written(
            from_name="Jörg Müller",
            to=["ann@customer.example", "Bob@Customer.example"],
            cc=["ann@customer.example", "chef@customer.example"],
            reply_to="support+tkt-abcdefghijklmnop.abcdefghijklmnop@acme.example",
            subject="Re: Die Säule lädt nicht",
            body="Grüße,\r\nJörg\r\n.\r\nFrom here on",
            in_reply_to="<q@customer.example>",
            references=["<p@customer.example>", "<q@customer.example>"],
            headers=[("Auto-Submitted", "auto-replied")],
        )
    )
    said = message_from_bytes(raw, policy=policy.default)
    assert str(said["From"]) == "Jörg Müller <support@acme.example>"
    assert [one.addr_spec for one in said["To"].addresses] == ["ann@customer.example", "bob@customer.example"]
    assert [one.addr_spec for one in said["Cc"].addresses] == ["chef@customer.example"]
    assert str(said["Subject"]) == "Re: Die Säule lädt nicht"
    assert str(said["References"]).split() == ["<p@customer.example>", "<q@customer.example>"]
    assert str(said["Auto-Submitted"]) == "auto-replied"
    assert said["Date"].datetime == AT.replace(microsecond=0)
    assert said.get_content().replace("\r\n", "\n") == "Grüße,\nJörg\n.\nFrom here on\n"
    assert said.get_content_type() == "text/plain"


def test_long_values_are_whole_and_in_lines_that_fit() -> None:
    subject, name = "ä" * SUBJECT_LENGTH, "Jörg " * 39
    long_id = f"<{'x' * 230}@customer.example>"
    people = [f"{'a' * 60}{number}@{'b' * 60}.{'c' * 60}.example" for number in range(50)]
    raw = compose(
        written(
            subject=subject, from_name=name, to=people, references=[long_id] * 3, in_reply_to=long_id,
            body="word " * (BODY_LENGTH // 5 - 1),
        )
    )  # fmt: skip
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    read = mime.parse(raw)
    assert read.subject == subject
    assert read.references == read.in_reply_to == (long_id,)
    assert [one.address for one in read.to] == people
    assert read.from_[0].name == name.strip()
    assert b"=?" not in raw.partition(b"References:")[2].partition(b"\r\nX-")[0]


@pytest.mark.parametrize(
    "value",
    [
        "", "ann", "ann@", "@customer.example", "ann@customer", "a@b@customer.example", "ann @customer.example",
        "ann@customer..example", "ann@-customer.example", ".ann@customer.example", "ann.@customer.example",
        "a..b@customer.example", '"ann"@customer.example', "ann@customer.example\r\nBcc: x@y.example",
        "ann@customer.example,bob@customer.example", "Ann <ann@customer.example>", f"{'a' * 65}@customer.example",
        f"a@{'b.' * 130}example", "änn@customer.example", "ann@[127.0.0.1]", "ann@customer.example\x00",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(Unwritable, match="mail address"):
        address(value)


def test_an_address_is_lower_case_and_its_domain_ascii() -> None:
    assert address(" Ann.B+x@MÜNCHEN.example ") == "ann.b+x@xn--mnchen-3ya.example"


def test_a_name_cannot_pose_as_an_address() -> None:
    assert display_name('Ann" <eve@evil.example>, "') == "Ann eve evil.example"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("It is broken", "Re: It is broken"),
        ("Re: It is broken", "Re: It is broken"),
        ("RE : It", "RE : It"),
        ("AW: Kaputt", "AW: Kaputt"),
        ("Re[2]: It", "Re[2]: It"),
        ("Recycling", "Re: Recycling"),
        ("", "Re: your message"),
        ("x" * 998, f"Re: {'x' * 994}"),
    ],
)
def test_an_answer_says_so_once(subject: str, expected: str) -> None:
    assert reply_subject(subject) == expected


def test_ids_that_no_header_can_hold_are_left_out() -> None:
    kept = "<a=1+b.c@d.example>"
    hostile = ["<a@b>\r\nBcc: x", "a@b", "<a b@c>", "<ä@b>", f"<{'x' * 300}@b>", "<>", "<a<b>@c>", "<a>b@c>"]
    assert usable_ids([kept, *hostile, kept]) == (kept,)


@pytest.mark.parametrize(
    "changes",
    [
        {"headers": [("Bcc", "x@y.example")]},
        {"headers": [("X-Fieldpost-Message", "x")]},
        {"headers": [("Content-Type", "text/html")]},
        {"headers": [("X-A", "ä")]},
        {"headers": [("X-A", "")]},
        {"headers": [("X-A:", "a")]},
        {"message_id": "<no-at-sign>"},
        {"proof": "a\r\nb"},
        {"reply_to": "nobody"},
    ],
)
def test_headers_that_are_not_ours_to_set_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unwritable):
        written(**changes)
