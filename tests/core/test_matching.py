"""Matching: who can be sent, who best, and that everybody is told why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.core import matching
from pipeline.core.duty import Leave, Shift
from pipeline.core.field_work import Window
from pipeline.core.matching import Candidate, Filter
from pipeline.core.objectives import WHOLE, Familiar, Objective, Weights
from pipeline.core.technicians import Booked, Job, Place, Technician, skill_name, spans
from pipeline.core.travel import Position

BOUNDED = settings(max_examples=60, deadline=None)
#: A Monday.
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE, NEAR, FAR = Position(52.5, 13.4), Position(52.52, 13.4), Position(53.5, 10.0)
TICKET, SITE = UUID(int=1), UUID(int=2)


def job(**more: Any) -> Job:
    values: dict[str, Any] = {
        "ticket_id": TICKET,
        "now": NOON - 2 * HOUR,
        "window": Window(NOON, NOON + HOUR),
        "place": Place(SITE, HERE),
    }
    return Job(**values | more)


def technician(number: int = 1, **more: Any) -> Technician:
    return Technician(UUID(int=number), **more)


def only(found: tuple[Candidate, ...]) -> Candidate:
    (one,) = found
    return one


def against(technician: Technician, job: Job) -> dict[str, str]:
    return {one.filter.value: one.said for one in only(matching.table(job, [technician])).against}


def order(*people: Technician, job: Job, **more: Any) -> list[int]:
    return [one.person_id.int for one in matching.table(job, people, **more)]


def visit(hours: float, place: Place | None = None, ticket: int = 9, length: timedelta = HOUR) -> Booked:
    begins = NOON + hours * HOUR
    return Booked(UUID(int=ticket), begins, begins + length, place or Place(UUID(int=ticket), HERE))


@pytest.mark.parametrize(
    ("who", "what", "said"),
    [
        ({"is_technician": False}, {}, {"technician": "is no active member who works in the field"}),
        ({"is_available": False}, {}, {"available": "is set unavailable"}),
        ({}, {"skills": frozenset({"HV", "DC"})}, {"skill": "lacks DC, HV"}),
        ({"skills": frozenset({"HV"})}, {"skills": frozenset({"hv_v2"})}, {}),
        ({"skills": frozenset({"DEFAULT"})}, {"skills": frozenset({"HV"})}, {}),
        ({"skills": frozenset({"GLASS"})}, {"incident_type": "DOOR_WONT_LATCH_V1"}, {"skill": "lacks DOOR_WONT_LATCH"}),
        ({"skills": frozenset({"DOOR_WONT_LATCH"})}, {"incident_type": "DOOR_WONT_LATCH_V1"}, {}),
        ({}, {"incident_type": "DOOR_WONT_LATCH"}, {}),
        (
            {"zones": frozenset({"North", "East"})},
            {"zone": "south"},
            {"zone": "does not serve south, only East, North"},
        ),
        ({"zones": frozenset({"South"})}, {"zone": "south"}, {}),
        ({}, {"zone": "south"}, {}),
        ({"zones": frozenset({"South"})}, {}, {}),
        ({}, {"certificates": frozenset({"HV"})}, {"certificate": "has no certificate HV"}),
        (
            {"certificates": {"hv": date(2026, 3, 1)}},
            {"certificates": frozenset({"HV"})},
            {"certificate": "the certificate HV is good until 2026-03-01 only"},
        ),
        ({"certificates": {"hv": date(2026, 3, 2)}}, {"certificates": frozenset({"HV"})}, {}),
        ({"certificates": {"hv": None}}, {"certificates": frozenset({"HV"})}, {}),
        ({"shifts": (Shift(1, time(8), time(16), "UTC"),)}, {}, {"shift": "is not on shift"}),
        (
            {"shifts": (Shift(0, time(8), time(12, 30), "UTC"),)},
            {},
            {"shift": "is on shift for a part of the window only"},
        ),
        ({"shifts": (Shift(0, time(8), time(12, 30), "UTC"), Shift(0, time(12, 30), time(13), "UTC"))}, {}, {}),
        ({"shifts": (Shift(0, time(7), time(8), "America/New_York"),)}, {}, {}),
        (
            {"leaves": (Leave(NOON + HOUR / 2, NOON + 2 * HOUR),)},
            {},
            {"leave": "is on leave until 2026-03-02 14:00 UTC"},
        ),
        ({"leaves": (Leave(NOON + HOUR, NOON + 2 * HOUR),)}, {}, {}),
        (
            {"capacity": 1, "open_tickets": frozenset({UUID(int=7)})},
            {},
            {"capacity": "has 1 open tickets of at most 1"},
        ),
        ({"capacity": 1, "open_tickets": frozenset({TICKET})}, {}, {}),
        (
            {"most_visits": 1, "visits": (visit(-5),)},
            {},
            {"capacity": "has 1 visits that day of at most 1"},
        ),
        ({"most_visits": 1, "visits": (visit(-24), visit(0, ticket=1))}, {}, {}),
        (
            {"visits": (visit(-1, Place(None, NEAR)),)},
            {},
            {"overlap": "has a visit 2026-03-02 11:00 to 12:00 UTC, 5 min away"},
        ),
        ({"visits": (visit(-1, Place(SITE)),)}, {}, {}),
        ({"visits": (visit(-1.5),)}, {}, {}),
        (
            {"visits": (visit(1, Place(None)),)},
            {},
            {"overlap": "has a visit 2026-03-02 13:00 to 14:00 UTC, 20 min away"},
        ),
        ({"visits": (visit(0, ticket=1),)}, {}, {}),
    ],
)
def test_every_filter_says_what_speaks_against_somebody(who: Any, what: Any, said: Mapping[str, str]) -> None:
    assert against(technician(**who), job(**what)) == said


def test_the_day_of_a_visit_is_counted_where_it_takes_place() -> None:
    late = Window(NOON + 11 * HOUR, NOON + 12 * HOUR)
    held = technician(certificates={"hv": date(2026, 3, 2)})
    wanted = {"certificates": frozenset({"hv"}), "window": late}
    assert not against(held, job(**wanted))
    assert set(against(held, job(**wanted, timezone="Asia/Tokyo"))) == {"certificate"}


def test_without_a_window_time_speaks_against_nobody() -> None:
    away = technician(
        shifts=(Shift(1, time(8), time(9), "UTC"),), leaves=(Leave(NOON, NOON + HOUR),), visits=(visit(0),)
    )
    assert not against(away, job(window=None))


def test_a_shift_over_midnight_covers_the_night_and_clocks_that_change() -> None:
    night = Shift(5, time(22), time(6), "Europe/Berlin")
    (span,) = spans([night], datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 3, 29, 12, tzinfo=UTC))
    # The night in which an hour is left out.
    assert span == Window(datetime(2026, 3, 28, 21, tzinfo=UTC), datetime(2026, 3, 29, 4, tzinfo=UTC))


def test_being_capable_is_never_outweighed() -> None:
    capable = technician(1, skills=frozenset({"HV"}), open_tickets=frozenset(UUID(int=n) for n in range(50)), home=FAR)
    perfect = technician(2, home=HERE, checks=20, passes=20)
    known = {perfect.person_id: Familiar.TICKET}
    found = matching.table(job(skills=frozenset({"HV"})), [perfect, capable], known)
    assert [one.person_id.int for one in found] == [1, 2]
    assert found[1].total > found[0].total


def test_each_objective_says_what_it_gave_and_why() -> None:
    one = technician(home=NEAR, open_tickets=frozenset({UUID(int=7)}), checks=4, passes=3)
    found = only(matching.table(job(due_at=NOON + HOUR), [one], {one.person_id: Familiar.ASSET}))
    said = {score.objective: (score.points, score.said) for score in found.scores}
    assert said == {
        Objective.DISTANCE: (276, "5 min from home"),
        Objective.WORKLOAD: (200, "1 other open ticket"),
        Objective.SLA: (50, "there 60 min before it is due"),
        Objective.CONTINUITY: (105, "has worked on this asset"),
        Objective.QUALITY: (71, "3 of the last 4 checks passed"),
    }
    assert found.total == 702


def test_who_is_still_busy_comes_late_and_who_comes_from_nearby_is_near() -> None:
    busy = technician(1, visits=(visit(-1, Place(None, FAR)),), home=HERE)
    nearby = technician(2, visits=(visit(-2, Place(None, NEAR)),), home=FAR)
    found = matching.table(job(due_at=NOON + HOUR / 2), [busy, nearby], ignored=[Filter.OVERLAP])
    said = {one.person_id.int: {score.objective: score.said for score in one.scores} for one in found}
    assert said[1][Objective.SLA].endswith("min too late")
    assert said[2][Objective.DISTANCE] == "5 min from the visit before"
    assert [one.person_id.int for one in found] == [2, 1]


def test_ties_go_by_load_then_quality_then_zone_then_id() -> None:
    equal = Weights(0, 0, 0, 0, 0)
    loaded = technician(1, open_tickets=frozenset({UUID(int=7)}), checks=9, passes=9)
    good = technician(5, checks=9, passes=9)
    north, south = technician(4, zones=frozenset({"a"})), technician(3, zones=frozenset({"b"}))
    other = technician(6, zones=frozenset({"b"}))
    assert order(loaded, other, south, north, good, job=job(), weights=equal) == [5, 4, 3, 6, 1]


def test_an_ignored_filter_counts_for_nobody_and_stays_in_sight() -> None:
    found = only(matching.table(job(), [technician(is_available=False)], ignored=[Filter.AVAILABLE]))
    assert found.is_fit
    stored = found.as_stored()
    assert stored["ignored"] == ["available"]
    assert {line["filter"]: line["is_passed"] for line in stored["filters"]}["available"] is False


def test_a_weight_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="the weight of sla must be between 0 and 1000, not 1001"):
        Weights().changed({Objective.SLA: 1001})


@pytest.mark.parametrize(
    ("said", "meant"), [("hv_v12", "HV"), (" Hv ", "HV"), ("HV_V", "HV_V"), ("HV_V1_B", "HV_V1_B"), ("V2", "V2")]
)
def test_a_skill_has_one_spelling_and_no_version(said: str, meant: str) -> None:
    assert skill_name(said) == meant


_positions = st.sampled_from([None, HERE, NEAR, FAR])
_people = st.builds(
    Technician,
    person_id=st.integers(1, 40).map(lambda number: UUID(int=number)),
    is_technician=st.sampled_from([True, True, True, False]),
    is_available=st.sampled_from([True, True, True, False]),
    skills=st.frozensets(st.sampled_from(["HV", "DC", "DEFAULT"])),
    zones=st.frozensets(st.sampled_from(["a", "b"])),
    certificates=st.dictionaries(st.just("hv"), st.sampled_from([None, date(2026, 1, 1), date(2027, 1, 1)])),
    shifts=st.lists(
        st.builds(Shift, st.integers(0, 1), st.just(time(8)), st.sampled_from([time(12), time(17)]), st.just("UTC")),
        max_size=2,
    ).map(tuple),
    visits=st.lists(st.builds(visit, st.floats(-6, 6), st.builds(Place, st.none(), _positions)), max_size=3).map(tuple),
    home=_positions,
    capacity=st.sampled_from([None, 1, 3]),
    open_tickets=st.frozensets(st.integers(50, 55).map(lambda number: UUID(int=number))),
    checks=st.just(10),
    passes=st.integers(0, 10),
)
_teams = st.lists(_people, max_size=6, unique_by=lambda one: one.person_id)
_jobs = st.builds(
    job,
    skills=st.frozensets(st.sampled_from(["HV", "DC"]), max_size=1),
    certificates=st.sampled_from([frozenset[str](), frozenset({"hv"})]),
    zone=st.sampled_from([None, "a"]),
    due_at=st.sampled_from([None, NOON - HOUR, NOON + 2 * HOUR]),
    window=st.sampled_from([None, Window(NOON, NOON + HOUR), Window(NOON + 3 * HOUR, NOON + 4 * HOUR)]),
)
_known = st.dictionaries(st.integers(1, 40).map(lambda number: UUID(int=number)), st.sampled_from(list(Familiar)))


@BOUNDED
@given(_jobs, _teams, _known, st.randoms())
def test_the_table_does_not_depend_on_the_order_of_its_people(
    what: Job, people: list[Technician], known: dict[UUID, Familiar], random: Any
) -> None:
    shuffled = list(people)
    random.shuffle(shuffled)
    found = matching.table(what, people, known)
    assert matching.table(what, shuffled, known) == found
    assert [one.place for one in found] == list(range(1, len(people) + 1))


@BOUNDED
@given(_jobs, _teams, _known)
def test_whom_a_filter_speaks_against_never_goes_before_who_can_be_sent(
    what: Job, people: list[Technician], known: dict[UUID, Familiar]
) -> None:
    found = matching.table(what, people, known)
    assert [one.is_fit for one in found] == sorted((one.is_fit for one in found), reverse=True)
    assert all(verdict.said for line in found for verdict in line.verdicts)
    assert all(score.said for line in found for score in line.scores)
    assert all(0 <= score.share <= WHOLE for line in found for score in line.scores)


def _place(found: tuple[Candidate, ...], person_id: UUID) -> int:
    return next(one.place for one in found if one.person_id == person_id)


@settings(max_examples=40, deadline=None)
@given(_jobs, _teams, _known, st.sampled_from(list(Objective)), st.data())
def test_raising_one_objective_never_lowers_a_place(
    what: Job, people: list[Technician], known: dict[UUID, Familiar], which: Objective, data: Any
) -> None:
    assume(people)
    one = data.draw(st.sampled_from(people))
    better, familiar = one, dict(known)
    if which is Objective.QUALITY:
        better = replace(one, passes=10)
    elif which is Objective.WORKLOAD:
        better = replace(one, open_tickets=frozenset())
    elif which is Objective.CONTINUITY:
        familiar[one.person_id] = Familiar.TICKET
    else:
        # Nearer, and so there sooner.
        better = replace(one, home=HERE)
        assume(not one.visits)
    before = _place(matching.table(what, people, known), one.person_id)
    others = [other for other in people if other is not one]
    assert _place(matching.table(what, [*others, better], familiar), one.person_id) <= before


@BOUNDED
@given(_jobs, _teams, _known, st.sampled_from(list(Filter)))
def test_leaving_a_filter_out_of_account_lets_nobody_fall_who_could_be_sent(
    what: Job, people: list[Technician], known: dict[UUID, Familiar], which: Filter
) -> None:
    before = {one.person_id for one in matching.table(what, people, known) if one.is_fit}
    after = {one.person_id for one in matching.table(what, people, known, ignored=[which]) if one.is_fit}
    assert before <= after
