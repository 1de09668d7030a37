"""Quality control of contract 002: pass and fail, what they bring about, and who may."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from models.enums import WorkOrderState
from tests.commands.points import waiting, worked
from tests.conformance.workshop_service import TICKETS, Workshop, data, refused, results

_PASS, _FAIL = "qc-pass", "qc-fail"
_TRANSACTIONS = "/api/v1/xp/transactions/"


def act(workshop: Workshop, order_id: UUID | str, action: str) -> str:
    return f"{TICKETS}{order_id}/{action}/"


def points(workshop: Workshop, order_id: UUID) -> dict[str, int]:
    """Return the points of a ticket, by what they were given for."""
    found = results(workshop.get(_TRANSACTIONS, "super_admin", per_page=100))["results"]
    return {one["entry_type"]: one["amount"] for one in found if one["ticket"] == str(order_id)}


@pytest.mark.parametrize("by", ["qc_inspector", "super_admin"])
def test_a_pass_finalizes_frees_the_thing_and_appends_three_kinds_of_points(workshop: Workshop, by: str) -> None:
    order = waiting(workshop.desk, minutes=61, seconds=600)
    said = data(workshop.post(act(workshop, order.order_id, _PASS), by=by))
    assert (said["status"], said["inventory_item_status"]) == ("done", "ready")
    assert said["finished_at"].endswith("Z")
    assert points(workshop, order.order_id) == {
        "ticket_base_xp": 4,
        "ticket_qc_first_pass_bonus": 1,
        "ticket_qc_status_update": 1,
    }
    steps = results(workshop.get(f"{TICKETS}{order.order_id}/transitions/"))["results"]
    assert (steps[0]["action"], steps[0]["from_status"], steps[0]["to_status"]) == ("qc_pass", "waiting_qc", "done")


def test_a_fail_moves_to_rework_and_appends_the_checkers_points_alone(workshop: Workshop) -> None:
    order = waiting(workshop.desk)
    said = data(workshop.post(act(workshop, order.order_id, _FAIL), {"notes": "loose"}, "qc_inspector"))
    assert (said["status"], said["inventory_item_status"], said["finished_at"]) == ("rework", "in_service", None)
    assert points(workshop, order.order_id) == {"ticket_qc_status_update": 1}


def test_no_bonus_after_rework_nor_beyond_the_planned_time(workshop: Workshop) -> None:
    slow, reworked = waiting(workshop.desk, minutes=20, seconds=1202), waiting(workshop.desk)
    workshop.post(act(workshop, reworked.order_id, _FAIL), by="qc_inspector")
    workshop.desk.change("UPDATE work_orders SET state = 'waiting_qc' WHERE id = :id", id=reworked.order_id)
    for order in (slow, reworked):
        data(workshop.post(act(workshop, order.order_id, _PASS), by="qc_inspector"))
        assert points(workshop, order.order_id)["ticket_base_xp"] == 1
        assert "ticket_qc_first_pass_bonus" not in points(workshop, order.order_id)


def test_the_role_matrix_is_403_and_no_login_401(workshop: Workshop) -> None:
    order = waiting(workshop.desk)
    before = workshop.seen(order.order_id)
    for action in (_PASS, _FAIL):
        for role in ("technician", "master", "ops_manager"):
            refused(workshop.post(act(workshop, order.order_id, action), by=role), 403)
        refused(workshop.http.post(act(workshop, order.order_id, action)), 401)
        refused(workshop.http.post(act(workshop, order.order_id, action), headers={"authorization": "Bearer x"}), 401)
        refused(workshop.post(act(workshop, uuid4(), action), by="qc_inspector"), 404)
    assert workshop.seen(order.order_id) == before


@pytest.mark.parametrize(
    "state", sorted(set(WorkOrderState) & {"under_review", "new", "assigned", "in_progress", "rework", "done"})
)
def test_every_other_state_is_400(workshop: Workshop, state: WorkOrderState) -> None:
    is_given = state not in {WorkOrderState.UNDER_REVIEW, WorkOrderState.NEW}
    order = workshop.desk.repair(state, "other_tech" if is_given else None)
    before = workshop.seen(order.order_id)
    for action in (_PASS, _FAIL):
        refused(workshop.post(act(workshop, order.order_id, action), by="qc_inspector"), 400)
    assert workshop.seen(order.order_id) == before
    workshop.desk.change("UPDATE work_orders SET state = 'cancelled' WHERE id = :id", id=order.order_id)


def test_whoever_worked_on_it_is_told_that_somebody_else_must_look(workshop: Workshop) -> None:
    order = waiting(workshop.desk)
    worked(workshop.desk, order, by="inspector")
    for action in (_PASS, _FAIL):
        said = refused(workshop.post(act(workshop, order.order_id, action), by="qc_inspector"), 400, "FOUR_EYES")
        assert "somebody else" in said
    data(workshop.post(act(workshop, order.order_id, _PASS), by="other_inspector"))


@pytest.mark.parametrize("body", [{"notes": 5}, {"notes": "x" * 2001}, {"note": "x"}, [], "x"])
def test_a_wrong_body_is_400(workshop: Workshop, body: object) -> None:
    refused(workshop.post(act(workshop, uuid4(), _PASS), body, "qc_inspector"), 400)


def test_the_same_key_has_the_same_answer(workshop: Workshop) -> None:
    order = waiting(workshop.desk)
    sent = {"idempotency-key": str(uuid4())}
    first, second = (workshop.post(act(workshop, order.order_id, _PASS), by="qc_inspector", **sent) for _ in range(2))
    assert (first.content, second.headers["idempotency-replayed"]) == (second.content, "true")
    refused(workshop.post(act(workshop, order.order_id, _PASS), by="qc_inspector"), 400)
