"""Header fields: addresses, ids, dates, encoded words, file names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import addresses, headers, words
from pipeline.core.filenames import display_name, made_up_name
from pipeline.core.mime import parse


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann@example.org", [("ann@example.org", "")]),
        ("<ANN@Example.ORG>", [("ann@example.org", "")]),
        ("Ann Miller <ann@example.org>", [("ann@example.org", "Ann Miller")]),
        ('"Miller, Ann" <ann@example.org>', [("ann@example.org", "Miller, Ann")]),
        ('"Ann \\"Boss\\" Miller" <a@e.org>', [("a@e.org", 'Ann "Boss" Miller')]),
        ("ann@example.org (Ann Miller)", [("ann@example.org", "Ann Miller")]),
        ("a@e.org, B <b@e.org>,,c@e.org", [("a@e.org", ""), ("b@e.org", "B"), ("c@e.org", "")]),
        ("a@e.org; b@e.org", [("a@e.org", ""), ("b@e.org", "")]),
        ("team: a@e.org, b@e.org;", [("a@e.org", ""), ("b@e.org", "")]),
        ("undisclosed-recipients:;", []),
        ("ann@e.org <ann@e.org>", [("ann@e.org", "")]),
        ("'ann@e.org' <'ann@e.org'>", [("ann@e.org", "")]),
        ("=?utf-8?q?M=C3=BCller=2C_Ann?= <a@e.org>", [("a@e.org", "Müller, Ann")]),
        ('"=?utf-8?q?M=C3=BCller?=" <a@e.org>', [("a@e.org", "Müller")]),
        ("<mailto:a@e.org>", [("a@e.org", "")]),
        ('<"a b"@e.org>', []),
        ('<"a.b"@e.org>', [('"a.b"@e.org', "")]),
        ("root", [("root", "")]),
        ("@e.org, a@, <>", []),
        ("Evil\u202ename <a@e.org>", [("a@e.org", "Evil name")]),
        (f"{'a' * 400}@e.org", []),
        ("", []),
    ],
)
def test_addresses_are_read_as_people_write_them(value: str, expected: list[tuple[str, str]]) -> None:
    found, cut = addresses.read([value])
    assert [(person.address, person.name) for person in found] == expected
    assert not cut


@given(st.text(alphabet=[*'<>()@,;:"\\ab. =?\t'], max_size=60))
@settings(deadline=None)
def test_no_address_field_breaks_the_reader(value: str) -> None:
    for person in addresses.read([value])[0]:
        assert person.address == person.address.lower()
        assert not any(character.isspace() for character in person.address)


@pytest.mark.parametrize(
    "value", ["(" * 50_000, "a:" * 30_000, "<" * 60_000, '"' * 60_001, " " * 60_000 + "x <", "a," * 30_000 + ":"]
)
def test_pathological_address_fields_end(value: str) -> None:
    assert len(addresses.read([value])[0]) <= 2_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a@b>", "<a@b>"),
        (" <a@b> (added by postmaster@b)", "<a@b>"),
        ("a@b", "<a@b>"),
        ("<a@b", "<a@b>"),
        ("< a@b >", "<a@b>"),
        ("<a\r\n b@c>", "<ab@c>"),
        ("20260304 05:06 AM", "<2026030405:06AM>"),
        ("<CaseMatters@B>", "<CaseMatters@B>"),
        ("", None),
        ("<>", None),
        (f"<{'x' * 8000}@b>", f"<{'x' * 996}>"),
    ],
)
def test_a_message_id_is_found_in_what_mailers_write(value: str, expected: str | None) -> None:
    parsed = parse(f"Message-ID: {value}\r\nX: y\r\n\r\n.".encode())
    assert parsed.message_id == expected
    assert ("no_message_id" in parsed.flags) == (expected is None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a@b> <c@d>", ("<a@b>", "<c@d>")),
        ("<a@b>,<c@d>\r\n\t<e@f>", ("<a@b>", "<c@d>", "<e@f>")),
        ("<a@b><a@b>", ("<a@b>",)),
        ("a@b c@d", ("<a@b>", "<c@d>")),
        ("<a@b> (see <x@y>)", ("<a@b>",)),
        ('Your message of "Mon, 1 Jan 2026" <a@b>', ("<a@b>",)),
        ("Message from Bob of Monday", ()),
        ("Your message to bob@example.org of Monday", ()),
        ("<this is no id>", ()),
        ("<a@b", ("<a@b>",)),
        ("", ()),
    ],
)
def test_only_ids_count_in_reply_fields(value: str, expected: tuple[str, ...]) -> None:
    raw = f"In-Reply-To: {value}\r\nReferences: {value}\r\nX: y\r\n\r\n.".encode()
    parsed = parse(raw)
    assert parsed.in_reply_to == expected
    assert parsed.references == expected


def test_of_many_references_the_first_twenty_and_the_last_eighty_stay() -> None:
    ids = [f"<{n}@x>" for n in range(150)]
    assert headers.message_ids([" ".join(ids)]) == (*ids[:20], *ids[-80:])
    assert headers.message_ids([" ".join(ids[:100])]) == tuple(ids[:100])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Wed, 4 Mar 2026 05:06:07 +0100", datetime(2026, 3, 4, 4, 6, 7, tzinfo=UTC)),
        ("4 Mar 2026 05:06 GMT", datetime(2026, 3, 4, 5, 6, tzinfo=UTC)),
        ("Wed, 4 Mar 2026 05:06:07", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("Wed, 4 Mar 2026 05:06:07 -0000", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("Wed, 4 Mar 2026 23:59:60 -0500 (EST)", datetime(2026, 3, 5, 4, 59, 59, tzinfo=UTC)),
        ("2026-03-04T05:06:07Z", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2026-03-04T05:06:07+02:00", datetime(2026, 3, 4, 3, 6, 7, tzinfo=UTC)),
        ("Wed, 4 Mar 2026 05:06:07 +9999", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("Wed, 31 Feb 2026 05:06:07 +0000", None),
        ("Wed, 4 Mar 2026 25:06:07 +0000", None),
        ("Wed, 4 Mar 1969 05:06:07 +0000", None),
        ("Wed, 4 Mar 9001 05:06:07 +0000", None),
        ("Wed, 4 Mar 99999999999999999999 05:06:07 +0000", None),
        ("Whenever", None),
    ],
)
def test_dates_are_read_tolerantly_and_stored_in_utc(value: str, expected: datetime | None) -> None:
    parsed = parse(f"Date: {value}\r\n\r\n.".encode())
    assert parsed.date == expected
    assert ("bad_date" in parsed.flags) == (expected is None)


def test_an_absent_date_is_no_bad_date() -> None:
    parsed = parse(b"Subject: x\r\n\r\n.")
    assert parsed.date is None
    assert "bad_date" not in parsed.flags


@given(st.text(max_size=80))
@settings(deadline=None)
def test_no_date_breaks_the_reader(value: str) -> None:
    found = headers.parse_date(value)
    assert found is None or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=?utf-8?q?caf=C3=A9?=", "café"),
        ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
        ("a =?utf-8?q?b?= c", "a b c"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?=\t=?iso-8859-1?q?=E9?=", "aé"),
        ("=?utf-8?b?w6Q=?=text=?utf-8?b?w6Q=?=", "ätextä"),
        ("=?utf-8?b?ww==?= =?utf-8?b?pA==?=", "ä"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
        ("=?utf-8*en?q?a_b?=", "a b"),
        ("=?iso-8859-1?q?what?s_up?=", "what?s up"),
        ("=?rot13?q?hello?=", "hello"),
        ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        ("=?utf-8?q?a=0D=0AX-Injected: b?=", "a X-Injected: b"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
    ],
)
def test_encoded_words_are_decoded(value: str, expected: str) -> None:
    assert words.header(value)[0] == expected


def test_raw_eight_bit_headers_are_decoded_and_guesses_flagged() -> None:
    parsed = parse("Subject: Grüße\r\n\r\n.".encode())
    assert parsed.subject == "Grüße"
    assert "charset_guessed" in parsed.flags
    assert parse(b"Subject: Gr\xfc\xdfe\r\n\r\n.").subject == "Grüße"


def test_headers_keep_every_value_in_order_under_lower_case_names() -> None:
    parsed = parse(b"Received: one\r\n  folded\r\nX-A: =?utf-8?q?=C3=A4?=\r\nRECEIVED: two\r\n\r\n.")
    assert parsed.headers == {"received": ("one folded", "two"), "x-a": ("ä",)}


def test_the_first_of_two_subjects_counts() -> None:
    assert parse(b"Subject: one\r\nSubject: two\r\n\r\n.").subject == "one"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\photo.jpg", "photo.jpg"),
        ("a\x00b\x1f.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        (" . ", ""),
        ("..", ""),
        ("/", ""),
        ("folder/", "folder"),
        ("x" * 5000 + ".pdf", "x" * 146 + ".pdf"),
        ("x" * 5000, "x" * 150),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_a_display_name_is_harmless(name: str, expected: str) -> None:
    assert display_name(name) == expected


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
@settings(deadline=None)
def test_a_display_name_is_always_short_printable_and_storable(name: str) -> None:
    shown = display_name(name)
    assert len(shown) <= 150
    assert not set(shown) & set("/\\\x00\r\n\u202e")
    shown.encode()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("image/png", "part-3.png"),
        ("image/jpeg", "part-3.jpg"),
        ("message/rfc822", "part-3.eml"),
        ("application/x-unheard-of-thing", "part-3.bin"),
        ("../../x/y", "part-3.bin"),
    ],
)
def test_a_made_up_name_says_number_and_kind(content_type: str, expected: str) -> None:
    assert made_up_name(3, content_type) == expected


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        ("attachment; filename*=utf-8''na%C3%AFve.txt", "naïve.txt"),
        ("attachment; filename*0*=utf-8''na%C3; filename*1*=%AFve; filename*2=.txt", "naïve.txt"),
        ('attachment; filename="=?utf-8?q?na=C3=AFve.txt?="', "naïve.txt"),
        ('attachment; filename="=?utf-8?q?=2e=2e=2fx?="', "x"),
        ('attachment; filename="a;b.txt"', "a;b.txt"),
        ("attachment; filename*=undefined''x%ff", "xÿ"),
        ("attachment; filename*99999999999999999999=x", "x"),
        ("attachment; filename=", "part-1.bin"),
        ("attachment" + ";" * 8000, "part-1.bin"),
        ('attachment; filename="Grüße.txt"', "Grüße.txt"),
    ],
)
def test_file_names_are_decoded_in_every_spelling(disposition: str, expected: str) -> None:
    raw = f"Content-Type: application/octet-stream\r\nContent-Disposition: {disposition}\r\n\r\nx".encode()
    assert [attachment.filename for attachment in parse(raw).attachments] == [expected]
