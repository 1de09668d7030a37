"""Failpoints: every step of workers, commands and the API by name, and what may happen just before or after it.

The product contains no hooks. A step is a row of this table: the name of a function as the product calls it. A test
process replaces exactly the functions that its plan names, and runs the product as it is; without a plan nothing is
replaced, so hooks that are off cost nothing by construction. A plan is JSON, given in argv:

    {"at": {"stage.fetch.work.after": "kill"}}
    {"at": {"runner.settle.after": {"do": "raise", "chance": 0.1}}, "seed": 7}
    {"at": {"blobs.write.after": "kill"}, "flag": "FILE", "with": ["short_lease"]}

With a `flag` hits count only while that file exists, and whoever removes it acts: once, whatever number of processes.
What has a `chance` happens again and again and leaves the flag where it is.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.table import STAGES

Happens = Callable[[], None]


class Action(StrEnum):
    """What happens at a failpoint."""

    KILL = "kill"  #: SIGKILL
    STOP = "stop"  #: SIGSTOP; whoever asked for it sends SIGCONT
    RAISE = "raise"  #: an error that the step did not expect
    DELAY = "delay"  #: nothing, for some seconds
    TERMINATE = "terminate"  #: SIGTERM: the process is asked to stop, and the step goes on


class Injected(Exception):
    """The error that a failpoint raises."""


def _always(_: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name, and `module:attribute` as the product calls it.

    A call counts when its arguments say that it does something (`acts`), its end only when its result does (`found`).
    """

    name: str
    place: str
    acts: Callable[[Sequence[Any]], bool] = _always
    found: Callable[[Any], bool] = _always


def _last(arguments: Sequence[Any]) -> bool:
    return bool(arguments[-1])


def _second(arguments: Sequence[Any]) -> bool:
    return bool(arguments[1])


_LEDGER, _RUNNER, _HOLDINGS = "pipeline.runtime.ledger", "actors.runner", "actors.holdings:Holdings"
_REDIS = "dramatiq.brokers.redis"
#: Where the function of a stage is replaced: in the table that the worker reads.
_STAGE = "actors.worker:STAGES"

STAGE_STEPS = tuple(
    Step(f"stage.{name}.{part}", f"{_STAGE}:{name}.{part}") for name in STAGES for part in ("load", "work", "save")
)
RUNNER_STEPS = (
    Step("runner.answer", f"{_RUNNER}:Runner._answer", found=lambda found: bool(found[0])),
    Step("runner.claim", f"{_LEDGER}:claim", found=bool),
    Step("runner.run", f"{_RUNNER}:Runner._run"),
    Step("runner.load", f"{_RUNNER}:Runner._load"),
    Step("runner.work", f"{_RUNNER}:Runner._work"),
    Step("runner.hold", f"{_LEDGER}:hold"),
    Step("runner.save", f"{_RUNNER}:Runner._effect"),
    Step("runner.put", f"{_LEDGER}:put", acts=_second),
    Step("runner.settle", f"{_RUNNER}:settle"),
    #: Before it the transaction is committed and nobody was told; after `settle` it is whole and not committed.
    Step("runner.report", f"{_RUNNER}:report"),
    Step("runner.ring", "actors.broker:Bells.ring", acts=_second),
    Step("runner.fail", f"{_RUNNER}:Runner._fail"),
    Step("runner.follow", f"{_RUNNER}:Runner._follow"),
    Step("dlq.bury", "dlq.letters:bury", acts=_second),
)
BLOB_STEPS = (
    Step("blobs.put", "pipeline.adapters.local_blobs:LocalBlobs.put", acts=_last),
    #: Between its two ends a temporary file is written; after it, it is whole and not yet renamed.
    Step("blobs.write", "pipeline.adapters.local_blobs:_write_all"),
)
#: Before it the call is made ready; after it Gmail has done what was asked, and nobody here has read the answer.
GMAIL_STEPS = (Step("gmail.call", "pipeline.adapters.gmail_calls:GmailCalls._answered"),)
BROKER_STEPS = (
    Step("broker.enqueue", f"{_REDIS}:RedisBroker.enqueue"),
    Step("broker.ack", f"{_REDIS}:_RedisConsumer.ack"),
)
SWEEPER_STEPS = (
    Step("sweeper.sweep", "actors.sweeper:Sweeper.sweep"),
    Step("sweeper.reclaim", f"{_LEDGER}:reclaim", found=bool),
    Step("sweeper.promote", f"{_LEDGER}:promote", found=bool),
    Step("sweeper.ready", f"{_LEDGER}:ready_lines", found=bool),
    Step("sweeper.let_go", "pipeline.runtime.pump:Pump.release"),
    Step("dlq.advance", "dlq.advancing:advance"),
)
SCHEDULE_STEPS = (
    Step("schedule.poll", "actors.schedule:Schedule.poll", found=bool),
    Step("schedule.take", "pipeline.runtime.slots:take", found=bool),
)
HOLDINGS_STEPS = (
    Step("holdings.lock", f"{_HOLDINGS}._take_lock"),
    Step("holdings.renew", f"{_LEDGER}:renew", acts=_second),
    Step("holdings.release", f"{_LEDGER}:release"),
    Step("holdings.stop", f"{_HOLDINGS}.stop"),
)
WORKER_STEPS = (
    *(*STAGE_STEPS, *RUNNER_STEPS, *BLOB_STEPS, *GMAIL_STEPS, *BROKER_STEPS),
    *(*SWEEPER_STEPS, *SCHEDULE_STEPS, *HOLDINGS_STEPS),
)
#: What is handed over to a provider; not among the worker's, since one mailbox has one provider.
SENDER_STEPS = (
    Step("gmail.send", "pipeline.adapters.gmail_sending:GmailSender.send"),
    Step("smtp.send", "pipeline.adapters.smtp_sending:SmtpSender.send"),
    Step("send.report", f"{_RUNNER}:report", acts=lambda arguments: bool(arguments[0] == "send")),
)
_COMMANDS = "pipeline.commands"
COMMAND_STEPS = (
    Step("command.backfill", f"{_COMMANDS}.sync:request_backfill"),
    Step("command.history", f"{_COMMANDS}.sync:request_history"),
    Step("command.pause", f"{_COMMANDS}.sync:pause"),
    Step("command.resume", f"{_COMMANDS}.sync:resume"),
    Step("command.reconcile", f"{_COMMANDS}.reconcile:request_reconcile"),
    Step("command.reply", f"{_COMMANDS}.replies:reply"),
    Step("command.cancel", f"{_COMMANDS}.replies:cancel"),
    Step("command.reprocess", f"{_COMMANDS}.reprocessing:start"),
    Step("dlq.replay", "dlq.letters:replay"),
    Step("dlq.discard", "dlq.letters:discard"),
)
#: Before it the effect is committed and the client has heard nothing; after it, the head of the answer is on its way.
API_STEPS = (Step("api.answer", "ops_api.requests:Exchange.send"),)
#: The bytes of an upload: kept as they come; the last judged, stored, and made a photo by the transaction that
#: acknowledges them.
UPLOAD_STEPS = (
    Step("upload.keep", "pipeline.runtime.resumable_rows:keep"),
    Step("upload.check", "pipeline.runtime.uploads:check"),
    Step("upload.note", "pipeline.runtime.uploads:note"),
    Step("upload.finish", "pipeline.runtime.resumable_rows:finish"),
    Step("photo.add", "pipeline.runtime.photo_rows:add"),
)
STEPS: Mapping[str, Step] = MappingProxyType(
    {step.name: step for step in (*WORKER_STEPS, *SENDER_STEPS, *COMMAND_STEPS, *API_STEPS, *UPLOAD_STEPS)}
)


def points(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the failpoints of some steps: one before and one after each."""
    return tuple(f"{step.name}.{when}" for step in steps for when in ("before", "after"))


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens at one failpoint: at the `hit`-th time, or each time with a `chance`."""

    do: Action
    hit: int = 1
    chance: float | None = None
    #: How long a delay takes.
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens where, and in what a process differs beside (`tests.faults.failing_worker.CHANGES`)."""

    at: Mapping[str, Fate] = field(default_factory=dict)
    changes: Sequence[str] = ()
    flag: Path | None = None
    seed: int = 0

    @classmethod
    def of(cls, words: str) -> Plan:
        """Read a plan. ValueError for an unknown failpoint or action."""
        said = json.loads(words)
        fates = {point: _fate(fate) for point, fate in said.get("at", {}).items()}
        unknown = fates.keys() - set(points(tuple(STEPS.values())))
        if unknown:
            raise ValueError(f"there is no failpoint {', '.join(sorted(unknown))}; see tests/faults/failpoints.py")
        flag = Path(said["flag"]) if said.get("flag") else None
        return cls(fates, tuple(said.get("with", ())), flag, said.get("seed", 0))

    def __str__(self) -> str:
        """Return the plan as it is read."""
        at = {point: fate.do.value if fate == Fate(fate.do) else _said(fate) for point, fate in self.at.items()}
        said = {"at": at, "with": list(self.changes), "flag": self.flag and str(self.flag), "seed": self.seed}
        return json.dumps({name: value for name, value in said.items() if value})


def _fate(said: Any) -> Fate:
    values = {"do": said} if isinstance(said, str) else dict(said)
    return Fate(**(values | {"do": Action(values["do"])}))


def _said(fate: Fate) -> dict[str, Any]:
    said = {"do": fate.do.value, "hit": fate.hit, "chance": fate.chance, "seconds": fate.seconds}
    return {name: value for name, value in said.items() if value is not None}


class Trigger:
    """Counts the hits of one failpoint, and acts when its time has come; each act is told in a line."""

    def __init__(self, point: str, fate: Fate, plan: Plan) -> None:
        self._point, self._fate, self._flag = point, fate, plan.flag
        self._hits, self._guard = 0, threading.Lock()
        self._chance = random.Random(f"{plan.seed}:{point}")

    def __call__(self) -> None:
        """Note a hit."""
        with self._guard:
            if self._is_due() and self._is_first():
                self._act()

    def _is_due(self) -> bool:
        if self._flag is not None and not self._flag.exists():
            return False
        self._hits += 1
        if self._fate.chance is not None:
            return self._chance.random() < self._fate.chance
        return self._hits == self._fate.hit

    def _is_first(self) -> bool:
        if self._flag is None or self._fate.chance is not None:
            return True
        try:
            self._flag.unlink()
        except FileNotFoundError:
            return False
        return True

    def _act(self) -> None:
        os.write(sys.stderr.fileno(), f"failpoint {self._point}: {self._fate.do}\n".encode())
        match self._fate.do:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Action.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Action.TERMINATE:
                # To the main thread, as a signal from outside: another thread would take it and wake nobody.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            case Action.DELAY:
                time.sleep(self._fate.seconds)
            case Action.RAISE:
                raise Injected(f"injected at {self._point}")


def install(plan: Plan) -> None:
    """Replace in this process what the plan names, and nothing else."""
    by_step: dict[str, dict[str, Trigger]] = {}
    for point, fate in plan.at.items():
        name, _, when = point.rpartition(".")
        by_step.setdefault(name, {})[when] = Trigger(point, fate, plan)
    for name, triggers in by_step.items():
        step = STEPS[name]
        change(step.place, functools.partial(_wrapped, step, triggers.get("before"), triggers.get("after")))


def change(place: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace the function at a place by what `wrap` makes of it."""
    owner, name = _owner(place)
    if place.startswith(_STAGE):
        stage, part = name.split(".")
        table = dict(owner.STAGES)
        table[stage] = replace(table[stage], **{part: wrap(getattr(table[stage], part))})
        owner.STAGES = MappingProxyType(table)
    else:
        setattr(owner, name, wrap(getattr(owner, name)))


def present(place: str) -> Callable[..., Any]:
    """Return the function that stands at a place now."""
    owner, name = _owner(place)
    if place.startswith(_STAGE):
        stage, part = name.split(".")
        return getattr(owner.STAGES[stage], part)  # type: ignore[no-any-return]
    return getattr(owner, name)  # type: ignore[no-any-return]


def _owner(place: str) -> tuple[Any, str]:
    """Return the module or class that holds a function, and its name there."""
    module, _, name = place.partition(":")
    owner: Any = importlib.import_module(module)
    if place.startswith(_STAGE):
        return owner, name.partition(":")[2]
    *path, last = name.split(".")
    return functools.reduce(getattr, path, owner), last


def _wrapped(
    step: Step, before: Happens | None, after: Happens | None, function: Callable[..., Any]
) -> Callable[..., Any]:
    def begins(arguments: Sequence[Any]) -> bool:
        if not step.acts(arguments):
            return False
        if before is not None:
            before()
        return after is not None

    @functools.wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        may_end = begins(arguments)
        found = function(*arguments, **options)
        if may_end and after is not None and step.found(found):
            after()
        return found

    @functools.wraps(function)
    async def awaited(*arguments: Any, **options: Any) -> Any:
        may_end = begins(arguments)
        found = await function(*arguments, **options)
        if may_end and after is not None and step.found(found):
            after()
        return found

    return awaited if inspect.iscoroutinefunction(function) else wrapped
