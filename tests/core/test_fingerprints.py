"""Fingerprint and signature: what they cover and what they leave out."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from pipeline.core.fingerprints import fingerprint, signature
from pipeline.core.mime import parse

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
COARSE = {
    "sender": "ann@example.org",
    "subject_norm": "pump",
    "date": MOMENT,
    "body": " It leaks.\n",
    "attachment_hashes": [f"{n:064x}" for n in range(12)],
}
EXACT = {
    "message_id": "<1@example.org>",
    "date": MOMENT,
    "senders": ["ann@example.org"],
    "to": ["b@example.org", "a@example.org"],
    "cc": [],
    "reply_to": [],
    "subject_norm": "pump",
    "body": " It leaks.\n",
    "attachment_hashes": ["ab" * 32],
}


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_the_fingerprint_is_the_documented_digest() -> None:
    assert fingerprint(**COARSE) == _sha256(
        {
            "from": "ann@example.org",
            "subject_norm": "pump",
            "date": "2026-03-04",
            "body_hash_prefix": hashlib.sha256(b"It leaks.").hexdigest()[:16],
            "attachment_count": 12,
            "attachment_sha_prefixes": [f"{n:064x}"[:16] for n in range(10)],
        }
    )


def test_the_signature_is_the_documented_digest() -> None:
    assert signature(**EXACT) == _sha256(
        {
            "rfc_message_id": "<1@example.org>",
            "date": "2026-03-04T05:06:07+00:00",
            "from": ["ann@example.org"],
            "to": ["a@example.org", "b@example.org"],
            "cc": [],
            "reply_to": [],
            "subject_norm": "pump",
            "body_text": "It leaks.",
            "attachment_sha": ["ab" * 32],
        }
    )


@pytest.mark.parametrize(
    "change",
    [
        {"sender": None},
        {"subject_norm": "pumps"},
        {"date": MOMENT.replace(day=5)},
        {"date": None},
        {"body": "It still leaks."},
        {"attachment_hashes": []},
    ],
)
def test_the_fingerprint_depends_on_each_fact(change: dict[str, object]) -> None:
    assert fingerprint(**(COARSE | change)) != fingerprint(**COARSE)


@pytest.mark.parametrize("change", [{"date": MOMENT.replace(hour=23)}, {"body": "It leaks."}])
def test_the_fingerprint_ignores_the_time_of_day_and_outer_white_space(change: dict[str, object]) -> None:
    assert fingerprint(**(COARSE | change)) == fingerprint(**COARSE)


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": None},
        {"date": MOMENT.replace(second=8)},
        {"senders": []},
        {"to": []},
        {"cc": ["c@example.org"]},
        {"reply_to": ["c@example.org"]},
        {"subject_norm": ""},
        {"body": "other"},
        {"attachment_hashes": ["cd" * 32]},
    ],
)
def test_the_signature_depends_on_each_fact(change: dict[str, object]) -> None:
    assert signature(**(EXACT | change)) != signature(**EXACT)


def _mail(body: bytes, subtype: bytes = b"html") -> bytes:
    return (
        b"From: ann@example.org\r\nSubject: Offer\r\nDate: Wed, 4 Mar 2026 05:06:07 +0000\r\n"
        b"Content-Type: text/" + subtype + b"\r\n\r\n" + body
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [(b"<p>first</p>", b"<p>second</p>"), (b'<img src="cid:a@x">', b'<img src="cid:b@x">')],
)
def test_html_mails_that_differ_only_in_their_html_do_not_collide(one: bytes, other: bytes) -> None:
    assert parse(_mail(one)).fingerprint != parse(_mail(other)).fingerprint


def test_line_ends_do_not_change_the_digests() -> None:
    unix = parse(_mail(b"one\ntwo\n", b"plain").replace(b"\r\n", b"\n"))
    dos = parse(_mail(b"one\r\ntwo\r\n", b"plain"))
    assert (unix.fingerprint, unix.signature) == (dos.fingerprint, dos.signature)


def test_delivery_headers_do_not_change_the_digests() -> None:
    raw = _mail(b"text", b"plain")
    copy = b"Delivered-To: a@example.org\r\nReceived: from x by y; Wed, 4 Mar 2026 05:06:07 +0000\r\n" + raw
    assert parse(raw).signature == parse(copy).signature


def test_mails_without_id_and_date_are_one_only_when_their_bytes_are() -> None:
    empty, other = (
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\n",
        b"Content-Type: multipart/mixed; boundary=b\n\n",
    )
    assert parse(empty).signature == parse(empty).signature
    assert parse(empty).signature != parse(other).signature


def test_a_mail_with_a_date_is_recognised_whatever_its_trace_headers() -> None:
    mail = b"Date: Mon, 1 Jan 2024 10:00:00 +0000\nSubject: gate\n\nstuck\n"
    assert parse(mail).signature == parse(b"Delivered-To: a@example.org\n" + mail).signature
