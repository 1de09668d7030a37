"""When technicians are free for a visit: on shift, not on leave, and on the way to or from no other visit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from pipeline.core.field_work import Window
from pipeline.core.matching import Filter, standing, timely
from pipeline.core.technicians import Job, Technician, seconds_between, spans

#: Visits begin at full and half hours.
STEP = timedelta(minutes=30)
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What free time already respects; the other filters are asked for each day.
_TIMED = frozenset({Filter.SHIFT, Filter.LEAVE, Filter.OVERLAP})


@dataclass(frozen=True, slots=True)
class Slot:
    """A window in which each of these technicians can come; never without one."""

    window: Window
    person_ids: tuple[UUID, ...]


def on_duty(technician: Technician, within: Window) -> list[Window]:
    """Return the stretches of a window that lie in their shifts; without any they are always on duty."""
    if not technician.shifts:
        return [within]
    found = spans(technician.shifts, within.starts_at, within.ends_at)
    cut = (Window(max(one.starts_at, within.starts_at), min(one.ends_at, within.ends_at)) for one in found)
    return [one for one in cut if one.starts_at < one.ends_at]


def free(technician: Technician, job: Job, length: timedelta, within: Window) -> list[Window]:
    """Return the longest stretches of a window in which a visit of a length fits, wherever in them it begins.

    Around every other visit there is the way from it and to it; the job's own does not stand in its way.
    """
    left = _without(on_duty(technician, within), list(_taken(technician, job)))
    return [one for one in left if one.ends_at - one.starts_at >= length]


def is_free(technician: Technician, job: Job, window: Window) -> bool:
    """Say whether a technician can come just then: the free time, and every filter of matching."""
    length = window.ends_at - window.starts_at
    return bool(free(technician, job, length, window)) and _may_come(technician, replace(job, window=window))


def slots(
    technicians: Iterable[Technician], job: Job, length: timedelta, within: Window, *, most: int | None = None
) -> list[Slot]:
    """Return every window of a length that begins at a half hour and in which somebody can come, by time.

    Of a slot's technicians those go first who have least to do. With `most` no more slots are found, and nobody looks
    further ahead for them than it takes.
    """
    people, found, at = list(technicians), list[Slot](), within.starts_at
    while at < within.ends_at and (most is None or len(found) < most):
        until = min(at + _DAY, within.ends_at)
        found += _slots(people, job, length, Window(at, min(until + length, within.ends_at)), until)
        at = until
    return found[:most]


def _slots(
    technicians: Sequence[Technician], job: Job, length: timedelta, within: Window, before: datetime
) -> list[Slot]:
    """Return the slots of a stretch that begin before a time."""
    found: dict[datetime, list[Technician]] = {}
    there = job.local
    for technician in technicians:
        allowed: dict[date, bool] = {}
        for stretch in free(technician, job, length, within):
            for start in _starts(stretch, length, before):
                day = start.astimezone(there).date()
                if day not in allowed:
                    allowed[day] = _may_come(technician, replace(job, window=Window(start, start + length)))
                if allowed[day]:
                    found.setdefault(start, []).append(technician)
    return [Slot(Window(start, start + length), _by_load(found[start], job)) for start in sorted(found)]


def _by_load(people: Sequence[Technician], job: Job) -> tuple[UUID, ...]:
    return tuple(
        person_id for _, person_id in sorted((one.load_beside(job.ticket_id), one.person_id) for one in people)
    )


def _may_come(technician: Technician, job: Job) -> bool:
    """Say whether no filter speaks against them on a day; those that free time respects are not asked again."""
    said = (*standing(job, technician, job.day), *timely(job, technician))
    return all(one.is_passed or one.filter in _TIMED for one in said)


def _taken(technician: Technician, job: Job) -> Iterator[Window]:
    for leave in technician.leaves:
        yield Window(leave.begins_at, leave.ends_at)
    for visit in technician.visits:
        if visit.ticket_id != job.ticket_id:
            way = timedelta(seconds=seconds_between(visit.place, job.place))
            yield Window(visit.starts_at - way, visit.ends_at + way)


def _starts(stretch: Window, length: timedelta, before: datetime) -> Iterator[datetime]:
    start = _EPOCH - (_EPOCH - stretch.starts_at) // STEP * STEP
    while start < before and start + length <= stretch.ends_at:
        yield start
        start += STEP


def _without(stretches: Sequence[Window], taken: Sequence[Window]) -> list[Window]:
    """Return what is left of stretches when others are cut out."""
    found = list(stretches)
    for gap in taken:
        found = [part for one in found for part in _cut(one, gap)]
    return found


def _cut(one: Window, gap: Window) -> Iterator[Window]:
    if gap.ends_at <= one.starts_at or gap.starts_at >= one.ends_at:
        yield one
        return
    if one.starts_at < gap.starts_at:
        yield Window(one.starts_at, gap.starts_at)
    if gap.ends_at < one.ends_at:
        yield Window(gap.ends_at, one.ends_at)
