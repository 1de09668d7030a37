"""The import command itself, with its own servers and workers killed under it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.adapters.mail import letter, write_mbox
from tests.worker_process import until

pytestmark = pytest.mark.faults

_MAILS = 1_500


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="fpi-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _has_stored(data: Path) -> bool:
    return any((data / "blobs" / "raw").glob("*/*.zst"))


def _kill(parent: psutil.Process, what: str) -> None:
    for child in parent.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # of a family that loses members all the time
            if what in " ".join(child.cmdline()):
                child.kill()
                return
    raise AssertionError(f"no {what} to kill")


def test_an_import_outlives_the_death_of_its_worker_its_broker_and_its_database(folder: Path) -> None:
    box, data = folder / "mail.mbox", folder / "data"
    write_mbox(box, [letter(number) for number in range(_MAILS)])
    argv = [sys.executable, "-m", "ops_api.cli", "import", str(box), "--mailbox", "a@example.org", "--data", str(data)]
    with subprocess.Popen([*argv, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as command:
        until(lambda: _has_stored(data), "the first mail to be stored")
        family = psutil.Process(command.pid)
        _kill(family, "ops_api.cli worker")
        os.kill(int((data / "pg" / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        _kill(family, "valkey-server")
        said, _ = command.communicate(timeout=180)
    found = json.loads(said.splitlines()[-1])
    assert command.returncode == 0
    assert (found["provider_ids"], found["unaccounted"], found["dead_letters"]) == (_MAILS, 0, 0)
    assert found["by_state"]["routed"] == found["messages"] == _MAILS
