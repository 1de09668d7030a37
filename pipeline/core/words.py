"""Header values as text: unfolding, raw eight-bit bytes, encoded words (RFC 2047) and parameters (RFC 2231)."""

from __future__ import annotations

import base64
import binascii
import re

from pipeline.core.text import clean, decode

_FOLD = re.compile(r"[\r\n]+[ \t]*")
# A question mark inside the encoded text is forbidden but met; twenty of them keep the search linear.
_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*(?:\?(?!=)[^?]*){0,20})\?=")
_OUTSIDE_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))


def unfold(value: str) -> tuple[str, bool]:
    """Return a raw header value on one line with its eight-bit bytes decoded, and whether a charset was guessed."""
    if "\n" in value or "\r" in value:
        value = _FOLD.sub(" ", value)
    if value.isascii():
        return value.strip(), False
    text, guessed = decode(value.encode("utf-8", "surrogateescape"), None)
    return text.strip(), guessed


def decode_words(value: str) -> tuple[str, bool]:
    """Return an unfolded value with its encoded words decoded, and whether a charset was guessed.

    White space between two words goes, and neighbours of one charset are decoded together, since mailers split
    characters across words. What cannot be decoded stays as written.
    """
    if "=?" not in value:
        return value, False
    out: list[str] = []
    pending: list[bytes] = []
    charset, position, guessed = "", 0, False

    def flush() -> bool:
        text, unsure = decode(b"".join(pending), charset)
        pending.clear()
        out.append(text)
        return unsure

    for word in _WORD.finditer(value):
        gap, label = value[position : word.start()], word[1].partition("*")[0].lower()
        adjacent = bool(pending) and not gap.strip()
        if pending and not (adjacent and label == charset):
            guessed |= flush()
        if not adjacent:
            out.append(gap)
        pending.append(_word_bytes(word))
        charset, position = label, word.end()
    if pending:
        guessed |= flush()
    out.append(value[position:])
    return _FOLD.sub(" ", "".join(out)), guessed


def decode_parameter(value: str | tuple[str | None, str | None, str]) -> tuple[str, bool]:
    """Return a MIME parameter as text (RFC 2231 triple or plain, encoded words allowed), and whether it was guessed."""
    if isinstance(value, tuple):
        return decode(value[2].encode("latin-1", "replace"), value[0])
    text, guessed = unfold(value)
    decoded, unsure = decode_words(text)
    return decoded, guessed or unsure


def decode_base64(data: bytes) -> tuple[bytes, bool]:
    """Return the decoded bytes and whether the input was flawless; what is no base64 is passed over."""
    packed = data.translate(None, b" \t\r\n")
    try:
        return base64.b64decode(packed, validate=True), True
    except binascii.Error:
        pass
    chunks = [chunk for chunk in packed.translate(None, _OUTSIDE_BASE64).split(b"=") if chunk]
    return b"".join(map(_decode_chunk, chunks)), False


def header(value: str) -> tuple[str, bool]:
    """Return a raw header value as clean text, and whether a charset was guessed."""
    if "=?" not in value and "\n" not in value and "\r" not in value and value.isascii():
        return clean(value.strip()), False
    flat, guessed = unfold(value)
    if "=?" not in flat:
        return clean(flat), guessed
    text, unsure = decode_words(flat)
    return clean(text.strip()), guessed or unsure


def _decode_chunk(chunk: bytes) -> bytes:
    usable = chunk[: len(chunk) - (len(chunk) % 4 == 1)]
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


def _word_bytes(word: re.Match[str]) -> bytes:
    encoded = word[3].encode("utf-8", "surrogatepass")
    if word[2] in "bB":
        return decode_base64(encoded)[0]
    return binascii.a2b_qp(encoded, header=True)
