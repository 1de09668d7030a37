"""`fieldpost dlq`: dead letters, listed, explained, grouped, replayed and discarded."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, TypeAlias

import typer
from rich.markup import escape
from rich.panel import Panel
from sqlalchemy import Connection

from dlq import letters, reading
from dlq.reading import Letter, Which
from models.enums import Cause
from models.queries import queue
from models.queries.summary import database_time
from ops_api.cli.bells import ring
from ops_api.cli.options import LARGEST_ID, AsJson, Data, Yes
from ops_api.cli.output import ago, line_of, print_fields, print_json, print_table, remark, to_stdout
from ops_api.cli.person import operator
from ops_api.cli.session import begin, open_runtime, warn_without_workers
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at dead letters, replay or discard them.")

Stage: TypeAlias = Annotated[str | None, typer.Option("--stage", help="Only those of a stage.", show_default=False)]
Of: TypeAlias = Annotated[
    str | None, typer.Option("--mailbox", metavar="MAILBOX", help="Only those of a mailbox.", show_default=False)
]
Group: TypeAlias = Annotated[
    str | None, typer.Option("--group", help="Only those of a kind of error (see `groups`).", show_default=False)
]
Ids: TypeAlias = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID...]", min=1, max=LARGEST_ID, help="Letters.", show_default=False),
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="All that are open.")]

_NONE = "No open dead letters."
_ADVICE = {
    Cause.PERMANENT: "It fails however often it is tried: replay it once the program or the data is mended, else "
    "discard it. The raw mail is kept either way.",
    Cause.EXHAUSTED: "It failed every time for a reason that may pass: look at the error, then replay it.",
    Cause.CRASHED: "The worker died each time it ran alone (memory, a defect of a library): replay it after an "
    "update, and watch the worker's log.",
    Cause.UNKNOWN_STAGE: "No running version knows its stage: finish the deployment, then replay it.",
}


@app.command("list")
def list_letters(
    stage: Stage = None,
    mailbox: Of = None,
    cause: Annotated[Cause | None, typer.Option(help="Only those of a cause.", show_default=False)] = None,
    group: Group = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    *,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List open dead letters, newest first.

    Example: fieldpost dlq list --stage parse --limit 20

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        which = _which(connection, stage, mailbox, group)
        which["cause"] = cause
        found = reading.find(connection, limit=limit, **which)
        total = reading.count(connection, **which)
        now = database_time(connection)
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    rows = [
        (one.letter_id, one.stage, one.mailbox, one.subject or one.key, one.cause, _said(one), ago(one.buried_at, now))
        for one in found
    ]
    columns = ("id", "stage", "mailbox", "what", "cause", "why", "since")
    print_table(columns, rows, empty=_NONE, wrapped=("what", "why"))
    if total > len(found):
        print(f"{len(found)} of {total} shown")


@app.command()
def show(
    letter_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, help="The letter.", show_default=False)
    ],
    trace: Annotated[bool, typer.Option("--trace", help="The whole error, and where it was raised.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Explain one dead letter: what it is about, why it stopped, since when, and what to do next.

    Example: fieldpost dlq show 17

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = reading.find(connection, letter_id=letter_id, is_open=None)
        if not found:
            raise UserError(f"there is no dead letter {letter_id}; see `fieldpost dlq list`")
        letter = found[0]
        alike = reading.count(connection, group=letter.group, stage=letter.stage)
        since = f"{letter.buried_at:%Y-%m-%d %H:%M:%S} UTC ({ago(letter.buried_at, database_time(connection))})"
    if as_json:
        print_json(asdict(letter))
        return
    to_stdout().print(Panel(escape(f"{letter.stage}: {_said(letter)}"), title=f"dead letter {letter.letter_id}"))
    print_fields(_explained(letter, since, alike))
    if trace:
        print(f"\n{letter.error_text}\n\n{letter.error_trace or ''}".rstrip())


@app.command()
def groups(
    stage: Stage = None,
    mailbox: Of = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the kinds of error among open dead letters, the largest first: one cause often stands behind thousands.

    Example: fieldpost dlq groups

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = reading.groups(connection, **_which(connection, stage, mailbox, None))
        now = database_time(connection)
    if as_json:
        print_json([asdict(group) for group in found])
        return
    rows = [
        (
            one.group,
            one.count,
            one.stage,
            one.cause,
            line_of(f"{one.error_class}: {one.example}"),
            ago(one.last_at, now),
        )
        for one in found
    ]
    columns = ("group", "letters", "stage", "cause", "why", "newest")
    print_table(columns, rows, empty=_NONE, wrapped=("why",))


@app.command()
def replay(
    ids: Ids = None,
    stage: Stage = None,
    mailbox: Of = None,
    group: Group = None,
    *,
    everything: All = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the letter.")] = "replayed by hand",
    yes: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again, with a fresh budget of attempts, before any backfill.

    Name letters by id, or choose them by stage, mailbox, group or --all; what is chosen is counted and asked about.

    Example: fieldpost dlq replay --group 5f2c91d0aa17 --yes

    Exit codes: 0 all were replayed, 1 some were not open any more, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            chosen = _choose(connection, ids, _which(connection, stage, mailbox, group), everything=everything)
        _ask("replay", chosen, yes=yes or bool(ids))
        with runtime.db.begin() as connection:
            done = letters.replay(connection, chosen, actor=operator(), reason=reason)
            workers = queue.live_workers(connection)
        ring(runtime.settings, done.lines)
    if done.letter_ids:
        warn_without_workers(len(workers))
    _tell("replayed", done.letter_ids, chosen, as_json=as_json)


@app.command()
def discard(
    ids: Ids = None,
    stage: Stage = None,
    mailbox: Of = None,
    group: Group = None,
    *,
    everything: All = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the letter.", show_default=False)],
    yes: Yes = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """End dead letters without trying them again; their messages stay quarantined, counted, and kept raw.

    Example: fieldpost dlq discard 17 --reason "empty mail from a scanner"

    Exit codes: 0 all were discarded, 1 some were not open any more, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            chosen = _choose(connection, ids, _which(connection, stage, mailbox, group), everything=everything)
        _ask("discard", chosen, yes=yes or bool(ids))
        with runtime.db.begin() as connection:
            done = letters.discard(connection, chosen, actor=operator(), reason=reason)
    _tell("discarded", done, chosen, as_json=as_json)


def _which(connection: Connection, stage: str | None, mailbox: str | None, group: str | None) -> Which:
    mailbox_id = None if mailbox is None else find_mailbox(connection, mailbox)
    return {"stage": stage, "mailbox_id": mailbox_id, "group": group}


def _choose(connection: Connection, ids: Sequence[int] | None, which: Which, *, everything: bool) -> list[int]:
    """Return the letters that are meant. Raises `UserError` unless they are said in exactly one way."""
    is_narrowed = any(value is not None for value in which.values())
    if sum((bool(ids), is_narrowed, everything)) != 1:
        raise UserError("say which letters: their ids, or --stage, --mailbox and --group, or --all")
    if not ids:
        return reading.ids(connection, **which)
    unknown = [one for one in ids if not reading.count(connection, letter_id=one, is_open=None)]
    if unknown:
        raise UserError(f"there is no dead letter {', '.join(map(str, unknown))}; see `fieldpost dlq list`")
    return list(dict.fromkeys(ids))


def _ask(action: str, chosen: Sequence[int], *, yes: bool) -> None:
    remark(f"{len(chosen)} dead letters to {action}")
    if yes or not chosen:
        return
    if not sys.stdin.isatty():
        raise UserError(f"nobody can be asked here: add --yes to {action} them")
    typer.confirm(f"{action.capitalize()} them?", abort=True, err=True)


def _tell(done_word: str, done: Sequence[int], chosen: Sequence[int], *, as_json: bool) -> None:
    left = sorted(set(chosen) - set(done))
    if as_json:
        print_json({done_word: list(done), "not_open": left})
    else:
        print(f"{done_word} {len(done)} of {len(chosen)}")
    if left:
        remark(f"not open any more: {', '.join(map(str, left[:20]))}")
        raise typer.Exit(1)


def _said(letter: Letter) -> str:
    return line_of(f"{letter.error_class}: {letter.error_text}")


def _explained(letter: Letter, since: str, alike: int) -> list[tuple[str, object]]:
    resolved = letter.resolution and f"{letter.resolution} by {letter.resolved_by} ({letter.resolved_reason})"
    return [
        ("mailbox", letter.mailbox),
        ("subject", letter.subject),
        ("sender", letter.sender),
        ("provider id", letter.provider_id),
        ("raw mail", letter.raw_sha256 and f"sha256 {letter.raw_sha256}"),
        ("cause", letter.cause),
        ("raised at", _raised_at(letter)),
        ("since", since),
        ("attempts", f"{letter.attempts} ({letter.failures} failures, {letter.crashes} crashes)"),
        ("job", f"{letter.stage} {letter.key}, lane {letter.lane}, trace {letter.trace_id}"),
        ("ended", resolved),
        ("next", None if resolved else _next(letter, alike)),
    ]


def _raised_at(letter: Letter) -> str | None:
    """Return the deepest place in our own program; the libraries below it seldom matter."""
    places = [line.strip() for line in (letter.error_trace or "").splitlines() if line.lstrip().startswith("File ")]
    ours = [place for place in places if "site-packages" not in place]
    return next(reversed(ours or places), None)


def _next(letter: Letter, alike: int) -> str:
    lines = [_ADVICE[letter.cause], f"fieldpost dlq replay {letter.letter_id}"]
    if alike > 1:
        lines.append(f"fieldpost dlq replay --group {shlex.quote(letter.group)}    ({alike} alike)")
    lines.append(f"fieldpost dlq discard {letter.letter_id} --reason TEXT")
    return "\n".join(lines)
