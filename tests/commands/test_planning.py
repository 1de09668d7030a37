"""Day plans: read, made, kept, and applied as a whole or not at all."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import DispatchState
from pipeline.adapters.clock import SystemClock
from pipeline.command import Refused
from pipeline.commands import planning
from pipeline.commands.planning import read_day
from pipeline.commands.planning_arguments import Apply, PlanWish
from pipeline.core.field_work import Window
from pipeline.core.plans import Problem, Routes, violations
from pipeline.executor import Answer
from pipeline.ports import Solved
from pipeline.runtime import plan_rows
from pipeline.runtime.db import Database
from pipeline.runtime.planning import solve
from tests.commands import schedules
from tests.commands.field_desk import FieldDesk

HOUR = timedelta(hours=1)
#: Far enough from now for a whole day, near enough for every ticket to be due by its end.
DAY = (SystemClock().now() + timedelta(days=3)).date()
NINE = SystemClock().now().replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=3)


class NoSolver:
    """A RoutePlanner that finds nothing, and notes what it was asked."""

    def solve(self, problem: Problem, start: Routes, limit: timedelta) -> Solved:
        assert violations(problem, start) == []
        return Solved(None, f"asked for {limit.total_seconds():g} s")


@pytest.fixture
def desk(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def who(desk: FieldDesk, name: str) -> UUID:
    found = desk.people[name].person_id
    assert found is not None
    return found


def plan(desk: FieldDesk, day: date = DAY, **said: Any) -> Answer:
    """Make a plan and keep it, as the route does."""
    wish = PlanWish(day=day, **said)
    with desk.db.begin() as connection:
        asked = read_day(connection, desk.people["dispatcher"], wish)
    draft = planning.draft_of(wish, asked, solve(asked.day.problem, NoSolver(), asked.limit))
    return desk.run(planning.MAKE, draft)


def apply(desk: FieldDesk, plan_id: str, **more: Any) -> Answer:
    return desk.run(planning.APPLY, Apply(), plan_id, **more)


def stale(desk: FieldDesk, plan_id: str) -> dict[str, Any]:
    refusal = desk.refused(planning.APPLY, Apply(), plan_id)
    assert refusal.code == "PLAN_STALE"
    return dict(refusal.details)


def stops(answer: Answer) -> dict[UUID, tuple[UUID, Window]]:
    """Return who comes to which ticket when."""
    return {
        UUID(stop["ticket_id"]): (
            UUID(route["technician_id"]),
            Window(datetime.fromisoformat(stop["starts_at"]), datetime.fromisoformat(stop["ends_at"])),
        )
        for route in answer.body["routes"]
        for stop in route["stops"]
    }


def visits(desk: FieldDesk, ticket_id: UUID) -> list[Any]:
    return desk.rows(
        "SELECT technician_id, starts_at, ends_at, state FROM visits WHERE ticket_id = :id ORDER BY number",
        id=ticket_id,
    )


def shift(desk: FieldDesk, name: str, begins: str = "08:00", ends: str = "16:00", timezone: str = "UTC") -> None:
    desk.change(
        "INSERT INTO shifts (org_id, person_id, weekday, begins, ends, timezone) VALUES (:org, :id, :day, "
        "CAST(:begins AS time), CAST(:ends AS time), :zone)",
        id=who(desk, name), day=DAY.weekday(), begins=begins, ends=ends, zone=timezone,
    )  # fmt: skip


def test_a_day_is_planned_and_applied_as_a_whole(desk: FieldDesk) -> None:
    ready = desk.at("READY_TO_SCHEDULE")
    offered = desk.at("READY_TO_SCHEDULE")
    schedules.propose(desk, offered, Window(NINE, NINE + 4 * HOUR))
    agreed = desk.at("READY_TO_SCHEDULE")
    schedules.propose(desk, agreed, Window(NINE + 2 * HOUR, NINE + 5 * HOUR))
    schedules.confirm(desk, agreed)
    desk.at("TRIAGED")
    made = plan(desk)
    assert (made.status, made.body["state"], made.body["day"]) == (201, "draft", DAY.isoformat())
    found = stops(made)
    assert set(found) == {ready, offered, agreed}
    assert made.body["summary"]["note"] == "asked for 10 s"
    assert NINE <= found[offered][1].starts_at <= NINE + 3 * HOUR
    assert NINE + 2 * HOUR <= found[agreed][1].starts_at <= NINE + 4 * HOUR
    before = desk.row(agreed).version
    done = apply(desk, made.body["id"])
    assert (done.status, done.body["state"], done.body["applied_by"]) == (
        *(200, "applied"),
        desk.people["dispatcher"].actor_id,
    )
    for ticket_id, (person_id, window) in found.items():
        assert visits(desk, ticket_id) == [(person_id, window.starts_at, window.ends_at, "booked")]
        assert desk.state(ticket_id) == DispatchState.SCHEDULED
        work = desk.work(ticket_id)
        assert (work.scheduled_start, work.scheduled_end, work.visit_number) == (window.starts_at, window.ends_at, 1)
        assert schedules.offered(desk, ticket_id) == [window]
        assert desk.trail(ticket_id)[-1] == ("plan.book", "done", None)
        assert desk.events(ticket_id)[-1][0] == "plan.book"
    assert desk.moves(ready)[-2:] == [("READY_TO_SCHEDULE", "SCHEDULE_PROPOSED"), ("SCHEDULE_PROPOSED", "SCHEDULED")]
    assert desk.moves(offered)[-1] == ("SCHEDULE_PROPOSED", "SCHEDULED")
    assert desk.row(agreed).version == before + 1
    again = apply(desk, made.body["id"])
    assert (again.status, again.body) == (200, done.body)
    assert desk.row(agreed).version == before + 1


def test_a_plan_is_applied_once_whoever_presses_again_with_the_same_key(desk: FieldDesk) -> None:
    ticket_id = desk.at("READY_TO_SCHEDULE")
    made = plan(desk)
    ask = desk.ask(Apply(), target=made.body["id"])
    first, second = (planning.executor.run(desk.db.begin, planning.APPLY, ask) for _ in range(2))
    assert (second.is_replayed, second.body) == (True, first.body)
    assert len(visits(desk, ticket_id)) == 1


def test_a_plan_whose_tickets_changed_books_nothing_and_names_them(desk: FieldDesk) -> None:
    first, second = desk.at("READY_TO_SCHEDULE"), desk.at("READY_TO_SCHEDULE")
    made = plan(desk)
    schedules.propose(desk, second)
    details = stale(desk, made.body["id"])
    assert details["tickets"] == [{"ticket_id": str(second), "code": desk.row(second).code}]
    assert (visits(desk, first), desk.state(first)) == ([], DispatchState.READY_TO_SCHEDULE)
    assert desk.rows("SELECT state FROM day_plans WHERE id = :id", id=UUID(made.body["id"])) == [("draft",)]
    assert desk.trail()[-1] == ("plan.apply", "refused", "PLAN_STALE")


def test_a_plan_is_stale_when_a_technician_is_away_or_busy_by_now(desk: FieldDesk) -> None:
    ticket_id = desk.at("READY_TO_SCHEDULE")
    made = plan(desk, technician_ids=[who(desk, "tech")])
    (_, window) = stops(made)[ticket_id]
    values = {"id": who(desk, "tech"), "begins": window.starts_at, "ends": window.ends_at}
    desk.change(
        "INSERT INTO leaves (org_id, person_id, begins_at, ends_at) VALUES (:org, :id, :begins, :ends)", **values
    )
    assert stale(desk, made.body["id"])["broken"] == ["job 0 is outside working hours"]
    desk.change("DELETE FROM leaves")
    other = desk.at("READY_TO_SCHEDULE")
    schedules.propose(desk, other, window, technician_id=who(desk, "tech"))
    schedules.confirm(desk, other)
    assert stale(desk, made.body["id"])["broken"]
    assert visits(desk, ticket_id) == []


def test_what_stands_already_is_planned_around(desk: FieldDesk) -> None:
    shift(desk, "tech")
    booked = desk.at("READY_TO_SCHEDULE")
    schedules.propose(desk, booked, Window(NINE, NINE + 6 * HOUR), technician_id=who(desk, "tech"))
    schedules.confirm(desk, booked)
    ticket_id = desk.at("READY_TO_SCHEDULE")
    made = plan(desk, technician_ids=[who(desk, "tech")])
    # Before nine there is no time for the way from home and to the next site; after three there is.
    assert list(stops(made)) == []
    desk.change("UPDATE shifts SET ends = '17:00'")
    made = plan(desk, technician_ids=[who(desk, "tech")])
    (person_id, window) = stops(made)[ticket_id]
    assert person_id == who(desk, "tech")
    assert window.starts_at >= NINE + 6 * HOUR
    with pytest.raises(Refused) as caught:
        plan(desk, ticket_ids=[booked])
    assert caught.value.refusal.code == "TICKETS_NOT_PLANNABLE"


def test_each_ticket_that_is_left_out_has_its_reason(desk: FieldDesk) -> None:
    shift(desk, "tech", "08:00", "10:00")
    desk.change("UPDATE sites SET zone = 'North'")
    ticket_id = desk.at("READY_TO_SCHEDULE")
    only = {"technician_ids": [who(desk, "tech")]}
    assert [one["reason"] for one in plan(desk, **only).body["left_out"]] == []
    desk.change("UPDATE shifts SET ends = '09:30'")
    (left,) = plan(desk, **only).body["left_out"]
    assert (left["ticket_id"], left["reason"]) == (str(ticket_id), "NO_TIME_IN_SHIFT")
    desk.change(
        "INSERT INTO technicians (org_id, person_id, zones) VALUES (:org, :id, '{South}')", id=who(desk, "tech")
    )
    (left,) = plan(desk, **only).body["left_out"]
    assert (left["reason"], left["filters"]) == ("NO_TECHNICIAN", {"zone": 1})
    assert "does not serve North" in left["said"]
    desk.change("UPDATE technicians SET zones = '{}'")
    desk.change("UPDATE shifts SET weekday = (weekday + 1) % 7")
    (left,) = plan(desk, **only).body["left_out"]
    assert left["reason"] == "OFF_DUTY"


def test_a_wish_that_makes_no_sense_is_refused_in_words(desk: FieldDesk) -> None:
    desk.at("READY_TO_SCHEDULE")
    nobody = uuid4()
    for said, code in (
        ({"day": DAY - timedelta(days=5)}, "DAY_NOT_PLANNABLE"),
        ({"day": DAY + timedelta(days=400)}, "DAY_NOT_PLANNABLE"),
        ({"day": date.max}, "DAY_NOT_PLANNABLE"),
        ({"day": date.min}, "DAY_NOT_PLANNABLE"),
        ({"ticket_ids": [nobody]}, "TICKET_NOT_FOUND"),
        ({"ticket_ids": [desk.at("TRIAGED")]}, "TICKETS_NOT_PLANNABLE"),
        ({"technician_ids": [nobody]}, "TECHNICIAN_NOT_FOUND"),
    ):
        with pytest.raises(Refused) as caught:
            plan(desk, **said)
        assert caught.value.refusal.code == code, said
    assert desk.refused(planning.APPLY, Apply(), uuid4()).code == "PLAN_NOT_FOUND"
    assert desk.refused(planning.APPLY, Apply(), plan(desk).body["id"], by="agent").code == "FORBIDDEN"


def test_another_organization_has_no_such_plan(desk: FieldDesk, db: Database) -> None:
    made = plan(desk)
    other = FieldDesk.of(db)
    assert other.refused(planning.APPLY, Apply(), made.body["id"]).code == "PLAN_NOT_FOUND"
    with db.begin() as connection:
        assert plan_rows.read(connection, other.org_id, UUID(made.body["id"])) is None
        assert plan_rows.listed(connection, other.org_id, day=None, before=None, limit=9) == []


def test_the_day_is_one_of_the_time_zone_that_most_shifts_are_in(desk: FieldDesk) -> None:
    desk.at("READY_TO_SCHEDULE")
    assert plan(desk).body["asked"]["timezone"] == "UTC"
    shift(desk, "tech", timezone="America/New_York")
    made = plan(desk, technician_ids=[who(desk, "tech")])
    assert made.body["asked"]["timezone"] == "America/New_York"
    ((_, window),) = stops(made).values()
    local = window.starts_at.astimezone(planning.zone("America/New_York"))
    assert (local.date(), 8 <= local.hour < 16) == (DAY, True)
