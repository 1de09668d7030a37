"""What an announcement says, and what is no announcement."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pipeline.core.announcements import in_envelope, in_message


def _data(content: object, *, url_safe: bool = False) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (base64.urlsafe_b64encode(raw) if url_safe else base64.b64encode(raw)).decode()


@pytest.mark.parametrize("url_safe", [False, True])
@pytest.mark.parametrize("padding", [True, False])
@pytest.mark.parametrize("address", ["help@acme.example", "h??>>@acme.example"])
def test_the_address_is_read_in_either_alphabet_with_or_without_padding(address: str, padding: bool, url_safe: bool):
    data = _data({"emailAddress": address, "historyId": 7}, url_safe=url_safe)
    assert in_message(data if padding else data.rstrip("=")) == address


def test_an_address_is_lower_case_and_the_history_id_does_not_matter():
    assert in_message(_data({"emailAddress": "Help@Acme.Example"})) == "help@acme.example"
    assert in_message(_data({"emailAddress": "a@b.c", "historyId": {"not": "believed"}})) == "a@b.c"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[" * 50_000,
        b"\xff\xfe",
        [],
        7,
        None,
        {},
        {"emailAddress": None},
        {"emailAddress": ["a@b.c"]},
        {"emailAddress": "nobody"},
        {"emailAddress": "a@b@c"},
        {"emailAddress": "a\x00@b.c"},
        {"emailAddress": "a b@c"},
        {"emailAddress": "a" * 400 + "@b.c"},
    ],
    ids=lambda content: str(content)[:30],
)
def test_what_names_no_address_is_none(content: object):
    assert in_message(_data(content)) is None


@pytest.mark.parametrize("data", [None, 7, "a", "%%%", "ä", ["e30="]])
def test_what_is_no_base64_is_none(data: Any):
    assert in_message(data) is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"message": null}', b'{"message": {}}', b"[" * 100_000])
def test_an_envelope_without_a_message_is_none(body: bytes):
    assert in_envelope(body) is None


def test_an_envelope_holds_a_message():
    body = {"message": {"data": _data({"emailAddress": "a@b.c"}), "messageId": "1"}, "subscription": "s"}
    assert in_envelope(json.dumps(body).encode()) == "a@b.c"
