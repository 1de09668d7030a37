"""The secret key by hand: which mailboxes it seals, and a rotation that may be killed at any moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select, text, update

from models.enums import Platform, Provider
from models.tenancy import mailboxes
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import device_keys, keys
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.runtime import device_rows
from pipeline.runtime.db import Database
from pipeline.runtime.errors import KeyUnknown
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command
from tests.ops_api import people

OLD, NEW, LOST = ("the old key, with a comma in it", "the new key of this year", "a key that nobody kept")
ADDRESSES = ["a@example.org", "b@example.org", "c@example.org"]


def plain(address: str) -> bytes:
    return f"credentials of {address}".encode()


def connect(db: Database, sealed: Mapping[str, bytes]) -> None:
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        for address, credentials in sealed.items():
            add_mailbox(connection, org_id, address, Provider.GMAIL, source={}, credentials=credentials)
        add_mailbox(connection, org_id, "files@example.org", Provider.FILES, source={})


def sealed_with(key: str) -> dict[str, bytes]:
    return {address: Secrets(key).seal(CREDENTIALS, address, plain(address)) for address in ADDRESSES}


def stored(db: Database) -> dict[str, bytes]:
    with db.begin() as connection:
        rows = connection.execute(select(mailboxes.c.address, mailboxes.c.credentials))
        return {row.address: row.credentials for row in rows if row.credentials is not None}


def opened(db: Database, secrets: Secrets) -> dict[str, bytes]:
    return {address: secrets.unseal(CREDENTIALS, address, sealed) for address, sealed in stored(db).items()}


@pytest.fixture
def rotating(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new key is set, and the old one named as a previous one."""
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", NEW)
    monkeypatch.setenv("FIELDPOST_PREVIOUS_SECRET_KEYS", f'["{OLD}"]')


@pytest.mark.fault("F-59")
def test_a_rotation_seals_every_mailbox_with_the_new_key_and_the_old_one_can_go(
    fieldpost: Command, rotating: None, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(db, sealed_with(OLD))
    before = fieldpost("keys", "status", "--json")
    assert before.code == 1
    assert before.json == {
        "current": Secrets(NEW).key_id,
        "mailboxes": 3,
        "keys": [{"key_id": Secrets(OLD).key_id, "standing": "outdated", "mailboxes": 3}],
        "devices": 0,
        "device_keys": [],
    }
    assert "keys rotate" in fieldpost("keys", "status").out
    done = fieldpost("keys", "rotate", "--json")
    assert (done.code, done.json["sealed"], done.json["unchanged"], done.json["unreadable"]) == (0, 3, 0, [])
    monkeypatch.delenv("FIELDPOST_PREVIOUS_SECRET_KEYS")
    after = fieldpost("keys", "status", "--json")
    assert after.code == 0
    assert after.json["keys"] == [{"key_id": Secrets(NEW).key_id, "standing": "current", "mailboxes": 3}]
    assert opened(db, Secrets(NEW)) == {address: plain(address) for address in ADDRESSES}


def test_a_second_rotation_writes_nothing(fieldpost: Command, rotating: None, db: Database) -> None:
    connect(db, sealed_with(OLD))
    fieldpost("keys", "rotate")
    before = stored(db)
    again = fieldpost("keys", "rotate")
    assert (again.code, stored(db)) == (0, before)
    assert "0 mailboxes sealed" in again.out


def test_credentials_in_the_form_of_0_1_0_are_sealed_anew(
    fieldpost: Command, served: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", NEW)
    nonce = os.urandom(12)
    key = Secrets(NEW).key(CREDENTIALS)
    connect(db, {"a@example.org": nonce + AESGCM(key).encrypt(nonce, plain("a@example.org"), b"a@example.org")})
    assert fieldpost("keys", "status", "--json").json["keys"][0]["standing"] == "outdated"
    assert fieldpost("keys", "rotate").code == 0
    assert fieldpost("keys", "status").code == 0
    assert opened(db, Secrets(NEW)) == {"a@example.org": plain("a@example.org")}


def test_a_mailbox_that_no_key_opens_is_named_and_left_as_it_is(
    fieldpost: Command, rotating: None, db: Database
) -> None:
    lost = Secrets(LOST).seal(CREDENTIALS, "b@example.org", b"x")
    connect(db, {**sealed_with(OLD), "b@example.org": lost})
    done = fieldpost("keys", "rotate")
    assert done.code == 1
    assert "b@example.org" in done.err
    assert "FIELDPOST_PREVIOUS_SECRET_KEYS" in done.err
    assert stored(db)["b@example.org"] == lost
    found = fieldpost("keys", "status", "--json").json["keys"]
    assert {"key_id": Secrets(LOST).key_id, "standing": "unknown_key", "mailboxes": 1} in found


@pytest.mark.fault("F-59")
def test_a_rotation_killed_between_two_mailboxes_goes_on_when_repeated(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(db, sealed_with(OLD))
    secrets = Secrets(NEW, [OLD])
    seal, sealed = secrets.seal, []

    def dying(purpose: str, address: str, content: bytes) -> bytes:
        if len(sealed) == 1:
            raise KeyboardInterrupt
        sealed.append(address)
        return seal(purpose, address, content)

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "seal", dying)
        with pytest.raises(KeyboardInterrupt):
            keys.rotate(db, secrets, CREDENTIALS)
    expected = {address: plain(address) for address in ADDRESSES}
    assert opened(db, secrets) == expected
    done = keys.rotate(db, secrets, CREDENTIALS)
    assert (done.sealed, done.current) == (ADDRESSES[1:], ADDRESSES[:1])
    assert opened(db, Secrets(NEW)) == expected


@pytest.mark.fault("F-59")
def test_a_mailbox_connected_anew_during_the_rotation_keeps_its_new_credentials(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(db, sealed_with(OLD))
    secrets = Secrets(NEW, [OLD])
    seal = secrets.seal
    fresh = Secrets(OLD).seal(CREDENTIALS, "b@example.org", b"connected anew")

    def overtaken(purpose: str, address: str, content: bytes) -> bytes:
        if content == plain("b@example.org"):
            with db.begin() as connection:
                row = mailboxes.c.address == address
                connection.execute(update(mailboxes).where(row).values(credentials=fresh))
        return seal(purpose, address, content)

    monkeypatch.setattr(secrets, "seal", overtaken)
    done = keys.rotate(db, secrets, CREDENTIALS)
    assert list(done.sealed) == ADDRESSES
    assert opened(db, Secrets(NEW))["b@example.org"] == b"connected anew"


def register(db: Database, tokens: Mapping[str, str]) -> None:
    """Let a person have devices, each with its token sealed with a key."""
    with db.begin() as connection:
        org_id = factories.organization(connection)
        person_id = people.member(connection, org_id, "technician", "t@example.org")
        for token, key in tokens.items():
            device_rows.register(
                connection, Secrets(key), org_id=org_id, person_id=person_id, session_id=None,
                platform=Platform.WEB, token=token,
            )  # fmt: skip


def tokens(db: Database, secrets: Secrets) -> list[str]:
    """Return the tokens that open, in the order of registration."""
    with db.begin() as connection:
        found = connection.execute(text("SELECT token_sha256, token_sealed FROM devices ORDER BY id")).all()
    said = []
    for row in found:
        with suppress(KeyUnknown):
            said.append(device_rows.opened(secrets, bytes(row.token_sha256), bytes(row.token_sealed)))
    return said


def test_tokens_of_devices_are_sealed_anew_too_and_the_old_key_can_go(
    fieldpost: Command, rotating: None, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_keys, "PAGE", 2)
    register(db, {"a": OLD, "b": NEW, "c": OLD, "d": LOST, "e": OLD})
    before = fieldpost("keys", "status", "--json")
    assert (before.code, before.json["devices"], len(before.json["device_keys"])) == (1, 5, 3)
    assert {"key_id": Secrets(OLD).key_id, "standing": "outdated", "devices": 3} in before.json["device_keys"]
    done = fieldpost("keys", "rotate", "--json")
    assert (done.code, done.json["devices"]) == (1, {"sealed": 3, "unchanged": 1, "unreadable": 1})
    # Of the lost key it is told; an app that starts again registers with the new one.
    assert tokens(db, Secrets(NEW)) == ["a", "b", "c", "e"]
    assert "1 devices" in fieldpost("keys", "rotate").err
    with db.begin() as connection:
        connection.execute(text("UPDATE devices SET dropped_at = now(), dropped_because = 'x', token_sealed = ''"
                                " WHERE token_sha256 = sha256('d')"))  # fmt: skip
    monkeypatch.delenv("FIELDPOST_PREVIOUS_SECRET_KEYS")
    assert fieldpost("keys", "rotate").code == 0
    assert fieldpost("keys", "status").code == 0


def test_without_a_secret_key_it_is_said_what_to_set(
    fieldpost: Command, served: Settings, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    connect(db, {})
    monkeypatch.delenv("FIELDPOST_SECRET_KEY")
    result = fieldpost("keys", "rotate")
    assert result.code == 2
    assert "FIELDPOST_SECRET_KEY" in result.err


def test_doctor_fails_where_a_key_is_not_known_and_names_it(fieldpost: Command, rotating: None, db: Database) -> None:
    connect(db, {**sealed_with(OLD), "b@example.org": Secrets(LOST).seal(CREDENTIALS, "b@example.org", b"x")})
    register(db, {"a": OLD, "b": LOST})
    result = fieldpost("doctor", "--json")
    assert result.code == 1
    (check,) = [check for check in result.json if check["name"] == "device keys"]
    assert (check["grade"], check["text"].startswith("1 devices")) == ("warn", True)
    assert Secrets(LOST).key_id in check["text"]
    (check,) = [check for check in result.json if check["name"] == "secret keys"]
    assert check["grade"] == "fail"
    assert Secrets(LOST).key_id in check["text"]
    assert "FIELDPOST_PREVIOUS_SECRET_KEYS" in check["advice"]


def test_doctor_tells_of_credentials_that_a_known_key_does_not_open(
    fieldpost: Command, rotating: None, db: Database
) -> None:
    connect(db, {"a@example.org": Secrets(NEW).seal(CREDENTIALS, "another@example.org", b"x")})
    result = fieldpost("doctor", "--json")
    (check,) = [check for check in result.json if check["name"] == "secret keys"]
    assert (result.code, check["grade"]) == (0, "warn")
    assert "a@example.org" in check["text"]
    assert fieldpost("keys", "status", "--json").json["keys"][0]["standing"] == "unreadable"
