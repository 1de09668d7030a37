"""The magic bytes and names by which `pipeline.core.sniffing` knows a file; data only.

Sources: WHATWG MIME Sniffing (pictures, archives, markup), the formats' own specifications, and for what runs on a
double click the extensions that the large mail providers refuse.
"""

from __future__ import annotations

from collections.abc import Callable

#: The only types that may be shown inside a page (reliability, section 4).
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"})

_EXECUTABLE = "application/vnd.microsoft.portable-executable"
#: Opening one of these runs it.
DANGEROUS = frozenset(
    {
        _EXECUTABLE,
        "application/hta",
        "application/java-archive",
        "application/java-vm",
        "application/vnd.android.package-archive",
        "application/vnd.android.dex",
        "application/x-elf",
        "application/x-mach-binary",
        "application/x-ms-shortcut",
        "application/x-shellscript",
        "application/x-shockwave-flash",
    }
)
#: Windows runs a file of these names, whatever it holds.
RUN_BY_NAME = frozenset(
    (
        *("bat", "cmd", "com", "cpl", "hta", "js", "jse", "lnk", "msi", "msp", "pif", "ps1", "psm1", "reg", "scf"),
        *("scr", "url", "vb", "vbe", "vbs", "wsf", "wsh"),
    )
)

#: Labels that mean "some bytes".
SAYS_NOTHING = frozenset(
    [
        "application/octet-stream",
        "application/octetstream",
        "binary/octet-stream",
        "application/binary",
        "application/download",
        "application/x-download",
        "application/force-download",
        "application/unknown",
        "application/x-unknown",
        "unknown/unknown",
        "application/x-octet-stream",
        "attachment/octet-stream",
    ]
)
#: Spellings of one type, by the registered one.
ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-citrix-png": "image/png",
    "image/x-citrix-jpeg": "image/jpeg",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/tif": "image/tiff",
    "image/x-icon": "image/vnd.microsoft.icon",
    "application/x-pdf": "application/pdf",
    "application/acrobat": "application/pdf",
    "text/pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip",
    "application/x-zip": "application/zip",
    "application/x-gzip": "application/gzip",
    "application/x-gzip-compressed": "application/gzip",
    "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rar": "application/vnd.rar",
    "application/x-java-archive": "application/java-archive",
    "application/x-dosexec": _EXECUTABLE,
    "application/x-executable": "application/x-elf",
    "text/rtf": "application/rtf",
    "audio/mp3": "audio/mpeg",
    "audio/wav": "audio/x-wav",
    "audio/wave": "audio/x-wav",
    "text/x-vcard": "text/vcard",
    "text/directory": "text/vcard",
    "application/ics": "text/calendar",
}


def _has_nul(head: bytes) -> bool:
    return b"\0" in head[2:64]


def _container(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[8:12] == kind


def _brand(*brands: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[8:12] in brands


def _bitmap(head: bytes) -> bool:
    return len(head) > 26 and head[6:10] == b"\0\0\0\0"


def _mpeg(head: bytes) -> bool:
    return len(head) > 2 and head[2] >> 4 not in {0, 15}


#: The bytes, where they stand, what they mean, and what else must hold. The first that fits decides.
BINARY: tuple[tuple[bytes, int, str, Callable[[bytes], bool] | None], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png", None),
    (b"\xff\xd8\xff", 0, "image/jpeg", None),
    (b"GIF87a", 0, "image/gif", None),
    (b"GIF89a", 0, "image/gif", None),
    (b"RIFF", 0, "image/webp", _container(b"WEBP")),
    (b"RIFF", 0, "audio/x-wav", _container(b"WAVE")),
    (b"RIFF", 0, "video/x-msvideo", _container(b"AVI ")),
    (b"%PDF-", 0, "application/pdf", None),
    (b"PK\x03\x04", 0, "application/zip", None),
    (b"PK\x05\x06", 0, "application/zip", None),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, "application/x-ole-storage", None),
    (b"MZ", 0, _EXECUTABLE, _has_nul),
    (b"\x7fELF", 0, "application/x-elf", None),
    (b"\xfe\xed\xfa\xce", 0, "application/x-mach-binary", None),
    (b"\xfe\xed\xfa\xcf", 0, "application/x-mach-binary", None),
    (b"\xce\xfa\xed\xfe", 0, "application/x-mach-binary", None),
    (b"\xcf\xfa\xed\xfe", 0, "application/x-mach-binary", None),
    (b"\xca\xfe\xba\xbe", 0, "application/java-vm", None),
    (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F", 0, "application/x-ms-shortcut", None),
    (b"dex\n0", 0, "application/vnd.android.dex", None),
    (b"FWS", 0, "application/x-shockwave-flash", _has_nul),
    (b"CWS", 0, "application/x-shockwave-flash", _has_nul),
    (b"ZWS", 0, "application/x-shockwave-flash", _has_nul),
    (b"{\\rtf", 0, "application/rtf", None),
    (b"%!PS", 0, "application/postscript", None),
    (b"\x1f\x8b\x08", 0, "application/gzip", None),
    (b"7z\xbc\xaf\x27\x1c", 0, "application/x-7z-compressed", None),
    (b"Rar!\x1a\x07", 0, "application/vnd.rar", None),
    (b"\xfd7zXZ\0", 0, "application/x-xz", None),
    (b"BZh", 0, "application/x-bzip2", lambda head: head[4:10] == b"1AY&SY"),
    (b"\x28\xb5\x2f\xfd", 0, "application/zstd", None),
    (b"MSCF\0\0\0\0", 0, "application/vnd.ms-cab-compressed", None),
    (b"CD001", 32_769, "application/x-iso9660-image", None),
    (b"II*\0", 0, "image/tiff", None),
    (b"MM\0*", 0, "image/tiff", None),
    (b"BM", 0, "image/bmp", _bitmap),
    (b"\0\0\x01\0", 0, "image/vnd.microsoft.icon", lambda head: head[4:6] not in {b"\0\0", b""}),
    (b"ftyp", 4, "image/heic", _brand(b"heic", b"heix", b"mif1", b"msf1", b"hevc")),
    (b"ftyp", 4, "image/avif", _brand(b"avif", b"avis")),
    (b"ftyp", 4, "video/mp4", None),
    (b"OggS", 0, "application/ogg", None),
    (b"ID3", 0, "audio/mpeg", None),
    (b"\xff\xfb", 0, "audio/mpeg", _mpeg),
    (b"fLaC", 0, "audio/flac", None),
    (b"\x1aE\xdf\xa3", 0, "video/webm", None),
)

#: Tags that make a text HTML or SVG when it begins with one, in lower case.
MARKUP: tuple[tuple[bytes, str], ...] = (
    *(
        (tag, "text/html")
        for tag in (
            b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<iframe", b"<title", b"<style", b"<meta",
            b"<table", b"<div", b"<font", b"<h1", b"<br", b"<p", b"<a", b"<b", b"<img", b"<form", b"<hta:application",
        )
    ),
    (b"<svg", "image/svg+xml"),
)  # fmt: skip
#: Words with which other formats of text begin, in upper case.
WORDS: tuple[tuple[bytes, str], ...] = (
    (b"BEGIN:VCALENDAR", "text/calendar"),
    (b"BEGIN:VCARD", "text/vcard"),
)
#: The folder that tells which Office format an Open XML archive is.
HOLDERS: tuple[tuple[bytes, str], ...] = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)
#: What a name says about content that fits it.
BY_EXTENSION = {
    "csv": "text/csv",
    "doc": "application/msword",
    "eml": "message/rfc822",
    "ics": "text/calendar",
    "json": "application/json",
    "log": "text/plain",
    "m4a": "audio/mp4",
    "md": "text/markdown",
    "mov": "video/quicktime",
    "mpp": "application/vnd.ms-project",
    "msg": "application/vnd.ms-outlook",
    "msi": "application/x-msi",
    "ppt": "application/vnd.ms-powerpoint",
    "txt": "text/plain",
    "vcf": "text/vcard",
    "vsd": "application/vnd.visio",
    "xls": "application/vnd.ms-excel",
    "xml": "application/xml",
    "zip": "application/zip",
}
