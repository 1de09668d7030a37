"""What the meters of one process tell each other of refusals: no call goes out after one of them heard of it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from uuid import UUID

from pipeline.runtime.budgets import Account
from pipeline.runtime.errors import Reach

#: "Too many at once" comes to many calls together: so long after one was noted, others say the same thing. A share of
#: the provider's minute: two seconds.
_BURST = 1 / 30


class Refusals:
    """Counts refusals by budget; one per process, safe to share by threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._seen: Counter[str] = Counter()
        self._crowded: dict[UUID, float] = {}

    def seen(self, account: Account) -> int:
        """Return how many refusals there were of the account's budgets: while it stays the same, there was none."""
        with self._guard:
            return sum(self._seen[scope] for scope in account.scopes)

    def note(self, account: Account, reach: Reach, at: float) -> bool:
        """Note a refusal at a monotonic time; False when an earlier one of the same burst said it already."""
        with self._guard:
            mailbox, project = account.scopes
            self._seen[project if reach is Reach.PROJECT else mailbox] += 1
            if reach is not Reach.CALLS:
                return True
            before = self._crowded.get(account.mailbox_id)
            if before is not None and at < before + _length(account.minute).total_seconds():
                return False
            self._crowded[account.mailbox_id] = at
            return True


def _length(minute: timedelta) -> timedelta:
    return minute * _BURST
