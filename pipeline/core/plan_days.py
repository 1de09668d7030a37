"""One day of an organization as a problem: real technicians, tickets and times in, numbers and seconds out.

Who may do what is what matching says (`matching.standing`), when they can is their duty (`free_slots.free`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from uuid import UUID

from models.enums import DispatchPriority, DispatchState
from pipeline.core import free_slots
from pipeline.core.field_work import Window
from pipeline.core.matching import Verdict, standing
from pipeline.core.plans import Anchor, Job, Problem, Span, Weights, Worker
from pipeline.core.technicians import Job as Asked
from pipeline.core.technicians import Place, Technician
from pipeline.core.travel import Position, matrix

#: The hours of those who have no shifts: they are always on duty, and not planned for at night.
OFFICE_HOURS = (time(8), time(17))
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_FOR_SLOTS = Asked(UUID(int=0), datetime(1970, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A ticket to plan."""

    asked: Asked
    code: str
    version: int
    state: DispatchState
    priority: DispatchPriority
    #: When the customer may be visited: what was agreed or offered; empty for at any time.
    windows: tuple[Window, ...] = ()
    #: Whose free time was offered; None for anybody's.
    only: UUID | None = None
    #: Who was there before.
    known: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Frame:
    """Which day it is, and since when it is planned: `now` on the day itself, and its beginning before."""

    day: date
    zone: tzinfo
    now: datetime

    @property
    def begins_at(self) -> datetime:
        """Midnight before; the origin of a problem's times."""
        return datetime.combine(self.day, time(), self.zone).astimezone(UTC)

    @property
    def ends_at(self) -> datetime:
        """Midnight after."""
        return datetime.combine(self.day + _DAY, time(), self.zone).astimezone(UTC)

    @property
    def window(self) -> Window:
        """What is left of the day."""
        return Window(min(max(self.begins_at, self.now), self.ends_at), self.ends_at)

    @property
    def office_hours(self) -> Window:
        """The hours of those without shifts."""
        begin, end = (datetime.combine(self.day, at, self.zone).astimezone(UTC) for at in OFFICE_HOURS)
        return Window(begin, end)

    def second(self, at: datetime) -> int:
        """Return a moment as a problem has it, rounded up."""
        return math.ceil((at - self.begins_at) / _SECOND)

    def moment(self, second: int) -> datetime:
        """Return a second of a problem as a moment."""
        return self.begins_at + second * _SECOND


@dataclass(frozen=True, slots=True)
class DayProblem:
    """A problem with what its numbers stand for. `against` says of each job what speaks against which technician."""

    frame: Frame
    wanted: tuple[Wanted, ...]
    technicians: tuple[Technician, ...]
    against: tuple[Mapping[int, tuple[Verdict, ...]], ...]
    problem: Problem


@dataclass(slots=True)
class _Places:
    """The places of a problem, each once: a site, a position, or somewhere that is like nowhere else."""

    positions: list[Position | None] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)

    def number(self, place: Place) -> int:
        key: object = place.site_id or place.position or len(self.positions)
        if key not in self._numbers:
            self._numbers[key] = len(self.positions)
            self.positions.append(place.position)
        return self._numbers[key]


def day_problem(
    frame: Frame, wanted: Sequence[Wanted], technicians: Sequence[Technician], weights: Weights | None = None
) -> DayProblem:
    """Return the problem of a day; tickets and technicians go by id, so that the same day is the same problem."""
    wanted = sorted(wanted, key=lambda one: one.asked.ticket_id)
    people = sorted(technicians, key=lambda one: one.person_id)
    planned = frozenset(one.asked.ticket_id for one in wanted)
    places, against = _Places(), _against(frame, wanted, people)
    workers = tuple(_worker(frame, one, planned, places) for one in people)
    jobs = tuple(
        _job(frame, one, people, why, places.number(one.asked.place)) for one, why in zip(wanted, against, strict=True)
    )
    opens, closes = frame.second(frame.window.starts_at), frame.second(frame.ends_at)
    problem = Problem(jobs, workers, matrix(places.positions), opens, closes, weights or Weights())
    return DayProblem(frame, tuple(wanted), tuple(people), tuple(against), problem)


def _against(
    frame: Frame, wanted: Sequence[Wanted], people: Sequence[Technician]
) -> list[Mapping[int, tuple[Verdict, ...]]]:
    """Return what matching has against whom; jobs that ask for the same are looked at once."""
    seen: dict[object, Mapping[int, tuple[Verdict, ...]]] = {}
    found = []
    for one in wanted:
        asked = one.asked
        key = (asked.incident_type, asked.skills, asked.certificates, asked.zone)
        if key not in seen:
            verdicts = {number: standing(asked, who, frame.day) for number, who in enumerate(people)}
            failed = {number: tuple(v for v in said if not v.is_passed) for number, said in verdicts.items()}
            seen[key] = {number: said for number, said in failed.items() if said}
        found.append(seen[key])
    return found


def _job(
    frame: Frame, one: Wanted, people: Sequence[Technician], against: Mapping[int, tuple[Verdict, ...]], place: int
) -> Job:
    able = frozenset(
        number
        for number, who in enumerate(people)
        if number not in against and (one.only is None or who.person_id == one.only)
    )
    # Who agreed to an hour gets an hour, whatever the template says.
    longest = max((window.ends_at - window.starts_at for window in one.windows), default=one.asked.visit)
    return Job(
        place=place,
        seconds=int(min(one.asked.visit, longest) / _SECOND),
        windows=_spans(frame, one.windows or (frame.window,)),
        able=able,
        due=None if one.asked.due_at is None else frame.second(one.asked.due_at),
        priority=one.priority,
        known=frozenset(number for number, who in enumerate(people) if who.person_id in one.known),
    )


def _worker(frame: Frame, who: Technician, planned: frozenset[UUID], places: _Places) -> Worker:
    home = places.number(Place(position=who.home))
    within = frame.window
    if not who.shifts:
        office = frame.office_hours
        within = Window(max(within.starts_at, office.starts_at), min(within.ends_at, office.ends_at))
    # No visits and no length: what is left is their duty without their leave.
    free = free_slots.free(replace(who, visits=()), _FOR_SLOTS, _SECOND, within)
    return Worker(_spans(frame, free), home, _anchors(frame, who, planned, places), _most(frame, who, planned))


def _anchors(frame: Frame, who: Technician, planned: frozenset[UUID], places: _Places) -> tuple[Anchor, ...]:
    """Return the visits that stand; those that overlap, as in an emergency, are one that ends where the last does."""
    found: list[Anchor] = []
    for visit in sorted(who.visits, key=lambda one: (one.starts_at, one.ends_at)):
        begins = max(0, frame.second(visit.starts_at))
        ends = min(frame.second(visit.ends_at), frame.second(frame.ends_at))
        if visit.ticket_id in planned or ends <= 0 or begins >= ends:
            continue
        place = places.number(visit.place)
        if found and begins < found[-1].ends:
            last = found.pop()
            begins, place = last.begins, place if ends >= last.ends else last.place
            ends = max(ends, last.ends)
        found.append(Anchor(begins, ends, place))
    return tuple(found)


def _most(frame: Frame, who: Technician, planned: frozenset[UUID]) -> int | None:
    """Return how many more visits they may get, by their open work and by their visits of the day."""
    booked = who.visits_on(frame.day, frame.zone, planned)
    left = [
        most - already
        for most, already in ((who.capacity, len(who.open_tickets - planned)), (who.most_visits, booked))
        if most is not None
    ]
    return max(0, min(left)) if left else None


def _spans(frame: Frame, windows: Sequence[Window]) -> tuple[Span, ...]:
    """Return what of windows lies in the rest of the day, in order; whole seconds within."""
    rest = frame.window
    found = (
        (
            frame.second(max(one.starts_at, rest.starts_at)),
            (min(one.ends_at, rest.ends_at) - frame.begins_at) // _SECOND,
        )
        for one in windows
    )
    return tuple(sorted((begin, end) for begin, end in found if begin < end))
