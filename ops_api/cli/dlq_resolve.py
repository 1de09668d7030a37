"""`fieldpost dlq replay`, `discard`, `restore` and `edit`: what a person decides about dead letters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from dlq import bulk_reading, letters, reading
from dlq.bulk_reading import Bulk
from dlq.bulks import Started, Wish
from dlq.reading import LetterGroup, Which
from models.enums import BulkAction
from models.queries import queue
from ops_api import bulk_wishes
from ops_api.bulk_wishes import Counted
from ops_api.cli.bells import ring
from ops_api.cli.dlq_choice import All, Filters, Ids, Reason, chosen, filtered, said_why
from ops_api.cli.dlq_progress import how_far, is_clean, summary, watch
from ops_api.cli.options import AsJson, Data, Yes
from ops_api.cli.output import line_of, print_json, remark
from ops_api.cli.person import operator
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.wording import counted
from pipeline.runtime.errors import UserError

#: Kinds of error, and letters, that are named before or after.
_KINDS, _SHOWN = 5, 20


@filtered
def replay(
    ids: Ids = None,
    *,
    filters: Filters,
    everything: All = False,
    canary: Annotated[
        int, typer.Option(min=0, max=1_000, metavar="K", help="Let K go first; stop when one of them fails again.")
    ] = 0,
    per_second: Annotated[
        float | None,
        typer.Option(min=0.01, max=1_000, metavar="N", help="Let at most N go a second.", show_default=False),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until it is over, then what became of it.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the letter.")] = "replayed by hand",
    yes: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again from the step that failed, with a fresh budget of attempts, before any backfill.

    Letters named by id go at once. Letters chosen by filters or --all are counted and asked about; then the workers let
    them go, those of one ticket in their order, and stop by themselves when most fail again.

    Example: fieldpost dlq replay --group 5f2c91d0aa17 --canary 3 --per-second 20 --wait

    Exit codes: 0 replayed (with --wait: and none failed again), 1 some were left out (not open, or under way in another
    bulk) or failed again, 2 bad input.
    """
    reason = said_why(reason)
    settings, where = begin("dlq", data)
    is_bulk = not ids or bool(canary) or per_second is not None or wait
    with open_runtime(settings, where, start=True) as runtime:
        which = _choose(runtime, ids, filters, everything=everything)
        if not is_bulk:
            _replay_now(runtime, which["letter_ids"] or (), reason, as_json=as_json)
            return
        found = _count(runtime, which)
        _ask("replay", found, yes=yes or bool(ids))
        wish = Wish(BulkAction.REPLAY, which, operator(), reason, canaries=canary, per_second=per_second)
        _start_replay(runtime, wish, found, wait=wait, as_json=as_json)


@filtered
def discard(
    ids: Ids = None,
    *,
    filters: Filters,
    everything: All = False,
    reason: Reason,
    yes: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End dead letters without trying them again; their messages stay quarantined, counted, and kept raw.

    What is chosen by filters is counted and asked about. `fieldpost dlq restore` undoes it for 3 days.

    Example: fieldpost dlq discard 17 --reason "empty mail from a scanner"

    Exit codes: 0 all were discarded, 1 some were not open any more or are under way in a bulk, 2 bad input.
    """
    reason = said_why(reason)
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime:
        which = _choose(runtime, ids, filters, everything=everything)
        if ids:
            chosen_ids = which["letter_ids"] or ()
            with runtime.db.begin() as connection:
                done = letters.discard(connection, chosen_ids, actor=operator(), reason=reason)
            _tell("discarded", done, chosen_ids, as_json=as_json)
            return
        found = _count(runtime, which)
        _ask("discard", found, yes=yes)
        _discard_many(runtime, Wish(BulkAction.DISCARD, which, operator(), reason), found, as_json=as_json)


def _choose(runtime: Runtime, ids: list[int] | None, filters: Filters, *, everything: bool) -> Which:
    with runtime.db.begin() as connection:
        return chosen(connection, ids, filters, everything=everything)


def _count(runtime: Runtime, which: Which) -> tuple[Counted, list[LetterGroup]]:
    """Return how many open letters are meant, and their largest kinds."""
    with runtime.db.begin() as connection:
        found = reading.counted(connection, **which)
        kinds = reading.groups(connection, limit=_KINDS, **which)
    return Counted(found.count, found.newest_id), kinds


def _ask(action: str, found: tuple[Counted, list[LetterGroup]], *, yes: bool) -> None:
    """Say what is meant, and ask about it; an answer that is no yes ends the command."""
    total, kinds = found
    remark(f"{counted(total.count, 'open letter')} to {action}")
    for kind in kinds:
        remark(f"  {kind.count:,} {kind.stage}: {line_of(f'{kind.error_class}: {kind.example}', 100)}")
    if yes or not total.count:
        return
    if not sys.stdin.isatty():
        raise UserError(f"nobody can be asked here: add --yes to {action} them")
    typer.confirm(f"{action.capitalize()} them?", abort=True, err=True)


def _replay_now(runtime: Runtime, ids: Sequence[int], reason: str, *, as_json: bool) -> None:
    with runtime.db.begin() as connection:
        done = letters.replay(connection, ids, actor=operator(), reason=reason)
        workers = queue.live_workers(connection)
    ring(runtime.settings, done.lines)
    if done.letter_ids:
        warn_without_workers(len(workers))
    _tell("replayed", done.letter_ids, ids, as_json=as_json)


def _start_replay(
    runtime: Runtime, wish: Wish, found: tuple[Counted, list[LetterGroup]], *, wait: bool, as_json: bool
) -> None:
    started, bulk = _start(runtime, wish, found[0])
    if bulk is None:
        _tell_nothing("replay", started, as_json=as_json)
        return
    if not started.is_new:
        remark(f"an equal replay goes on already: bulk {bulk.bulk_id}")
    _tell_left_out(started)
    if wait:
        bulk = watch(runtime, bulk.bulk_id)
    else:
        with runtime.db.begin() as connection:
            warn_without_workers(len(queue.live_workers(connection)))
    if as_json:
        print_json(asdict(bulk) | _figures(started))
    else:
        print("\n".join(summary(bulk) if wait else _started(bulk)))
    if started.left_out or (wait and not is_clean(bulk)):
        raise typer.Exit(1)


def _started(bulk: Bulk) -> list[str]:
    first = f"{counted(bulk.canaries, 'letter')} first, " if bulk.canaries else ""
    pace = "as fast as live mail allows" if bulk.per_second is None else f"at most {bulk.per_second:g} a second"
    return [
        f"bulk {bulk.bulk_id}: {counted(bulk.total, 'letter')}, {first}{pace}",
        f"how far it is: fieldpost dlq bulk {bulk.bulk_id}",
        f"to end it: fieldpost dlq cancel {bulk.bulk_id}",
    ]


def _discard_many(runtime: Runtime, wish: Wish, found: tuple[Counted, list[LetterGroup]], *, as_json: bool) -> None:
    started, bulk = _start(runtime, wish, found[0])
    if bulk is None:
        _tell_nothing("discard", started, as_json=as_json)
        return
    _tell_left_out(started)
    if as_json:
        print_json(asdict(bulk) | _figures(started))
    else:
        print(f"bulk {bulk.bulk_id}: {how_far(bulk)}")
        print(f"to undo it: fieldpost dlq restore --bulk {bulk.bulk_id} --reason TEXT")
    if bulk.skipped or started.left_out:
        raise typer.Exit(1)


def _start(runtime: Runtime, wish: Wish, total: Counted) -> tuple[Started, Bulk | None]:
    """Start a wish for what was counted; return what came of it and its bulk, None when no letter was taken."""
    with runtime.db.begin() as connection:
        started = bulk_wishes.start(connection, wish, total)
        return started, None if started.bulk_id is None else bulk_reading.bulk(connection, started.bulk_id)


def _tell_nothing(action: str, started: Started, *, as_json: bool) -> None:
    """Say that no letter was taken; the command ends with 1 when some were meant."""
    _tell_left_out(started)
    if as_json:
        print_json({"bulk_id": None, "total": 0} | _figures(started))
    else:
        print(f"nothing to {action}: no such letter is open, or a bulk has it under way")
    if started.left_out:
        raise typer.Exit(1)


def _tell_left_out(started: Started) -> None:
    if started.under_way:
        are = "is" if started.under_way == 1 else "are"
        remark(f"{counted(started.under_way, 'letter')} {are} under way in another bulk (fieldpost dlq bulks)")
    if others := started.left_out - started.under_way:
        why = (
            "not open any more" if started.is_new or started.bulk_id is None else "newer than that bulk, or in another"
        )
        remark(f"{counted(others, 'letter')} left out: {why}")


def _figures(started: Started) -> dict[str, object]:
    return {"is_new": started.is_new, "left_out": started.left_out, "under_way": started.under_way}


def _tell(done_word: str, done: Sequence[int], meant: Sequence[int], *, as_json: bool) -> None:
    left = sorted(set(meant) - set(done))
    if as_json:
        print_json({done_word: list(done), "not_open": left})
    else:
        print(f"{done_word} {len(done)} of {len(meant)}")
    if left:
        remark(f"not open any more: {', '.join(map(str, left[:_SHOWN]))}")
        raise typer.Exit(1)
