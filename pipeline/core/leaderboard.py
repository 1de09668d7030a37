"""How the leaderboard counts (seed-behaviours, 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import MappingProxyType

#: Days that it may look back (seed-behaviours, 3.6: 1 to 90), and looks back where nobody says.
MOST_DAYS, DAYS = 90, 30


@dataclass(frozen=True, slots=True)
class Tally:
    """What one technician did in some days."""

    done: int = 0
    xp: int = 0
    #: Done, and no check of it ever failed.
    first_pass: int = 0
    green: int = 0
    yellow: int = 0
    red: int = 0
    attendance_days: int = 0
    #: Done after a check failed.
    reworked: int = 0
    #: Checks of their work that failed in these days, whether the work is done or not.
    qc_fails: int = 0


#: What one of each is worth.
WEIGHTS = MappingProxyType(
    {
        "done": 120,
        "xp": 1,
        "first_pass": 40,
        "green": 20,
        "yellow": 10,
        "red": -8,
        "attendance_days": 6,
        "reworked": -25,
        "qc_fails": -12,
    }
)


def score(tally: Tally) -> int:
    """Return the score of a tally."""
    return sum(WEIGHTS[one.name] * getattr(tally, one.name) for one in fields(tally))
