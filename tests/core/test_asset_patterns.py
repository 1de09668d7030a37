"""Patterns of tags: what they find, and which are refused."""

from __future__ import annotations

import pytest

from models.enums import ExtractedBy
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.asset_patterns import pattern_mentions, tag_pattern
from pipeline.core.signals import Known
from tests.core.extracting import extract

INDEX = AssetIndex([Asset(1, "AUS_0123", "South lot"), Asset(2, "AUS_0777", "")])


def found(pattern: str, tag: str, text: str) -> list[tuple[int, str, str]]:
    known = Known(INDEX, (tag_pattern(pattern, tag),))
    return [
        (one.asset_id, one.extracted_by.value, text[one.span.start : one.span.end]) for one in extract("", text, known)
    ]


def test_a_pattern_finds_the_asset_whose_tag_its_groups_make():
    text = "ÜBER Charging Point #0123 and charging point 9999"
    assert found(r"charging point #?(\d{4})", r"AUS_\1", text) == [(1, "pattern", "Charging Point #0123")]
    assert found(r"pole (\d+)-(\d+)", r"AUS_\1\2", "pole 07-77 is dead") == [(2, "pattern", "pole 07-77")]
    assert found(r"0123|(x)", r"AUS_\0\1", "0123 is dead") == [(1, "pattern", "0123")]


def test_where_a_name_stands_the_name_counts():
    known = Known(INDEX, (tag_pattern(r"lot (AUS_0123)", r"AUS_0777"),))
    assert [(one.asset_id, one.extracted_by) for one in extract("", "south lot AUS_0123", known)] == [
        (1, ExtractedBy.NAME)
    ]


@pytest.mark.parametrize(
    ("pattern", "tag", "said"),
    [
        ("(", "x", "cannot be compiled"),
        (r"(a)\1", "x", "cannot be compiled"),
        ("a*", "x", "matches nothing at all"),
        ("a", " ", "the tag has 1 to 200 characters"),
        ("(a)", r"\2", "the tag names group 2, but the pattern has 1"),
        ("a" * 1_001, "x", "at most 1000 characters"),
        ("(a{1000}){1000}", "x", "cannot be compiled"),
        # What costs thousands of steps for each character, and what does not fit into RE2's memory backwards.
        ("([a-z]{1,500}[0-9]){2}", "x", "too large when compiled"),
        (r"\pL{40}", "x", "too large when compiled"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_in_words(pattern, tag, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        tag_pattern(pattern, tag)


def test_matches_of_one_pattern_are_bounded():
    known = Known(INDEX, (tag_pattern(r"\d", r"AUS_0777"),))
    assert [one.asset_id for one in extract("", "1 " * 30_000, known)] == [2]


def test_places_are_characters_whatever_stands_before_and_between():
    text = "ä€🙂 pole 1 é pole 2 🙂🙂 pole 3 is dead"
    mentions = pattern_mentions(text, [tag_pattern(r"pole \d", "AUS_0777")], INDEX)
    assert [text[one.start : one.end] for one in mentions] == ["pole 1", "pole 2", "pole 3"]


def test_a_match_of_nothing_names_nothing():
    assert found(r"\b", "AUS_0777", "everything is dead") == []


def test_patterns_are_searched_for_in_the_first_characters_of_a_mail():
    said = "pole 0123 is down"
    # The subject and two line ends stand before.
    last = 16_384 - len("pole 0123") - 2
    for before, expected in ((last, [1]), (last + 1, [])):
        known = Known(INDEX, (tag_pattern(r"pole (\d{4})", r"AUS_\1"),))
        assert [one.asset_id for one in extract("", "." * (before - 1) + " " + said, known)] == expected
