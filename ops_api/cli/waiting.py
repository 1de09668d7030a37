"""Waiting until a mailbox's chain is idle, with progress per stage, and why it waits when it does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from models.enums import OccurrenceState
from models.queries import progress, queue, summary
from ops_api.cli.output import remark, to_stderr
from ops_api.cli.roles import Crew
from ops_api.cli.session import Runtime
from ops_api.standing import reason
from pipeline.runtime.db import is_passing

T = TypeVar("T")

POLL = timedelta(milliseconds=50)
_LINE_EVERY = timedelta(seconds=3)
#: Looking costs at most a twentieth of the time, however large the mailbox is.
_SHARE = 20
#: A database that is away is asked again this often, and given up after this long.
_RETRY, _PATIENCE = timedelta(milliseconds=200), timedelta(seconds=60)
#: A wait that is due sooner explains itself.
_SHORT = timedelta(seconds=5)
#: The bars, and the states of occurrences that have passed each.
_PASSED = {
    "listed": tuple(OccurrenceState),
    "fetched": ("fetched", "parsed", "stitched", "routed", "gone", "ignored", "quarantined"),
    "parsed": ("parsed", "stitched", "routed", "gone", "ignored", "quarantined"),
    "stitched": ("stitched", "routed", "gone", "ignored", "quarantined"),
    "routed": ("routed", "gone", "ignored", "quarantined"),
}


class Display(Protocol):
    """Shows how far the stages are."""

    def show(self, passed: Mapping[str, int], total: int | None, why: str | None) -> None:
        """Show the occurrences that passed each stage, of how many, and why it waits."""


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {name: progress.add_task(name, total=None) for name in _PASSED}
        self._why = ""

    def show(self, passed: Mapping[str, int], total: int | None, why: str | None) -> None:
        for name, task in self._tasks.items():
            self._progress.update(task, completed=passed[name], total=total or None)
        if why and why != self._why:
            self._progress.console.print(why, markup=False)
        self._why = why or ""


class _Lines:
    def show(self, passed: Mapping[str, int], total: int | None, why: str | None) -> None:
        counts = ", ".join(f"{name} {number}" for name, number in passed.items())
        of = f" of {total}" if total else ""
        remark(f"{counts}{of}{f'; {why}' if why else ''}")


@contextmanager
def _display() -> Iterator[tuple[Display, timedelta]]:
    """Yield bars for a terminal, else lines, and how often to show."""
    if not sys.stderr.isatty():
        yield _Lines(), _LINE_EVERY
        return
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=to_stderr(), transient=True) as progress:
        yield _Bars(progress), timedelta(milliseconds=250)


def wait_until_idle(runtime: Runtime, mailbox_id: UUID, crew: Crew | None, total: int | None = None) -> None:
    """Return when no job of the mailbox will go on by itself; `total` is how many ids are expected, when known."""
    clock = runtime.clock
    with _display() as (display, pace):
        look_at = clock.monotonic() + pace.total_seconds()
        while patiently(runtime, crew, partial(_is_busy, runtime, mailbox_id)):
            if clock.monotonic() >= look_at:
                began = clock.monotonic()
                display.show(*patiently(runtime, crew, partial(_look, runtime, mailbox_id, total)))
                look_at = began + max(pace.total_seconds(), _SHARE * (clock.monotonic() - began))
                _keep_alive(runtime, crew)
            clock.wait(POLL)


def patiently(runtime: Runtime, crew: Crew | None, look: Callable[[], T]) -> T:
    """Return what `look` reads from the database; one that is away is waited for, and started again if it is ours."""
    retrying = Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_fixed(_RETRY),
        stop=stop_after_delay(_PATIENCE),
        before_sleep=lambda _: _keep_alive(runtime, crew),
        reraise=True,
    )
    return retrying(look)


def _keep_alive(runtime: Runtime, crew: Crew | None) -> None:
    if runtime.servers is not None:
        runtime.servers.check()
    if crew is not None:
        crew.check()


def _is_busy(runtime: Runtime, mailbox_id: UUID) -> bool:
    with runtime.db.begin() as connection:
        return queue.is_busy(connection, mailbox_id)


def _look(runtime: Runtime, mailbox_id: UUID, total: int | None) -> tuple[dict[str, int], int | None, str | None]:
    with runtime.db.begin() as connection:
        states = summary.by_state(connection, mailbox_id)
        waits = queue.waits(connection, [mailbox_id])
        listing = progress.listings(connection, [mailbox_id]).get(mailbox_id)
        now = summary.database_time(connection)
    passed = {name: sum(states[state] for state in found) for name, found in _PASSED.items()}
    expected = total or (listing.estimate if listing else passed["listed"])
    return passed, None if expected is None else max(expected, passed["listed"]), why_waiting(waits, now)


def why_waiting(waits: list[queue.Wait], now: datetime) -> str | None:
    """Say why jobs wait, in words; None when nothing waits longer than a moment."""
    long = [wait for wait in waits if wait.next_at - now > _SHORT]
    return "; ".join(reason(wait, now) for wait in long[:3]) or None
