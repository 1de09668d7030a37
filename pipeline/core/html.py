"""HTML bodies: a small safe subset to show, and plain text to read and search."""

from __future__ import annotations

import re
from html import unescape

import nh3

HTML_LIMIT = 1_048_576  # characters
# An HTML5 parser is quadratic in the nesting depth and in the attributes of one tag; in small sources it hardly shows.
_SMALL = 32_768
_DEPTH_LIMIT = 512

_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_TAGS = frozenset(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "center",
        "code",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
    ]
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title", "width", "height"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align"},
    "ol": {"start"},
}
_DROPPED = frozenset({"script", "style", "title", "noscript", "template", "iframe", "object", "svg", "math", "head"})
_LINKS = ("http:", "https:", "mailto:")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_ANY_TAG = re.compile(r"<[^>]*>?")
_BREAKS = re.compile(r"<(?:br|/?(?:" + "|".join(sorted(_BLOCKS - {"p", "blockquote"})) + r"))>")
_PARAGRAPHS = re.compile(r"</?(?:p|blockquote)>")
_CELLS = re.compile(r"</t[dh]>")
_BLANKS = re.compile(r"[ \t\r\f\v\xa0]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
_PREFORMATTED = re.compile(r"(<pre>.*?</pre>)", re.DOTALL)
# 300 attributes in one tag, by the rules of the HTML5 tokeniser; possessive, so linear.
_CROWDED = re.compile(
    r"""<[a-zA-Z][^\s/>]*+(?:[\s/]*+=?+[^\s/>=]++(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"']*+))?+){300}"""
)
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
)
_CLOSES_ITSELF = frozenset(["p", "li", "td", "th", "tr", "dd", "dt", "option", "tbody", "thead", "tfoot"])


def _attribute(_tag: str, name: str, value: str) -> str | None:
    if name == "href":
        return value if value.lstrip().lower().startswith(_LINKS) else None
    if name == "src":
        return value if value.lstrip().lower().startswith("cid:") else None
    return value


_SANITISER = nh3.Cleaner(
    tags=set(_TAGS),
    attributes=_ATTRIBUTES,
    attribute_filter=_attribute,
    clean_content_tags=set(_DROPPED),
    url_schemes={"http", "https", "mailto", "cid"},
    url_relative="deny",
)
_SKELETON = nh3.Cleaner(
    tags=set(_BLOCKS | {"br", "td", "th"}), attributes={}, clean_content_tags=set(_DROPPED), link_rel=None
)


def sanitise(source: str) -> tuple[str, bool]:
    """Return the safe subset of `source` and whether it was cut to 1 MB.

    Kept: links, basic text, lists, headings, tables, code, rules, images. Links lead to http, https or mailto; images
    are parts of the same mail (cid). HTML nested deeper than 512 keeps its text only.
    """
    cut = len(source) > HTML_LIMIT
    kept = bounded(source)
    safe = _SANITISER.clean(kept)
    while len(safe) > HTML_LIMIT:  # escaping made it longer
        cut = True
        kept = kept[: len(kept) // 2]
        safe = _SANITISER.clean(kept)
    return safe, cut


def to_text(source: str) -> str:
    """Return what a reader sees of `source`, with the line breaks of its blocks; scripts and styles are gone."""
    pieces = _PREFORMATTED.split(_SKELETON.clean(bounded(source)))
    skeleton = "".join(piece if index % 2 else piece.replace("\n", " ") for index, piece in enumerate(pieces))
    lines = _PARAGRAPHS.sub("\n\n", _CELLS.sub(" ", _BREAKS.sub("\n", skeleton)))
    text = unescape(_ANY_TAG.sub("", lines))
    trimmed = "\n".join(_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    return _EMPTY_LINES.sub("\n\n", trimmed).strip()


def bounded(source: str) -> str:
    """Return at most 1 MB of `source`, without its tags when they nest too deep for a tree."""
    source = source[:HTML_LIMIT]
    if len(source) <= _SMALL or (not _CROWDED.search(source) and _depth(source) <= _DEPTH_LIMIT):
        return source
    return _ANY_TAG.sub(" ", source)


def _depth(source: str) -> int:
    """Return an upper bound of the nesting: an end tag counts only when it closes the tag opened last."""
    tags = [(bool(slash), name.lower()) for slash, name in _TAG.findall(source)]
    foreign = any(name in {"svg", "math"} for _, name in tags)
    uncounted = _VOID if foreign else _VOID | _CLOSES_ITSELF
    open_tags: list[str] = []
    deepest = 0
    for closes, name in tags:
        if name in uncounted:
            continue
        if not closes:
            open_tags.append(name)
            deepest = max(deepest, len(open_tags))
        elif open_tags and open_tags[-1] == name:
            open_tags.pop()
    return deepest
