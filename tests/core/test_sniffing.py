"""What a file is by its content, and which of its sender's words are believed."""

from __future__ import annotations

import base64
import io
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.core.sniffing import Verified, may_show_inline, sniff, verify

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
EXE = b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff" + b"\0" * 46 + b"\x40\0\0\0PE\0\0"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
LNK = b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + b"\0" * 40


def archive(*names: str, first: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, first)
    return file.getvalue()


DOCX = archive("[Content_Types].xml", "word/document.xml")
ODT = archive("mimetype", "content.xml", first=b"application/vnd.oasis.opendocument.text")
JAR = archive("META-INF/MANIFEST.MF", "A.class")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a\1\0", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/x-wav"),
        (PDF, "application/pdf"),
        (b"\0\1junk" + PDF, "application/pdf"),
        (EXE, "application/vnd.microsoft.portable-executable"),
        (b"MZ are two letters of my name.", "text/plain"),
        (b"\x7fELF\2\1\1\0", "application/x-elf"),
        (b"\xcf\xfa\xed\xfe\7\0\0\1", "application/x-mach-binary"),
        (b"\xca\xfe\xba\xbe\0\0\0\x41", "application/java-vm"),
        (b"\xca\xfe\xba\xbe\0\0\0\2", "application/x-mach-binary"),
        (LNK, "application/x-ms-shortcut"),
        (OLE, "application/x-ole-storage"),
        (archive("a.txt"), "application/zip"),
        (DOCX, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (ODT, "application/vnd.oasis.opendocument.text"),
        (JAR, "application/java-archive"),
        (b"#!/bin/sh\nrm -rf /\n", "application/x-shellscript"),
        (b"#!not a path", "text/plain"),
        (b"<!DOCTYPE html><p>", "text/html"),
        (b"\xef\xbb\xbf \n<!-- hidden -->\n<script>", "text/html"),
        (b"<HTML><hta:application id=x>", "application/hta"),
        (b"<html lang=de>", "text/html"),
        (b"<htmlish>", "text/plain"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "image/svg+xml"),
        (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "a" "b"><svg>', "image/svg+xml"),
        (b'<?xml version="1.0"?><order/>', "application/xml"),
        (b"BEGIN:VCALENDAR\r\nVERSION:2.0", "text/calendar"),
        (b"begin:vcard\r\n", "text/vcard"),
        (b"{\\rtf1 hello}", "application/rtf"),
        ("Grüße, 今日は".encode(), "text/plain"),
        ("Grüße, 今日は".encode("utf-16"), "text/plain"),
        (("ü" * 600).encode(), "text/plain"),
        (b"\0\1\2\3", None),
        (b"", None),
    ],
)
def test_content_tells_its_type(content: bytes, expected: str | None):
    assert sniff(content) == expected


@pytest.mark.parametrize(
    ("declared", "filename", "content", "expected"),
    [
        ("image/png", "a.png", PNG, Verified("image/png", False, False)),
        ("image/jpg", "a.jpg", JPEG, Verified("image/jpeg", False, False)),
        ("image/png", "a.png", JPEG, Verified("image/jpeg", True, False)),
        ("image/png", "a.png", b"<html>", Verified("text/html", True, False)),
        ("image/png", "a.png", b"\0no picture", Verified("application/octet-stream", True, False)),
        ("image/png", "a.png", b"", Verified("application/octet-stream", False, False)),
        ("image/png", "a.png", b"<svg onload=x>", Verified("image/svg+xml", True, False)),
        ("application/pdf", "invoice.pdf", EXE, Verified("application/vnd.microsoft.portable-executable", True, True)),
        ("application/pdf", "invoice.pdf", archive("a"), Verified("application/zip", True, False)),
        ("application/x-msdownload", "setup.exe", EXE, Verified("application/x-msdownload", False, True)),
        ("application/zip", "tool.zip", JAR, Verified("application/zip", False, True)),
        ("application/octet-stream", "scan.pdf", PDF, Verified("application/pdf", False, False)),
        ("application/octet-stream", "a.docx", DOCX, Verified(sniff(DOCX), False, False)),
        ("application/octet-stream", "a.doc", OLE, Verified("application/msword", False, False)),
        ("application/octet-stream", "a.csv", b"a;b\n1;2\n", Verified("text/csv", False, False)),
        ("application/octet-stream", "a.csv", PNG, Verified("image/png", False, False)),
        ("application/octet-stream", "a.dat", b"\0\1", Verified("application/octet-stream", False, False)),
        ("application/x-download", "run.sh", b"#!/bin/sh\n", Verified("application/x-shellscript", False, True)),
        ("application/msword", "a.doc", OLE, Verified("application/msword", False, False)),
        ("application/msword", "a.doc", b"{\\rtf1}", Verified("application/rtf", True, False)),
        ("application/zip", "a.docx", DOCX, Verified("application/zip", False, False)),
        ("application/vnd.ms-excel", "a.csv", b"a;b\n", Verified("application/vnd.ms-excel", False, False)),
        ("text/plain", "a.txt", b"hello", Verified("text/plain", False, False)),
        ("text/plain", "page.txt", b"<html>", Verified("text/plain", False, False)),
        ("text/plain", "a.txt", PNG, Verified("image/png", True, False)),
        ("text/plain", "a.txt", "Grüße".encode("cp1252"), Verified("text/plain", False, False)),
        ("text/plain", "invoice.pdf.js", b"var a = 1;", Verified("text/plain", False, True)),
        ("application/x-zip-compressed", "macro.vbs", archive("a"), Verified("application/zip", False, False)),
        ("application/octet-stream", "setup.msi", OLE, Verified("application/x-msi", False, True)),
        ("audio/ogg", "a.ogg", b"OggS\0", Verified("audio/ogg", False, False)),
        ("video/quicktime", "a.mov", b"\0\0\0\x14ftypqt  ", Verified("video/quicktime", False, False)),
        (
            "application/pkcs7-signature",
            "smime.p7s",
            b"0\x82\1\2",
            Verified("application/pkcs7-signature", False, False),
        ),
        ("message/rfc822", "a.eml", b"<html>", Verified("message/rfc822", False, False)),
        ("application/ms-tnef", "winmail.dat", b"\x78\x9f\x3e\x22", Verified("application/ms-tnef", False, False)),
    ],
)
def test_a_declared_type_is_believed_unless_the_content_contradicts_it(
    declared: str, filename: str, content: bytes, expected: Verified
):
    assert verify(declared, filename, content) == expected


@given(
    declared=st.sampled_from(["image/png", "image/jpg", "image/gif", "image/webp", "application/pdf", "text/plain"]),
    content=st.binary(max_size=200) | st.sampled_from([PNG, JPEG, PDF, EXE, b"<svg>", b"<html>"]),
)
@example(declared="image/png", content=b"")
def test_a_type_that_may_be_shown_inline_is_always_true(declared: str, content: bytes):
    verified = verify(declared, "a", content)
    assert not may_show_inline(verified.content_type) or sniff(content) == verified.content_type


@pytest.mark.parametrize("content_type", ["image/svg+xml", "text/html", "application/xml", "text/plain", None])
def test_what_could_run_in_a_browser_is_never_shown_inline(content_type: str | None):
    assert not may_show_inline(content_type)
