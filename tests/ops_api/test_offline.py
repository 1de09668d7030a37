"""Queues of actions over HTTP: in order, each by itself, once, and answered as its own address would (decision 43)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from deploy.local.lock import Endpoints
from models.enums import NotificationKind, WorkOrderState
from ops_api import batches
from pipeline.core.offline import MOST_BYTES, Deed
from pipeline.core.orders import Order
from pipeline.runtime import notifying
from tests.airplane.office import Office, office, picture
from tests.airplane.queueing import Action
from tests.conftest import fresh_database

_PATH = "/api/v1/me/actions"
_S = WorkOrderState


@pytest.fixture(scope="module")
def place(servers: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("blobs")
    with fresh_database(servers) as url, office(url, folder.as_uri(), statement=timedelta(seconds=1.5)) as found:
        yield found


def action(order: Order | UUID, deed: str, **more: Any) -> Action:
    """Return an action with an id of its own."""
    order_id = order.order_id if isinstance(order, Order) else order
    return {"clientId": str(uuid4()), "action": deed, "workOrderId": str(order_id), **more}


def send(place: Office, *actions: Any, by: str = "tech", **options: Any) -> list[dict[str, Any]]:
    """Send a queue; return its results."""
    said = place.people[by].post(_PATH, json={"actions": list(actions)}, **options)
    assert said.status_code == 200, said.text
    found: list[dict[str, Any]] = said.json()["results"]
    assert [one["clientId"] for one in found] == [one.get("clientId") for one in actions]
    return found


def statuses(results: list[dict[str, Any]]) -> list[tuple[int, str | None]]:
    return [(one["status"], one["error"]["code"] if "error" in one else None) for one in results]


def given(place: Office, state: WorkOrderState = _S.ASSIGNED, **more: Any) -> Order:
    return place.desk.order(state, "tech", **more)


def shoot(place: Office, order: Order) -> None:
    said = {"workOrderId": str(order.order_id), "kind": "COMPLETION"}
    files = {"file": ("a.png", picture(7), "image/png")}
    assert place.people["tech"].post("/api/v1/uploads/photos", data=said, files=files).status_code == 201


def test_a_queue_is_done_in_order_and_each_answer_is_that_of_its_own_address(place: Office) -> None:
    one, other = given(place), given(place)
    shoot(place, one)
    start = action(one, "start", version=0)
    done = action(one, "done", after=start["clientId"], body={"fixNote": "tightened"})
    results = send(place, start, action(other, "return", version=0, body={"reason": "no part"}), done)
    assert statuses(results) == [(200, None)] * 3
    assert [set(found["body"]) for found in results] == [
        {"state", "startedAt", "version"},
        {"state", "version"},
        {"state", "closedAt", "version", "parentReleased"},
    ]
    assert [found["body"]["state"] for found in results] == ["IN_PROGRESS", "RETURNED", "DONE"]
    assert [found["body"]["version"] for found in results] == [1, 1, 2]
    assert [step[0] for step in place.desk.steps(one.order_id) if "photo" not in step[0]] == [
        "work_order.start",
        "work_order.done",
    ]


def test_sent_again_also_at_the_same_time_nothing_is_done_twice(place: Office) -> None:
    orders = [given(place) for _ in range(4)]
    queue = [action(order, "start", version=0) for order in orders]
    queue += [
        action(order, "return", after=one["clientId"], body={"reason": "x"})
        for order, one in zip(orders, queue, strict=True)
    ]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: send(place, *queue), range(3)))
    again = send(place, *queue)
    assert all(one["replayed"] for one in again)
    for results in answers:
        assert [one["body"] for one in results] == [one["body"] for one in again]
    first = [sum(not results[number]["replayed"] for results in answers) for number in range(len(queue))]
    assert first == [1] * len(queue)
    for order in orders:
        assert len(place.desk.steps(order.order_id)) == 2


def test_what_was_sent_alone_first_is_answered_the_same_in_a_queue(place: Office) -> None:
    order = given(place)
    queued = action(order, "return", version=0, body={"reason": "no part"})
    headers = {"If-Match": '"0"', "Idempotency-Key": queued["clientId"]}
    path = f"/api/v1/work-orders/{order.order_id}/return"
    alone = place.people["tech"].ask("PATCH", path, headers=headers, json=queued["body"])
    (found,) = send(place, queued)
    assert (found["replayed"], found["body"]) == (True, alone.json())
    (other,) = send(place, queued | {"body": {"reason": "another"}})
    assert statuses([other]) == [(409, "IDEMPOTENCY_PAYLOAD_MISMATCH")]


def test_an_id_in_capitals_is_the_same_action_and_comes_back_as_it_was_written(place: Office) -> None:
    """iPhones write UUIDs so."""
    order = given(place)
    queued = action(order, "return", version=0, body={"reason": "no part"})
    queued["clientId"] = queued["clientId"].upper()
    headers = {"If-Match": '"0"', "Idempotency-Key": queued["clientId"]}
    path = f"/api/v1/work-orders/{order.order_id}/return"
    alone = place.people["tech"].ask("PATCH", path, headers=headers, json=queued["body"])
    (found,) = send(place, queued)
    assert (found["status"], found["replayed"], found.get("body")) == (200, True, alone.json())
    rests = action(order, "start", after=queued["clientId"].lower())
    results = send(place, queued, rests, action(order, "done") | {"clientId": queued["clientId"].lower(), "version": 0})
    assert statuses(results)[1:] == [(409, "INVALID_STATE_TRANSITION"), (409, "IDEMPOTENCY_PAYLOAD_MISMATCH")]


def test_a_refusal_stops_what_rests_on_it_and_nothing_else(place: Office) -> None:
    one, other = given(place), given(place)
    stale = action(one, "start", version=7)
    rests = action(one, "done", after=stale["clientId"])
    rests_too = action(one, "return", after=rests["clientId"], body={"reason": "x"})
    results = send(place, stale, rests, rests_too, action(other, "start", version=0))
    assert statuses(results) == [
        (409, "STALE_VERSION"),
        (424, "DEPENDS_ON_FAILED"),
        (424, "DEPENDS_ON_FAILED"),
        (200, None),
    ]
    assert place.desk.read(one.order_id).version == 0


def test_a_refusal_is_judged_anew_when_the_photo_has_come(place: Office) -> None:
    order = given(place)
    start = action(order, "start", version=0)
    done = action(order, "done", after=start["clientId"])
    early = send(place, start, done)
    assert (early[1]["status"], set(early[1]["error"]["fields"])) == (422, {"fixPhoto"})
    shoot(place, order)
    late = send(place, start, done)
    assert [(one["status"], one["replayed"]) for one in late] == [(200, True), (200, False)]


def test_every_refusal_is_that_of_the_single_request(place: Office) -> None:
    theirs = place.desk.order(_S.ASSIGNED, "other_tech")
    begun = given(place, _S.IN_PROGRESS)
    cases: list[tuple[Action, int, str]] = [
        (action(theirs, "start", version=0), 403, "forbidden"),
        (action(uuid4(), "start", version=0), 404, "WORK_ORDER_NOT_FOUND"),
        (action(begun, "start", version=0), 409, "INVALID_STATE_TRANSITION"),
        (action(begun, "start"), 428, "IF_MATCH_REQUIRED"),
        (action(begun, "done", version=0), 422, "FIX_PHOTO_MISSING"),
        (action(begun, "return", version=0, body={"reason": " "}), 422, "invalid"),
        (action(begun, "return", version=0, body={"reason": 5}), 422, "invalid"),
        (action(begun, "return", version=0, body={"colour": "red"}), 422, "invalid"),
    ]
    results = send(place, *(one for one, _, _ in cases))
    assert statuses(results) == [(status, code) for _, status, code in cases]
    for one, result in zip((one for one, _, _ in cases), results, strict=True):
        alone = _alone(place, one)
        assert alone.status_code == result["status"], alone.text
        said = [{name: error[name] for name in ("code", "fields") if name in error} for error in
                (alone.json()["error"], result["error"])]  # fmt: skip
        assert said[0] == said[1]


def _alone(place: Office, one: Action) -> httpx.Response:
    path = f"/api/v1/work-orders/{one['workOrderId']}/{one['action']}"
    headers = {"If-Match": f'"{one["version"]}"'} if "version" in one else {}
    return place.people["tech"].ask("PATCH", path, headers=headers, json=one.get("body") or {})


def test_refusals_are_recorded_as_those_of_single_requests_are(place: Office) -> None:
    order = place.desk.order(_S.ASSIGNED, "other_tech")
    stale = action(given(place), "start", version=9)
    queue = [
        action(order, "start", version=0),
        stale,
        action(UUID(stale["workOrderId"]), "done", after=stale["clientId"]),
    ]
    send(place, *queue, headers={"X-Request-Id": "queue-77"})
    found = place.desk.rows("""
        SELECT action, outcome, code, target_id, (data->>'status')::int
          FROM audit_events JOIN audit_details USING (org_id, number)
         WHERE org_id = :org AND request_id = 'queue-77' ORDER BY number
    """)
    assert found == [
        ("work_order.start", "refused", "FORBIDDEN_SCOPE", str(order.order_id), 403),
        ("work_order.start", "refused", "STALE_VERSION", stale["workOrderId"], 409),
    ]


def test_the_trail_and_the_step_know_when_it_was_really_done(place: Office) -> None:
    order = given(place)
    start = action(order, "start", version=0, queuedAt="2026-11-01T08:30:00+01:00")
    send(place, start)
    ((data,),) = place.desk.rows(
        "SELECT data->'offline' FROM work_order_events WHERE order_id = :id", id=order.order_id
    )
    assert data == {"client_id": start["clientId"], "queued_at": "2026-11-01T08:30:00+01:00"}
    statement = """
        SELECT data->'offline' FROM audit_events JOIN audit_details USING (org_id, number) WHERE target_id = :id
    """
    assert place.desk.rows(statement, id=str(order.order_id)) == [(data,)]


def test_an_action_that_cannot_be_read_is_refused_alone(place: Office) -> None:
    order = given(place)
    bad: list[Any] = [
        action(order, "explode"),
        action(order, "start", version=0, colour="red"),
        action(order, "start", version=-1),
        {"clientId": str(uuid4()), "action": "start", "notificationId": str(uuid4())},
        {"action": "start"},
    ]
    results = send(place, *bad, action(order, "start", version=0))
    assert statuses(results) == [(422, "invalid")] * 5 + [(200, None)]
    assert set(results[0]["error"]["fields"]) == {"action"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"actions": []}, 422),
        ({"actions": [{}] * 101}, 422),
        ({"queue": []}, 422),
        ({"actions": [{"clientId": "x" * MOST_BYTES}]}, 413),
    ],
)
def test_a_queue_that_is_none_or_too_much_is_refused_whole(place: Office, body: object, status: int) -> None:
    said = place.people["tech"].post(_PATH, json=body)
    assert said.status_code == status, said.text
    assert set(said.json()["error"]) >= {"code", "message", "request_id"}


def test_queues_are_for_those_who_work_orders(place: Office) -> None:
    queue = {"actions": [action(uuid4(), "start", version=0)]}
    assert place.people["lead"].post(_PATH, json=queue).status_code == 403
    assert place.wire.api.client().post(_PATH, json=queue).status_code == 401


def test_a_notification_is_read_once_and_anothers_is_not_there(place: Office) -> None:
    order = given(place)
    with place.desk.db.begin() as connection:
        for name in ("tech", "other_tech"):
            people = [place.desk.person_id(name)]
            notifying.tell(connection, order, NotificationKind.ASSIGNED, people, f"assigned:{order.order_id}:1")
        statement = text("SELECT id FROM notifications WHERE order_id = :id AND person_id = :person")
        mine, theirs = (
            connection.execute(statement, {"id": order.order_id, "person": place.desk.person_id(name)}).scalar_one()
            for name in ("tech", "other_tech")
        )
    queue = [
        {"clientId": str(uuid4()), "action": "read_notification", "notificationId": str(one)} for one in (mine, theirs)
    ]
    for _ in range(2):
        assert statuses(send(place, *queue)) == [(204, None), (404, "not_found")]
    read = place.desk.rows(
        "SELECT id FROM notifications WHERE order_id = :id AND read_at IS NOT NULL", id=order.order_id
    )
    assert read == [(mine,)]


def test_an_error_of_ours_is_that_actions_answer_and_the_others_go_on(
    place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = given(place), given(place)
    monkeypatch.setattr(batches, "_COMMANDS", {Deed.START: batches._COMMANDS[Deed.START]})
    results = send(place, action(one, "return", version=0, body={"reason": "x"}), action(other, "start", version=0))
    assert statuses(results) == [(500, "internal"), (200, None)]


def test_without_a_database_nothing_more_is_tried_and_the_queue_sent_again_is_done(place: Office) -> None:
    orders = [given(place) for _ in range(3)]
    queue = [action(order, "start", version=0) for order in orders]
    with place.desk.db.begin() as connection:
        # Held longer than a statement may wait.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SELECT FROM work_orders WHERE id = :id FOR UPDATE"), {"id": orders[1].order_id})
        results = send(place, *queue)
    assert statuses(results) == [(200, None), (503, "unavailable"), (503, "NOT_TRIED")]
    assert [one["replayed"] for one in send(place, *queue)] == [True, False, False]


def test_a_queue_that_takes_too_long_is_answered_before_anybody_gives_up(
    place: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = given(place)
    with monkeypatch.context() as patched:
        patched.setattr(place.wire.api.app.state.services.queues, "_patience", -1.0)
        assert statuses(send(place, action(order, "start", version=0))) == [(503, "NOT_TRIED")]
    assert place.desk.read(order.order_id).state is _S.ASSIGNED


def test_a_hundred_actions_are_one_request_and_what_stands_there_again_is_done_once(place: Office) -> None:
    orders = [given(place) for _ in range(20)]
    starts = [action(order, "start", version=0) for order in orders]
    ends = [
        action(order, "return", after=one["clientId"], body={"reason": "x"})
        for order, one in zip(orders, starts, strict=True)
    ]
    results = send(place, *starts, *ends, *starts, *ends, *starts)
    assert [one["status"] for one in results] == [200] * 100
    assert [one["replayed"] for one in results] == [False] * 40 + [True] * 60
