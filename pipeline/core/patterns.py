"""Patterns that people write: wildcards over whole values, and RE2 expressions; never backtracking (reliability, 4)."""

from __future__ import annotations

from collections.abc import Callable

import re2

PATTERN_LIMIT = 1_000
#: The characters that make a value a wildcard.
WILD = frozenset("*?[")

#: An organization has hundreds of patterns, compiled anew for each batch: each may take a megabyte, not RE2's eight.
_MEMORY = 1 << 20

Test = Callable[[str], bool]


def _options(*, ignores_case: bool) -> re2.Options:
    made = re2.Options()
    made.log_errors = False
    made.max_mem = _MEMORY
    made.case_sensitive = not ignores_case
    return made


_OPTIONS, _IGNORING_CASE = _options(ignores_case=False), _options(ignores_case=True)


def wildcard(pattern: str) -> Test:
    """Return a test for whole lower-case values: `*` any run (across @ and dots), `?` one character, `[..]` a set.

    `[!..]` is a set's complement. Raises ValueError for an unclosed or reversed set, or an overlong pattern.
    """
    lowered = checked(pattern).lower()
    if set(lowered) == {"*"}:
        return lambda _: True
    if WILD.isdisjoint(lowered):
        return lambda value: value == lowered
    tail = lowered[1:]
    if lowered[0] == "*" and WILD.isdisjoint(tail):
        return lambda value: value.endswith(tail)
    matches = expression(rf"(?s)\A(?:{_translated(lowered)})\z", pattern).match
    return lambda value: matches(encoded(value)) is not None


def expression(written: str, pattern: str, *, ignores_case: bool = False) -> re2._Regexp:
    """Return a compiled RE2 expression; raises ValueError that repeats `pattern`, as a person wrote it."""
    try:
        return re2.compile(written, _IGNORING_CASE if ignores_case else _OPTIONS)
    except re2.error as error:
        raise ValueError(f"pattern {pattern!r} cannot be compiled: {_told(error, pattern)}") from error


def checked(pattern: str) -> str:
    """Return the pattern as it is; raises ValueError for one that is too long or cannot be encoded."""
    if len(pattern) > PATTERN_LIMIT:
        raise ValueError(f"a pattern has at most {PATTERN_LIMIT} characters, this one has {len(pattern)}")
    if not pattern.isascii() and any("\ud800" <= character <= "\udfff" for character in pattern):
        raise ValueError(f"pattern {pattern!r} cannot be compiled: it holds half a character")
    return pattern


def encoded(value: str) -> bytes:
    """Return UTF-8 bytes; lone surrogates, which RE2 cannot read, become question marks."""
    return value.encode("utf-8", "replace")


def _told(error: re2.error, pattern: str) -> str:
    """Return what RE2 says, with the place of the piece that it names."""
    said = error.args[0] if error.args else "no reason"
    words: str = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    piece = words.partition(": ")[2]
    at = pattern.find(piece) if piece and piece != pattern else -1
    return f"{words}, at position {at + 1}" if at >= 0 else words


def _translated(pattern: str) -> str:
    """Return the RE2 expression of a lower-case wildcard."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "[":
            end = pattern.find("]", at + (3 if pattern.startswith("[!", at) else 2))
            if end < 0:
                raise ValueError(f"the [ at position {at + 1} of pattern {pattern!r} is never closed")
            parts.append(_set(pattern[at + 1 : end], pattern))
            at = end
        elif character != "*":
            parts.append("." if character == "?" else re2.escape(character))
        elif parts[-1:] != [".*"]:
            parts.append(".*")
        at += 1
    return "".join(parts)


def _set(inside: str, pattern: str) -> str:
    """Return the RE2 class for the inside of `[..]`; a dash between two characters is a range."""
    negated = inside.startswith("!")
    members = inside[1:] if negated else inside
    parts: list[str] = []
    at = 0
    while at < len(members):
        is_range = members[at + 1 : at + 2] == "-" and at + 2 < len(members)
        last = members[at + 2] if is_range else members[at]
        if last < members[at]:
            raise ValueError(f"the range {members[at]}-{last} of pattern {pattern!r} is reversed")
        parts.append(f"\\x{{{ord(members[at]):x}}}-\\x{{{ord(last):x}}}")
        at += 3 if is_range else 1
    return f"[{'^' if negated else ''}{''.join(parts)}]"
