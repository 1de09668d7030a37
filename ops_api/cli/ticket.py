"""`fieldpost ticket`: why messages stand in a ticket, and merging, splitting and undoing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from models.queries import conversations
from models.queries.conversations import Conversation, Head
from ops_api.cli.options import LARGEST_ID, AsJson, Data, Ticket
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.person import actor
from ops_api.cli.session import begin, open_runtime
from ops_api.cli.ticket_list import list_tickets
from ops_api.wording import clock, counted
from pipeline.commands import regrouping
from pipeline.runtime.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command("list")(list_tickets)

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept with it.", show_default=False)]


@app.callback()
def ticket() -> None:
    """Tickets as conversations: why each message is in one, and putting right what the rules could not know."""


@app.command()
def show(ticket: Ticket, data: Data = None, as_json: AsJson = False) -> None:
    """Show why each message stands in a ticket, what may belong to it, and how it was merged and split.

    Example: fieldpost ticket show tkt-abcdefghijklmnop

    Exit codes: 0 shown, 2 no such ticket, or bad configuration.
    """
    with _connected("ticket", data) as connection:
        head = _head(connection, ticket)
        found = conversations.conversation(connection, head)
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)


@app.command()
def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="The ticket that stays.", show_default=False)],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="The tickets that merge into it.")],
    reason: Reason,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Merge tickets into one: messages, work orders and later replies follow. `ticket undo` takes it back.

    Example: fieldpost ticket merge tkt-abcdefghijklmnop tkt-qrstuvwxyz234567 --reason "same charger"

    Exit codes: 0 merged, 2 bad input or configuration.
    """
    with _connected("ticket", data) as connection:
        head = _head(connection, into)
        first, *rest = regrouping.find_tickets(connection, head.org_id, [into, *others])
        done = regrouping.merge_tickets(connection, head.org_id, first, rest, actor=actor(), reason=reason)
    _tell(as_json, {"regrouping_id": done, "ticket": first.code}, f"merged into {first.code}", done)


@app.command()
def split(
    ticket: Ticket,
    messages: Annotated[
        list[int],
        typer.Argument(metavar="MESSAGE...", min=1, max=LARGEST_ID, help="Ids, as `ticket show` lists them."),
    ],
    reason: Reason,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make some messages of a ticket a ticket of their own. Replies to them follow; no evidence joins the two again.

    Example: fieldpost ticket split tkt-abcdefghijklmnop 812 815 --reason "another site"

    Exit codes: 0 split, 2 bad input or configuration.
    """
    with _connected("ticket", data) as connection:
        head = _head(connection, ticket)
        (found,) = regrouping.find_tickets(connection, head.org_id, [ticket])
        done = regrouping.split_ticket(connection, head.org_id, found, messages, actor=actor(), reason=reason)
    _tell(
        as_json,
        {"regrouping_id": done.regrouping_id, "ticket": done.code, "ticket_id": str(done.ticket_id)},
        f"{counted(len(set(messages)), 'message')} now in {done.code}",
        done.regrouping_id,
    )


@app.command()
def undo(
    ticket: Ticket,
    number: Annotated[
        int,
        typer.Argument(metavar="REGROUPING", min=1, max=LARGEST_ID, help="Its number, as `ticket show` lists it."),
    ],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Undo a merge or a split of a ticket: everything goes back, and what came since goes where its evidence leads.

    Only the last one of a ticket can be undone; then the one before.

    Example: fieldpost ticket undo tkt-abcdefghijklmnop 17

    Exit codes: 0 undone, 2 bad input or configuration.
    """
    with _connected("ticket", data) as connection:
        head = _head(connection, ticket)
        regrouping.check_part(connection, head.ticket_id, number)
        done = regrouping.undo_regrouping(connection, head.org_id, number, actor=actor())
    if as_json:
        print_json({"regrouping_id": number, "kind": done.kind, "messages_replaced": done.replaced})
    else:
        remark(f"{done.kind} {number} undone; {counted(done.replaced, 'message')} that came since went elsewhere")


@contextmanager
def _connected(process: str, data: Path | None) -> Iterator[Connection]:
    settings, where = begin(process, data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        yield connection


def _head(connection: Connection, name: str) -> Head:
    found = conversations.find_head(connection, name)
    if found is None:
        raise UserError(f"there is no ticket {name!r}; `fieldpost search` finds them by their words")
    return found


def _tell(as_json: bool, said: dict[str, object], words: str, regrouping_id: int) -> None:
    if as_json:
        print_json(said)
    else:
        remark(f"{words}; `fieldpost ticket undo {said['ticket']} {regrouping_id}` takes it back")


def _print(found: Conversation) -> None:
    head = found.head
    print_fields(
        [
            ("ticket", head.code),
            ("status", head.status if head.merged_into is None else f"merged into {head.merged_into}"),
            ("subject", head.subject),
            ("requester", head.requester_email),
        ]
    )
    print()
    rows = [
        (
            one.message_id,
            clock(one.received_at),
            one.from_address,
            one.machine or one.direction,
            one.reason.replace("_", " "),
            one.confidence,
            one.evidence,
            ", ".join(dict.fromkeys(seen.mailbox for seen in one.seen)) or None,
        )
        for one in found.messages
    ]
    columns = ("message", "received", "from", "is", "because", "confidence", "evidence", "in")
    print_table(columns, rows, empty="No message stands in it.", wrapped=("evidence", "in"))
    _print_possible(found)
    _print_regroupings(found)


def _print_possible(found: Conversation) -> None:
    if not found.possible:
        return
    print("\nPossibly related, but nobody may speak in both:")
    rows = [
        (one.code, one.how, one.from_address, "yes" if one.is_held_apart else "no", one.subject)
        for one in found.possible
    ]
    print_table(("ticket", "how", "message from", "held apart", "subject"), rows, empty="", wrapped=("subject",))


def _print_regroupings(found: Conversation) -> None:
    if not found.regroupings:
        return
    print("\nMerged and split:")
    rows = [
        (
            one.regrouping_id,
            one.kind,
            one.ticket,
            ", ".join(one.others),
            one.actor,
            one.reason,
            None if one.undone_by is None else f"by {one.undone_by}",
        )
        for one in found.regroupings
    ]
    columns = ("number", "what", "ticket", "others", "by", "because", "undone")
    print_table(columns, rows, empty="", wrapped=("because",))
