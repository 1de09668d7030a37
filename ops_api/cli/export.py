"""`fieldpost export`: a mailbox's tickets, messages or work orders, one JSON object per line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer
from sqlalchemy import Connection

from models.queries import export as queries
from ops_api.cli.options import Data, Mailbox
from ops_api.cli.output import line_of
from ops_api.cli.session import begin, open_long, open_runtime
from pipeline.commands.mailboxes import find_mailbox

app = typer.Typer(add_completion=False)


class What(StrEnum):
    """What may be written out."""

    TICKETS = "tickets"
    MESSAGES = "messages"
    WORK_ORDERS = "work-orders"


_ROWS: Mapping[What, Callable[[Connection, UUID], Iterator[dict[str, Any]]]] = {
    What.TICKETS: queries.tickets,
    What.MESSAGES: queries.messages,
    What.WORK_ORDERS: queries.work_orders,
}


@app.command()
def export(
    mailbox: Mailbox,
    what: Annotated[What, typer.Option("--what", help="What to write out.", show_default=False)],
    jsonl: Annotated[bool, typer.Option("--jsonl", help="JSON lines also on a terminal.")] = False,
    data: Data = None,
) -> None:
    """Write out tickets, messages or work orders of a mailbox: one JSON object per line, oldest first.

    A ticket names its messages by Message-ID, one without it as "sha256:" and the hash of its raw bytes. Tickets that
    were merged away are left out: their messages stand in the ticket they were merged into.

    Example: fieldpost export support@example.org --what tickets --jsonl > tickets.jsonl

    Exit codes: 0 everything was written, 2 bad input or configuration.
    """
    settings, where = begin("export", data)
    write = _write_line if jsonl or not sys.stdout.isatty() else _write_text
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
        with closing(open_long(runtime.settings)) as db, db.begin() as connection:
            for row in _ROWS[what](connection, mailbox_id):
                write(row)
        sys.stdout.buffer.flush()


def _write_line(row: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(row) + b"\n")


def _write_text(row: Mapping[str, Any]) -> None:
    cells = (f"{len(value)} messages" if name == "message_ids" else value for name, value in row.items())
    print("  ".join("-" if cell is None else line_of(str(cell), 60) for cell in cells))
