"""Charsets, cleaning and one-line forms."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import text


@given(st.text(alphabet=st.characters(exclude_categories=())))
@settings(deadline=None)
def test_clean_text_has_neither_nul_nor_surrogates_and_keeps_its_length(value: str) -> None:
    cleaned = text.clean(value)
    assert "\x00" not in cleaned
    assert not any("\ud800" <= character <= "\udfff" for character in cleaned)
    assert len(cleaned) == len(value)
    cleaned.encode()
    json.loads(json.dumps(cleaned, ensure_ascii=False))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("plain", "plain"), ("a\x00b", "a\ufffdb"), ("\ud83d\udc4d", "\ufffd\ufffd"), ("é\x00", "é\ufffd"), ("👍", "👍")],
)
def test_clean_replaces_only_what_storage_refuses(raw: str, expected: str) -> None:
    assert text.clean(raw) == expected


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("utf-8", "grüße".encode(), "grüße"),
        ("UTF8", "grüße".encode(), "grüße"),
        ('"utf-8"', "grüße".encode(), "grüße"),
        ("iso-8859-1", b"it\x92s", "it\u2019s"),
        ("latin1", b"\x81", "\x81"),
        ("iso-8859-15", b"\xa4", "\u20ac"),
        ("windows-1251", "привет".encode("cp1251"), "привет"),
        ("koi8-r", "привет".encode("koi8-r"), "привет"),
        ("gb2312", "镕基".encode("gb18030"), "镕基"),
        ("ks_c_5601-1987", "안녕".encode("cp949"), "안녕"),
        ("Shift_JIS", "①日本".encode("cp932"), "①日本"),
        ("iso-2022-jp", "日本語".encode("iso2022_jp"), "日本語"),
        ("big5", "中文".encode("big5"), "中文"),
        ("utf-16", "hé".encode("utf-16"), "hé"),
        ("us-ascii", b"plain", "plain"),
        (None, b"plain", "plain"),
    ],
)
def test_a_declared_charset_is_believed_when_it_fits(charset: str | None, data: bytes, expected: str) -> None:
    assert text.decode(data, charset) == (expected, False)


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        (None, "grüße".encode(), "grüße"),
        ("unknown-8bit", "grüße".encode(), "grüße"),
        ("unknown-8bit", b"gr\xfc\xdfe", "grüße"),
        ("us-ascii", b"it\x92s", "it\u2019s"),
        (None, b"\x81\x8d", "\x81\x8d"),
        ("utf-8", b"gr\xfc\xdfe", "grüße"),
        ("utf-8", "ein größeres Stück".encode() + b"\xe2\x82", "ein größeres Stück\ufffd"),
        ("rot13", b"hello", "hello"),
        ("zip", b"hello", "hello"),
        ("idna", b"\xff", "ÿ"),
        ("unicode_escape", b"\\u0041", "\\u0041"),
        ("undefined", b"hello", "hello"),
        ("x-no-such-thing", "ä".encode(), "ä"),
        ("utf-16", b"plain ASCII", "plain ASCII"),
        ("big5", "中文中文".encode("big5") + b"\xff", "中文中文\ufffd"),
    ],
)
def test_a_charset_that_does_not_fit_is_guessed_and_said_so(charset: str | None, data: bytes, expected: str) -> None:
    assert text.decode(data, charset) == (expected, True)


@given(st.binary(max_size=200), st.sampled_from([None, "", "rot13", "\x00", *sorted(text._CODECS)]))
@settings(deadline=None)
def test_decoding_never_fails(data: bytes, charset: str | None) -> None:
    decoded, _ = text.decode(data, charset)
    text.clean(decoded).encode()


def test_every_charset_on_the_list_has_a_codec() -> None:
    for codec in set(text._CODECS.values()):
        "".encode(codec)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Broken  pump", "broken pump"),
        ("Re: Broken pump", "broken pump"),
        ("RE: Fwd: re: Broken pump", "broken pump"),
        ("Re[2]: FW: Broken pump", "broken pump"),
        ("re (3) : Broken\tpump ", "broken pump"),
        ("AW: SV: Broken pump", "broken pump"),
        ("Re\uff1a Broken pump", "broken pump"),
        ("Re:Re:Re:", ""),
        ("Report: pump", "report: pump"),
        ("Reply needed", "reply needed"),
        ("Pump: re: broken", "pump: re: broken"),
        ("", ""),
    ],
)
def test_reply_prefixes_and_white_space_leave_the_subject(subject: str, expected: str) -> None:
    assert text.subject_norm(subject) == expected


@given(st.text(max_size=60))
@settings(deadline=None)
def test_a_reply_has_the_normalised_subject_of_its_original(subject: str) -> None:
    assert text.subject_norm(f"Re: {subject}") == text.subject_norm(subject)


def test_the_snippet_is_one_line_of_280_characters() -> None:
    assert text.snippet("Hello\n\n  world", "subject") == "Hello world"
    assert len(text.snippet("word " * 1000, "")) <= 280
    assert text.snippet(" \n ", "The subject") == "The subject"


def test_one_line_drops_controls_and_direction_overrides() -> None:
    assert text.one_line("a\r\nb\x07\u202ec\u2066d") == "a b c d"


def test_line_ends_become_line_feeds() -> None:
    assert text.plain_lines("\ufeffa\r\nb\rc\n") == "a\nb\nc\n"


def longest_run(value: str) -> int:
    """Return how many marks stand side by side at most: sorting them is quadratic in that."""
    runs = groupby(value, key=lambda character: unicodedata.combining(character) != 0)
    return max((len(list(run)) for is_mark, run in runs if is_mark), default=0)


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFKD"])
@pytest.mark.parametrize(
    "marks", ["\u0316\u0301", "\u0301\uff9e\u0316", "\u0f73\u0301", "\u0344\u0316", "\u20d0\u1ab5", "\U0001d165\u0301"]
)
def test_marks_without_end_are_split_in_every_form(form: text.Form, marks: str) -> None:
    found = text.normalised("a" + marks * 2_000 + "b", form)
    assert longest_run(unicodedata.normalize(form, found)) <= 70
    apart = unicodedata.normalize("NFKD", found)
    assert (apart[0], apart[-1]) == ("a", "b")
    assert len(apart) >= len(marks) * 2_000


def test_no_mark_is_lost_and_thirty_are_left_as_they_are() -> None:
    thirty = "q" + "\u0316\u0301" * 15
    assert text.normalised(thirty) == unicodedata.normalize("NFC", thirty)
    found = text.normalised(thirty + "\u0316\u0301" * 15)
    assert found.count("\u034f") == 1
    assert (found.count("\u0316"), found.count("\u0301")) == (30, 30)


@pytest.mark.parametrize("value", ["a\x00", "a\nb", "a\x7f", "a\x85", "\ud83d"])
def test_a_name_with_a_control_character_or_half_a_pair_is_not_writable(value: str) -> None:
    assert not text.is_writable(value)
    assert text.is_writable("Kälte & Klima 👍")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_text_that_people_write_gets_the_normal_form_of_the_standard(value: str) -> None:
    for form in ("NFC", "NFKC", "NFKD"):
        if re.search(r"[^\w\s]{30}", value) is None:
            assert text.normalised(value, form) == unicodedata.normalize(form, value)


def test_every_mark_there_is_counts_as_one() -> None:
    """A mark is what begins with a non-starter when it is taken apart; a run of any must be split."""
    missed = []
    for code in range(sys.maxunicode + 1):
        apart = unicodedata.normalize("NFKD", chr(code))
        if unicodedata.combining(apart[0]) and "\u034f" not in text.normalised(chr(code) * 40, "NFKD"):
            missed.append(hex(code))
    assert missed == []


def test_whatever_is_decoded_has_no_endless_marks() -> None:
    hostile = "a" + "\u0316\u0301" * 2_000
    for charset in ("utf-8", None, "x-unknown"):
        assert longest_run(text.decode(hostile.encode(), charset)[0]) <= 30
