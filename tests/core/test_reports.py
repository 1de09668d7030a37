"""Delivery reports of every kind, and mail that only looks like one."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.mime import Parsed, parse
from pipeline.core.reports import DELIVERY_LIMIT, DIAGNOSTIC_LENGTH, REPORTED_LIMIT, Delivery

STATUS = """\
Reporting-MTA: dns; mx.example.net
Arrival-Date: Wed, 4 Mar 2026 05:06:07 +0100

Original-Recipient: rfc822;Ann@Customer.example
Final-Recipient: rfc822;ann.miller@backend.customer.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <ann.miller@backend.customer.example>: no such user

Final-Recipient: rfc822; bob@customer.example
Action: Delayed (still trying)
Status: 4.4.7 (delivery time expired)
"""
ORIGINAL = "Received: from a by b\nMessage-ID:\n <sent-1@acme.example>\nReferences: <old@x>\nSubject: Hi\n\nOur mail.\n"


def report(status: str = STATUS, original: str = ORIGINAL, original_type: str = "message/rfc822") -> bytes:
    return (
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\nTo: support@acme.example\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nYour message could not be delivered.\n"
        f"--b\nContent-Type: message/delivery-status\n\n{status}\n"
        f"--b\nContent-Type: {original_type}\n\n{original}\n--b--\n"
    ).encode()


def letter(sender: str, text: str, **headers: str) -> Parsed:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return parse(mail.as_bytes())


@pytest.mark.parametrize("original_type", ["message/rfc822", "text/rfc822-headers", "message/global"])
def test_a_standard_report_names_the_mail_and_what_became_of_it(original_type: str):
    parsed = parse(report(original_type=original_type))
    assert parsed.reported == ("<sent-1@acme.example>",)
    assert parsed.delivery == (
        Delivery(
            "ann@customer.example", "failed", "5.1.1", "550 5.1.1 <ann.miller@backend.customer.example>: no such user"
        ),
        Delivery("bob@customer.example", "delayed", "4.4.7", ""),
    )


def test_the_ids_inside_a_report_are_no_references_of_the_report():
    parsed = parse(report())
    assert (parsed.in_reply_to, parsed.references) == ((), ())


def test_carriage_returns_and_a_base64_status_change_nothing():
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "postmaster@mx.example.net"
    mail.set_content("Failed.")
    mail.add_attachment(STATUS.encode(), maintype="application", subtype="x")
    raw = mail.as_bytes().replace(b"application/x", b"message/delivery-status")
    assert b"base64" in raw
    assert parse(raw).delivery == parse(report().replace(b"\n", b"\r\n")).delivery


def test_a_read_receipt_speaks_of_the_mail_that_was_read():
    raw = (
        b"From: ann@customer.example\nContent-Type: multipart/report; report-type=disposition-notification; "
        b"boundary=b\n\n--b\n\nRead.\n--b\nContent-Type: message/disposition-notification\n\n"
        b"Final-Recipient: rfc822;ann@customer.example\nOriginal-Message-ID: <sent-1@acme.example>\n"
        b"Disposition: manual-action/MDN-sent-manually; displayed\n--b--\n"
    )
    assert (parse(raw).reported, parse(raw).delivery) == (("<sent-1@acme.example>",), ())


def test_exim_reports_in_plain_text_are_understood():
    parsed = letter(
        "Mail Delivery System <Mailer-Daemon@mx.example.net>",
        "This message was created automatically by mail delivery software.\n\n"
        "A message that you sent could not be delivered.\n\n  Ann@customer.example\n"
        "    SMTP error from remote mail server after RCPT TO:\n    550 5.1.1 unknown user\n\n"
        "------ This is a copy of the message, including all the headers. ------\n\n"
        "Return-path: <support@acme.example>\nMessage-ID: <sent-2@acme.example>\nIn-Reply-To: <other@x>\n"
        "Subject: Hi\n\nOur mail.\n",
        X_Failed_Recipients="ann@customer.example",
    )
    assert parsed.reported == ("<sent-2@acme.example>",)
    [failed] = parsed.delivery
    assert (failed.recipient, failed.action, failed.status) == ("ann@customer.example", "failed", "5.1.1")
    assert failed.diagnostic == "SMTP error from remote mail server after RCPT TO: 550 5.1.1 unknown user"


def test_qmail_reports_are_understood():
    parsed = letter(
        "MAILER-DAEMON@mx.example.net",
        "Hi. This is the qmail-send program at mx.example.net.\nI'm afraid I wasn't able to deliver your message.\n\n"
        "<ann@customer.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.7.1 refused\n"
        "Giving up on 192.0.2.1.\n\n<bob@customer.example>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
        "--- Below this line is a copy of the message.\n\nReturn-Path: <support@acme.example>\n"
        "Message-ID: <sent-3@acme.example>\n\nOur mail.\n",
    )
    assert parsed.reported == ("<sent-3@acme.example>",)
    assert [(one.recipient, one.action, one.status) for one in parsed.delivery] == [
        ("ann@customer.example", "failed", "5.7.1"),
        ("bob@customer.example", "failed", "5.1.1"),
    ]


def test_exchange_reports_with_the_headers_in_their_text_are_understood():
    parsed = letter(
        "Microsoft Outlook <postmaster@customer.example>",
        "Delivery has failed to these recipients.\n\nOriginal message headers:\n\nReceived: from x by y\n"
        "From: Support <support@acme.example>\nMessage-ID: <sent-4@acme.example>\n",
    )
    assert parsed.reported == ("<sent-4@acme.example>",)


def test_a_mail_with_an_empty_return_path_and_the_original_attached_is_a_report():
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["Return-Path"] = "gateway@mx.example.net", "<>"
    mail.set_content("Blocked.")
    inner = EmailMessage()
    inner["Message-ID"] = "<sent-5@acme.example>"
    mail.add_attachment(inner)
    assert parse(mail.as_bytes()).reported == ("<sent-5@acme.example>",)


def test_a_persons_forward_as_attachment_reports_nothing():
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "ann@customer.example"
    mail.set_content("See the attached.\n\nMessage-ID: <quoted@x>\n")
    inner = EmailMessage()
    inner["Message-ID"] = "<inner@x>"
    mail.add_attachment(inner)
    assert (parse(mail.as_bytes()).reported, parse(mail.as_bytes()).delivery) == ((), ())


def test_a_report_is_bounded():
    groups = "".join(
        f"\nFinal-Recipient: rfc822; a{n}@x.example\nAction: failed\nStatus: 5.0.0\n"
        f"Diagnostic-Code: smtp; {'e' * 5000}\n"
        for n in range(500)
    )
    raw = report("Reporting-MTA: dns; x\n" + groups).removesuffix(b"--b--\n")
    raw += b"".join(b"--b\nContent-Type: message/rfc822\n\nMessage-ID: <%d@x>\n\n" % n for n in range(50)) + b"--b--\n"
    parsed = parse(raw)
    assert (len(parsed.reported), len(parsed.delivery)) == (REPORTED_LIMIT, DELIVERY_LIMIT)
    assert all(len(one.diagnostic) <= DIAGNOSTIC_LENGTH for one in parsed.delivery)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("Final-Recipient: rfc822;\nAction: failed\nStatus: 5.0.0", Delivery(None, "failed", "5.0.0", "")),
        ("Final-Recipient: a@x.example\nAction: exploded", Delivery("a@x.example", "", "", "")),
        ("Final-Recipient: rfc822;<a@x.example>\nStatus: 9.9.9", Delivery("a@x.example", "", "", "")),
        ("Original-Recipient: unknown\nFinal-Recipient: x400; /c=de\nAction: failed", Delivery(None, "failed", "", "")),
    ],
)
def test_a_damaged_status_is_read_as_far_as_it_goes(group: str, expected: Delivery):
    assert parse(report(f"Reporting-MTA: dns; x\n\n{group}\n")).delivery == (expected,)


@given(st.text(max_size=300), st.binary(max_size=300), st.text(alphabet="<>@:;.\n aM-", max_size=200))
def test_no_report_fails_and_every_word_of_it_can_be_stored(status: str, original: bytes, text: str):
    raw = report(status, "", "message/rfc822").replace(b"\n\n\n--b--", b"\n\n" + original + b"\n--b--")
    parsed = parse(raw.replace(b"Your message", text.encode()))
    words = [*parsed.reported, *(word or "" for one in parsed.delivery for word in (one.recipient, one.diagnostic))]
    assert all("\0" not in word and word.encode() is not None for word in words)
