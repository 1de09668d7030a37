"""Keyset cursors: signed, and good only for the list and filters they were made for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from ops_api.answers import Refusal
from ops_api.signing import Signer
from pipeline.runtime.secrets import Secrets

_FOREIGN = "this cursor does not belong to this list and its filters; start again without a cursor"


class Cursors:
    """Makes and reads cursors: over descending ids, or over places that a list knows how to go on from."""

    def __init__(self, keys: Secrets) -> None:
        self._signer = Signer(keys.key("cursor"))

    def make(self, last_id: int, filters: Mapping[str, object]) -> str:
        """Return the cursor that goes on after `last_id`."""
        return self._signer.sign({"id": last_id, "of": _digest(filters)})

    def read(self, cursor: str | None, filters: Mapping[str, object]) -> int | None:
        """Return the id to go on from, None for the first page. Raises `Refusal` (422) for a cursor not made for it."""
        if cursor is None:
            return None
        values = self._signer.read(cursor)
        if values is None or values.get("of") != _digest(filters) or not isinstance(values.get("id"), int):
            raise Refusal(422, _FOREIGN)
        return int(values["id"])

    def make_place(self, place: Mapping[str, object], filters: Mapping[str, object]) -> str:
        """Return the cursor that goes on after a place of another kind, such as a rank with a time."""
        return self._signer.sign({"place": dict(place), "of": _digest(filters)})

    def read_place(self, cursor: str | None, filters: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the place to go on from, None for the first page. Raises `Refusal` (422) as `read` does."""
        if cursor is None:
            return None
        values = self._signer.read(cursor)
        if values is None or values.get("of") != _digest(filters) or not isinstance(values.get("place"), dict):
            raise Refusal(422, _FOREIGN)
        return dict(values["place"])


def _digest(filters: Mapping[str, object]) -> str:
    said = orjson.dumps({name: None if value is None else str(value) for name, value in sorted(filters.items())})
    return hashlib.sha256(said).hexdigest()[:32]
