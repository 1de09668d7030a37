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

from sqlalchemy import Connection

from actors import crews, runner, verdicts, worker
from models.enums import Lane
from pipeline.adapters import wiring
from pipeline.adapters.gmail_sending import GmailSender
from pipeline.adapters.parsing import IsolatingParser
from pipeline.adapters.smtp_sending import SmtpSender
from pipeline.core import mime
from pipeline.runtime import ledger, message_rows
from pipeline.runtime.logs import set_up_logs
from pipeline.runtime.settings import read_settings
from pipeline.stage import Stage
from pipeline.stages import send
from pipeline.table import STAGES

#: A mail with these bytes kills the process that parses it: a worker, and the child that reads apart.
POISON = b"X-Death: exit"
#: A mail with this subject kills the worker that saves it.
DEADLY_SUBJECT = "kills"
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
    """Whatever process parses a poisonous mail ends without a word, as by a crash in a C library."""
    parse = mime.parse

    def parse_or_die(raw: bytes) -> mime.Parsed:
        if POISON in raw:
            os._exit(1)
        return parse(raw)

    mime.parse = parse_or_die
    wiring.IsolatingParser = partial(IsolatingParser, child="tests.failing_parser")  # type: ignore[misc,assignment]


def by_subject(_: Happens) -> None:
    """The process ends without a word when it saves a mail with a deadly subject: no reader is to blame."""
    keep = message_rows.keep

    def keep_or_die(connection: Connection, sightings: Sequence[message_rows.Sighting]) -> message_rows.Kept:
        if any(one.result.parsed.subject == DEADLY_SUBJECT for one in sightings):
            os._exit(1)
        return keep(connection, sightings)

    message_rows.keep = keep_or_die


def send_before_mark(happens: Happens) -> None:
    """The mark stands in the open transaction; nothing leaves before it is committed."""
    _change("send", load=_after(STAGES["send"].load, happens))


def send_after_mark(happens: Happens) -> None:
    """The mark is committed; nothing was composed or stored yet."""
    _change("send", work=_before(STAGES["send"].work, happens))


def send_before_call(happens: Happens) -> None:
    """The bytes are stored, and would be handed over now."""
    for sender in (GmailSender, SmtpSender):
        sender.send = _before(sender.send, happens)  # type: ignore[method-assign]


def send_after_call(happens: Happens) -> None:
    """The provider took the mail and said so; no row says so yet."""
    for sender in (GmailSender, SmtpSender):
        sender.send = _after(sender.send, happens)  # type: ignore[method-assign]


def send_before_commit(happens: Happens) -> None:
    """That it was sent stands in the open transaction."""
    _change("send", save=_after(STAGES["send"].save, happens))


def send_after_commit(happens: Happens) -> None:
    """That it was sent is committed; nobody was told of it."""

    def report(stage: str, *arguments: Any) -> None:
        verdicts.report(stage, *arguments)
        if stage == "send":
            happens()

    runner.report = report  # type: ignore[attr-defined]


def send_frozen(happens: Happens) -> None:
    """The worker freezes with a mail in its hands under a lease that is soon over, and must not begin to send late."""
    _be_short()
    send_before_call(happens)


def send_frozen_after_mark(happens: Happens) -> None:
    """As `send_frozen`, between the commit of the mark and everything else that sending is."""
    _be_short()
    send_after_mark(happens)


def send_frozen_unbounded(happens: Happens) -> None:
    """As `send_frozen`, in a worker that begins to send however late: the mutation that the test must notice."""
    send_frozen(happens)
    send.BEGIN_WITHIN = timedelta(hours=1)


DEATHS = (after_claim, after_work, before_commit, after_commit)
SEND_DEATHS = (
    *(send_before_mark, send_after_mark, send_before_call),
    *(send_after_call, send_before_commit, send_after_commit),
)
_MOMENTS = {
    moment.__name__: moment
    for moment in (
        *DEATHS,
        *SEND_DEATHS,
        send_frozen,
        send_frozen_after_mark,
        send_frozen_unbounded,
        with_bytes,
        with_bytes_unfenced,
        by_poison,
        by_subject,
    )
}


def main(arguments: Sequence[str]) -> None:
    """Run a worker that fails at a moment: by SIGSTOP where it freezes, else by SIGKILL."""
    where, flag = arguments
    fate = signal.SIGSTOP if where.startswith(("with_bytes", "send_frozen")) else signal.SIGKILL

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


def _be_short() -> None:
    """Let leases be over soon, and the time in which sending must begin."""
    # With more threads another one could freeze inside a transaction, and its locks would hold up everybody.
    crews.CREWS = (tuple(Lane),)
    worker.Crews = partial(crews.Crews, threads=1)  # type: ignore[assignment,misc]
    for name in STAGES:
        _change(name, lease=LEASE)
    send.BEGIN_WITHIN = timedelta(milliseconds=500)


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
