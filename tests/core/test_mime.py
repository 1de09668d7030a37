"""One mail as a value: structure, bodies, attachments, flags, and that nothing makes the parser fail."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import parts
from pipeline.core.mime import Address, Parsed, Unreadable, describe, parse

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _rich_mail() -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = '"Ann Müller" <Ann@Example.org>'
    mail["To"] = "support@example.org, Bob <bob@example.org>"
    mail["Cc"] = "carol@example.org"
    mail["Reply-To"] = "ann-private@example.org"
    mail["Subject"] = "Re: Pumpe läuft nicht"
    mail["Date"] = "Wed, 4 Mar 2026 05:06:07 +0100"
    mail["Message-ID"] = "<m1@example.org>"
    mail["In-Reply-To"] = "<m0@example.org>"
    mail["References"] = "<r1@example.org> <m0@example.org>"
    mail.set_content("Guten Tag,\n\ndie Pumpe läuft nicht.\n")
    mail.add_alternative("<p>Guten Tag</p><script>x()</script>", subtype="html")
    mail.add_attachment(PNG, maintype="image", subtype="png", filename="Foto (größer).png")
    for number, container in enumerate(part for part in mail.walk() if part.is_multipart()):
        container.set_boundary(f"=={number}==")
    return mail.as_bytes()


def _multipart(*sections: bytes, subtype: bytes = b"mixed") -> bytes:
    body = b"".join(b"--xyz\r\n" + section + b"\r\n" for section in sections)
    return (
        b"From: a@example.org\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/"
        + subtype
        + b'; boundary="xyz"\r\n\r\n'
        + body
        + b"--xyz--\r\n"
    )


def _single(header: bytes, body: bytes) -> Parsed:
    return parse(b"From: a@example.org\r\nMessage-ID: <1@x>\r\n" + header + b"\r\n" + body)


def test_a_rich_mail_is_understood() -> None:
    parsed = parse(_rich_mail())
    assert parsed.subject == "Re: Pumpe läuft nicht"
    assert parsed.subject_norm == "pumpe läuft nicht"
    assert parsed.from_ == (Address("ann@example.org", "Ann Müller"),)
    assert parsed.to == (Address("support@example.org", ""), Address("bob@example.org", "Bob"))
    assert parsed.cc == (Address("carol@example.org", ""),)
    assert parsed.reply_to == (Address("ann-private@example.org", ""),)
    assert parsed.date == datetime(2026, 3, 4, 4, 6, 7, tzinfo=UTC)
    assert parsed.message_id == "<m1@example.org>"
    assert parsed.in_reply_to == ("<m0@example.org>",)
    assert parsed.references == ("<r1@example.org>", "<m0@example.org>")
    assert parsed.text == "Guten Tag,\n\ndie Pumpe läuft nicht."
    assert parsed.html == "<p>Guten Tag</p>"
    assert parsed.snippet == "Guten Tag, die Pumpe läuft nicht."
    assert parsed.headers["subject"] == ("Re: Pumpe läuft nicht",)
    assert parsed.flags == ()
    [photo] = parsed.attachments
    assert (photo.filename, photo.content_type, photo.disposition) == ("Foto (größer).png", "image/png", "attachment")
    assert (photo.payload, photo.size, photo.sha256) == (PNG, len(PNG), hashlib.sha256(PNG).hexdigest())


def test_the_description_has_exactly_the_promised_fields() -> None:
    assert describe(parse(_rich_mail())) == {
        "subject": "Re: Pumpe läuft nicht",
        "from": "ann@example.org",
        "to": ["support@example.org", "bob@example.org"],
        "cc": ["carol@example.org"],
        "reply_to": ["ann-private@example.org"],
        "date": "2026-03-04T04:06:07+00:00",
        "message_id": "<m1@example.org>",
        "in_reply_to": "<m0@example.org>",
        "references": ["<r1@example.org>", "<m0@example.org>"],
        "list_id": None,
        "reported": [],
        "delivery": [],
        "text": "Guten Tag,\n\ndie Pumpe läuft nicht.",
        "fresh": "Guten Tag,\n\ndie Pumpe läuft nicht.",
        "forwarded_from": None,
        "html": True,
        "attachments": [
            {
                "filename": "Foto (größer).png",
                "content_type": "image/png",
                "size": len(PNG),
                "sha256": hashlib.sha256(PNG).hexdigest(),
                "dangerous": False,
            }
        ],
        "recipient": {"address": "support@example.org", "source": "to_cc_scan", "confidence": "low"},
        "flags": [],
    }


@pytest.mark.parametrize("raw", [b"", b" ", b"\r\n\r\n"])
def test_only_an_empty_mail_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        parse(raw)


def test_a_body_without_headers_is_text() -> None:
    parsed = parse(b"this is no header\nat all")
    assert parsed.text == "this is no header\nat all"
    assert set(parsed.flags) == {"no_headers", "no_message_id"}
    assert describe(parsed)["from"] is None


def test_text_parts_are_joined_by_a_blank_line() -> None:
    parsed = parse(_multipart(b"\r\none\r\n", b"Content-Type: text/plain\r\n\r\ntwo"))
    assert parsed.text == "one\n\ntwo"
    assert parsed.html is None


def test_html_alone_gives_the_text() -> None:
    parsed = _single(b"Content-Type: text/html\r\n", b"<p>one</p><p>two</p><script>x</script>")
    assert (parsed.text, parsed.html) == ("one\n\ntwo", "<p>one</p><p>two</p>")
    assert parsed.flags == ("html_only",)


@pytest.mark.parametrize(
    ("section", "text", "files"),
    [
        (b"Content-Type: text/plain; name=notes.txt\r\n\r\nbody", "body", []),
        (b"Content-Disposition: inline; filename=notes.txt\r\n\r\nbody", "body", ["notes.txt"]),
        (b"Content-Disposition: inline\r\n\r\nbody", "body", []),
        (b"Content-Disposition: attachment; filename=notes.txt\r\n\r\nbody", "", ["notes.txt"]),
        (b"Content-Disposition: attachment\r\n\r\nbody", "", ["part-1.txt"]),
        (b"Content-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n\r\nx", "", ["a.html"]),
        (b"Content-Type: image/png\r\n\r\nx", "", ["part-1.png"]),
        (b"Content-Type: image/png\r\nContent-ID: <logo>\r\n\r\nx", "", ["part-1.png"]),
        (b"Content-Type: image/jpeg; name=a.jpg\r\n\r\nx", "", ["a.jpg"]),
        (b"Content-Type: text/calendar\r\n\r\nx", "", ["part-1.ics"]),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner", "", ["part-1.eml"]),
        (b"Content-Type: application/octet-stream\r\n\r\nx", "", ["part-1.bin"]),
        (b"Content-Type: nonsense\r\n\r\nbody", "body", []),
    ],
)
def test_each_leaf_is_a_body_a_file_or_both(section: bytes, text: str, files: list[str]) -> None:
    parsed = parse(_multipart(section))
    assert parsed.text == text
    assert [attachment.filename for attachment in parsed.attachments] == files


def test_an_embedded_mail_is_one_opaque_file_with_its_own_bytes() -> None:
    inner = b'Subject: inner\r\nContent-Type: multipart/mixed; boundary="in"\r\n\r\n--in\r\n\r\nsecret\r\n--in--'
    parsed = parse(_multipart(b"\r\nouter", b"Content-Type: message/rfc822\r\n\r\n" + inner))
    assert parsed.text == "outer"
    [embedded] = parsed.attachments
    assert (embedded.content_type, embedded.payload) == ("message/rfc822", inner)


def test_an_embedded_mail_in_base64_is_decoded() -> None:
    section = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(
        b"From: x\n\n"
    )
    assert parse(_multipart(section)).attachments[0].payload == b"From: x\n\n"


def test_the_parts_of_a_digest_are_files() -> None:
    parsed = parse(_multipart(b"\r\nSubject: one\r\n\r\n1", b"\r\nSubject: two\r\n\r\n2", subtype=b"digest"))
    assert [attachment.content_type for attachment in parsed.attachments] == ["message/rfc822"] * 2


def test_a_container_that_is_an_attachment_holds_no_body() -> None:
    container = (
        b'Content-Disposition: attachment\r\nContent-Type: multipart/mixed; boundary="in"\r\n\r\n'
        b"--in\r\n\r\nhidden\r\n--in--"
    )
    parsed = parse(_multipart(b"\r\nvisible", container))
    assert parsed.text == "visible"
    assert [attachment.payload for attachment in parsed.attachments] == [b"hidden"]


def test_a_binary_attachment_keeps_every_byte() -> None:
    blob = bytes(set(range(256)) - {10, 13}) * 4
    section = b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + blob
    assert parse(_multipart(section)).attachments[0].payload == blob


def test_an_inline_image_keeps_its_content_id() -> None:
    section = b"Content-Type: image/png\r\nContent-ID: <logo@x>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    [image] = parse(_multipart(section + base64.b64encode(PNG))).attachments
    assert (image.content_id, image.disposition, image.payload) == ("logo@x", "inline", PNG)


@pytest.mark.parametrize("lines", [b"aGVs\r\nbG8=\r\n", b"aGVsbG8"])
@pytest.mark.parametrize("kind", [b"text/plain", b"application/octet-stream"])
def test_base64_is_decoded_and_damage_flagged(lines: bytes, kind: bytes) -> None:
    section = b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + lines
    parsed = parse(_multipart(section))
    held = parsed.text.encode() if kind == b"text/plain" else parsed.attachments[0].payload
    assert held == b"hello"
    assert parsed.flags == (() if lines.endswith(b"=\r\n") else ("bad_base64",))


@pytest.mark.parametrize(
    ("broken", "decoded"),
    [(b"aGVs*bG8=", b"hello"), (b"aGVsbG8=aGVsbG8=", b"hellohello"), (b"aGVsb", b"hel"), (b"aGVs\xe9bG8=", b"hello")],
)
def test_broken_base64_is_read_as_far_as_it_goes(broken: bytes, decoded: bytes) -> None:
    section = b"Content-Type: application/x-words\r\nContent-Transfer-Encoding: base64\r\n\r\n" + broken
    parsed = parse(_multipart(section))
    assert parsed.attachments[0].payload == decoded
    assert parsed.flags == ("bad_base64",)


@pytest.mark.parametrize(
    ("content", "body", "text", "flags"),
    [
        (b"text/plain; charset=utf-8", "naïve".encode(), "naïve", ()),
        (b"text/plain; charset=iso-8859-1", b"na\xefve", "naïve", ()),
        (b"text/plain", "naïve".encode(), "naïve", ()),
        (b"text/plain", b"na\xefve", "naïve", ("charset_guessed",)),
        (b"text/plain; charset=us-ascii", b"na\xefve", "naïve", ("charset_guessed",)),
        (b"text/plain; charset=rot13", b"hello", "hello", ("charset_guessed",)),
        (b"text/plain; charset=unicode_escape", b"\\u0041", "\\u0041", ("charset_guessed",)),
        (b"text/plain; charset=undefined", b"na\xefve", "naïve", ("charset_guessed",)),
        (b"text/plain; charset=iso-2022-jp", "日本".encode("iso2022_jp"), "日本", ()),
        (b"text/plain; charset*=utf-8''utf-8", "naïve".encode(), "naïve", ()),
        (b"text/html; charset=utf-8", "<p>naïve</p>".encode(), "naïve", ("html_only",)),
        (b"text/html", b"<meta charset=koi8-r><p>\xd0\xd2</p>", "пр", ("html_only",)),
    ],
)
def test_bodies_are_decoded_by_their_charset(content: bytes, body: bytes, text: str, flags: tuple[str, ...]) -> None:
    parsed = _single(b"Content-Type: " + content + b"\r\nContent-Transfer-Encoding: 8bit\r\n", body)
    assert (parsed.text, parsed.flags) == (text, flags)


def test_quoted_printable_and_soft_breaks_are_undone() -> None:
    parsed = _single(
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: Quoted-Printable\r\n", b"a=\r\n=C3=A4"
    )
    assert parsed.text == "aä"


@pytest.mark.parametrize(
    ("raw", "flag"),
    [
        (_multipart(b"\r\nx", b"Content-Type: application/pgp-signature\r\n\r\nx", subtype=b"signed"), "signed"),
        (_multipart(b"\r\nx", subtype=b"encrypted"), "encrypted"),
        (_multipart(b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx"), "signed"),
        (_multipart(b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx"), "encrypted"),
        (_multipart(b"\r\n-----BEGIN PGP MESSAGE-----\r\nx"), "encrypted"),
        (_multipart(b"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nx"), "signed"),
        (_multipart(b"Content-Type: text/calendar\r\n\r\nx"), "calendar"),
        (_multipart(b"Content-Type: application/ms-tnef\r\n\r\nx"), "tnef"),
        (_multipart(b"Content-Type: application/octet-stream; name=WinMail.dat\r\n\r\nx"), "tnef"),
        (_multipart(b"\r\nx", b"Content-Type: message/delivery-status\r\n\r\nx: y", subtype=b"report"), "report"),
    ],
)
def test_what_the_mail_is_made_of_is_flagged(raw: bytes, flag: str) -> None:
    assert parse(raw).flags == (flag,)


def test_text_beyond_one_megabyte_is_cut_and_flagged() -> None:
    parsed = _single(b"", b"word \n" * 400_000)
    assert len(parsed.text) == 1_048_576
    assert parsed.flags == ("text_truncated",)


@pytest.mark.parametrize("raw", [b"Subject: =?utf-8?q?a=00b?=\n\nx\x00y", b"Subject: a\x00b\nX-Odd: \x00\n\nx\x00y"])
def test_nul_never_leaves_the_parser(raw: bytes) -> None:
    parsed = parse(raw)
    assert (parsed.subject.replace("\ufffd", " "), parsed.text) == ("a b", "x\ufffdy")
    _assert_storable(parsed)


def test_the_library_and_the_own_reader_agree_on_a_healthy_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    by_library = parse(_rich_mail())
    monkeypatch.setattr(parts, "_by_library", parts._by_hand)
    assert parse(_rich_mail()) == by_library


def test_a_defect_of_the_library_loses_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = parse(_rich_mail())

    def broken(_message: object) -> object:
        raise RuntimeError("defect")

    monkeypatch.setattr(parts, "MailParser", broken)
    assert parse(_rich_mail()) == expected


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.items() for text in _strings(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    return []


def _assert_storable(parsed: Parsed) -> None:
    described = describe(parsed) | {"headers": dict(parsed.headers), "html": parsed.html, "snippet": parsed.snippet}
    described["names"] = [person.name for person in (*parsed.from_, *parsed.to, *parsed.cc, *parsed.reply_to)]
    described["evidence"] = dict(parsed.recipient.evidence)
    described["files"] = [(attachment.filename, attachment.content_id) for attachment in parsed.attachments]
    for text in _strings(described):
        assert "\x00" not in text
        text.encode()
    json.dumps(described, ensure_ascii=False).encode()


def _check(raw: bytes) -> None:
    try:
        parsed = parse(raw)
    except Unreadable:
        assert not raw.strip()
        return
    _assert_storable(parsed)
    assert parse(raw) == parsed
    assert list(parsed.flags) == sorted(parsed.flags)
    assert parsed.date is None or parsed.date.tzinfo is UTC


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_random_bytes_never_break_the_parser(raw: bytes) -> None:
    _check(raw)


FRAGMENTS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b"\xff\xfe", b"--xyz", b"--xyz--", b"=?utf-8?b?w6Q=?=", b"=?x?q?=00?=",
    b"Content-Type: ", b"multipart/mixed; boundary=xyz", b"multipart/digest; boundary=\"xyz\"", b"message/rfc822",
    b"message/delivery-status", b"message/partial", b"text/html; charset=undefined", b"; boundary*9999999999=a",
    b"; name*=utf-8''%ff", b"; filename*0*=idna'x'%00; filename*1=b", b"; charset*=undefined''x", b"From: ", b"To: ",
    b"Date: Wed, 99 Foo 0000 25:61:61 +9999", b"Message-ID: <", b"References: <a@b> (<c@d>", b"Subject: ", b"((((",
    b"::::", b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: x-uuencode",
    b"begin 666 x\n#86)C\n \nend\n",
    b"Content-Transfer-Encoding: quoted-printable", b"=C3=", b"Content-Disposition: attachment; filename=\"../\\\x00\"",
    b"Content-ID: <", b"<a@b>, \"q\\", b"a: b; c@d,", b"=ED=A0=80", b"+AGEAYQBh-", b"From x\n", b":", b";;;;", b"\"",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join))
@settings(max_examples=200, deadline=None)
def test_any_mixture_of_mail_syntax_is_survived(raw: bytes) -> None:
    _check(raw)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_mutation_of_a_good_mail_is_survived(data: st.DataObject) -> None:
    raw = bytearray(_rich_mail())
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), start + data.draw(st.integers(0, 40)))
        raw[start:end] = data.draw(st.one_of(st.binary(max_size=10), st.sampled_from(FRAGMENTS)))
    _check(bytes(raw))
