"""Ticket codes and signed reply addresses."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.ticket_codes import outbound_proof, read_outbound_proof, reply_address, ticket_code, verify

BOUNDED = settings(max_examples=50, deadline=None)
SECRET = b"a secret of the installation"
CODE = ticket_code(bytes(range(10)))
ADDRESS = reply_address(CODE, SECRET, "support@example.org") or ""
OUTBOUND = UUID("01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11")
PROOF = outbound_proof(OUTBOUND, SECRET)


def test_a_code_is_ten_bytes_in_lower_case_base32():
    assert ticket_code(b"\0" * 10) == "tkt-aaaaaaaaaaaaaaaa"
    assert ticket_code(b"\xff" * 10) == "tkt-7777777777777777"


@pytest.mark.parametrize("size", [0, 9, 11])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="10 random bytes"):
        ticket_code(b"x" * size)


@BOUNDED
@given(st.binary(min_size=10, max_size=10), st.binary(min_size=1, max_size=64))
def test_an_address_proves_its_ticket_and_fits_a_local_part(random_bytes, secret):
    code = ticket_code(random_bytes)
    address = reply_address(code, secret, "support@mail.example.org")
    assert address is not None
    assert re.fullmatch(r"support\+tkt-[a-z2-7]{16}\.[a-z2-7]{16}@mail\.example\.org", address)
    assert len(address.partition("@")[0]) <= 64
    assert verify(address, secret) == code


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(ADDRESS.upper(), id="upper case"),
        pytest.param(f" <{ADDRESS}> ", id="angle brackets"),
        pytest.param(ADDRESS.replace("example.org", "old.example.net"), id="an earlier domain"),
        pytest.param(ADDRESS.replace("support+", "ticket+"), id="the form of 0.1.0"),
        pytest.param(ADDRESS.replace("support+", "help+berlin+"), id="another mailbox, and a tag of its own"),
    ],
)
def test_what_relays_do_to_an_address_does_not_break_it(address):
    assert verify(address, SECRET) == CODE


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("", id="empty"),
        pytest.param("support@example.org", id="another address"),
        pytest.param(f"support+{CODE}@example.org", id="no token"),
        pytest.param(ADDRESS.replace("support+", ""), id="nothing before the code"),
        pytest.param(f"{ADDRESS}, {ADDRESS}", id="two addresses"),
        pytest.param(f"{ADDRESS}\n", id="line end is only space"),
        pytest.param(ADDRESS.replace("@", "@@"), id="two at signs"),
        pytest.param(ADDRESS.replace("support+", "support+\N{KELVIN SIGN}"), id="letters that fold to ascii"),
        pytest.param("x" * 100_000, id="endless"),
    ],
)
def test_other_addresses_prove_nothing(address):
    assert verify(address, SECRET) == (CODE if address.strip() == ADDRESS else None)


@BOUNDED
@given(st.integers(min_value=12, max_value=44), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_changed_letter_is_noticed(position, letter):
    if ADDRESS[position] in (letter, ".", "-"):
        return
    assert verify(ADDRESS[:position] + letter + ADDRESS[position + 1 :], SECRET) is None


def test_another_secret_proves_nothing():
    assert verify(ADDRESS, b"another secret") is None


@pytest.mark.parametrize(
    ("code", "secret", "mailbox"),
    [
        pytest.param("tkt-x", SECRET, "a@example.org", id="code"),
        pytest.param(CODE + "\n", SECRET, "a@example.org", id="code with a line end"),
        pytest.param(CODE, SECRET, "", id="address"),
        pytest.param(CODE, SECRET, "example.org", id="domain as address"),
        pytest.param(CODE, SECRET, "@example.org", id="no local part"),
        pytest.param(CODE, SECRET, "a@b@example.org", id="two at signs"),
        pytest.param(CODE, SECRET, "a@b\r\nBcc: b", id="header injection"),
        pytest.param(CODE, b"", "a@example.org", id="secret"),
    ],
)
def test_a_malformed_part_is_refused(code, secret, mailbox):
    with pytest.raises(ValueError, match=r"not a|empty"):
        reply_address(code, secret, mailbox)


@pytest.mark.parametrize(("length", "fits"), [(26, True), (27, False)])
def test_a_mailbox_whose_name_leaves_no_room_gets_no_token(length, fits):
    address = reply_address(CODE, SECRET, f"{'a' * length}@example.org")
    assert (address is not None) == fits
    if address is not None:
        assert len(address.partition("@")[0]) == 64


def test_a_long_domain_leaves_no_room_either():
    assert reply_address(CODE, SECRET, f"a@{'b' * 240}.example") is None


def test_a_proof_names_its_message_only():
    assert read_outbound_proof(PROOF, SECRET) == OUTBOUND
    assert read_outbound_proof(f" {PROOF.upper()} ", SECRET) == OUTBOUND
    other = str(OUTBOUND).replace("11", "12")
    for forged in (PROOF.replace(str(OUTBOUND), other), PROOF[:-1], f"{PROOF}a", str(OUTBOUND), "", "x" * 100_000):
        assert read_outbound_proof(forged, SECRET) is None
    assert read_outbound_proof(PROOF, b"another secret") is None


def test_a_token_of_one_kind_is_none_of_the_other():
    assert read_outbound_proof(f"{OUTBOUND}.{ADDRESS.partition('.')[2].partition('@')[0]}", SECRET) is None


@BOUNDED
@given(st.text(max_size=80))
def test_any_text_is_answered_without_an_error(text):
    assert verify(text, SECRET) is None
