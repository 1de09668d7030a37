"""Mail addresses as people and mailers really write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.utils import getaddresses

from pipeline.core.text import clean, one_line
from pipeline.core.words import decode_words

ADDRESS_LIMIT = 2_000
ADDRESS_LENGTH = 320  # RFC 5321 4.5.3.1: 64 for the local part, 255 for the domain, one at sign
NAME_LENGTH = 200
_NESTING_LIMIT = 20

# Possessive quantifiers keep these linear for any input.
_NAMED = re.compile(r'[\s,]*+(?:"((?:[^"\\]|\\.)*+)"\s*+|([^",:;<>\\]*+))<([^\s"(),:;<>\\]*+)>\s*+(?=,|$)')
_BARE = re.compile(r'[\s,]*+([^\s"(),:;<>\\]++)\s*+(?=,|$)')
_MAILTO = re.compile(r"<\s*mailto:", re.IGNORECASE)
_BLANK = re.compile(r"[\s,]*+$")
_ESCAPED = re.compile(r"\\(.)")
_REFUSED = re.compile("[\\s\x00-\x1f\x7f<>(),;:\\\\\ufffd]")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: the address lower-cased and cleaned, the display name decoded ("" when there is none)."""

    address: str
    name: str


def read(values: Iterable[str]) -> tuple[tuple[Address, ...], bool]:
    """Return the addresses of header values (unfolded, words still encoded) in order, and whether some were cut.

    At most 2,000 are kept. Groups, comments and routes are understood; what is no address is left out. A lone word
    without an at sign ("root") counts as a local address.
    """
    found: list[Address] = []
    for name, address in _pairs(values):
        cleaned = clean_address(address)
        if cleaned is None:
            continue
        if len(found) == ADDRESS_LIMIT:
            return tuple(found), True
        found.append(Address(cleaned, _clean_name(name, cleaned)))
    return tuple(found), False


def clean_address(address: str) -> str | None:
    """Return the address lower-cased, without white space, quotes and a mailto prefix; None when it is none."""
    if "=?" in address:
        address, _ = decode_words(address)
    if '"' in address and len(address.split()) > 1:
        return None  # white space inside a quoted local part is legal and never real
    address = "".join(address.split()).lower().removeprefix("mailto:").rstrip(".")
    while address[:1] in {"'", '"'} and address.endswith(address[0]):
        address = address[1:-1]
    if not address or len(address) > ADDRESS_LENGTH or _REFUSED.search(clean(address)):
        return None
    if "@" in address and not all(address.rpartition("@")[::2]):
        return None
    return address


def _pairs(values: Iterable[str]) -> Iterator[tuple[str, str]]:
    for value in values:
        value = _MAILTO.sub("<", value)  # noqa: PLW2901 - the grammar's answers differ from one Python to the next
        position = 0
        while not _BLANK.match(value, position):
            named = _NAMED.match(value, position)
            if named:
                yield (_ESCAPED.sub(r"\1", named[1]) if named[1] else named[2] or ""), named[3]
                position = named.end()
                continue
            bare = _BARE.match(value, position)
            if bare is None:
                yield from _by_grammar(value[position:])
                break
            yield "", bare[1]
            position = bare.end()


def _by_grammar(value: str) -> list[tuple[str, str]]:
    if ":" not in value:
        value = value.replace(";", ",")  # no group, so the semicolons separate, as in Outlook
    for mark in "(:":  # the grammar recurses at both
        if value.count(mark) > _NESTING_LIMIT:
            value = value.replace(mark, " ")
    try:
        pairs = getaddresses([value])
    except (IndexError, ValueError):  # known slips of the standard library on cut-off input
        return []
    return [(name, address) for name, address in pairs if "@" in address]


def _clean_name(name: str, address: str) -> str:
    decoded = decode_words(name)[0] if "=?" in name else name
    flat = one_line(decoded).strip("'\" ")[:NAME_LENGTH].rstrip()
    return "" if flat.lower() == address else clean(flat)
