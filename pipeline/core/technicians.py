"""Technicians and the jobs they are sent to, as matching and planning see them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import MappingProxyType
from uuid import UUID

from pipeline.core import travel
from pipeline.core.duty import Leave, Shift, zone
from pipeline.core.field_work import Window
from pipeline.core.travel import Position

#: A technician who has it can do everything (seed-behaviours, 1.8).
EVERY_SKILL = "DEFAULT"
_VERSION = re.compile(r"_V[0-9]+$")
_DAY = timedelta(days=1)


def skill_name(said: str) -> str:
    """Return a skill or a type of work in its one spelling: upper case, without the version at its end."""
    return _VERSION.sub("", said.strip().upper())


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody goes: a site, its position in degrees, either or neither."""

    site_id: UUID | None = None
    position: Position | None = None


def seconds_between(here: Place, there: Place) -> int:
    """Return how long it takes from one place to another, in seconds; nothing within one site."""
    if here.site_id is not None and here.site_id == there.site_id:
        return 0
    return travel.seconds(here.position, there.position)


@dataclass(frozen=True, slots=True)
class Booked:
    """A visit that takes a technician's time: booked or under way."""

    ticket_id: UUID
    starts_at: datetime
    ends_at: datetime
    place: Place = field(default_factory=Place)


@dataclass(frozen=True, slots=True)
class Technician:
    """One person who could be sent, with everything that speaks for or against it."""

    person_id: UUID
    #: For people to read; nothing goes by it.
    name: str = ""
    #: A member whose role may check in, and who may sign in.
    is_technician: bool = True
    is_available: bool = True
    #: In their one spelling (`skill_name`); without any they do work that asks for none in particular.
    skills: frozenset[str] = frozenset()
    #: Zones served; empty is everywhere.
    zones: frozenset[str] = frozenset()
    #: By name in lower case, the last day it is good on; None for ever.
    certificates: Mapping[str, date | None] = field(default_factory=lambda: MappingProxyType({}))
    #: Without any they are always on duty.
    shifts: tuple[Shift, ...] = ()
    leaves: tuple[Leave, ...] = ()
    visits: tuple[Booked, ...] = ()
    #: When visits were that are done: they take no more time, and count among those of their day.
    visited_at: tuple[datetime, ...] = ()
    home: Position | None = None
    #: Open work at most; None for any number.
    capacity: int | None = None
    #: Visits a day at most; None for as many as fit.
    most_visits: int | None = None
    open_tickets: frozenset[UUID] = frozenset()
    #: Of the latest checks of their work.
    checks: int = 0
    passes: int = 0

    def visits_on(self, day: date, local: tzinfo, beside: Collection[UUID] = ()) -> int:
        """Return how many visits a day of a time zone has, done ones too, without those to come of tickets `beside`."""
        begun = [*self.visited_at, *(one.starts_at for one in self.visits if one.ticket_id not in beside)]
        return sum(at.astimezone(local).date() == day for at in begun)

    def load_beside(self, ticket_id: UUID) -> int:
        """Return how many other tickets they have to work on."""
        return len(self.open_tickets - {ticket_id})


@dataclass(frozen=True, slots=True)
class Job:
    """What somebody is to be sent to."""

    ticket_id: UUID
    now: datetime
    #: When they come; None while nothing is scheduled.
    window: Window | None = None
    #: Where its days are counted: the site's, by its IANA name.
    timezone: str = "UTC"
    due_at: datetime | None = None
    #: As the ticket says; `skills` are those that its template asks for, both in any spelling.
    incident_type: str | None = None
    skills: frozenset[str] = frozenset()
    certificates: frozenset[str] = frozenset()
    zone: str | None = None
    place: Place = field(default_factory=Place)
    #: How long a visit takes, by the template.
    visit: timedelta = timedelta(hours=1)

    @property
    def local(self) -> tzinfo:
        """The site's time zone; UTC where it names none that is known here."""
        try:
            return zone(self.timezone)
        except ValueError:
            return UTC

    @property
    def day(self) -> date:
        """The day of the visit where it takes place; today while nothing is scheduled."""
        return (self.window.starts_at if self.window else self.now).astimezone(self.local).date()


def spans(shifts: Iterable[Shift], begins_at: datetime, ends_at: datetime) -> list[Window]:
    """Return when shifts go on within a time, in order, joined where one ends as the next begins; UTC."""
    found = sorted(
        (window for shift in shifts for window in _windows(shift, begins_at, ends_at)),
        key=lambda one: (one.starts_at, one.ends_at),
    )
    joined: list[Window] = []
    for window in found:
        if joined and window.starts_at <= joined[-1].ends_at:
            joined[-1] = Window(joined[-1].starts_at, max(joined[-1].ends_at, window.ends_at))
        else:
            joined.append(window)
    return joined


def _windows(shift: Shift, begins_at: datetime, ends_at: datetime) -> Iterable[Window]:
    """Return the times of one weekly shift that touch a time; where clocks change they are those of the wall."""
    local = zone(shift.timezone)
    day, last = begins_at.astimezone(local).date() - _DAY, ends_at.astimezone(local).date()
    while day <= last:
        if day.weekday() == shift.weekday:
            ended = day + _DAY if shift.is_over_midnight else day
            starts_at, stops_at = _at(day, shift.begins, local), _at(ended, shift.ends, local)
            if starts_at < stops_at and starts_at < ends_at and begins_at < stops_at:
                yield Window(starts_at, stops_at)
        day += _DAY


def _at(day: date, at: time, local: tzinfo) -> datetime:
    return datetime.combine(day, at, local).astimezone(UTC)
