"""Large mail read without a tree of it: the same result as by the tree, whatever the mail looks like."""

from __future__ import annotations

import base64
import binascii
import quopri
import random
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.core import large, mime, structure
from pipeline.core.mime import parse

_HEAD = b"From: ann@example.org\r\nSubject: Plans\r\nMessage-ID: <1@x>\r\n"

Read = Callable[[bytes], mime.Parsed]


@pytest.fixture
def by_tree(monkeypatch: pytest.MonkeyPatch) -> Read:
    def read(raw: bytes) -> mime.Parsed:
        with monkeypatch.context() as patch:
            patch.setattr(large, "LIMIT", 10**9)
            return parse(raw)

    return read


@pytest.fixture
def by_runs(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a mail of any size as a large one, of which even the shortest run stands aside."""

    def read(raw: bytes) -> mime.Parsed:
        with monkeypatch.context() as patch:
            patch.setattr(large, "LIMIT", 0)
            patch.setattr(large, "_RUN", 1)
            return parse(raw)

    return read


def _mixed(*sections: bytes, end: bytes = b"\r\n--b--\r\n") -> bytes:
    head = _HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble'
    return head + b"".join(b"\r\n--b\r\n" + section for section in sections) + end


_CONTENT = random.Random(7).randbytes(40_000)
_FILE = b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: %s\r\n\r\n"
_WRAPPED = base64.encodebytes(_CONTENT)


def _uu(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 plan\n" + b"".join(lines) + b"`\nend\n"


@pytest.mark.parametrize(
    ("encoding", "encoded", "content"),
    [
        (b"base64", _WRAPPED, _CONTENT),
        (b"base64", _WRAPPED.replace(b"\n", b"\r\n"), _CONTENT),
        (b"base64", base64.b64encode(_CONTENT), _CONTENT),
        (b"quoted-printable", quopri.encodestring(_CONTENT), _CONTENT),
        (b"x-uuencode", _uu(_CONTENT), _CONTENT),
        (b"binary", b"--- a\n+++ b\n" * 4_000, b"--- a\n+++ b\n" * 4_000),
    ],
)
def test_a_long_attachment_is_decoded_whole(encoding: bytes, encoded: bytes, content: bytes, by_tree: Read):
    raw = _mixed(b"Content-Type: text/plain\r\n\r\nhello", _FILE % encoding + encoded)
    assert len(raw) > large.LIMIT
    parsed = parse(raw)
    (part,) = parsed.attachments
    assert (part.payload, parsed.text, parsed.subject) == (content, "hello", "Plans")
    assert parsed == by_tree(raw)


@pytest.mark.parametrize(
    "damage",
    [
        b"####",
        b"=",
        b"QQ==",
        b"\x00\xff",
        b"-- \r\nsignature",
    ],
)
@pytest.mark.parametrize("place", [100, 20_001, 50_000])
def test_damaged_base64_is_read_by_the_rules_for_damage(damage: bytes, place: int, by_tree: Read):
    raw = _mixed(_FILE % b"base64" + _WRAPPED[:place] + damage + _WRAPPED[place:])
    assert parse(raw) == by_tree(raw)
    assert "bad_base64" in parse(raw).flags


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "shift_jis", "iso-2022-jp", "made-up"])
@pytest.mark.parametrize("subtype", ["plain", "html"])
def test_long_texts_are_the_same_in_every_charset(charset: str, subtype: str, by_tree: Read):
    codec = "utf-8" if charset == "made-up" else charset
    line = "gr\u00fc\u00dfe" if codec in {"utf-8", "iso-8859-1"} else "\u65e5\u672c"
    body = "\r\n".join([f"<p>{line} {number}</p>" for number in range(4_000)]).encode(codec)
    part = b"Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n" % (
        subtype.encode(), charset.encode(),
    )  # fmt: skip
    raw = _mixed(part + base64.encodebytes(body))
    assert line in parse(raw).text
    assert parse(raw) == by_tree(raw)


def test_a_text_that_is_longer_than_anybody_reads_is_cut_and_says_so():
    line = "e\u0301" * 30 + "\n"  # composed, it is half as long
    raw = _HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + line.encode() * 80_000
    parsed = parse(raw)
    assert parsed.flags == ("text_truncated",)
    assert len(parsed.text) > 900_000
    assert set(parsed.text) == {"\u00e9", "\n"}


def test_a_part_with_the_text_of_a_mark_is_only_text():
    text = b"0" * 64 + b".0;\n" + b"line\n" * 20_000
    assert parse(_mixed(b"\r\n" + text)).text.encode() == text.rstrip(b"\n")


def test_what_follows_a_header_that_does_not_end_is_kept():
    part = b"X-Long: " + b"v" * 200_000 + b"\r\n\r\nhello"
    parsed = parse(_mixed(b"\r\nfirst", part))
    assert parsed.text.startswith("first")
    assert parsed.text.endswith("hello")


def test_the_library_is_given_no_long_run(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    read = structure.read
    monkeypatch.setattr(structure, "read", lambda raw, whole=None: (seen.append(len(raw)), read(raw, whole))[1])
    parse(_mixed(b"\r\nhello", _FILE % b"base64" + base64.encodebytes(bytes(3_000_000))))
    assert seen[0] < 1_000


_LINES = st.sampled_from(
    [b"", b"text", b"--b", b"--b--", b"--c", b"--c--", b"-- ", b"--", b"Content-Type: text/html", b"\xff\x00", b"QUJD",
     b"Content-Type: multipart/mixed; boundary=c", b"Content-Type: message/rfc822", b"Content-Disposition: attachment",
     b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"=41=", b" folded"]
)  # fmt: skip
_ENDS = st.sampled_from([b"\r\n", b"\n", b"\r"])


@example(
    lines=[
        (b"--c", b"\r\n"),
        (b"", b"\r\n"),
        (b"Content-Type: multipart/mixed; boundary=c", b"\r\n"),
        (b"--b", b"\r\n"),
    ],
    content_type=b"multipart/mixed; boundary=b",
)
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_LINES, _ENDS), max_size=40), st.sampled_from([b"multipart/mixed; boundary=b", b"text/plain"])
)
def test_any_structure_is_read_as_by_the_tree(lines: list[tuple[bytes, bytes]], content_type: bytes):
    raw = _HEAD + b"Content-Type: " + content_type + b"\r\n\r\n" + b"".join(line + end for line, end in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "LIMIT", 10**9)
        expected = parse(raw)
        patch.setattr(large, "LIMIT", 0)
        patch.setattr(large, "_RUN", 1)
        assert parse(raw) == expected


def test_a_mail_of_a_mailer_is_read_the_same_at_any_size(by_tree: Read, by_runs: Read):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.org", "help@acme.example", "Photos"
    message.set_content("Sch\u00f6ne Gr\u00fc\u00dfe\n" * 2_000)
    message.add_alternative("<p>Sch\u00f6ne Gr\u00fc\u00dfe</p>" * 2_000, subtype="html")
    message.add_attachment(_CONTENT, maintype="image", subtype="png", filename="a.png")
    inner = EmailMessage()
    inner["Subject"] = "forwarded"
    inner.set_content("inner\n" * 3_000)
    message.add_attachment(inner)
    raw = message.as_bytes()
    assert parse(raw) == by_tree(raw) == by_runs(raw)
    assert len(parse(raw).attachments) == 2
