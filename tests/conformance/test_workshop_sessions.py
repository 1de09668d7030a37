"""Contract 002's work on tickets over HTTP: start, to-waiting-qc, and the clock of the work, each line of its text."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.enums import WorkOrderState
from pipeline.runtime import session_rows
from tests.commands.session_times import actions, events, put_back, rule, zone_where_it_is
from tests.commands.staffed import staff
from tests.commands.workshop_desk import WorkshopDesk
from tests.conformance.workshop_service import SPEAKS, TICKETS, Workshop, data, refused, results

_S = WorkOrderState
_WORK = {"super_admin", "technician"}
_MINUTE = timedelta(minutes=1)
#: Action -> the state that it is tried from.
ACTIONS = {
    "start": _S.ASSIGNED,
    "to-waiting-qc": _S.IN_PROGRESS,
    "work-session/pause": _S.IN_PROGRESS,
    "work-session/resume": _S.IN_PROGRESS,
    "work-session/stop": _S.IN_PROGRESS,
}
PAUSE, RESUME, STOP = "work-session/pause", "work-session/resume", "work-session/stop"
_NAMES = count(1)
SESSION = {
    *("id", "ticket", "technician", "status", "started_at", "last_started_at", "ended_at", "active_seconds"),
    *("pause_seconds_left", "auto_resume_at"),
}
EVENT = {
    *("id", "work_session", "ticket", "technician", "action", "from_status", "to_status", "event_at", "actor"),
    *("actor_name", "metadata"),
}


@pytest.fixture(scope="module")
def shop(workshop: Workshop) -> Workshop:
    """Return the service with a workshop of this module's own, in which it is noon: no day ends while a test runs."""
    mine = replace(workshop, desk=WorkshopDesk.of(workshop.api.db))
    rule(mine.desk, 30, zone_where_it_is(mine.desk, 12))
    return mine


@pytest.fixture
def worker(shop: Workshop) -> str:
    """Return a technician who works at nothing yet."""
    name = f"worker-{next(_NAMES)}"
    with shop.desk.db.begin() as connection:
        shop.desk.people |= staff(connection, shop.desk.org_id, {name: "technician"})
    return name


def address(order_id: UUID, action: str) -> str:
    """Return where something is done to a ticket."""
    return f"{TICKETS}{order_id}/{action}/"


def do(shop: Workshop, order_id: UUID, action: str, by: str) -> Any:
    """Do something that must succeed; return what is answered."""
    return data(shop.post(address(order_id, action), by=by))


def begun(shop: Workshop, worker: str) -> UUID:
    """Return a ticket whose work has begun."""
    order_id = shop.desk.repair(_S.ASSIGNED, worker).order_id
    do(shop, order_id, "start", worker)
    return order_id


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("role", SPEAKS)
def test_workflow_actions_are_for_technician_and_super_admin_and_then_for_the_assigned_one(
    shop: Workshop, worker: str, role: str, action: str
) -> None:
    order_id = shop.desk.repair(ACTIONS[action], worker).order_id
    before = shop.seen(order_id)
    refused(shop.post(address(order_id, action), by=role), 400 if role in _WORK else 403)
    assert shop.seen(order_id) == before


def test_without_a_token_it_is_401_and_an_unknown_ticket_is_404(shop: Workshop, worker: str) -> None:
    order_id = shop.desk.repair(_S.ASSIGNED, worker).order_id
    for action in ACTIONS:
        refused(shop.http.post(address(order_id, action)), 401)
        refused(shop.post(address(uuid4(), action), by=worker), 404)
    path = "work-session/history"
    refused(shop.http.get(address(order_id, path)), 401)
    refused(shop.get(address(uuid4(), path)), 404)
    field = shop.desk.order(_S.ASSIGNED, worker).order_id
    refused(shop.post(address(field, "start"), by=worker), 404)


def test_start_moves_into_in_progress_and_starts_a_running_session(shop: Workshop, worker: str) -> None:
    order_id = shop.desk.repair(_S.ASSIGNED, worker).order_id
    answer = shop.post(address(order_id, "start"), {}, worker)
    said = data(answer)
    assert (said["status"], said["inventory_item_status"]) == ("in_progress", "in_service")
    assert (said["work_session"]["status"], said["work_session"]["technician"]) == ("running", said["technician"])
    assert answer.headers["etag"] == f'"{said["version"]}"'
    (step,) = results(shop.get(address(order_id, "transitions")))["results"]
    assert (step["action"], step["from_status"], step["to_status"]) == ("started", "assigned", "in_progress")


def test_one_in_progress_ticket_per_technician(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    other = shop.desk.repair(_S.ASSIGNED, worker).order_id
    assert "one ticket at a time" in refused(shop.post(address(other, "start"), by=worker), 400, "TECHNICIAN_BUSY")
    do(shop, order_id, STOP, worker)
    refused(shop.post(address(other, "start"), by=worker), 400, "TECHNICIAN_BUSY")
    do(shop, order_id, "to-waiting-qc", worker)
    assert do(shop, other, "start", worker)["status"] == "in_progress"


@pytest.mark.parametrize("state", ["under_review", "new", "waiting_qc", "done"])
def test_an_invalid_transition_is_400(shop: Workshop, worker: str, state: str) -> None:
    to = None if state in {"under_review", "new"} else worker
    order_id = shop.desk.repair(WorkOrderState(state), to).order_id
    for action in ACTIONS:
        before = shop.seen(order_id)
        refused(shop.post(address(order_id, action), by=worker), 400, "INVALID_STATE_TRANSITION")
        assert shop.seen(order_id) == before


def test_to_waiting_qc_only_after_the_session_was_explicitly_stopped(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    refused(shop.post(address(order_id, "to-waiting-qc"), by=worker), 400, "SESSION_NOT_STOPPED")
    do(shop, order_id, PAUSE, worker)
    refused(shop.post(address(order_id, "to-waiting-qc"), by=worker), 400, "SESSION_NOT_STOPPED")
    do(shop, order_id, STOP, worker)
    said = do(shop, order_id, "to-waiting-qc", worker)
    assert (said["status"], said["work_session"]) == ("waiting_qc", None)


def test_pause_resume_and_stop_answer_the_session(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    refused(shop.post(address(order_id, RESUME), by=worker), 400, "SESSION_RUNNING")
    said = do(shop, order_id, PAUSE, worker)
    assert set(said) == SESSION
    assert (said["status"], said["ticket"], said["ended_at"]) == ("paused", str(order_id), None)
    assert said["auto_resume_at"] is not None
    refused(shop.post(address(order_id, PAUSE), by=worker), 400, "SESSION_PAUSED")
    said = do(shop, order_id, RESUME, worker)
    assert (said["status"], said["auto_resume_at"]) == ("running", None)
    assert said["last_started_at"] > said["started_at"]
    said = do(shop, order_id, STOP, worker)
    assert (said["status"], said["ended_at"] is None) == ("stopped", False)
    for action in (PAUSE, RESUME, STOP):
        refused(shop.post(address(order_id, action), by=worker), 400, "NO_OPEN_SESSION")


def test_a_stopped_session_is_followed_by_another_one(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    do(shop, order_id, STOP, worker)
    said = do(shop, order_id, "start", worker)
    assert (said["status"], said["work_session"]["status"]) == ("in_progress", "running")


def test_the_daily_budget_is_the_technician_s_and_a_pause_fails_when_it_is_exhausted(
    shop: Workshop, worker: str
) -> None:
    order_id = begun(shop, worker)
    do(shop, order_id, PAUSE, worker)
    put_back(shop.desk, 29 * _MINUTE)
    assert do(shop, order_id, STOP, worker)["pause_seconds_left"] <= 60
    do(shop, order_id, "to-waiting-qc", worker)
    other = begun(shop, worker)
    do(shop, other, PAUSE, worker)
    put_back(shop.desk, 2 * _MINUTE)
    said = refused(shop.post(address(other, PAUSE), by=worker), 400, "PAUSE_LIMIT_REACHED")
    assert said.startswith("today's pauses of 30 minutes are used up; the next day begins at ")


def test_an_exhausted_pause_is_resumed_at_its_end_and_the_history_says_that_nobody_did(
    shop: Workshop, worker: str
) -> None:
    order_id = begun(shop, worker)
    do(shop, order_id, PAUSE, worker)
    put_back(shop.desk, 45 * _MINUTE)
    said = do(shop, order_id, STOP, worker)
    assert said["active_seconds"] // 60 == 15
    listed = results(shop.get(address(order_id, "work-session/history")))["results"]
    assert all(set(one) == EVENT for one in listed)
    found = [(one["action"], one["from_status"], one["to_status"]) for one in listed]
    assert found == [
        ("stopped", "running", "stopped"),
        ("resumed", "paused", "running"),
        ("paused", "running", "paused"),
        ("started", None, "running"),
    ]
    (_, pause, resumed, _) = events(shop.desk, order_id)
    assert resumed.at == pause.at + 30 * _MINUTE
    assert listed[1]["metadata"] == {"auto_resumed": True, "reason": "daily_pause_limit_reached"}
    assert (listed[1]["actor"], listed[1]["actor_name"]) == ("system", None)
    assert listed[0]["actor"] == str(shop.desk.person_id(worker))


@pytest.mark.parametrize("role", SPEAKS)
def test_every_role_reads_the_history_newest_first_by_pages(shop: Workshop, worker: str, role: str) -> None:
    order_id = begun(shop, worker)
    for action in (PAUSE, RESUME, STOP):
        do(shop, order_id, action, worker)
    path = address(order_id, "work-session/history")
    pages = [results(shop.get(path, role, page=number, per_page=3)) for number in (1, 2, 3)]
    assert [[one["action"] for one in page["results"]] for page in pages] == [
        ["stopped", "resumed", "paused"],
        ["started"],
        [],
    ]
    assert [(page["total_count"], page["page"], page["page_count"], page["per_page"]) for page in pages] == [
        (4, number, 2, 3) for number in (1, 2, 3)
    ]
    assert results(shop.get(path, role))["per_page"] == 10
    refused(shop.get(path, role, page=0), 400)


def test_a_retried_request_with_its_key_is_answered_the_same_and_done_once(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    key = {"idempotency-key": str(uuid4())}
    answers = [shop.post(address(order_id, STOP), by=worker, **key) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert actions(shop.desk, order_id) == ["started", "stopped"]
    refused(shop.post(address(order_id, STOP), by=worker), 400)


def test_a_stale_version_is_400(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    refused(shop.post(address(order_id, STOP), by=worker, **{"if-match": '"0"'}), 400, "STALE_VERSION")


def test_active_seconds_are_derived_from_the_history_of_all_sessions(shop: Workshop, worker: str) -> None:
    order_id = begun(shop, worker)
    for action, minutes in ((PAUSE, 10), (RESUME, 5), (STOP, 3), ("start", 60), (STOP, 4)):
        put_back(shop.desk, minutes * _MINUTE)
        said = do(shop, order_id, action, worker)
    assert said["active_seconds"] // 60 == 4
    with shop.desk.db.begin() as connection:
        assert session_rows.active_seconds(connection, order_id) // 60 == 17
