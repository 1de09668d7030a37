"""Which mail is read apart: the large and the odd, and no mailer's ordinary mail."""

from __future__ import annotations

import pytest

from pipeline.core.suspicion import is_suspicious
from tests.factories import mail

_HEAD = b"From: ann@example.org\r\nSubject: Plans\r\n"
_MIXED = _HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'


@pytest.mark.parametrize(
    "raw",
    [
        mail("Photos", attachment=bytes(3_000_000)),
        _HEAD + b"\r\n" + b"- list\r\n--- a/file\r\n+++ b/file\r\n" * 20_000,
        _MIXED + b"--b\r\n\r\nx\r\n" * 499 + b"y" * 100_000,
        _HEAD + b"\r\n" + b"Content-Type: multipart/mixed\n" * 10 + b"x\n" * 40_000,
    ],
)
def test_ordinary_mail_is_not_suspicious(raw: bytes):
    assert not is_suspicious(raw)


@pytest.mark.parametrize(
    "raw",
    [
        mail("Photos", attachment=bytes(8_000_000)),
        b"X: v\r\n" * 20_000 + _HEAD + b"\r\nbody",
        _HEAD + b"References: " + b"<1@x> " * 20_000 + b"\r\n\r\nbody",
        _MIXED + b"--b\r\n\r\nx\r\n" * 4_000,
        _MIXED + b"Content-Type: Multipart/Mixed; boundary=n\r\n\r\n--n\r\n" * 1_000,
        _HEAD + b"\r\n" + b"\n" * 600_000,
    ],
    ids=["size", "lines of a header", "long header", "parts", "depth", "lines"],
)
def test_large_and_odd_mail_is_suspicious(raw: bytes):
    assert is_suspicious(raw)
