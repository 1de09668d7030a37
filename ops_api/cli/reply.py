"""`fieldpost reply`: answers a ticket by mail."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from models.enums import OutboundState
from models.queries import queue
from models.queries.outbound import Outbound, outbound_message
from ops_api.cli.bells import ring
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, remark
from ops_api.cli.person import operator
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from pipeline.commands.replies import Answer, Queued, suggested
from pipeline.commands.replies import reply as queue_reply
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets, SignedReplyTokens

_POLL = timedelta(milliseconds=200)
_UNDER_WAY = (OutboundState.QUEUED, OutboundState.SENDING)

app = typer.Typer(add_completion=False)


@app.command()
def reply(
    ticket: Annotated[str, typer.Argument(metavar="TICKET", help="Its code or id.", show_default=False)],
    *,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="What to say.", show_default=False)] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with what to say; - reads it from stdin.")
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--from", metavar="ADDRESS", help="Write from this address; else that of the mailbox written to."),
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="To whom; else who wrote last. May be repeated.")
    ] = None,
    cc: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="A copy to. May be repeated.")] = None,
    subject: Annotated[str | None, typer.Option(metavar="TEXT", help="Else that of the mail that is answered.")] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Your name for this reply: run again with it, it is the same one."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it was sent.")] = False,
    seconds: Annotated[int, typer.Option("--timeout", min=1, max=3_600, help="How long to wait, in seconds.")] = 120,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Answer a ticket by mail. It leaves exactly once, or `fieldpost outbound list` asks for a decision.

    Example: fieldpost reply tkt-k5v2mn4cq7xw3yab --text "We come tomorrow at nine." --wait

    Exit codes: 0 queued, or sent with --wait, 1 not sent (yet) with --wait, 2 bad input or configuration.
    """
    body = _body(text, file)
    settings, where = begin("reply", data)
    with open_runtime(settings, where) as runtime:
        tokens = SignedReplyTokens(Secrets.of(runtime.settings))
        with runtime.db.begin() as connection:
            answer: Answer = suggested(connection, ticket, sender, needs_person=not to)
            queued = queue_reply(
                connection, tokens, org_id=answer.org_id, ticket_id=answer.ticket_id, identity_id=answer.identity_id,
                to=to or [answer.to], cc=cc or [], subject=subject or answer.subject, body_text=body,
                created_by=operator(), request_key=key,
            )  # fmt: skip
            workers = queue.live_workers(connection)
        ring(runtime.settings, queued.lines)
        warn_without_workers(len(workers))
        found = _followed(runtime, queued.outbound_id, seconds) if wait else _look(runtime, queued.outbound_id)
    _tell(found, queued, as_json=as_json)
    if wait and found.state is not OutboundState.SENT:
        raise typer.Exit(1)


def _body(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise UserError("give exactly one of --text and --file")
    if text is not None:
        return text
    assert file is not None
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8") from error


def _followed(runtime: Runtime, outbound_id: UUID, seconds: int) -> Outbound:
    """Return the message as soon as its fate is known, or as it stands when the time is over."""
    until = runtime.clock.monotonic() + seconds
    found = _look(runtime, outbound_id)
    while found.state in _UNDER_WAY and runtime.clock.monotonic() < until:
        runtime.clock.wait(_POLL)
        found = _look(runtime, outbound_id)
    return found


def _look(runtime: Runtime, outbound_id: UUID) -> Outbound:
    with runtime.db.begin() as connection:
        found = outbound_message(connection, outbound_id)
    assert found is not None
    return found


def _tell(found: Outbound, queued: Queued, *, as_json: bool) -> None:
    if as_json:
        print_json({"outbound_id": str(found.outbound_id), "message_id": found.message_id, "state": found.state,
                    "ticket": found.ticket, "from": found.from_address, "to": found.recipient,
                    "job_id": queued.job_id, "last_error": found.last_error})  # fmt: skip
        return
    print(f"{found.state}: to {found.recipient} from {found.from_address}, outbound message {found.outbound_id}")
    if found.last_error:
        remark(found.last_error)
