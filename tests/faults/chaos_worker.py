"""The mother of a chaos run's processes: `python -m tests.faults.chaos_worker`, told what to do by lines of JSON.

Each line on standard input forks one process of the product, which is there within moments because everything is
imported already: {"role": "worker"|"schedule"|"api", "log": path, ...}. It answers {"pid"} and, when a child ends,
{"pid", "ended": exit code, or minus the signal}. All of them die with it, and it dies when its input ends.

A worker is the product as it is, but for its leases, which are short so that a frozen one is soon given up; for its
clock, which may show another day; and for mail that says so, of which whatever process parses it dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson

from actors import holdings, worker
from actors.schedule import Schedule
from actors.schedules import declared
from deploy.local.processes import _bind_to
from ops_api.app import make_app, make_server
from pipeline.adapters import wiring
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.parsing import IsolatingParser
from pipeline.core import mime
from pipeline.runtime.db import Database
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, read_settings

#: A mail with these bytes kills the process that parses it: a worker, and the child that reads apart.
POISON = b"X-Death: exit"
#: What such a process ends with; nothing else does.
POISONED = 86
LEASE = timedelta(seconds=5)
#: Leases are renewed at every eighth beat.
_PULSE = timedelta(milliseconds=200)


class OtherClock(SystemClock):
    """A clock that is off by a duration, and is set back by an hour some seconds after its start."""

    def __init__(self, off: timedelta, jumps_after: float) -> None:
        self._off = off
        self._jumps_at = super().monotonic() + jumps_after

    def now(self) -> datetime:
        jump = timedelta(hours=1) if self.monotonic() > self._jumps_at else timedelta(0)
        return super().now() + self._off - jump


def main() -> None:
    """Fork what each line asks for until there are no more lines."""
    settings, tell, bind = read_settings(), _Teller(), _bind_to(signal.SIGKILL)
    children: set[int] = set()
    threading.Thread(target=_reap, args=(tell, children), daemon=True).start()
    for line in sys.stdin.buffer:
        wish = orjson.loads(line)
        pid = os.fork()
        if pid == 0:
            _be(settings, wish, bind)
        children.add(pid)
        tell({"pid": pid})
    for pid in list(children):
        _kill(pid)


class _Teller:
    def __init__(self) -> None:
        self._guard = threading.Lock()

    def __call__(self, said: Mapping[str, int]) -> None:
        with self._guard:
            sys.stdout.buffer.write(orjson.dumps(said) + b"\n")
            sys.stdout.buffer.flush()


def _reap(tell: _Teller, children: set[int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.02)
            continue
        children.discard(pid)
        _kill_session(pid)
        tell({"pid": pid, "ended": os.waitstatus_to_exitcode(status)})


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill_session(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _be(settings: Settings, wish: Mapping[str, Any], bind: Callable[[], None]) -> None:
    """Become what is wished for; never returns."""
    code = 1
    try:
        bind()
        os.setsid()
        output = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        mine = settings.model_copy(update=wish.get("settings", {}))
        set_up_logs("console", "info", wish["role"])
        _ROLES[wish["role"]](mine, wish)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _work(settings: Settings, wish: Mapping[str, Any]) -> None:
    clock = OtherClock(timedelta(days=wish.get("days", 0)), wish.get("jumps_after", float("inf")))
    worker.make_ports = partial(wiring.make_ports, clock=clock)  # type: ignore[attr-defined]
    worker.STAGES = MappingProxyType(  # type: ignore[attr-defined]
        {name: replace(stage, lease=LEASE) for name, stage in worker.STAGES.items()}
    )
    holdings._PULSE = _PULSE
    _obey_poison()
    worker.run(settings)


def _obey_poison() -> None:
    parse = mime.parse

    def parse_or_die(raw: bytes) -> mime.Parsed:
        if POISON in raw:
            os._exit(POISONED)
        return parse(raw)

    mime.parse = parse_or_die
    wiring.IsolatingParser = partial(IsolatingParser, child="tests.failing_parser")  # type: ignore[misc,assignment]


def _schedule(settings: Settings, _: Mapping[str, Any]) -> None:
    assert settings.database_url is not None
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    db = Database(settings.database_url, "schedule", pool_size=2)
    pace = timedelta(seconds=settings.history_interval_seconds)
    schedule = Schedule(db, pace, declared(settings))
    schedule.start()
    stop.wait()
    schedule.stop()
    db.close()


def _serve(settings: Settings, wish: Mapping[str, Any]) -> None:
    make_server(make_app(settings), "127.0.0.1", wish["port"]).run()


_ROLES = {"worker": _work, "schedule": _schedule, "api": _serve}


if __name__ == "__main__":
    main()
