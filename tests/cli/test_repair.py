"""Mailboxes by hand: connected, listed, paused, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlq import reading
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.runtime.db import Database
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command

_USER_FILE = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


def test_gmail_credentials_are_sealed_and_open_only_for_their_mailbox(
    fieldpost: Command, served: Settings, db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "user.json"
    file.write_text(json.dumps(_USER_FILE))
    result = fieldpost("mailbox", "add", "gmail", "Help@Example.org", "--authorized-user", file, "--json")
    assert result.code == 0
    with db.begin() as connection:
        found = reading.count(connection)
        mailbox_id = result.json["mailbox_id"]
        (mailbox,) = load_mailboxes(connection, [mailbox_id]).values()
    assert found == 0
    assert served.secret_key is not None
    assert mailbox.ref.credentials is not None
    sealed = mailbox.ref.credentials
    opened = Secrets(served.secret_key.get_secret_value()).unseal(CREDENTIALS, "help@example.org", sealed)
    assert json.loads(opened) == _USER_FILE
    assert b"refresh_token" not in sealed
    assert [one["mailbox"] for one in fieldpost("mailbox", "list", "--json").json] == ["help@example.org"]


@pytest.mark.parametrize("content", ["{}", "[]", "no json", '{"installed": {}}', '{"type": "authorized_user"}'])
def test_credentials_of_no_use_are_refused_and_nothing_is_added(
    fieldpost: Command, served: Settings, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "user.json"
    file.write_text(content)
    result = fieldpost("mailbox", "add", "gmail", "a@example.org", "--oauth-client", file)
    assert result.code == 2
    assert result.err.startswith("fieldpost: ")
    assert fieldpost("mailbox", "list", "--json").json == []


def test_a_mailbox_is_paused_and_resumed(fieldpost: Command, served: Settings, db: Database) -> None:
    with db.begin() as connection:
        Archive(connection)
    assert fieldpost("mailbox", "pause", ADDRESS, "--minutes", "5", "--json").json["paused"] is True
    assert fieldpost("mailbox", "list", "--json").json[0]["state"] == "paused"
    assert fieldpost("mailbox", "resume", ADDRESS, "--json").json["resumed"] is True
    assert fieldpost("mailbox", "list", "--json").json[0]["state"] == "active"
    assert fieldpost("mailbox", "pause", ADDRESS, "--minutes", "0").code == 2
