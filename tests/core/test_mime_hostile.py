"""Mails built to exhaust a parser: what is kept of them, and that it is kept."""

from __future__ import annotations

import pytest

from pipeline.core.header_block import bounded
from pipeline.core.mime import parse
from pipeline.core.structure import FIELD_LIMIT, Part, read

BASE = b"From: ann@example.org\r\nSubject: Pump\r\nMessage-ID: <1@x>\r\n"


def _parts(count: int, section: bytes = b"\r\nx\r\n") -> bytes:
    head = BASE + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return head + b"".join(b"--b\r\n" + section for _ in range(count)) + b"--b--\r\n"


def _nested(depth: int) -> bytes:
    opening = [b'Content-Type: multipart/mixed; boundary="n%d"\r\n\r\n--n%d\r\n' % (n, n) for n in range(depth)]
    closing = [b"\r\n--n%d--" % n for n in reversed(range(depth))]
    return BASE + b"".join(opening) + b"Content-Type: text/plain\r\n\r\nthe innermost text" + b"".join(closing)


def test_a_thousand_boundary_lines_are_read_in_full() -> None:
    parsed = parse(_parts(999))
    assert parsed.flags == ()
    assert parsed.text.count("x") == 999


def test_of_100_000_tiny_parts_the_header_and_the_first_text_stay() -> None:
    parsed = parse(_parts(100_000, b"\r\nonly this\r\n"))
    assert parsed.flags == ("too_many_parts",)
    assert (parsed.subject, parsed.text, parsed.attachments) == ("Pump", "only this", ())


def test_among_too_many_parts_plain_text_is_preferred_and_attachments_are_passed_over() -> None:
    sections = [
        b"Content-Disposition: attachment; filename=a.txt\r\n\r\nfile\r\n",
        b"Content-Type: text/html\r\n\r\n<p>html</p>\r\n",
        b"Content-Type: text/plain\r\n\r\nplain\r\n",
    ]
    head = BASE + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    filler = [b"Content-Type: image/png\r\n\r\nx\r\n"] * 1_200
    assert parse(head + b"--b\r\n" + b"--b\r\n".join([*sections, *filler])).text == "plain"
    assert parse(head + b"--b\r\n" + b"--b\r\n".join([*sections[:2], *filler])).text == "html"
    assert parse(head + b"--b\r\n" + b"--b\r\n".join(filler)).text == ""


def test_dashed_lines_that_are_no_boundaries_do_not_count() -> None:
    parsed = parse(_parts(1, b"\r\n" + b"--- a/file\n--signature\n" * 3_000))
    assert parsed.flags == ()
    assert parsed.text.count("--signature") == 3_000


def test_a_plain_text_mail_may_hold_any_number_of_dashed_lines() -> None:
    parsed = parse(BASE + b"\r\n" + b"--b\nboundary=b multipart/mixed\n" * 5_000)
    assert parsed.flags == ()
    assert parsed.text.count("--b") == 5_000


@pytest.mark.parametrize("depth", [1, 49, 50])
def test_nesting_up_to_fifty_is_read_in_full(depth: int) -> None:
    parsed = parse(_nested(depth))
    assert (parsed.text, parsed.flags) == ("the innermost text", ())


@pytest.mark.parametrize("depth", [51, 900, 3_000])
def test_deeper_nesting_keeps_the_header_and_the_first_text(depth: int) -> None:
    parsed = parse(_nested(depth))
    assert (parsed.subject, parsed.text, parsed.flags) == ("Pump", "the innermost text", ("too_deep",))


def test_sixty_multiparts_side_by_side_are_not_deep() -> None:
    inner = b"".join(
        b'--b\r\nContent-Type: multipart/mixed; boundary="s%d"\r\n\r\n--s%d\r\n\r\nx\r\n--s%d--\r\n' % (n, n, n)
        for n in range(60)
    )
    parsed = parse(BASE + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + inner + b"--b--\r\n")
    assert parsed.flags == ()
    assert parsed.text.count("x") == 60


def test_deep_nesting_with_encoded_boundaries_is_found_too() -> None:
    depth = 2_000
    raw = BASE + b"".join(
        b"Content-Type: multipart/mixed; boundary*=us-ascii''n%d\r\n\r\n--n%d\r\n" % (n, n) for n in range(depth)
    )
    parsed = parse(raw + b"\r\ntext")
    assert (parsed.text, parsed.flags) == ("text", ("too_deep",))


def test_embedded_mails_do_not_nest() -> None:
    parsed = parse(BASE + b"Content-Type: message/rfc822\r\n\r\n" * 3_000 + b"text")
    assert [attachment.content_type for attachment in parsed.attachments] == ["message/rfc822"]
    assert parsed.flags == ()


@pytest.mark.parametrize("separator", [b" ", b"\r\n "])
def test_of_200_000_references_the_first_twenty_and_the_last_eighty_stay(separator: bytes) -> None:
    ids = [b"<%d@x>" % n for n in range(200_000)]
    parsed = parse(b"References: " + separator.join(ids) + b"\r\n" + BASE + b"\r\nbody")
    assert [reference.encode() for reference in parsed.references] == [*ids[:20], *ids[-80:]]
    assert (parsed.subject, parsed.text, parsed.flags) == ("Pump", "body", ("header_truncated",))


def test_a_subject_of_8_000_encoded_words_is_cut_before_it_is_decoded() -> None:
    words = b"\r\n ".join([b"=?utf-8?q?caf=C3=A9?="] * 8_000)
    parsed = parse(b"Subject: " + words + b"\r\nMessage-ID: <1@x>\r\n\r\nbody")
    assert parsed.subject.startswith("cafécafé")
    assert len(parsed.subject) <= 2_000
    assert (parsed.text, parsed.flags) == ("body", ("header_truncated",))


def test_of_5_000_addresses_2_000_stay() -> None:
    to = b",\r\n ".join(b"a%d@e.org" % n for n in range(5_000))
    parsed = parse(b"To: " + to + b"\r\n" + BASE + b"\r\nbody")
    assert [person.address for person in parsed.to] == [f"a{n}@e.org" for n in range(2_000)]
    assert "too_many_addresses" in parsed.flags
    assert parsed.recipient.address == "a0@e.org"


def test_of_200_000_header_lines_2_000_stay_and_the_needed_fields_with_them() -> None:
    raw = b"".join(b"X-%d: v\r\n" % n for n in range(200_000)) + BASE + b"\r\nbody"
    parsed = parse(raw)
    assert 1_900 < len(parsed.headers) <= 2_050
    assert (parsed.subject, parsed.message_id, parsed.text) == ("Pump", "<1@x>", "body")
    assert parsed.flags == ("header_truncated",)


def test_a_header_block_above_one_megabyte_is_cut() -> None:
    raw = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 60_000) for n in range(40)) + BASE + b"\r\nbody"
    parsed = parse(raw)
    assert sum(len(value) for values in parsed.headers.values() for value in values) <= 1_100_000
    assert (parsed.subject, parsed.text, parsed.flags) == ("Pump", "body", ("header_truncated",))


def test_one_header_value_above_64_kilobytes_is_cut() -> None:
    parsed = parse(b"X-Long: " + b"word " * 100_000 + b"\r\n" + BASE + b"\r\nbody")
    assert 60_000 < len(parsed.headers["x-long"][0]) <= 65_536
    assert (parsed.text, parsed.flags) == ("body", ("header_truncated",))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_block_is_rebuilt_whatever_its_line_ends_are(end: bytes) -> None:
    raw = end.join([*(b"X: v" for _ in range(3_000)), b"Subject: last", b"", b"body", b"", b"more"])
    parsed = parse(raw)
    assert (parsed.subject, parsed.text) == ("last", "body\n\nmore")


def test_a_long_body_without_a_blank_line_is_no_header() -> None:
    raw = b"no header here " + b"x" * 100 + b"\n" + b"Key: value\n" * 50_000
    block, body_at, cut = bounded(raw)
    assert (block, body_at, cut) == (raw, 0, False)
    assert parse(raw).text.count("Key") == 50_000


def test_the_parts_of_a_mail_have_bounded_headers_too() -> None:
    section = b"".join(b"X-%d: v\r\n" % n for n in range(5_000)) + b"Content-Type: text/html\r\n\r\nx\r\n"
    root, _ = read(_parts(1, section))
    [part] = root.children()
    assert isinstance(part, Part)
    assert len(part.items_seen) == FIELD_LIMIT


@pytest.mark.parametrize("name", [b"Content-Type: text/plain", b"Content-Disposition: attachment"])
def test_100_000_parameters_in_one_part_end(name: bytes) -> None:
    parsed = parse(_parts(20, name + b"; a=b" * 100_000 + b"\r\n\r\nx\r\n"))
    assert parsed.text.count("x") + len(parsed.attachments) == 20


def test_boundaries_that_contradict_each_other_still_give_the_text() -> None:
    raw = (
        BASE + b'Content-Type: multipart/mixed; boundary="a--"\r\n\r\n--a--\r\n'
        b'Content-Type: multipart/mixed; boundary="a----"\r\n\r\n--a----\r\nContent-Type: text/plain\r\n\r\nbody\r\n'
    )
    assert parse(raw).text == "body"


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: multipart/mixed",
        b"Content-Type: multipart/mixed; boundary=missing",
        b"Content-Type: multipart/mixed; boundary*=undefined''x%ff",
        b"Content-Type: multipart/mixed; boundary*999999999999=x",
        b"Content-Type: multipart/; boundary=x",
    ],
)
def test_a_multipart_without_parts_is_read_as_text(header: bytes) -> None:
    assert parse(BASE + header + b"\r\n\r\nbody").text == "body"


def test_a_multipart_whose_boundary_lost_its_semicolon_is_split() -> None:
    raw = BASE + b'Content-Type: multipart/mixed\r\n\tboundary="b"\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--'
    assert parse(raw).text == "one\n\ntwo"
