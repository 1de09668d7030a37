"""`fieldpost outbound`: what was sent or is to be sent, and decisions about what got stuck."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, TypeAlias
from uuid import UUID

import typer
from sqlalchemy import Connection

from models.enums import JobState, OutboundState
from models.queries import outbound as reading
from models.queries import queue
from models.queries.outbound import Outbound
from models.queries.summary import database_time
from ops_api.cli.bells import ring
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import ago, line_of, print_fields, print_json, print_table
from ops_api.cli.person import operator
from ops_api.cli.session import begin, open_runtime, warn_without_workers
from pipeline.commands import replies
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at mail that is sent; decide what got stuck.")

Id: TypeAlias = Annotated[str, typer.Argument(metavar="ID", help="The outbound message.", show_default=False)]

_NEXT = {
    OutboundState.QUEUED: "It waits to be handed over; `fieldpost outbound cancel` keeps it from being sent.",
    OutboundState.SENDING: "It was handed over, and its answer is waited for or looked up. Nothing to do.",
    OutboundState.SENT: "It was sent.",
    OutboundState.UNKNOWN: "Its answer was lost, and the provider cannot say whether it left. Ask the recipient or "
    "look among the sent mail for its Message-ID: then `fieldpost outbound settle ID --sent`, or `retry ID`.",
    OutboundState.FAILED: "It was refused and did not leave. Mend what it says, then `fieldpost outbound retry ID`.",
    OutboundState.CANCELLED: "It was cancelled before it left.",
}


@app.command("list")
def list_outbound(
    state: Annotated[OutboundState | None, typer.Option(help="Only those in a state.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 50,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List messages that were sent or are to be sent, newest first.

    Example: fieldpost outbound list --state unknown

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("outbound", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = reading.outbound_messages(connection, state=state, limit=limit)
        now = database_time(connection)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.outbound_id, one.ticket, one.state, one.recipient, one.subject, line_of(one.last_error or ""),
         ago(one.created_at, now)) for one in found
    ]  # fmt: skip
    columns = ("id", "ticket", "state", "to", "subject", "why", "since")
    print_table(columns, rows, empty="No such messages.", wrapped=("subject", "why"))


@app.command()
def show(outbound_id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Explain one message: where it stands, why, and what to do next.

    Example: fieldpost outbound show 01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("outbound", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = _found(connection, outbound_id)
        now = database_time(connection)
    if as_json:
        print_json(asdict(found))
        return
    print_fields(
        [
            ("message", found.outbound_id), ("ticket", found.ticket), ("state", found.state),
            ("why", found.last_error), ("subject", found.subject), ("from", found.from_address),
            ("to", found.recipient), ("through", found.mailbox), ("Message-ID", found.rfc_message_id),
            ("written by", found.created_by), ("queued", ago(found.created_at, now)),
            ("handed over", f"{found.handed_over} times"), ("sent", ago(found.sent_at, now) if found.sent_at else None),
            ("bounced", found.bounce_reason), ("job", _job(found)), ("next", _next(found)),
        ]
    )  # fmt: skip


@app.command()
def retry(outbound_id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Send a message again that failed, is unknown or got stuck: the recipient may get it twice then.

    Example: fieldpost outbound retry 01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11

    Exit codes: 0 queued, 2 bad input or configuration.
    """
    settings, where = begin("outbound", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            lines = replies.retry(connection, _id(outbound_id), actor=operator())
            workers = queue.live_workers(connection)
        ring(runtime.settings, lines)
    warn_without_workers(len(workers))
    _tell(outbound_id, OutboundState.QUEUED, as_json=as_json)


@app.command()
def settle(
    outbound_id: Id,
    *,
    sent: Annotated[bool, typer.Option("--sent", help="It did leave: you found it, or the recipient has it.")] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Note that a message whose fate is unknown did leave.

    Example: fieldpost outbound settle 01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11 --sent

    Exit codes: 0 settled, 2 bad input or configuration.
    """
    if not sent:
        raise UserError("say --sent when it did leave; `fieldpost outbound retry` sends it again when it did not")
    settings, where = begin("outbound", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        replies.settle(connection, _id(outbound_id), actor=operator())
    _tell(outbound_id, OutboundState.SENT, as_json=as_json)


@app.command()
def cancel(outbound_id: Id, data: Data = None, as_json: AsJson = False) -> None:
    """Keep a queued message from being sent.

    Example: fieldpost outbound cancel 01970f7c-3c5e-7b1a-9a57-0d2f8f3b6a11

    Exit codes: 0 cancelled, 2 bad input or configuration.
    """
    settings, where = begin("outbound", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        replies.cancel(connection, _id(outbound_id), actor=operator())
    _tell(outbound_id, OutboundState.CANCELLED, as_json=as_json)


def _job(found: Outbound) -> str | None:
    """Return how the job stands that sends it, while it is to be sent."""
    if found.state not in (OutboundState.QUEUED, OutboundState.SENDING):
        return None
    return line_of(": ".join(filter(None, (found.job_state or "missing", found.job_error))))


def _next(found: Outbound) -> str:
    if not found.is_adrift:
        return _NEXT[found.state]
    if found.job_state is JobState.BLOCKED:
        why = f"Nothing is sent before {found.mailbox} is mended: see `fieldpost mailbox list`."
    else:
        why = f"Its job is {'missing' if found.job_state is None else 'a dead letter'}: it will not go on by itself."
    if found.state is OutboundState.QUEUED:
        way = "`fieldpost outbound cancel ID` keeps it from being sent."
        return f"{why} {way}" if found.job_state is JobState.BLOCKED else f"{why} `outbound retry ID` sends it; {way}"
    return (
        f"{why} It may have left: ask the recipient, or look among the sent mail for its Message-ID; then "
        "`fieldpost outbound settle ID --sent`, or `retry ID`."
    )


def _id(said: str) -> UUID:
    try:
        return UUID(said.strip())
    except ValueError:
        raise UserError(f"{said!r} is no id of an outbound message; see `fieldpost outbound list`") from None


def _found(connection: Connection, said: str) -> Outbound:
    found = reading.outbound_message(connection, _id(said))
    if found is None:
        raise UserError(f"there is no outbound message {said}; see `fieldpost outbound list`")
    return found


def _tell(outbound_id: str, state: OutboundState, *, as_json: bool) -> None:
    if as_json:
        print_json({"outbound_id": str(_id(outbound_id)), "state": state})
    else:
        print(f"{state}: {outbound_id}")
