"""`fieldpost sla`: policies and calendars of service levels, one ticket's clocks, and computing clocks anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from models.permissions import Permission
from models.queries import clocks as queries
from models.queries import conversations
from models.queries.clocks import CalendarRow, PolicyRow
from ops_api.cli.options import AsJson, Data, Organization, Ticket
from ops_api.cli.output import print_fields, print_json, print_table, span
from ops_api.cli.person import leave_row
from ops_api.cli.session import Runtime, begin, open_runtime
from ops_api.sla_answers import TicketLevels
from ops_api.wording import clock, counted
from pipeline.commands import calendars as commands
from pipeline.commands.mailboxes import find_organization
from pipeline.core.calendars import days_of_feed
from pipeline.core.clocks import Interval
from pipeline.runtime import clock_reading, clocks
from pipeline.runtime.clock_reading import Explained, Shown
from pipeline.runtime.errors import UserError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="See service levels; compute clocks anew.")

_LARGEST_FEED = 4_000_000
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@app.command()
def policies(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List an organization's policies in the order they are tried; a ticket that meets none has the default times.

    Example: fieldpost sla policies

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("sla", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = queries.policies(connection, find_organization(connection, org))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = ("position", "name", "on", "calendar", "who", "response / resolution in minutes", "pauses", "version")
    empty = "No policy: 60, 240 or 1440 minutes to answer, four times that to resolve, day and night."
    print_table(columns, map(_policy, found), empty=empty, wrapped=("who", "response / resolution in minutes"))


@app.command()
def calendars(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List an organization's business calendars.

    Example: fieldpost sla calendars

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("sla", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = queries.calendars(connection, find_organization(connection, org))
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = ("name", "time zone", "hours", "holidays", "version")
    print_table(columns, map(_calendar, found), empty="No calendar: clocks run day and night.", wrapped=("hours",))


@app.command()
def holidays(
    calendar: Annotated[str, typer.Argument(metavar="CALENDAR", help="Its name.", show_default=False)],
    feed: Annotated[
        Path, typer.Argument(metavar="FILE", help="An iCalendar file (.ics) of days off.", show_default=False)
    ],
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Add the days of an iCalendar file to a calendar's holidays; the clocks of open tickets follow.

    Example: fieldpost sla holidays office bavaria-2027.ics

    Exit codes: 0 added, 2 bad input or configuration; then nothing is changed.
    """
    settings, where = begin("sla", data)
    days = _days(feed)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        org_id = find_organization(connection, org)
        found = next((one for one in queries.calendars(connection, org_id) if one.name == calendar), None)
        if found is None:
            raise UserError(f"there is no calendar {calendar!r}; see `fieldpost sla calendars`")
        commands.add_holidays(connection, org_id, found.id, days)
        leave_row(connection, org_id, Permission.SLA_CHANGE, "calendar", found.id)
        there = queries.holidays(connection, org_id, found.id)
    if as_json:
        print_json({"calendar": calendar, "read": len(days), "holidays": len(there)})
    else:
        print(f"{counted(len(days), 'day')} read; {calendar} has {counted(len(there), 'holiday')}")


@app.command()
def show(ticket: Ticket, data: Data = None, as_json: AsJson = False) -> None:
    """Show a ticket's clocks, when they ran and stood still, and why this policy times it.

    Example: fieldpost sla show tkt-abcdefghijklmnop

    Exit codes: 0 shown, 2 no such ticket, or bad configuration.
    """
    settings, where = begin("sla", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        head = conversations.find_head(connection, ticket)
        if head is None:
            raise UserError(f"there is no ticket {ticket!r}; `fieldpost search` finds them by their words")
        found = clock_reading.explain(connection, head.ticket_id)
    if as_json:
        print_json(TicketLevels.of(head.ticket_id, found).model_dump(mode="json"))
    else:
        _print(head.code, found)


@app.command()
def recompute(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Bring the clocks of all open tickets to the policies of today, now; a changed policy does so by itself.

    Also gives clocks to tickets from before there were any. What is right is left alone; it may be run again.

    Example: fieldpost sla recompute

    Exit codes: 0 done, 2 bad input or configuration.
    """
    settings, where = begin("sla", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
        batches = _recompute(runtime, org_id)
    if as_json:
        print_json({"batches": batches})
    else:
        print(f"computed anew, in {batches} batches of up to {clocks.BATCH} tickets")


def _recompute(runtime: Runtime, org_id: UUID) -> int:
    batches, after = 0, None
    while batches == 0 or after is not None:
        with runtime.db.begin() as connection:
            after = clocks.recompute(connection, org_id, after)
        batches += 1
    return batches


def _days(feed: Path) -> dict[date, str]:
    try:
        with feed.open("rb") as file:
            content = file.read(_LARGEST_FEED + 1)
    except OSError as error:
        raise UserError(f"{feed} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_FEED:
        raise UserError(f"{feed} is larger than {_LARGEST_FEED} bytes; take out the years that are over")
    try:
        return days_of_feed(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{feed} is no text in UTF-8") from error
    except ValueError as error:
        raise UserError(f"{feed}: {error}") from error


def _policy(one: PolicyRow) -> tuple[object, ...]:
    who = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in one.conditions.items()) or "all"
    times = ", ".join(f"{name} {each['response']}/{each['resolution']}" for name, each in one.targets.items())
    return (
        one.position, one.name, "yes" if one.is_enabled else "no", one.calendar or "24x7", who, times,
        ", ".join(one.pauses), one.version,
    )  # fmt: skip


def _calendar(one: CalendarRow) -> tuple[object, ...]:
    hours = "; ".join(
        f"{_DAYS[int(day)]} {', '.join('-'.join(times) for times in spans)}"
        for day, spans in sorted(one.hours.items())
        if spans
    )
    return one.name, one.timezone, hours, one.holidays, one.version


def _print(code: str, found: Explained) -> None:
    print_fields(
        [
            ("ticket", f"{code} ({found.status})"),
            ("policy", f"{found.policy.name}, version {found.policy.version}"),
            (
                "passed over",
                "; ".join(f"{one.name}: not its {one.misses}" for one in found.tried if one.misses) or None,
            ),
        ]
    )
    columns = ("clock", "stands", "target", "used", "left", "due", "ended")
    print_table(columns, map(_shown, found.clocks), empty="No clock: nothing was ever asked for.")
    print_table(("time", "because", "began", "ended"), map(_interval, found.intervals), empty="")


def _shown(one: Shown) -> Sequence[object]:
    each = one.clock
    left = f"late by {span(-one.remaining)}" if one.remaining < timedelta(0) else span(one.remaining)
    due, ended = (None if at is None else clock(at) for at in (each.due_at, each.ended_at))
    return each.kind, one.standing, span(each.target), span(one.elapsed), left, due, ended


def _interval(one: Interval) -> Sequence[object]:
    return one.state, one.because, clock(one.began_at), None if one.ended_at is None else clock(one.ended_at)
