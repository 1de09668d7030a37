"""The two small stages of the simulation, with their SQL and the steps that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.enums import Lane
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work
from tests.faults.interleaving import Actor

LEASE, WAIT = timedelta(seconds=60), timedelta(seconds=120)
ORG, MAILBOX = UUID(int=1), UUID(int=2)

_LOAD_SECOND = text("""
    SELECT f.key FROM effects f
     WHERE f.stage = 'first' AND split_part(f.key, '/', 1) = ANY(CAST(:groups AS text[]))
       AND NOT EXISTS (SELECT FROM effects s WHERE s.stage = 'second' AND s.key = f.key)
""")
_SAVE = text("""
    INSERT INTO effects (stage, key, attempt)
    SELECT :stage, * FROM unnest(CAST(:keys AS text[]), CAST(:attempts AS int[]))
""")


def stages(actor: Actor, fate: Callable[[Any], Any]) -> dict[str, Stage[Any, Any]]:
    """Return both stages as one actor runs them; `fate` says what becomes of an item."""
    first = Stage(
        name="first",
        about="has one effect and asks for its group",
        load=_load_first,
        work=partial(_work, actor, fate),
        save=_save_first,
        emits=("second",),
        io=True,
        batch=2,
        attempts=3,
        backoff=WAIT,
        lease=LEASE,
    )
    second = Stage(
        name="second",
        about="takes up what its group has not taken up",
        load=_load_second,
        work=partial(_work, actor, fate),
        save=_save_second,
        batch=2,
        attempts=3,
        backoff=WAIT,
        lease=LEASE,
    )
    return {"first": first, "second": second}


def group(key: str) -> str:
    """Return the group of a key of `first`."""
    return key.partition("/")[0]


def emit(stage: str, key: str) -> Emit:
    """Return the step that asks for a key of a stage."""
    return Emit(stage, key, ORG, MAILBOX, Lane.LIVE, 0, "trace")


def _work(actor: Actor, fate: Callable[[Any], Any], items: Sequence[Any], _: object) -> list[Any]:
    """Have a turn, then let each item have its fate."""
    actor.turn("works")
    return [fate(item) for item in items]


def _load_first(_: Any, jobs: Sequence[Job]) -> dict[int, str]:
    return {job.job_id: job.key for job in jobs}


def _save_first(connection: Any, works: Sequence[Work[str, str]]) -> list[Emit]:
    keys = [work.result for work in works]
    connection.execute(_SAVE, {"stage": "first", "keys": keys, "attempts": [work.job.attempt for work in works]})
    return [emit("second", its) for its in sorted({group(key) for key in keys})]


def _load_second(connection: Any, jobs: Sequence[Job]) -> dict[int, list[str]]:
    keys = sorted(connection.execute(_LOAD_SECOND, {"groups": [job.key for job in jobs]}).scalars())
    found = {job.job_id: [key for key in keys if group(key) == job.key] for job in jobs}
    return {job_id: its for job_id, its in found.items() if its}


def _save_second(connection: Any, works: Sequence[Work[list[str], list[str]]]) -> list[Emit]:
    pairs = [(key, work.job.attempt) for work in works for key in work.result]
    values = {"stage": "second", "keys": [key for key, _ in pairs], "attempts": [attempt for _, attempt in pairs]}
    connection.execute(_SAVE, values)
    return []
