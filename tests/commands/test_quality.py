"""Quality control: passed or sent back once, by somebody who did not work on it, with points given once."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from models.enums import WorkOrderState
from pipeline.commands.quality import FAIL, PASS, QualityCheck
from pipeline.core.refusing import Refusal
from pipeline.executor import Answer
from pipeline.runtime.db import Database
from tests.commands.points import LEDGER, change_rules, sum_of, waiting, worked
from tests.commands.racing import race
from tests.commands.workshop_desk import WorkshopDesk

_STATE = WorkOrderState
_KINDS = "SELECT kind, amount FROM xp_transactions WHERE order_id = :id ORDER BY kind"
_BASE, _BONUS, _CHECKED = "ticket_base_xp", "ticket_qc_first_pass_bonus", "ticket_qc_status_update"


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    return WorkshopDesk.of(db)


def test_a_pass_ends_the_repair_frees_the_thing_gives_points_and_tells(desk: WorkshopDesk) -> None:
    order = waiting(desk, minutes=60, seconds=3600)
    answer = desk.run(PASS, QualityCheck(notes=" well done "), order.order_id, by="inspector")
    said = answer.body["data"]
    assert (said["status"], said["inventory_item_status"], said["version"]) == ("done", "ready", order.version + 1)
    assert said["finished_at"] is not None
    tech, inspector = desk.person_id("tech"), desk.person_id("inspector")
    ((check_id, notes),) = desk.rows("SELECT id, notes FROM quality_checks WHERE org_id = :org")
    assert notes == "well done"
    assert desk.rows(LEDGER) == [
        (_BASE, tech, 3, f"{_BASE}:{order.order_id}"),
        (_BONUS, tech, 1, f"{_BONUS}:{order.order_id}"),
        (_CHECKED, inspector, 1, f"{_CHECKED}:{order.order_id}:{check_id}"),
    ]
    assert desk.steps(order.order_id) == [("workshop.qc_pass", "waiting_qc", "done")]
    told = desk.rows("SELECT person_id, kind, reference FROM notifications WHERE org_id = :org")
    assert told == [(tech, "WO_QC_PASSED", f"qc:{check_id}")]


def test_a_failed_check_asks_for_rework_and_costs_the_bonus_for_good(desk: WorkshopDesk) -> None:
    order = waiting(desk)
    answer = desk.run(FAIL, QualityCheck(notes="it still squeals"), order.order_id, by="inspector")
    said = answer.body["data"]
    assert (said["status"], said["inventory_item_status"], said["finished_at"]) == ("rework", "in_service", None)
    assert desk.rows("SELECT kind, body FROM notifications WHERE org_id = :org") == [
        ("WO_QC_FAILED", f"{order.code}: It squeals (it still squeals)")
    ]
    desk.change("UPDATE work_orders SET state = 'waiting_qc' WHERE id = :id", id=order.order_id)
    desk.run(PASS, QualityCheck(), order.order_id, by="other_inspector")
    assert desk.rows(_KINDS, id=order.order_id) == [(_BASE, 1), (_CHECKED, 1), (_CHECKED, 1)]
    assert sum_of(desk, desk.person_id("other_inspector")) == 1


@pytest.mark.parametrize(("seconds", "bonus"), [(1200, [(_BONUS, 1)]), (1202, [])])
def test_the_bonus_is_for_work_within_the_planned_time(
    desk: WorkshopDesk, seconds: float, bonus: list[tuple[str, int]]
) -> None:
    order = waiting(desk, minutes=20, seconds=seconds / 2)
    worked(desk, order, seconds=seconds / 2)
    desk.run(PASS, QualityCheck(), order.order_id, by="inspector")
    assert [row for row in desk.rows(_KINDS, id=order.order_id) if row[0] == _BONUS] == bonus


def test_points_set_to_nothing_by_hand_stay_nothing(desk: WorkshopDesk) -> None:
    order = waiting(desk, minutes=60)
    desk.change("UPDATE repairs SET xp_amount = 0, is_manual = true WHERE order_id = :id", id=order.order_id)
    change_rules(desk, ticket_xp={"first_pass_bonus": 7, "qc_status_update_xp": 0})
    desk.run(PASS, QualityCheck(), order.order_id, by="inspector")
    assert desk.rows(_KINDS, id=order.order_id) == [(_BASE, 0), (_BONUS, 7), (_CHECKED, 0)]


def test_who_worked_on_it_in_any_attempt_does_not_check_it(desk: WorkshopDesk) -> None:
    order = waiting(desk)
    worked(desk, order, by="inspector")
    mine = desk.repair(_STATE.WAITING_QC, "admin")
    sent_back = waiting(desk)
    desk.run(FAIL, QualityCheck(), sent_back.order_id, by="other_inspector")
    # Given to somebody else after it came back; whose work was checked stays out.
    desk.change(
        "UPDATE work_orders SET state = 'waiting_qc', assigned_to_id = :to WHERE id = :id",
        id=sent_back.order_id,
        to=desk.person_id("admin"),
    )
    desk.change("UPDATE quality_checks SET technician_id = :to", to=desk.person_id("inspector"))
    for command in (PASS, FAIL):
        assert desk.refused(command, QualityCheck(), order.order_id, by="inspector").code == "FOUR_EYES"
        assert desk.refused(command, QualityCheck(), mine.order_id, by="admin").code == "FOUR_EYES"
        assert desk.refused(command, QualityCheck(), sent_back.order_id, by="inspector").code == "FOUR_EYES"
    assert desk.run(PASS, QualityCheck(), order.order_id, by="other_inspector").status == 200


def test_the_database_takes_no_check_of_ones_own_work(desk: WorkshopDesk) -> None:
    order = waiting(desk)
    with pytest.raises(DBAPIError, match="four_eyes"):
        desk.change(
            "INSERT INTO quality_checks (org_id, order_id, technician_id, inspector_id, result) "
            "VALUES (:org, :order, :tech, :tech, 'PASS')",
            order=order.order_id,
            tech=desk.person_id("tech"),
        )


def test_only_what_waits_for_it_is_checked_and_only_by_inspectors(desk: WorkshopDesk) -> None:
    for state in set(_STATE) & {_STATE.ASSIGNED, _STATE.IN_PROGRESS, _STATE.REWORK, _STATE.DONE, _STATE.NEW}:
        order = desk.repair(state, None if state is _STATE.NEW else "tech")
        for command in (PASS, FAIL):
            assert (
                desk.refused(command, QualityCheck(), order.order_id, by="inspector").code == "INVALID_STATE_TRANSITION"
            )
        desk.change("UPDATE work_orders SET state = 'cancelled' WHERE id = :id", id=order.order_id)
    order = waiting(desk)
    for name in ("tech", "master", "ops_manager", "viewer", "lead"):
        assert desk.refused(PASS, QualityCheck(), order.order_id, by=name).code == "FORBIDDEN"
    assert desk.rows(LEDGER) == []


def test_of_two_inspectors_at_once_one_decides(desk: WorkshopDesk) -> None:
    """The first implementation let both commit, or fail with 500 (seed-behaviours, 3.8.1)."""
    for other in (FAIL, PASS):
        order = waiting(desk)
        wishes = [
            (PASS, desk.ask(QualityCheck(), by="inspector", target=str(order.order_id))),
            (other, desk.ask(QualityCheck(), by="other_inspector", target=str(order.order_id))),
        ]
        found = race(desk.db, wishes)
        done = [one for one in found if isinstance(one, Answer)]
        refused = [one.code for one in found if isinstance(one, Refusal)]
        assert (len(done), refused) == (1, ["INVALID_STATE_TRANSITION"])
        checks = desk.rows("SELECT result FROM quality_checks WHERE order_id = :id", id=order.order_id)
        assert len(checks) == 1
        is_done = done[0].body["data"]["status"] == "done"
        assert checks == [("PASS" if is_done else "FAIL",)]
        assert (_BASE in dict(desk.rows(_KINDS, id=order.order_id))) == is_done


def test_points_that_were_given_before_abort_nothing_and_stay(desk: WorkshopDesk) -> None:
    """In the first implementation the whole check was rolled back (seed-behaviours, 3.8.2)."""
    order = waiting(desk)
    desk.change(
        "INSERT INTO xp_transactions (org_id, person_id, kind, amount, reference, created_by) "
        "VALUES (:org, :tech, 'ticket_base_xp', 42, :reference, 'before')",
        tech=desk.person_id("tech"),
        reference=f"{_BASE}:{order.order_id}",
    )
    assert desk.run(PASS, QualityCheck(), order.order_id, by="inspector").body["data"]["status"] == "done"
    assert (_BASE, desk.person_id("tech"), 42, f"{_BASE}:{order.order_id}") in desk.rows(LEDGER)
    assert len(desk.rows(LEDGER)) == 3


def test_a_check_that_is_sent_again_has_its_answer_and_no_second_effect(desk: WorkshopDesk) -> None:
    order = waiting(desk)
    ask = desk.ask(QualityCheck(), by="inspector", target=str(order.order_id))
    first, second = (race(desk.db, [(PASS, ask)])[0] for _ in range(2))
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.body, second.is_replayed) == (second.body, True)
    assert len(desk.rows(LEDGER)) == 3
