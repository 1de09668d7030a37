"""Points, rules, attendance, levels and leaderboard beside contract 002's tickets (seed-behaviours, 3.4 and 3.6)."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from models.permissions import BUILT_IN, Permission
from tests.commands.points import give, last_monday, long_here, within
from tests.conformance.workshop_service import SPEAKS, Workshop, data, refused, results

_XP, _RULES, _DAYS, _LEVELS = "/api/v1/xp/", "/api/v1/rules/config/", "/api/v1/attendance/", "/api/v1/levels/"
_BOARD = "/api/v1/leaderboard/"
_EVERYBODY = frozenset(SPEAKS)
_MANAGERS = frozenset({"ops_manager", "super_admin"})
#: Method, address, body, who may.
_MATRIX: tuple[tuple[str, str, Any, frozenset[str]], ...] = (
    ("GET", f"{_XP}transactions/", None, _EVERYBODY),
    ("POST", f"{_XP}adjustments/", {}, _MANAGERS),
    ("GET", _RULES, None, _MANAGERS),
    ("PUT", _RULES, {"config": {}}, frozenset({"super_admin"})),
    ("GET", f"{_RULES}history/", None, _MANAGERS),
    ("POST", f"{_RULES}rollback/", {}, frozenset({"super_admin"})),
    ("GET", f"{_DAYS}records/", None, _MANAGERS),
    ("POST", f"{_DAYS}checkin/", {}, _MANAGERS),
    ("POST", f"{_DAYS}checkout/", {}, _MANAGERS),
    ("GET", _LEVELS, None, _MANAGERS),
    ("POST", f"{_LEVELS}evaluate/", {"week_start": "2026-01-06"}, _MANAGERS),
    ("POST", f"{_LEVELS}users/{UUID(int=1)}/set-level/", {}, _MANAGERS),
    ("GET", _BOARD, None, _EVERYBODY),
)


@pytest.mark.parametrize(("method", "path", "body", "may"), _MATRIX)
def test_the_role_matrix(workshop: Workshop, method: str, path: str, body: Any, may: frozenset[str]) -> None:
    refused(workshop.http.request(method, path), 401)
    for role in sorted(_EVERYBODY):
        status = workshop.ask(method, path, body, role).status_code
        assert (status == 403) == (role not in may), (role, status)
        assert status in {200, 400, 403}


def test_the_leaderboard_is_not_for_the_public_nor_for_strangers_to_the_workshop(workshop: Workshop) -> None:
    refused(workshop.http.get(_BOARD), 401)
    refused(workshop.get(_BOARD, "viewer"), 403)
    found = results(workshop.get(_BOARD, "technician", days=7))
    assert {one["user"] for one in found["results"]} == {
        str(workshop.desk.person_id(name)) for name in ("tech", "other_tech")
    }
    assert found["results"][0]["rank"] == 1
    for days in (0, 91, "x"):
        refused(workshop.get(_BOARD, days=days), 400)


def test_a_technician_reads_their_own_points_alone(workshop: Workshop) -> None:
    mine, theirs = (str(workshop.desk.person_id(name)) for name in ("tech", "other_tech"))
    for user in (mine, theirs):
        body = {"user": user, "amount": 5, "comment": "helped"}
        said = data(workshop.post(f"{_XP}adjustments/", body, "ops_manager"), 201)
        assert (said["user"], said["amount"], said["entry_type"]) == (user, 5, "manual_adjustment")
    own = results(workshop.get(f"{_XP}transactions/", "technician", per_page=100))
    assert {one["user"] for one in own["results"]} == {mine}
    refused(workshop.get(f"{_XP}transactions/", "technician", user=theirs), 403)
    some = results(workshop.get(f"{_XP}transactions/", "ops_manager", user=theirs, entry_type="manual_adjustment"))
    assert {one["user"] for one in some["results"]} == {theirs}
    everybody = results(workshop.get(f"{_XP}transactions/", "ops_manager", per_page=1))
    assert (everybody["page_count"], len(everybody["results"])) == (everybody["total_count"], 1)
    assert everybody["total_count"] >= 2


def test_an_adjustment_is_some_points_for_somebody_else_with_a_comment(workshop: Workshop) -> None:
    good = {"user": str(workshop.desk.person_id("tech")), "amount": -1, "comment": "late"}
    for wrong in (
        {"amount": 0},
        {"amount": "5"},
        {"comment": " "},
        {"user": str(uuid4())},
        {"user": "me"},
        {"user": str(workshop.desk.person_id("ops_manager"))},
        {"more": 1},
    ):
        refused(workshop.post(f"{_XP}adjustments/", good | wrong, "ops_manager"), 400)
    key = {"idempotency-key": str(uuid4())}
    first, second = (workshop.post(f"{_XP}adjustments/", good, "ops_manager", **key) for _ in range(2))
    assert data(first, 201)["id"] == data(second, 201)["id"]


def test_rules_are_read_changed_listed_and_rolled_back(workshop: Workshop) -> None:
    before = data(workshop.get(_RULES, "ops_manager"))
    late = before["config"]["attendance"]["late_xp"]
    change = {"config": {"attendance": {"late_xp": late - 1}}, "reason": "stricter"}
    said = data(workshop.ask("PUT", _RULES, change))
    assert (said["version"], said["config"]["attendance"]["late_xp"]) == (before["version"] + 1, late - 1)
    assert said["diff"] == {"attendance.late_xp": {"before": late, "after": late - 1}}
    assert (said["reason"], len(said["checksum"])) == ("stricter", 64)
    refused(workshop.ask("PUT", _RULES, change), 400, "NO_CHANGE")
    unknown = refused(workshop.ask("PUT", _RULES, {"config": {"attendance": {"early_xp": 1}}}), 400)
    assert "attendance.early_xp" in unknown
    for wrong in ({"attendance": {"on_time_cutoff": "99:99"}}, {"work_session": {"timezone": "Nowhere"}}):
        refused(workshop.ask("PUT", _RULES, {"config": wrong}), 400)
    refused(workshop.ask("PUT", _RULES, change, **{"if-match": '"0"'}), 400)
    rollback = {"version": before["version"], "reason": "too strict"}
    back = data(workshop.post(f"{_RULES}rollback/", rollback))
    assert (back["version"], back["source_version"]) == (said["version"] + 1, before["version"])
    assert (back["config"], back["checksum"]) == (before["config"], before["checksum"])
    for version in (back["version"], back["version"] + 1):
        refused(workshop.post(f"{_RULES}rollback/", {"version": version, "reason": "x"}), 400)
    history = results(workshop.get(f"{_RULES}history/", "ops_manager", per_page=2))
    assert [one["action"] for one in history["results"]] == ["rollback", "update"]
    assert history["total_count"] == back["version"]


def test_coming_twice_and_going_before_coming_are_400(workshop: Workshop) -> None:
    user = {"user": str(workshop.desk.person_id("other_inspector"))}
    refused(workshop.post(f"{_DAYS}checkout/", user, "ops_manager"), 400, "NOT_CHECKED_IN")
    came = data(workshop.post(f"{_DAYS}checkin/", user, "ops_manager"), 201)
    refused(workshop.post(f"{_DAYS}checkin/", user, "ops_manager"), 400, "ALREADY_CHECKED_IN")
    went = data(workshop.post(f"{_DAYS}checkout/", user, "ops_manager"))
    assert (went["id"], went["check_out_at"] >= went["check_in_at"]) == (came["id"], True)
    refused(workshop.post(f"{_DAYS}checkout/", user, "ops_manager"), 400, "ALREADY_CHECKED_OUT")
    refused(workshop.post(f"{_DAYS}checkin/", {"user": str(uuid4())}, "ops_manager"), 400)
    day = came["work_date"]
    (record,) = results(workshop.get(f"{_DAYS}records/", "ops_manager", user=user["user"], date_from=day, date_to=day))[
        "results"
    ]
    assert {**came, "check_out_at": went["check_out_at"]} == record
    assert results(workshop.get(f"{_DAYS}records/", "ops_manager", date_to="2000-01-01"))["total_count"] == 0
    points = results(workshop.get(f"{_XP}transactions/", "ops_manager", user=user["user"]))["results"]
    assert (points[0]["reference"], points[0]["amount"]) == (
        f"attendance_checkin:{user['user']}:{day}",
        record["xp"],
    )


def test_levels_are_overviewed_judged_set_and_told(workshop: Workshop) -> None:
    desk, who = workshop.desk, workshop.desk.person_id("tech")
    long_here(desk)
    monday = last_monday(desk)
    give(desk, "tech", 250, within(monday))
    judged = data(workshop.post(f"{_LEVELS}evaluate/", {"week_start": monday.isoformat()}, "ops_manager"))
    assert {one["user"]: one["status"] for one in judged["results"]} == {
        str(who): "level_up",
        str(desk.person_id("other_tech")): "warning",
    }
    assert data(workshop.post(f"{_LEVELS}evaluate/", by="ops_manager"))["evaluated"] == 0
    refused(workshop.post(f"{_LEVELS}evaluate/", {"week_start": "2026-01-06"}, "ops_manager"), 400)
    days = {"date_from": monday.isoformat(), "date_to": monday.isoformat()}
    found = {one["user"]: one for one in results(workshop.get(_LEVELS, "ops_manager", **days))["results"]}
    assert found[str(who)]["target_xp"] == 15
    assert (found[str(who)]["level"], found[str(who)]["is_warned"]) == (2, False)
    for wrong in (
        {"date_from": "2024-01-01", "date_to": "2025-01-01"},
        {"date_from": "2026-01-02", "date_to": "2026-01-01"},
        {"date_to": "9999-12-31"},
        {"date_from": "0001-01-01", "date_to": "0001-01-02"},
    ):
        refused(workshop.get(_LEVELS, "ops_manager", **wrong), 400)
    results(workshop.get(_LEVELS, "ops_manager", date_from="2024-01-01", date_to="2024-12-31"))
    path = f"{_LEVELS}users/{who}/set-level/"
    said = data(workshop.post(path, {"level": 5, "reason": "examined"}, "ops_manager"))
    assert (said["level"], said["statuses"]) == (5, ["manual_set"])
    for wrong in ({"level": 6, "reason": "x"}, {"level": 0, "reason": "x"}, {"level": 3}, {"level": 5, "reason": "x"}):
        refused(workshop.post(path, wrong, "ops_manager"), 400)
    refused(workshop.post(f"{_LEVELS}users/{uuid4()}/set-level/", {"level": 3, "reason": "x"}, "ops_manager"), 404)
    history = results(workshop.get(f"{_LEVELS}users/{who}/history/", "technician"))["results"]
    assert [(one["status"], one["source"]) for one in history] == [
        ("manual_set", "manual_override"),
        ("level_up", "weekly_evaluation"),
    ]
    assert (history[1]["coupon_amount"], history[1]["coupon_currency"]) == (100_000, "UZS")
    refused(workshop.get(f"{_LEVELS}users/{who}/history/", "qc_inspector"), 403)
    refused(workshop.get(f"{_LEVELS}users/{uuid4()}/history/", "ops_manager"), 404)


def test_who_holds_what_is_as_the_seed_has_it() -> None:
    held = {role.code: role.permissions for role in BUILT_IN}
    assert Permission.RULES_READ in held["ops_manager"]
    assert Permission.RULES_CHANGE not in held["ops_manager"]
    assert not {Permission.XP_READ, Permission.ATTENDANCE_CHANGE} & (held["technician"] | held["qa"] | held["master"])
