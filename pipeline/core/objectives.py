"""What makes one technician better than another for a job: five objectives, each with points and why in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pipeline.core.duty import is_on_shift, next_begin
from pipeline.core.technicians import Booked, Job, Place, Technician, seconds_between

#: The whole of an objective; a share is a whole number of these, so that sums are exact and orders stable.
WHOLE = 1_000
MOST_WEIGHT = 1_000
#: A way of so many seconds is worth half.
_HALF_WAY = 3_600
#: So many open tickets are worth half.
_HALF_LOAD = 4
#: More slack than this is worth no more.
_MOST_SLACK = timedelta(hours=4)
#: Somebody without checks passes two of three: good work soon shows, and one bad day is not the end.
_PRIOR_PASSES, _PRIOR_CHECKS = 2, 3


class Objective(StrEnum):
    """What is weighed."""

    DISTANCE = "distance"  #: the way there
    WORKLOAD = "workload"  #: how much they have already
    SLA = "sla"  #: how long before it is due they are there
    CONTINUITY = "continuity"  #: whether they know it
    QUALITY = "quality"  #: how often their work passes its check


class Familiar(StrEnum):
    """What somebody knows from earlier visits; the nearest counts."""

    TICKET = "ticket"
    ASSET = "asset"
    SITE = "site"


_FAMILIAR = {Familiar.TICKET: WHOLE, Familiar.ASSET: 700, Familiar.SITE: 400}
_FAMILIAR_WORDS = {
    Familiar.TICKET: "was sent to this ticket before",
    Familiar.ASSET: "has worked on this asset",
    Familiar.SITE: "has worked at this site",
}


@dataclass(frozen=True, slots=True)
class Weights:
    """How many points the whole of each objective is worth, 0 to 1000. Raises ValueError for one that is not."""

    distance: int = 300
    workload: int = 250
    sla: int = 200
    continuity: int = 150
    quality: int = 100

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not 0 <= weight <= MOST_WEIGHT:
                raise ValueError(f"the weight of {name} must be between 0 and {MOST_WEIGHT}, not {weight}")

    def of(self, objective: Objective) -> int:
        """Return the weight of an objective."""
        found: int = getattr(self, objective.value)
        return found

    def changed(self, changes: Mapping[Objective, int]) -> Weights:
        """Return these with some others. Raises ValueError for a weight out of range."""
        return replace(self, **{objective.value: weight for objective, weight in changes.items()})


@dataclass(frozen=True, slots=True)
class Score:
    """What one objective gave: its share of the whole in thousandths, the points, and why."""

    objective: Objective
    share: int
    weight: int
    said: str

    @property
    def points(self) -> int:
        """The share of the weight, rounded down."""
        return self.weight * self.share // WHOLE

    def as_stored(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"objective": self.objective.value, "weight": self.weight, "points": self.points, "reason": self.said}


def scores(job: Job, technician: Technician, known: Familiar | None, weights: Weights) -> tuple[Score, ...]:
    """Return what each objective gives a technician for a job."""
    before = _visit_before(job, technician)
    return tuple(
        Score(objective, share, weights.of(objective), said)
        for objective, (share, said) in (
            (Objective.DISTANCE, _distance(job, technician, before)),
            (Objective.WORKLOAD, _workload(technician.load_beside(job.ticket_id))),
            (Objective.SLA, _slack(job, arrival(job, technician, before))),
            (Objective.CONTINUITY, _continuity(known)),
            (Objective.QUALITY, _quality(technician)),
        )
    )


def quality_share(technician: Technician) -> int:
    """Return how often their latest work passed, in thousandths, with a prior."""
    return WHOLE * (technician.passes + _PRIOR_PASSES) // (technician.checks + _PRIOR_CHECKS)


def arrival(job: Job, technician: Technician, before: Booked | None) -> datetime:
    """Return when they can be there: in the window, after the visit before it, and not before their next shift."""
    way = timedelta(seconds=_way(job, technician, before))
    if job.window is not None:
        free_at = before.ends_at + way if before else job.window.starts_at
        return max(job.window.starts_at, free_at)
    leaves_at = max(job.now, before.ends_at) if before else job.now
    if not is_on_shift(technician.shifts, leaves_at):
        leaves_at = next_begin(technician.shifts, leaves_at) or leaves_at
    return leaves_at + way


def _visit_before(job: Job, technician: Technician) -> Booked | None:
    """Return the visit that they come from, on the same day where the job is."""
    at = job.window.starts_at if job.window else job.now
    found = [
        one
        for one in technician.visits
        if one.ticket_id != job.ticket_id
        and one.starts_at <= at
        and one.ends_at.astimezone(job.local).date() == at.astimezone(job.local).date()
    ]
    return max(found, key=lambda one: (one.ends_at, one.starts_at, one.ticket_id), default=None)


def _way(job: Job, technician: Technician, before: Booked | None) -> int:
    return seconds_between(before.place if before else Place(position=technician.home), job.place)


def _distance(job: Job, technician: Technician, before: Booked | None) -> tuple[int, str]:
    seconds = _way(job, technician, before)
    start = "the visit before" if before else "home"
    known = job.place.position is not None and (before.place.position if before else technician.home) is not None
    said = f"{_minutes(seconds)} min from {start}" + ("" if known or not seconds else ", positions unknown")
    return WHOLE * _HALF_WAY // (_HALF_WAY + seconds), said


def _workload(load: int) -> tuple[int, str]:
    return WHOLE * _HALF_LOAD // (_HALF_LOAD + load), "1 other open ticket" if load == 1 else f"{load} open tickets"


def _slack(job: Job, at: datetime) -> tuple[int, str]:
    if job.due_at is None:
        return WHOLE, "not due at any time"
    slack = job.due_at - at
    minutes = abs(slack) // timedelta(minutes=1)
    said = f"there {minutes} min before it is due" if slack >= timedelta(0) else f"there {minutes} min too late"
    kept = min(max(slack, timedelta(0)), _MOST_SLACK)
    return int(WHOLE * kept // _MOST_SLACK), said


def _continuity(known: Familiar | None) -> tuple[int, str]:
    return (0, "has not been here before") if known is None else (_FAMILIAR[known], _FAMILIAR_WORDS[known])


def _quality(technician: Technician) -> tuple[int, str]:
    said = (
        f"{technician.passes} of the last {technician.checks} checks passed" if technician.checks else "no checks yet"
    )
    return quality_share(technician), said


def _minutes(seconds: int) -> int:
    return -(-seconds // 60)
