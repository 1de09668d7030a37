"""The command as people run it: real processes, embedded servers, the whole chain."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from urllib.parse import urlsplit

import pytest

from pipeline.runtime.settings import Settings
from tests.adapters.mail import letter, write_mbox
from tests.cli.conftest import Command, Result

_ARGV = [sys.executable, "-m", "ops_api.cli"]
_ADDRESS = "support@example.org"


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with a short path."""
    path = Path(tempfile.mkdtemp(prefix="fp"))
    yield path
    rmtree(path)


def _run(*arguments: object) -> Result:
    argv = [*_ARGV, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    return Result(done.returncode, done.stdout, done.stderr)


@contextmanager
def _started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start a command; whatever the test does, it is gone afterwards."""
    argv = [*_ARGV, *map(str, arguments)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_mail_is_imported_once_and_audited(data: Path, tmp_path: Path) -> None:
    mail = [letter(number) for number in range(20)]
    first = write_mbox(tmp_path / "first.mbox.gz", mail[:15])
    second = write_mbox(tmp_path / "second.mbox", mail[10:])
    options = ("--mailbox", _ADDRESS, "--data", data, "--json")

    result = _run("import", first, *options)
    found = result.json
    assert result.code == 0, result.err
    assert len(result.out.splitlines()) == 1
    states = ["seen", "fetched", "parsed", "stitched", "routed", "gone", "ignored", "quarantined"]
    assert found["by_state"] == dict.fromkeys(states, 0) | {"routed": 15}
    assert (found["mailbox"], found["provider_ids"], found["unaccounted"]) == (_ADDRESS, 15, 0)
    assert (found["messages"], found["tickets"], found["dead_letters"]) == (15, 15, 0)
    assert found["seconds"] > 0
    assert found["messages_per_second"] > 0

    first.unlink()
    grown = _run("import", second, *options)
    assert grown.code == 0, grown.err
    assert (grown.json["provider_ids"], grown.json["messages"]) == (10, 20)
    assert "first.mbox.gz does not exist" in grown.err

    again = _run("import", second, *options)
    assert (again.json["messages"], again.json["tickets"], again.json["messages_per_second"]) == (20, 20, 0.0)

    audit = _run("audit", _ADDRESS, "--data", data, "--json")
    assert (audit.code, audit.json["missing"], audit.json["vanished"]) == (0, [], 10)


def test_a_file_that_is_no_mail_is_refused_before_anything_is_made(data: Path, fieldpost: Command) -> None:
    picture = data / "photo.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    folder = data / "inner"
    result = fieldpost("import", picture, "--mailbox", _ADDRESS, "--data", folder)
    assert result.code == 2
    assert "a PNG image" in result.err
    assert not folder.exists()


def test_a_wrong_address_stores_nothing(fieldpost: Command, served: Settings, tmp_path: Path) -> None:
    mail = write_mbox(tmp_path / "a.mbox", [letter(1)])
    assert fieldpost("import", mail, "--mailbox", "nobody").code == 2
    assert fieldpost("mailbox", "list", "--json").json == []


def test_everything_runs_under_up_and_a_second_one_is_told_where(
    data: Path, tmp_path: Path, fieldpost: Command
) -> None:
    mail = write_mbox(tmp_path / "a.mbox", [letter(number) for number in range(5)])
    with _started("up", "--data", data, "--port", "0", "--workers", "1") as process:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        assert ready[0] == "ready"
        url = urlsplit(ready[1])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()

        second = fieldpost("up", "--data", data)
        assert second.code == 2
        assert ready[1] in second.err
        assert f"process {process.pid}" in second.err

        imported = fieldpost("import", mail, "--mailbox", _ADDRESS, "--data", data, "--json")
        assert (imported.code, imported.json["messages"]) == (0, 5)
        assert fieldpost("status", _ADDRESS, "--data", data, "--json").json["live_workers"] == 1

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_ctrl_c_ends_a_waiting_import_with_130_and_no_traceback(
    served: Settings, tmp_path: Path, fieldpost: Command
) -> None:
    mail = write_mbox(tmp_path / "a.mbox", [letter(1)])
    later = write_mbox(tmp_path / "b.mbox", [letter(2)])
    assert fieldpost("import", mail, "--mailbox", _ADDRESS).code == 0
    fieldpost("mailbox", "pause", _ADDRESS)
    with _started("import", later, "--mailbox", _ADDRESS) as process:
        assert process.stderr is not None
        said = ""
        while "the mailbox is paused" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        os.kill(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in said + rest
    workers = [json.loads(line) for line in fieldpost("status", _ADDRESS, "--json").out.splitlines()][-1]
    assert workers["live_workers"] == 0
