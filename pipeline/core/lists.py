"""Which mailing list a mail came through."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeline.core.headers import Fields
from pipeline.core.text import clean
from pipeline.core.words import decode_words

LIST_ID_LENGTH = 255  # RFC 2919 section 3: octets
_VALUE_LENGTH = 2_000

_BRACKETED = re.compile(r"<([^<>]*)>")
_NAME = re.compile(r"[^\s<>\"(),;:\\]+")
# Possessive, and never begun inside a word that was tried: else a long word without @ is quadratic.
_ADDRESS = re.compile(r"(?<![^\s<>\"(),;:\\@])[^\s<>\"(),;:\\@]++@[^\s<>\"(),;:\\@]++")


def list_id(fields: Fields) -> str | None:
    """Return what names the list, in lower case and at most 255 characters; None for mail of no list.

    List-Id (RFC 2919) is believed first; then the address in the older Mailing-List, X-Mailing-List or X-BeenThere.
    """
    for name, read in _READERS:
        for value in fields.flat(name):
            found = clean(next(read(decode_words(value[:_VALUE_LENGTH])[0]), "")).lower().rstrip(".")
            if found and len(found.encode()) <= LIST_ID_LENGTH:
                return found
    return None


def _identifier(value: str) -> Iterator[str]:
    """Yield the identifier in brackets, where it belongs, else a value that is nothing but one."""
    inner = ["".join(found.split()) for found in _BRACKETED.findall(value)]
    for found in (*reversed(inner), value.strip()):
        if _NAME.fullmatch(found):
            yield found


def _address(value: str) -> Iterator[str]:
    yield from _ADDRESS.findall(value)


_READERS: tuple[tuple[str, Callable[[str], Iterator[str]]], ...] = (
    ("list-id", _identifier),
    ("mailing-list", _address),
    ("x-mailing-list", _address),
    ("x-beenthere", _address),
)
