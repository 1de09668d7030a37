"""What operators set of a provider's projects: the table of costs and limits that holds, and limits of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from models.enums import QuotaProfile
from pipeline.core.quota import LEAST_UNITS, MOST_AT_ONCE, Limits
from pipeline.runtime import budgets
from pipeline.runtime.errors import UserError

_LEAST = {
    "units_per_user_minute": LEAST_UNITS,
    "units_per_minute": LEAST_UNITS,
    "units_per_day": LEAST_UNITS,
    "bytes_per_user_day": 1_000_000,
    "concurrency": 1,
}

_SET = text("""
    INSERT INTO projects (name, profile, units_per_user_minute, units_per_minute, units_per_day, bytes_per_user_day,
                          concurrency, changed_by)
    VALUES (:name, coalesce(:profile, :newest), :units_per_user_minute, :units_per_minute, :units_per_day,
            :bytes_per_user_day, :concurrency, :actor)
        ON CONFLICT (name) DO UPDATE
       SET profile = coalesce(:profile, projects.profile), changed_at = now(), changed_by = :actor,
           units_per_user_minute = CASE WHEN 'units_per_user_minute' = ANY(CAST(:named AS text[]))
                                        THEN excluded.units_per_user_minute ELSE projects.units_per_user_minute END,
           units_per_minute = CASE WHEN 'units_per_minute' = ANY(CAST(:named AS text[]))
                                   THEN excluded.units_per_minute ELSE projects.units_per_minute END,
           units_per_day = CASE WHEN 'units_per_day' = ANY(CAST(:named AS text[]))
                                THEN excluded.units_per_day ELSE projects.units_per_day END,
           bytes_per_user_day = CASE WHEN 'bytes_per_user_day' = ANY(CAST(:named AS text[]))
                                     THEN excluded.bytes_per_user_day ELSE projects.bytes_per_user_day END,
           concurrency = CASE WHEN 'concurrency' = ANY(CAST(:named AS text[]))
                              THEN excluded.concurrency ELSE projects.concurrency END
""")
#: With other limits the provider may answer at once: one call finds out.
_ASK_AGAIN = text(
    "UPDATE budgets SET rest_until = least(rest_until, now()) WHERE scope = :scope AND rest_until IS NOT NULL"
)
_LIST = text("""
    SELECT name, p.profile, p.units_per_user_minute, p.units_per_minute, p.units_per_day, p.bytes_per_user_day,
           p.concurrency AS most_at_once, p.changed_at, p.changed_by, count(m.id) AS mailboxes,
           CASE WHEN b.day = CAST(timezone('America/Los_Angeles', now()) AS date) THEN b.day_units ELSE 0 END AS spent,
           CASE WHEN b.rest_until BETWEEN now() AND now() + interval '25 hours' THEN b.rest_until END AS rest_until
      FROM (SELECT name FROM projects UNION SELECT project FROM mailboxes WHERE project IS NOT NULL) AS known(name)
      LEFT JOIN projects p USING (name) LEFT JOIN budgets b ON b.scope = 'project:' || name
      LEFT JOIN mailboxes m ON m.project = name
     WHERE CAST(:name AS text) IS NULL OR name = :name
     GROUP BY name, p.name, b.scope ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class Project:
    """A project with the limits that hold for it, and what it spent in the provider's day so far."""

    name: str
    profile: QuotaProfile
    limits: Limits
    mailboxes: int
    units_today: int
    rest_until: datetime | None
    changed_at: datetime | None
    changed_by: str | None


def set_project(
    connection: Connection, name: str, profile: QuotaProfile | None, overrides: Mapping[str, int], *, actor: str
) -> None:
    """Set a project's profile and those limits that are named; 0 puts the profile's own back.

    Raises `UserError` for a limit with which no mail could be fetched.
    """
    if not name.strip():
        raise UserError("a project has a name: see `fieldpost quota list`")
    for limit, number in overrides.items():
        _check(limit, number)
    values = {limit: overrides.get(limit) or None for limit in budgets.OVERRIDES}
    connection.execute(
        _SET,
        values
        | {
            "name": name,
            "profile": None if profile is None else profile.value,
            "newest": QuotaProfile.SINCE_2026_05.value,
            "named": list(overrides),
            "actor": actor,
        },
    )
    connection.execute(_ASK_AGAIN, {"scope": budgets.project_scope(name)})


def list_projects(connection: Connection, name: str | None = None) -> list[Project]:
    """Return every project that was described or that pays for a mailbox, by name."""
    return [
        Project(
            row.name,
            QuotaProfile(row.profile or QuotaProfile.SINCE_2026_05),
            budgets.limits_of(row),
            row.mailboxes,
            row.spent or 0,
            row.rest_until,
            row.changed_at,
            row.changed_by,
        )
        for row in connection.execute(_LIST, {"name": name})
    ]


def _check(limit: str, number: int) -> None:
    said = limit.replace("_", " ")
    if limit not in _LEAST:
        raise UserError(f"no limit is called {said}; there are {', '.join(one.replace('_', ' ') for one in _LEAST)}")
    if number != 0 and number < _LEAST[limit]:
        raise UserError(f"{said} must be at least {_LEAST[limit]:,}, or 0 for the profile's own")
    if limit == "concurrency" and number > MOST_AT_ONCE:
        raise UserError(f"more than {MOST_AT_ONCE} calls at once are refused by Gmail")
