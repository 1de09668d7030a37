"""`fieldpost mailbox add imap`, against a server in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.adapters.wiring import CREDENTIALS, open_source
from pipeline.ports import MailboxRef
from pipeline.runtime.db import Database
from pipeline.runtime.errors import NeedsAuthorization
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.imap_server import HOST, ImapServer, imap_server

ADDRESS = "help@example.org"

_ROW = text("SELECT id, address, provider, state, source, credentials FROM mailboxes")


@pytest.fixture
def server() -> Iterator[ImapServer]:
    """An IMAP server with one folder."""
    with imap_server() as found:
        yield found


def asked(server: ImapServer, *more: object) -> tuple[object, ...]:
    return (
        "mailbox",
        "add",
        "imap",
        "Help@Example.org",
        "--host",
        HOST,
        "--port",
        server.port,
        "--security",
        "none",
        *more,
    )


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """A file with the password."""
    path = tmp_path / "password.txt"
    path.write_text("secret\n")
    return path


def test_a_mailbox_is_connected_with_sealed_credentials_that_open_it(
    fieldpost: Command, served: Settings, db: Database, server: ImapServer, password: Path
) -> None:
    result = fieldpost(*asked(server, "--password-file", password, "--folder", "inbox", "--json"))
    assert result.code == 0, result.err
    assert result.json["mailbox"] == ADDRESS
    with db.begin() as connection:
        row = connection.execute(_ROW).one()
    assert (row.address, row.provider, row.state) == (ADDRESS, "imap", "active")
    assert row.source == {"host": HOST, "port": server.port, "security": "none", "folders": ["inbox"]}
    assert b"secret" not in bytes(row.credentials)
    ref = MailboxRef(row.id, row.address, row.provider, row.source, bytes(row.credentials))
    source = open_source(ref, served, Secrets.of(served))
    assert [label.name for label in source.labels()] == ["INBOX"]
    source.close()
    assert server.commands["LOGIN"] == 2


def test_a_login_that_does_not_work_connects_nothing_unless_it_is_not_tried(
    fieldpost: Command, served: Settings, db: Database, server: ImapServer, password: Path
) -> None:
    password.write_text("something else")
    result = fieldpost(*asked(server, "--password-file", password))
    assert result.code == 2
    assert "was not connected" in result.err
    assert "something else" not in result.err + result.out
    with db.begin() as connection:
        assert connection.execute(_ROW).all() == []
    assert fieldpost(*asked(server, "--password-file", password, "--no-check")).code == 0
    with db.begin() as connection:
        assert len(connection.execute(_ROW).all()) == 1


def test_a_server_that_is_away_is_said_so(fieldpost: Command, served: Settings, password: Path) -> None:
    result = fieldpost(
        "mailbox",
        "add",
        "imap",
        ADDRESS,
        "--host",
        HOST,
        "--port",
        1,
        "--security",
        "none",
        "--password-file",
        password,
    )
    assert result.code == 2
    assert "gave no answer" in result.err


def test_oauth_credentials_are_taken_from_a_file_of_google_too(
    fieldpost: Command, served: Settings, db: Database, server: ImapServer, tmp_path: Path
) -> None:
    file = tmp_path / "user.json"
    said = {"type": "authorized_user", "refresh_token": "r", "client_id": "c", "client_secret": "s", "extra": 1}
    file.write_text(json.dumps(said))
    assert fieldpost(*asked(server, "--oauth", file, "--no-check")).code == 0
    with db.begin() as connection:
        row = connection.execute(_ROW).one()
    opened = json.loads(Secrets.of(served).unseal(CREDENTIALS, ADDRESS, bytes(row.credentials)))
    assert opened["type"] == "imap_oauth"
    assert opened["token_uri"].startswith("https://")
    assert "extra" not in opened


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "exactly one of"),
        (("--password-file", "two.txt"), "one line"),
        (("--password-file", "nowhere.txt"), "cannot be read"),
        (("--oauth", "two.txt"), "no JSON"),
        (("--oauth", "list.json"), "JSON object"),
        (("--oauth", "empty.json"), "no refresh_token"),
        (("--password-file", "password.txt", "--folder", "Nope"), "no folder 'Nope'"),
        (("--password-file", "password.txt", "--host", "imap.example.org"), "in the clear"),
        (("--password-file", "password.txt", "--host", "two words"), "no IMAP host"),
    ],
)
def test_bad_input_is_refused_in_words(
    fieldpost: Command, served: Settings, server: ImapServer, password: Path, tmp_path: Path, *,
    options: tuple[str, ...], words: str,
) -> None:  # fmt: skip
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty.json").write_text("{}")
    result = fieldpost(*asked(server, *options))
    assert result.code == 2
    assert words in result.err


def test_credentials_that_say_nothing_known_need_a_person(served: Settings, db: Database) -> None:
    secrets = Secrets.of(served)
    sealed = secrets.seal(CREDENTIALS, ADDRESS, b'{"type": "something"}')
    with pytest.raises(NeedsAuthorization, match="no known kind"):
        open_source(MailboxRef(None, ADDRESS, "imap", {"host": HOST}, sealed), served, secrets)  # type: ignore[arg-type]
    with pytest.raises(NeedsAuthorization, match="mailbox add imap"):
        open_source(MailboxRef(None, ADDRESS, "imap", {"host": HOST}, None), served, secrets)  # type: ignore[arg-type]


def test_in_production_no_server_of_the_private_network_is_connected_unless_it_was_opened(
    fieldpost: Command, served: Settings, server: ImapServer, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDPOST_ENVIRONMENT", "production")
    for more in ((), ("--no-check",)):
        result = fieldpost(*asked(server, "--password-file", password, *more))
        assert (result.code, "FIELDPOST_ALLOW_PRIVATE_ADDRESSES" in result.err) == (2, True)
    monkeypatch.setenv("FIELDPOST_ALLOW_PRIVATE_ADDRESSES", "127.0.0.0/8")
    assert fieldpost(*asked(server, "--password-file", password)).code == 0
