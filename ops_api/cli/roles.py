"""Roles as processes: the argument lists that start them, and a crew of workers for the life of one command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from deploy.local.processes import Launch, Spawner, tail
from deploy.local.roles import Keeper, Role
from deploy.local.signals import stop_signals_blocked
from models.queries import queue
from ops_api.cli.output import remark
from ops_api.cli.session import Runtime, child_environment
from pipeline.runtime.errors import UserError

#: One more than the cores of a small machine keep busy; what import and --wait start.
CREW = 2
_START_LIMIT = timedelta(seconds=60)
_POLL = timedelta(milliseconds=50)


def command_of(role: str, *arguments: str) -> list[str]:
    """Return the command line of a role in this same Python; -P, since the folder it starts in holds others' files."""
    return [sys.executable, "-P", "-m", "ops_api.cli", role, *arguments]


class Crew:
    """Workers as children of this command: restarted when they die, gone when it ends."""

    def __init__(self, runtime: Runtime, size: int) -> None:
        self._runtime = runtime
        self._spawner = Spawner()
        env = child_environment(runtime.settings)
        self._keepers = [
            Keeper(
                Role(name, Launch(tuple(command_of("worker")), env, runtime.data.logs / f"{name}.log"), self._spawner)
            )
            for name in (f"command-worker-{number}" for number in range(1, size + 1))
        ]

    def start(self) -> None:
        """Start every worker and return when all hold the proof of their life; raises `UserError` when one does not."""
        self._runtime.data.create()
        self._runtime.data.create_parts()
        for keeper in self._keepers:
            keeper.start()
        deadline = self._runtime.clock.monotonic() + _START_LIMIT.total_seconds()
        while not self._are_live():
            self._check_start(self._runtime.clock.monotonic() > deadline)
            self._runtime.clock.wait(_POLL)

    def check(self) -> None:
        """Start again whoever died."""
        for keeper in self._keepers:
            keeper.check()

    def stop(self) -> None:
        """Ask all to stop, then wait for each."""
        for keeper in self._keepers:
            keeper.let_go()
            assert isinstance(keeper.service, Role)
            keeper.service.ask_to_stop()
        for keeper in self._keepers:
            keeper.service.stop()
        self._spawner.close()

    def _are_live(self) -> bool:
        with self._runtime.db.begin() as connection:
            live = {worker.pid for worker in queue.live_workers(connection)}
        return all(keeper.service.pid in live for keeper in self._keepers)

    def _check_start(self, is_late: bool) -> None:
        for keeper in self._keepers:
            if is_late or keeper.service.exit_code() is not None:
                log = self._runtime.data.logs / f"{keeper.service.name}.log"
                raise UserError(f"a worker did not start; the end of {log}:\n{tail(log)}")


@contextmanager
def workers_for(runtime: Runtime) -> Iterator[Crew | None]:
    """Give the block live workers: None when some live already, else a crew of its own."""
    with runtime.db.begin() as connection:
        live = queue.live_workers(connection)
    if live:
        yield None
        return
    if not runtime.is_own:
        remark(f"no worker is alive: {CREW} are started for this command")
    crew = Crew(runtime, CREW)
    try:
        crew.start()
        yield crew
    finally:
        with stop_signals_blocked():
            crew.stop()
