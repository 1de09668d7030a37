"""Quotations that HTML marks and its text would hide: the text with "> " before each line of them."""

from __future__ import annotations

import re

from pipeline.core import html

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: no mail means anything by them
_BLOCKQUOTE = re.compile(r"<blockquote\b([^>]{0,500})>|</blockquote\s{0,20}>", re.IGNORECASE)
# A block quote is also how people indent; mail programs name theirs.
_OF_A_MAIL = re.compile(
    r"type\s?=\s?[\"']?cite|gmail_quote|yahoo_quoted|protonmail_quote|zmail_extra|tutanota_quote", re.IGNORECASE
)


def marked_text(source: str) -> str | None:
    """Return the text of `source` with its quotations marked, None when it marks none."""
    if "<blockquote" not in source and "<BLOCKQUOTE" not in source:
        return None
    signed, any_quoted = _signed(source[: html.HTML_LIMIT].replace(_OPEN, "").replace(_CLOSE, ""))
    return _prefixed(html.to_text(signed)) if any_quoted else None


def _signed(source: str) -> tuple[str, bool]:
    """Return the source with a sign where a quotation begins and ends."""
    out: list[str] = []
    is_quoted: list[bool] = []
    position, any_quoted = 0, False
    for tag in _BLOCKQUOTE.finditer(source):
        out.append(source[position : tag.start()])
        position = tag.end()
        if tag[1] is not None:
            is_quoted.append(_OF_A_MAIL.search(tag[1]) is not None)
            any_quoted |= is_quoted[-1]
            out.append(tag[0] + (_OPEN if is_quoted[-1] else ""))
        else:
            out.append((_CLOSE if is_quoted and is_quoted.pop() else "") + tag[0])
    out.append(source[position:])
    return "".join(out), any_quoted


def _prefixed(text: str) -> str:
    depth = 0
    lines: list[str] = []
    for line in text.split("\n"):
        opened = line.count(_OPEN)
        quoted = depth > 0 or opened > 0
        depth = max(0, depth + opened - line.count(_CLOSE))
        plain = line.replace(_OPEN, "").replace(_CLOSE, "").strip()
        lines.append(f"> {plain}".rstrip() if quoted else plain)
    return "\n".join(lines)
