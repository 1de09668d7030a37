"""Reading a JSON body strictly: what two readers could understand differently, or no column could hold, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from fastapi import Request

#: A string, so that what stands in it is not counted, or a bracket. A string without an end goes to the end, and is
#: read once: from each of its quotes anew, one body would keep the process busy for an hour.
_PIECES = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
#: How NUL and halves of surrogate pairs are written; whether they are meant is seen in the text itself.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile("[\x00\ud800-\udfff]")


class StrictRequest(Request):
    """A request whose JSON body is read by `read`."""

    async def json(self) -> Any:
        """Return the body's value. Raises `json.JSONDecodeError`, which becomes a refusal."""
        most: int = self.app.state.services.limits.json_depth
        return read(await self.body(), most)


def read(body: bytes, most_deep: int) -> Any:
    """Return the value of a JSON text (RFC 8259, I-JSON of RFC 7493).

    Raises `json.JSONDecodeError` for a syntax error, another encoding than UTF-8, a name that stands twice in an
    object, lists and objects more than `most_deep` inside each other, a number that is none or has no end, a NUL, and
    half a surrogate pair.
    """
    if _depth(body, most_deep) > most_deep:
        _refuse(f"lists and objects are more than {most_deep} deep")
    try:
        found = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    except RecursionError:
        _refuse("lists and objects are too deep")
    except json.JSONDecodeError:
        raise
    except ValueError:
        _refuse("a number is too long")
    if _SUSPECT.search(body) and any(_UNFIT.search(said) for said in _texts(found)):
        _refuse("a text holds a NUL or half a surrogate pair")
    return found


def _depth(body: bytes, enough: int) -> int:
    """Return how deep lists and objects stand in each other; where there are few, how many there are will do."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= enough:
        return brackets
    deepest = depth = 0
    for piece in _PIECES.finditer(body):
        first = piece[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        deepest = max(deepest, depth)
        if deepest > enough:
            break
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("a name stands twice in one object")
    return found


def _constant(said: str) -> NoReturn:
    _refuse(f"{said} is no number of JSON")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from _texts(item)


def _refuse(why: str) -> NoReturn:
    raise json.JSONDecodeError(why, "", 0)
