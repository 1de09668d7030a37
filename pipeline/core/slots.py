"""The slots of a schedule: which moments of a cron expression are due, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile

from cronsim import CronSim, CronSimError

from models.enums import SlotOutcome

#: One look plans at most this many slots, the oldest first; the next look goes on behind them.
LIMIT = 1_000
#: A slot taken within this time of its own is on time.
GRACE = timedelta(minutes=1)
#: With `CatchUp.ALL`, so many of the newest slots run; what is older is skipped.
MOST = 100

_SECOND = timedelta(seconds=1)
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)


class CatchUp(StrEnum):
    """What happens to the slots that nobody took in time."""

    ONCE = "once"  #: the newest runs, older ones are skipped
    ALL = "all"  #: each runs, up to `MOST`
    SKIP = "skip"  #: none runs


def check(cron: str) -> None:
    """Raise ValueError, with a text that says what to do, unless `cron` is an expression that comes round.

    Five fields, or six with seconds first; as Debian's cron reads them, in UTC.
    """
    try:
        found = next(CronSim(cron, _ANY_DAY), None)
    except CronSimError as error:
        raise ValueError(
            f"{cron!r} is no cron expression ({error}): write minute, hour, day, month and weekday, as in '*/5 * * * *'"
        ) from None
    if found is None:
        raise ValueError(f"{cron!r} never comes round: change its day, month or weekday")


def next_after(cron: str, at: datetime) -> datetime:
    """Return the first slot after a moment. `cron` must have passed `check`."""
    return next(CronSim(cron, at.astimezone(UTC)))


def plan(
    cron: str,
    last: datetime | None,
    now: datetime,
    catch_up: CatchUp,
    *,
    grace: timedelta = GRACE,
    most: int = MOST,
    limit: int = LIMIT,
) -> list[tuple[datetime, SlotOutcome]]:
    """Return what becomes of the slots after `last` up to `now`, oldest first, at most `limit` of them.

    At the first look, when `last` is None, only the slot before it is written, as skipped: slots count from there.
    `cron` must have passed `check`.
    """
    if last is None:
        return [(slot, SlotOutcome.SKIPPED) for slot in islice(_back(cron, now), 1)]
    forward = CronSim(cron, last.astimezone(UTC))
    due = list(islice(takewhile(lambda slot: slot <= now, forward), limit))
    if not due:
        return []
    if catch_up is CatchUp.SKIP:
        runs_from = now - grace
    else:
        runs_from = _oldest_of_newest(cron, last, now, 1 if catch_up is CatchUp.ONCE else most)
    return [(slot, _outcome(slot, now, runs_from, grace)) for slot in due]


def _back(cron: str, now: datetime) -> Iterator[datetime]:
    """Yield the slots up to `now`, newest first."""
    return CronSim(cron, now.astimezone(UTC).replace(microsecond=0) + _SECOND, reverse=True)


def _oldest_of_newest(cron: str, last: datetime, now: datetime, count: int) -> datetime:
    """Return the oldest of the `count` newest slots after `last`; there is at least one."""
    newest = takewhile(lambda slot: slot > last, _back(cron, now))
    return list(islice(newest, count))[-1]


def _outcome(slot: datetime, now: datetime, runs_from: datetime, grace: timedelta) -> SlotOutcome:
    if slot < runs_from:
        return SlotOutcome.SKIPPED
    return SlotOutcome.RAN if now - slot <= grace else SlotOutcome.CAUGHT_UP
