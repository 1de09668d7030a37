"""HTML bodies: the safe subset and the text in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import html


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>Hi <b>you</b></p>", "<p>Hi <b>you</b></p>"),
        ("<script>alert(1)</script>ok", "ok"),
        ("<style>p{}</style>ok", "ok"),
        ('<p onclick="x()" style="color:red" class="a" id="b">ok</p>', "<p>ok</p>"),
        ('<a href="javascript:alert(1)">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href=" JaVaScript:alert(1)">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href="data:text/html,x">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href="/relative">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href="cid:part">x</a>', '<a rel="noopener noreferrer">x</a>'),
        ('<a href="https://e.org/">x</a>', '<a href="https://e.org/" rel="noopener noreferrer">x</a>'),
        ('<a href="mailto:a@e.org">x</a>', '<a href="mailto:a@e.org" rel="noopener noreferrer">x</a>'),
        ('<img src="cid:logo@e.org" alt="Logo">', '<img src="cid:logo@e.org" alt="Logo">'),
        ('<img src="https://track.example/p.gif">', "<img>"),
        ('<img src="data:image/png;base64,AAAA" onerror="x()">', "<img>"),
        ("<iframe src='https://e.org'></iframe><form><input></form>ok", "ok"),
        ("<svg><script>1</script></svg>ok", "ok"),
        ("a<!-- comment -->b", "ab"),
        ("<pre><code>x &lt; y</code></pre><hr>", "<pre><code>x &lt; y</code></pre><hr>"),
    ],
)
def test_only_the_safe_subset_stays(source: str, expected: str) -> None:
    assert html.sanitise(source) == (expected, False)


def test_lists_headings_and_tables_stay() -> None:
    source = '<h1>T</h1><ul><li>a</li></ul><table><tbody><tr><td colspan="2">c</td></tr></tbody></table>'
    assert html.sanitise(source)[0] == source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<div>one</div><div>two</div>", "one\n\ntwo"),
        ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ("one\n   two", "one two"),
        ("<head><title>T</title><style>x{}</style></head><body>text<script>1</script></body>", "text"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<pre>line 1\nline 2</pre>", "line 1\nline 2"),
        ("&lt;b&gt; &amp; &eacute;&nbsp;x", "<b> & é x"),
        ('<a href="https://e.org" title="a > b">link</a>', "link"),
        ('<img src="cid:x">', ""),
        ("", ""),
    ],
)
def test_the_text_of_html_keeps_its_line_breaks(source: str, expected: str) -> None:
    assert html.to_text(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 200_000 + "deep",
        "<div></x>" * 100_000 + "deep",
        "<div><table></div></table>" * 40_000 + "deep",
        "<svg><td>" * 100_000 + "</x>" * 100_000 + "deep",
        "<a " + " ".join(f"a{n}" for n in range(100_000)) + ">deep</a>",
        "<a " + "".join(f'a{n}=">"' for n in range(80_000)) + ">deep</a>",
    ],
    ids=["nesting", "false end tags", "end tags out of scope", "foreign", "attributes", "quoted attributes"],
)
def test_html_that_would_take_quadratic_time_is_read_without_its_tags(source: str) -> None:
    assert "<" not in html.bounded(source)
    assert "<" not in html.sanitise(source)[0]


def test_ordinary_long_html_keeps_its_tags() -> None:
    source = "<table><tr><td><p>cell<br>more</td></tr></table>" * 2_000
    assert html.bounded(source) == source


def test_html_is_cut_at_one_megabyte_also_when_escaping_makes_it_longer() -> None:
    for source in ("x" * 2_000_000, "&" * 1_000_000):
        safe, cut = html.sanitise(source)
        assert cut
        assert len(safe) <= html.HTML_LIMIT


PIECES = [*"<>/=\"' &;!-abp\n", "<div>", "<a href=", "<img src=", "javascript:", "<script>", "</", "cid:", "on=x"]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@settings(deadline=None)
def test_no_input_yields_script_handlers_or_foreign_images(source: str) -> None:
    safe, _ = html.sanitise(source)
    tags = re.findall(r"<([a-z0-9]+)([^>]*)>", safe)
    assert {name for name, _ in tags} <= html._TAGS
    for _, attributes in tags:
        names = re.findall(r' ([^=\s"]+)="', attributes)
        assert set(names) <= {"href", "src", "alt", "title", "width", "height", "rel"}
        assert 'href="javascript:' not in attributes
        assert 'src="' not in attributes or 'src="cid:' in attributes
