"""What happened in a mailbox, by history id, and how far back it can be asked."""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass
from enum import StrEnum


class Change(StrEnum):
    """A kind of history record, in the words of the `historyTypes` parameter."""

    MESSAGE_ADDED = "messageAdded"
    MESSAGE_DELETED = "messageDeleted"
    LABEL_ADDED = "labelAdded"
    LABEL_REMOVED = "labelRemoved"

    @property
    def field(self) -> str:
        """The plural field the record has in an answer."""
        return {"messageAdded": "messagesAdded", "messageDeleted": "messagesDeleted"}.get(
            self.value, "labelsAdded" if self is Change.LABEL_ADDED else "labelsRemoved"
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one message: its labels after the change, and the labels that came or went."""

    history_id: int
    change: Change
    message_id: str
    thread_id: str
    labels: tuple[str, ...]
    changed: tuple[str, ...] = ()

    def concerns(self, label: str) -> bool:
        """Whether the message has or had that label in this change."""
        return label in self.labels or label in self.changed

    def as_json(self) -> dict[str, object]:
        """The record as `history.list` shows it."""
        short: dict[str, object] = {"id": self.message_id, "threadId": self.thread_id}
        entry: dict[str, object] = {"message": short | {"labelIds": self.labels} if self.labels else short}
        if self.changed:
            entry["labelIds"] = self.changed
        return {"id": str(self.history_id), "messages": [short], self.change.field: [entry]}


class HistoryLog:
    """History of one mailbox: ids grow by irregular steps; ids below `floor` are forgotten."""

    def __init__(self, start: int, seed: int) -> None:
        self.current = start
        self.floor = start
        self._steps = random.Random(seed)
        self._records: list[Record] = []

    def next_id(self) -> int:
        """Advance the mailbox to a new history id."""
        self.current += self._steps.randint(1, 97)
        return self.current

    def write(self, record: Record) -> None:
        """Append a record; its id must be the newest."""
        self._records.append(record)

    def knows(self, history_id: int) -> bool:
        """Whether a client may still ask for what came after `history_id`."""
        return self.floor <= history_id <= self.current

    def after(self, history_id: int, until: int, types: frozenset[Change], label: str | None) -> list[Record]:
        """Records with an id above `history_id` up to `until`, oldest first; all types when `types` is empty."""
        start = bisect.bisect_right(self._records, history_id, key=lambda record: record.history_id)
        end = bisect.bisect_right(self._records, until, key=lambda record: record.history_id)
        return [
            record
            for record in self._records[start:end]
            if (not types or record.change in types) and (label is None or record.concerns(label))
        ]

    def expire(self, before: int | None = None) -> int:
        """Forget what lies before `before` (default: everything so far) and give the new floor."""
        if before is None:
            before = self.next_id()
        self.floor = max(self.floor, min(before, self.current))
        keep = bisect.bisect_right(self._records, self.floor, key=lambda record: record.history_id)
        del self._records[:keep]
        return self.floor
