"""`fieldpost people`: the first administrator, passwords and links by hand, and what is ended by it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.runtime import resetting
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.db import Database
from pipeline.runtime.password_logins import PasswordLogins
from pipeline.runtime.refreshing import Families, Issued
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command
from tests.ops_api.password_world import CHEAP_PASSWORDS

_PASSWORD = "velvet comet harbour 88"


@pytest.fixture(autouse=True)
def typed(monkeypatch: pytest.MonkeyPatch, served: Settings) -> Callable[[str], None]:
    """Type into stdin; hash at next to no cost."""
    monkeypatch.setattr("ops_api.cli.people.Passwords", lambda: CHEAP_PASSWORDS)
    return lambda line: monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\n"))


def can_sign_in(db: Database, settings: Settings, password: str = _PASSWORD) -> bool:
    secrets = Secrets.of(settings)
    families = Families(secrets, AccessTokens(secrets, SystemClock()))
    door = PasswordLogins(db, CHEAP_PASSWORDS, families, secrets)
    return isinstance(door.attempt("ann@example.org", password), Issued)


def test_the_first_administrator_is_made_by_hand_and_signs_in(
    fieldpost: Command, db: Database, served: Settings, typed: Callable[[str], None]
) -> None:
    done = fieldpost("people", "add", "Ann@Example.org", "--role", "admin", "--name", "Ann", "--new-org", "Acme")
    assert (done.code, done.out) == (0, "ann@example.org is Administrator now\n")
    assert "fieldpost people reset-link ann@example.org" in done.err
    typed("password1234")
    weak = fieldpost("people", "set-password", "ann@example.org", "--stdin")
    assert (weak.code, "easy to guess" in weak.err) == (2, True)
    typed(_PASSWORD)
    assert fieldpost("people", "set-password", "ann@example.org", "--stdin").code == 0
    assert can_sign_in(db, served)
    assert _PASSWORD not in str(factories.rows(db, "SELECT * FROM audit_details"))
    actions = [row.action for row in factories.rows(db, "SELECT action FROM audit_events ORDER BY number")]
    assert actions == ["people.add", "password.set", "session.begin"]


def test_a_link_sets_the_password_once(fieldpost: Command, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fieldpost("people", "add", "ann@example.org", "--new-org", "Acme")
    monkeypatch.setenv("FIELDPOST_PUBLIC_URL", "https://desk.example.org")
    done = fieldpost("people", "reset-link", "ann@example.org")
    assert done.out.startswith("https://desk.example.org/reset-password#token=")
    token = done.out.strip().partition("=")[2]
    with db.begin() as connection:
        assert resetting.use(connection, token, "a hash") is not None
        assert resetting.use(connection, token, "a hash") is None
    assert json.loads(fieldpost("people", "reset-link", "ann@example.org", "--json").out)["seconds"] == 1_800


def test_who_is_disabled_is_out_and_the_last_administrator_is_not(
    fieldpost: Command, db: Database, served: Settings, typed: Callable[[str], None]
) -> None:
    fieldpost("people", "add", "ann@example.org", "--role", "admin", "--new-org", "Acme")
    typed(_PASSWORD)
    fieldpost("people", "set-password", "ann@example.org", "--stdin")
    for line in ("disable ann@example.org", "disable ann@example.org --org Acme", "role ann@example.org viewer"):
        refused = fieldpost("people", *line.split())
        assert (refused.code, len(refused.err.splitlines())) == (2, 1), refused.err
    fieldpost("people", "add", "bob@example.org", "--role", "admin", "--phone", "+49 30 123456")
    assert can_sign_in(db, served)
    assert fieldpost("people", "disable", "ann@example.org").code == 0
    assert not can_sign_in(db, served)
    assert factories.value(db, "SELECT count(*) FROM sessions WHERE ended_at IS NULL") == 0
    assert fieldpost("people", "reset-link", "ann@example.org").code == 2
    assert fieldpost("people", "enable", "ann@example.org").code == 0
    assert can_sign_in(db, served)
    assert fieldpost("people", "role", "ann@example.org", "dispatcher").out == "ann@example.org is Dispatcher now\n"
    listed = fieldpost("people", "list", "--json").json
    assert [(one["email"], one["role"], one["phone"]) for one in listed] == [
        ("ann@example.org", "dispatcher", None), ("bob@example.org", "admin", "+4930123456"),
    ]  # fmt: skip
    assert "no password" in fieldpost("people", "list", "--find", "bob").out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("add nonsense --new-org Acme", "is no mail address"),
        ("add ann@example.org --role nope --new-org Acme", "there is no role 'nope'; there are admin"),
        ("add ann@example.org", "there is no organization yet"),
        ("disable ghost@example.org", "there is no person"),
        ("set-password ghost@example.org", "--stdin"),
        ("list --org Nowhere", "unknown organization"),
    ],
)
def test_bad_input_is_told_in_one_line(fieldpost: Command, typed: Callable[[str], None], line: str, said: str) -> None:
    typed("")
    result = fieldpost("people", *line.split())
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert said in result.err
