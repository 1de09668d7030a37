"""The original recipient and its evidence (contract 001)."""

from __future__ import annotations

import pytest

from models.enums import Confidence, RecipientSource
from pipeline.core.mime import parse
from pipeline.core.recipients import Recipient, resolve

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
