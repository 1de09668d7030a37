"""The supervisor: PostgreSQL, Valkey and Fieldpost's roles on one machine, started, kept alive and stopped in order."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType

import structlog

from deploy.local.account import RunAs, choose, own
from deploy.local.binaries import find_postgres, find_valkey
from deploy.local.layout import DataDir, check_version, check_whole, socket_folder
from deploy.local.lock import DataLock, Endpoints
from deploy.local.postgres import PostgresServer
from deploy.local.processes import Launch, Spawner
from deploy.local.roles import Keeper, Role
from deploy.local.signals import next_stop_signal, stop_signals_blocked
from deploy.local.valkey import ValkeyServer
from pipeline.runtime.errors import UserError

_TICK = timedelta(seconds=0.5)

log = structlog.get_logger()


class Supervisor:
    """Everything Fieldpost needs, as children of this process; a context manager.

    Enter it in the main thread of the launcher, before other threads start. On Linux the children go down by themselves
    when the launcher is killed; elsewhere the next start clears them out. All methods may be called from any thread,
    but `wait_for_stop` from the main one.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        postgres_bin: Path | None = None,
        valkey_program: Path | None = None,
        durable: bool = True,
        postgres_settings: Mapping[str, str] | None = None,
        database_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        """Prepare; nothing is touched before `start`.

        `durable=False` (tests only) lets PostgreSQL skip fsync. A `database_url` or `redis_url` is passed on and the
        embedded server of that kind not started.
        """
        self.data = DataDir.at(data_dir)
        self._postgres_bin, self._valkey_program = postgres_bin, valkey_program
        self._durable, self._postgres_settings = durable, postgres_settings
        self._urls = (database_url, redis_url)
        self._spawner = Spawner()
        self._lock = DataLock(self.data)
        self._guard = threading.RLock()
        self._postgres: Keeper | None = None
        self._valkey: Keeper | None = None
        self._roles: dict[str, Keeper] = {}
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> Supervisor:
        """Start the servers; see `start`."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything; see `stop`."""
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Return where the servers are; only while started."""
        if self._endpoints is None:
            raise RuntimeError("the supervisor is not started")
        return self._endpoints

    def start(self) -> None:
        """Lock the data folder, start both servers, return when both answer.

        Raises UserError, having stopped what it had started, when another supervisor holds the folder, when the folder
        is not usable, or when a server does not start.
        """
        with self._guard:
            self.data.create()
            self._lock.acquire()
            try:
                self._start_servers()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop roles (the latest first), Valkey and PostgreSQL, then release the folder; harmless when stopped."""
        with self._guard, contextlib.ExitStack() as last:
            last.callback(self._lock.release)
            last.callback(self._spawner.close)
            for keeper in filter(None, (self._postgres, self._valkey)):
                keeper.let_go()
                last.callback(keeper.service.stop)
            self._stop_roles()
            self._postgres = self._valkey = self._endpoints = None

    def start_role(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        """Start a process of Fieldpost and keep it alive; its output goes to logs/<name>.log.

        `env` is its whole environment. Raises UserError when the program cannot be started or the name is taken.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
            raise ValueError(f"{name!r} is no name for a role: small letters, digits, dash, dot, underscore")
        with self._guard:
            if name in self._roles:
                raise UserError(f"a role named {name} already runs")
            launch = Launch(tuple(argv), env, self.data.logs / f"{name}.log", signal.SIGTERM, cwd=cwd)
            keeper = Keeper(Role(name, launch, self._spawner))
            keeper.start()
            self._roles[name] = keeper

    def stop_role(self, name: str) -> None:
        """Stop one role and forget it; harmless when there is none of that name."""
        with self._guard:
            keeper = self._roles.pop(name, None)
            if keeper is not None:
                keeper.let_go()
                keeper.service.stop()

    def announce(self, http: str) -> None:
        """Write the console's address into the lock file, for whoever tries a second start."""
        with self._guard:
            if self._lock.holder is not None:
                self._lock.write(replace(self._lock.holder, http=http))

    def pids(self) -> dict[str, int]:
        """Return the process id of everything that runs, by name: postgres, valkey, and the roles."""
        with self._guard:
            found = {keeper.service.name: keeper.service.pid for keeper in self._keepers()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def check(self) -> None:
        """Start again whatever ended by itself; one pass of the watch."""
        with self._guard:
            for keeper in self._keepers():
                keeper.check()

    def supervise(self, stop_event: threading.Event) -> None:
        """Keep everything alive until `stop_event` is set; for callers whose main thread does something else."""
        while not stop_event.wait(_TICK.total_seconds()):
            self.check()

    def wait_for_stop(self) -> signal.Signals:
        """Keep everything alive until SIGINT or SIGTERM comes, and return it; for the main thread.

        Wrap the launcher in `signals.stop_signals_blocked()` so that a signal during the start is not lost or abrupt.
        """
        with stop_signals_blocked():
            while (found := next_stop_signal(_TICK)) is None:
                self.check()
        log.info("stopping", signal=found.name)
        return found

    def stop_postgres(self, *, immediate: bool = False) -> None:
        """Stop PostgreSQL and leave it stopped until `start_postgres`; `immediate` makes the next start recover."""
        with self._guard:
            self._embedded(self._postgres).let_go()
            self._postgres_server().stop(immediate=immediate)

    def kill_postgres(self) -> None:
        """Kill PostgreSQL's main process with SIGKILL and leave it down until `start_postgres`."""
        with self._guard:
            self._embedded(self._postgres).let_go()
            self._postgres_server().kill()

    def start_postgres(self) -> None:
        """Start PostgreSQL after `stop_postgres` or `kill_postgres`; harmless while it runs."""
        with self._guard:
            _start(self._embedded(self._postgres))

    def stop_valkey(self) -> None:
        """Stop Valkey and leave it stopped until `start_valkey`."""
        with self._guard:
            keeper = self._embedded(self._valkey)
            keeper.let_go()
            keeper.service.stop()

    def kill_valkey(self) -> None:
        """Kill Valkey with SIGKILL and leave it down until `start_valkey`."""
        with self._guard:
            keeper = self._embedded(self._valkey)
            keeper.let_go()
            assert isinstance(keeper.service, ValkeyServer)
            keeper.service.kill()

    def start_valkey(self) -> None:
        """Start Valkey after `stop_valkey` or `kill_valkey`; harmless while it runs."""
        with self._guard:
            _start(self._embedded(self._valkey))

    def _start_servers(self) -> None:
        """Start what is not given by a URL and write the addresses into the lock file."""
        database_url, redis_url = self._urls
        check_whole(self.data)
        check_version(self.data, None)
        self.data.create_parts()
        run = socket_folder(self.data)
        if database_url is None:
            self._postgres = Keeper(self._prepare_postgres(run))
            self._postgres.start()
        else:
            own(RunAs(os.geteuid(), os.getegid()), run)
        if redis_url is None:
            program = find_valkey(self._valkey_program)
            self._valkey = Keeper(ValkeyServer(self.data, run, program, self._spawner))
            self._valkey.start()
        embedded = Endpoints.on_sockets(run)
        self._endpoints = Endpoints(database_url or embedded.database_url, redis_url or embedded.redis_url)
        assert self._lock.holder is not None
        found = self._endpoints
        self._lock.write(
            replace(
                self._lock.holder,
                database_url=found.database_url,
                redis_url=found.redis_url,
                sockets=os.fspath(run),
            )
        )

    def _prepare_postgres(self, run: Path) -> PostgresServer:
        """Find PostgreSQL's programs, refuse data they cannot read, and decide the account it runs as."""
        binaries = find_postgres(self._postgres_bin)
        check_version(self.data, binaries.major)
        outside = [] if run == self.data.run else [run.parent]
        return PostgresServer(
            self.data, run, choose(self.data, outside), binaries, self._spawner,
            durable=self._durable, settings=self._postgres_settings,
        )  # fmt: skip

    def _stop_roles(self) -> None:
        """Ask all roles to stop, the latest first, then wait for each."""
        keepers = list(reversed(self._roles.values()))
        for keeper in keepers:
            keeper.let_go()
            assert isinstance(keeper.service, Role)
            keeper.service.ask_to_stop()
        for keeper in keepers:
            keeper.service.stop()
        self._roles.clear()

    def _keepers(self) -> list[Keeper]:
        """Return all keepers in the order of starting."""
        return [*filter(None, (self._postgres, self._valkey)), *self._roles.values()]

    def _embedded(self, keeper: Keeper | None) -> Keeper:
        """Return the keeper of an embedded server, which must be running under this supervisor."""
        if keeper is None:
            raise RuntimeError("that server is not embedded, or the supervisor is not started")
        return keeper

    def _postgres_server(self) -> PostgresServer:
        """Return the embedded PostgreSQL."""
        service = self._embedded(self._postgres).service
        assert isinstance(service, PostgresServer)
        return service


def _start(keeper: Keeper) -> None:
    """Start a server that was stopped on purpose, or that ended by itself and was not yet started again."""
    if keeper.service.pid is None or keeper.service.exit_code() is not None:
        keeper.start()
