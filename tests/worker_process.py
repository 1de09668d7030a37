"""Workers as child processes: started, killed, frozen and stopped by tests, and gone with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from deploy.local.processes import Launch, Spawner, kill_session, tail
from pipeline.runtime.settings import Settings, environment
from tests.faults import mutations

_CHECKOUT = Path(__file__).resolve().parents[1]
#: No wait of a test is meant to last this long; a loaded machine may need it.
PATIENCE = 120.0


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Return when `condition` holds; AssertionError saying `what` was waited for after `seconds`."""
    waiting = Retrying(
        retry=retry_if_result(lambda found: not found), stop=stop_after_delay(seconds), wait=wait_fixed(0.01)
    )
    try:
        waiting(condition)
    except RetryError:
        raise AssertionError(f"waited {seconds:.0f} s in vain for {what}") from None


class WorkerProcesses:
    """The children of one test. They die with the test process, whatever ends it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._environment = _environment(settings)
        self._folder = folder
        self._spawner = Spawner()
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, module: str = "actors", *arguments: str) -> subprocess.Popen[bytes]:
        """Start `python -m module`; it answers doorbells some moments later."""
        log = self.log_of(len(self._children))
        argv = (sys.executable, "-m", *mutations.as_broken(module, arguments))
        child = self._spawner.spawn(Launch(argv, self._environment, log, signal.SIGKILL, cwd=self._folder))
        self._children.append(child)
        return child

    def keep(self, count: int, module: str = "actors", *arguments: str) -> None:
        """Start as many as have ended, so that `count` run: what a supervisor does."""
        for _ in range(count - len(self.running())):
            self.start(module, *arguments)

    def running(self) -> list[subprocess.Popen[bytes]]:
        """Return the children that have not ended."""
        return [child for child in self._children if child.poll() is None]

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        """End a child by SIGKILL, at once."""
        kill_session(child)
        child.wait()

    def terminate(self, child: subprocess.Popen[bytes], seconds: float) -> float:
        """Send SIGTERM; return how many seconds it took to end with exit code 0. AssertionError otherwise."""
        asked_at = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(seconds) == 0, self.words()
        return time.monotonic() - asked_at

    def is_frozen(self, child: subprocess.Popen[bytes]) -> bool:
        """Say whether a child is stopped by SIGSTOP; AssertionError when it has ended instead."""
        assert child.poll() is None, self.words()
        return psutil.Process(child.pid).status() == psutil.STATUS_STOPPED

    def has_said(self, child: subprocess.Popen[bytes], words: str) -> bool:
        """Say whether a child has logged some words."""
        log = self.log_of(self._children.index(child))
        return words in log.read_text(encoding="utf-8", errors="replace")

    def log_of(self, number: int) -> Path:
        """Return the log of the child that was started as the given number, from 0."""
        return self._folder / f"worker-{number}.log"

    def words(self) -> str:
        """Return the ends of all logs, for whoever reads of a failure."""
        return "\n".join(
            f"--- worker-{number}\n{tail(self.log_of(number), lines=40)}" for number in range(len(self._children))
        )

    def close(self) -> None:
        """Kill what still runs."""
        for child in self._children:
            self.kill(child)
        self._spawner.close()


@contextmanager
def worker_processes(settings: Settings, folder: Path) -> Iterator[WorkerProcesses]:
    """Give the block its workers; their last words are printed at its end, which shows when the test failed."""
    workers = WorkerProcesses(settings, folder)
    try:
        yield workers
    finally:
        workers.close()
        print(workers.words())


def _environment(settings: Settings) -> dict[str, str]:
    theirs = {name: value for name, value in environment().items() if not name.upper().startswith("FIELDPOST_")}
    assert settings.secret_key is not None
    return {
        **theirs,
        "PYTHONPATH": str(_CHECKOUT),
        "FIELDPOST_DATABASE_URL": str(settings.database_url),
        "FIELDPOST_REDIS_URL": str(settings.redis_url),
        "FIELDPOST_BLOB_URL": str(settings.blob_url),
        "FIELDPOST_DATA_DIR": str(settings.data_dir),
        "FIELDPOST_SECRET_KEY": settings.secret_key.get_secret_value(),
        "FIELDPOST_HISTORY_INTERVAL_SECONDS": str(settings.history_interval_seconds),
        "FIELDPOST_QUOTA_MINUTE_SECONDS": str(settings.quota_minute_seconds),
    }
