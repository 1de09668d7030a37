"""Days planned by hand: shown with reasons, kept, applied; what cannot be planned is told in a line."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.commands.field_desk import FieldDesk
from tests.commands.test_planning import DAY, NoSolver


def test_a_day_is_planned_shown_and_applied(
    fieldpost: Command, served: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops_api.cli.plan.ChildPlanner", NoSolver)
    desk = FieldDesk.of(db)
    ticket_id = desk.at("READY_TO_SCHEDULE")
    done = fieldpost("plan", "day", DAY.isoformat(), "--limit", "1", "--json")
    assert (done.code, done.json["summary"]["planned"]) == (0, 1)
    desk.change("UPDATE sites SET zone = 'North'")
    desk.change(
        "INSERT INTO technicians (org_id, person_id, zones) SELECT :org, id, '{South}' FROM people "
        "WHERE email LIKE '%tech%'"
    )
    shown = fieldpost("plan", "day", DAY.isoformat(), "--limit", "1")
    assert (shown.code, "NO_TECHNICIAN" in shown.out, desk.row(ticket_id).code in shown.out) == (1, True, True)
    stale = fieldpost("plan", "apply", done.json["id"])
    assert (stale.code, "nothing was booked" in stale.err) == (2, True)
    desk.change("UPDATE technicians SET zones = '{}'")
    assert fieldpost("plan", "apply", done.json["id"], "--json").json["state"] == "applied"
    assert desk.state(ticket_id) == "SCHEDULED"


@pytest.mark.parametrize(("day", "said"), [("soon", "a day is written like"), ("2020-01-01", "2020-01-01 is over")])
def test_a_day_that_cannot_be_planned_is_told_in_one_line(
    fieldpost: Command, served: Settings, db: Database, day: str, said: str
) -> None:
    FieldDesk.of(db)
    done = fieldpost("plan", "day", day)
    assert (done.code, said in done.err) == (2, True)
