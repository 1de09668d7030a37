"""The sender's own words told apart from quotes and signatures, measured on labelled samples."""

# ruff: noqa: RUF001 - words of other scripts are what it holds

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.mime import parse
from pipeline.core.quotes import Split, split
from pipeline.core.reply_words import is_forward_subject
from tests.core.reply_samples import SAMPLES, Sample


def lines(heap: str) -> Counter[str]:
    return Counter(line.strip() for line in heap.split("\n") if line.strip())


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_the_labelled_samples_are_told_apart(sample: Sample):
    found = split(sample.text, is_forward=sample.is_forward)
    heaps = {"f": found.fresh, "q": found.quoted, "s": found.signature}
    assert {kind: lines(heap) for kind, heap in heaps.items()} == {kind: Counter(sample.lines(kind)) for kind in heaps}


def test_the_figures_over_the_labelled_samples_are_printed_and_kept():
    right, found, true = Counter[str](), Counter[str](), Counter[str]()
    for sample in SAMPLES:
        told = split(sample.text, is_forward=sample.is_forward)
        for kind, heap in (("fresh", told.fresh), ("quoted", told.quoted), ("signature", told.signature)):
            got, want = lines(heap), Counter(sample.lines(kind[0]))
            right[kind] += (got & want).total()
            found[kind] += got.total()
            true[kind] += want.total()
    for kind in right:
        print(f"{kind}: precision {right[kind] / found[kind]:.4f}, recall {right[kind] / true[kind]:.4f}, {true[kind]}")
        assert right[kind] / found[kind] >= 0.99
        assert right[kind] / true[kind] >= 0.98


PIECES = st.sampled_from(
    [
        "", " ", "-- ", "--", "> quoted", ">> deeper", "From: Ann <a@x.example>", "Sent: Monday", "To: b@x.example",
        "Subject: x", "-----Original Message-----", "---------- Forwarded message ---------", "Hello",
        "On Wed, 4 Mar 2026 at 05:06, Ann <a@x.example> wrote:", "Ann wrote:", "Sent from my iPhone", "_" * 40,
        "This mail is confidential and intended only for the addressee.", "unsubscribe here", "\x00", "\t",
    ]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=40), max_size=40), st.booleans())
def test_no_line_is_lost_and_no_text_becomes_empty(pieces: list[str], is_forward: bool):
    text = "\n".join(pieces)
    found = split(text, is_forward=is_forward)
    assert lines(found.fresh) + lines(found.quoted) + lines(found.signature) == lines(text)
    assert bool(found.fresh.strip()) == bool(text.strip())
    assert (found.fresh == text) or found.quoted or found.signature


@given(st.lists(PIECES | st.text(max_size=40), max_size=40))
def test_what_stays_fresh_keeps_its_order(pieces: list[str]):
    text = "\n".join(pieces)
    remaining = iter(text.split("\n"))
    assert all(line in remaining for line in split(text).fresh.split("\n") if line)


@pytest.mark.parametrize(
    "line",
    [
        "On x", "wrote:", "a wrote: ", "From: a", "From: a@x.example", "-", "-- ", ">", "> ", "Am 1.1.2026 schrieb",
        "confidential", "_" * 60, "unsubscribe", "Sent from my iPhone", "-----Original Message-----", "AB>",
        ":", "<blockquote>", "schrieb a b c d e f g h", "x@", "On 1:23 <a@b>:",
    ],
)  # fmt: skip
def test_a_million_characters_of_bait_end(line: str):
    for text in (f"{line}\n" * (1_000_000 // (len(line) + 1)), f"{line} " * (1_000_000 // (len(line) + 1))):
        found = split(text)
        assert lines(found.fresh) + lines(found.quoted) + lines(found.signature) == lines(text)


def test_a_text_without_quotes_is_returned_as_it_is():
    assert split("  Hi\n\n\nbye \n") == Split("  Hi\n\n\nbye \n")


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Fwd: Pump", True),
        ("FW: Pump", True),
        ("WG: Pumpe", True),
        ("TR : Pompe", True),
        ("RV: Bomba", True),
        ("I: Pompa", True),
        ("ENC: Bomba", True),
        ("VS: Pumppu", True),
        ("转发：泵", True),
        ("Re: Fwd: Pump", False),
        ("AW: WG: Pumpe", False),
        ("Information: Pump", False),
        ("Trip: Pump", False),
        ("Pump", False),
    ],
)
def test_the_outermost_prefix_tells_a_forward(subject: str, expected: bool):
    assert is_forward_subject(subject) is expected


def _html(body: str, subject: str = "Re: Pump") -> bytes:
    return (
        f"From: bob@acme.example\nSubject: {subject}\nContent-Type: text/html; charset=utf-8\n\n<html><body>{body}"
    ).encode()


@pytest.mark.parametrize(
    "quote",
    [
        (
            '<div class="gmail_quote"><div dir="ltr" class="gmail_attr">On Wed, 4 Mar 2026 at 05:06, Ann &lt;<a '
            'href="mailto:a@x.example">a@x.example</a>&gt; wrote:<br></div><blockquote class="gmail_quote" '
            'style="margin:0"><div>It stands still.</div><p>Please come.</p></blockquote></div>'
        ),
        (
            '<div class="moz-cite-prefix">Am 04.03.26 um 05:06 schrieb Ann:<br></div><blockquote type="cite" '
            'cite="mid:1@x"><p>It stands still.</p><blockquote type="cite">Which one?</blockquote></blockquote>'
        ),
        "<blockquote TYPE=cite><div>On 4 Mar 2026, at 05:06, Ann &lt;a@x.example&gt; wrote:</div><br>Old</blockquote>",
        (
            '<div style="border-top:solid #E1E1E1 1.0pt"><p><b>From:</b> Ann &lt;a@x.example&gt;<br><b>Sent:</b> Monday'
            "<br><b>To:</b> Bob<br><b>Subject:</b> Pump</p></div><p>It stands still.</p>"
        ),
        (
            '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>Von:</b> Ann &lt;a@x.example&gt;<br>'
            "<b>Gesendet:</b> Montag<br><b>An:</b> Bob<br><b>Betreff:</b> Pumpe</div><div>Sie steht.</div>"
        ),
    ],
)
def test_quotes_that_only_html_marks_are_found(quote: str):
    parsed = parse(_html(f"<p>We come today.</p>{quote}"))
    assert parsed.fresh == "We come today."
    assert "html_only" in parsed.flags
    assert len(parsed.text) > len(parsed.fresh)


def test_an_answer_between_html_quotes_stays_fresh():
    parsed = parse(
        _html(
            '<blockquote type="cite">Which?</blockquote><p>The third.</p><blockquote type="cite">When?</blockquote>Now.'
        )
    )
    assert parsed.fresh == "The third.\n\nNow."


def test_an_indented_paragraph_is_no_quote():
    parsed = parse(_html("<p>It says</p><blockquote>no pressure</blockquote><p>since Monday.</p>"))
    assert parsed.fresh == parsed.text
    assert "no pressure" in parsed.fresh


def test_html_that_is_all_quote_stays_whole():
    parsed = parse(_html('<blockquote type="cite">Old words</blockquote>'))
    assert parsed.fresh == parsed.text == "Old words"


@given(st.text(max_size=300))
def test_marks_inside_html_are_no_marks_of_ours(body: str):
    parsed = parse(_html(f'\ue000\ue001<blockquote type="cite">{body}</blockquote></blockquote>x'))
    assert bool(parsed.fresh.strip()) == bool(parsed.text.strip())
