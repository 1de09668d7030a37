"""What a replay found: who came to what, which critical troubles were caught, and how true certainties were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: An asset, and the number of its stretch of trouble.
Stretch = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Visit:
    """A technician who came: to which stretch of trouble, and whether there was something to repair."""

    stretch: Stretch
    arrived_at: datetime
    is_wasted: bool


@dataclass(frozen=True, slots=True)
class Critical:
    """A critical trouble that somebody reported; `arrived_at` is when a technician stood before it, None: nobody did.

    `is_caught`: within the time for critical ones.
    """

    stretch: Stretch
    trouble_id: int
    heard_at: datetime
    arrived_at: datetime | None
    is_caught: bool


@dataclass(frozen=True, slots=True)
class Saying:
    """What one case said when it was decided: how certain (by the formula, and as told), and whether it was right."""

    stretch: Stretch
    formula: int
    told: int
    was_right: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy cost over one history."""

    visits: tuple[Visit, ...]
    criticals: tuple[Critical, ...]
    sayings: tuple[Saying, ...]
    #: From the first report of a case to its decision.
    minutes: tuple[float, ...]
    questions: int
    cases: int
    #: Sent, and not there yet when the history ended.
    on_the_way: int

    @property
    def wasted(self) -> int:
        """Visits that found nothing to repair."""
        return sum(visit.is_wasted for visit in self.visits)

    @property
    def caught(self) -> int:
        """Critical troubles that somebody came to in time."""
        return sum(one.is_caught for one in self.criticals)

    @property
    def missed(self) -> int:
        """Critical troubles that nobody came to."""
        return sum(one.arrived_at is None for one in self.criticals)

    @property
    def late(self) -> int:
        """Critical troubles that somebody came to, and too late."""
        return len(self.criticals) - self.caught - self.missed
