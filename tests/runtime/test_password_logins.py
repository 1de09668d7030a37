"""Counting wrong passwords and locking, alone and under many who try; hashes that are renewed; successors."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from argon2 import extract_parameters

from pipeline.adapters.clock import SystemClock
from pipeline.runtime import past_logins, resetting
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.db import Database
from pipeline.runtime.password_logins import Locked, PasswordLogins, Wrong
from pipeline.runtime.passwords import Cost, Passwords
from pipeline.runtime.refreshing import Families, Issued, Refused
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.ops_api.password_world import CHEAP, CHEAP_PASSWORDS, PASSWORD, with_password

_SECRETS = Secrets("a long secret key that only tests know")


@pytest.fixture
def org_id(db: Database) -> UUID:
    """One organization with Ann in it."""
    with db.begin() as connection:
        found = factories.organization(connection)
    with_password(db, found, "ann@example.org")
    return found


def families(secrets: Secrets = _SECRETS) -> Families:
    return Families(secrets, AccessTokens(secrets, SystemClock()))


def logins(db: Database, passwords: Passwords = CHEAP_PASSWORDS) -> PasswordLogins:
    return PasswordLogins(db, passwords, families(), _SECRETS)


def test_a_hundred_parallel_wrong_passwords_lock_once_and_count_right(db: Database, org_id: UUID) -> None:
    door = logins(db)
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: door.attempt("ann@example.org", "wrong"), range(100)))
    kinds = Counter((type(one).__name__, isinstance(one, Wrong) and one.has_locked) for one in found)
    assert kinds == {("Wrong", False): 4, ("Wrong", True): 1, ("Locked", False): 95}
    (row,) = factories.rows(db, "SELECT failed_logins, locked_until > now() AS is_locked FROM people")
    assert tuple(row) == (5, True)
    assert factories.value(db, "SELECT count(*) FROM audit_events WHERE code = 'locked'") == 1
    assert isinstance(door.attempt("ann@example.org", PASSWORD), Locked)


def test_names_that_nobody_has_are_locked_alike_by_all_processes_together(db: Database, org_id: UUID) -> None:
    doors = [logins(db), logins(db)]
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda one: doors[one % 2].attempt("Nobody@example.org ", "wrong"), range(100)))
    kinds = Counter((type(one).__name__, isinstance(one, Wrong) and one.has_locked) for one in found)
    assert kinds == {("Wrong", False): 4, ("Wrong", True): 1, ("Locked", False): 95}
    for door in (*doors, logins(db)):
        locked = door.attempt("nobody@example.org", "wrong")
        assert isinstance(locked, Locked)
        assert 890 < locked.seconds <= 900
    factories.rows(db, "UPDATE unknown_logins SET locked_until = now() RETURNING failed")
    again = [doors[0].attempt("nobody@example.org", "wrong") for _ in range(5)]
    assert [(type(one), isinstance(one, Wrong) and one.has_locked) for one in again] == [
        *((Wrong, False) for _ in range(4)),
        (Wrong, True),
    ]


def test_a_name_that_nobody_has_is_kept_so_that_nobody_reads_it(db: Database, org_id: UUID) -> None:
    """It may be a password in the wrong field."""
    said = "correct horse battery"
    assert logins(db).attempt(said, "wrong") == Wrong()
    (row,) = factories.rows(db, "SELECT identifier_sha256 FROM unknown_logins")
    assert bytes(row.identifier_sha256) != hashlib.sha256(said.encode()).digest()


def test_who_comes_to_be_is_not_locked_by_what_was_tried_before(db: Database, org_id: UUID) -> None:
    door = logins(db)
    assert isinstance([door.attempt("ben@example.org", "wrong") for _ in range(6)][-1], Locked)
    with_password(db, org_id, "ben@example.org")
    assert isinstance(door.attempt("ben@example.org", PASSWORD), Issued)


def test_unknown_people_take_the_same_work(db: Database, org_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    passwords = Passwords(CHEAP)
    real = passwords._hasher.verify

    class Counted:
        hash = staticmethod(passwords._hasher.hash)

        @staticmethod
        def verify(stored: str, said: str) -> bool:
            asked.append(stored.split("$")[3])
            return real(stored, said)

    monkeypatch.setattr(passwords, "_hasher", Counted)
    door = logins(db, passwords)
    for identifier in ("ann@example.org", "nobody@example.org", "neither", "+4930123456"):
        assert isinstance(door.attempt(identifier, "wrong"), Wrong)
    # One check each, at one cost.
    assert len(asked) == 4
    assert len(set(asked)) == 1


def test_a_hash_of_another_cost_is_renewed_by_a_right_password_only(db: Database, org_id: UUID) -> None:
    dearer = Passwords(Cost(memory_kib=16, passes=2, lanes=1))
    door = logins(db, dearer)

    def cost() -> str:
        return str(factories.value(db, "SELECT split_part(password_hash, '$', 4) FROM people"))

    assert isinstance(door.attempt("ann@example.org", "wrong"), Wrong)
    assert cost() == "m=8,t=1,p=1"
    assert isinstance(door.attempt("ann@example.org", PASSWORD), Issued)
    assert cost() == "m=16,t=2,p=1"
    assert isinstance(door.attempt("ann@example.org", PASSWORD), Issued)


def test_the_cost_that_is_used_is_what_the_standard_asks_for() -> None:
    """RFC 9106, section 4, the second option: 64 MiB and three passes."""
    stored = Passwords().hashed("velvet comet harbour 88")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=1$")


def test_without_an_organization_in_mind_one_goes_on_where_one_was(db: Database, org_id: UUID) -> None:
    with db.begin() as connection:
        other = factories.organization(connection)
    with_password(db, other, "ann@example.org")
    door = logins(db)

    def signed_in(wanted: UUID | None = None) -> UUID:
        found = door.attempt("ann@example.org", PASSWORD, wanted)
        assert isinstance(found, Issued)
        return found.org_id

    assert [signed_in(), signed_in(other), signed_in()] == [org_id, other, other]
    factories.rows(db, "UPDATE memberships SET is_active = false WHERE org_id = :org RETURNING id", org=other)
    assert signed_in() == org_id


def test_a_successor_is_the_same_over_a_rotation_of_the_secret_key(db: Database, org_id: UUID) -> None:
    first = logins(db).attempt("ann@example.org", PASSWORD)
    assert isinstance(first, Issued)

    def refreshed(secrets: Secrets, token: str) -> Issued | Refused:
        with db.begin() as connection:
            return families(secrets).refresh(connection, token)

    new = Secrets("another long secret key of tests", ["a long secret key that only tests know"])
    before = refreshed(_SECRETS, first.refresh_token)
    after = refreshed(new, first.refresh_token)
    assert isinstance(before, Issued)
    assert isinstance(after, Issued)
    assert before.refresh_token == after.refresh_token
    assert new.keys("access token")[1] == _SECRETS.key("access token")
    # Without the earlier key nobody can tell the successor, and nothing is ended for it.
    assert refreshed(Secrets("a third long secret key of tests"), first.refresh_token) == Refused()
    assert isinstance(refreshed(new, before.refresh_token), Issued)


def test_what_has_been_over_for_a_month_is_forgotten_and_nothing_else(db: Database, org_id: UUID) -> None:
    door = logins(db)
    found = [door.attempt("ann@example.org", PASSWORD) for _ in range(3)]
    old, middle, new = (one.session_id for one in found if isinstance(one, Issued))
    with db.begin() as connection:
        person_id = factories.rows(db, "SELECT id FROM people")[0].id
        resetting.make(connection, person_id, timedelta(days=7))
        assert past_logins.forget(connection) == 0
    factories.rows(
        db, "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE id = :id RETURNING id", id=old
    )
    aged = "UPDATE {} SET id = uuidv7(interval '-32 days') WHERE {} RETURNING id"
    factories.rows(db, aged.format("refresh_tokens", "session_id = :id"), id=middle)
    factories.rows(db, aged.format("reset_tokens", "true"))
    tried = "UPDATE unknown_logins SET tried_at = now() - interval '31 days' WHERE identifier_sha256 = :key RETURNING 1"
    assert [door.attempt(name, "wrong") for name in ("long ago", "today")] == [Wrong(), Wrong()]
    first = factories.value(db, "SELECT min(identifier_sha256) FROM unknown_logins")
    factories.rows(db, tried, key=first)
    with db.begin() as connection:
        # One of each kind, and the token of the forgotten session with it.
        assert past_logins.forget(connection) == 4
    assert factories.value(db, "SELECT count(*) FROM unknown_logins") == 1
    assert {row.id for row in factories.rows(db, "SELECT id FROM sessions")} == {middle, new}
    assert [row.session_id for row in factories.rows(db, "SELECT session_id FROM refresh_tokens")] == [new]


def test_what_is_typed_for_nobody_is_checked_at_the_cost_of_a_true_hash() -> None:
    passwords = Passwords(CHEAP)
    true, nobody = passwords.hashed("velvet comet harbour 88"), passwords._nobody
    assert extract_parameters(nobody) == extract_parameters(true)
    assert len(nobody) == len(true)
    assert not passwords.is_right(None, "velvet comet harbour 88")
