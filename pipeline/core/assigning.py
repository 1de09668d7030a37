"""Who of a queue gets a ticket: everybody is looked at, and for everybody is kept why, or why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from models.enums import AssignmentStrategy

#: Of more candidates the first ones are kept by name, the rest by count.
KEPT = 100
_NEVER = datetime.min.replace(tzinfo=UTC)


class Unfit(StrEnum):
    """Why somebody of the queue does not get a ticket; the first that is true is told."""

    ON_LEAVE = "on_leave"
    OFF_SHIFT = "off_shift"
    SKILLS = "skills"  #: a skill is missing
    CAPACITY = "capacity"  #: as many open tickets as they may have


@dataclass(frozen=True, slots=True)
class Person:
    """What assignment knows of somebody: skills, open tickets and how many they may have, and whether they are here."""

    person_id: UUID
    skills: frozenset[str] = frozenset()
    #: Open tickets at most; None for any number.
    capacity: int | None = None
    open_tickets: int = 0
    is_on_shift: bool = True
    is_on_leave: bool = False
    #: When they are back, where that is known.
    back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the candidate table."""

    person_id: UUID
    #: None: they could have had it.
    unfit: Unfit | None
    #: Their place among those who could have had it, 1 got it; None for the unfit.
    place: int | None
    open_tickets: int
    capacity: int | None
    missing_skills: tuple[str, ...] = ()
    back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Whom a ticket goes to, and the whole table behind that; nobody free leaves it in its queue."""

    queue_id: UUID
    strategy: AssignmentStrategy
    person_id: UUID | None
    verdicts: tuple[Verdict, ...]


class Roster:
    """The people of one organization's queues while a batch is assigned: each ticket given counts for the next.

    `members` holds by queue who works it, with when a rule gave them something of it last. For one thread.
    """

    def __init__(self, people: Iterable[Person], members: Mapping[UUID, Mapping[UUID, datetime | None]]) -> None:
        """Put people in order of their turns: longest ago first, then by id."""
        self._people = {person.person_id: person for person in people}
        self._given: Counter[UUID] = Counter()
        self._turns: dict[UUID, dict[UUID, int]] = {}
        for queue_id, last in members.items():
            known = [person_id for person_id in last if person_id in self._people]
            known.sort(key=lambda one, last=last: (last[one] or _NEVER, one))  # type: ignore[misc]
            self._turns[queue_id] = {person_id: turn for turn, person_id in enumerate(known)}
        self._next = max((len(turns) for turns in self._turns.values()), default=0)
        self._taken: dict[tuple[UUID, UUID], int] = {}

    @property
    def taken(self) -> Sequence[tuple[UUID, UUID]]:
        """Queue and person of each turn that was taken, once each, in the order of their last ones."""
        return sorted(self._taken, key=self._taken.__getitem__)

    def assign(self, queue_id: UUID, strategy: AssignmentStrategy, skills: frozenset[str] = frozenset()) -> Assignment:
        """Give the next ticket of a queue to somebody who has the skills, has room and is here.

        Round robin: whose last turn is longest ago. Least loaded: who has the fewest open tickets, then by turn.
        """
        turns = self._turns.get(queue_id, {})
        unfit = {person_id: self._unfit(self._people[person_id], skills) for person_id in turns}
        fit = [person_id for person_id, why in unfit.items() if why is None]
        fit.sort(key=lambda one: (self._load(one) if strategy is AssignmentStrategy.LEAST_LOADED else 0, turns[one]))
        rest = sorted((one for one, why in unfit.items() if why is not None), key=turns.__getitem__)
        verdicts = [self._verdict(one, None, place, skills) for place, one in enumerate(fit, 1)]
        verdicts += [self._verdict(one, unfit[one], None, skills) for one in rest]
        if fit:
            self._take(queue_id, fit[0])
        return Assignment(queue_id, strategy, fit[0] if fit else None, tuple(verdicts))

    def _take(self, queue_id: UUID, person_id: UUID) -> None:
        self._given[person_id] += 1
        self._next += 1
        self._turns[queue_id][person_id] = self._next
        self._taken[queue_id, person_id] = self._next

    def _load(self, person_id: UUID) -> int:
        return self._people[person_id].open_tickets + self._given[person_id]

    def _unfit(self, person: Person, skills: frozenset[str]) -> Unfit | None:
        if person.is_on_leave:
            return Unfit.ON_LEAVE
        if not person.is_on_shift:
            return Unfit.OFF_SHIFT
        if not skills <= person.skills:
            return Unfit.SKILLS
        if person.capacity is not None and self._load(person.person_id) >= person.capacity:
            return Unfit.CAPACITY
        return None

    def _verdict(self, person_id: UUID, unfit: Unfit | None, place: int | None, skills: frozenset[str]) -> Verdict:
        person = self._people[person_id]
        missing = tuple(sorted(skills - person.skills)) if unfit is Unfit.SKILLS else ()
        return Verdict(person_id, unfit, place, self._load(person_id), person.capacity, missing, person.back_at)


def why(line: Mapping[str, Any]) -> str:
    """Return in words why somebody got a ticket or did not, from a kept line of the candidate table."""
    place, unfit = line.get("place"), line.get("unfit")
    if unfit is None:
        return "got it" if place == 1 else f"could have had it, but stood at place {place}"
    back = f" until {line['back_at']}" if line.get("back_at") else ""
    said = {
        Unfit.ON_LEAVE: f"on leave{back}",
        Unfit.OFF_SHIFT: f"not on shift{back}",
        Unfit.SKILLS: f"lacks {', '.join(line.get('missing_skills') or ())}",
        Unfit.CAPACITY: f"has {line.get('open')} open tickets of at most {line.get('capacity')}",
    }
    return said[Unfit(unfit)]


def as_stored(assignment: Assignment) -> dict[str, Any]:
    """Return what is kept of an assignment with its ticket, as JSON values, bounded; `more` counts who is left out."""
    kept, rest = assignment.verdicts[:KEPT], assignment.verdicts[KEPT:]
    more = Counter("fit" if one.unfit is None else one.unfit.value for one in rest)
    return {
        "queue_id": str(assignment.queue_id),
        "strategy": assignment.strategy.value,
        "person_id": None if assignment.person_id is None else str(assignment.person_id),
        "candidates": [_line(one) for one in kept],
        "more": dict(sorted(more.items())),
    }


def _line(one: Verdict) -> dict[str, Any]:
    line: dict[str, Any] = {
        "person_id": str(one.person_id),
        "unfit": one.unfit.value if one.unfit else None,
        "place": one.place,
        "open": one.open_tickets,
        "capacity": one.capacity,
    }
    if one.missing_skills:
        line["missing_skills"] = list(one.missing_skills)
    if one.unfit in (Unfit.ON_LEAVE, Unfit.OFF_SHIFT) and one.back_at is not None:
        line["back_at"] = one.back_at.isoformat()
    return line
