"""Points by hand, rules with versions, and attendance: what is written once, and what is refused in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from models.enums import WorkOrderState, XpKind
from pipeline.commands.attendance import CHECK_IN, CHECK_OUT, Whose
from pipeline.commands.workshop_rules import ROLL_BACK, UPDATE, RulesChange, RulesRollback
from pipeline.commands.xp import ADJUST, Adjustment
from pipeline.core.refusing import Refusal
from pipeline.core.workshop_rules import Rules
from pipeline.core.xp import Grant
from pipeline.executor import Answer
from pipeline.runtime import rules, xp_rows
from pipeline.runtime.db import Database
from tests.commands.points import LEDGER, change_rules, sum_of
from tests.commands.racing import race
from tests.commands.workshop_desk import WorkshopDesk

_VERSIONS = "SELECT version, action, source_version FROM rules_versions WHERE org_id = :org ORDER BY version"
_DAY = """
    UPDATE attendance_records
       SET work_date = work_date - CAST(:days AS int), checked_in_at = checked_in_at - CAST(:ago AS interval)
     WHERE org_id = :org
"""


@pytest.fixture
def desk(db: Database) -> WorkshopDesk:
    return WorkshopDesk.of(db)


def points(desk: WorkshopDesk, name: str = "tech", amount: int = 10) -> Adjustment:
    return Adjustment(user=desk.person_id(name), amount=amount, comment="helped out")


def whose(desk: WorkshopDesk, name: str = "tech") -> Whose:
    return Whose(user=desk.person_id(name))


def test_points_are_given_and_taken_with_a_comment(desk: WorkshopDesk) -> None:
    answer = desk.run(ADJUST, points(desk), by="ops_manager")
    said = answer.body["data"]
    assert (answer.status, said["amount"], said["entry_type"], said["comment"]) == (
        *(201, 10, "manual_adjustment"),
        "helped out",
    )
    desk.run(ADJUST, points(desk, amount=-25), by="ops_manager")
    assert sum_of(desk, desk.person_id("tech")) == -15
    assert desk.trail(desk.person_id("tech")) == [("xp.adjust", "done", None)] * 2


def test_points_are_not_for_oneself_nor_for_strangers_nor_nothing(desk: WorkshopDesk) -> None:
    assert desk.refused(ADJUST, points(desk, "ops_manager"), by="ops_manager").code == "FOUR_EYES"
    assert desk.refused(ADJUST, points(desk), by="tech").code == "FORBIDDEN"
    stranger = Adjustment(user=uuid4(), amount=1, comment="who is it")
    assert desk.refused(ADJUST, stranger, by="ops_manager").code == "UNKNOWN_USER"
    for wrong in ({"amount": 0}, {"amount": True}, {"amount": 1.0}, {"amount": 10**7}, {"comment": "  "}):
        with pytest.raises(ValidationError):
            Adjustment(**{"user": desk.person_id("tech"), "amount": 1, "comment": "x", **wrong})
    assert desk.rows(LEDGER) == []


def test_an_adjustment_that_is_sent_again_is_given_once(desk: WorkshopDesk) -> None:
    ask = desk.ask(points(desk), by="ops_manager")
    found = race(desk.db, [(ADJUST, ask)] * 4)
    assert [one.body for one in found if isinstance(one, Answer)] == [found[0].body] * 4  # type: ignore[union-attr]
    assert sum_of(desk, desk.person_id("tech")) == 10


def test_the_ledger_takes_a_reference_once_and_no_change(desk: WorkshopDesk) -> None:
    who = desk.person_id("tech")
    grants = [Grant(who, XpKind.ADJUSTMENT, amount, f"one:{amount}") for amount in (1, 2)]
    with desk.db.begin() as connection:
        assert xp_rows.grant(connection, desk.org_id, grants[:1], "a test") == grants[:1]
        assert xp_rows.grant(connection, desk.org_id, grants, "a test") == grants[1:]
        assert xp_rows.total(connection, desk.org_id, who) == 3
    for statement in ("UPDATE xp_transactions SET amount = 9", "DELETE FROM xp_transactions"):
        with pytest.raises(DBAPIError):
            desk.change(statement)


def test_rules_change_by_new_versions_that_say_what_differs(desk: WorkshopDesk) -> None:
    said = change_rules(desk, attendance={"late_xp": -5}).body["data"]
    assert (said["version"], said["action"], said["config"]["attendance"]["late_xp"]) == (2, "update", -5)
    assert said["diff"] == {"attendance.late_xp": {"before": -1, "after": -5}}
    assert said["checksum"] == Rules.read(said["config"]).checksum
    assert change_rules(desk, progression={"weekly_target_xp": 50}).body["data"]["version"] == 3
    back = desk.run(ROLL_BACK, RulesRollback(version=1, reason="too hard"), by="admin").body["data"]
    assert (back["version"], back["action"], back["source_version"]) == (4, "rollback", 1)
    assert Rules.read(back["config"]) == Rules()
    assert desk.rows(_VERSIONS) == [
        (1, "bootstrap", None),
        (2, "update", None),
        (3, "update", None),
        (4, "rollback", 1),
    ]
    assert [action for action, *_ in desk.trail(desk.org_id)] == ["rules.update"] * 2 + ["rules.roll_back"]


def test_what_changes_nothing_or_cannot_be_is_refused(desk: WorkshopDesk) -> None:
    def why(config: dict[str, Any], **more: Any) -> str:
        return desk.refused(UPDATE, RulesChange(config=config), **{"by": "admin", **more}).code

    assert why({}) == "NO_CHANGE"
    assert why({"attendance": {"late_xp": -1}}) == "NO_CHANGE"
    assert why({"attendance": {"late": -1}}) == "INVALID_RULES"
    assert why({"ticket_xp": {"base_divisor": 0}}) == "INVALID_RULES"
    assert why({"attendance": {"late_xp": -2}}, by="ops_manager") == "FORBIDDEN"
    assert why({"attendance": {"late_xp": -2}}, version=7) == "STALE_VERSION"
    for version, code in ((1, "ALREADY_ACTIVE"), (2, "UNKNOWN_VERSION")):
        assert desk.refused(ROLL_BACK, RulesRollback(version=version, reason="x"), by="admin").code == code
    assert desk.rows(_VERSIONS) == []


def test_of_many_changes_at_once_each_that_is_done_is_one_version(desk: WorkshopDesk) -> None:
    wishes = [
        (UPDATE, desk.ask(RulesChange(config={"attendance": {"late_xp": -number}}), by="admin"))
        for number in range(10, 16)
    ]
    found = race(desk.db, wishes)
    done = sorted(one.body["data"]["version"] for one in found if isinstance(one, Answer))
    assert done == list(range(2, 2 + len(done)))
    assert done
    assert {one.code for one in found if isinstance(one, Refusal)} <= {"RULES_CHANGED"}
    assert [row[0] for row in desk.rows(_VERSIONS)] == [1, *done]


def test_a_change_under_way_keeps_no_reader_waiting(desk: WorkshopDesk) -> None:
    """The first implementation locked one row for every reading (seed-behaviours, 3.8.3)."""
    change_rules(desk, attendance={"late_xp": -5})
    with desk.db.begin() as writer:
        version = rules.Version(3, rules.RulesAction.UPDATE, Rules())
        assert rules.keep(writer, desk.org_id, version) is not None
        with desk.db.begin() as reader:
            reader.execute(text("SET LOCAL statement_timeout = '2s'"))
            assert rules.active(reader, desk.org_id).number == 2
            assert rules.current(reader, desk.org_id).attendance.late_xp == -5
            assert [one.number for one in rules.page(reader, desk.org_id, limit=10, offset=0)] == [2, 1]


def test_a_change_of_the_pause_budget_looks_at_every_open_session_again(desk: WorkshopDesk) -> None:
    order = desk.repair(WorkOrderState.IN_PROGRESS, "tech")
    desk.change(
        "INSERT INTO work_sessions (org_id, order_id, technician_id, state) VALUES (:org, :order, :tech, 'paused')",
        order=order.order_id,
        tech=desk.person_id("tech"),
    )
    jobs = "SELECT stage FROM jobs WHERE org_id = :org"
    change_rules(desk, attendance={"late_xp": -5})
    assert desk.rows(jobs) == []
    change_rules(desk, work_session={"daily_pause_limit_minutes": 5})
    assert desk.rows(jobs) == [("resume",)]


def test_coming_and_going_are_noted_once_a_day(desk: WorkshopDesk) -> None:
    assert desk.refused(CHECK_OUT, whose(desk), by="ops_manager").code == "NOT_CHECKED_IN"
    came = desk.run(CHECK_IN, whose(desk), by="ops_manager")
    assert (came.status, came.body["data"]["check_out_at"]) == (201, None)
    assert desk.refused(CHECK_IN, whose(desk), by="ops_manager").code == "ALREADY_CHECKED_IN"
    went = desk.run(CHECK_OUT, whose(desk), by="ops_manager").body["data"]
    assert went["check_out_at"] >= went["check_in_at"]
    assert desk.refused(CHECK_OUT, whose(desk), by="ops_manager").code == "ALREADY_CHECKED_OUT"
    assert desk.refused(CHECK_IN, whose(desk), by="tech").code == "FORBIDDEN"
    assert desk.refused(CHECK_IN, Whose(user=uuid4()), by="ops_manager").code == "UNKNOWN_USER"
    ((kind, person_id, amount, reference),) = desk.rows(LEDGER)
    assert (kind, person_id, amount) == ("attendance_punctuality", desk.person_id("tech"), came.body["data"]["xp"])
    assert reference == f"attendance_checkin:{person_id}:{came.body['data']['work_date']}"


@pytest.mark.parametrize(
    ("cutoffs", "xp", "called"),
    [(("23:59", "23:59"), 4, {"early", "on_time"}), (("00:00", "23:59"), 0, {"on_time"})],
)
def test_coming_is_worth_what_the_rules_say_then(
    desk: WorkshopDesk, cutoffs: tuple[str, str], xp: int, called: set[str]
) -> None:
    """Etc/GMT zones stand still, and one of these two is far from midnight."""
    ((hour,),) = desk.rows("SELECT CAST(extract(hour FROM now() AT TIME ZONE 'UTC') AS int)")
    zone = "Etc/GMT-6" if 2 <= hour < 16 else "Etc/GMT+6"
    change_rules(
        desk,
        work_session={"timezone": zone},
        attendance={"on_time_xp": 4, "on_time_cutoff": cutoffs[0], "grace_cutoff": cutoffs[1]},
    )
    said = desk.run(CHECK_IN, whose(desk), by="ops_manager").body["data"]
    assert said["xp"] == xp
    assert said["punctuality"] in called
    statement = "SELECT CAST(now() AT TIME ZONE CAST(:zone AS text) AS date)"
    assert said["work_date"] == desk.rows(statement, zone=zone)[0][0].isoformat()
    assert [row[2] for row in desk.rows(LEDGER)] == [xp]


def test_of_many_who_note_the_same_coming_one_is_heard(desk: WorkshopDesk) -> None:
    found = race(desk.db, [(CHECK_IN, desk.ask(whose(desk), by="ops_manager")) for _ in range(6)])
    assert [one.code for one in found if isinstance(one, Refusal)] == ["ALREADY_CHECKED_IN"] * 5
    assert len(desk.rows(LEDGER)) == 1
    found = race(desk.db, [(CHECK_OUT, desk.ask(whose(desk), by="ops_manager")) for _ in range(4)])
    assert [one.code for one in found if isinstance(one, Refusal)] == ["ALREADY_CHECKED_OUT"] * 3


@pytest.mark.parametrize(("ago", "is_open"), [(timedelta(hours=10), True), (timedelta(hours=17), False)])
def test_a_night_shift_ends_on_the_day_after(desk: WorkshopDesk, ago: timedelta, is_open: bool) -> None:
    desk.run(CHECK_IN, whose(desk), by="ops_manager")
    desk.change(_DAY, days=1, ago=ago)
    if is_open:
        desk.run(CHECK_OUT, whose(desk), by="ops_manager")
        return
    assert desk.refused(CHECK_OUT, whose(desk), by="ops_manager").code == "NOT_CHECKED_IN"


def test_going_twice_today_does_not_end_a_shift_of_yesterday(desk: WorkshopDesk) -> None:
    """Whose end nobody noted: that they came again says that they had gone."""
    desk.run(CHECK_IN, whose(desk), by="ops_manager")
    desk.change(_DAY, days=1, ago=timedelta(hours=10))
    desk.run(CHECK_IN, whose(desk), by="ops_manager")
    desk.run(CHECK_OUT, whose(desk), by="ops_manager")
    assert desk.refused(CHECK_OUT, whose(desk), by="ops_manager").code == "ALREADY_CHECKED_OUT"
    left = "SELECT checked_out_at IS NULL FROM attendance_records WHERE org_id = :org ORDER BY work_date"
    assert desk.rows(left) == [(True,), (False,)]
