"""`fieldpost schedule`: asks for what is due, or shows the slots; workers ask too, so this is for lanes apart."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from actors.listener import Listener
from actors.schedule import Schedule
from actors.schedules import declared
from ops_api.cli import bells
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import ago, print_json, print_table, span
from ops_api.cli.session import begin, open_runtime
from ops_api.cli.worker import for_role
from ops_api.slots import Standing, standings
from pipeline.adapters.wiring import make_ports
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger
from pipeline.runtime.metrics import Metrics
from pipeline.runtime.settings import read_settings

app = typer.Typer(add_completion=False)


@app.command()
def schedule(
    list_only: Annotated[bool, typer.Option("--list", help="Show how the schedules stand, and end.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Poll every mailbox at its pace and ask for what is due by the clock, until SIGTERM or Ctrl-C.

    Every worker does so too; several schedules never double a request. FIELDPOST_HISTORY_INTERVAL_SECONDS is the pace
    of a busy mailbox, an idle one is asked less often; FIELDPOST_HISTORY_SCHEDULE and FIELDPOST_RECONCILE_SCHEDULE are
    cron expressions in UTC. With --list (or --json) shows last and next slots, and those missed within 7 days.

    Example: fieldpost schedule --list

    Exit codes: 0 stopped in order, 2 bad input or configuration.
    """
    if list_only or as_json:
        _show(data, as_json=as_json)
    else:
        _run(data)


def _run(data: Path | None) -> None:
    settings = for_role("schedule", read_settings(), data)
    assert settings.database_url is not None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = Metrics()
    with (
        closing(Database(settings.database_url, "schedule", pool_size=6)) as db,
        closing(make_ports(settings, metrics, db).sources) as sources,
    ):
        db.check()
        listener = Listener(settings, db, sources, partial(bells.ring, settings), metrics)
        listener.start()
        timer = Schedule(db, timedelta(seconds=settings.history_interval_seconds), declared(settings))
        timer.start()
        get_logger().info("schedule.started", seconds=settings.history_interval_seconds)
        while not stop.wait(1.0):  # the kernel may hand a signal to another thread, which does not wake this one
            pass
        listener.stop()
        timer.stop()


def _show(data: Path | None, *, as_json: bool) -> None:
    settings, where = begin("schedule", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = standings(connection, declared(runtime.settings))
    if as_json:
        print_json([asdict(standing) for standing in found])
        return
    columns = ("schedule", "when (UTC)", "last slot", "outcome", "next", "missed in 7 days", "about")
    print_table(columns, [_row(standing) for standing in found], empty="No schedule.", wrapped=("about",))


def _row(standing: Standing) -> tuple[object, ...]:
    last = ago(standing.last_slot_at, standing.now) or "nobody has looked yet"
    return (
        standing.name,
        standing.cron,
        last,
        _outcome(standing),
        _next(standing),
        standing.missed_last_7_days,
        standing.about,
    )


def _outcome(standing: Standing) -> str | None:
    if standing.last_outcome is None:
        return None
    said = standing.last_outcome.value.replace("_", " ")
    return f"{said}, {standing.last_jobs} jobs" if standing.last_jobs else said


def _next(standing: Standing) -> str:
    if standing.is_overdue:
        return f"overdue {span(standing.now - standing.next_slot_at)}: run `fieldpost up` or a worker"
    return f"in {span(standing.next_slot_at - standing.now)}"
