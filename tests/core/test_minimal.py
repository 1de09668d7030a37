"""What is understood of a mail that nobody could read."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import addresses, minimal
from pipeline.core.flags import Flag
from tests.factories import mail


def test_the_header_is_understood_and_the_body_is_a_fixed_text():
    raw = mail(
        "Re: The charger", "It burns.\n", message_id="<m@x>", in_reply_to="<p@x>", references="<r@x> <p@x>",
        Cc="bob@x.example", X_Other="ignored", attachment=b"plan",
    )  # fmt: skip
    parsed = minimal.understand(raw)
    assert (parsed.subject, parsed.message_id, parsed.text) == ("Re: The charger", "<m@x>", minimal.BODY)
    assert (parsed.from_[0].address, parsed.cc[0].address) == ("ann@customer.example", "bob@x.example")
    assert (parsed.in_reply_to, parsed.references) == (("<p@x>",), ("<r@x>", "<p@x>"))
    assert (parsed.attachments, parsed.html, "x-other" in parsed.headers) == ((), None, False)
    assert parsed.recipient.address == "help@acme.example"
    assert Flag.POISON_MAIL in parsed.flags


def test_folded_fields_are_joined_and_the_first_of_each_counts():
    raw = b"Subject: one\r\n two\r\n\tthree\r\nsubject: other\r\nFrom: a@x.example\r\n\r\nSubject: inside\r\n"
    parsed = minimal.understand(raw)
    assert (parsed.subject, parsed.from_[0].address) == ("one two three", "a@x.example")


def test_a_field_is_cut_before_it_is_decoded():
    words = b"\r\n ".join([b"=?utf-8?q?caf=C3=A9?="] * 50_000)
    parsed = minimal.understand(b"From: a@x.example\r\nSubject: " + words + b"\r\n\r\nbody")
    assert parsed.subject.startswith("caf\u00e9")
    assert len(parsed.subject) < 1_000


def test_two_mails_with_the_same_header_are_two():
    one, other = (minimal.understand(mail("A", body, message_id="<m@x>")) for body in ("one", "other"))
    assert one.fingerprint == other.fingerprint
    assert one.signature != other.signature


def test_a_header_that_is_deadly_itself_is_left_out(monkeypatch: pytest.MonkeyPatch):
    read = addresses.read
    monkeypatch.setattr(addresses, "read", Mock(side_effect=lambda values: read([]) if not values else 1 / 0))
    parsed = minimal.understand(mail("The charger"))
    assert (parsed.subject, parsed.from_, parsed.text) == (minimal.BODY, (), minimal.BODY)


@given(st.binary(max_size=500))
def test_nothing_makes_it_fail(raw: bytes):
    parsed = minimal.understand(raw)
    assert parsed.text == minimal.BODY
    assert Flag.POISON_MAIL in parsed.flags
