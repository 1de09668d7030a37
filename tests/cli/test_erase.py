"""Forgetting an address by hand: asked about, begun once, listed with what went, refused in one line."""

from __future__ import annotations

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command, trail


@pytest.fixture(autouse=True)
def acme(db: Database) -> None:
    """One organization."""
    with db.begin() as connection:
        factories.mailbox(connection, factories.organization(connection, "Acme"), "help@acme.example")


def test_an_erasure_is_begun_once_and_listed(fieldpost: Command, served: Settings, db: Database) -> None:
    asked = ("erase", "address", "Bob@Customer.example", "--reason", "asked for it", "--yes")
    first, again = fieldpost(*asked, "--json").json, fieldpost(*asked, "--json").json
    assert (first["is_new"], again) == (True, {"erasure_id": first["erasure_id"], "is_new": False})
    assert factories.value(db, "SELECT key FROM jobs WHERE stage = 'erase'") == str(first["erasure_id"])
    (listed,) = fieldpost("erase", "list", "--json").json
    assert (listed["address"], listed["state"], listed["reason"]) == ("bob@customer.example", "running", "asked for it")
    assert "bob@customer.example" in fieldpost("erase", "list").out
    row, _ = trail(db)
    assert (row.action, row.target_kind, row.target_id) == ("people.erase", "erasure", str(first["erasure_id"]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bob@customer.example", "--reason", "asked"), "add --yes"),
        (("bob", "--reason", "asked", "--yes"), "is no address"),
        (("help@acme.example", "--reason", "asked", "--yes"), "of your own organization"),
        (("bob@customer.example", "--reason", " ", "--yes"), "say why"),
    ],
)
def test_what_cannot_be_erased_is_refused_in_one_line(
    fieldpost: Command, served: Settings, db: Database, arguments: tuple[str, ...], said: str
) -> None:
    refused = fieldpost("erase", "address", *arguments)
    assert (refused.code, factories.value(db, "SELECT count(*) FROM erasures")) == (2, 0)
    assert said in refused.err
