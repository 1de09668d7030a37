"""Text that is safe to store: charsets, cleaning, one-line forms."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Form = Literal["NFC", "NFKC", "NFKD"]

TEXT_LIMIT = 1_048_576  # characters; what a full text index and a reader can still use
SNIPPET_LENGTH = 280

_UNSAFE = re.compile("[\x00\ud800-\udfff]")
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: A character is followed by at most so many marks (UAX #15, section 13: no language has more).
_MOST_MARKS = 30
_JOINER = "\u034f"
# No mark is a letter or digit, but for two that `normalised` replaces: this finds every run of more than thirty.
_PERHAPS_MARKS = re.compile(rf"[^\w\x00-\u02ff]{{{_MOST_MARKS + 1},}}+")
#: Marks by their decomposition alone.
_OTHER_MARKS = frozenset("\u0f73\u0f75\u0f81")
_PREFIXES = re.compile(r"(?:(?:re|fwd?|aw|sv) ?(?:\[ ?\d+ ?\]|\( ?\d+ ?\))? ?[:\uff1a] ?)+", re.IGNORECASE)

_UNLABELLED = frozenset({"", "us-ascii", "ascii", "unknown-8bit", "x-unknown", "unknown", "7bit", "8bit", "default"})
_FAMILIES = {
    "utf-8": "utf-8 utf8 utf-8-sig unicode-1-1-utf-8 cp65001",
    "utf-7": "utf-7 utf7 unicode-1-1-utf-7 csunicode11utf7",
    "utf-16": "utf-16 utf16 unicode ucs-2 csunicode",
    "utf-16-le": "utf-16le utf-16-le",
    "utf-16-be": "utf-16be utf-16-be",
    "utf-32": "utf-32 utf32",
    "utf-32-le": "utf-32le utf-32-le",
    "utf-32-be": "utf-32be utf-32-be",
    "cp1252": "iso-8859-1 iso8859-1 iso-8859-1:1987 latin1 latin-1 l1 windows-1252 cp1252 cp-1252 x-ansi ansi",
    "gb18030": "gb2312 gb-2312-80 gbk gb18030 cp936 ms936 x-gbk euc-cn chinese windows-936",
    "hz": "hz hz-gb-2312 hzgb",
    "cp950": "big5 cp950 x-x-big5 cn-big5 csbig5 windows-950",
    "big5hkscs": "big5-hkscs big5hkscs",
    "cp932": "shift-jis shiftjis sjis x-sjis ms-kanji cp932 windows-31j csshiftjis",
    "euc_jp": "euc-jp eucjp x-euc-jp cseucpkdfmtjapanese",
    "iso2022_jp_ext": "iso-2022-jp iso2022-jp iso-2022-jp-1 iso-2022-jp-2 iso-2022-jp-3 iso-2022-jp-ms csiso2022jp",
    "iso2022_kr": "iso-2022-kr iso2022-kr csiso2022kr",
    "cp949": "euc-kr euckr ks-c-5601-1987 ks-c-5601 ksc5601 korean cp949 uhc windows-949 cseuckr",
    "johab": "johab cp1361",
    "cp874": "tis-620 tis620 windows-874 cp874 iso-8859-11",
    "koi8_r": "koi8-r koi8 koi8r cskoi8r",
    "koi8_u": "koi8-u koi8-ru",
    "mac_roman": "macintosh mac x-mac-roman mac-roman",
    "mac_cyrillic": "x-mac-cyrillic mac-cyrillic",
    "mac_latin2": "x-mac-ce x-mac-centraleurroman",
    "iso8859_6": "iso-8859-6 iso-8859-6-i iso-8859-6-e",
    "iso8859_8": "iso-8859-8 iso-8859-8-i iso-8859-8-e logical",
    **{f"iso8859_{n}": f"iso-8859-{n} iso8859-{n} latin{m}" for n, m in ((2, 2), (3, 3), (4, 4), (9, 5), (10, 6))},
    **{f"iso8859_{n}": f"iso-8859-{n} iso8859-{n}" for n in (5, 7, 13, 14, 15, 16)},
    **{f"cp{n}": f"windows-{n} cp{n} cp-{n} x-cp{n}" for n in (1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258)},
    **{f"cp{n}": f"cp{n} ibm{n} ibm-{n}" for n in (437, 850, 852, 855, 857, 858, 860, 861, 862, 863, 865, 866)},
}
_CODECS = {alias: codec for codec, aliases in _FAMILIES.items() for alias in aliases.split()}
# ASCII bytes mean something else in these, so "only ASCII" proves nothing about the text.
STATEFUL_CODECS = frozenset(
    {
        "utf-7",
        "hz",
        "iso2022_jp_ext",
        "iso2022_kr",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
    }
)


def clean(value: str) -> str:
    """Replace NUL and lone surrogates by U+FFFD, so that PostgreSQL text, JSON and UTF-8 take the result."""
    if value.isascii():
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _UNSAFE.sub("\ufffd", value)
    return value.replace("\x00", "\ufffd")


def normalised(value: str, form: Form = "NFC") -> str:
    """Return `value` in a normal form of Unicode, in linear time; the only place that may ask for one.

    Sorting marks is quadratic in the length of their run and holds the interpreter, so that one text of a megabyte
    would stop a process for hours. Longer runs than thirty are split by U+034F first, as UAX #15, section 13, does it
    (the stream-safe form): no character is lost, and text that people write is not changed.
    """
    if value.isascii():
        return value
    if form != "NFC":  # else they are letters
        value = value.replace("\uff9e", "\u3099").replace("\uff9f", "\u309a")
    return unicodedata.normalize(form, _PERHAPS_MARKS.sub(_split_marks, value))


def _split_marks(run: re.Match[str]) -> str:
    out: list[str] = []
    marks = 0
    for character in run[0]:
        is_mark = unicodedata.combining(character) != 0 or character in _OTHER_MARKS
        if is_mark and marks == _MOST_MARKS:
            out.append(_JOINER)
            marks = 0
        marks = marks + 1 if is_mark else 0
        out.append(character)
    return "".join(out)


def is_writable(value: str) -> bool:
    """Say whether a name can be stored and shown: no control characters, no halves of a pair."""
    return _UNWRITABLE.search(value) is None


def one_line(value: str) -> str:
    """Return `value` on one line: white space collapsed, controls and bidirectional overrides gone."""
    if not (value.isascii() and value.isprintable()):
        value = _CONTROL.sub(" ", value)
    return " ".join(value.split())


def plain_lines(value: str) -> str:
    """Return `value` with every line end as one line feed and a leading byte order mark gone."""
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    return value.removeprefix("\ufeff")


def snippet(text: str, subject: str) -> str:
    """Return the first 280 characters of the text, else of the subject, on one line."""
    return one_line(text[: 8 * SNIPPET_LENGTH])[:SNIPPET_LENGTH].rstrip() or subject[:SNIPPET_LENGTH].rstrip()


def subject_norm(subject: str) -> str:
    """Return what a reply and its original have in common: no reply prefixes, one space between words, lower case."""
    flat = " ".join(subject.split())
    found = _PREFIXES.match(flat)
    return flat[found.end() if found else 0 :].lower()


def codec_for(charset: str | None) -> str | None:
    """Return the codec of a declared charset when it is on the allow-list, else None.

    Codecs that are no charsets (rot13, zip, idna, unicode_escape) are never chosen, and small charsets are read
    as the larger ones that mailers really mean by them (gb2312 as gb18030, iso-8859-1 as windows-1252).
    """
    return _CODECS.get(_charset_name(charset))


def is_unlabelled(charset: str | None) -> bool:
    """Say whether the declared charset says no more than "ASCII, or I do not know"."""
    return _charset_name(charset) in _UNLABELLED


def decode(data: bytes, charset: str | None) -> tuple[str, bool]:
    """Return the text of `data` and whether its charset had to be guessed. Never fails, for any declared charset."""
    codec = codec_for(charset)
    if codec is not None:
        text = _decode_with(codec, data)
        if text is not None:
            return normalised(text), False
    if data.isascii():
        return data.decode("ascii"), not is_unlabelled(charset)
    return normalised(_guess(data, codec)), True


def _charset_name(charset: str | None) -> str:
    return (charset or "").strip().strip("\"'").lower().replace("_", "-")


def _decode_with(codec: str, data: bytes) -> str | None:
    if codec.startswith(("utf-16", "utf-32")) and data.isascii() and b"\x00" not in data:
        return None  # the label lies: wide encodings of Latin text are full of NUL bytes
    for candidate in (codec, "latin-1") if codec == "cp1252" else (codec,):
        try:
            text = data.decode(candidate)
            text.encode()
        except UnicodeError:
            continue
        return text
    return None


def _guess(data: bytes, codec: str | None) -> str:
    candidates = [_lenient("utf-8", data, 0)]
    if codec is not None and codec not in STATEFUL_CODECS:
        candidates.append(_lenient(codec, data, 1))  # a few damaged characters in text that fits its label
    candidates.append(_lenient("cp1252", data, 0))
    return next((text for text in candidates if text is not None), data.decode("latin-1"))


def _lenient(codec: str, data: bytes, damaged_per_good: int) -> str | None:
    """Return the text with U+FFFD for damage, None when there is more damage than allowed per good character."""
    text = data.decode(codec, "replace")
    damaged = text.count("\ufffd")
    if damaged == 0:
        return text
    good = sum(character > "\x7f" for character in text) - damaged
    return text if damaged <= good * damaged_per_good else None
