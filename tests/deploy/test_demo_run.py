"""The demonstration from end to end, as `make demo` runs it, and what is left of it: nothing."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import re2

from deploy.demo.places import make_rules
from deploy.demo.report import MailboxProof, Outcome
from models.enums import OccurrenceState
from models.queries.summary import Summary
from pipeline.core.routing import Rule
from pipeline.runtime.settings import environment

_CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE = 240


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that the database's account may pass, too; short, for the sake of sockets."""
    path = Path(tempfile.mkdtemp(prefix="fp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def _start(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "deploy.demo.run", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=_CHECKOUT,
        env={**environment(), "TMPDIR": str(temporary), "FIELDPOST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
    )  # fmt: skip


def _left_of(temporary: Path) -> list[str]:
    """What still runs with the folder in its command line or as its working folder, and what still lies there."""
    found = [str(path) for path in temporary.iterdir()]
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if any(str(temporary) in word for word in words):
            found.append(" ".join(words))
    return found


def _number(output: str, name: str) -> int:
    found = re.search(rf"^{name} +(\d+)", output, re.MULTILINE)
    assert found, f"no line of {name} in\n{output}"
    return int(found[1])


def test_the_demonstration_accounts_for_every_message_and_leaves_nothing_behind(temporary: Path) -> None:
    with _start(temporary, "--size", "200") as process:
        output, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, output
    assert "\nunaccounted 0\n" in output
    rows = re.findall(r"^(\S+@example\.org) +(.+)$", output, re.MULTILINE)
    counts = {address: [int(number) for number in numbers.split()] for address, numbers in rows}
    assert sum(at_gmail for at_gmail, *_ in counts.values()) == 210
    for at_gmail, in_ledger, routed, ignored, quarantined, unaccounted in counts.values():
        assert (in_ledger, routed + ignored + quarantined, unaccounted) == (at_gmail, at_gmail, 0)
    spam = sum(ignored for _, _, _, ignored, _, _ in counts.values())
    assert spam > 0
    assert 150 < _number(output, "messages") < 210
    written = re.search(r"from (\d+) conversations", output)
    assert written is not None
    # Each mail in the spam folder is a conversation of its own.
    assert _number(output, "tickets") == int(written[1]) - spam
    assert _number(output, "cases") > 0
    assert _number(output, "work orders") > 0
    assert _number(output, "dead letters") == 3
    assert "Unreadable" in output
    assert _number(output, "messages/s") > 0
    assert "\x1b" not in output
    assert _left_of(temporary) == []


@pytest.mark.parametrize("moment", ["mail written", "PostgreSQL and Valkey", "Backfill"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_midway_leaves_nothing_behind(temporary: Path, moment: str, number: signal.Signals) -> None:
    with _start(temporary, "--size", "500") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130, rest
    assert "stopped; nothing is left running" in rest
    assert "Traceback" not in rest
    assert _left_of(temporary) == []


def test_kept_it_serves_the_api_until_it_is_stopped_and_leaves_only_its_data(temporary: Path) -> None:
    with _start(temporary, "--size", "100", "--keep") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        output = "".join(lines)
        address = re.search(r"^API +http://127\.0\.0\.1:(\d+)$", output, re.MULTILINE)
        assert address is not None, output
        with closing(HTTPConnection("127.0.0.1", int(address[1]), timeout=30)) as connection:
            connection.request("GET", "/readyz")
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, rest
    (kept,) = _left_of(temporary)
    assert (Path(kept) / "secret.key").stat().st_mode & 0o077 == 0
    assert f"--data {kept}" in output


def test_a_failure_is_told_with_the_last_lines_of_the_logs(temporary: Path) -> None:
    with _start(temporary, "--size", "500") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Backfill" in line:
                break
        children = psutil.Process(process.pid).children()
        next(child for child in children if "tests.gmail_server" in child.cmdline()).kill()
        rest, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1, rest
    assert "the demonstration failed: the Gmail server ended by itself" in rest
    assert "--- worker-1.log" in rest
    assert "Traceback" not in rest.partition("---")[0]
    assert _left_of(temporary) == []


def test_a_folder_that_holds_something_is_left_alone(temporary: Path) -> None:
    kept = temporary / "mine.txt"
    kept.write_text("of value")
    with _start(temporary, "--size", "40", "--data", str(temporary)) as process:
        output, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 2, output
    assert "is not empty" in output
    assert [path.name for path in temporary.iterdir()] == ["mine.txt"]


def test_too_few_messages_are_refused_in_words(temporary: Path) -> None:
    with _start(temporary, "--size", "3") as process:
        output, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 2
    assert "at least 40" in output
    assert "Traceback" not in output


def _outcome(missing: int, stranded: int, cases: int) -> Outcome:
    states = dict.fromkeys(map(str, OccurrenceState), 0) | {"routed": 10}
    proof = MailboxProof("a@example.org", 10 + missing, missing, Summary(states, stranded, 10, 5, cases, 1, 0))
    return Outcome([proof], 10, 0, {"new": 5}, cases, 0, {"Volt": 1}, ["a dead letter"])  # type: ignore[list-item]


def test_a_message_that_is_missing_or_stands_still_is_no_success() -> None:
    assert _outcome(0, 0, 1).shortcomings() == []
    assert _outcome(1, 2, 1).unaccounted == 3
    assert _outcome(1, 2, 1).shortcomings() == ["3 messages are unaccounted for"]
    assert _outcome(0, 0, 0).shortcomings() == ["there are no cases"]


def test_every_rule_of_the_demo_compiles() -> None:
    for number, rule in enumerate(make_rules()):
        assert re2.compile(rule["match_subject_pattern"] or "")
        Rule(UUID(int=number), match_subject_pattern=rule["match_subject_pattern"] or "")
