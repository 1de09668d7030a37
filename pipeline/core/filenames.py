"""Names of attachments that are safe to show, store and offer for download."""

from __future__ import annotations

import re

from pipeline.core.text import clean, normalised

NAME_LENGTH = 150
_EXTENSION_LENGTH = 20

# Controls, bidirectional marks, overrides and isolates, zero-width characters, separators, surrogates.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffd\ud800-\udfff]"
)
_FOLDERS = re.compile(r"[\\/:]")
_SUBTYPE = re.compile(r"(?:x-|vnd\.)?([a-z0-9]{1,8})")
_EXTENSIONS = {
    "application/msword": "doc",
    "application/octet-stream": "bin",
    "application/pdf": "pdf",
    "application/pgp-signature": "asc",
    "application/pkcs7-mime": "p7m",
    "application/pkcs7-signature": "p7s",
    "application/x-pkcs7-signature": "p7s",
    "application/x-zip-compressed": "zip",
    "audio/mpeg": "mp3",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "message/delivery-status": "txt",
    "message/disposition-notification": "txt",
    "text/calendar": "ics",
    "text/plain": "txt",
    "text/rfc822-headers": "txt",
    "text/vcard": "vcf",
    "text/x-vcard": "vcf",
}


def display_name(name: str) -> str:
    """Return the last component of a decoded name without hidden characters, in NFC, at most 150 characters.

    The extension survives the cut. The answer is "" when nothing harmless is left.
    """
    visible = normalised(clean(_HIDDEN.sub("", name)))
    base = " ".join(_FOLDERS.split(visible.rstrip("\\/: "))[-1].split()).strip(". ") if visible else ""
    if len(base) <= NAME_LENGTH:
        return base
    stem, dot, extension = base.rpartition(".")
    if not dot or len(extension) > _EXTENSION_LENGTH:
        return base[:NAME_LENGTH].rstrip()
    return stem[: NAME_LENGTH - len(extension) - 1].rstrip() + dot + extension


def made_up_name(number: int, content_type: str) -> str:
    """Return a name for the part with this number (from 1) when it has none: part-3.png."""
    return f"part-{number}.{_extension(content_type)}"


def _extension(content_type: str) -> str:
    known = _EXTENSIONS.get(content_type)
    if known:
        return known
    main, _, subtype = content_type.partition("/")
    if main == "message":
        return "eml"
    found = _SUBTYPE.fullmatch(subtype)
    return found[1] if found and main in {"image", "audio", "video", "text", "application"} else "bin"
