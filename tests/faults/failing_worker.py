"""A worker that dies, freezes or breaks at named moments: `python -m tests.faults.failing_worker PLAN`.

The plan is JSON (`tests.faults.failpoints`); the environment is a worker's. Beside failpoints a plan names changes:
times made short, so that a test need not wait, and mutations that the tests must notice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import MappingProxyType

from sqlalchemy import Connection

from actors import crews, holdings, sweeper, worker
from models.enums import Lane
from pipeline.adapters import wiring
from pipeline.adapters.parsing import IsolatingParser
from pipeline.core import mime
from pipeline.runtime import ledger, message_rows
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import Settings, read_settings
from pipeline.stages import send
from tests.faults import failpoints
from tests.faults.failpoints import Plan

#: A mail with these bytes kills the process that parses it: a worker, and the child that reads apart.
POISON = b"X-Death: exit"
#: A mail with this subject kills the worker that saves it.
DEADLY_SUBJECT = "kills"
#: Short enough that a frozen worker is soon given up.
LEASE = timedelta(seconds=1.5)


def short_lease() -> None:
    """Leases are soon over, and so is the time in which sending must begin; one thread does everything."""
    one_thread()
    worker.STAGES = MappingProxyType({name: replace(stage, lease=LEASE) for name, stage in worker.STAGES.items()})
    send.BEGIN_WITHIN = timedelta(milliseconds=500)


def one_thread() -> None:
    """One thread answers all lanes: another could freeze in a transaction, and its locks hold up everybody."""
    crews.CREWS = (tuple(Lane),)
    worker.Crews = partial(crews.Crews, threads=1)  # type: ignore[assignment,misc]


def quick_sweeps() -> None:
    """What died is soon taken back."""
    sweeper.INTERVAL = timedelta(milliseconds=30)


def quick_pulse() -> None:
    """Leases are renewed about three times a second."""
    holdings._PULSE = timedelta(milliseconds=40)


def short_shutdown() -> None:
    """A stop waits only a moment for what runs."""
    worker._SHUTDOWN = timedelta(milliseconds=300)


def unfenced() -> None:
    """The fence lets everything through: a mutation that the tests must notice."""
    ledger.hold = lambda _, jobs, __: {job.job_id for job in jobs}


def unbounded() -> None:
    """A worker begins to send however late: a mutation that the tests must notice."""
    send.BEGIN_WITHIN = timedelta(hours=1)


def by_poison() -> None:
    """Whatever process parses a poisonous mail ends without a word, as by a crash in a C library."""
    parse = mime.parse

    def parse_or_die(raw: bytes) -> mime.Parsed:
        if POISON in raw:
            os._exit(1)
        return parse(raw)

    mime.parse = parse_or_die
    wiring.IsolatingParser = partial(IsolatingParser, child="tests.failing_parser")  # type: ignore[misc,assignment]


def by_subject() -> None:
    """The process ends without a word when it saves a mail with a deadly subject: no reader is to blame."""
    keep = message_rows.keep

    def keep_or_die(connection: Connection, sightings: Sequence[message_rows.Sighting]) -> message_rows.Kept:
        if any(one.result.parsed.subject == DEADLY_SUBJECT for one in sightings):
            os._exit(1)
        return keep(connection, sightings)

    message_rows.keep = keep_or_die


CHANGES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        change.__name__: change
        for change in (
            *(short_lease, one_thread, quick_sweeps, quick_pulse, short_shutdown),
            *(unfenced, unbounded, by_poison, by_subject),
        )
    }
)


def run(settings: Settings, plan: Plan) -> None:
    """Run a worker that follows a plan until it ends, or is asked to stop."""
    for name in plan.changes:
        CHANGES[name]()
    failpoints.install(plan)
    set_up_logs(settings.log_format, settings.log_level, "worker")
    worker.run(settings)


def main(arguments: Sequence[str]) -> None:
    """Run a worker with the settings of the environment."""
    (words,) = arguments
    run(read_settings(), Plan.of(words))


if __name__ == "__main__":
    main(sys.argv[1:])
