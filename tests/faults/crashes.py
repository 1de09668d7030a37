"""One failure after the other, each at a failpoint of its own: `python -m tests.faults.crashes ACTION POINT...`.

Every failpoint gets a fresh worker. It first makes good what the one before left; then it is armed, and work is made
that passes the failpoint. The command starts servers and an office of its own, and says what was lost or doubled.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from models import schema
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.faults.failpoints import Action, Fate, Plan
from tests.faults.feeds import Feeds
from tests.faults.forked import Forked, forked
from tests.faults.office import Office
from tests.gmail_server.server import GmailServer
from tests.worker_process import until

#: Hits as soon as a worker starts, or as it ends.
_AT_START, _AT_END = "holdings.lock", ("holdings.release", "holdings.stop")
#: What must happen beside, so that a failpoint is passed at all.
_BESIDE = {
    "holdings.renew": {"stage.fetch.work.before": Fate(Action.DELAY, chance=1.0, seconds=0.6)},
    "runner.fail": {"stage.index.save.before": Fate(Action.RAISE, chance=1.0)},
}
#: A stop is over after this many seconds: what process managers grant (reliability, F-14).
GRANTED = 30
#: Longer than a lease of a plan with `short_lease`.
_FROZEN = timedelta(seconds=2)
#: Work that was missed by bad luck is made anew after so many seconds.
_AGAIN = 3.0


class Crashes:
    """Makes workers fail at one failpoint after the other in one office."""

    def __init__(
        self, office: Office, children: Forked, folder: Path, action: Action = Action.KILL, *, mails: int = 2
    ) -> None:
        self._office, self._children, self._folder, self._action = office, children, folder, action
        self._feeds, self._mails = Feeds(office), mails
        self.hit: list[str] = []

    def happen(self, points: Sequence[str]) -> None:
        """Fail at each of the points; AssertionError, with the command that does it again, when one is not passed."""
        if not self.hit:
            self._begin()
        for point in points:
            try:
                self._happen(point)
            except AssertionError as error:
                raise AssertionError(f"{error}; again: {again(self._action, point)}") from None
            self.hit.append(point)

    def finish(self) -> None:
        """Let a worker to which nothing happens do what is left."""
        self._children.follow(Plan(changes=("quick_sweeps",)))
        self._office.finish()

    def _begin(self) -> None:
        """Have the empty mailbox listed: what a first listing finds is not told to anybody."""
        child = self._children.follow(Plan(changes=("quick_sweeps",)))
        until(self._office.is_listed, "the first listing")
        self._children.kill(child)

    def _happen(self, point: str) -> None:
        name = point.rpartition(".")[0]
        flag = self._folder / f"flag-{self._action}-{point}"
        plan = Plan({point: Fate(self._action), **_BESIDE.get(name, {})}, self._changes(name), flag)
        if name == _AT_START:
            flag.touch()
        child = self._children.follow(plan)
        if name != _AT_START:
            until(lambda: self._is_ready(child), f"a calm worker before {point}", 60)
            flag.touch()
            self._make_pass(point, flag, child)
        self._end(child, point)

    def _is_ready(self, child: Any) -> bool:
        assert child.poll() is None, self._children.words()
        return self._children.has_said(child, "worker.started") and self._office.is_calm(child.pid)

    def _changes(self, name: str) -> tuple[str, ...]:
        pulse = ("quick_pulse",) if name == "holdings.renew" else ()
        return ("quick_sweeps", *(("short_lease",) if self._action is Action.STOP else ()), *pulse)

    def _make_pass(self, point: str, flag: Path, child: Any) -> None:
        for _ in range(10):
            if point.startswith(_AT_END):
                child.send_signal(signal.SIGTERM)
            else:
                self._feeds.feed(point, self._mails)
            if _comes(lambda: not flag.exists(), _AGAIN):
                return
        raise AssertionError(f"{point} was not passed")

    def _end(self, child: Any, point: str) -> None:
        if self._action is Action.KILL:
            until(lambda: child.poll() is not None, f"a death at {point}")
            return
        if self._action is Action.TERMINATE:
            code = child.wait(GRANTED)
            child.send_signal(signal.SIGUSR1)
            _comes(lambda: child.poll() is not None, 1.0)
            assert code == 0, f"no stop in order at {point}: {code}"
            return
        if self._action is Action.STOP:
            rescuer = self._children.follow(Plan(changes=("quick_sweeps",)))
            _comes(lambda: False, _FROZEN.total_seconds())
            child.send_signal(signal.SIGCONT)
            until(lambda: self._office.is_calm(child.pid) or self._office.is_calm(rescuer.pid), "calm after a freeze")
            self._children.kill(rescuer)
        self._children.kill(child)


def again(action: Action, *points: str) -> str:
    """Return the command that makes a failure happen again."""
    return f".venv/bin/python -m tests.faults.crashes {action} {' '.join(points)}"


def main(arguments: Sequence[str]) -> int:
    """Fail at some failpoints in an office of its own; 0 when nothing was lost or doubled, else 1."""
    action, *wanted = arguments
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fpc-")))
        settings = _settings(stack.enter_context(Supervisor(folder / "data", durable=False)).endpoints, folder)
        db = Database(str(settings.database_url), "test")
        stack.callback(db.close)
        office = Office(stack.enter_context(GmailServer(seed=1)), db, settings, folder)
        crashes = Crashes(office, stack.enter_context(forked(settings, folder)), folder, Action(action))
        crashes.happen(wanted)
        crashes.finish()
        broken = office.violations()
    print("\n".join(broken) or f"nothing lost, nothing doubled, after {len(crashes.hit)} failures")
    return 1 if broken else 0


def _settings(endpoints: Endpoints, folder: Path) -> Settings:
    engine = create_engine(endpoints.database_url)
    with engine.begin() as connection:
        schema.migrate(connection)
    engine.dispose()
    return Settings(
        database_url=endpoints.database_url, redis_url=endpoints.redis_url, blob_url=f"file://{folder}/blobs",
        data_dir=folder, secret_key="a secret key that only tests know", history_interval_seconds=0.5,
        quota_minute_seconds=0.05, history_schedule="* * * * * *",
    )  # type: ignore[arg-type]  # fmt: skip


def _comes(condition: Callable[[], object], seconds: float) -> bool:
    waiting = Retrying(
        retry=retry_if_result(lambda found: not found), stop=stop_after_delay(seconds), wait=wait_fixed(0.01)
    )
    try:
        return bool(waiting(condition))
    except RetryError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
