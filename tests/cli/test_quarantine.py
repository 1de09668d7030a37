"""Quarantined mail by hand: listed, explained and released with a reason."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from models.enums import QuarantineCause
from pipeline.runtime import quarantine
from pipeline.runtime.db import Database
from pipeline.runtime.quarantine import Held
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command


@pytest.fixture
def held(db: Database) -> list[int]:
    """Two messages in quarantine: one of a loop, one that answers back."""
    with db.begin() as connection:
        archive = Archive(connection)
        message = archive.message("Request [#7] received", "<1@x>")
        occurrences = [archive.occurrence(str(number), "parsed", message) for number in range(2)]
        for occurrence_id in occurrences:
            connection.execute(
                text("INSERT INTO occurrence_recipients (occurrence_id, message_id, source, confidence, evidence)"
                     " VALUES (:occurrence, :message, 'unknown', 'low', '{}')"),
                {"occurrence": occurrence_id, "message": message},
            )  # fmt: skip
        causes = (QuarantineCause.LOOP, QuarantineCause.ANSWERS_BACK)
        quarantine.hold(
            connection,
            [
                Held(archive.org_id, occurrence_id, cause, f"evidence of {cause}", "stitch", "trace")
                for occurrence_id, cause in zip(occurrences, causes, strict=True)
            ],
        )
    return [row.id for row in factories.rows(db, "SELECT id FROM quarantines ORDER BY id")]


def test_what_waits_is_listed_by_cause(fieldpost: Command, served: Settings, held: list[int]) -> None:
    said = fieldpost("quarantine", "list").out
    for part in ("loop", "answers_back", ADDRESS, "customer@example.net", "Request [#7] received", "evidence of loop"):
        assert part in said
    (one,) = fieldpost("quarantine", "list", "--cause", "answers_back", "--json").json
    assert (one["quarantine_id"], one["cause"], one["stage"]) == (held[1], "answers_back", "stitch")
    assert fieldpost("quarantine", "list", "--limit", 1).out.endswith("1 of 2 shown\n")


def test_a_message_is_explained_with_the_command_that_comes_next(
    fieldpost: Command, served: Settings, held: list[int]
) -> None:
    said = fieldpost("quarantine", "show", held[1]).out
    for part in ("answers_back", "evidence of answers_back", f"fieldpost quarantine release {held[1]}", "sha256"):
        assert part in said
    assert fieldpost("quarantine", "show", held[0], "--json").json["cause"] == "loop"


def test_a_release_tells_how_many_and_keeps_why(
    fieldpost: Command, served: Settings, db: Database, held: list[int]
) -> None:
    done = fieldpost("quarantine", "release", held[0], "--reason", "Ann wrote it", "--json")
    # Both are one message: they go on together.
    assert (done.code, done.json) == (0, {"released": held, "not_in_quarantine": []})
    assert "no worker is alive" in done.err
    reasons = factories.rows(db, "SELECT DISTINCT released_reason, released_by LIKE 'cli:%' FROM quarantines")
    assert [tuple(row) for row in reasons] == [("Ann wrote it", True)]
    again = fieldpost("quarantine", "release", *held, 999, "--reason", "x")
    assert (again.code, again.out) == (1, "released 0\n")
    assert f"not in quarantine: {held[0]}, {held[1]}, 999" in again.err
    assert "released" in fieldpost("quarantine", "show", held[0]).out
    assert fieldpost("quarantine", "list").out == "Nothing is in quarantine.\n"
    assert len(fieldpost("quarantine", "list", "--all", "--json").json) == 2


@pytest.mark.parametrize(
    "arguments", [("release", "1"), ("release", "--reason", "x"), ("release", "1", "--reason", " "), ("show", "9"),
                  ("list", "--cause", "nonsense")]
)  # fmt: skip
def test_a_wrong_use_gets_one_line_and_code_2(
    fieldpost: Command, served: Settings, db: Database, arguments: tuple[str, ...]
) -> None:
    done = fieldpost("quarantine", *arguments)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert done.err.startswith("fieldpost: ")


@pytest.mark.parametrize("command", ["list", "show", "release"])
def test_help_teaches_with_an_example_and_the_exit_codes(fieldpost: Command, command: str) -> None:
    said = fieldpost("quarantine", command, "--help").out
    assert "Example: fieldpost quarantine" in said
    assert "Exit codes:" in said
