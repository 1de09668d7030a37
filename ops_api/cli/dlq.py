"""`fieldpost dlq`: dead letters listed, explained, grouped and counted; the rest of the group is put on here."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from sqlalchemy import Connection

from dlq import history, reading
from dlq.reading import Which
from models.enums import Resolution
from models.queries.summary import database_time
from ops_api.cli import dlq_bulks, dlq_mend, dlq_resolve
from ops_api.cli.dlq_choice import Filters, LetterId, filtered
from ops_api.cli.dlq_words import Explained, print_explained, print_groups, print_letters
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json
from ops_api.cli.session import begin, open_runtime
from ops_api.wording import counted, plain
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Look at dead letters; replay, edit, discard and restore them."
)

_NONE = "No open dead letters."
#: Other letters of the same job that one screen looks at.
_OTHERS = 20


class State(StrEnum):
    """Which letters a list shows."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ALL = "all"

    def narrow(self, which: Which) -> Which:
        """Return the same letters, of this state only."""
        if self in (State.OPEN, State.ALL):
            return {**which, "is_open": True if self is State.OPEN else None}
        return {**which, "is_open": False, "resolution": Resolution(self.value)}


@app.command("list")
@filtered
def list_letters(
    *,
    filters: Filters,
    state: Annotated[State, typer.Option(help="Which: those that wait for a person, or those resolved.")] = State.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first.

    Example: fieldpost dlq list --stage parse --since 2h --text invoice

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        which = state.narrow(filters.which(connection))
        found = reading.find(connection, limit=limit, **which)
        total = reading.count(connection, **which)
        now = database_time(connection)
    if as_json:
        print_json([asdict(letter) for letter in found])
        return
    if not found:
        print(_NONE if not filters.said and state is State.OPEN else "No such letters.")
    print_letters(found, now)
    if total > len(found):
        print(f"{len(found)} of {total} shown")


@app.command()
def show(
    letter_id: LetterId,
    trace: Annotated[bool, typer.Option("--trace", help="The whole error, and where it was raised.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Explain one dead letter: what it is about, why it stopped, its like, what was tried, and what to do next.

    Example: fieldpost dlq show 17

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = _explain(connection, letter_id)
    if as_json:
        print_json(
            asdict(found.letter)
            | {"alike_ever": found.alike_ever, "kind": found.kind and asdict(found.kind)}
            | {"history": [asdict(action) for action in found.actions], "others": [asdict(o) for o in found.others]}
        )
        return
    print_explained(found)
    if trace:
        print(plain(f"\n{found.letter.error_text}\n\n{found.letter.error_trace or ''}".rstrip()))


@app.command()
@filtered
def groups(
    *,
    filters: Filters,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, the largest first.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show the kinds of error among open dead letters, the largest first: one cause often stands behind thousands.

    Each with when it was first and last seen, its letters in each of the last 24 hours, and where that goes.

    Example: fieldpost dlq groups

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        which = filters.which(connection)
        found = reading.groups(connection, limit=limit, **which)
        total = reading.count(connection, **which)
        now = database_time(connection)
    if as_json:
        print_json([asdict(group) for group in found])
        return
    if not found:
        print("No such letters." if filters.said else _NONE)
        return
    print_groups(found, now)
    print(f"\n{counted(total, 'open letter')}\nnext: fieldpost dlq replay --group {found[0].group} --canary 3 --wait")


@app.command()
@filtered
def count(
    *,
    filters: Filters,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Count the open letters that a replay or discard with these filters would mean, with their kinds.

    Example: fieldpost dlq count --stage parse --error ValueError

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        which = filters.which(connection)
        total = reading.counted(connection, **which)
        kinds = reading.groups(connection, limit=10, **which)
        now = database_time(connection)
    if as_json:
        kinds_said = [asdict(kind) for kind in kinds]
        print_json({"count": total.count, "newest_letter_id": total.newest_id, "groups": kinds_said})
        return
    print(counted(total.count, "open letter"))
    if kinds:
        print()
        print_groups(kinds, now)


def _explain(connection: Connection, letter_id: int) -> Explained:
    found = reading.find(connection, letter_id=letter_id, is_open=None, limit=1)
    if not found:
        raise UserError(f"there is no dead letter {letter_id}; see `fieldpost dlq list`")
    letter = found[0]
    kinds = reading.groups(connection, limit=1, group=letter.group, stage=letter.stage)
    of_job = Which(job_id=letter.job_id, trace_id=letter.trace_id, is_open=None)
    return Explained(
        letter=letter,
        kind=kinds[0] if kinds else None,
        alike_ever=reading.count(connection, group=letter.group, stage=letter.stage, is_open=None),
        actions=history.actions(connection, letter_id=letter_id),
        others=[one for one in reading.find(connection, limit=_OTHERS, **of_job) if one.letter_id != letter_id],
        now=database_time(connection),
    )


for _name, _command in (
    ("replay", dlq_resolve.replay),
    ("discard", dlq_resolve.discard),
    ("restore", dlq_mend.restore),
    ("edit", dlq_mend.edit),
    ("bulks", dlq_bulks.list_bulks),
    ("bulk", dlq_bulks.show),
    ("cancel", dlq_bulks.cancel),
):
    app.command(_name)(_command)
