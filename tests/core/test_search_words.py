"""Words as they are searched: one form for mail and for questions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.search_words import LONGEST_WORD, fold, words


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("AUS_0123, AUS-0123 and aus 0123", "aus 0123 aus 0123 and aus 0123"),
        ("Müller's STRASSE", "muller s strasse"),
        ("Straße", "strasse"),
        ("İstanbul", "istanbul"),
        ("\u0131s\u0131", "isi"),
        ("Łódź, Ærøskøbing", "lodz aeroskobing"),
        ("ёлка Ёлка", "елка елка"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("한국어 검색", "한국어 검색"),
        ("हिन्दी भाषा", "हिन्दी भाषा"),
        ("السَّلَامُ", "السلام"),
        ("٣٤ and ۳۴", "34 and 34"),
        ("ﬁne ²", "fine 2"),
        ("a@b.example http://x.y/z?q=1", "a b example http x y z q 1"),
        ("-0123 +49 (0)30", "0123 49 0 30"),
        (" \t\n", ""),
    ],
)
def test_words_lose_accents_case_and_signs(said: str, found: str) -> None:
    assert words(said) == found


def test_a_word_without_an_end_is_cut() -> None:
    assert words("x" * 5_000 + " y") == "x" * LONGEST_WORD + " y"
    assert words("ü" * 5_000 + " y") == "u" * LONGEST_WORD + " y"


@given(st.text())
def test_folding_twice_is_folding_once(said: str) -> None:
    assert fold(fold(said)) == fold(said)
    assert words(words(said)) == words(said)


@given(st.text(max_size=200), st.integers(1, 60))
def test_words_keep_to_their_bytes_and_hold_only_letters_and_digits(said: str, limit: int) -> None:
    found = words(said, limit)
    assert len(found.encode()) <= limit
    assert not set(found) & set("'\"\\:*&|!<>()\x00_-.@/")
    assert "  " not in found


def test_marks_without_end_do_not_stop_the_search() -> None:
    hostile = "a" + "\u20d0\u1ab5" * 2_000
    marks = re.compile("[\u20d0\u1ab5]+")
    assert max(len(run) for run in marks.findall(fold(hostile))) <= 30
    assert fold(fold(hostile)) == fold(hostile)
    assert words("one" + "\u0316\u0301" * 100_000 + " two") == "one two"
