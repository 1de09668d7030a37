"""Assignment: who could have a ticket, whose turn it is, and that everybody is told why."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import AssignmentStrategy
from pipeline.core.assigning import KEPT, Person, Roster, Unfit, as_stored, why

BOUNDED = settings(max_examples=80, deadline=None)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUEUE, OTHER = UUID(int=1_000), UUID(int=1_001)
ROUND, LEAST = AssignmentStrategy.ROUND_ROBIN, AssignmentStrategy.LEAST_LOADED


def person(number: int, **more: object) -> Person:
    return Person(UUID(int=number), **more)  # type: ignore[arg-type]


def roster(*people: Person, last: dict[int, datetime] | None = None) -> Roster:
    turns = {one.person_id: (last or {}).get(one.person_id.int) for one in people}
    return Roster(people, {QUEUE: turns})


def given_to(found: Roster, count: int, strategy: AssignmentStrategy = ROUND, **more: object) -> list[int | None]:
    ids = [found.assign(QUEUE, strategy, **more).person_id for _ in range(count)]  # type: ignore[arg-type]
    return [one.int if one else None for one in ids]


def test_round_robin_goes_by_the_last_turn_then_by_id():
    last = {1: NOON, 2: NOON - timedelta(hours=1)}
    assert given_to(roster(person(1), person(2), person(3), person(4), last=last), 6) == [3, 4, 2, 1, 3, 4]


def test_least_loaded_goes_by_open_tickets_then_by_turn():
    people = (person(1, open_tickets=3), person(2, open_tickets=1), person(3, open_tickets=1))
    assert given_to(roster(*people, last={2: NOON}), 5, LEAST) == [3, 2, 3, 2, 1]


@pytest.mark.parametrize(
    ("changes", "unfit", "said"),
    [
        ({"is_on_leave": True, "back_at": NOON}, Unfit.ON_LEAVE, "on leave until 2026-03-02T12:00:00+00:00"),
        ({"is_on_shift": False, "back_at": NOON}, Unfit.OFF_SHIFT, "not on shift until 2026-03-02T12:00:00+00:00"),
        ({"is_on_shift": False}, Unfit.OFF_SHIFT, "not on shift"),
        ({"skills": frozenset({"solar"})}, Unfit.SKILLS, "lacks dc, hv"),
        ({"capacity": 4, "open_tickets": 4}, Unfit.CAPACITY, "has 4 open tickets of at most 4"),
    ],
)
def test_whoever_cannot_have_it_is_told_why(changes, unfit, said):
    skills = frozenset({"dc", "hv"})
    found = roster(person(1, **({"skills": skills} | changes)), person(2, skills=skills)).assign(QUEUE, ROUND, skills)
    assert found.person_id == UUID(int=2)
    kept = {line["person_id"]: line for line in as_stored(found)["candidates"]}
    assert kept[str(UUID(int=1))]["unfit"] == unfit.value
    assert why(kept[str(UUID(int=1))]) == said
    assert why(kept[str(UUID(int=2))]) == "got it"


def test_whoever_could_have_had_it_is_told_their_place():
    (_, second) = as_stored(roster(person(1), person(2)).assign(QUEUE, ROUND))["candidates"]
    assert why(second) == "could have had it, but stood at place 2"


def test_a_ticket_nobody_is_free_for_stays_in_the_queue():
    found = roster(person(1, capacity=1))
    assert given_to(found, 3) == [1, None, None]
    assert found.assign(OTHER, ROUND).person_id is None
    assert found.taken == [(QUEUE, UUID(int=1))]


def test_what_is_given_in_one_queue_counts_in_another():
    both = {UUID(int=1): None, UUID(int=2): None}
    found = Roster([person(1, capacity=1), person(2)], {QUEUE: both, OTHER: both})
    assert found.assign(QUEUE, ROUND).person_id == UUID(int=1)
    assert [found.assign(OTHER, ROUND).person_id for _ in range(2)] == [UUID(int=2)] * 2


def test_of_a_large_queue_the_first_are_kept_by_name_and_the_rest_by_count():
    people = [person(number) for number in range(1, KEPT + 31)] + [person(999, is_on_leave=True)]
    kept = as_stored(roster(*people).assign(QUEUE, ROUND))
    assert len(kept["candidates"]) == KEPT
    assert kept["candidates"][0]["place"] == 1
    assert kept["more"] == {"fit": 30, "on_leave": 1}


counts = st.integers(1, 8)
strategies = st.sampled_from(AssignmentStrategy)


@BOUNDED
@given(counts, st.integers(0, 60), strategies)
def test_equal_people_get_equally_many_within_one(people, tickets, strategy):
    given_numbers = Counter(given_to(roster(*(person(n) for n in range(1, people + 1))), tickets, strategy))
    shares = [given_numbers[number] for number in range(1, people + 1)]
    assert sum(shares) == tickets
    assert max(shares) - min(shares) <= 1


@BOUNDED
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), counts)
def test_turns_go_on_fairly_over_batches(batches, people):
    """Whose turn it was is all that the next batch knows."""
    last: dict[int, datetime] = {}
    shares: Counter[int | None] = Counter()
    for number, size in enumerate(batches):
        found = roster(*(person(n) for n in range(1, people + 1)), last=last)
        shares.update(given_to(found, size))
        for place, (_, person_id) in enumerate(found.taken):
            last[person_id.int] = NOON + timedelta(hours=number, microseconds=place)
    assert max(shares[n] for n in range(1, people + 1)) - min(shares[n] for n in range(1, people + 1)) <= 1


folk = st.lists(
    st.builds(
        Person,
        person_id=st.integers(1, 50).map(lambda number: UUID(int=number)),
        skills=st.frozensets(st.sampled_from(["a", "b"])),
        capacity=st.none() | st.integers(1, 4),
        open_tickets=st.integers(0, 4),
        is_on_shift=st.booleans(),
        is_on_leave=st.booleans(),
    ),
    max_size=7,
    unique_by=lambda one: one.person_id,
)


@BOUNDED
@given(folk, st.lists(st.tuples(strategies, st.frozensets(st.sampled_from(["a", "b"]))), max_size=12))
def test_nobody_gets_what_they_may_not_have_and_somebody_gets_it_when_anybody_may(people, wishes):
    found = roster(*people)
    known, loads = {one.person_id: one for one in people}, {one.person_id: one.open_tickets for one in people}

    def may(one: Person, skills: frozenset[str]) -> bool:
        has_room = one.capacity is None or loads[one.person_id] < one.capacity
        return one.is_on_shift and not one.is_on_leave and skills <= one.skills and has_room

    for strategy, skills in wishes:
        free = [one for one in people if may(one, skills)]
        made = found.assign(QUEUE, strategy, skills)
        assert (made.person_id is not None) is bool(free)
        assert {line.person_id for line in made.verdicts} == set(known)
        assert {line.person_id for line in made.verdicts if line.unfit is None} == {one.person_id for one in free}
        if made.person_id is not None:
            assert may(known[made.person_id], skills)
            if strategy is LEAST:
                assert loads[made.person_id] == min(loads[one.person_id] for one in free)
            loads[made.person_id] += 1
