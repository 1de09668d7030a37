"""One call of an API method: its arguments, read as Google reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import orjson

from tests.gmail_server.errors import ApiError, invalid
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.http11 import Request
from tests.gmail_server.state import Mailbox
from tests.gmail_server.world import World


@dataclass(slots=True)
class Call:
    """A request to `method` for `mailbox`; `ids` are the variable path segments, `effects` faults in the answer."""

    world: World
    mailbox: Mailbox
    ids: tuple[str, ...]
    query: dict[str, list[str]]
    request: Request
    upload: bool = False
    effects: frozenset[FaultKind] = field(default_factory=frozenset)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else default

    def texts(self, name: str) -> list[str]:
        """Every value of a repeated query parameter."""
        return self.query.get(name, [])

    def flag(self, name: str) -> bool:
        """A boolean query parameter, false by default. ApiError 400 when it is neither."""
        value = self.text(name, "false").lower()
        if value not in {"true", "false", "1", "0"}:
            raise invalid(f"Invalid value at '{name}' (TYPE_BOOL), \"{value}\"")
        return value in {"true", "1"}

    def page_size(self) -> int:
        """`maxResults`: default 100, at most 500. ApiError 400 unless a positive number."""
        value = self.text("maxResults", "100")
        if not (value.isascii() and value.isdigit()) or int(value) == 0:
            raise invalid(f"Invalid value at 'max_results' (TYPE_UINT32), \"{value}\"")
        return min(int(value), 500)

    def json(self) -> dict[str, object]:
        """The JSON object in the body, empty without one. ApiError 400 when it is something else."""
        if not self.request.body:
            return {}
        try:
            value = orjson.loads(self.request.body)
        except orjson.JSONDecodeError as error:
            raise ApiError(400, "parseError", "Parse Error") from error
        if not isinstance(value, dict):
            raise ApiError(400, "parseError", "Parse Error")
        return value

    def strings(self, body: dict[str, object], name: str) -> tuple[str, ...]:
        """A list of strings in the body, empty when absent. ApiError 400 when it is something else."""
        value = body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid(f"Invalid value at '{name}'")
        return tuple(value)


Method = Callable[[Call], bytes]


def query_of(text: str) -> dict[str, list[str]]:
    """Query parameters by name."""
    return parse_qs(text, keep_blank_values=True) if text else {}
