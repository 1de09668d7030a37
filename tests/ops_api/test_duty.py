"""Duty over HTTP: weekly shifts and leave of the members within reach."""

from __future__ import annotations

from uuid import UUID

import pytest

from models.enums import Reach
from tests.factories import organization, team
from tests.ops_api import people
from tests.ops_api.serving import Api, rows
from tests.reused import database_url, shared_url

__all__ = ["database_url", "shared_url"]

DAY = {"weekday": 0, "begins": "08:00", "ends": "17:00", "timezone": "Europe/Berlin"}
NIGHT = {"weekday": 4, "begins": "22:00", "ends": "06:00", "timezone": "UTC"}
LEAVE = {"begins_at": "2026-03-02T00:00:00Z", "ends_at": "2026-03-09T00:00:00+01:00", "reason": "skiing"}


@pytest.fixture
def org_id(api: Api) -> UUID:
    with api.db.begin() as connection:
        return organization(connection)


def test_shifts_are_set_as_a_whole_and_leave_is_added_and_taken_back(api: Api, org_id: UUID) -> None:
    ann, bob = api.person(org_id), api.person(org_id, "agent")
    shifts, leaves = f"/people/{bob.person_id}/shifts", f"/people/{bob.person_id}/leaves"
    assert ann.get(shifts).json() == {"shifts": []}
    assert ann.ask("PUT", shifts, json={"shifts": [NIGHT, DAY]}).json() == {"shifts": [DAY, NIGHT]}
    assert ann.ask("PUT", shifts, json={"shifts": [NIGHT]}).json() == {"shifts": [NIGHT]}
    assert bob.get(shifts).json() == {"shifts": [NIGHT]}
    assert bob.ask("PUT", shifts, json={"shifts": []}).status_code == 403
    made = ann.post(leaves, json=LEAVE)
    assert (made.status_code, made.json()["reason"]) == (201, "skiing")
    assert [one["id"] for one in ann.get(leaves).json()["items"]] == [made.json()["id"]]
    assert ann.ask("DELETE", f"{leaves}/{made.json()['id']}").status_code == 204
    assert ann.ask("DELETE", f"{leaves}/{made.json()['id']}").status_code == 404
    assert ann.get(leaves).json() == {"items": []}


def test_what_is_no_time_is_refused_in_words(api: Api, org_id: UUID) -> None:
    ann = api.person(org_id)
    shifts, leaves = f"/people/{ann.person_id}/shifts", f"/people/{ann.person_id}/leaves"
    wrong = [
        (DAY | {"timezone": "Mars/Base"}, "no time zone"),
        (DAY | {"ends": "08:00"}, "cannot end"),
        (DAY | {"weekday": 7}, "weekday"),
        (DAY | {"begins": "8 o'clock"}, "begins"),
    ]
    for shift, said in wrong:
        refused = ann.ask("PUT", shifts, json={"shifts": [shift]})
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text
    assert ann.ask("PUT", shifts, json={"shifts": [DAY] * 51}).status_code == 422
    backwards = ann.post(leaves, json=LEAVE | {"ends_at": "2026-03-01T00:00:00Z"})
    assert (backwards.status_code, "after it begins" in backwards.json()["detail"]) == (422, True)
    for ends_at in ("2026-03-09T00:00:00", "9999-12-31T00:00:00Z", "2100-01-01T00:00:00Z"):
        assert ann.post(leaves, json=LEAVE | {"ends_at": ends_at}).status_code == 422
    assert ann.post(leaves, json=LEAVE | {"begins_at": "0001-01-01T00:00:00+14:00"}).status_code == 422
    assert rows(api.db, "SELECT count(*) FROM shifts") == rows(api.db, "SELECT count(*) FROM leaves") == [(0,)]


def test_people_out_of_reach_do_not_exist(api: Api, org_id: UUID) -> None:
    with api.db.begin() as connection:
        theirs = people.member(connection, organization(connection), "agent", "eve@theirs.example")
        field, shop = team(connection, org_id, "field"), team(connection, org_id, "shop")
        lead = people.member(connection, org_id, "maintenance_lead", "lead@ours.example")
        mate = people.member(connection, org_id, "technician", "mate@ours.example")
        other = people.member(connection, org_id, "technician", "other@ours.example")
        for person_id, team_id in ((lead, field), (mate, field), (other, shop)):
            people.narrow(connection, org_id, person_id, Reach.TEAM, team_id=team_id)
    asking = api.signed_in(org_id, lead)
    answers = {
        one: asking.ask("PUT", f"/people/{one}/shifts", json={"shifts": [DAY]}) for one in (lead, mate, other, theirs)
    }
    assert [one.status_code for one in answers.values()] == [200, 200, 404, 404]
    assert api.person(org_id).get(f"/people/{theirs}/leaves").status_code == 404
    assert rows(api.db, "SELECT count(*) FROM shifts") == [(2,)]
