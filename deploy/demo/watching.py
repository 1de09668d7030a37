"""How far the chain is: counted by cheap queries, shown as bars on a terminal and as sparse lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from sqlalchemy import Connection, text

from deploy.demo.home import DemoFailed, Home, pause
from models.enums import JobState, OccurrenceState
from models.queries import overview, summary

_POLL = timedelta(milliseconds=100)
_LINE_EVERY = timedelta(seconds=2)
#: Nothing in the chain takes this long without any count changing.
_STALL = timedelta(seconds=90)
#: The bars, and the states in which an occurrence has not passed each of them.
_BEFORE = {
    "listed": frozenset[str](),
    "fetched": frozenset({OccurrenceState.SEEN}),
    "parsed": frozenset({OccurrenceState.SEEN, OccurrenceState.FETCHED}),
    "stitched": frozenset({OccurrenceState.SEEN, OccurrenceState.FETCHED, OccurrenceState.PARSED}),
    "routed": frozenset(
        {OccurrenceState.SEEN, OccurrenceState.FETCHED, OccurrenceState.PARSED, OccurrenceState.STITCHED}
    ),
}
_GOING_ON = frozenset({JobState.READY, JobState.HELD, JobState.RUNNING, JobState.WAITING})
_MADE = text("""
    SELECT (SELECT count(*) FROM tickets WHERE status <> 'merged') AS tickets,
           (SELECT count(*) FROM cases WHERE mode = 'certainty') AS cases,
           (SELECT count(*) FROM work_orders) AS work_orders
""")


@dataclass(frozen=True, slots=True)
class Figures:
    """One look: occurrences by state, jobs that go on by stage (the schedule's aside), and what was made so far."""

    states: Mapping[str, int]
    jobs: Mapping[str, int]
    blocked: int
    tickets: int
    cases: int
    work_orders: int

    @property
    def listed(self) -> int:
        """Return how many ids stand in the ledger."""
        return sum(self.states.values())

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is left to do with the mail that was listed."""
        return not any(self.jobs.values())

    def passed(self) -> dict[str, int]:
        """Return how many occurrences have passed each stage."""
        passed = {
            name: sum(number for state, number in self.states.items() if state not in before)
            for name, before in _BEFORE.items()
        }
        return {**passed, "triaged": max(0, passed["routed"] - self.jobs.get("triage", 0))}


def look(connection: Connection, mailbox_ids: Sequence[UUID]) -> Figures:
    """Count everything once; some milliseconds for thousands of messages."""
    states: Counter[str] = Counter()
    for mailbox_id in mailbox_ids:
        states.update(summary.by_state(connection, mailbox_id))
    jobs: Counter[str] = Counter()
    blocked = 0
    for depth in overview.queue_depths(connection):
        if depth.state is JobState.BLOCKED:
            blocked += depth.jobs
        elif depth.state in _GOING_ON and depth.stage != "history":
            jobs[depth.stage] += depth.jobs
    made = connection.execute(_MADE).one()
    return Figures(states, jobs, blocked, made.tickets, made.cases, made.work_orders)


Show = Callable[[Figures, int], None]


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {name: progress.add_task(name, total=None) for name in (*_BEFORE, "triaged")}

    def show(self, figures: Figures, total: int) -> None:
        """Move every bar, and redraw."""
        for name, done in figures.passed().items():
            self._progress.update(self._tasks[name], completed=done, total=total)
        self._progress.refresh()


class _Lines:
    """At most one line every two seconds, and none that says what the last one said."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console, self._monotonic = console, monotonic
        self._said_at = monotonic()
        self._said = ""

    def show(self, figures: Figures, total: int) -> None:
        """Say how far each stage is, when it is time to."""
        now = self._monotonic()
        said = "  " + ", ".join(f"{name} {number}" for name, number in figures.passed().items()) + f" of {total}"
        if now - self._said_at >= _LINE_EVERY.total_seconds() and said != self._said:
            self._console.print(said)
            self._said_at, self._said = now, said


@contextmanager
def display(console: Console, monotonic: Callable[[], float]) -> Iterator[Show]:
    """Yield what shows a look: bars that stay on a terminal, else lines."""
    if not console.is_terminal:
        yield _Lines(console, monotonic).show
        return
    columns = (
        TextColumn("  {task.description:9}"),
        BarColumn(bar_width=40, complete_style="cyan", finished_style="green"),
        MofNCompleteColumn(),
    )
    # Redrawn by hand: no thread of rich's runs while the supervisor starts processes.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        yield _Bars(progress).show


def follow(
    home: Home,
    mailbox_ids: Sequence[UUID],
    total: int,
    show: Show,
    *,
    check: Callable[[], None],
    deliver: Sequence[Delivery] = (),
) -> Followed:
    """Return when all `total` messages are through; each of `deliver` is done in its time meanwhile.

    Raises `DemoFailed` when nothing moves any more, `Stopped` on Ctrl-C, and whatever `check` raises.
    """
    clock = home.clock
    began = moved_at = clock.monotonic()
    waiting, last = list(deliver), None
    while True:
        now = clock.monotonic()
        if waiting and now - began >= waiting[0].after.total_seconds():
            waiting.pop(0).action()
        with home.db.begin() as connection:
            figures = look(connection, mailbox_ids)
        show(figures, total)
        if figures.listed >= total and figures.is_idle and not waiting:
            return Followed(clock.monotonic() - began, figures)
        if figures != last:
            moved_at, last = now, figures
        _complain(figures, now - moved_at)
        home.supervisor.check()
        check()
        pause(_POLL)


@dataclass(frozen=True, slots=True)
class Followed:
    """How many seconds it took until the chain was idle, and the last look."""

    seconds: float
    figures: Figures


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something to be done `after` a while of following."""

    after: timedelta
    action: Callable[[], None]


def _complain(figures: Figures, still: float) -> None:
    if figures.blocked:
        raise DemoFailed(f"{figures.blocked} jobs wait for a person")
    if still > _STALL.total_seconds():
        left = ", ".join(f"{number} {stage}" for stage, number in figures.jobs.items()) or "none"
        raise DemoFailed(
            f"nothing moved for {still:.0f} seconds with {figures.listed} ids in the ledger; jobs left: {left}"
        )
