"""`fieldpost token`: made, listed and revoked at the machine."""

from __future__ import annotations

import pytest

from models.enums import ActorKind
from pipeline.commands.mailboxes import ensure_organization
from pipeline.commands.people import ensure_membership, ensure_person
from pipeline.runtime import identity
from pipeline.runtime.db import Database
from tests.cli.conftest import Command, trail


@pytest.mark.usefixtures("served")
def test_a_token_works_from_its_making_to_its_revoking(db: Database, fieldpost: Command) -> None:
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        ensure_membership(connection, org_id, ensure_person(connection, "ann@example.org"), "agent")
    line = ("token", "create", "cron", "--for", "Ann@Example.org", "--role", "viewer", "--days", "3", "--json")
    token = fieldpost(*line).json["token"]
    with db.begin() as connection:
        found = identity.by_api_token(connection, token)
    assert found is not None
    assert (found.role, found.actor_kind, found.email) == ("viewer", ActorKind.SERVICE, "ann@example.org")
    assert fieldpost(*line).code == 2
    assert fieldpost("token", "list", "--json").json[0]["is_good"]
    assert token not in fieldpost("token", "list").out
    assert fieldpost("token", "revoke", "cron").code == 0
    with db.begin() as connection:
        assert identity.by_api_token(connection, token) is None
    assert fieldpost("token", "revoke", "cron").code == 2
    made, revoked = trail(db)
    assert made == revoked
    assert (made.action, made.target_kind, made.actor_id.partition(":")[0]) == ("tokens.change", "api_token", "cli")


@pytest.mark.usefixtures("served")
def test_no_token_is_made_for_strangers_or_beyond_what_its_person_may(db: Database, fieldpost: Command) -> None:
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        ensure_membership(connection, org_id, ensure_person(connection, "ann@example.org"), "agent")
        ensure_person(connection, "bo@example.org")
    for who, role, said in (
        ("nobody@example.org", "viewer", "there is no person"),
        ("bo@example.org", "viewer", "member"),
        ("ann@example.org", "admin", "do not hold"),
        ("ann@example.org", "wizard", "no role"),
    ):
        result = fieldpost("token", "create", "cron", "--for", who, "--role", role)
        assert result.code == 2
        assert said in result.err
