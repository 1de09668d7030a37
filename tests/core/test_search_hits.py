"""The piece of a text that answers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.search_hits import LENGTH, piece_of

_LONG = "nothing here at all. " * 60


def marked(text: str, *words: str) -> list[str]:
    found = piece_of(text, words)
    return [found.text[begin:end] for begin, end in found.marks]


def test_the_piece_with_the_most_words_is_shown_with_its_words_marked() -> None:
    text = f"{_LONG}a charger. {_LONG}The Müller charger\n\n does not start. {_LONG}"
    assert marked(text, "muller", "charger", "start") == ["Müller", "charger", "start"]


def test_words_are_found_as_they_were_written() -> None:
    assert marked("Straße ÄRGER 東京タワー", "strasse", "arger", "京") == ["Straße", "ÄRGER", "京"]


def test_a_star_marks_every_ending() -> None:
    assert marked("charge, charger, charging, discharge", "charg*") == ["charge", "charger", "charging"]


def test_a_text_without_the_words_shows_its_beginning() -> None:
    assert piece_of("Hello there. " + _LONG, ("zebra",)).text.startswith("Hello there.")
    assert piece_of("", ("zebra",)).text == ""


@given(st.text(), st.lists(st.text(min_size=1, max_size=3)))
def test_a_piece_is_one_bounded_line_and_its_marks_are_in_it(text: str, words: list[str]) -> None:
    found = piece_of(text, words)
    assert len(found.text) <= LENGTH
    assert "\n" not in found.text
    assert all(0 <= begin < end <= len(found.text) for begin, end in found.marks)
