"""A day's work for many technicians: what is to be planned, what a plan is, what it costs, and whether it holds.

All times are seconds from the plan's origin, costs whole numbers; jobs, technicians and places go by their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

from models.enums import DispatchPriority

Span = tuple[int, int]
#: What leaving a job out costs, in seconds of travel: four hours, and ten times as much for each step of urgency.
LEFT_OUT = MappingProxyType(
    {
        DispatchPriority.ROUTINE: 14_400,
        DispatchPriority.URGENT: 144_000,
        DispatchPriority.EMERGENCY: 1_440_000,
    }
)


@dataclass(frozen=True, slots=True)
class Weights:
    """What things cost: per second, and what a new face costs at once. `left_out` scales `LEFT_OUT`."""

    travel: int = 10
    #: For each second that a visit begins after it was due.
    lateness: int = 10
    #: For each second of work beyond a technician's fair share of the day.
    imbalance: int = 1
    #: When somebody comes who was not there before, though others were: ten minutes of travel.
    continuity: int = 6_000
    left_out: int = 10


@dataclass(frozen=True, slots=True)
class Anchor:
    """A visit that stands: its technician is there from its beginning to its end."""

    begins: int
    ends: int
    place: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A technician's day. The way from home and back lies within the first and the last of the `stretches`."""

    #: Working hours in order, apart from each other.
    stretches: tuple[Span, ...]
    home: int
    #: In order, none inside another.
    anchors: tuple[Anchor, ...] = ()
    #: How many more visits they may get; None for as many as fit.
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A visit to plan. It lies wholly in one of the `windows`, in order and apart, and in one stretch of work."""

    place: int
    seconds: int
    windows: tuple[Span, ...]
    #: The technicians whom no filter rules out.
    able: frozenset[int]
    due: int | None = None
    priority: DispatchPriority = DispatchPriority.ROUTINE
    #: Those who were there before.
    known: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Problem:
    """A day to plan; `travel` are seconds between places. `opens` and `closes` hold all of its hours."""

    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    travel: Sequence[Sequence[int]]
    opens: int
    closes: int
    weights: Weights = field(default_factory=Weights)


@dataclass(frozen=True, slots=True)
class Stop:
    """A job and when its visit begins."""

    job: int
    begins: int


#: One route per technician, in order of time.
Routes = tuple[tuple[Stop, ...], ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a plan costs, in parts."""

    travel: int
    lateness: int
    left_out: int
    imbalance: int
    continuity: int

    @property
    def total(self) -> int:
        """The sum, which plans are compared by."""
        return self.travel + self.lateness + self.left_out + self.imbalance + self.continuity


def fair_shares(problem: Problem) -> list[int]:
    """Return how many seconds of work each technician would have if all jobs were shared out by hours on duty."""
    hours = [sum(end - begin for begin, end in worker.stretches) for worker in problem.workers]
    work, whole = sum(job.seconds for job in problem.jobs if job.able), sum(hours)
    return [work * own // whole if whole else 0 for own in hours]


def late(problem: Problem, job: Job, begins: int) -> int:
    """Return the seconds after it was due that count: nobody can make up for what was late before the day began."""
    return 0 if job.due is None else max(0, begins - max(job.due, problem.opens))


def price_of_leaving(problem: Problem, job: Job) -> int:
    """Return what leaving a job out costs: more than doing it as late as can be."""
    weights = problem.weights
    return LEFT_OUT[job.priority] * weights.left_out + late(problem, job, problem.closes) * weights.lateness


def price_of_face(problem: Problem, job: Job, worker: int) -> int:
    """Return what it costs that this technician comes."""
    return problem.weights.continuity if job.known and worker not in job.known else 0


def cost(problem: Problem, routes: Routes) -> Cost:
    """Return what a plan costs."""
    weights, jobs = problem.weights, problem.jobs
    stops = [(number, stop) for number, route in enumerate(routes) for stop in route]
    done = {stop.job for _, stop in stops}
    shares = fair_shares(problem)
    loads = [sum(jobs[stop.job].seconds for stop in route) for route in routes]
    return Cost(
        travel=sum(on_the_way(problem, number, route) for number, route in enumerate(routes)) * weights.travel,
        lateness=sum(late(problem, jobs[stop.job], stop.begins) for _, stop in stops) * weights.lateness,
        left_out=sum(price_of_leaving(problem, job) for number, job in enumerate(jobs) if number not in done),
        imbalance=sum(max(0, load - share) for load, share in zip(loads, shares, strict=True)) * weights.imbalance,
        continuity=sum(price_of_face(problem, jobs[stop.job], number) for number, stop in stops),
    )


def on_the_way(problem: Problem, worker: int, route: Sequence[Stop]) -> int:
    """Return the seconds of travel of a technician's day: from home, through all visits, and back."""
    anchors, home = problem.workers[worker].anchors, problem.workers[worker].home
    if not route and not anchors:
        return 0
    visits = [(stop.begins, problem.jobs[stop.job].place) for stop in route]
    visits += [(anchor.begins, anchor.place) for anchor in anchors]
    places = [home, *(place for _, place in sorted(visits)), home]
    return sum(problem.travel[here][there] for here, there in pairwise(places))


def violations(problem: Problem, routes: Routes) -> list[str]:
    """Return what a plan breaks, in words; nothing for one that holds. Knows nothing of how plans are made."""
    if len(routes) != len(problem.workers):
        return [f"there are {len(routes)} routes for {len(problem.workers)} technicians"]
    numbers = [stop.job for route in routes for stop in route]
    found = [f"job {number} is not there" for number in numbers if not 0 <= number < len(problem.jobs)]
    found += [f"job {number} is done twice" for number in sorted(set(numbers)) if numbers.count(number) > 1]
    if not found:
        found = [said for number, route in enumerate(routes) for said in _broken(problem, number, route)]
    return found


def _broken(problem: Problem, number: int, route: Sequence[Stop]) -> list[str]:
    worker = problem.workers[number]
    found = [said for stop in route for said in _misplaced(problem, number, stop)]
    if worker.most is not None and len(route) > worker.most:
        found.append(f"technician {number} has {len(route)} visits, of {worker.most} at most")
    return found + _rushed(problem, number, route)


def _misplaced(problem: Problem, number: int, stop: Stop) -> list[str]:
    job, worker = problem.jobs[stop.job], problem.workers[number]
    begins, ends = stop.begins, stop.begins + job.seconds
    rules: Mapping[str, bool] = {
        f"technician {number} may not do job {stop.job}": number in job.able,
        f"job {stop.job} is outside its windows": any(a <= begins and ends <= b for a, b in job.windows),
        f"job {stop.job} is outside working hours": any(a <= begins and ends <= b for a, b in worker.stretches),
    }
    return [said for said, holds in rules.items() if not holds]


def _rushed(problem: Problem, number: int, route: Sequence[Stop]) -> list[str]:
    """Return where there is no time to get from one visit to the next; what stood before is nobody's doing."""
    worker, jobs = problem.workers[number], problem.jobs
    visits = [
        (stop.begins, stop.begins + jobs[stop.job].seconds, jobs[stop.job].place, f"job {stop.job}") for stop in route
    ]
    visits += [(anchor.begins, anchor.ends, anchor.place, "") for anchor in worker.anchors]
    first, last = (worker.stretches[0][0], worker.stretches[-1][1]) if worker.stretches else (0, 0)
    # A home is where the day begins and ends, and takes no time.
    chain = [(first, first, worker.home, ""), *sorted(visits), (last, last, worker.home, "")]
    found = []
    for here, there in pairwise(chain):
        way = problem.travel[here[2]][there[2]]
        if (here[3] or there[3]) and _working(worker, max(here[1], first), there[0]) < way:
            found.append(f"technician {number} has no time between {here[3] or 'what stands'} and {there[3] or 'it'}")
    return found


def _working(worker: Worker, begin: int, end: int) -> int:
    """Return the working time between two moments, -1 when they are in the wrong order; after hours counts whole."""
    if end < begin:
        return -1
    within = sum(max(0, min(end, b) - max(begin, a)) for a, b in worker.stretches)
    return within + max(0, end - max(begin, worker.stretches[-1][1] if worker.stretches else begin))
