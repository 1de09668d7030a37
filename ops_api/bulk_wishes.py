"""Starting a wish about many dead letters, for HTTP and the terminal: what was counted is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection

from dlq import bulks, reading
from dlq.reading import Which
from pipeline.runtime.errors import UserError

#: Ids that are named in a sentence.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Counted:
    """How many open letters were shown to a person, and the newest of them; None when there was none."""

    count: int
    newest_id: int | None


def missing(connection: Connection, letter_ids: Sequence[int], org_id: UUID | None) -> list[int]:
    """Return those of the ids that are no letter (of the organization), whatever became of it."""
    if not letter_ids:
        return []
    return sorted(set(letter_ids) - set(reading.ids(connection, letter_ids=letter_ids, org_id=org_id, is_open=None)))


def some(numbers: Sequence[int]) -> str:
    """Return numbers as people read them: the first few, and how many more there are."""
    said = ", ".join(map(str, numbers[:_SHOWN]))
    return said if len(numbers) <= _SHOWN else f"{said} and {len(numbers) - _SHOWN:,} more"


def start(connection: Connection, wish: bulks.Wish, counted: Counted | None) -> bulks.Started:
    """Start a wish, or return the equal one that goes on. With `counted`, letters newer than those are left out.

    Raises `UserError` when more letters match than were counted: then a person has not seen all that is meant.
    """
    if counted is None:
        return bulks.start(connection, wish)
    which: Which = {**wish.which, "newest_id": counted.newest_id or 0}
    matching = reading.count(connection, **which)
    if matching > counted.count:
        raise UserError(f"{matching:,} letters match, and {counted.count:,} were counted: count again")
    return bulks.start(connection, replace(wish, which=which))
