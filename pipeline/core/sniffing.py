"""What a file is by its content, whatever its sender calls it.

The table is our own, because it decides what may be shown inside a page and what must not be opened unwarned; the
libraries that guess types by magic bytes know no scripts and shortcuts, and call plain words a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.signatures import (
    ALIASES,
    BINARY,
    BY_EXTENSION,
    DANGEROUS,
    HOLDERS,
    INLINE,
    MARKUP,
    RUN_BY_NAME,
    SAYS_NOTHING,
    WORDS,
)

#: Bytes from the beginning of a file that decide.
REACH = 65_536
_TEXT_REACH = 1_024
_OCTETS = "application/octet-stream"

_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
#: One piece of what may stand before the first tag. Taken piece by piece: possessive groups that have to go back are
#: matched wrongly now and then before Python 3.11.5.
_STUFFING = re.compile(
    rb"\s+|<!--.*?-->|<\?xml[^>]{0,200}\?>|<!doctype(?! html)[^>]{0,500}>", re.IGNORECASE | re.DOTALL
)
_MIMETYPE_MEMBER = re.compile(rb"mimetype(application/[a-z0-9.+-]{3,80}?)(?=PK|$)")
_HTML_APPLICATION = re.compile(rb"<hta:application\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Verified:
    """The type to store, whether the declared one contradicted the content, and whether opening the file runs it."""

    content_type: str
    is_mismatch: bool
    is_dangerous: bool


def may_show_inline(sniffed: str | None) -> bool:
    """Say whether a browser may show the content itself: png, jpeg, gif, webp and pdf, as `sniff` calls them.

    SVG and HTML never are (reliability, section 4). A stored `content_type` of these names was verified by `verify`.
    """
    return sniffed in INLINE


def verify(declared: str, filename: str, content: bytes) -> Verified:
    """Compare the declared type (lower case) with the content; its first 64 KB are enough.

    A plausible declaration stays, in its registered spelling. A type that says nothing becomes what the content is,
    else what the name says. A contradicted one becomes what the content is; a picture or PDF whose content is
    nothing of the kind becomes application/octet-stream, so that a stored picture type is always true.
    """
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    sniffed = sniff(content)
    named = ALIASES.get(declared, declared)
    if declared.startswith("message/"):
        return Verified(declared, is_mismatch=False, is_dangerous=False)
    is_dangerous = sniffed in DANGEROUS or (extension in RUN_BY_NAME and _runs_by_name(extension, sniffed))
    if named in SAYS_NOTHING:
        return Verified(_by_name(extension, sniffed), is_mismatch=False, is_dangerous=is_dangerous)
    if _is_plausible(named, sniffed):
        return Verified(named, is_mismatch=False, is_dangerous=is_dangerous)
    return Verified(sniffed or _OCTETS, is_mismatch=bool(content), is_dangerous=is_dangerous)


def sniff(content: bytes) -> str | None:
    """Return what the content is by its first bytes: "text/plain" for text of no kind we know, None when unsure."""
    head = content[:REACH]
    for magic, offset, content_type, look in BINARY:
        if head.startswith(magic, offset) and (look is None or look(head)):
            return _REFINED[content_type](head) if content_type in _REFINED else content_type
    return _words(head) or _plain(head) or ("application/pdf" if b"%PDF-" in head[:_TEXT_REACH] else None)


def _words(head: bytes) -> str | None:
    """Return the kind of text that begins with a known word or tag, after white space and comments."""
    start = head.removeprefix(b"\xef\xbb\xbf")
    if start.startswith(b"#!") and b"/" in start[2:_TEXT_REACH].partition(b"\n")[0]:
        return "application/x-shellscript"
    at = 0
    while (piece := _STUFFING.match(start, at)) is not None:
        at = piece.end()
    lowered = start[at : at + _TEXT_REACH].lower()
    for tag, content_type in MARKUP:
        if lowered.startswith(tag) and not lowered[len(tag) : len(tag) + 1].isalnum():
            return _html(head) if content_type == "text/html" else content_type
    if start.lstrip()[:5].lower() == b"<?xml":
        return "application/xml"
    first = start.lstrip()[:40].upper()
    return next((content_type for word, content_type in WORDS if first.startswith(word)), None)


def _html(head: bytes) -> str:
    return "application/hta" if _HTML_APPLICATION.search(head) else "text/html"


def _plain(head: bytes) -> str | None:
    """Return "text/plain" for UTF-8 without control characters, or UTF-16 that says so."""
    sample = head[:_TEXT_REACH]
    if not sample.strip():
        return None
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text/plain" if len(sample) > 3 else None
    if sample != sample.translate(None, _CONTROLS):
        return None
    try:
        sample[: len(sample) - 4 if len(sample) == _TEXT_REACH else len(sample)].decode()
    except UnicodeDecodeError as error:
        return "text/plain" if error.end >= len(sample) - 4 and error.start > 0 else None
    return "text/plain"


def _zip(head: bytes) -> str:
    """Tell the formats that are archives inside, by the names of their members."""
    first = head[30:94]
    if (found := _MIMETYPE_MEMBER.match(first)) is not None:
        return found[1].decode("ascii")
    if b"META-INF/MANIFEST.MF" in head[:4_096]:
        return "application/java-archive"
    if b"AndroidManifest.xml" in head:
        return "application/vnd.android.package-archive"
    if first.startswith((b"[Content_Types].xml", b"_rels/", b"docProps/")):
        return next((content_type for folder, content_type in HOLDERS if folder in head), "application/zip")
    return "application/zip"


def _cafebabe(head: bytes) -> str:
    """Java classes and universal Mach-O programs share their magic; a class has a version of at least 45 there."""
    return "application/java-vm" if int.from_bytes(head[6:8]) >= 45 else "application/x-mach-binary"


_REFINED: dict[str, Callable[[bytes], str]] = {"application/zip": _zip, "application/java-vm": _cafebabe}


def _runs_by_name(extension: str, sniffed: str | None) -> bool:
    """Text and unknown bytes run by their name; archives and documents under such a name do not."""
    return sniffed in {None, "text/plain", "text/html", "application/xml"} or extension == "msi"


def _by_name(extension: str, sniffed: str | None) -> str:
    named = BY_EXTENSION.get(extension)
    if named and _is_plausible(named, sniffed):
        return named
    return sniffed or _OCTETS


def _is_plausible(named: str, sniffed: str | None) -> bool:
    """Say whether content that is `sniffed` may be called `named`."""
    if sniffed == named:
        return True
    main = named.partition("/")[0]
    if sniffed is None:
        return named not in INLINE
    rule = _PLAUSIBLE.get(sniffed, _archives if sniffed.startswith(_ARCHIVES) else None)
    return rule is not None and rule(named, main)


def _any_application(named: str, main: str) -> bool:
    return main == "application" and named not in _SIGNED


def _archives(named: str, main: str) -> bool:
    return named == "application/zip" or _any_application(named, main)


def _texts(named: str, main: str) -> bool:
    return main in {"text", "message"} or _any_application(named, main) or named.startswith("image/x-x")


def _markup(named: str, main: str) -> bool:
    return main == "text" or named.endswith("+xml") or named in {"application/xml", "application/xhtml"}


def _media(named: str, main: str) -> bool:
    return main in {"audio", "video"} or named in {"application/ogg", "application/mp4"}


_PLAUSIBLE: dict[str, Callable[[str, str], bool]] = {
    "text/plain": _texts,
    "text/html": _markup,
    "image/svg+xml": _markup,
    "application/xml": lambda named, main: _markup(named, main) or _texts(named, main),
    "application/zip": _any_application,
    "application/java-archive": _archives,
    "application/vnd.android.package-archive": _archives,
    "application/x-ole-storage": _any_application,
    "application/gzip": _any_application,
    "application/postscript": _any_application,
    "application/vnd.microsoft.portable-executable": lambda named, _: named.startswith("application/x-ms"),
    "application/x-shellscript": lambda named, main: main == "text" or named.startswith("application/x-"),
    "text/calendar": _texts,
    "text/vcard": _texts,
    **dict.fromkeys(("video/mp4", "audio/mpeg", "application/ogg", "video/webm", "audio/x-wav"), _media),
}
#: Formats that are zip archives inside.
_ARCHIVES = ("application/vnd.openxmlformats-", "application/vnd.oasis.", "application/epub")
#: Types that must have their own signature: content that begins otherwise is something else.
_SIGNED = frozenset({content_type for _, _, content_type, _ in BINARY} - {"application/x-ole-storage"}) | INLINE
