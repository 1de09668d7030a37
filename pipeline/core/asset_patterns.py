"""Patterns of an organization's tags: RE2 expressions whose groups make the tag that is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from models.enums import ExtractedBy
from pipeline.core.asset_names import AssetIndex, Mention
from pipeline.core.patterns import checked, encoded, expression

#: Every mail is searched for all of them.
MOST_PATTERNS = 50
#: Steps of one compiled pattern: RE2 is linear in the text, but each character may cost all of them.
MOST_STEPS = 1_500
#: Characters of a mail that are searched for patterns, which cost more than names: people state their matter at the
#: start. The worst pattern then takes a quarter of a second.
_SEARCHED = 16_384
_LONGEST_TAG = 200
_MOST_MATCHES = 100
_GROUP = re.compile(r"\\(\d)")


@dataclass(frozen=True, slots=True)
class TagPattern:
    r"""A compiled pattern and the tag that its groups make: `\1` stands for the first."""

    expression: Any
    tag: str

    def tag_of(self, groups: Sequence[bytes | None]) -> str:
        """Return the tag that a match makes; a group that took no part is empty."""
        said = [(group or b"").decode("utf-8", "replace") for group in groups]
        return _GROUP.sub(lambda found: said[int(found.group(1))], self.tag)[:_LONGEST_TAG]


def tag_pattern(pattern: str, tag: str) -> TagPattern:
    r"""Return a pattern that is ready to be used. Raises ValueError that says what is wrong with it.

    Letter case does not matter. It must ask for something, and the tag may name only groups that it has.
    """
    compiled = expression(checked(pattern), pattern, ignores_case=True)
    steps = (compiled.programsize, compiled.reverseprogramsize)
    # Less than none: it did not fit into the memory that a pattern may take.
    if min(steps) < 0 or max(steps) > MOST_STEPS:
        raise ValueError(f"pattern {pattern!r} is too large when compiled: repeat less, and smaller sets")
    if compiled.search(b"") is not None:
        raise ValueError(f"pattern {pattern!r} matches nothing at all, and so everywhere: make it ask for a character")
    if not tag.strip() or len(tag) > _LONGEST_TAG:
        raise ValueError(f"the tag has 1 to {_LONGEST_TAG} characters")
    for group in map(int, _GROUP.findall(tag)):
        if group > compiled.groups:
            raise ValueError(
                f"the tag names group {group}, but the pattern has {compiled.groups}: put it in parentheses"
            )
    return TagPattern(compiled, tag)


def pattern_mentions(document: str, patterns: Sequence[TagPattern], index: AssetIndex) -> Iterator[Mention]:
    """Yield where patterns find the tags of known assets, pattern by pattern; matches per pattern are bounded."""
    text = encoded(document[:_SEARCHED])
    for pattern in patterns:
        # Bytes and characters up to the end of the match before: of each match only what follows is counted.
        at = place = 0
        for found in islice(pattern.expression.finditer(text), _MOST_MATCHES):
            start, end = found.span()
            asset_id = index.called(pattern.tag_of((found.group(0), *found.groups()))) if start < end else None
            if asset_id is not None:
                begins = place + len(text[at:start].decode())
                at, place = end, begins + len(text[start:end].decode())
                yield Mention(begins, place, asset_id, ExtractedBy.PATTERN)


def merged(names: Sequence[Mention], found: Sequence[Mention]) -> list[Mention]:
    """Return names and what patterns found beside them, in order; where both stand, the name counts."""
    taken = sorted(names)
    for mention in sorted(found):
        if all(mention.end <= other.start or mention.start >= other.end for other in taken):
            taken.append(mention)
    return sorted(taken)
