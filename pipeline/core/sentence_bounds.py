"""Where sentences, items of lists, rows of tables and short lines end in a mail."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SENTENCE_END = re.compile(r"[.!?;](?=\s)|\n")
_NEW_ITEM = re.compile(r"[ \t\r]*(?:\n|[-*\u2022|]|\d{1,3}[.)]\s|[\w #/-]{1,30}[:|])")
_FIRST_WORD = re.compile(r"[ \t]*(\S+)")
#: Mail programs wrap before this column: a line that had room for the next word was ended by its writer.
_WRAP = 62


def sentences(folded: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of what stands between `low` and `high`, sentence by sentence; none is empty."""
    start = low
    for end in [*sentence_ends(folded, low, high), high]:
        if folded[start:end].strip():
            yield start, end
        start = end


def trimmed(folded: str, low: int, high: int) -> tuple[int, int]:
    """Return the bounds of what stands between `low` and `high` without the white space at either end."""
    said = folded[low:high]
    return low + len(said) - len(said.lstrip()), low + len(said.rstrip())


def sentence_ends(folded: str, low: int, high: int) -> Iterator[int]:
    """Yield where sentences, list items, rows of tables and short lines end between `low` and `high`."""
    for found in _SENTENCE_END.finditer(folded, low, high):
        at = found.start()
        if folded[at] != "\n" or not _is_wrapped(folded, at):
            yield found.end()


def _is_wrapped(folded: str, at: int) -> bool:
    """Return whether the line that ends at `at` goes on in the next one: it had no room for its first word."""
    line = at - max(folded.rfind("\n", max(0, at - 200), at), at - 200) - 1
    following = _FIRST_WORD.match(folded, at + 1)
    if following is None or _NEW_ITEM.match(folded, at + 1) or "|" in folded[at - line : at]:
        return False
    return line + 1 + len(following.group(1)) > _WRAP
