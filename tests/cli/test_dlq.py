"""Dead letters on the terminal: explained on one screen, grouped, chosen, replayed in bulk and watched, undone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from dlq import advancing, letters, reading
from models.enums import Cause, Lane
from ops_api.cli import dlq_progress, output
from ops_api.cli.dlq_choice import moment
from ops_api.cli.dlq_words import sparkline
from ops_api.cli.session import Runtime
from pipeline.runtime import ledger
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.jobs import Emit, Job
from pipeline.runtime.settings import Settings
from tests.cli.archive import ADDRESS, Archive
from tests.cli.conftest import Command
from tests.factories import rows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
_SUBJECT = "Pump [leaks] in the cellar of the old town hall since the storm of last week"


def _die(database: Database, *errors: Exception, lane: Lane = Lane.REPAIR) -> None:
    """Claim what stands in a line of parse and bury it, each job for its error; the last is for all that follow."""
    with database.begin() as connection:
        jobs = ledger.claim(connection, ledger.Line("parse", lane), batch=99, worker=1, lease=timedelta(minutes=1))
        jobs.sort(key=lambda job: job.job_id)
        letters.bury(connection, [_death(job, errors[min(n, len(errors) - 1)]) for n, job in enumerate(jobs)])


def _death(job: Job, error: Exception) -> letters.Death:
    return letters.Death(job, Cause.PERMANENT, error, by_occurrence=True)


@pytest.fixture
def buried(db: Database) -> list[int]:
    """Three letters: two of one kind, and another."""
    with db.begin() as connection:
        archive = Archive(connection)
        message = archive.message(_SUBJECT, "<1@x>")
        keys = [archive.occurrence(str(number), "fetched", message) for number in range(3)]
        emits = [
            Emit("parse", str(key), archive.org_id, archive.mailbox_id, Lane.BACKFILL, 0, f"trace {key}")
            for key in keys
        ]
        ledger.put(connection, emits)
    _die(db, ValueError("part 1 is broken"), ValueError("part 22 is broken"), KeyError("charset"), lane=Lane.BACKFILL)
    with db.begin() as connection:
        return reading.ids(connection)


Pretend = Callable[[Callable[[Database], object]], None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, db: Database) -> Pretend:
    """Put a thread in the place of the workers that --wait starts: it ticks, and works on what is let go."""

    def put(work: Callable[[Database], object]) -> None:
        @contextmanager
        def workers_for(_: Runtime) -> Iterator[None]:
            stopped = threading.Event()

            def go() -> None:
                while not stopped.wait(0.02):
                    with db.begin() as connection:
                        advancing.advance(connection)
                    work(db)

            thread = threading.Thread(target=go)
            thread.start()
            yield None
            stopped.set()
            thread.join(timeout=20)

        monkeypatch.setattr(dlq_progress, "workers_for", workers_for)

    return put


def _finish(database: Database) -> None:
    rows(database, "DELETE FROM jobs WHERE state = 'ready'")


def _group(fieldpost: Command) -> str:
    found: str = fieldpost("dlq", "groups", "--json").json[0]["group"]
    return found


def test_a_letter_is_explained_on_one_screen(
    fieldpost: Command, served: Settings, buried: list[int], db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    fieldpost("dlq", "replay", buried[0], "--reason", "a first try")
    _die(db, ValueError("part 1 is broken"))
    for width in (120, 80):
        monkeypatch.setattr(output, "_PIPE_WIDTH", width)
        said = fieldpost("dlq", "show", buried[2] + 1).out
        assert len(said.splitlines()) <= 30
        assert max(len(line.rstrip()) for line in said.splitlines()) <= width
    whole = " ".join(said.replace("│", " ").split())
    for part in (
        "ValueError: part 1 is broken",
        _SUBJECT,
        "customer@example.net",
        ADDRESS,
        "fails however often",
        "2 open of 3 in group",
        ": new, first seen",
        "last 24 h",
        "a first try (as letter 1)",
        f"fieldpost dlq replay {buried[2] + 1} ",
        f"fieldpost dlq replay --group {_group(fieldpost)} --canary 3 --wait",
        f"fieldpost dlq discard {buried[2] + 1} --reason TEXT",
        "fieldpost raw 1 -o mail.eml",
    ):
        assert part in whole
    assert f"fieldpost dlq show {buried[2] + 1}" in fieldpost("dlq", "show", buried[0]).out
    told = fieldpost("dlq", "show", buried[0], "--json").json
    assert [one["letter_id"] for one in told["others"]] == [buried[2] + 1]
    assert [(one["action"], one["reason"]) for one in told["history"]] == [("replayed", "a first try")]


def test_lists_and_groups_fit_a_narrow_terminal(
    fieldpost: Command, served: Settings, buried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_PIPE_WIDTH", 80)
    fieldpost("dlq", "discard", "--error", "KeyError", "--yes", "--reason", "junk")
    for line in ("list", "list --state all", "groups", "count", "bulks", "bulk 1"):
        said = fieldpost("dlq", *line.split()).out.splitlines()
        assert said
        assert max(len(one.rstrip()) for one in said) <= 80, line


def test_letters_are_listed_counted_and_narrowed(fieldpost: Command, served: Settings, buried: list[int]) -> None:
    def listed(*options: object) -> list[int]:
        return [one["letter_id"] for one in fieldpost("dlq", "list", "--json", *options).json]

    assert listed() == buried[::-1]
    assert listed("--stage", "fetch") == []
    assert listed("--group", _group(fieldpost)) == [buried[1], buried[0]]
    assert listed("--error", "KeyError") == listed("--text", "CHARSET") == [buried[2]]
    assert listed("--since", "1h", "--mailbox", ADDRESS) == buried[::-1]
    assert listed("--until", "1h") == listed("--state", "replayed") == []
    fieldpost("dlq", "discard", buried[2], "--reason", "junk")
    assert listed("--state", "discarded") == [buried[2]]
    assert listed("--state", "all") == buried[::-1]
    assert "1 of 2 shown" in fieldpost("dlq", "list", "--limit", "1").out
    counted = fieldpost("dlq", "count", "--error", "ValueError", "--json").json
    assert (counted["count"], counted["newest_letter_id"]) == (2, buried[1])
    assert [(one["count"], len(one["hourly"]), one["trend"]) for one in counted["groups"]] == [(2, 24, "new")]


def test_a_kind_of_letter_is_replayed_only_after_a_yes_and_as_one_bulk(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    group = _group(fieldpost)
    refused = fieldpost("dlq", "replay", "--group", group)
    assert (refused.code, "--yes" in refused.err) == (2, True)
    done = fieldpost("dlq", "replay", "--group", group, "--yes", "--canary", "1", "--per-second", "20", "--json")
    assert done.code == 0
    assert "2 open letters to replay" in done.err
    assert "no worker is alive" in done.err
    assert {name: done.json[name] for name in ("state", "total", "waiting", "canaries", "per_second", "is_new")} == {
        "state": "canary",
        "total": 2,
        "waiting": 2,
        "canaries": 1,
        "per_second": 20.0,
        "is_new": True,
    }
    again = fieldpost("dlq", "replay", "--group", group, "--yes")
    assert again.code == 0
    assert f"goes on already: bulk {done.json['bulk_id']}" in again.err
    assert rows(db, "SELECT count(*) FROM bulks")[0] == (1,)


def test_letters_named_by_id_go_at_once(fieldpost: Command, served: Settings, buried: list[int], db: Database) -> None:
    first = fieldpost("dlq", "replay", buried[0], "--json")
    again = fieldpost("dlq", "replay", buried[0], buried[1], "--json")
    assert (first.code, first.json) == (0, {"replayed": [buried[0]], "not_open": []})
    assert (again.code, again.json) == (1, {"replayed": [buried[1]], "not_open": [buried[0]]})
    assert rows(db, "SELECT count(*) FROM bulks")[0] == (0,)


def test_a_replay_that_is_waited_for_ends_with_what_became_of_it(
    fieldpost: Command, served: Settings, buried: list[int], pretend: Pretend
) -> None:
    pretend(_finish)
    done = fieldpost("dlq", "replay", "--all", "--canary", "1", "--yes", "--wait")
    assert (done.code, "3 passed, 0 failed again" in done.out) == (0, True)
    assert fieldpost("dlq", "list").out == "No open dead letters.\n"
    nothing = fieldpost("dlq", "replay", "--all", "--yes", "--wait", "--json")
    assert (nothing.code, nothing.json) == (
        0,
        {"bulk_id": None, "total": 0, "is_new": False, "left_out": 0, "under_way": 0},
    )


def test_a_canary_that_fails_again_ends_with_exit_1_and_names_the_list_of_failures(
    fieldpost: Command, served: Settings, buried: list[int], pretend: Pretend
) -> None:
    pretend(lambda database: _die(database, ValueError("part 1 is broken")))
    done = fieldpost("dlq", "replay", *buried, "--canary", "1", "--wait")
    assert done.code == 1
    assert "1 failed again, 2 left out" in done.out
    assert "part 1 is broken" in done.out
    assert "fieldpost dlq bulk 1 --items failed" in done.out
    shown = fieldpost("dlq", "bulk", "1").out
    assert "stopped" in shown
    assert f"now letter {buried[2] + 1}" in shown
    items = fieldpost("dlq", "bulk", "1", "--items", "skipped", "--json").json["items"]
    assert [one["letter_id"] for one in items] == buried[1:]
    assert [one["state"] for one in fieldpost("dlq", "bulks", "--json").json] == ["stopped"]


def test_a_discard_of_many_is_undone_as_a_whole(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    done = fieldpost("dlq", "discard", "--all", "--yes", "--reason", "a mistake")
    assert (done.code, "3 discarded" in done.out) == (0, True)
    assert "fieldpost dlq restore --bulk 1 --reason TEXT" in done.out
    assert "undo it" in fieldpost("dlq", "show", buried[0]).out
    undone = fieldpost("dlq", "restore", "--bulk", "1", "--reason", "it was one", "--json")
    assert (undone.code, undone.json) == (0, {"restored": buried, "refused": {}})
    again = fieldpost("dlq", "restore", buried[0], "--reason", "twice")
    assert (again.code, f"letter {buried[0]}: it is not discarded" in again.err) == (1, True)
    assert rows(db, "SELECT state, count(*) FROM jobs GROUP BY 1") == [("dead", 3)]


def test_arguments_are_edited_and_the_former_are_shown(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    done = fieldpost("dlq", "edit", buried[0], "--args", '{"topic": "right"}', "--reason", "a typo", "--json")
    assert (done.code, done.json) == (0, {"letter_id": buried[0], "before": {}, "after": {"topic": "right"}})
    assert "edited by" in fieldpost("dlq", "show", buried[0]).out
    fieldpost("dlq", "replay", buried[0])
    assert rows(db, "SELECT args FROM jobs WHERE state = 'ready'")[0] == ({"topic": "right"},)
    late = fieldpost("dlq", "edit", buried[0], "--args", "{}", "--reason", "late")
    assert (late.code, "not open any more" in late.err) == (1, True)


def test_letters_that_a_bulk_leaves_out_are_named_and_end_with_exit_1(
    fieldpost: Command, served: Settings, buried: list[int]
) -> None:
    fieldpost("dlq", "discard", buried[2], "--reason", "junk")
    busy = fieldpost("dlq", "replay", buried[0], "--per-second", "0.01", "--json")
    assert (busy.code, busy.json["left_out"]) == (0, 0)
    named = fieldpost("dlq", "replay", *buried, "--canary", "1", "--json")
    assert (named.code, named.json["total"], named.json["left_out"], named.json["under_way"]) == (1, 1, 2, 1)
    assert "1 letter is under way in another bulk (fieldpost dlq bulks)" in named.err
    assert "1 letter left out: not open any more" in named.err
    for action in ("replay", "discard"):
        none = fieldpost("dlq", action, "--all", "--yes", "--reason", "x")
        assert (none.code, f"nothing to {action}" in none.out) == (1, True)
        assert "2 letters are under way in another bulk" in none.err


def test_a_terminal_obeys_nothing_that_an_error_or_a_subject_says(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    evil = "boom \x1b]0;owned\x07 \x9b31m\x1b[31mred"
    rows(db, "UPDATE dead_letters SET error_text = :evil, error_trace = :evil, error_class = :evil", evil=evil)
    rows(db, "UPDATE messages SET subject = :evil", evil=evil)
    fieldpost("dlq", "replay", "--all", "--canary", "1", "--yes", "--reason", evil)
    rows(db, "UPDATE bulks SET ended_because = :evil", evil=evil)
    for line in (f"show {buried[0]} --trace", "list", "groups", "count", "bulks", "bulk 1 --items waiting"):
        said = fieldpost("dlq", *line.split())
        assert "red" in said.out, line
        assert not {"\x1b", "\x07", "\x9b"} & set(said.out + said.err), line


def test_a_bulk_is_cancelled_once(fieldpost: Command, served: Settings, buried: list[int]) -> None:
    fieldpost("dlq", "replay", "--all", "--yes")
    done = fieldpost("dlq", "cancel", "1", "--reason", "rolled back")
    assert (done.code, "3 left out" in done.out) == (0, True)
    assert fieldpost("dlq", "cancel", "1").code == 1
    assert "cancelled by" in fieldpost("dlq", "bulk", "1").out


def test_what_is_not_said_clearly_is_refused_in_one_line(
    fieldpost: Command, served: Settings, buried: list[int], db: Database
) -> None:
    lines = (
        *("replay", "replay 1 --all", "replay --all --stage parse", "replay 4711", "show 4711", "list --stage prase"),
        *("list --since yesterday", "list --mailbox nobody@example.org", "replay --all --per-second 0", "bulk 9"),
        *("cancel 9", "restore --reason x", "restore 1 --bulk 1 --reason x", "restore --bulk 9 --reason x"),
        *("edit 1 --args [1] --reason x", "edit 1 --args { --reason x", "edit 4711 --args {} --reason x", "discard 1"),
        *("discard --all --reason x", "replay --all --canary -1 --yes"),
    )
    for line in lines:
        done = fieldpost("dlq", *line.split())
        assert (done.code, len([one for one in done.err.splitlines() if one.startswith("fieldpost: ")])) == (2, 1), line
    for line in (("replay", buried[0]), ("replay", "--all", "--yes"), ("discard", buried[0]), ("cancel", 1)):
        done = fieldpost("dlq", *line, "--reason", " ")
        assert (done.code, "say why with --reason" in done.err) == (2, True), line
    assert rows(db, "SELECT DISTINCT state FROM jobs") == [("dead",)]


def test_a_sparkline_is_as_high_as_its_share_of_the_highest_hour() -> None:
    assert sparkline([0, 1, 4, 8]) == "·▁▄█"
    assert sparkline([0] * 24) == "·" * 24
    assert sparkline([1, 1_000]) == "▁█"


def test_a_time_is_said_as_an_age_or_as_a_date() -> None:
    said = {"90min": 90, "2h": 120, "3d": 4_320, "1w": 10_080, "2026-03-02": 720, "2026-03-02T11:00+01:00": 120}
    assert {one: (NOW - moment(one, NOW)) // timedelta(minutes=1) for one in said} == said
    assert moment("2h", NOW + timedelta(seconds=1)) == moment("2h", NOW + timedelta(seconds=59))
    for wrong in ("2x", "soon", "", "-2h", "9999999h"):
        with pytest.raises(UserError):
            moment(wrong, NOW)
