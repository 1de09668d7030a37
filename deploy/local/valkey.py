"""Embedded Valkey: started on a unix socket with its append-only file on, stopped, cleared up after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.layout import VALKEY_SOCKET, DataDir, told
from deploy.local.processes import Launch, Spawner, advice, clear_out, end, size, tail
from pipeline.runtime.errors import UserError

_POLL = 0.01
_START_LIMIT = timedelta(minutes=5)  # a large append-only file is read first
_STOP = ((signal.SIGTERM, timedelta(seconds=20)),)


class ValkeyServer:
    """One Valkey over a data folder; its data folder's lock must be held by this process."""

    name = "valkey"

    def __init__(self, data: DataDir, run: Path, program: Path, spawner: Spawner) -> None:
        """Prepare a server with its socket in `run`."""
        self._data, self._program, self._spawner = data, program, spawner
        self._socket = run / VALKEY_SOCKET
        self._log = data.logs / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Return the server's process id, None when it was not started or was stopped."""
        return self._process.pid if self._process else None

    def exit_code(self) -> int | None:
        """Return the code of a server that ended by itself, None while it runs or when it is stopped on purpose."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the server and return when it answers; raises UserError with its last words when it does not."""
        clear_out(self._data.valkey, "valkey-server", _STOP)
        with told(self._data.path):
            self._socket.unlink(missing_ok=True)
        offset = size(self._log)
        launch = Launch(self._argv(), {"LC_ALL": "C", "TZ": "UTC"}, self._log, cwd=self._data.valkey)
        self._process = self._spawner.spawn(launch)
        self._await_ready(self._process, offset)

    def stop(self) -> None:
        """Stop the server; what it holds is on disk then."""
        if self._process is not None:
            end(self._process, _STOP)
            self._process = None

    def kill(self) -> None:
        """Kill the server with SIGKILL; for tests of faults."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _argv(self) -> tuple[str, ...]:
        """Return the server's command: no TCP port, all of it in the append-only file, nothing ever evicted."""
        settings = {
            "port": "0",
            "unixsocket": os.fspath(self._socket),
            "unixsocketperm": "700",
            "dir": os.fspath(self._data.valkey),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return (os.fspath(self._program), *(part for name, value in settings.items() for part in (f"--{name}", value)))

    def _await_ready(self, process: subprocess.Popen[bytes], offset: int) -> None:
        """Return when the server answers PING; stop it and raise UserError when it ends or takes too long."""
        try:
            self._poll_ready(process, offset)
        except BaseException:
            end(process, _STOP)
            self._process = None
            raise

    def _poll_ready(self, process: subprocess.Popen[bytes], offset: int) -> None:
        """Return when the server answers PING; raises UserError when it ends or takes too long."""
        deadline = time.monotonic() + _START_LIMIT.total_seconds()
        while not answers(self._socket):
            code = process.poll()
            if code is not None or time.monotonic() > deadline:
                raise UserError(self._failure(code, tail(self._log, offset)))
            time.sleep(_POLL)

    def _failure(self, code: int | None, output: str) -> str:
        """Say that the server failed, with its last lines and what to do."""
        how = "did not become ready in time" if code is None else f"did not start (exit code {code})"
        hint = f"its folder {self._data.valkey} holds only doorbells and may be moved away: no mail is lost by that"
        return (
            f"Valkey {how}; {advice(output, self._data.path, hint)}\nits last lines:\n{output or '(it said nothing)'}"
        )


def answers(socket: Path) -> bool:
    """Tell whether the server on `socket` has read its file and answers."""
    if not socket.exists():
        return False
    client = redis.Redis(unix_socket_path=os.fspath(socket), socket_timeout=5, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping())
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, redis.exceptions.ResponseError):
        return False
    finally:
        client.close()
