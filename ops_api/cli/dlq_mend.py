"""`fieldpost dlq restore` and `edit`: a discard undone, and the arguments of a job written anew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
import typer
from sqlalchemy import Connection

from dlq import bulk_reading, letters
from models.enums import BulkAction, ItemState
from ops_api.cli.dlq_choice import Filters, Ids, LetterId, Reason, chosen, said_why
from ops_api.cli.options import LARGEST_ID, AsJson, Data
from ops_api.cli.output import print_json, remark
from ops_api.cli.person import operator
from ops_api.cli.session import begin, open_runtime
from pipeline.runtime.errors import UserError

#: Letters that are named after.
_SHOWN = 20


def restore(
    ids: Ids = None,
    bulk: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST_ID, metavar="BULK", help="What this bulk discarded.", show_default=False),
    ] = None,
    *,
    reason: Reason,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Undo discards of the last 3 days: the letters are open again, and can be replayed.

    Example: fieldpost dlq restore 17 --reason "it was a real customer"

    Exit codes: 0 all are open again, 1 some could not be restored, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    if bool(ids) == (bulk is not None):
        raise UserError("say which letters: their ids, or --bulk with the number of a discard")
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        meant = _known(connection, ids) if ids else _discarded_by(connection, bulk or 0)
        done = letters.restore(connection, meant, actor=operator(), reason=said_why(reason))
    if as_json:
        print_json({"restored": done.letter_ids, "refused": {str(one): why for one, why in done.refused.items()}})
    else:
        print(f"restored {len(done.letter_ids)} of {len(meant)}")
    for letter_id, why in list(done.refused.items())[:_SHOWN]:
        remark(f"letter {letter_id}: {why}")
    if done.refused:
        raise typer.Exit(1)


def edit(
    letter_id: LetterId,
    args: Annotated[
        str, typer.Option("--args", metavar="JSON", help="The arguments, whole; - reads them.", show_default=False)
    ],
    reason: Reason,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Replace the arguments of a dead letter's job; the next replay uses them, and the former ones are kept.

    Example: fieldpost dlq edit 17 --args '{"topic": "projects/p/topics/mail"}' --reason "wrong topic"

    Exit codes: 0 edited, 1 it was not open any more, 2 bad input or configuration.
    """
    settings, where = begin("dlq", data)
    after = _arguments(sys.stdin.read() if args == "-" else args)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        _known(connection, [letter_id])
        done = letters.edit(connection, letter_id, after, actor=operator(), reason=said_why(reason))
    if done is None:
        remark(f"letter {letter_id} is not open any more; see `fieldpost dlq show {letter_id}`")
        raise typer.Exit(1)
    if as_json:
        print_json({"letter_id": letter_id, "before": done.before, "after": done.after})
        return
    print(f"before: {orjson.dumps(done.before).decode()}\nafter:  {orjson.dumps(done.after).decode()}")
    print(f"next: fieldpost dlq replay {letter_id}")


def _known(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return the ids, each once. Raises `UserError` when one is no letter."""
    return list(chosen(connection, list(ids), Filters(), everything=False)["letter_ids"] or ())


def _discarded_by(connection: Connection, bulk_id: int) -> list[int]:
    """Return the letters that a bulk discarded. Raises `UserError` for one that is no discard."""
    bulk = bulk_reading.bulk(connection, bulk_id)
    if bulk is None or bulk.action is not BulkAction.DISCARD:
        raise UserError(f"there is no bulk discard {bulk_id}; see `fieldpost dlq bulks`")
    return bulk_reading.letter_ids(connection, bulk_id, ItemState.PASSED)


def _arguments(said: str) -> dict[str, Any]:
    try:
        found = orjson.loads(said)
    except orjson.JSONDecodeError as error:
        raise UserError(f"--args is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UserError('--args is a JSON object, such as {"topic": "projects/p/topics/t"}')
    return found
