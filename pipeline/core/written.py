"""Ids and times as JSON has them: one way for every answer, event and audit row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload
from uuid import UUID


@overload
def plain(value: None) -> None: ...


@overload
def plain(value: UUID | datetime) -> str: ...


def plain(value: UUID | datetime | None) -> str | None:
    """Return an id as text, a time (aware, of any zone) in UTC with a Z, and None as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return None if value is None else str(value)


def read_id(said: str) -> UUID | None:
    """Return the id that a text is in any form that UUID takes; None for anything else."""
    try:
        return UUID(said)
    except ValueError:
        return None
