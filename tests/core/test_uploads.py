"""What may be uploaded: told by content, whatever it is called, with words for everything that may not."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pipeline.core import exif, uploads
from pipeline.core.picture_sizes import Size, size_of
from pipeline.core.uploads import Code, Kind, Position, Refused, examine
from tests.adapters.pdfs import pdf
from tests.adapters.pictures import HTML, archive, encoded, gif, halves, jpeg_of, photo, png
from tests.core.test_sniffing import DOCX, EXE, JAR, LNK, OLE

_PDF = pdf("Receipt")
_GOOD = {
    "image/jpeg": photo(),
    "image/png": encoded(halves(), "PNG"),
    "image/webp": encoded(halves(), "WEBP"),
    "image/gif": gif(1),
    "application/pdf": _PDF,
    "text/plain": "Two screws, ü and a page\f break.\r\n".encode(),
}


def refused(content: bytes, declared: str = "") -> Refused:
    found = examine(content, declared)
    assert isinstance(found, Refused), found
    return found


@pytest.mark.parametrize("kind", _GOOD)
@pytest.mark.parametrize("declared", ["", "its own", "application/octet-stream"])
def test_a_kind_is_known_by_its_content_and_its_type_may_only_confirm_it(kind: str, declared: str) -> None:
    found = examine(_GOOD[kind], f"{kind}; charset=utf-8".upper() if declared == "its own" else declared)
    assert isinstance(found, Kind)
    assert found.content_type == kind


def test_other_spellings_of_a_type_confirm_it() -> None:
    assert isinstance(examine(_GOOD["image/jpeg"], "image/pjpeg"), Kind)
    assert isinstance(examine(_PDF, "application/x-pdf"), Kind)


@pytest.mark.parametrize(
    ("kind", "declared"),
    [
        ("image/jpeg", "image/png"),
        ("image/png", "image/jpeg"),
        ("image/gif", "application/pdf"),
        ("application/pdf", "image/jpeg"),
        ("text/plain", "text/html"),
        ("text/plain", "application/javascript"),
        ("image/jpeg", "application/x-www-form-urlencoded"),
        ("image/jpeg", "x" * 500),
    ],
)
def test_a_type_that_contradicts_the_content_is_refused(kind: str, declared: str) -> None:
    found = refused(_GOOD[kind], declared)
    assert found.code is Code.TYPE_MISMATCH
    assert kind in found.said
    assert len(found.said) < 200


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>",
        b"\xef\xbb\xbf \n<!-- nothing --><svg/>",
        b"<!--" + b" " * 70_000 + b"--><svg/>",
        HTML,
        b"<!doctype html><p>",
        b"<?php system($_GET[0]);",
        b"<anything/>",
        b"#!/bin/sh\nrm -rf /\n",
        b"BEGIN:VCARD\nVERSION:4.0\nEND:VCARD\n",
        archive(),
        *(DOCX, EXE, JAR, LNK, OLE),
        b"\x7fELF\2\1\1\0",
        b"%!PS-Adobe-3.0 EPSF\n",
        b"{\\rtf1 hello}",
        b"II*\0\x08\0\0\0",
        b"\1\2\3\4 of no kind",
    ],
)
def test_what_is_no_picture_document_or_text_is_refused_whatever_it_is_called(content: bytes) -> None:
    for declared in ("", "image/jpeg", "text/plain"):
        assert refused(content, declared).code is Code.TYPE_NOT_ALLOWED


def test_a_heic_picture_is_refused_with_what_to_do() -> None:
    found = refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic")
    assert found.code is Code.TYPE_NOT_ALLOWED
    assert "Most Compatible" in found.said


def test_nothing_and_too_much_are_refused() -> None:
    assert refused(b"").code is Code.EMPTY
    limits = uploads.Limits(file_bytes=1_048_576)
    assert isinstance(examine(b"a" * 1_048_576, "", limits), Kind)
    found = examine(b"a" * 1_048_577, "", limits)
    assert found == Refused(Code.TOO_LARGE, "the file is larger than 1 MB: send a smaller one")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (_PDF + HTML, "something else"),
        (_PDF + archive(), "something else"),
        (_PDF.replace(b"%%EOF", b"") + archive()[:-2] + b"\x06\0\n%%EOF", "something else"),
        (b"junk\0" + _PDF, "something else"),
        (_PDF[: len(_PDF) // 2], "cut off"),
        (b"%PDF-9.9\n%%EOF", "cut off"),
    ],
)
def test_a_pdf_that_is_something_else_too_or_half_is_refused(content: bytes, what: str) -> None:
    found = refused(content)
    assert found.code is Code.UNREADABLE
    assert what in found.said


def test_a_pdf_may_end_in_blank_bytes_and_speak_of_archives() -> None:
    assert isinstance(examine(_PDF + b"\r\n\0\0 ", ""), Kind)
    assert isinstance(examine(_PDF.replace(b"endobj", b"endobj %PK\x05\x06", 1), ""), Kind)


@pytest.mark.parametrize(
    "content", [b"a" * 2_000 + b"\0", b"a" * 2_000 + b"\x1b[2J", b"a" * 2_000 + b"\xff", b"\xff\xfea\0"]
)
def test_text_is_clean_to_its_end(content: bytes) -> None:
    assert refused(content).code is Code.UNREADABLE


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (png(50_000, 50_000), (50_000, 50_000)),
        (jpeg_of(9_000, 5_000), (9_000, 5_000)),
        (b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0", (65_535, 65_535)),
        (b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2, (16_384, 16_384)),
        (b"RIFF\x20\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + struct.pack("<I", 0x0FFFFFFF), (16_384, 16_384)),
        (b"RIFF\x20\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x3FFF, 0x3FFF), (16_383, 16_383)),
        (png(30_001, 1), (30_001, 1)),
    ],
)
def test_a_picture_with_too_many_pixels_is_refused_by_its_header(content: bytes, size: tuple[int, int]) -> None:
    found = refused(content)
    assert found.code is Code.TOO_MANY_PIXELS
    assert f"{size[0]} x {size[1]}" in found.said


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_a_header_says_the_size_that_the_library_sees(form: str, options: dict[str, Any]) -> None:
    content = encoded(Image.new("RGB", (321, 123)), form, **options)
    assert size_of(f"image/{form.lower()}", content) == Size(321, 123)


@pytest.mark.parametrize(
    "content",
    [
        png(0, 5),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000,
        b"\xff\xd8\xff\xe0\0\0" * 3,
        b"GIF89a",
        b"RIFF\x20\0\0\0WEBPVP8X",
        b"RIFF\x20\0\0\0WEBPABCD" + b"\0" * 40,
    ],
)
def test_a_picture_without_a_size_is_refused(content: bytes) -> None:
    assert refused(content).code is Code.UNREADABLE


_HEADS = st.sampled_from([content[:40] for content in _GOOD.values()] + [b"%PDF-1.7\n", b"\xff\xd8\xff", b"", b"PK"])


@given(_HEADS, st.binary(max_size=400), st.text(max_size=40))
@example(b"\xff\xd8\xff", b"\xff" * 300, "image/jpeg")
def test_whatever_comes_is_taken_or_refused_in_one_sentence(head: bytes, rest: bytes, declared: str) -> None:
    found = examine(head + rest, declared)
    assert isinstance(found, Kind) or (found.code in Code and 10 < len(found.said) < 250)


_MOMENT = datetime(2026, 5, 1, 8, 11, 12, tzinfo=UTC)
_SATELLITE = {7: (8, 11, Fraction(125, 10)), 29: "2026:05:01"}


@pytest.mark.parametrize(
    ("tags", "gps", "moment"),
    [
        ({0x9003: "2026:05:01 10:11:12", 0x9011: "+02:00"}, {}, _MOMENT),
        ({0x9003: b"2026:05:01 03:11:12\0", 0x9011: "-05:00\0junk"}, {}, _MOMENT),
        ({0x9003: "2026:05:01 08:11:12", 0x9011: "Z"}, {}, _MOMENT),
        ({0x9003: "2026:05:01 10:11:12"}, _SATELLITE, _MOMENT),
        ({0x9003: "2026:05:01 10:11:12"}, {}, None),
        ({0x9003: "2026:13:01 10:11:12", 0x9011: "+02:00"}, {}, None),
        ({0x9003: "0001:01:01 00:00:00", 0x9011: "+14:00"}, {}, None),
        ({0x9003: 7, 0x9011: ()}, {7: (25, 0, 0), 29: "2026:05:01"}, None),
        ({}, {7: (1, 2), 29: "2026:05:01"}, None),
        ({}, {7: (1, 2, 3), 29: "yesterday"}, None),
    ],
)
def test_a_photo_tells_when_it_was_taken_where_it_knows_a_zone(tags: Any, gps: Any, moment: datetime | None) -> None:
    assert exif.taken_at(tags, gps) == moment


class _NoNumber:
    """A rational over zero, as a library has it."""

    def __float__(self) -> float:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("gps", "place"),
    [
        ({1: "N", 2: (48, 8, 14), 3: "W", 4: (11, 34, 32)}, Position(48.137222, -11.575556)),
        ({1: b"S\0", 2: (48, 8.5, 0), 3: "E", 4: (11, 0, 0)}, Position(-48.141667, 11.0)),
        ({1: "N", 2: (0, 0, 0), 3: "E", 4: (0, 0, 0)}, None),
        ({1: "N", 2: (91, 0, 0), 3: "E", 4: (11, 0, 0)}, None),
        ({1: "N", 2: (-1, 0, 0), 3: "E", 4: (11, 0, 0)}, None),
        ({1: "", 2: (48, 0, 0), 3: "E", 4: (11, 0, 0)}, None),
        ({1: "N", 2: (float("nan"), 0, 0), 3: "E", 4: (11, 0, 0)}, None),
        ({1: "N", 2: (_NoNumber(), 0, 0), 3: "E", 4: (11, 0, 0)}, None),
        ({1: "N", 2: (48, 0), 3: "E", 4: "far"}, None),
        ({}, None),
    ],
)
def test_a_photo_tells_where_it_was_taken_if_that_is_on_earth(gps: Any, place: Position | None) -> None:
    assert exif.position(gps) == place


_anything = st.one_of(st.none(), st.text(), st.binary(), st.floats(), st.integers(), st.tuples(*[st.floats()] * 3))
_tags = st.dictionaries(st.sampled_from([1, 2, 3, 4, 7, 29, 0x9003, 0x9011]), _anything)


@given(_tags, _tags)
def test_no_tag_makes_the_reading_fail(tags: Any, gps: Any) -> None:
    exif.taken_at(tags, gps)
    exif.position(gps)
