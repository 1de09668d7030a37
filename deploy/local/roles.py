"""Roles (workers, the API) as children of the supervisor, and the rule by which anything that died is started again."""

from __future__ import annotations

import signal
import subprocess
import time
from datetime import timedelta
from typing import Protocol

import structlog

from deploy.local.processes import Launch, Spawner, end, kill_session
from pipeline.runtime.errors import UserError

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0
_HEALTHY_AFTER = 60.0
_STOP = ((signal.SIGTERM, timedelta(seconds=30)),)

log = structlog.get_logger()


class Service(Protocol):
    """Something that runs as a child process."""

    name: str

    @property
    def pid(self) -> int | None:
        """Return the process id, None when it is stopped."""

    def exit_code(self) -> int | None:
        """Return the code of a process that ended by itself, None while it runs or is stopped on purpose."""

    def start(self) -> None:
        """Start it; raises UserError when that fails."""

    def stop(self) -> None:
        """Stop it and wait; harmless when it does not run."""


class Role:
    """One of Fieldpost's own processes, as the caller described it."""

    def __init__(self, name: str, launch: Launch, spawner: Spawner) -> None:
        """Prepare the role; nothing is started yet."""
        self.name = name
        self._launch, self._spawner = launch, spawner
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id, None when it is stopped."""
        return self._process.pid if self._process else None

    def exit_code(self) -> int | None:
        """Return the code of a process that ended by itself, None while it runs or is stopped on purpose."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the process, ending what a dead one left behind; raises UserError when it cannot be started."""
        if self._process is not None:
            kill_session(self._process)
        self._process = self._spawner.spawn(self._launch)

    def ask_to_stop(self) -> None:
        """Send SIGTERM without waiting."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM, wait, and kill what is left of its session."""
        if self._process is not None:
            end(self._process, _STOP)
            kill_session(self._process)
            self._process = None


class Keeper:
    """Keeps one service alive: what ends by itself is started again, with growing pauses while it keeps ending."""

    def __init__(self, service: Service) -> None:
        """Watch `service`, which runs or will be started by `start`."""
        self.service = service
        self.wanted = False
        self.restarts = 0
        self._delay = _FIRST_DELAY
        self._started = 0.0
        self._again_at: float | None = None

    def start(self) -> None:
        """Start the service and keep it alive from now on."""
        self.service.start()
        self._started, self.wanted, self._again_at = time.monotonic(), True, None

    def let_go(self) -> None:
        """Keep it alive no longer; call this before stopping it on purpose."""
        self.wanted, self._again_at = False, None

    def check(self) -> None:
        """Start the service again if it ended and its pause is over; one log line for the end, one for the start."""
        code = self.service.exit_code()
        if not self.wanted or (code is None and self._again_at is None):
            return
        now = time.monotonic()
        if self._again_at is None:
            self._note_end(code, now)
        if self._again_at is not None and now >= self._again_at:
            self._restart()

    def _note_end(self, code: int | None, now: float) -> None:
        """Log an end and plan the next start: at once after a healthy life, else after a growing pause."""
        healthy = now - self._started >= _HEALTHY_AFTER
        self._delay = _FIRST_DELAY if healthy else min(self._delay * 2, _LONGEST_DELAY)
        self._again_at = now if healthy or self.restarts == 0 else now + self._delay
        log.warning("ended_by_itself", service=self.service.name, pid=self.service.pid, exit_code=code)

    def _restart(self) -> None:
        """Start the service again, or plan another try when that fails."""
        try:
            self.start()
        except UserError as error:
            self._delay = min(self._delay * 2, _LONGEST_DELAY)
            self._again_at = time.monotonic() + self._delay
            log.error("restart_failed", service=self.service.name, error=str(error), next_try_in_seconds=self._delay)  # noqa: TRY400
        else:
            self.restarts += 1
            log.info("started_again", service=self.service.name, pid=self.service.pid, restarts=self.restarts)
