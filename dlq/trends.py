"""How a kind of error develops: first and last seen, letters per hour of the last day, and one word for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

#: The hours that are looked at, and how many of the newest are compared with those before.
HOURS, RECENT = 24, 6

_SEEN = text("""
    SELECT k.error_group, k.stage, min(d.buried_at) AS first_at, max(d.buried_at) AS last_at,
           count(*) FILTER (WHERE d.resolution = 'replayed') AS replayed,
           count(*) FILTER (WHERE EXISTS (SELECT FROM bulk_items i WHERE i.again_id = d.id)) AS failed_again,
           min(d.buried_at) > now() - interval '1 hour' AS is_new
      FROM unnest(CAST(:groups AS text[]), CAST(:stages AS text[])) AS k(error_group, stage)
      JOIN dead_letters d ON d.error_group = k.error_group AND d.stage = k.stage
       AND (CAST(:org AS uuid) IS NULL OR d.org_id = :org)
     GROUP BY k.error_group, k.stage
""")
_HOURLY = text("""
    SELECT k.error_group, k.stage, CAST(floor(extract(epoch FROM now() - d.buried_at) / 3600) AS int) AS ago,
           count(*) AS letters
      FROM unnest(CAST(:groups AS text[]), CAST(:stages AS text[])) AS k(error_group, stage)
      JOIN dead_letters d ON d.error_group = k.error_group AND d.stage = k.stage
       AND d.buried_at > now() - make_interval(hours => :hours) AND d.buried_at <= now()
       AND (CAST(:org AS uuid) IS NULL OR d.org_id = :org)
     GROUP BY 1, 2, 3
""")


class Trend(StrEnum):
    """Where a kind of error is going."""

    NEW = "new"  #: first seen within the last hour
    GROWING = "growing"
    STEADY = "steady"
    FADING = "fading"
    QUIET = "quiet"  #: none in the last 24 hours


@dataclass(frozen=True, slots=True)
class Course:
    """All letters of one kind that are kept: `hourly` has the oldest of the last 24 hours first."""

    first_at: datetime
    last_at: datetime
    hourly: tuple[int, ...]
    trend: Trend
    replayed: int
    failed_again: int


def trend_of(hourly: Sequence[int], *, is_new: bool) -> Trend:
    """Return the word for a day's letters: what the last 6 hours brought per hour, against the 18 before them.

    Twice as many per hour is growing, half as many is fading.
    """
    if not any(hourly):
        return Trend.QUIET
    if is_new:
        return Trend.NEW
    recent = sum(hourly[-RECENT:]) / RECENT
    before = sum(hourly[:-RECENT]) / (len(hourly) - RECENT)
    if recent >= 2 * before:
        return Trend.GROWING
    return Trend.FADING if 2 * recent <= before else Trend.STEADY


def courses(
    connection: Connection, kinds: Sequence[tuple[str, str]], org_id: UUID | None
) -> Mapping[tuple[str, str], Course]:
    """Return the course of each (error group, stage), by the database's clock; of one organization, or of all."""
    if not kinds:
        return {}
    unique = sorted(set(kinds))
    values = {"groups": [group for group, _ in unique], "stages": [stage for _, stage in unique], "org": org_id}
    hours = {kind: [0] * HOURS for kind in unique}
    for row in connection.execute(_HOURLY, values | {"hours": HOURS}):
        hours[row.error_group, row.stage][HOURS - 1 - min(row.ago, HOURS - 1)] += row.letters
    return {
        (row.error_group, row.stage): Course(
            row.first_at,
            row.last_at,
            tuple(hours[row.error_group, row.stage]),
            trend_of(hours[row.error_group, row.stage], is_new=row.is_new),
            row.replayed,
            row.failed_again,
        )
        for row in connection.execute(_SEEN, values)
    }
