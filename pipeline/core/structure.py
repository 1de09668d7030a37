"""From raw bytes to a tree of parts whose cost is bounded before it is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.feedparser import FeedParser
from email.message import Message
from email.policy import Policy, compat32
from typing import Any

from pipeline.core.flags import Flag
from pipeline.core.header_block import VALUE_LIMIT, bounded
from pipeline.core.words import unfold

FIELD_LIMIT = 2_050  # a cut header block holds up to 2,000 lines and some fields that are always kept
DELIMITER_LIMIT = 1_000
DEPTH_LIMIT = 50
LINE_LIMIT = 2_000_000
_LINE_STEPS = 10_000_000  # the feed parser tests each line against every open boundary
_STRUCTURE_LENGTH = 8_192
_PARAMETER_LIMIT = 200  # the standard parameter parser is quadratic in them
_SECTIONS = 5_000
_SECTION_LENGTH = 4_194_304

_STRUCTURAL = frozenset({"content-type", "content-disposition"})
_UNJOINED = re.compile(r"(multipart/[\w.+-]+)\s+(?=boundary\s*=)", re.IGNORECASE)
_LONG_INDEX = re.compile(r"\*\d{4,}")
_TOKEN = re.compile(r"[\w.+-]+")
_BOUNDARY = re.compile(rb'boundary(\*[^=\s]*)?\s*=\s*(?:"((?:[^"\\\r\n]|\\.)*+)"|([^\s;"]++))', re.IGNORECASE)
_DASHED = re.compile(rb"(?:^|(?<=[\r\n]))--[^\r\n]*+")


class Part(Message):
    """One part: header items bounded as they arrive; message/* stays one opaque leaf, whatever it holds."""

    _payload: str | list[Message] | None  # where the feed parser keeps the undecoded text

    def __init__(self, policy: Policy = compat32) -> None:
        super().__init__(policy=policy)
        self.truncated = False
        self.items_seen: list[tuple[str, str]] = []
        #: The whole undecoded payload when it is too long to stand in the tree (`pipeline.core.large`).
        self.pieces: Sequence[bytes | memoryview] | None = None
        self._content: dict[str, str] = {}
        self._type: str | None = None

    def set_raw(self, name: str, value: str) -> None:
        """Store one header item as the feed parser read it, within the limits for number and length."""
        if len(self.items_seen) >= FIELD_LIMIT:
            self.truncated = True
            return
        if name[:8].lower() == "content-":
            lowered = name.lower()
            if lowered in _STRUCTURAL:
                value = _bounded_parameters(value)
            self._content.setdefault(lowered, value)
            super().set_raw(name, value)
            self._type = None
        if len(value) > VALUE_LIMIT:
            value, self.truncated = value[:VALUE_LIMIT], True
        self.items_seen.append((name, value))

    def get_content_type(self) -> str:
        """Return the type by which the tree is built: that of an opaque leaf for message/*."""
        if self._type is None:
            declared = self.declared_type()
            self._type = "application/octet-stream" if declared.startswith("message/") else declared
        return self._type

    def get_content_maintype(self) -> str:
        """Return what stands before the slash of the type by which the tree is built."""
        return self.get_content_type().partition("/")[0]

    def declared_type(self) -> str:
        """Return the type the sender declared, lower case; what makes no sense is text/plain (RFC 2045 5.2)."""
        if "content-type" not in self._content:
            return self.get_default_type()
        declared = self._content["content-type"].partition(";")[0].strip().lower()
        return declared if declared.count("/") == 1 else "text/plain"

    def get_boundary(self, failobj: Any = None) -> Any:
        """Return the boundary; none when the parameter cannot be decoded."""
        try:
            return super().get_boundary(failobj)
        except (LookupError, UnicodeError, ValueError, TypeError):  # a made-up charset in an RFC 2231 value
            return failobj

    def parameters(self, name: str) -> dict[str, str | tuple[str | None, str | None, str]]:
        """Return the parameters of one structural field by lower-case name, values raw or as RFC 2231 triples."""
        if ";" not in self._content.get(name, ""):
            return {}
        try:
            pairs = self.get_params([], header=name)
        except (LookupError, UnicodeError, ValueError, TypeError):
            return {}
        return {key.lower(): value for key, value in reversed(pairs[1:])}

    def token(self, name: str) -> str:
        """Return the leading word of a content field in lower case, "" when there is none."""
        found = _TOKEN.match(self._content.get(name, "").strip())
        return found[0].lower() if found else ""

    def content_id(self) -> str:
        """Return the raw Content-ID, "" when there is none."""
        return self._content.get("content-id", "")

    def leaf_text(self) -> str:
        """Return the undecoded payload of a leaf: ASCII, with surrogates for eight-bit bytes."""
        if self.pieces is not None:
            return b"".join(self.pieces).decode("ascii", "surrogateescape")
        return self._payload if isinstance(self._payload, str) else ""

    def children(self) -> list[Part]:
        """Return the parts inside a container, none for a leaf."""
        held = self._payload if isinstance(self._payload, list) else []
        return [child for child in held if isinstance(child, Part)]


def read(raw: bytes, whole: bytes | None = None) -> tuple[Part, frozenset[Flag]]:
    """Return the tree of a mail and what had to be left out to keep its cost linear.

    Beyond a nesting of 50, 1,000 boundary lines or 2,000,000 lines only the header and the first text part are kept.
    Boundaries are declared in the `whole` mail, when `raw` is what was left of it.
    """
    raw, body_at, shortened = bounded(raw.removeprefix(b"\xef\xbb\xbf"))
    flags = {Flag.HEADER_TRUNCATED} if shortened else set()
    if b"multipart/" not in raw[:body_at].lower():
        root = _single(raw, body_at)
    elif (excess := _excess(raw, whole)) is not None:
        flags.add(excess)
        root = _first_text(raw, body_at, whole)
    else:
        root = _tree(raw)
        if root.is_multipart() and not any(part.leaf_text() for part, _ in leaves(root)):
            root = _first_text(raw, body_at, whole)  # its boundaries contradict each other
    return root, frozenset(flags | {Flag.HEADER_TRUNCATED} if root.truncated else flags)


def leaves(root: Part) -> Iterator[tuple[Part, bool]]:
    """Yield the leaves in order, each with whether a container above it is an attachment as a whole."""
    stack = [(root, False)]
    while stack:
        part, attached = stack.pop()
        children = part.children()
        if not children:
            yield part, attached
            continue
        attached = attached or part.token("content-disposition") == "attachment"
        stack.extend((child, attached) for child in reversed(children))


def containers(root: Part) -> Iterator[Part]:
    """Yield the multipart containers, outermost first."""
    stack = [root]
    while stack:
        part = stack.pop()
        children = part.children()
        if children:
            yield part
            stack.extend(reversed(children))


def _tree(raw: bytes) -> Part:
    parser = FeedParser(Part)
    parser.feed(raw.decode("ascii", "surrogateescape"))
    return parser.close()


def _single(raw: bytes, body_at: int) -> Part:
    """Return one part without looking for parts in it: only its header passes the feed parser, line by line."""
    part = _tree(raw[:body_at])
    part.set_payload(part.leaf_text() + raw[body_at:].decode("ascii", "surrogateescape"))
    return part


def _excess(raw: bytes, whole: bytes | None) -> Flag | None:
    lines = raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
    if lines > LINE_LIMIT:
        return Flag.TOO_MANY_LINES
    dashed = raw.count(b"\n--") + raw.count(b"\r--")
    multiparts = raw.lower().count(b"multipart/")
    if dashed <= DELIMITER_LIMIT and multiparts <= DEPTH_LIMIT and lines * multiparts <= _LINE_STEPS:
        return None
    delimiters, depth = _delimiters(raw, whole, multiparts)
    if depth > DEPTH_LIMIT:
        return Flag.TOO_DEEP
    if delimiters > DELIMITER_LIMIT:
        return Flag.TOO_MANY_PARTS
    return Flag.TOO_MANY_LINES if lines * depth > _LINE_STEPS else None


def _delimiters(raw: bytes, whole: bytes | None, multiparts: int) -> tuple[int, int]:
    """Return the number of boundary lines and an upper bound of the nesting."""
    names, encoded = declared(whole or raw)
    count = 0
    open_at: dict[bytes, int] = {}
    stack: list[bytes] = []
    deepest = multiparts if encoded else 0
    for dashed in _DASHED.finditer(raw):
        line = dashed[0][2:].rstrip(b" \t")
        ends = line not in names and line.endswith(b"--") and line[:-2] in names
        if not encoded and not ends and line not in names:
            continue
        count += 1
        name = line[:-2] if ends else line
        if name in open_at:
            for closed in stack[open_at[name] :]:
                del open_at[closed]
            del stack[len(open_at) :]
        if not ends:
            open_at[name] = len(stack)
            stack.append(name)
            deepest = max(deepest, len(stack))
    return count, deepest


def declared(raw: bytes) -> tuple[set[bytes], bool]:
    """Return every boundary that a mail may declare, and whether one of them is encoded (RFC 2231)."""
    names: set[bytes] = set()
    encoded = False
    for found in _BOUNDARY.finditer(raw):
        encoded = encoded or found[1] is not None
        names.add((found[3] or re.sub(rb"\\(.)", rb"\1", found[2] or b"")).rstrip())
    return names, encoded


def _first_text(raw: bytes, body_at: int, whole: bytes | None) -> Part:
    """Return the header with the first text part (plain before HTML) of the first 5,000 sections as its only leaf."""
    root = _single(raw[:body_at], body_at)
    names, encoded = declared(whole or raw)
    fallback: Part | None = None
    for section in _sections(raw, names, any_dashed=encoded):
        header, text_at, _ = bounded(section)
        part = _single(header, text_at)
        if part.token("content-disposition") == "attachment" or not part.leaf_text().strip():
            continue
        if part.get_content_type() == "text/plain":
            root.set_payload([part])
            return root
        if fallback is None and part.get_content_type() == "text/html":
            fallback = part
    root.set_payload([fallback] if fallback else "")
    return root


def _sections(raw: bytes, names: set[bytes], *, any_dashed: bool) -> Iterator[bytes]:
    start: int | None = None
    seen = 0
    for dashed in _DASHED.finditer(raw):
        line = dashed[0][2:].rstrip(b" \t")
        if not any_dashed and line not in names and line.removesuffix(b"--") not in names:
            continue
        if start is not None:
            yield raw[start : min(dashed.start(), start + _SECTION_LENGTH)].removesuffix(b"\n").removesuffix(b"\r")
        seen += 1
        if seen > _SECTIONS:
            return
        start = dashed.end() + (2 if raw.startswith(b"\r\n", dashed.end()) else 1)
    if start is not None:
        yield raw[start : start + _SECTION_LENGTH]


def _bounded_parameters(value: str) -> str:
    """Make a structural field cheap and safe for the standard parameter parser."""
    value = value[:_STRUCTURE_LENGTH]
    if not value.isascii():
        value, _ = unfold(value)
    if value.count(";") > _PARAMETER_LIMIT:
        value = ";".join(value.split(";", _PARAMETER_LIMIT + 1)[: _PARAMETER_LIMIT + 1])
    if "*" in value:
        value = _LONG_INDEX.sub("*0", value)
    return _UNJOINED.sub(r"\1; ", value, count=1)
