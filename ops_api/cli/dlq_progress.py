"""A bulk replay watched to its end: a bar on a terminal, lines elsewhere, then a summary with what to type next."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from dlq import bulk_reading
from dlq.bulk_reading import Bulk
from models.enums import BulkState
from ops_api.cli.output import remark, span, to_stderr
from ops_api.cli.roles import workers_for
from ops_api.cli.session import Runtime
from ops_api.cli.waiting import patiently
from ops_api.wording import counted
from pipeline.runtime.errors import UserError

_POLL, _LINE_EVERY = timedelta(milliseconds=250), timedelta(seconds=3)


def how_far(bulk: Bulk) -> str:
    """Return in one line what became of its letters, and what still waits."""
    done = [f"{bulk.passed:,} passed" if bulk.action == "replay" else f"{bulk.passed:,} discarded"]
    if bulk.action == "replay":
        done.append(f"{bulk.failed:,} failed again")
    parts = (
        ("on their way", bulk.released),
        ("wait", bulk.waiting),
        ("left out", bulk.skipped),
        ("forgotten since", bulk.forgotten),
    )
    return f"of {counted(bulk.total, 'letter')} " + ", ".join(
        [*done, *(f"{number:,} {name}" for name, number in parts if number)]
    )


def took(bulk: Bulk) -> str | None:
    """Return how long a bulk took; None while it goes on."""
    return None if bulk.finished_at is None else span(bulk.finished_at - bulk.created_at)


def is_clean(bulk: Bulk) -> bool:
    """Say whether a bulk did all it was asked for: nothing failed again, nobody stopped it."""
    return bulk.state is BulkState.DONE and not bulk.failed


def watch(runtime: Runtime, bulk_id: int) -> Bulk:
    """Return a bulk when it is over, telling how far it is; workers are started when none live.

    Whoever interrupts it leaves the bulk going on.
    """
    try:
        with workers_for(runtime) as crew, _display() as (show, pace):
            clock = runtime.clock
            tell_at = clock.monotonic()
            while True:
                bulk = patiently(runtime, crew, partial(_look, runtime, bulk_id))
                if bulk.finished_at is not None:
                    return bulk
                if clock.monotonic() >= tell_at:
                    show(bulk)
                    tell_at = clock.monotonic() + pace.total_seconds()
                clock.wait(_POLL)
    except KeyboardInterrupt:
        remark(
            f"bulk {bulk_id} goes on: `fieldpost dlq bulk {bulk_id}` shows it, `fieldpost dlq cancel {bulk_id}` ends it"
        )
        raise


def summary(bulk: Bulk) -> list[str]:
    """Return how a bulk ended, and the commands that come next."""
    lines = [f"bulk {bulk.bulk_id} {bulk.state} in {took(bulk)}: {how_far(bulk)}"]
    if bulk.ended_because:
        lines.append(bulk.ended_because)
    if bulk.failed:
        lines.append(f"what failed again: fieldpost dlq bulk {bulk.bulk_id} --items failed")
    if bulk.skipped:
        lines.append(f"what was left out: fieldpost dlq bulk {bulk.bulk_id} --items skipped")
    return lines


def _look(runtime: Runtime, bulk_id: int) -> Bulk:
    with runtime.db.begin() as connection:
        found = bulk_reading.bulk(connection, bulk_id)
    if found is None:
        raise UserError(f"there is no bulk {bulk_id} any more")
    return found


class _Lines:
    """Tells how far a bulk is, as a line whenever something changed."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, bulk: Bulk) -> None:
        said = f"{bulk.state}: {how_far(bulk)}"
        if said != self._said:
            remark(f"{said}{_left(bulk)}")
        self._said = said


@contextmanager
def _display() -> Iterator[tuple[Callable[[Bulk], None], timedelta]]:
    """Yield what shows a bulk, and how often: a bar for a terminal, else lines."""
    if not sys.stderr.isatty():
        yield _Lines().show, _LINE_EVERY
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[more]}"))
    with Progress(*columns, console=to_stderr(), transient=True) as progress:
        task = progress.add_task("canary", total=None, more="")

        def show(bulk: Bulk) -> None:
            ended = bulk.passed + bulk.failed + bulk.skipped
            more = f"{bulk.failed:,} failed again{_left(bulk)}"
            progress.update(task, description=bulk.state.value, completed=ended, total=bulk.total, more=more)

        yield show, _POLL


def _left(bulk: Bulk) -> str:
    if bulk.eta_seconds is None or bulk.eta_seconds < 1:
        return ""
    return f"; about {span(timedelta(seconds=bulk.eta_seconds))} left"
