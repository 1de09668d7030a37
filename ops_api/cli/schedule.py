"""`fieldpost schedule`: asks for the changes of every mailbox; workers do it too, so this is for lanes apart."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from datetime import timedelta

import typer

from actors.schedule import Schedule
from ops_api.cli.options import Data
from ops_api.cli.worker import for_role
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger
from pipeline.runtime.settings import read_settings

app = typer.Typer(add_completion=False)


@app.command()
def schedule(data: Data = None) -> None:
    """Ask for the changes of every mailbox at a steady pace, until SIGTERM or Ctrl-C.

    Every worker does so too; several schedules never double a request. FIELDPOST_HISTORY_INTERVAL_SECONDS is the pace.

    Example: fieldpost schedule

    Exit codes: 0 stopped in order, 2 bad input or configuration.
    """
    settings = for_role("schedule", read_settings(), data)
    assert settings.database_url is not None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(Database(settings.database_url, "schedule", pool_size=2)) as db:
        db.check()
        timer = Schedule(db, timedelta(seconds=settings.history_interval_seconds))
        timer.start()
        get_logger().info("schedule.started", seconds=settings.history_interval_seconds)
        stop.wait()
        timer.stop()
