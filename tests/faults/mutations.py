"""Ways to break the product on purpose, each with the tests that must notice: proof that the suite sees what it guards.

`pytest --mutation NAME` runs tests on a product broken in one way; worker processes of such a run are broken alike.
`python -m tests.faults.mutations NAME MODULE ...` runs a module of the product so.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, event, text

from actors import runner, verdicts
from dlq import letters
from models import schema
from pipeline.runtime import ledger, stitching
from pipeline.stages import backfill, history

_SIMULATION = "tests/faults/test_simulation.py::test_no_order_of_the_first_ones_breaks_a_promise"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the product: what is taken away, how, and the tests that must turn red.

    `is_quick`: proven in every run of the suite; the others by `make soak`.
    """

    about: str
    apply: Callable[[], None]
    killers: tuple[str, ...]
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A unique key of the schema, by its table and columns; `where` of a partial one."""

    table: str
    columns: tuple[str, ...]


_strip: list[re.Pattern[str]] = []


def rewritten(statement: str) -> str:
    """Return a statement without the clause that leans on a key that was taken away."""
    for clause in _strip:
        statement = clause.sub("", statement)
    return statement


#: How this process is broken, if it is.
_applied: list[str] = []


def apply(name: str) -> None:
    """Break the product in this process, and in the workers it starts."""
    _applied.append(name)
    MUTATIONS[name].apply()


def as_broken(module: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return what `python -m` is to run for a child that runs a module: broken as this process is."""
    return ("tests.faults.mutations", *_applied, module, *arguments) if _applied else (module, *arguments)


def _no_fence() -> None:
    ledger.hold = lambda _, jobs, __: {job.job_id for job in jobs}


def _fence_without_attempt() -> None:
    def hold(connection: Connection, jobs: Sequence[Any], worker: int) -> set[int]:
        rows = connection.execute(ledger._HOLD, {"ids": [job.job_id for job in jobs], "worker": worker})
        return {row.id for row in rows}

    ledger.hold = hold


def _no_sweeper() -> None:
    ledger.reclaim = lambda *_, **__: []


def _no_promote() -> None:
    ledger.promote = lambda _: set()


def _settle_apart() -> None:
    """Let the effects of a batch commit before its jobs are settled."""
    commit = runner.Runner._commit
    later: list[Any] = []

    def apart(self: runner.Runner, stage: Any, change: Callable[[Any], Any]) -> set[ledger.Line]:
        def first(connection: Any) -> Any:
            runner.settle = lambda _, verdict: later.append(verdict)  # type: ignore[attr-defined]
            try:
                return change(connection)
            finally:
                runner.settle = verdicts.settle  # type: ignore[attr-defined]

        lines = commit(self, stage, first)
        while later:
            verdict = later.pop()
            with self._around.db.begin() as connection:
                verdicts.settle(connection, verdict)
            lines |= verdict.lines
        return lines

    runner.Runner._commit = apart  # type: ignore[method-assign]


def _bury_without_quarantine() -> None:
    letters._QUARANTINE = text("SELECT CAST(:ids AS bigint[])")


def _replay_unchecked() -> None:
    letters._REPLAY = _changed(letters._REPLAY, "WHERE d.resolution IS NULL", "WHERE true")


def _no_stitching_lock() -> None:
    stitching.lock = lambda *_: None


def _cursor_before_list() -> None:
    """Let history commit its new cursor before what it read is recorded."""
    advance = history._advance

    def early(connection: Connection, done: Any) -> Any:
        mailbox, cursor = done.item, done.result.cursor
        move = {"id": mailbox.ref.mailbox_id, "old": mailbox.cursor, "new": cursor, "read_at": mailbox.now}
        with connection.engine.begin() as own:
            if own.execute(history._MOVE, move).rowcount != 1:
                return advance(connection, done)
        return advance(connection, replace(done, item=replace(mailbox, cursor=cursor)))

    history._advance = early


def _cursor_before_list_in_backfill() -> None:
    """Let a listing commit that it turned a page before the ids of that page are recorded."""
    save = backfill._save_one

    def early(connection: Connection, done: Any) -> Any:
        item, page = done.item, done.result.page
        if item.window is None or page is None or page.next_cursor is None:
            return save(connection, done)
        place = {"number": item.window.number, "from_cursor": item.cursor, "cursor": page.next_cursor, "is_last": False}
        with connection.engine.begin() as own:
            own.execute(backfill._MOVE, {"id": item.backfill_id, "listed": 0, "fresh": 0} | place)
        return save(connection, replace(done, item=replace(item, cursor=page.next_cursor)))

    backfill._save_one = early


def _changed(statement: TextClause, before: str, after: str) -> TextClause:
    assert before in statement.text, f"the product no longer says {before!r}: mend this mutation"
    return text(statement.text.replace(before, after))


def _without(key: Key) -> None:
    """Take a unique key out of every database that is migrated from now on, and what leans on it out of statements."""
    migrate = schema.migrate

    @wraps(migrate)
    def then_drop(connection: Connection, *arguments: Any, **options: Any) -> Any:
        found = migrate(connection, *arguments, **options)
        _drop(connection, key)
        return found

    schema.migrate = then_drop
    target = r"\s*,\s*".join(map(re.escape, key.columns))
    _strip.append(re.compile(rf"ON CONFLICT \({target}\).*?(?=RETURNING|$)", re.DOTALL))
    event.listen(Engine, "before_cursor_execute", partial(_rewrite, key.table), retval=True)


def _rewrite(table: str, _: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> tuple[str, Any]:
    return (rewritten(statement) if f"INSERT INTO {table} " in statement else statement), parameters


def _drop(connection: Connection, key: Key) -> None:
    values = {"table": key.table, "columns": list(key.columns)}
    row = connection.execute(_INDEX, values).one()
    if row.constraint_name is None:
        connection.execute(text(f"DROP INDEX {row.index_name}"))
    else:
        connection.execute(text(f"ALTER TABLE {key.table} DROP CONSTRAINT {row.constraint_name} CASCADE"))
    connection.execute(text(f"CREATE INDEX ON {key.table} ({', '.join(key.columns)})"))


#: The index of a unique key, and its constraint where it has one.
_INDEX = text("""
    SELECT i.indexrelid::regclass::text AS index_name, c.conname AS constraint_name
      FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'p')
     WHERE i.indrelid = CAST(:table AS regclass) AND i.indisunique
       AND ARRAY(SELECT CAST(a.attname AS text) FROM unnest(i.indkey) WITH ORDINALITY AS k(number, place)
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number ORDER BY k.place)
           = CAST(:columns AS text[])
""")

#: The keys that keep things single, with the tests that see one missing by what then happens.
KEYS: Mapping[str, tuple[Key, tuple[str, ...]]] = {
    "no-key-jobs": (
        Key("jobs", ("stage", "key")),
        ("tests/runtime/test_ledger.py::test_the_same_step_put_twice_is_one_job", _SIMULATION),
    ),
    "no-key-occurrences": (
        Key("occurrences", ("mailbox_id", "provider_id")),
        ("tests/stages/test_backfill.py::test_listing_a_mailbox_again_finds_nothing_new",),
    ),
    "no-key-messages": (
        Key("messages", ("org_id", "fingerprint", "signature")),
        ("tests/stages/test_parse.py::test_one_mail_in_two_mailboxes_is_one_message_with_two_occurrences",),
    ),
    "no-key-ticket-messages": (Key("ticket_messages", ("message_id",)), ()),
    "no-key-open-work-orders": (
        Key("work_orders", ("case_id",)),
        ("tests/stages/test_dispatch.py::test_eight_threads_that_dispatch_one_case_make_one_open_order",),
    ),
    "no-key-open-cases": (
        Key("cases", ("org_id", "asset_id", "mode")),
        ("tests/stages/test_triage.py::test_a_case_is_assessed_anew_and_not_replaced",),
    ),
    "no-key-blobs": (Key("blobs", ("org_id", "kind", "sha256")), ()),
    "no-key-open-letters": (Key("dead_letters", ("job_id",)), ()),
    #: A lock keeps two schedulers from one slot before the key has to.
    "no-key-slots": (Key("slots", ("schedule", "slot_at")), ()),
}

_BARRIER = "tests/models/test_single.py"
MUTATIONS: Mapping[str, Mutation] = {
    "no-fence": Mutation("a late twin's effects are let through", _no_fence, (_SIMULATION,), is_quick=True),
    "fence-without-attempt": Mutation(
        "a worker's older attempt passes for its newer one",
        _fence_without_attempt,
        ("tests/runtime/test_ledger_model.py",),
    ),
    "no-sweeper": Mutation("what a dead worker held never comes back", _no_sweeper, (_SIMULATION,), is_quick=True),
    "no-promote": Mutation("what waits is never due", _no_promote, (_SIMULATION,)),
    "settle-apart": Mutation("effects commit before their job is settled", _settle_apart, (_SIMULATION,)),
    "bury-without-quarantine": Mutation(
        "a dead letter's occurrence stays where it was",
        _bury_without_quarantine,
        ("tests/dlq/test_letters.py::test_the_occurrence_of_a_letter_stands_quarantined_and_keeps_its_raw_bytes",),
    ),
    "replay-unchecked": Mutation(
        "a letter is replayed whether it is open or not",
        _replay_unchecked,
        ("tests/dlq/test_letters.py::test_a_letter_replayed_before_cannot_revive_the_job_that_died_again",),
    ),
    "no-stitching-lock": Mutation(
        "an organization's stitchers do not wait for each other",
        _no_stitching_lock,
        ("tests/stages/test_stitch_any_order.py", "tests/stages/test_stitch.py"),
    ),
    "cursor-before-list": Mutation(
        "history moves its cursor before what it read is recorded",
        _cursor_before_list,
        ("tests/stages/test_cursors.py",),
        is_quick=True,
    ),
    "cursor-before-list-in-backfill": Mutation(
        "a listing turns its page before the ids of that page are recorded",
        _cursor_before_list_in_backfill,
        ("tests/stages/test_cursors.py",),
    ),
    **{
        name: Mutation(
            f"{key.table} may hold equal {', '.join(key.columns)}",
            partial(_without, key),
            (*killers, _BARRIER),
            is_quick=name == "no-key-occurrences",
        )
        for name, (key, killers) in KEYS.items()
    },
}


def main(arguments: Sequence[str]) -> None:
    """Run a module as `python -m` would, in a process that is broken in the named way."""
    name, module, *rest = arguments
    # Run as a script this module is another one than those that are imported know.
    sys.modules["tests.faults.mutations"] = sys.modules[__name__]
    apply(name)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
