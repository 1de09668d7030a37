"""Signals from mail text: which assets are mentioned, and what is said about them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import SignalStatus
from pipeline.core.asset_names import Asset, AssetIndex
from pipeline.core.extractions import Part
from pipeline.core.signals import TEXT_LIMIT
from pipeline.core.statuses import status_of
from tests.core.extracting import extract

BOUNDED = settings(max_examples=60, deadline=None)
DOWN, DEGRADED, ONLINE, UNKNOWN = SignalStatus.DOWN, SignalStatus.DEGRADED, SignalStatus.ONLINE, SignalStatus.UNKNOWN

INDEX = AssetIndex(
    [
        Asset(1, "AUS_0123", "South lot charger"),
        Asset(2, "AUS_0777", "North gate", ("the big gate",)),
        Asset(3, "D-12", "Main entrance door", ("Türe Süd",)),
    ]
)


def found(text: str, subject: str = "", index: AssetIndex = INDEX) -> dict[int, SignalStatus]:
    """What a mail tells, by asset."""
    return {extraction.asset_id: extraction.status for extraction in extract(subject, text, index)}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("The charger is dead", DOWN),
        ("The door won't latch", DOWN),
        ("The door won\N{RIGHT SINGLE QUOTATION MARK}t latch", DOWN),
        ("It does not start", DOWN),
        ("It is not\nworking", DOWN),
        ("It no longer works", DOWN),
        ("It refuses to open", DOWN),
        ("Unable to charge", DOWN),
        ("It stopped working", DOWN),
        ("Nothing works", DOWN),
        ("No power and no display", DOWN),
        ("Out of order since Monday", DOWN),
        ("It has not been fixed yet", DOWN),
        ("It is down again", DOWN),
        ("Why is it still down?", DOWN),
        ("It was working yesterday but now it's dead", DOWN),
        ("It was not working this morning", DOWN),
        ("Not sure what happened. Down since Monday", DOWN),
        ("Not only slow but dead", DOWN),
        ("Very slow since Monday", DEGRADED),
        ("The display flickers", DEGRADED),
        ("An intermittent fault", DEGRADED),
        ("It sometimes does not start", DEGRADED),
        ("It does not always open", DEGRADED),
        ("It isn't working properly", DEGRADED),
        ("It works but is slow", DEGRADED),
        ("It slowed down", DEGRADED),
        ("It is not down any more", ONLINE),
        ("It is working again", ONLINE),
        ("It charges again", ONLINE),
        ("It was dead yesterday, works today", ONLINE),
        ("Dead. It was replaced. Back online", ONLINE),
        ("It stopped flickering", ONLINE),
        ("The leak has been fixed", ONLINE),
        ("No fault found", ONLINE),
        ("Up and running", ONLINE),
        ("It needs to be fixed", UNKNOWN),
        ("Please let me know when it is back online", UNKNOWN),
        ("Make sure it is working by Friday", UNKNOWN),
        ("Is it down?", UNKNOWN),
        ("If it goes down call me", UNKNOWN),
        ("Please order online", UNKNOWN),
        ("We went down the street", UNKNOWN),
        ("The workshop slowness deadline", UNKNOWN),
        ("I cannot open the attachment", UNKNOWN),
        ("Hello there", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_sentences_tell_a_state(text, status):
    assert status_of(text) is status


@pytest.mark.parametrize(
    "spelling",
    ["AUS_0123", "aus-0123", "Aus 0123", "AUS0123", "(AUS_0123)", "AUS_0123:", "\N{LEFT DOUBLE QUOTATION MARK}aus_0123",
     "AUS_0123.jpg", "#AUS_0123", "south\nlot  charger", "South-Lot Charger"],
)  # fmt: skip
def test_spellings_of_a_name_are_one_asset(spelling):
    assert found(f"Hello, {spelling} is dead") == {1: DOWN}


@pytest.mark.parametrize(
    "text",
    ["XAUS_0123", "AUS_01234", "AUS_0123-7", "AUS_0123_b", "2-AUS_0123", "B_AUS_0123", "AUS. 0123", "AUS\n\n0123",
     "south, lot charger", "aus", "0123", "the entrance"],
)  # fmt: skip
def test_other_words_are_no_mention(text):
    assert found(f"Hello {text} is dead") == {}


def test_names_beyond_ascii_are_found():
    assert found("Die TÜRE süd is stuck") == {3: DOWN}


def test_the_longest_name_wins():
    index = AssetIndex([Asset(1, "AUS_1", "North gate"), Asset(2, "AUS_2", "North gate opener")])
    assert found("The north gate opener is dead", index=index) == {2: DOWN}


def test_what_two_assets_are_called_names_neither():
    index = AssetIndex([Asset(1, "AUS_1", "Front door"), Asset(2, "AUS_2", "front-door")])
    assert index.ambiguous == ("front door",)
    assert found("The front door is stuck", index=index) == {}
    assert found("AUS_2 is stuck", index=index) == {2: DOWN}


def test_a_tag_written_together_yields_to_an_asset_of_that_name():
    index = AssetIndex([Asset(1, "A-12", "One"), Asset(2, "A12", "Two")])
    assert found("A12 is dead, A-12 works", index=index) == {2: DOWN, 1: ONLINE}


def test_names_too_short_to_mean_anything_are_left_out():
    index = AssetIndex([Asset(1, "7", "TV", ("042", "", " ".join("abcdefghijklm")))])
    assert index.unusable == ("042", "7", "TV", "a b c d e f g h i j k l m")
    assert found("7 TV 042 is dead", index=index) == {}


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("aus-0123 is dead but AUS 0777 is online again.", {1: DOWN, 2: ONLINE}),
        ("AUS_0777 works again but AUS_0123 does not start", {2: ONLINE, 1: DOWN}),
        ("AUS_0123 and AUS_0777 are down", {1: DOWN, 2: DOWN}),
        ("Down: AUS_0123, AUS_0777", {1: DOWN, 2: DOWN}),
        ("dead: AUS_0123\nslow: AUS_0777", {1: DOWN, 2: DEGRADED}),
        ("AUS_0123 dead\nAUS_0777 slow\nmain entrance door works", {1: DOWN, 2: DEGRADED, 3: ONLINE}),
        ("- AUS_0123: dead\n- AUS_0777: slow\n- the main\nentrance door: works", {1: DOWN, 2: DEGRADED, 3: ONLINE}),
        ("AUS_0123 is dead. The weather is fine. AUS_0777 flickers.", {1: DOWN, 2: DEGRADED}),
    ],
)
def test_each_asset_has_its_own_state(text, states):
    assert found(text) == states


@pytest.mark.parametrize(
    ("subject", "text", "states"),
    [
        pytest.param("AUS_0123 down", "Please help.", {1: DOWN}, id="subject alone"),
        pytest.param("AUS_0123", "Good morning,\nit does not start.", {1: DOWN}, id="state in the text"),
        pytest.param("AUS_0123 is slow", "AUS_0123 is dead now.", {1: DOWN}, id="text before subject"),
        pytest.param("Re: AUS_0123 down", "Thanks, will look.", {1: UNKNOWN}, id="an answer's subject is old"),
        pytest.param("RE: AUS_0123 down", "It works again, thanks!", {1: ONLINE}, id="an answer's text is new"),
        pytest.param("", "AUS_0123 (south lot). It does not start.", {1: DOWN}, id="next sentence"),
        pytest.param("", "AUS_0123 was dead.\n\nAUS_0123 works again.", {1: ONLINE}, id="the last telling mention"),
        pytest.param("", "AUS_0123 is dead. Please look at AUS_0123.", {1: DOWN}, id="a mention that tells nothing"),
        pytest.param("Is AUS_0123 down?", "Please tell.", {1: UNKNOWN}, id="a question"),
    ],
)
def test_the_state_comes_from_the_nearest_words_that_tell_it(subject, text, states):
    assert found(text, subject) == states


@pytest.mark.parametrize(
    ("subject", "text", "states"),
    [
        pytest.param("", "> AUS_0123 is dead", {}, id="quoted line"),
        pytest.param("", "AUS_0777 is slow\n > AUS_0123 is dead\nbye", {2: DEGRADED}, id="quoted line between"),
        pytest.param("", "Thanks\n\nOn Mon, Bob <b@x> wrote:\nAUS_0123 is dead", {}, id="unmarked tail"),
        pytest.param("", "Thanks\nOn Mon, Bob Long Name\n<b@x.example> wrote:\nAUS_0123 is dead", {}, id="wrapped"),
        pytest.param("", "On Mon, Bob wrote:\n> AUS_0777?\nAUS_0123 is dead", {1: DOWN}, id="answer below a quote"),
        pytest.param("", "See below\n-----Original Message-----\nAUS_0123 is dead", {}, id="original message"),
        pytest.param("", "See below\n\nFrom: Bob\nSent: Monday\n\nAUS_0123 is dead", {}, id="header block"),
        pytest.param("FW: x", "FYI\n\nFrom: Bob\nSent: Monday\n\nAUS_0123 is dead", {1: DOWN}, id="forwarded"),
        pytest.param("", "On Monday Bob wrote: AUS_0123 is dead", {1: DOWN}, id="an ordinary sentence"),
    ],
)
def test_quoted_words_are_not_read(subject, text, states):
    assert found(text, subject) == states


def test_what_is_forwarded_with_marks_is_read_and_what_it_quotes_is_not():
    mail = (
        "FYI\n\nBegin forwarded message:\n\n> From: Tom <tom@tenants.example>\n> Subject: charger\n> Date: Monday\n>\n"
        "> Hi, AUS_0123 is dead.\n>\n> On Sun, Ann wrote:\n> > the big gate is slow\n"
    )
    assert found(mail, "Fwd: charger") == {1: DOWN}
    (extraction,) = extract("Fwd: charger", mail, INDEX)
    assert mail[extraction.span.start : extraction.span.end] == "AUS_0123"
    assert found(mail, "Re: charger") == {}


def test_an_extraction_points_at_its_words():
    subject, text = "Re: AUS_0777", "> old\nHello,\nthe South Lot charger is dead.\nBye"
    first, second = extract(subject, text, INDEX)
    assert (first.asset_id, first.part, subject[first.span.start : first.span.end]) == (2, Part.SUBJECT, "AUS_0777")
    assert (second.asset_id, second.part) == (1, Part.TEXT)
    assert text[second.span.start : second.span.end] == "South Lot charger"
    assert second.quote == "the South Lot charger is dead."


def test_positions_hold_where_lower_case_is_longer():
    text = "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 5 + " AUS_0123 is dead"
    (extraction,) = extract("", text, INDEX)
    assert text[extraction.span.start : extraction.span.end] == "AUS_0123"


def test_a_mail_is_read_to_its_limit():
    assert found("x " * (TEXT_LIMIT // 2 - 20) + "AUS_0123 is dead") == {1: DOWN}
    assert found("x " * (TEXT_LIMIT // 2) + "AUS_0123 is dead") == {}


def test_an_empty_index_finds_nothing():
    assert extract("AUS_0123", "is dead", AssetIndex([])) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("aus " * 16_000, id="first words"),
        pytest.param("AUS_0123 is dead. " * 4_000, id="mentions"),
        pytest.param("AUS_0123" + "\n " * 30_000, id="line ends"),
        pytest.param("On \n" * 15_000 + "wrote:\nAUS_0123", id="attributions"),
        pytest.param("From:\n" * 10_000 + "AUS_0123", id="header blocks"),
        pytest.param(">" * 60_000 + "\nAUS_0123", id="quote marks"),
        pytest.param("not " * 15_000 + "AUS_0123 down", id="negations"),
        pytest.param("\ud800AUS_0123\udfff", id="lone surrogates"),
    ],
)
def test_hostile_texts_are_read_to_the_end(text):
    assert set(found(text)) <= {1}


fragments = st.lists(
    st.sampled_from(
        ["AUS_0123", "aus 0777", "the main entrance door", "is", "not", "down", "working", "again", "slow", ". ", "\n",
         "> ", "On Mon, Bob wrote:", "?", "Türe", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "-", ":"]
    ),
    max_size=40,
).map(" ".join)  # fmt: skip


@BOUNDED
@given(fragments, fragments)
def test_extractions_are_one_per_asset_within_the_mail_and_repeatable(subject, text):
    extractions = extract(subject, text, INDEX)
    assert len({extraction.asset_id for extraction in extractions}) == len(extractions)
    for extraction in extractions:
        source = subject if extraction.part is Part.SUBJECT else text
        mention = source[extraction.span.start : extraction.span.end]
        assert mention.strip() == mention != ""
        assert " ".join(mention.split()) in extraction.quote
    assert extract(subject, text, INDEX) == extractions


@BOUNDED
@given(st.permutations([Asset(n, f"T-{n:03}", f"Door {n % 4}") for n in range(8)]), fragments)
def test_the_order_of_assets_does_not_matter(assets, text):
    text = f"{text} T-003 is dead, door 1 is slow"
    ordered = AssetIndex(sorted(assets, key=lambda asset: asset.asset_id))
    shuffled = AssetIndex(assets)
    assert extract("", text, shuffled) == extract("", text, ordered)
    assert (shuffled.ambiguous, shuffled.unusable) == (ordered.ambiguous, ordered.unusable)


@BOUNDED
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_read_without_an_error(subject, text):
    extract(subject, f"{text} AUS_0123 {text}", INDEX)
