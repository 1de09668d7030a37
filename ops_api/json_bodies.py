"""Reading a JSON body strictly: what two readers could understand differently, or no column could hold, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from fastapi import Request
from starlette.concurrency import run_in_threadpool

#: A string, so that what stands in it is not counted, or a bracket. A string without an end goes to the end, and is
#: read once: from each of its quotes anew, one body would keep the process busy for an hour.
_PIECES = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
#: The same, and what stands between values.
_ALL_PIECES = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]|[\]}]', re.DOTALL)
#: How NUL and halves of surrogate pairs are written; whether they are meant is seen in the text itself.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile("[\x00\ud800-\udfff]")
#: What is larger is read in a thread: nobody else waits meanwhile.
_LARGE = 16_384
#: Values in a body, lists and objects counted twice: ten thousand reports have 90,000. What reads and frees millions
#: of them lets no other thread run meanwhile.
MOST_VALUES = 100_000
#: Names in one object; each that nobody knows is told as a mistake of its own.
MOST_NAMES = 1_000


class StrictRequest(Request):
    """A request whose JSON body is read by `read`."""

    async def json(self) -> Any:
        """Return the body's value. Raises `json.JSONDecodeError`, which becomes a refusal."""
        most: int = self.app.state.services.limits.json_depth
        body = await self.body()
        return await run_in_threadpool(read, body, most) if len(body) > _LARGE else read(body, most)


def read(body: bytes, most_deep: int) -> Any:
    """Return the value of a JSON text (RFC 8259, I-JSON of RFC 7493).

    Raises `json.JSONDecodeError` for a syntax error, another encoding than UTF-8, a name that stands twice in an
    object, lists and objects more than `most_deep` inside each other, more than `MOST_VALUES` values or `MOST_NAMES`
    names in an object, a number that is none or has no end, a NUL, and half a surrogate pair.
    """
    _measure(body, most_deep)
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


def _measure(body: bytes, most_deep: int) -> None:
    """Refuse what is too deep or too much, before it is read; where there is little of all, nobody looks closer."""
    brackets = body.count(b"[") + body.count(b"{")
    is_much = brackets + body.count(b",") >= MOST_VALUES
    if brackets <= most_deep and not is_much:
        return
    depth, values = 0, 1
    for piece in (_ALL_PIECES if is_much else _PIECES).finditer(body):
        first = piece[0][:1]
        depth += 1 if first in b"[{" else -1 if first in b"]}" else 0
        values += first in b"[{,"
        if depth > most_deep:
            _refuse(f"lists and objects are more than {most_deep} deep")
        if values > MOST_VALUES:
            _refuse(f"it holds more than {MOST_VALUES:,} values; send it in parts")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_NAMES:
        _refuse(f"an object has more than {MOST_NAMES:,} names")
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
