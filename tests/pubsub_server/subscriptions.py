"""Subscriptions in memory: what is published stays until it is acknowledged."""

from __future__ import annotations

import base64
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Message:
    """One published message."""

    message_id: str
    data: bytes
    published_at: datetime

    def fields(self) -> dict[str, str]:
        """Its JSON as pulls and pushes carry it."""
        at = self.published_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"data": base64.b64encode(self.data).decode(), "messageId": self.message_id, "publishTime": at}


@dataclass(slots=True)
class Held:
    """A message of one subscription; it may be given out from `due_at` (monotonic seconds) on."""

    message: Message
    due_at: float
    attempt: int = 0
    ack_ids: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class PushConfig:
    """Where a push subscription delivers, and what its tokens say."""

    endpoint: str
    audience: str
    account: str
    min_backoff: float
    max_backoff: float

    def pause(self, attempt: int) -> float:
        """Seconds until the next try after the given number of tries."""
        return min(self.min_backoff * 2 ** (attempt - 1), self.max_backoff)


@dataclass(slots=True)
class Subscription:
    """One subscription; used under the server's lock."""

    name: str
    topic: str
    ack_deadline: float
    push: PushConfig | None = None
    held: list[Held] = field(default_factory=list)

    def add(self, message: Message, copies: int) -> None:
        """Keep a message until it is acknowledged, perhaps more than once."""
        self.held += [Held(message, time.monotonic()) for _ in range(copies)]

    def take(self, limit: int, lease: float) -> list[tuple[Held, str]]:
        """Give out what is due, each with a new acknowledgement id; it is due again after `lease` seconds."""
        now = time.monotonic()
        due = [held for held in self.held if held.due_at <= now][:limit]
        taken = []
        for held in due:
            held.attempt += 1
            held.due_at = now + lease
            ack_id = f"{self.name.rpartition('/')[2]}-{id(held):x}-{held.attempt}"
            held.ack_ids.add(ack_id)
            taken.append((held, ack_id))
        return taken

    def acknowledge(self, ack_ids: set[str]) -> None:
        """Forget what the ids stand for."""
        self.held = [held for held in self.held if not held.ack_ids & ack_ids]

    def postpone(self, ack_ids: set[str], seconds: float) -> None:
        """Make what the ids stand for due in so many seconds."""
        for held in self.held:
            if held.ack_ids & ack_ids:
                held.due_at = time.monotonic() + seconds

    def next_due(self) -> float:
        """When something is due next; infinite when nothing is held."""
        return min((held.due_at for held in self.held), default=math.inf)
