"""Day plans over HTTP: made, listed, read, applied; one of an organization at a time, and no connection held."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from models.enums import Reach
from ops_api.access_rows import TABLE
from ops_api.body_limits import BodyLimits
from ops_api.limits import Limits
from ops_api.plan_door import PlanDoor
from pipeline.core.plans import Problem, Routes
from pipeline.ports import Solved
from tests.commands import schedules
from tests.commands.field_desk import FieldDesk
from tests.commands.test_planning import DAY, NoSolver, who
from tests.ops_api import people
from tests.ops_api.serving import Api, Person

_DAY = {"day": DAY.isoformat()}


@pytest.fixture
def desk(api: Api) -> FieldDesk:
    return FieldDesk.of(api.db)


@pytest.fixture
def dispatcher(api: Api, desk: FieldDesk, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setattr(_door(api), "_planner", NoSolver())
    return api.signed_in(desk.org_id, who(desk, "dispatcher"))


def _door(api: Api) -> PlanDoor:
    found: PlanDoor = api.app.state.services.plans
    return found


def test_a_plan_is_made_listed_read_and_applied(desk: FieldDesk, dispatcher: Person) -> None:
    first, second = desk.at("READY_TO_SCHEDULE"), desk.at("READY_TO_SCHEDULE")
    key = {"idempotency-key": str(uuid4())}
    made = dispatcher.post("/dispatch/plans", json=_DAY | {"ticket_ids": [str(first)]}, headers=key)
    assert (made.status_code, made.json()["summary"]["planned"]) == (201, 1)
    again = dispatcher.post("/dispatch/plans", json=_DAY | {"ticket_ids": [str(first)]}, headers=key)
    assert (again.content, again.headers["idempotency-replayed"]) == (made.content, "true")
    both = dispatcher.post("/dispatch/plans", json=_DAY).json()
    assert both["summary"]["planned"] == 2
    page = dispatcher.get("/dispatch/plans", params={"limit": 1}).json()
    rest = dispatcher.get("/dispatch/plans", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [one["items"][0]["id"] for one in (page, rest)] == [both["id"], made.json()["id"]]
    assert (rest["next_cursor"], "routes" in page["items"][0]) == (None, False)
    assert dispatcher.get("/dispatch/plans", params={"day": "2020-01-01"}).json()["items"] == []
    assert dispatcher.get(f"/dispatch/plans/{both['id']}").json() == both
    applied = dispatcher.post(f"/dispatch/plans/{both['id']}/apply")
    assert (applied.status_code, applied.json()["state"]) == (200, "applied")
    assert [desk.state(one) for one in (first, second)] == ["SCHEDULED", "SCHEDULED"]
    stale = dispatcher.post(f"/dispatch/plans/{made.json()['id']}/apply", json={})
    error = stale.json()["error"]
    assert (stale.status_code, error["code"], error["tickets"]) == (
        *(409, "PLAN_STALE"),
        [{"ticket_id": str(first), "code": desk.row(first).code}],
    )
    assert desk.trail()[-1] == ("plan.apply", "refused", "PLAN_STALE")
    assert [one for one in desk.trail() if one[0] == "plan.make"] == [("plan.make", "done", None)] * 2


def test_what_is_asked_for_is_checked(api: Api, desk: FieldDesk, dispatcher: Person) -> None:
    for body in (
        {},
        _DAY | {"time_limit_seconds": 61},
        _DAY | {"ticket_ids": []},
        _DAY | {"timezone": "Mars/Olympus"},
        _DAY | {"weights": {"travel": -1}},
        _DAY | {"much": 1},
        {"day": "2020-01-01"},
    ):
        answer = dispatcher.post("/dispatch/plans", json=body)
        assert (answer.status_code, "error" in answer.json()) == (400, True), body
    missing = dispatcher.post("/dispatch/plans", json=_DAY | {"ticket_ids": [str(uuid4())]})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "TICKET_NOT_FOUND")
    assert dispatcher.get(f"/dispatch/plans/{uuid4()}").json()["error"]["code"] == "PLAN_NOT_FOUND"
    for name in ("agent", "tech", "finance"):
        person = api.signed_in(desk.org_id, who(desk, name))
        assert person.post("/dispatch/plans", json=_DAY).status_code == 403
    with api.db.begin() as connection:
        near = people.member(connection, desk.org_id, "dispatcher", "near@ours.example")
        people.give(connection, desk.org_id, desk.at("NEW"), near, Reach.SITE)
    assert api.signed_in(desk.org_id, near).post("/dispatch/plans", json=_DAY).status_code == 403


class Waits:
    """A RoutePlanner that looks until it is let go."""

    def __init__(self) -> None:
        self.is_asked, self.may_end = threading.Event(), threading.Event()

    def solve(self, problem: Problem, start: Routes, limit: timedelta) -> Solved:
        self.is_asked.set()
        assert self.may_end.wait(60)
        return Solved(None)


def test_one_plan_is_made_at_a_time_and_holds_no_transaction(
    api: Api, desk: FieldDesk, dispatcher: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket_id, planner = desk.at("READY_TO_SCHEDULE"), Waits()
    monkeypatch.setattr(_door(api), "_planner", planner)
    other = api.signed_in(desk.org_id, who(desk, "other_dispatcher"))
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(dispatcher.post, "/dispatch/plans", json=_DAY)
        try:
            assert planner.is_asked.wait(60)
            second = other.post("/dispatch/plans", json=_DAY)
            assert (second.status_code, second.json()["error"]["code"]) == (409, "PLAN_RUNNING")
            held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
            assert desk.rows(held) == [(0,)]
            schedules.propose(desk, ticket_id)
        finally:
            planner.may_end.set()
        made = making.result(60)
    assert made.status_code == 201
    stale = other.post(f"/dispatch/plans/{made.json()['id']}/apply")
    assert stale.json()["error"]["code"] == "PLAN_STALE"
    monkeypatch.setattr(_door(api), "_planner", NoSolver())
    assert other.post("/dispatch/plans", json=_DAY).status_code == 201


def test_others_wait_when_the_machine_has_enough_to_plan() -> None:
    door = PlanDoor(NoSolver())
    with door.turn(UUID(int=1)), door.turn(UUID(int=2)):
        with pytest.raises(Exception, match="other plans are being made") as caught, door.turn(UUID(int=3)):
            pass
        assert getattr(caught.value, "status_code", None) == 503
    with door.turn(UUID(int=3)):
        pass


def test_planning_is_waited_for_longer_than_anything_else() -> None:
    limits = BodyLimits(TABLE.values(), Limits())
    assert limits.of("POST", "/dispatch/plans").deadline > timedelta(seconds=70)
    assert limits.of("POST", "/dispatch/plans").most == Limits().body_bytes
    assert limits.of("GET", "/dispatch/plans").deadline == Limits().deadline
