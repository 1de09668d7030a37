"""`python -m deploy.demo.run`: the main job from end to end with made-up mail, on servers of its own.

write mail ─► serve it ─► backfill both mailboxes ─► let new mail arrive ─► prove that nothing is missing
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from rich.console import Console
from rich.markup import escape

from deploy.demo import report
from deploy.demo.home import DemoFailed, Home, Stopped, folder, pause, servers
from deploy.demo.loading import connect_mailboxes, load_company, queue_names
from deploy.demo.report import Outcome
from deploy.demo.scenario import LATER_SPAN, SPAN, build
from deploy.demo.serving import Gmail, gmail_server
from deploy.demo.specs import Mail, Scenario
from deploy.demo.watching import Delivery, Figures, display, follow
from deploy.local.signals import stop_signals_blocked
from pipeline.adapters.clock import SystemClock
from pipeline.commands.sync import request_backfill
from pipeline.ports import Clock
from pipeline.runtime.errors import UserError
from pipeline.runtime.logs import set_up_logs

_WORKERS = 2
#: New mail comes in this many portions, one after the other at this pace.
_PORTIONS = 8
_PACE = timedelta(milliseconds=500)
_API_LIMIT = timedelta(seconds=60)
_POLL = timedelta(milliseconds=200)
_INTERRUPTED = 130
#: Columns where there is no terminal to ask.
_PLAIN_WIDTH = 120

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Options:
    """What a person asked for."""

    seed: int
    size: int
    workers: int
    data: Path | None
    keep: bool
    port: int


class Demo:
    """One demonstration: tells each step as it goes; `run` returns the exit code."""

    def __init__(self, options: Options, console: Console, clock: Clock) -> None:
        self._options, self._console, self._clock = options, console, clock
        self._began = clock.monotonic()

    def run(self) -> int:
        """Do everything; 0 when every message is accounted for and each kind of result is there."""
        self._console.print("[bold]Fieldpost[/]: from inbox to dispatched work, nothing lost\n")
        scenario = self._step("mail written", self._build)
        began = self._clock.monotonic()
        with folder(self._options.data, keep=self._options.keep) as path, servers(path, self._clock) as home:
            pause()
            self._told("PostgreSQL and Valkey started, tables made", since=began)
            home.start_workers(self._options.workers)
            try:
                with gmail_server(home.data.logs / "gmail.log", self._clock) as gmail:
                    return self._in_house(scenario, home, gmail)
            except DemoFailed as error:
                raise DemoFailed(f"{error}\n\n{home.last_words()}") from error

    def _in_house(self, scenario: Scenario, home: Home, gmail: Gmail) -> int:
        self._step("mailboxes filled on a Gmail server of its own", partial(gmail.deliver, scenario.initial))
        mailbox_ids = self._load(scenario, home, gmail)
        self._step(f"{self._options.workers} workers ready", partial(home.wait_for_workers, self._options.workers))
        rate = self._backfill(scenario, home, gmail, mailbox_ids)
        self._sync(scenario, home, gmail, mailbox_ids)
        with home.db.begin() as connection:
            outcome = report.read_outcome(connection, gmail, mailbox_ids)
        self._console.print()
        seconds = self._clock.monotonic() - self._began
        report.show(self._console, outcome, written=scenario.expected.threads, seconds=seconds, rate=rate)
        return self._end(outcome, home)

    def _build(self) -> Scenario:
        midnight = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        return build(self._options.seed, self._options.size, midnight - SPAN - LATER_SPAN)

    def _load(self, scenario: Scenario, home: Home, gmail: Gmail) -> dict[str, UUID]:
        with home.db.begin() as connection:
            org_id = load_company(connection, scenario)
            mailbox_ids = connect_mailboxes(connection, org_id, scenario, gmail, home.secret)
        self._told(
            f"{scenario.organization}: {len(scenario.assets)} assets, {len(scenario.teams)} teams, "
            f"{len(queue_names(scenario))} queues, {len(scenario.rules)} rules, {len(mailbox_ids)} mailboxes",
            since=None,
        )
        return mailbox_ids

    def _backfill(self, scenario: Scenario, home: Home, gmail: Gmail, mailbox_ids: dict[str, UUID]) -> float:
        """Ask for a listing of every mailbox; return how many messages a second went through the whole chain."""
        total = len(scenario.initial)
        self._console.print(f"\n[bold]Backfill[/] of {total} messages in {len(mailbox_ids)} mailboxes, newest first")
        with display(self._console, self._clock.monotonic) as show:
            with home.db.begin() as connection:
                for mailbox_id in mailbox_ids.values():
                    request_backfill(connection, mailbox_id)
            done = follow(home, list(mailbox_ids.values()), total, show, check=gmail.check)
        self._console.print(f"  {total} messages in {done.seconds:.1f} s: {_made(done.figures)}")
        return total / done.seconds

    def _sync(self, scenario: Scenario, home: Home, gmail: Gmail, mailbox_ids: dict[str, UUID]) -> None:
        """Let new mail arrive little by little; the schedule finds it by itself."""
        later, total = scenario.later, len(scenario.initial) + len(scenario.later)
        self._console.print(f"\n[bold]New mail[/]: {len(later)} messages arrive and are synced by history")
        deliveries = [
            Delivery(number * _PACE, partial(gmail.deliver, portion))
            for number, portion in enumerate(_split(later, _PORTIONS))
        ]
        with display(self._console, self._clock.monotonic) as show:
            done = follow(home, list(mailbox_ids.values()), total, show, check=gmail.check, deliver=deliveries)
        self._console.print(
            f"  {len(later)} messages, the last one sent after {deliveries[-1].after.total_seconds():.1f} s, "
            f"in {done.seconds:.1f} s: {_made(done.figures)}"
        )

    def _end(self, outcome: Outcome, home: Home) -> int:
        shortcomings = outcome.shortcomings()
        for shortcoming in shortcomings:
            self._console.print(f"[bold red]not as it should be:[/] {escape(shortcoming)}")
        if self._options.keep:
            self._stay(home)
        elif not shortcomings:
            self._console.print(
                "\n[bold]Next[/]\n"
                "  make demo KEEP=1\n"
                "    [dim]the same, and its API and commands to look with[/]\n"
                f"  {_command()} import FILE... --mailbox support@example.org\n"
                "    [dim]your own mail: mbox, Maildir or .eml, through the same chain[/]"
            )
        return 1 if shortcomings else 0

    def _stay(self, home: Home) -> None:
        """Serve the API until Ctrl-C."""
        port = self._options.port or _free_port()
        home.start_api(port)
        _wait_for_answers(home, port)
        address = f"http://127.0.0.1:{port}"
        home.supervisor.announce(address)
        data, command = home.data.path, _command()
        self._console.print(
            f"\n[bold]API[/]  {address}\n"
            "\n[bold]Next[/], in another terminal\n"
            f"  {command} status --data {escape(str(data))}\n"
            f"  {command} dlq list --data {escape(str(data))}\n"
            f"  {command} audit support@example.org --data {escape(str(data))}\n"
            f"\nCtrl-C stops everything; `{command} up --data {escape(str(data))}` goes on with the data.",
            soft_wrap=True,
        )
        home.supervisor.wait_for_stop()

    def _step(self, name: str, action: Callable[[], _Result]) -> _Result:
        """Do something and tell how long it took; a stop signal that came meanwhile counts after it."""
        began = self._clock.monotonic()
        result = action()
        pause()
        self._told(name, since=began)
        return result

    def _told(self, name: str, *, since: float | None) -> None:
        took = "" if since is None else f" [dim]{self._clock.monotonic() - since:.1f} s[/]"
        self._console.print(f"  {escape(name)}{took}")


def _split(mails: Sequence[Mail], portions: int) -> list[Sequence[Mail]]:
    size = max(1, -(-len(mails) // portions))
    return [mails[start : start + size] for start in range(0, len(mails), size)]


def _made(figures: Figures) -> str:
    return f"{figures.tickets} tickets, {figures.cases} cases, {figures.work_orders} work orders"


def _command() -> str:
    """Return how `fieldpost` is called from here."""
    program = Path(sys.executable).with_name("fieldpost")
    if not program.exists() or shutil.which("fieldpost"):
        return "fieldpost"
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_answers(home: Home, port: int) -> None:
    """Return when the API answers. Raises `DemoFailed` when it does not in time."""
    deadline = home.clock.monotonic() + _API_LIMIT.total_seconds()
    while not _answers(port):
        if home.clock.monotonic() > deadline:
            raise DemoFailed("the API did not start in time")
        home.supervisor.check()
        pause(_POLL)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Return the command line's options; leaves with 2 for wrong ones."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.run", description="From a mailbox to work orders.")
    parser.add_argument("--seed", type=int, default=7, help="equal seeds make equal mail (%(default)s)")
    parser.add_argument("--size", type=int, default=3000, help="messages to backfill, at least 40 (%(default)s)")
    parser.add_argument("--workers", type=int, default=_WORKERS, help="worker processes (%(default)s)")
    parser.add_argument("--data", type=Path, help="a new folder for everything; a temporary one unless given")
    parser.add_argument("--keep", action="store_true", help="keep everything running for a look, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="port of the API with --keep; any free one unless given")
    found = parser.parse_args(arguments)
    if found.workers < 1:
        parser.error("there must be at least one worker")
    return Options(found.seed, found.size, found.workers, found.data, found.keep, found.port)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; 0 success, 1 something is missing or went wrong, 2 bad input, 130 stopped by a signal."""
    options = read_options(arguments)
    set_up_logs("console", "error", "demo")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    try:
        with stop_signals_blocked():
            return Demo(options, console, SystemClock()).run()
    except Stopped:
        console.print("\nstopped; nothing is left running")
        return _INTERRUPTED
    except (UserError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except DemoFailed as error:
        sys.stderr.write(f"\nthe demonstration failed: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
