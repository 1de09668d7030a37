"""Technicians by hand: listed, set piece by piece, certified; every change in the trail."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command
from tests.ops_api import people


@pytest.fixture(autouse=True)
def tom(db: Database) -> None:
    """One organization with a technician and somebody in the office."""
    with db.begin() as connection:
        org_id = factories.organization(connection, "Acme")
        people.member(connection, org_id, "technician", "tom@example.org")
        people.member(connection, org_id, "finance", "fay@example.org")


def test_a_technician_is_set_piece_by_piece_and_listed(fieldpost: Command, served: Settings, db: Database) -> None:
    done = fieldpost(
        "technician", "set", "tom@example.org", "--zone", "b", "--zone", "a", "--home", "52.5,13.4", "--json"
    )
    assert (done.code, done.json["zones"], done.json["home"]) == (0, ["a", "b"], {"lat": 52.5, "lon": 13.4})
    done = fieldpost("technician", "set", "tom@example.org", "--most-visits", "6", "--unavailable", "--json")
    assert (done.json["zones"], done.json["most_visits"], done.json["is_available"]) == (["a", "b"], 6, False)
    assert fieldpost("technician", "certify", "tom@example.org", "HV", "--until", "2020-06-30").code == 0
    (found,) = fieldpost("technician", "list", "--json").json
    assert found["certificates"] == [{"name": "HV", "valid_until": "2020-06-30", "is_expired": True}]
    assert "HV until 2020-06-30 (expired)" in fieldpost("technician", "list").out
    assert fieldpost("technician", "certify", "tom@example.org", "hv", "--revoke", "--json").json["certificates"] == []
    said = factories.rows(db, "SELECT action, actor_id FROM audit_events WHERE outcome = 'done' ORDER BY number")
    assert [row.action for row in said] == [
        *("technician.set", "technician.set", "technician.certify", "technician.uncertify")
    ]
    assert all(row.actor_id.startswith("cli:") for row in said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "tom@example.org", "--home", "north"), "--home is latitude and longitude in degrees"),
        (("set", "tom@example.org", "--home", "91,0"), "home.lat: input should be less than or equal to 90"),
        (("set", "fay@example.org"), "the role of this person may not check in"),
        (("set", "nobody@example.org"), "there is no person 'nobody@example.org'"),
        (("certify", "tom@example.org", "HV", "--until", "soon"), "--until is a day"),
        (("certify", "tom@example.org", "HV", "--revoke"), "this person has no such certificate"),
    ],
)
def test_bad_input_is_told_in_one_line(
    fieldpost: Command, served: Settings, arguments: tuple[str, ...], said: str
) -> None:
    done = fieldpost("technician", *arguments)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
