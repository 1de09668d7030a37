"""Who did what to dead letters, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from models.dead_letters import letter_actions
from models.enums import LetterAction


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that was done; `data` holds the arguments before and after an edit, or a bulk's number of letters."""

    action: LetterAction
    actor: str
    reason: str
    at: datetime
    data: Mapping[str, Any] | None
    letter_id: int | None
    bulk_id: int | None


def actions(
    connection: Connection, *, letter_id: int | None = None, bulk_id: int | None = None, limit: int = 100
) -> list[Action]:
    """Return what was done to a letter, to a bulk as a whole, to a letter by a bulk, or ever; the newest first."""
    column = letter_actions.c
    query = select(letter_actions).order_by(column.id.desc()).limit(limit)
    if letter_id is not None:
        query = query.where(column.letter_id == letter_id)
    if bulk_id is not None:
        query = query.where(column.bulk_id == bulk_id)
    if bulk_id is not None and letter_id is None:
        query = query.where(column.letter_id.is_(None))
    return [
        Action(LetterAction(row.action), row.actor, row.reason, row.at, row.data, row.letter_id, row.bulk_id)
        for row in connection.execute(query)
    ]
