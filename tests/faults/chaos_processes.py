"""The processes of a chaos run, as the harness keeps them: three workers, the API, and more schedulers now and then."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pipeline.runtime.settings import Settings
from tests.faults import mutations
from tests.faults.chaos_worker import POISONED
from tests.worker_process import _CHECKOUT, _environment

_PATIENCE = 60
_TELLING = (
    *("fence.refused", "jobs.reclaimed", "job.buried", "batch.split", "save.split", "database.waiting"),
    *("worker.waits_for_database", "worker.lock_lost", "broker.wiped", "broker.silent", "broker.junk"),
)


@dataclass(eq=False)
class Process:
    """One process of the product; `ended` is its exit code, or minus the signal that ended it."""

    pid: int
    role: str
    log: Path
    ended: int | None = None
    #: We ended it ourselves, or asked it to end.
    is_expected: bool = False
    frozen: bool = False


class Mother:
    """Forks the product's processes through `tests.faults.chaos_worker`; all of them die with it."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._folder = folder
        environment = _environment(settings) | {"ALLOW_DEV_LOGIN": "false", "PYTHONWARNINGS": "ignore"}
        self._log = (folder / "mother.log").open("ab")
        argv = (sys.executable, "-m", *mutations.as_broken("tests.faults.chaos_worker", ()))
        self._process = subprocess.Popen(
            argv, cwd=_CHECKOUT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self._born: queue.Queue[int] = queue.Queue()
        self._guard = threading.Lock()
        self._by_pid: dict[int, Process] = {}
        self._early: dict[int, int] = {}
        self.all: list[Process] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def start(self, role: str, **wish: Any) -> Process:
        """Fork one process; it is at work some moments later."""
        with self._guard:
            log = self._folder / f"{role}-{len(self.all)}.log"
            assert self._process.stdin is not None
            self._process.stdin.write(orjson.dumps({"role": role, "log": str(log), **wish}) + b"\n")
            self._process.stdin.flush()
            found = Process(self._born.get(timeout=_PATIENCE), role, log)
            found.ended = self._early.pop(found.pid, None)
            self._by_pid[found.pid] = found
            self.all.append(found)
            return found

    def close(self) -> None:
        """Kill everything."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = orjson.loads(line)
            if "ended" not in said:
                self._born.put(said["pid"])
            elif said["pid"] in self._by_pid:
                self._by_pid[said["pid"]].ended = said["ended"]
            else:
                self._early[said["pid"]] = said["ended"]


@dataclass
class Slot:
    """A place that a supervisor keeps filled; a worker in it may see the servers through a proxy."""

    settings: dict[str, Any] = field(default_factory=dict)
    process: Process | None = None


class Crew:
    """Three workers and an API, started again whenever they have ended; any thread may call."""

    def __init__(self, mother: Mother, proxied: dict[str, Any], blob_settings: dict[str, Any] | None = None) -> None:
        self._mother = mother
        self._guard = threading.RLock()
        self._stop = threading.Event()
        self.slots = [Slot(blob_settings or {}), Slot(blob_settings or {}), Slot(proxied | (blob_settings or {}))]
        self.port = _free_port()
        self.api: Process | None = None
        self.others: list[Process] = []
        #: How many ended though nobody had ended them.
        self.deaths: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start all, and keep them from now on."""
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        """Keep nothing alive any more."""
        self._stop.set()
        self._thread.join(_PATIENCE)

    def workers(self) -> list[Process]:
        """Return the workers that have not ended."""
        with self._guard:
            found = [slot.process for slot in self.slots if slot.process is not None]
            return [process for process in found if process.ended is None]

    def kill(self, process: Process) -> None:
        """End a process at once."""
        process.is_expected = True
        _signal(process, signal.SIGKILL)

    def terminate(self, process: Process) -> None:
        """Ask a process to end in order."""
        process.is_expected = True
        _signal(process, signal.SIGTERM)

    def freeze(self, process: Process, seconds: float) -> None:
        """Stop a process for some seconds; returns at once."""
        process.frozen = True
        _signal(process, signal.SIGSTOP)
        timer = threading.Timer(seconds, self._wake, [process])
        timer.daemon = True
        timer.start()

    def replace(self, process: Process, **wish: Any) -> None:
        """Kill a worker and put one with other wishes in its place."""
        with self._guard:
            self.kill(process)
            slot = next((slot for slot in self.slots if slot.process is process), None)
            if slot is not None:
                slot.process = self._mother.start("worker", settings=slot.settings, **wish)

    def more_schedulers(self, count: int, seconds: float) -> None:
        """Start schedulers beside those in the workers, and kill them some seconds later; returns at once."""
        found = [self._mother.start("schedule") for _ in range(count)]
        timer = threading.Timer(seconds, lambda: [self.kill(process) for process in found])
        timer.daemon = True
        timer.start()

    def thaw(self) -> None:
        """Wake everything that is frozen."""
        for process in self._mother.all:
            if process.frozen:
                self._wake(process)

    def said(self) -> Counter[str]:
        """Count what the processes logged about faults: that these were felt shows here."""
        texts = [
            process.log.read_text(encoding="utf-8", errors="replace")
            for process in self._mother.all
            if process.log.exists()
        ]
        return Counter({words: number for words in _TELLING if (number := sum(said.count(words) for said in texts))})

    def strange_ends(self) -> list[str]:
        """Return the processes that ended by themselves without a mail's doing, with the last line they said."""
        return [
            f"{process.role} ended by itself with {process.ended}: {_last(process.log)}"
            for process in self._mother.all
            if process.ended is not None and not process.is_expected and not _died_of_mail(process)
        ]

    def late_ends(self) -> list[str]:
        """Return the processes that were asked to end and did not end with 0; a mail may have been quicker."""
        return [
            f"{process.role} ended with {process.ended} when asked to stop: {_last(process.log)}"
            for process in self._mother.all
            if process.is_expected
            and process.ended not in (None, 0, POISONED, -signal.SIGKILL)
            and not _had_not_begun(process)
        ]

    def _wake(self, process: Process) -> None:
        process.frozen = False
        _signal(process, signal.SIGCONT)

    def _keep(self) -> None:
        while not self._stop.wait(0.05):
            self._tick()

    def _tick(self) -> None:
        with self._guard:
            for slot in self.slots:
                if slot.process is None or slot.process.ended is not None:
                    slot.process = self._mother.start("worker", settings=slot.settings)
            if self.api is None or self.api.ended is not None:
                self.api = self._mother.start("api", port=self.port)


def _signal(process: Process, number: signal.Signals) -> None:
    if process.ended is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _died_of_mail(process: Process) -> bool:
    return process.role == "worker" and process.ended == POISONED


def _had_not_begun(process: Process) -> bool:
    """Say whether it was asked to stop before its first line: it held nothing, and ended as any program does."""
    return process.ended == -signal.SIGTERM and not _tail(process.log)


def _last(log: Path) -> str:
    lines = _tail(log).decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "(it said nothing)"


def _tail(log: Path) -> bytes:
    return log.read_bytes()[-4000:] if log.exists() else b""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def now() -> float:
    """Return seconds since 1970 as the database's clock_timestamp() on the same machine gives them."""
    return time.time()
