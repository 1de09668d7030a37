"""The original recipient and its evidence (contract 001)."""

from __future__ import annotations

import pytest

from models.enums import Confidence, RecipientSource
from pipeline.core.mime import parse
from pipeline.core.recipients import Recipient, found_in, plus_address, resolve

ALL = {
    "x-gm-original-to": ["gm@example.org", "gm2@example.org"],
    "delivered-to": ["delivered@example.org"],
    "x-original-to": ["original@example.org"],
    "to": ["to@example.org"],
    "cc": ["cc@example.org"],
}


@pytest.mark.parametrize(
    ("absent", "address", "source", "confidence", "selected_from"),
    [
        (0, "gm@example.org", "workspace_header", "high", "x-gm-original-to"),
        (1, "delivered@example.org", "delivered_to", "medium", "delivered-to"),
        (2, "original@example.org", "x_original_to", "medium", "x-original-to"),
        (3, "to@example.org", "to_cc_scan", "low", "to"),
        (4, "cc@example.org", "to_cc_scan", "low", "cc"),
        (5, None, "unknown", "low", None),
    ],
)
def test_the_strongest_header_that_names_an_address_wins(
    absent: int, address: str | None, source: str, confidence: str, selected_from: str | None
) -> None:
    found = resolve(dict(list(ALL.items())[absent:]))
    assert (found.address, found.source.value, found.confidence.value) == (address, source, confidence)
    assert found.evidence["selected_from"] == selected_from
    assert found.evidence["selected_value"] == address


def test_the_evidence_names_every_candidate() -> None:
    assert resolve(ALL) == Recipient(
        "gm@example.org",
        RecipientSource.WORKSPACE_HEADER,
        Confidence.HIGH,
        {
            "selected_from": "x-gm-original-to",
            "selected_value": "gm@example.org",
            "x_gm_original_to_candidates": ["gm@example.org", "gm2@example.org"],
            "delivered_to_candidates": ["delivered@example.org"],
            "x_original_to_candidates": ["original@example.org"],
            "to_candidates": ["to@example.org"],
            "cc_candidates": ["cc@example.org"],
        },
    )


def test_a_word_without_an_at_sign_is_no_candidate() -> None:
    assert resolve({"delivered-to": ["root"], "to": ["to@example.org"]}).source is RecipientSource.TO_CC_SCAN


def test_the_evidence_is_bounded() -> None:
    found = resolve({"to": [f"a{n}@example.org" for n in range(1000)]})
    assert len(found.evidence["to_candidates"] or ()) == 50


@pytest.mark.parametrize(
    ("header", "address", "source"),
    [
        (b"x-GM-original-TO: Support <SUPPORT@Example.org>\r\n", "support@example.org", "workspace_header"),
        (
            b"Delivered-To: first@example.org\r\nDelivered-To: second@example.org\r\n",
            "first@example.org",
            "delivered_to",
        ),
        (b"Delivered-To: \r\nX-Original-To: x@example.org\r\n", "x@example.org", "x_original_to"),
        (b"To: undisclosed-recipients:;\r\nCc: cc@example.org\r\n", "cc@example.org", "to_cc_scan"),
        (b"To: undisclosed-recipients:;\r\n", None, "unknown"),
        (b"Bcc: hidden@example.org\r\n", None, "unknown"),
    ],
)
def test_the_recipient_of_a_mail_comes_from_its_headers(header: bytes, address: str | None, source: str) -> None:
    found = parse(header + b"\r\nbody").recipient
    assert (found.address, found.source.value) == (address, source)


def test_other_headers_are_asked_only_when_the_contract_names_nobody() -> None:
    headers = b"Envelope-To: envelope@example.org\r\nX-Forwarded-To: boss@example.org\r\n"
    chosen = parse(headers + b"\r\nHi").recipient
    assert (chosen.address, chosen.source.value, chosen.confidence.value) == (
        "envelope@example.org",
        "envelope_to",
        "low",
    )
    assert chosen.evidence["selected_from"] == "envelope-to"
    named = parse(headers + b"Cc: cc@example.org\r\n\r\nHi").recipient
    assert named.address == "cc@example.org"
    assert named.evidence["envelope_to_candidates"] == ["envelope@example.org"]
    assert named.evidence["x_forwarded_to_candidates"] == ["boss@example.org"]


def test_forwarders_and_groups_are_evidence_and_never_chosen() -> None:
    found = parse(
        b"X-Forwarded-For: Ann@Home.example support@example.org\r\nList-Post: <mailto:help@groups.example?x=1>\r\n"
        b"Mailing-list: list help@groups.example; contact owner@groups.example\r\n\r\nHi"
    ).recipient
    assert found.address is None
    assert found.evidence["x_forwarded_for_candidates"] == ["ann@home.example", "support@example.org"]
    assert "help@groups.example" in (found.evidence["list_post_candidates"] or ())
    assert found.evidence["mailing_list_candidates"] == ["help@groups.example", "owner@groups.example"]


def test_every_delivered_to_is_kept_and_the_first_wins() -> None:
    found = parse(b"Delivered-To: a@x.example\r\nDelivered-To: b@x.example\r\n\r\nHi").recipient
    assert (found.address, found.evidence["delivered_to_candidates"]) == ("a@x.example", ["a@x.example", "b@x.example"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("support+berlin@x.example", ("support@x.example", "berlin")),
        ("support+a+b@x.example", ("support@x.example", "a+b")),
        ("support@x.example", None),
        ("+berlin@x.example", None),
        ("support+@x.example", None),
        ("support+tkt-abcdefgh234567ab.abcdefgh234567ab@x.example", None),
        ("ticket+tkt-abcdefgh234567ab.abcdefgh234567ab@x.example", None),
        ("support+tkt-forged@x.example", ("support@x.example", "tkt-forged")),
    ],
)
def test_a_plus_address_has_a_base_and_a_tag_but_a_reply_token_is_no_tag(
    address: str, expected: tuple[str, str] | None
) -> None:
    evidence = resolve({"to": [address]}).evidence
    assert plus_address(address) == expected
    assert (evidence.get("base_address"), evidence.get("tag")) == (expected or (None, None))


@pytest.mark.parametrize(
    ("address", "mailbox", "is_alias"),
    [
        ("support@x.example", "Support@x.example", False),
        ("support+berlin@x.example", "support@x.example", False),
        ("support+berlin@x.example", "support+berlin@x.example", False),
        ("berlin@x.example", "support@x.example", True),
    ],
)
def test_an_alias_is_another_name_of_the_mailbox(address: str, mailbox: str, is_alias: bool) -> None:
    found = found_in(resolve({"delivered-to": [address]}), mailbox)
    assert (found.address, found.evidence["is_alias"]) == (address, is_alias)


def test_nobody_is_no_alias() -> None:
    assert "is_alias" not in found_in(resolve({}), "support@x.example").evidence
