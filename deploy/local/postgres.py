"""Embedded PostgreSQL: make its data folder, start it, know when it is ready, stop it, clear up after a crash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import structlog

from deploy.local.account import RunAs, may_run, own
from deploy.local.binaries import PostgresBinaries, describe
from deploy.local.layout import POSTGRES_SOCKET, DataDir, check_version, told, write_version
from deploy.local.processes import Launch, Spawner, advice, clear_out, end, kill_session, size, tail
from pipeline.runtime.errors import UserError

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/local/bin:/usr/bin:/bin"}
_POLL = 0.01
_START_LIMIT = timedelta(minutes=10)  # crash recovery after a heavy load replays up to max_wal_size
_STOP = ((signal.SIGINT, timedelta(seconds=20)), (signal.SIGQUIT, timedelta(seconds=10)))
_STOP_NOW = ((signal.SIGQUIT, timedelta(seconds=10)),)
_LEFT_OVER = ((signal.SIGINT, timedelta(seconds=10)), (signal.SIGQUIT, timedelta(seconds=10)))
_SMALL_SHM = 256_000_000

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "10s",
    # A backup that receives no more must not fill the disk with log: beyond this it begins anew.
    "max_slot_wal_keep_size": "4GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

log = structlog.get_logger()


class PostgresServer:
    """One PostgreSQL over a data folder; its data folder's lock must be held by this process."""

    name = "postgres"

    def __init__(
        self,
        data: DataDir,
        run: Path,
        run_as: RunAs,
        binaries: PostgresBinaries,
        spawner: Spawner,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        start_limit: timedelta = _START_LIMIT,
    ) -> None:
        """Prepare a server with its socket in `run`; `durable=False` is for tests, `settings` win over the defaults.

        `start_limit` is how long a start may take: bringing an old copy forward takes longer than recovering.
        """
        self._data, self._run, self._run_as, self._spawner = data, run, run_as, spawner
        self._binaries = binaries
        self._durable = durable
        self._start_limit = start_limit
        self._settings = {**_SETTINGS, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self._log = data.logs / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the server's process id, None when it was not started or was stopped."""
        return self._process.pid if self._process else None

    def exit_code(self) -> int | None:
        """Return the code of a server that ended by itself, None while it runs or when it is stopped on purpose."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the server and return when it takes connections; raises UserError with its last words otherwise."""
        check_version(self._data, self._binaries.major)
        own(self._run_as, self._data.pg)
        own(self._run_as, self._run)
        self._binaries = reachable(self._binaries, self._run_as, self._data)
        if not (self._data.pgdata / "PG_VERSION").exists():
            self._initdb()
        write_version(self._data, self._binaries.major)
        self._clear_stale()
        offset = size(self._log)
        self._process = self._spawner.spawn(self._launch(self._server_argv(), signal.SIGINT))
        self._await_ready(self._process, offset)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server with a checkpoint, ending open transactions; `immediate` leaves a crash to recover from."""
        if self._process is not None:
            end(self._process, _STOP_NOW if immediate else _STOP)
            self._process = None

    def kill(self) -> None:
        """Kill the server process alone with SIGKILL, as the kernel does when memory runs out; for tests of faults."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _launch(self, argv: list[str], death_signal: signal.Signals) -> Launch:
        """Return the launch of one of PostgreSQL's programs as the right account."""
        return Launch(
            argv=(*self._run_as.prefix, *argv),
            env=_ENVIRONMENT,
            log=self._log,
            death_signal=death_signal,
            account=self._run_as.account,
            cwd=self._data.pg,
        )

    def _initdb(self) -> None:
        """Make the data folder beside its place and move it there, so that a crash leaves nothing half-made."""
        fresh = self._data.pg / "pgdata.new"
        with told(self._data.path):
            if fresh.exists():
                shutil.rmtree(fresh)
        offset = size(self._log)
        process = self._spawner.spawn(self._launch(self._initdb_argv(fresh), signal.SIGTERM))
        try:
            code = process.wait()
        except BaseException:
            kill_session(process)
            process.wait()
            raise
        if code != 0:
            raise UserError(self._failure("initdb", code, tail(self._log, offset)))
        with told(self._data.path):
            fresh.rename(self._data.pgdata)

    def _initdb_argv(self, folder: Path) -> list[str]:
        """Return initdb's command: peers on the socket are trusted (its folder is private), UTF-8, page checksums."""
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        argv = [os.fspath(self._binaries.initdb), "-D", os.fspath(folder), "-U", "app", "--auth-local=trust"]
        argv += ["--auth-host=scram-sha-256", "-E", "UTF8", "--data-checksums", "--no-instructions"]
        argv += locale if self._binaries.major >= 17 else ["--locale=C.UTF-8"]
        return argv if self._durable else [*argv, "--no-sync"]

    def _server_argv(self) -> list[str]:
        """Return the server's command with every setting."""
        settings = {**self._compression(), **_shared_memory(), **self._settings}
        settings["unix_socket_directories"] = os.fspath(self._run)
        argv = [os.fspath(self._binaries.postgres), "-D", os.fspath(self._data.pgdata)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def _compression(self) -> dict[str, str]:
        """Return the setting for compressed WAL when this build knows a fast method, else none."""
        account = self._run_as.account
        for method in ("zstd", "lz4"):
            probe = [*self._run_as.prefix, os.fspath(self._binaries.postgres), "-D", os.fspath(self._data.pgdata)]
            done = subprocess.run(
                [*probe, "-C", "wal_compression", "-c", f"wal_compression={method}"],
                user=account.uid if account else None, group=account.gid if account else None,
                extra_groups=() if account else None, cwd="/", env=_ENVIRONMENT, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=30,
            )  # fmt: skip
            if done.returncode == 0:
                return {"wal_compression": method}
        return {}

    def _clear_stale(self) -> None:
        """Remove the locks of a server that is gone; PostgreSQL itself would believe any process with that pid."""
        stale = [self._data.pgdata / "postmaster.pid", self._run / f"{POSTGRES_SOCKET}.lock"]
        if not any(os.path.lexists(path) for path in stale):
            return
        clear_out(self._data.pgdata, "postgres", _LEFT_OVER)
        with told(self._data.path):
            for path in (*stale, self._run / POSTGRES_SOCKET):
                path.unlink(missing_ok=True)

    def _await_ready(self, process: subprocess.Popen[bytes], offset: int) -> None:
        """Return when the server says it is ready; stop it and raise UserError when it ends or takes too long."""
        try:
            self._poll_ready(process, offset)
        except BaseException:
            end(process, _STOP)
            self._process = None
            raise

    def _poll_ready(self, process: subprocess.Popen[bytes], offset: int) -> None:
        """Return when the server says it is ready; raises UserError when it ends or takes too long."""
        pid_file = self._data.pgdata / "postmaster.pid"
        deadline = time.monotonic() + self._start_limit.total_seconds()
        while postmaster_status(pid_file, process.pid) != "ready":
            code = process.poll()
            if code is not None or time.monotonic() > deadline:
                raise UserError(self._failure("PostgreSQL", code, tail(self._log, offset)))
            time.sleep(_POLL)

    def _failure(self, what: str, code: int | None, output: str) -> str:
        """Say that a program failed, with its last lines and what to do."""
        how = "did not become ready in time" if code is None else f"did not start (exit code {code})"
        return (
            f"{what} {how}; {advice(output, self._data.path, f'the whole log is {self._log}')}\n"
            f"its last lines:\n{output or '(it said nothing)'}"
        )


def reachable(binaries: PostgresBinaries, run_as: RunAs, data: DataDir) -> PostgresBinaries:
    """Return programs that the server's account can run: those found, else a copy of them in the data folder."""
    if run_as.account is None or may_run(run_as.account, binaries.postgres):
        return binaries
    if not binaries.movable:
        raise UserError(
            f"the account {run_as.account.name} cannot run {binaries.postgres}; open that folder to it, "
            "or start Fieldpost as an ordinary user"
        )
    target = data.server / binaries.version
    with told(data.path):
        if not target.exists():
            _copy(binaries, target)
    copied = describe(binaries.copied_folder(target))
    if copied is None or not may_run(run_as.account, copied.postgres):
        raise UserError(
            f"the account {run_as.account.name} cannot run the programs copied to {target}; is it mounted noexec?"
        )
    return copied


def _copy(binaries: PostgresBinaries, target: Path) -> None:
    """Copy the server's programs, replacing copies of other versions; a crash leaves nothing half-made."""
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(mode=0o755)
    target.parent.chmod(0o755)
    fresh = target.with_name("copying")
    binaries.copy_to(fresh)
    fresh.rename(target)


def postmaster_status(pid_file: Path, pid: int | None = None) -> str | None:
    """Return PostgreSQL's own status (line 8 of postmaster.pid); None when missing or written by another than `pid`."""
    try:
        lines = pid_file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    if len(lines) < 8 or (pid is not None and lines[0].strip() != str(pid)):
        return None
    return lines[7].strip()


def _shared_memory() -> dict[str, str]:
    """Return the setting that keeps parallel queries off a tiny /dev/shm, as containers have."""
    try:
        room = os.statvfs("/dev/shm")  # noqa: S108  # only measured
    except OSError:
        return {}
    return {"dynamic_shared_memory_type": "mmap"} if room.f_frsize * room.f_blocks < _SMALL_SHM else {}
