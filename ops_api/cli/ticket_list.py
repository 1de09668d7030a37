"""`fieldpost ticket list`: tickets by the filters of the ticket desk, newest activity first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from models.enums import TicketPriority, TicketStatus
from models.queries import queues, ticket_list
from models.queries.ticket_clauses import Sla, Wanted
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table
from ops_api.cli.session import begin, open_runtime
from ops_api.ticket_answers import ticket_answer
from ops_api.wording import clock
from pipeline.commands.mailboxes import find_organization
from pipeline.runtime.errors import UserError

#: What one page asks for; pages follow each other until there are enough.
_PAGE = 100


def list_tickets(
    words: Annotated[
        str, typer.Argument(metavar="[WORDS]", help="In the subject or the requester's address, or a code's beginning.")
    ] = "",
    *,
    status: Annotated[list[TicketStatus] | None, typer.Option(help="One of these; may be given again.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Carries all of these; may be given again.")] = None,
    person: Annotated[str | None, typer.Option(metavar="EMAIL", help="Whose they are.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="SLUG", help="Which queue's they are.")] = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Nobody's and no queue's.")] = False,
    priority: Annotated[TicketPriority | None, typer.Option(help="Of this priority.")] = None,
    sla: Annotated[Sla | None, typer.Option(help="How the next deadline stands.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Last activity then or later (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Last activity before then (UTC).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List tickets, newest activity first. Merged ones come only with `--status merged`.

    Example: fieldpost ticket list charger --status open --status new --tag hardware --sla breach

    Exit codes: 0 listed, also when nothing was found; 2 bad input or configuration.
    """
    settings, where = begin("ticket", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        wanted = Wanted(
            statuses=tuple(status or ()),
            words=words.strip() or None,
            assignee_user_id=None if person is None else _person(connection, org_id, person),
            queue_id=None if queue is None else _queue(connection, org_id, queue),
            is_unassigned=unassigned,
            tags=tuple(one.strip().lower() for one in tag or ()),
            since=_utc(since),
            before=_utc(until),
            priority=priority,
            sla=sla,
        )
        rows = _rows(connection, org_id, wanted, limit)
    if as_json:
        print_json([ticket_answer(row).model_dump(mode="json") for row in rows])
    else:
        _print(rows)


def _rows(connection: Connection, org_id: UUID, wanted: Wanted, limit: int) -> list[Any]:
    rows: list[Any] = []
    after = None
    while len(rows) < limit:
        page = ticket_list.find(connection, org_id, wanted, limit=min(_PAGE, limit - len(rows)), after=after)
        rows += page.rows
        after = page.last
        if after is None:
            break
    return rows


def _person(connection: Connection, org_id: UUID, email: str) -> UUID:
    found = queues.member_named(connection, org_id, email.strip())
    if found is None:
        raise UserError(f"nobody in this organization has the address {email!r}; see `fieldpost people list`")
    return found


def _queue(connection: Connection, org_id: UUID, slug: str) -> UUID:
    found = queues.queue_named(connection, org_id, slug.strip().lower())
    if found is None:
        raise UserError(f"this organization has no queue {slug!r}; give its slug, such as `field-team`")
    return found


def _utc(said: datetime | None) -> datetime | None:
    return None if said is None else said.replace(tzinfo=UTC)


def _print(rows: list[Any]) -> None:
    shown = [
        (
            row.code,
            row.status,
            row.priority,
            row.sla_state,
            clock(row.last_activity_at),
            row.assignee_name or row.queue_name,
            row.requester_email,
            row.subject,
        )
        for row in rows
    ]
    columns = ("ticket", "status", "priority", "sla", "last activity", "with", "requester", "subject")
    print_table(columns, shown, empty="No ticket answers to that.", wrapped=("subject",))
