"""Schedulers that die at the slots: `python -m tests.faults.schedulers COUNT SEED` keeps COUNT of them running.

Each is a process of its own, forked from this one to be there quickly, with the product's schedule in it. The routine
has a slot each second and writes one row where it asks. A scheduler that has come so far kills itself as often as not:
before it asks, after it asked, or just as it commits; the test kills others from outside. Each death is told in a line.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, text

from actors.schedule import Schedule
from pipeline.core.slots import CatchUp
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings, read_settings
from pipeline.runtime.slots import Routine

NAME = "each-second"
_EFFECT = text("INSERT INTO effects DEFAULT VALUES")
#: Longer than a commit takes, so that some of these deaths come before it and some after.
_COMMIT_SECONDS = 0.004


def main(arguments: Sequence[str]) -> None:
    """Fork schedulers, one for each that died, until killed."""
    count, seed = (int(argument) for argument in arguments)
    settings, chance = read_settings(), random.Random(seed)
    alive: set[int] = set()
    while True:
        while len(alive) < count:
            alive.add(_fork(settings, chance.random()))
        pid, status = os.wait()
        alive.remove(pid)
        print("died" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else "failed", flush=True)


def _fork(settings: Settings, seed: float) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _schedule(settings, random.Random(seed))
        finally:
            os._exit(1)
    return pid


def _schedule(settings: Settings, chance: random.Random) -> None:
    assert settings.database_url is not None

    def ask(connection: Connection) -> int:
        moment = chance.choice(("before", "after", "commit", None, None, None))
        _die(moment == "before")
        connection.execute(_EFFECT)
        _die(moment == "after")
        if moment == "commit":
            threading.Timer(chance.random() * _COMMIT_SECONDS, _die, [True]).start()
        return 1

    db = Database(settings.database_url, "schedule", pool_size=2)
    schedule = Schedule(db, timedelta(seconds=0.1), [Routine(NAME, "a test", "* * * * * *", CatchUp.ALL, ask)])
    schedule.start()
    mother = os.getppid()
    while os.getppid() == mother:
        time.sleep(0.5)


def _die(now: bool) -> None:
    if now:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
