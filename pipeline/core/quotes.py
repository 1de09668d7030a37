"""What the sender wrote anew, told apart from what is quoted and from the signature, by rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core import reply_words, sign_offs, written_headers
from pipeline.core.written_headers import Block, has_colon

#: Lines in which announcements of quotes are looked for; marks of quotation count everywhere.
_LINE_LIMIT = 10_000
_FRESH = "f"
_QUOTED = "q"
_SIGNATURE = "s"
# An mbox escapes "From " at the beginning of a line: that is no quote. Initials before the mark are.
_QUOTE = re.compile(r"[ \t]{0,3}(?:[A-Z]{2,4}>[ >]|>(?!From ))")
_MARKS = frozenset("-_=*#")
_GAP = re.compile(r"\n[ \t]*\n(?:[ \t]*\n)++")  # where something was taken out
_RULER = re.compile(r"[ \t]{0,3}[_=-]{8,}[ \t]*")


@dataclass(frozen=True, slots=True)
class Split:
    """The lines of a text in three heaps, each in order; none is lost.

    `fresh` is empty only when the text is. A forwarded mail is fresh: it is what the sender wanted to show. `forwarded`
    is what its header block says about who wrote it, None when nothing is forwarded inline.
    """

    fresh: str
    quoted: str = ""
    signature: str = ""
    forwarded: str | None = None


@dataclass(frozen=True, slots=True)
class _Divider:
    """Lines `first` to before `after` announce another mail; when it is not `sure`, marks of quotation must follow."""

    first: int
    after: int
    is_sure: bool = True
    forwarded: str | None = None


def split(text: str, *, is_forward: bool = False) -> Split:
    """Tell a text apart; `is_forward` says that its subject marks a forward, so that header blocks announce one.

    Answers between quoted lines stay fresh. Linear in the length of the text.
    """
    lines = text.split("\n")
    kinds, forward = _kinds(lines, is_forward=is_forward)
    end = forward.first if forward else len(lines)
    without_signature = list(kinds)
    _mark_signatures(lines, kinds, end)
    forwarded = forward.forwarded if forward else None
    for chosen in (kinds, without_signature):
        fresh = _heap(lines, chosen, _FRESH)
        if fresh:
            untouched = _FRESH * len(lines) == "".join(chosen)
            return Split(
                text if untouched else fresh, _heap(lines, chosen, _QUOTED), _heap(lines, chosen, _SIGNATURE), forwarded
            )
    return Split(text, forwarded=forwarded)


def _kinds(lines: Sequence[str], *, is_forward: bool) -> tuple[list[str], _Divider | None]:
    kinds = [_QUOTED if ">" in line and _QUOTE.match(line) else _FRESH for line in lines]
    position = 0
    while position < min(len(lines), _LINE_LIMIT):
        looks_like_one = kinds[position] == _FRESH and _may_announce(lines[position])
        found = _divider(lines, position, is_forward=is_forward) if looks_like_one else None
        if found is None:
            position += 1
            continue
        if found.forwarded is not None:
            return kinds, found
        following = next((at for at in range(found.after, min(len(lines), found.after + 4)) if lines[at].strip()), None)
        if following is not None and kinds[following] == _QUOTED:
            kinds[found.first : found.after] = _QUOTED * (found.after - found.first)
        elif found.is_sure:
            if _heap(lines[: found.first], kinds[: found.first], _FRESH):
                kinds[found.first :] = _QUOTED * (len(lines) - found.first)
            return kinds, None
        position = max(found.after, position + 1)
    return kinds, None


def _may_announce(line: str) -> bool:
    """Say cheaply whether a line may be part of an announcement; most are not."""
    return has_colon(line) or line.lstrip()[:1] in _MARKS or reply_words.may_ask_for_answers_above(line)


def _divider(lines: Sequence[str], position: int, *, is_forward: bool) -> _Divider | None:
    line = lines[position].strip()
    if len(line) < 3:
        return None
    if reply_words.is_forward_line(line):
        block = _block_below(lines, position)
        return _Divider(position, block.after if block else position + 1, forwarded=block.sender if block else "")
    if reply_words.is_original_line(line):
        block = _block_below(lines, position)
        return _announced(position, block or Block(position, position + 1, ""), is_forward=is_forward)
    if has_colon(line):
        if block := written_headers.at(lines, position):
            return _announced(_ruler_above(lines, position), block, is_forward=is_forward)
        if (said := reply_words.attribution(lines, position)) is not None:
            return _Divider(said[0], position + 1, is_sure=said[1])
    return _Divider(position, position + 1) if reply_words.is_answer_above_line(line) else None


def _announced(first: int, block: Block, *, is_forward: bool) -> _Divider:
    return _Divider(first, block.after, forwarded=block.sender if is_forward else None)


def _block_below(lines: Sequence[str], position: int) -> Block | None:
    for below in range(position + 1, min(len(lines), position + 4)):
        if lines[below].strip():
            return written_headers.at(lines, below)
    return None


def _ruler_above(lines: Sequence[str], position: int) -> int:
    for above in range(position - 1, max(-1, position - 3), -1):
        if lines[above].strip():
            return above if _RULER.fullmatch(lines[above]) else position
    return position


def _mark_signatures(lines: Sequence[str], kinds: list[str], end: int) -> None:
    """Mark the signature below the first words of the sender, and the one at the end."""
    runs = _runs(kinds[:end])
    for first, after in {*runs[:1], *runs[-1:]}:
        found = sign_offs.begin(lines[first:after])
        if found is not None:
            kinds[first + found : after] = _SIGNATURE * (after - first - found)


def _runs(kinds: Sequence[str]) -> list[tuple[int, int]]:
    """Return the stretches of fresh lines, each from its first line to before its last."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for position, kind in enumerate((*kinds, _QUOTED)):
        if kind == _FRESH and start is None:
            start = position
        elif kind != _FRESH and start is not None:
            runs.append((start, position))
            start = None
    return runs


def _heap(lines: Sequence[str], kinds: Sequence[str], kind: str) -> str:
    heap = "\n".join(line for line, its in zip(lines, kinds, strict=True) if its == kind)
    return _GAP.sub("\n\n", heap).strip("\n") if heap.strip() else ""
