"""The command line as a whole: help, wrong use, settings, and what is imported when."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ops_api.cli.lazy import COMMANDS
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command

_GROUPS = {
    "mailbox": ("add gmail", "list", "pause", "resume"),
    "dlq": (
        *("list", "show", "groups", "count", "replay", "discard", "restore", "edit"),
        *("bulks", "bulk", "cancel"),
    ),
    "keys": ("status", "rotate"),
    "ticket": ("list", "show", "merge", "split", "undo"),
    "identity": ("add", "list", "verify", "disable", "enable"),
    "outbound": ("list", "show", "retry", "settle", "cancel"),
    "quota": ("list", "set"),
    "people": ("add", "list", "disable", "enable", "set-password", "reset-link", "role"),
    "technician": ("list", "set", "certify"),
    "plan": ("day", "apply"),
    "token": ("create", "list", "revoke"),
    "policy": ("show", "set"),
    "erase": ("address", "list"),
    "quarantine": ("list", "show", "release"),
    "invoice": ("list", "show", "pdf", "series"),
    "sla": ("policies", "calendars", "holidays", "show", "recompute"),
    "routing": ("rules", "trace", "simulate"),
    "trail": ("list", "show", "verify", "seal", "export"),
    "reprocess": ("start", "list", "show", "apply", "cancel"),
    "asset": ("list", "add", "change", "import", "pattern list", "pattern add", "pattern change"),
    "triage": (
        *("policy list", "policy show", "policy draft", "policy set", "policy shadow", "policy differences"),
        *("policy activate", "policy rollback", "simulate", "tune", "backtest", "truth", "calibrate", "train"),
    ),
}
_LINES = [name for name in COMMANDS if name not in _GROUPS] + [
    f"{group} {name}" for group, names in _GROUPS.items() for name in names
]


@pytest.mark.parametrize("line", _LINES)
def test_the_help_of_every_command_has_an_example_and_the_exit_codes(fieldpost: Command, line: str) -> None:
    result = fieldpost(*line.split(), "--help")
    assert result.code == 0
    assert "Example:" in result.out
    assert "Exit codes:" in result.out


def test_the_help_lists_every_command_without_importing_any() -> None:
    script = (
        "import sys\nfrom ops_api.cli.main import run\nassert run(['--help']) == 0\n"
        "heavy = {'sqlalchemy', 'uvicorn', 'googleapiclient', 'dramatiq', 'alembic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(f" {name} " in done.stdout for name in COMMANDS)


def test_parse_needs_no_database() -> None:
    script = "import sys, ops_api.cli.main, ops_api.cli.parse\nassert 'sqlalchemy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "No such command 'nope'"),
        ("stats", "Did you mean 'status'"),
        ("parse", "Missing argument"),
        ("parse --wrong x", "No such option: --wrong"),
        ("export a@b.c --what nothing", "tickets"),
        ("worker --queues live,slow", "unknown queue 'slow'"),
        ("backfill a@b.c --since yesterday", "yesterday"),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_2(fieldpost: Command, line: str, said: str) -> None:
    result = fieldpost(*line.split())
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("fieldpost: ")
    assert len(result.err.splitlines()) == 1
    assert said in result.err


def test_an_unknown_variable_with_the_prefix_is_refused(fieldpost: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDPOST_DATABSE_URL", "x")
    result = fieldpost("status")
    assert result.code == 2
    assert "unknown variable FIELDPOST_DATABSE_URL" in result.err


def test_a_database_that_does_not_answer_is_told_in_one_line(
    fieldpost: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDPOST_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x")
    monkeypatch.setenv("FIELDPOST_REDIS_URL", "redis://127.0.0.1:1/0")
    result = fieldpost("mailbox", "list")
    assert result.code == 2
    assert result.err.startswith("fieldpost: the database does not answer")


def test_without_data_a_question_starts_nothing(fieldpost: Command, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("data")
    result = fieldpost("status", "--data", folder)
    assert result.code == 2
    assert "there is no data" in result.err
    assert list(folder.iterdir()) == []


def test_a_request_without_anything_running_says_to_run_up(
    fieldpost: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    result = fieldpost("backfill", "a@example.org", "--data", tmp_path_factory.mktemp("data"))
    assert result.code == 2
    assert "fieldpost up" in result.err


@pytest.mark.parametrize(
    "line",
    [
        "quarantine show {}", "quarantine release {} --reason x", "reprocess show {}", "reprocess apply {}",
        "reprocess cancel {}", "raw {}", "dlq show {}", "dlq replay {}", "dlq discard {} --reason x",
        "dlq restore {} --reason x", "dlq restore --bulk {} --reason x", "dlq bulk {}", "dlq cancel {}",
        "ticket undo tkt-x {}", "ticket split tkt-x {} --reason x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", ["0", "9" * 20])
def test_a_number_that_is_no_id_is_told_in_one_line(
    fieldpost: Command, served: Settings, line: str, number: str
) -> None:
    done = fieldpost(*line.format(number).split())
    assert (done.code, len(done.err.splitlines())) == (2, 1)


@pytest.mark.parametrize("wrong", ["a\x00b", "\udcff", "<\ud800@x>"])
@pytest.mark.parametrize("line", ["raw", "reply tkt-x --text", "identity verify", "search", "reprocess show 1 --field"])
def test_an_argument_that_is_no_text_is_told_in_one_line(fieldpost: Command, line: str, wrong: str) -> None:
    done = fieldpost(*line.split(), wrong)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "is no text" in done.err
