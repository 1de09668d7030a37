"""Findings of who did the work, of who checked it, and of a person who knows better, as they come to cases."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from models.enums import QaResult, WorkOrderState
from pipeline.commands.case_truths import TELL, Correction
from pipeline.commands.work_order_arguments import Finish, OutsourcedEnd
from pipeline.core.findings import ASSUMED, Finding
from pipeline.runtime.db import Database
from tests import factories
from tests.commands.field_desk import FieldDesk, send
from tests.commands.order_work import COMMANDS, at_work, prove
from tests.commands.site_steps import check_in, complete, finish, verify
from tests.commands.site_steps import prove as prove_site
from tests.commands.work_desk import WorkDesk

FIXED, NOTHING = Finding.FAULT_FIXED, Finding.NO_FAULT_FOUND


@pytest.fixture
def desk(db: Database) -> WorkDesk:
    return WorkDesk.of(db)


@pytest.fixture
def ours(db: Database) -> FieldDesk:
    return FieldDesk.of(db)


def case(desk: WorkDesk | FieldDesk) -> UUID:
    """Return a case of an asset of its own."""
    with desk.db.begin() as connection:
        asset_id = factories.asset(connection, desk.org_id, f"A-{desk.org_id}")
        return factories.case(connection, desk.org_id, asset_id)


def truths(desk: WorkDesk | FieldDesk) -> list[tuple[str, bool, bool]]:
    """Return what was told: by whom, whether something was wrong, and whether that was assumed."""
    found = desk.rows("SELECT source, is_real, note FROM case_truths WHERE org_id = :org ORDER BY id")
    return [(source, is_real, note.startswith(ASSUMED)) for source, is_real, note in found]


def settling(desk: WorkDesk | FieldDesk) -> list[str]:
    return [key for (key,) in desk.rows("SELECT key FROM jobs WHERE stage = 'settle' AND org_id = :org")]


@pytest.mark.parametrize(
    ("said", "told"), [(None, (True, True)), (FIXED, (True, False)), (NOTHING, (False, False))], ids=str
)
def test_a_technician_who_is_done_tells_what_was_found(
    desk: WorkDesk, said: Finding | None, told: tuple[bool, bool]
) -> None:
    case_id = case(desk)
    order = at_work(desk, case_id=case_id)
    desk.run(COMMANDS["done"], Finish(finding=said), order.order_id)
    assert truths(desk) == [("field", *told)]
    assert settling(desk) == [str(case_id)]
    details = desk.rows(
        "SELECT d.data -> 'truth' FROM audit_details d JOIN audit_events a USING (org_id, number)"
        " WHERE a.action = 'work_order.done' AND a.org_id = :org"
    )
    assert details == [({"kind": "field", "is_real": told[0]},)]


def test_an_order_that_no_case_asked_for_tells_nothing(desk: WorkDesk) -> None:
    desk.run(COMMANDS["done"], Finish(finding=NOTHING), at_work(desk).order_id)
    assert (truths(desk), settling(desk)) == ([], [])


@pytest.mark.parametrize("said", [None, NOTHING])
@pytest.mark.parametrize("is_proved", [False, True], ids=["bare", "proved"])
def test_a_vendor_is_taken_at_their_word_and_without_proof_nothing_is_assumed(
    desk: WorkDesk, said: Finding | None, *, is_proved: bool
) -> None:
    case_id = case(desk)
    order = desk.order(WorkOrderState.OUTSOURCED, case_id=case_id, outsourced_to="Elsewhere")
    if is_proved:
        prove(desk, order.order_id, attempt=0)
    desk.run(COMMANDS["complete-outsourced"], OutsourcedEnd(finding=said), order.order_id, by="lead")
    assumed = [("field", True, True)] if is_proved else []
    told = assumed if said is None else [("field", False, False)]
    assert truths(desk) == told
    # Its work is done, whatever was found.
    assert settling(desk) == [str(case_id)]


def at_site(ours: FieldDesk, case_id: UUID) -> UUID:
    """Return a ticket whose technician is at work, with the order of a case."""
    made = ours.at("SCHEDULED")
    with ours.db.begin() as connection:
        factories.work_order(connection, ours.org_id, case_id, made)
    send(ours, made)
    check_in(ours, made)
    return made


def test_a_ticket_that_is_completed_and_checked_tells_its_case(ours: FieldDesk) -> None:
    case_id = case(ours)
    made = at_site(ours, case_id)
    finish(ours, made)
    assert truths(ours) == [("field", True, True)]
    verify(ours, made, QaResult.FAIL, notes="the latch is loose")
    assert len(truths(ours)) == 1
    complete(ours, made, finding=NOTHING)
    verify(ours, made)
    assert truths(ours)[1:] == [("field", False, False), ("qc", False, True)]
    assert set(settling(ours)) == {str(case_id)}


def test_a_check_may_find_otherwise_and_a_failed_one_finds_nothing(ours: FieldDesk) -> None:
    made = at_site(ours, case(ours))
    prove_site(ours, made)
    complete(ours, made, finding=FIXED)
    with pytest.raises(ValueError, match="tells nothing of the fault"):
        verify(ours, made, QaResult.FAIL, notes="no", finding=NOTHING)
    verify(ours, made, finding=NOTHING)
    assert truths(ours) == [("field", True, False), ("qc", False, False)]


def test_a_ticket_without_a_case_tells_nothing(ours: FieldDesk) -> None:
    made = ours.at("IN_PROGRESS")
    finish(ours, made)
    verify(ours, made)
    assert (truths(ours), settling(ours)) == ([], [])


@pytest.mark.parametrize("state", ["done", "in_progress"])
def test_a_ticket_tells_nothing_to_the_case_whose_order_was_called_off(ours: FieldDesk, state: str) -> None:
    case_id = case(ours)
    made = at_site(ours, case_id)
    with ours.db.begin() as connection:
        other = factories.case(connection, ours.org_id, factories.asset(connection, ours.org_id, "B-1"))
        called_off = factories.work_order(connection, ours.org_id, other, made)
    ours.change("UPDATE work_orders SET state = 'cancelled', closed_at = now() WHERE id = :id", id=called_off)
    ours.change(
        "UPDATE work_orders SET state = :state, closed_at = CASE WHEN :state = 'done' THEN now() END"
        " WHERE case_id = :case",
        state=state,
        case=case_id,
    )
    finish(ours, made)
    told = ours.rows("SELECT case_id, is_real FROM case_truths WHERE org_id = :org")
    assert [tuple(one) for one in told] == [(case_id, True)]


def correct(ours: FieldDesk, case_id: UUID, *, is_real: bool, by: str = "dispatcher") -> Any:
    asked = Correction(is_real=is_real, note="I was there")
    return ours.run(TELL, asked, str(case_id), by=by).body["data"]


def test_a_person_is_believed_at_once_and_a_trouble_that_was_none_is_closed_with_its_work(ours: FieldDesk) -> None:
    case_id = case(ours)
    with ours.db.begin() as connection:
        ticket_id = factories.ticket(connection, ours.org_id)
        order_id = factories.work_order(connection, ours.org_id, case_id, ticket_id)
    ours.change("UPDATE work_orders SET ticket_id = NULL WHERE id = :id", id=order_id)
    found = correct(ours, case_id, is_real=False)
    assert (found["case"]["state"], found["case"]["closed_because"]) == ("closed", "false_alarm")
    assert (found["case"]["is_real"], found["truth"]["source"]) == (False, "person")
    assert [one["state"] for one in found["cancelled_work_orders"]] == ["cancelled"]
    # Also of a case that is closed.
    found = correct(ours, case_id, is_real=True)
    assert (found["case"]["state"], found["case"]["is_real"], found["cancelled_work_orders"]) == ("closed", True, [])
    assert truths(ours) == [("person", False, False), ("person", True, False)]


def test_who_may_not_verify_corrects_nothing(ours: FieldDesk) -> None:
    case_id = case(ours)
    assert ours.refused(TELL, Correction(is_real=False, note="x"), str(case_id), by="tech").code == "FORBIDDEN"
    assert truths(ours) == []
