"""`fieldpost up`: everything on one machine under one supervisor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.layout import DataDir
from deploy.local.lock import read_holder
from deploy.local.processes import tail
from deploy.local.signals import next_stop_signal, stop_signals_blocked
from deploy.local.supervisor import Supervisor
from ops_api.cli.address import HOST, PORT, is_loopback, is_ready, reserve, url_of
from ops_api.cli.options import Data
from ops_api.cli.output import to_stderr
from ops_api.cli.roles import command_of
from ops_api.cli.session import child_environment, data_dir, fill, prepare
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, read_settings

_WORKERS = 2
_MOST_WORKERS = 64
_START_LIMIT = timedelta(seconds=90)
_POLL = timedelta(milliseconds=100)

app = typer.Typer(add_completion=False)


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Address the API listens on.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Its port; 0 takes a free one.")] = PORT,
    workers: Annotated[int, typer.Option(min=1, max=_MOST_WORKERS, help="Worker processes.")] = _WORKERS,
    data: Data = None,
) -> None:
    """Run everything on this machine: PostgreSQL, Valkey, workers and the HTTP API; what dies is started again.

    Prints a line `ready http://HOST:PORT` when requests are answered. FIELDPOST_DATABASE_URL and FIELDPOST_REDIS_URL
    take the place of the embedded servers. While all is embedded and only this machine can reach it, the API lets
    you in without a password.

    Example: fieldpost up --data ~/mail --port 8025

    Exit codes: 0 stopped by Ctrl-C or SIGTERM, 2 bad input or configuration, or it runs already.
    """
    settings = read_settings()
    set_up_logs(settings.log_format, settings.log_level, "up")
    where = data_dir(settings, data)
    if read_holder(where) is None:  # the one who runs is the better answer than a port in use
        port = reserve(host, port)
    with stop_signals_blocked():
        supervisor = Supervisor(where.path, database_url=settings.database_url, redis_url=settings.redis_url)
        with _step("starting PostgreSQL and Valkey"):
            supervisor.start()
        try:
            _serve(supervisor, settings, host, port, workers)
        finally:
            supervisor.stop()


def _serve(supervisor: Supervisor, settings: Settings, host: str, port: int, workers: int) -> None:
    complete = fill(settings, supervisor.data, supervisor.endpoints)
    assert complete.database_url is not None
    with _step("preparing the database"), closing(Database(complete.database_url, "up", pool_size=1)) as db:
        db.check()
        prepare(db, apply=True)
    url = url_of(host, port)
    with _step("starting workers and the API"):
        _start_roles(supervisor, complete, host, port, workers)
        if not _becomes_ready(supervisor, host, port):
            return
    supervisor.announce(url)
    print(f"ready {url}", flush=True)
    supervisor.wait_for_stop()


def _start_roles(supervisor: Supervisor, settings: Settings, host: str, port: int, workers: int) -> None:
    env, counters = child_environment(settings), _fresh_folder(supervisor.data.path / "metrics")
    for number in range(1, workers + 1):
        supervisor.start_role(f"worker-{number}", command_of("worker"), env | {"PROMETHEUS_MULTIPROC_DIR": counters})
    api = {"FIELDPOST_PUBLIC_URL": settings.public_url or url_of(host, port), "FIELDPOST_METRICS_DIR": counters}
    if _is_all_ours(supervisor, settings) and is_loopback(host):
        api["ALLOW_DEV_LOGIN"] = "true"
    supervisor.start_role("api", command_of("api", "--host", host, "--port", str(port)), env | api)


def _fresh_folder(folder: Path) -> str:
    """Return an empty folder; counters of an earlier run would be added to those of this one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return str(folder)


def _is_all_ours(supervisor: Supervisor, settings: Settings) -> bool:
    """Say whether both servers are embedded and nobody called this production: only then may a login need no proof."""
    names = {"postgres", "valkey"}
    return names <= set(supervisor.pids()) and settings.environment != "production"


def _becomes_ready(supervisor: Supervisor, host: str, port: int) -> bool:
    """Return True when requests are answered, False when a stop is asked for; raises `UserError` when it takes long."""
    clock = SystemClock()
    deadline = clock.monotonic() + _START_LIMIT.total_seconds()
    while not is_ready(host, port):
        if next_stop_signal(_POLL) is not None:
            return False
        supervisor.check()
        if clock.monotonic() > deadline:
            raise UserError(_not_ready(supervisor.data))
    return True


def _not_ready(data: DataDir) -> str:
    log = data.logs / "api.log"
    return f"the API did not become ready; the end of {log}:\n{tail(log)}"


@contextmanager
def _step(said: str) -> Iterator[None]:
    """Tell on stderr what is being done, with a spinner on a terminal."""
    console = to_stderr()
    if console.is_terminal:
        with console.status(said):
            yield
    else:
        console.print(said)
        yield
