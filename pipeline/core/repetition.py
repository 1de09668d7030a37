"""What differs when a step is done again: field by field, short enough to be read and exact enough to be checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

#: A longer value is told by its size, its hash, and the place where it begins to differ.
_SHOWN = 2_000
_AROUND = 200


def differences(stored: Mapping[str, object], new: Mapping[str, object]) -> dict[str, list[object]]:
    """Return by field [as stored, as it would be] of the fields that differ, as JSON values.

    Both hold JSON values and the same fields. Equal inputs give equal differences: whoever finds the same ones later
    saw the same two states, which is how a change that came in between is told.
    """
    return {name: _pair(stored[name], new[name]) for name in new if stored[name] != new[name]}


def _pair(stored: object, new: object) -> list[object]:
    texts = [value if isinstance(value, str) else _written(value) for value in (stored, new)]
    if max(map(len, texts)) <= _SHOWN:
        return [stored, new]
    place = max(0, _first_difference(*texts) - _AROUND // 4)
    return [None if value is None else _summary(text, place) for value, text in zip((stored, new), texts, strict=True)]


def _summary(text: str, place: int) -> dict[str, object]:
    return {
        "length": len(text),
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "at": place,
        "part": text[place : place + _AROUND],
    }


def _first_difference(one: str, other: str) -> int:
    """Return how many characters both begin with, by halving: comparing slices is fast however long they are."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _written(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
