"""Who wrote what a mail forwards, and that its header never stitches the mail around it."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.mime import Parsed, parse


def letter(text: str, subject: str = "Fwd: Pump", **headers: str) -> Parsed:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = "Boss <boss@customer.example>", "support@acme.example", subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return parse(mail.as_bytes())


BLOCK = "From: Ann Miller <Ann@Customer.example>\nDate: Wed, 4 Mar 2026\nSubject: Pump\nTo: <boss@customer.example>\n"


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (f"fyi\n\n---------- Forwarded message ---------\n{BLOCK}\nIt stands.", "Fwd: Pump"),
        (f"---------- Forwarded message ---------\n{BLOCK}\nIt stands.", "no prefix"),
        (f"Begin forwarded message:\n\n{BLOCK}\nIt stands.", "Fwd: Pump"),
        (
            (
                "-------- Weitergeleitete Nachricht --------\nBetreff: \tPumpe\nDatum: \tMi, 4 Mär 2026\n"
                "Von: \tAnn Müller <ann@customer.example>\nAn: \tboss@customer.example\n\nSie steht."
            ),
            "WG: Pumpe",
        ),
        ("fyi\n\nVon: Ann <ann@customer.example>\nGesendet: Mo\nAn: Boss\nBetreff: Pumpe\n\nSie steht.", "WG: Pumpe"),
        ("De : Ann <ann@customer.example>\nEnvoyé : lundi\nÀ : Boss\nObjet : Pompe\n\nPanne.", "TR: Pompe"),
        (
            "-----Original Message-----\nFrom: Ann [mailto:ann@customer.example]\nSent: Mo\nTo: Boss\nSubject: x\n\nHi",
            "FW: x",
        ),
        (
            (
                "fyi\n\n---------- Forwarded message ---------\nDe: Ann García <ann@customer.example>\n"
                "Date: mié, 4 mar 2026\nSubject: Bomba\nTo: Boss\n\nNo funciona."
            ),
            "RV: Bomba",
        ),
    ],
)
def test_the_original_sender_stands_in_the_block_above_the_forwarded_text(text: str, subject: str):
    parsed = letter(text, subject)
    assert parsed.forwarded_from == "ann@customer.example"
    assert parsed.fresh == parsed.text  # what is forwarded is what the sender wanted to show


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("Hello", "Fwd: Pump"),
        (f"Done.\n\n-----Original Message-----\n{BLOCK}\nIt stands.", "Re: Pump"),
        (f"Done.\n\n{BLOCK}\nIt stands.", "Re: Fwd: Pump"),
        (
            "Done.\n\n> ---------- Forwarded message ---------\n> From: Ann <ann@customer.example>\n> Date: x",
            "Re: Pump",
        ),
        (
            "---------- Forwarded message ---------\nFrom: a name without an address\nDate: x\nSubject: y\n\nHi",
            "Fwd: y",
        ),
    ],
)
def test_an_answer_or_a_nameless_block_forwards_nobody(text: str, subject: str):
    assert letter(text, subject).forwarded_from is None


def _attached(**headers: str) -> Parsed:
    inner = EmailMessage()
    inner["From"], inner["Message-ID"] = "Ann <Ann@Customer.example>", "<inner@x>"
    inner["References"], inner["In-Reply-To"] = "<r@x>", "<r@x>"
    inner.set_content("It stands.")
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "boss@customer.example", "Pump"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("see attached")
    mail.add_attachment(inner)
    return parse(mail.as_bytes())


def test_an_attached_mail_names_its_sender_and_lends_no_reference():
    parsed = _attached()
    assert parsed.forwarded_from == "ann@customer.example"
    assert (parsed.in_reply_to, parsed.references, parsed.reported) == ((), (), ())


def test_the_mail_inside_a_bounce_is_returned_and_not_forwarded():
    parsed = _attached(Return_Path="<>")
    assert (parsed.forwarded_from, parsed.reported) == (None, ("<inner@x>",))


def test_who_wrote_a_resent_mail_is_its_from():
    assert letter("Hi", "Pump", Resent_From="ann@other.example").forwarded_from == "boss@customer.example"
    assert letter("Hi", "Pump", Resent_From="boss@customer.example").forwarded_from is None
    assert letter("Hi", "Pump", Resent_From="l@x.example", List_Id="<l.x.example>").forwarded_from is None


@given(st.text(max_size=200))
def test_a_forwarded_sender_is_an_address_or_nobody(words: str):
    found = letter(f"---------- Forwarded message ---------\nFrom: {words}\nDate: x\nSubject: y\n\nHi").forwarded_from
    assert found is None or ("@" in found and found == found.lower() and "\0" not in found)
