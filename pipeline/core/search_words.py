"""Text as it is searched: words without accents and case, in one form for mail and for questions."""

from __future__ import annotations

import re

from pipeline.core.text import normalised

#: A longer word is searched by its beginning.
LONGEST_WORD = 64

# Written without spaces between words: each character is a word, and a longer one is a phrase of them.
ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs of the Indic scripts stand inside words, though they are no letters.
_SIGNS = "\u0900-\u0963\u0966-\u0dff"

_BETWEEN = re.compile(rf"[^\w{_SIGNS}]+")
_EACH_ALONE = re.compile(f"([{ALONE}])")
# Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic, and Arabic's stretching line.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670]+")
_LETTERS = (
    {"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "ð": "d", "Ð": "d", "ħ": "h", "Ħ": "h", "\u0131": "i"}
    | {"æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "þ": "th", "Þ": "th"}
    | {chr(zero + digit): str(digit) for zero in (0x660, 0x6F0, 0x966) for digit in range(10)}
)
_LETTER = re.compile(f"[{''.join(_LETTERS)}]")
#: ASCII, the most of all mail: letters in lower case, and a space for whatever is neither letter nor digit.
_ASCII = bytes(ord(chr(code).lower()) if chr(code).isalnum() else 32 for code in range(128)) + bytes(128)


def fold(text: str) -> str:
    """Return `text` as it is compared: lower case, no accents, one form of every character; idempotent."""
    if text.isascii():
        return text.lower()
    # Folding the case may give composed characters again.
    open_form = normalised(normalised(_plain(text), "NFKD").casefold(), "NFKD")
    return normalised(_plain(_MARKS.sub("", open_form)))


def _plain(text: str) -> str:
    """Replace letters that are no composed ones, and digits of other scripts."""
    return _LETTER.sub(lambda letter: _LETTERS[letter[0]], text)


def words(text: str, limit: int = 500_000) -> str:
    """Return the folded words of `text` with one space between them, at most `limit` bytes of UTF-8.

    Whatever is neither letter nor digit separates words, so that `AUS_0123`, `AUS-0123` and `AUS 0123` are the same;
    PostgreSQL's own parser would read a minus sign, a path or a host name. A word is cut to 64 characters.
    """
    begin = text[:limit]
    if begin.isascii():
        found = begin.encode().translate(_ASCII).decode().split()
    else:
        found = _EACH_ALONE.sub(r" \1 ", _BETWEEN.sub(" ", fold(begin).replace("_", " "))).split()
    if max(map(len, found), default=0) > LONGEST_WORD:
        found = [word[:LONGEST_WORD] for word in found]
    joined = " ".join(found)
    return joined if len(joined) * 4 <= limit else joined.encode()[:limit].decode(errors="ignore").strip()
