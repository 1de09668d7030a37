"""A worker that dies, freezes or breaks at one named moment: `python -m tests.faults.failing_worker WHERE FLAG`.

The moment comes once: whoever removes the file FLAG first fails there. Only a stage's functions and the names the
runner calls are wrapped; everything else is the product as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any

from actors import crews, runner, verdicts, worker
from models.enums import Lane
from pipeline.core import mime
from pipeline.runtime import ledger
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import read_settings
from pipeline.stage import Stage
from pipeline.table import STAGES

#: A mail with these bytes kills the process that parses it.
POISON = b"X-Poison: kills"
#: Short enough that a frozen worker is soon given up.
LEASE = timedelta(seconds=2)

Happens = Callable[[], None]


def after_claim(happens: Happens) -> None:
    """The rows are claimed and committed; nothing was loaded yet."""
    _change("fetch", load=_before(STAGES["fetch"].load, happens))


def after_work(happens: Happens) -> None:
    """Attachments are stored; no row says so yet."""
    _change("parse", work=_after(STAGES["parse"].work, happens))


def before_commit(happens: Happens) -> None:
    """Every effect and the settling stand in the open transaction."""
    ledger.settle = _after(ledger.settle, happens)


def after_commit(happens: Happens) -> None:
    """The transaction is committed; nobody was told of the next steps."""
    runner.report = _after(verdicts.report, happens)  # type: ignore[attr-defined]


def with_bytes(happens: Happens) -> None:
    """Raw bytes were fetched and stored under a lease that is soon over; no row says so yet."""
    # With more threads another one could freeze inside a transaction, and its locks would hold up everybody.
    crews.CREWS = (tuple(Lane),)
    worker.Crews = partial(crews.Crews, threads=1)  # type: ignore[assignment,misc]
    for name in STAGES:
        _change(name, lease=LEASE)
    _change("fetch", work=_after(STAGES["fetch"].work, happens))


def with_bytes_unfenced(happens: Happens) -> None:
    """As `with_bytes`, in a worker whose fence lets everything through: the mutation that the tests must notice."""
    with_bytes(happens)
    ledger.hold = lambda _, jobs, __: {job.job_id for job in jobs}


def by_poison(_: Happens) -> None:
    """The process ends without a word while it parses a poisonous mail, as by a crash in a C library."""
    parse = mime.parse

    def parse_or_die(raw: bytes) -> mime.Parsed:
        if POISON in raw:
            os._exit(1)
        return parse(raw)

    mime.parse = parse_or_die


DEATHS = (after_claim, after_work, before_commit, after_commit)
_MOMENTS = {moment.__name__: moment for moment in (*DEATHS, with_bytes, with_bytes_unfenced, by_poison)}


def main(arguments: Sequence[str]) -> None:
    """Run a worker that fails at a moment: by SIGSTOP where it freezes, else by SIGKILL."""
    where, flag = arguments
    fate = signal.SIGSTOP if where.startswith("with_bytes") else signal.SIGKILL

    def happens() -> None:
        try:
            Path(flag).unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), fate)

    _MOMENTS[where](happens)
    settings = read_settings()
    set_up_logs(settings.log_format, settings.log_level, "worker")
    worker.run(settings)


def _change(name: str, **changes: Any) -> None:
    table: dict[str, Stage[Any, Any]] = {**worker.STAGES, name: replace(worker.STAGES[name], **changes)}
    worker.STAGES = MappingProxyType(table)


def _before(function: Callable[..., Any], happens: Happens) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        happens()
        return function(*arguments, **options)

    return wrapped


def _after(function: Callable[..., Any], happens: Happens) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        found = function(*arguments, **options)
        happens()
        return found

    return wrapped


if __name__ == "__main__":
    main(sys.argv[1:])
