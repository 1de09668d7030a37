"""`fieldpost plan`: a day planned for all technicians, with reasons; kept as a draft, and applied."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from ops_api.cli.executing import execute, operator_of
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters.route_solver import ChildPlanner
from pipeline.command import Refused
from pipeline.commands import planning
from pipeline.commands.mailboxes import find_organization
from pipeline.commands.planning_arguments import Apply, PlanWish
from pipeline.core.duty import zone
from pipeline.runtime.errors import UserError
from pipeline.runtime.planning import solve

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Plan a day for all technicians; apply the plan.")


@app.command("day")
def plan_day(
    day: Annotated[str, typer.Argument(metavar="DATE", help="Like 2027-06-30.", show_default=False)],
    *,
    limit: Annotated[int, typer.Option(min=1, max=60, metavar="SECONDS", help="How long the solver may look.")] = 10,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Plan the visits of a day, keep the plan as a draft, and show it with its reasons; nothing is booked.

    Planned is what waits for a time or a technician and is due, offered or agreed then.

    Example: fieldpost plan day 2027-06-30

    Exit codes: 0 every ticket has its place, 1 some are left out, 2 bad input or configuration.
    """
    wish = PlanWish(day=_day(day), time_limit_seconds=limit)
    settings, where = begin("plan", data)
    with open_runtime(settings, where) as runtime:
        try:
            with runtime.db.begin() as connection:
                operator = operator_of(find_organization(connection, org))
                asked = planning.read_day(connection, operator, wish)
        except Refused as refused:
            raise UserError(refused.refusal.said) from refused
        outcome = solve(asked.day.problem, ChildPlanner(), timedelta(seconds=limit))
        found = execute(runtime.db, operator, planning.MAKE, planning.draft_of(wish, asked, outcome))
    _report(found, as_json=as_json)


@app.command()
def apply(
    plan: Annotated[UUID, typer.Argument(metavar="PLAN", help="Its id.", show_default=False)],
    *,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Book every visit of a plan, or none where anything that it rests on has changed.

    Example: fieldpost plan apply 0198c0de-0000-7000-8000-000000000000

    Exit codes: 0 booked, 2 bad input or configuration, or the plan is stale.
    """
    settings, where = begin("plan", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            operator = operator_of(find_organization(connection, org))
        found = execute(runtime.db, operator, planning.APPLY, Apply(), str(plan))
    if as_json:
        print_json(found)
    else:
        remark(f"{found['summary']['planned']} visits are booked for {found['day']}")


def _day(said: str) -> date:
    try:
        return date.fromisoformat(said)
    except ValueError as error:
        raise UserError("a day is written like 2027-06-30") from error


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    summary = found["summary"]
    if as_json:
        print_json(found)
    else:
        _print(found)
        saved = summary["greedy_cost"] - summary["cost"]
        remark(
            f"plan {found['id']}: cost {summary['cost']}, {saved} less than the greedy plan ({summary['solved_by']})"
        )
        if summary["note"]:
            remark(summary["note"])
    if summary["left_out"]:
        raise typer.Exit(1)


def _print(found: dict[str, Any]) -> None:
    local = zone(found["asked"]["timezone"])

    def clock(at: str) -> str:
        return f"{datetime.fromisoformat(at).astimezone(local):%H:%M}"

    visits = [
        (
            *(route["name"] or route["technician_id"], clock(stop["starts_at"]), clock(stop["ends_at"]), stop["code"]),
            *(stop["travel_seconds"] // 60, "; ".join(stop["why"])),
        )
        for route in found["routes"]
        for stop in route["stops"]
    ]
    columns = ("technician", "from", "to", "ticket", "way (min)", "why")
    print_table(columns, visits, empty="Nothing is planned.", wrapped=("technician", "why"))
    left = [(one["code"], one["reason"], one["said"]) for one in found["left_out"]]
    if left:
        print_table(("left out", "reason", "why"), left, empty="", wrapped=("why",))
