"""Who can be sent to a job, who best, and for everybody why: hard filters first, weighed objectives among the rest.

A filter that speaks against somebody is never outweighed. Everybody is in the table, with every filter and every
point, so that "why not them" has an answer (seed-behaviours, 1.8; its 1000 points for being capable are a filter here).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

from pipeline.core.field_work import Window
from pipeline.core.objectives import Familiar, Score, Weights, quality_share, scores
from pipeline.core.technicians import EVERY_SKILL, Booked, Job, Technician, seconds_between, skill_name, spans


class Filter(StrEnum):
    """What can speak against a technician, in the order in which it is told."""

    TECHNICIAN = "technician"  #: a member who works in the field
    AVAILABLE = "available"
    SKILL = "skill"
    ZONE = "zone"
    CERTIFICATE = "certificate"  #: good on the day of the visit
    SHIFT = "shift"  #: for the whole window
    LEAVE = "leave"
    CAPACITY = "capacity"  #: open work, visits a day
    OVERLAP = "overlap"  #: with other visits, and the way between


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says of one technician."""

    filter: Filter
    is_passed: bool
    said: str

    def as_stored(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"filter": self.filter.value, "is_passed": self.is_passed, "reason": self.said}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One line of the table; `place` counts from 1 among all, those who can be sent first."""

    person_id: UUID
    verdicts: tuple[Verdict, ...]
    scores: tuple[Score, ...]
    #: Filters that were left out of account.
    ignored: frozenset[Filter]
    open_load: int
    place: int = 0
    name: str = ""

    @property
    def against(self) -> tuple[Verdict, ...]:
        """What speaks against them."""
        return tuple(one for one in self.verdicts if not one.is_passed and one.filter not in self.ignored)

    @property
    def is_fit(self) -> bool:
        """True when they can be sent."""
        return not self.against

    @property
    def total(self) -> int:
        """All points together."""
        return sum(one.points for one in self.scores)

    def failed(self, wanted: Filter) -> str | None:
        """Return why a filter speaks against them, None when it does not."""
        return next((one.said for one in self.against if one.filter is wanted), None)

    def as_told(self) -> dict[str, Any]:
        """Return it as JSON for people."""
        return {"name": self.name, **self.as_stored()}

    def as_stored(self) -> dict[str, Any]:
        """Return it as JSON; nothing of it names a person but by id."""
        return {
            "tech_id": str(self.person_id),
            "place": self.place,
            "is_fit": self.is_fit,
            "total": self.total,
            "open_load": self.open_load,
            "filters": [one.as_stored() for one in self.verdicts],
            "ignored": sorted(self.ignored),
            "objectives": [one.as_stored() for one in self.scores],
        }


#: What nobody is familiar with.
NOBODY: Mapping[UUID, Familiar] = MappingProxyType({})


def table(
    job: Job,
    technicians: Iterable[Technician],
    known: Mapping[UUID, Familiar] = NOBODY,
    weights: Weights | None = None,
    ignored: Collection[Filter] = (),
) -> tuple[Candidate, ...]:
    """Return every technician, best first; the order of `technicians` does not matter.

    Those who can be sent go first, then by points; ties go to the smaller load, the better quality, the zone, the id.
    """
    weighed = []
    for one in technicians:
        points = scores(job, one, known.get(one.person_id), weights or Weights())
        load = one.load_beside(job.ticket_id)
        candidate = Candidate(one.person_id, verdicts(job, one), points, frozenset(ignored), load, name=one.name)
        rank = (not candidate.is_fit, -candidate.total, load, -quality_share(one), sorted(one.zones), one.person_id)
        weighed.append((rank, candidate))
    weighed.sort(key=lambda pair: pair[0])
    return tuple(replace(one, place=place) for place, (_, one) in enumerate(weighed, start=1))


def verdicts(job: Job, technician: Technician) -> tuple[Verdict, ...]:
    """Return what every filter says; without a window those about time have nothing against anybody."""
    return (*standing(job, technician, job.day), *timely(job, technician))


def standing(job: Job, technician: Technician, day: date) -> tuple[Verdict, ...]:
    """Return what the filters say that do not depend on the hour: for planning a whole day."""
    return (
        _verdict(Filter.TECHNICIAN, _not_technician(technician), "works in the field"),
        _verdict(Filter.AVAILABLE, None if technician.is_available else "is set unavailable", "is available"),
        _verdict(Filter.SKILL, _skills(job, technician), "has the skills"),
        _verdict(Filter.ZONE, _zone(job, technician), f"serves {job.zone}" if job.zone else "no zone is asked for"),
        _verdict(Filter.CERTIFICATE, _certificates(job, technician, day), "has the certificates"),
    )


def timely(job: Job, technician: Technician) -> tuple[Verdict, ...]:
    """Return what the filters say that depend on the job's window, and on what else they have to do."""
    window = job.window
    if window is None:
        free = "nothing is scheduled yet"
        return (
            *(Verdict(one, True, free) for one in (Filter.SHIFT, Filter.LEAVE)),
            _verdict(Filter.CAPACITY, _capacity(job, technician), "has room"),
            Verdict(Filter.OVERLAP, True, free),
        )
    return (
        _verdict(Filter.SHIFT, _shift(technician, window), "is on shift"),
        _verdict(Filter.LEAVE, _leave(technician, window), "is not on leave"),
        _verdict(Filter.CAPACITY, _capacity(job, technician), "has room"),
        _verdict(Filter.OVERLAP, _overlap(job, technician, window), "is free, with the way there and on"),
    )


def _verdict(which: Filter, against: str | None, otherwise: str) -> Verdict:
    return Verdict(which, against is None, against or otherwise)


def _not_technician(technician: Technician) -> str | None:
    return None if technician.is_technician else "is no active member who works in the field"


def wanted_skills(job: Job) -> frozenset[str]:
    """Return the skills that a job asks for, in their one spelling."""
    return frozenset(skill_name(one) for one in job.skills) - {EVERY_SKILL}


def _skills(job: Job, technician: Technician) -> str | None:
    """What the template asks for must be there. Where it asks for nothing, only who names skills is held to the type.

    So an organization that keeps no skills sends anybody, as with teams (`pipeline.core.dispatching`).
    """
    if EVERY_SKILL in technician.skills:
        return None
    wanted = wanted_skills(job)
    if not wanted and technician.skills and job.incident_type:
        wanted = frozenset({skill_name(job.incident_type)}) - {EVERY_SKILL}
    missing = sorted(wanted - technician.skills)
    return f"lacks {', '.join(missing)}" if missing else None


def _zone(job: Job, technician: Technician) -> str | None:
    if job.zone is None or not technician.zones:
        return None
    served = {one.casefold() for one in technician.zones}
    return (
        None
        if job.zone.casefold() in served
        else f"does not serve {job.zone}, only {', '.join(sorted(technician.zones))}"
    )


def _certificates(job: Job, technician: Technician, day: date) -> str | None:
    held = technician.certificates
    missing = sorted(one for one in job.certificates if one.lower() not in held)
    expired = {one: until for one in job.certificates if (until := held.get(one.lower())) is not None and until < day}
    said = [f"has no certificate {', '.join(missing)}"] if missing else []
    said += [f"the certificate {one} is good until {expired[one]} only" for one in sorted(expired)]
    return "; ".join(said) or None


def _shift(technician: Technician, window: Window) -> str | None:
    if not technician.shifts:
        return None
    found = spans(technician.shifts, window.starts_at, window.ends_at)
    if any(one.starts_at <= window.starts_at and window.ends_at <= one.ends_at for one in found):
        return None
    return "is on shift for a part of the window only" if found else "is not on shift"


def _leave(technician: Technician, window: Window) -> str | None:
    away = [one for one in technician.leaves if one.begins_at < window.ends_at and window.starts_at < one.ends_at]
    return f"is on leave until {max(one.ends_at for one in away):%Y-%m-%d %H:%M} UTC" if away else None


def _capacity(job: Job, technician: Technician) -> str | None:
    load = technician.load_beside(job.ticket_id)
    if technician.capacity is not None and load >= technician.capacity:
        return f"has {load} open tickets of at most {technician.capacity}"
    if job.window is None or technician.most_visits is None:
        return None
    booked = technician.visits_on(job.day, job.local, {job.ticket_id})
    return (
        None if booked < technician.most_visits else f"has {booked} visits that day of at most {technician.most_visits}"
    )


def _overlap(job: Job, technician: Technician, window: Window) -> str | None:
    """Two visits are as far apart as the way between them takes."""
    for one in sorted(_others(job, technician), key=lambda one: (one.starts_at, one.ticket_id)):
        way = timedelta(seconds=seconds_between(one.place, job.place))
        if window.starts_at < one.ends_at + way and one.starts_at < window.ends_at + way:
            return f"has a visit {one.starts_at:%Y-%m-%d %H:%M} to {one.ends_at:%H:%M} UTC, {_minutes(way)} min away"
    return None


def _others(job: Job, technician: Technician) -> list[Booked]:
    return [one for one in technician.visits if one.ticket_id != job.ticket_id]


def _minutes(way: timedelta) -> int:
    return -(-int(way.total_seconds()) // 60)
