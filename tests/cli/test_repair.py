"""Dead letters and mailboxes by hand: listed, explained, replayed, discarded, connected, paused, resumed."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from dlq import letters, reading
from models.enums import Cause, Lane
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.jobs import Emit
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command

_USER_FILE = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}


@pytest.fixture
def buried(db: Database) -> list[int]:
    """Three letters: two of one kind, and another."""
    with db.begin() as connection:
        archive = Archive(connection)
        message = archive.message("Pump [leaks]", "<1@x>")
        keys = [archive.occurrence(str(number), "fetched", message) for number in range(3)]
        ledger.put(
            connection,
            [Emit("parse", str(key), archive.org_id, archive.mailbox_id, Lane.BACKFILL, 0, "trace") for key in keys],
        )
        jobs = ledger.claim(
            connection, ledger.Line("parse", Lane.BACKFILL), batch=9, worker=1, lease=timedelta(minutes=1)
        )
        errors = [ValueError("part 1 is broken"), ValueError("part 22 is broken"), KeyError("charset")]
        letters.bury(
            connection,
            [
                letters.Death(job, Cause.PERMANENT, error, by_occurrence=True)
                for job, error in zip(jobs, errors, strict=True)
            ],
        )
        return reading.ids(connection)


def test_a_letter_is_explained_with_the_command_that_comes_next(
    fieldpost: Command, served: Settings, buried: list[int]
) -> None:
    said = fieldpost("dlq", "show", buried[0]).out
    for part in (
        ADDRESS,
        "Pump [leaks]",
        "customer@example.net",
        "ValueError: part 1 is broken",
        "permanent",
        "sha256",
    ):
        assert part in said
    assert f"fieldpost dlq replay {buried[0]}" in said
    assert "(2 alike)" in said


def test_letters_are_listed_grouped_and_narrowed(fieldpost: Command, served: Settings, buried: list[int]) -> None:
    assert [one["letter_id"] for one in fieldpost("dlq", "list", "--json").json] == buried[::-1]
    assert fieldpost("dlq", "list", "--stage", "fetch", "--json").json == []
    groups = fieldpost("dlq", "groups", "--json").json
    assert [(one["count"], one["error_class"]) for one in groups] == [(2, "ValueError"), (1, "KeyError")]
    alike = fieldpost("dlq", "list", "--group", groups[0]["group"], "--json").json
    assert [one["letter_id"] for one in alike] == [buried[1], buried[0]]
    assert "1 of 3 shown" in fieldpost("dlq", "list", "--limit", "1").out


def test_a_kind_of_letter_is_replayed_only_after_a_yes(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    group = fieldpost("dlq", "groups", "--json").json[0]["group"]
    refused = fieldpost("dlq", "replay", "--group", group)
    assert refused.code == 2
    assert "--yes" in refused.err
    done = fieldpost("dlq", "replay", "--group", group, "--yes", "--json")
    assert done.code == 0
    assert done.json == {"replayed": buried[:2], "not_open": []}
    assert "no worker is alive" in done.err
    with db.begin() as connection:
        replayed = reading.find(connection, is_open=False)
    assert {letter.resolution for letter in replayed} == {"replayed"}
    assert all(letter.resolved_by for letter in replayed)


def test_a_letter_that_is_not_open_any_more_is_told_with_exit_1(
    fieldpost: Command, served: Settings, buried: list[int]
) -> None:
    first = fieldpost("dlq", "discard", buried[0], "--reason", "junk", "--json")
    again = fieldpost("dlq", "discard", buried[0], buried[1], "--reason", "junk", "--json")
    assert (first.code, first.json) == (0, {"discarded": [buried[0]], "not_open": []})
    assert (again.code, again.json) == (1, {"discarded": [buried[1]], "not_open": [buried[0]]})


@pytest.mark.parametrize("line", ["replay", "replay 1 --all", "replay --all --stage parse", "replay 4711", "show 4711"])
def test_letters_that_are_not_said_clearly_are_refused(
    fieldpost: Command, served: Settings, buried: list[int], line: str
) -> None:
    assert fieldpost("dlq", *line.split()).code == 2


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
