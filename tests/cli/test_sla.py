"""Service levels by hand: policies, calendars, holidays out of a file, one ticket's clocks, and computing anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands import calendars, sla_policies
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command, trail
from tests.factories import mail
from tests.stages.test_clocks import TARGETS, fresh
from tests.stages.world import World

HOURS = {str(day): [["08:00", "12:00"], ["13:00", "17:00"]] for day in range(5)}
FEED = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227\nSUMMARY:Christmas\nEND:VEVENT\n"


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


@pytest.fixture
def code(world: World) -> str:
    """A ticket that came an hour ago, before the organization had a policy."""
    (arrived,) = fresh(world, mail())
    with world.db.begin() as connection:
        values = {"name": "office", "timezone": "Europe/Berlin", "hours": HOURS}
        calendar = calendars.add_calendar(connection, world.org_id, values)
        conditions = {"priorities": ["urgent"]}
        urgent = {"name": "fast", "position": 1, "targets": TARGETS, "conditions": conditions}
        sla_policies.add_policy(connection, world.org_id, urgent)
        gold = {"name": "gold", "targets": TARGETS, "calendar_id": calendar}
        sla_policies.add_policy(connection, world.org_id, gold)
    found: str = world.ticket_of(arrived).code
    return found


def test_policies_and_calendars_are_listed_as_they_are_tried(fieldpost: Command, served: Settings, code: str) -> None:
    said = fieldpost("sla", "policies").out
    for part in ("fast", "priorities: urgent", "24x7", "gold", "office", "urgent 120/600", "pending"):
        assert part in said
    assert [one["name"] for one in fieldpost("sla", "policies", "--json").json] == ["fast", "gold"]
    said = fieldpost("sla", "calendars").out
    for part in ("office", "Europe/Berlin", "Mon 08:00-12:00, 13:00-17:00"):
        assert part in said


def test_a_ticket_tells_its_clocks_and_computing_anew_brings_it_to_the_policy_of_today(
    fieldpost: Command, served: Settings, code: str
) -> None:
    before = fieldpost("sla", "show", code, "--json").json
    assert [one["target_seconds"] for one in before["clocks"]] == [345_600, 86_400]
    assert fieldpost("sla", "recompute").out == "computed anew, in 1 batches of up to 500 tickets\n"
    said = fieldpost("sla", "show", code).out
    for part in (code, "gold, version 1", "fast: not its priority", "response", "resolution", "running", "new"):
        assert part in said
    after = fieldpost("sla", "show", code, "--json").json
    assert [one["target_seconds"] for one in after["clocks"]] == [36_000, 7_200]
    unknown = fieldpost("sla", "show", "tkt-nobody")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1)


@pytest.mark.usefixtures("served", "code")
def test_holidays_come_out_of_a_file(fieldpost: Command, db: Database, tmp_path: Path) -> None:
    feed = tmp_path / "days.ics"
    feed.write_text(FEED)
    assert fieldpost("sla", "holidays", "office", feed).out == "2 days read; office has 2 holidays\n"
    assert fieldpost("sla", "holidays", "office", feed, "--json").json == {
        "calendar": "office", "read": 2, "holidays": 2,
    }  # fmt: skip
    assert {(row.action, row.target_kind) for row in trail(db)} == {("sla.change", "calendar")}
    feed.write_bytes(b"\xff\xfe")
    for name, path, said in (
        ("nobody", tmp_path / "days.ics", "UTF-8"),
        ("office", tmp_path / "missing.ics", "cannot be read"),
    ):
        refused = fieldpost("sla", "holidays", name, path)
        assert (refused.code, said in refused.err, len(refused.err.splitlines())) == (2, True, 1)
    feed.write_text("<html></html>")
    assert "no event" in fieldpost("sla", "holidays", "office", feed).err
    feed.write_text(FEED)
    assert "there is no calendar" in fieldpost("sla", "holidays", "nobody", feed).err
