"""An organization's policy by hand: shown whole, changed by name, refused in one line."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline.core.policies import SETTINGS, OrganizationPolicy
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command


@pytest.fixture(autouse=True)
def acme(db: Database) -> None:
    """One organization."""
    with db.begin() as connection:
        factories.organization(connection, "Acme")


def stored(db: Database) -> dict[str, object]:
    found: dict[str, object] = factories.value(db, "SELECT policy FROM organizations WHERE name = 'Acme'")
    return found


def test_the_defaults_that_are_shown_are_those_in_force(fieldpost: Command, served: Settings) -> None:
    shown = fieldpost("policy", "show", "--json").json
    assert set(shown) == set(SETTINGS)
    assert OrganizationPolicy.read(shown) == OrganizationPolicy.read({})
    said = fieldpost("policy", "show").out
    assert all(name in said for name in SETTINGS)


def test_values_are_set_kept_and_taken_back(fieldpost: Command, served: Settings, db: Database) -> None:
    done = fieldpost(
        "policy", "set", "acknowledge=true", "automatic_answers_per_hour=3", "acknowledgement=Danke! {code}",
        'own_domains=["acme.example"]', "--org", "Acme", "--json",
    )  # fmt: skip
    assert done.code == 0
    assert done.json["acknowledgement"] == "Danke! {code}"
    assert stored(db) == {
        "acknowledge": True, "automatic_answers_per_hour": 3, "acknowledgement": "Danke! {code}",
        "own_domains": ["acme.example"],
    }  # fmt: skip
    fieldpost("policy", "set", "acknowledge=", "acknowledgement=")
    assert set(stored(db)) == {"automatic_answers_per_hour", "own_domains"}
    row = factories.rows(db, "SELECT actor, data FROM events WHERE kind = 'policy.changed' ORDER BY id")[1]
    assert row.actor.startswith("cli:")
    assert row.data["acknowledge"] == {"before": True, "after": None}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("acknowledge", "write NAME=VALUE"),
        ("nonsense=1", "there is no setting 'nonsense'; known: subject_window_days"),
        ("acknowledge=no", "acknowledge is true or false"),
        ("acknowledge=1", "acknowledge is true or false"),
        ("retention_days=true", "retention_days is a whole number"),
        ("subject_window_days=high", "subject_window_days is a number"),
        ("own_domains=acme.example", "own_domains is a list"),
        ("automatic_answers_per_hour=0", "between 1 and 100"),
        ("subject_window_days=9999", "between 0 and 365"),
        ("acknowledgement=5", "acknowledgement is text"),
        ("retention_days=2000000000", "between 0 and 36500"),
        ("retention_days=-1", "between 0 and 36500"),
        ('acknowledgement="\\u0000"', "control character"),
        ('acknowledgement="a\\u0001b"', "control character"),
        ('own_domains=["a\\u0000"]', "control character"),
        ("automatic_answers_in_all=0", "between 1 and 100000"),
    ],
)
def test_a_wrong_value_changes_nothing(
    fieldpost: Command, served: Settings, db: Database, value: str, said: str
) -> None:
    done = fieldpost("policy", "set", "acknowledge=true", value)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err
    assert stored(db) == {}


def test_several_organizations_must_be_named(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        factories.organization(connection, "Globex")
    assert fieldpost("policy", "show").code == 2
    assert fieldpost("policy", "show", "--org", "Nobody").code == 2
    assert fieldpost("policy", "set", "acknowledge=true", "--org", "Acme").code == 0
    assert stored(db) == {"acknowledge": True}
    assert factories.value(db, "SELECT policy FROM organizations WHERE name = 'Globex'") == {}


def test_looking_waits_for_nobody_and_a_change_for_no_row_that_refers_to_the_organization(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    with db.begin() as connection:
        connection.execute(text("SELECT 1 FROM organizations FOR KEY SHARE"))
        assert fieldpost("policy", "set", "acknowledge=true").code == 0
    with db.begin() as connection:
        connection.execute(text("SELECT 1 FROM organizations FOR UPDATE"))
        assert fieldpost("policy", "show").code == 0
