"""`fieldpost routing`: the rules, why a ticket was routed so, and a rule set tried on past mail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import orjson
import typer
from pydantic import ValidationError
from sqlalchemy import Connection

from models.queries import conversations
from models.queries import routing as queries
from ops_api import routing_traces
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.routing_answers import RuleAnswer, RuleSet
from ops_api.routing_traces import SimulationAnswer, TraceAnswer
from ops_api.wording import clock
from pipeline.commands import routing_rules as commands
from pipeline.commands.mailboxes import find_organization
from pipeline.runtime import simulating
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="See the routing rules and why a ticket was routed so; try a rule set on past mail.",
)

_LARGEST_FILE = 4_000_000
_MATCHES = ("recipient", "sender_domain", "sender_email", "subject")


@app.command("rules")
def list_rules(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the rules in the order they are tried, also those that are off, in shadow or broken.

    Example: fieldpost routing rules --json

    Exit codes: 0 ok, 1 a rule does not compile and is passed over, 2 bad input or configuration.
    """
    with _connected(data) as connection:
        org_id = find_organization(connection, org)
        found = [RuleAnswer.of(row) for row in queries.rules(connection, org_id, limit=commands.MOST_RULES)]
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        columns = ("id", "priority", "name", "matches", "does", "is", "problem")
        rows = [(one.id, one.priority, one.name, _matches(one), _does(one), _is(one), one.problem) for one in found]
        print_table(columns, rows, empty="There is no rule.", wrapped=("name", "matches", "does", "problem"))
    if any(one.problem for one in found):
        raise typer.Exit(1)


@app.command()
def trace(
    ticket: Annotated[str, typer.Argument(metavar="TICKET", help="Its code or id.", show_default=False)],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Tell which rule decided on a ticket and why, which were tried, and why others did not get it.

    Example: fieldpost routing trace tkt-abcdefghijklmnop

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    with _connected(data) as connection:
        head = conversations.find_head(connection, ticket)
        if head is None:
            raise UserError(f"there is no ticket {ticket!r}; `fieldpost search` finds them by their words")
        found = routing_traces.trace(connection, head.ticket_id)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_trace(found)


@app.command()
def simulate(
    rules: Annotated[
        Path | None,
        typer.Option(
            help='A JSON file: a list of rules as the API takes them, or {"rules": [...], "allowlist": [...]}. '
            "Without it the stored rules are tried, those in shadow as if they were armed.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The tickets with the newest activity.")] = 100,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Decide past tickets again by a rule set and tell what would be otherwise; changes nothing.

    Example: fieldpost routing simulate --rules rules.json --limit 500

    Exit codes: 0 every ticket would be decided the same, 1 some would not, 2 bad input or configuration.
    """
    asked = RuleSet() if rules is None else _read(rules)
    given = asked.columns()
    with _connected(data) as connection:
        org_id = find_organization(connection, org)
        policy = commands.proposed_policy(connection, org_id, rules=given, allowlist=asked.allowlist)
        made = simulating.on_past(connection, org_id, policy, limit=limit)
        named = {rule["id"]: rule["name"] for rule in given or ()}
        found = SimulationAnswer.of(connection, org_id, made, named=named, only_different=True)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_simulation(found)
    if found.different:
        raise typer.Exit(1)


@contextmanager
def _connected(data: Path | None) -> Iterator[Connection]:
    settings, where = begin("routing", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        yield connection


def _read(file: Path) -> RuleSet:
    try:
        with file.open("rb") as opened:
            said = orjson.loads(opened.read(_LARGEST_FILE))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file} is no JSON: {error}") from error
    try:
        return RuleSet.model_validate({"rules": said} if isinstance(said, list) else said)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _matches(rule: RuleAnswer) -> str:
    patterns = {name: getattr(rule, f"match_{name}_pattern") for name in _MATCHES} | {"direction": rule.match_direction}
    return ", ".join(f"{name.replace('_', ' ')} {pattern}" for name, pattern in patterns.items() if pattern) or "any"


def _does(rule: RuleAnswer) -> str:
    said = {
        "queue": rule.action_assign_queue_id,
        "to": rule.action_strategy and rule.action_strategy.value.replace("_", " "),
        "person": rule.action_assign_user_id,
        "status": rule.action_set_status,
        "priority": rule.action_set_priority,
        "tags": ", ".join(rule.action_add_tags),
    }
    flags = {"closes": rule.action_auto_close, "drops": rule.action_drop, "goes on": not rule.stop}
    return "; ".join(
        [f"{name} {value}" for name, value in said.items() if value] + [one for one in flags if flags[one]]
    )


def _is(rule: RuleAnswer) -> str:
    if not rule.is_enabled:
        return "off"
    return "in shadow" if rule.is_shadow else "in force"


def _print_trace(found: TraceAnswer) -> None:
    decision, assignment = found.decision, found.assignment
    print_fields(
        [
            ("ticket", found.code),
            ("routed", clock(found.routed_at) if found.routed_at else "not yet"),
            ("rule", decision and (decision.rule_name or decision.rule_id)),
            ("because", decision and decision.reason),
            ("allowed by", found.allowed_by),
            ("left to a person's decision", ", ".join(found.kept) or None),
            ("given to", assignment and (assignment.person_name or "nobody")),
            ("because", assignment and assignment.reason),
            (
                "in shadow",
                found.shadow
                and (", ".join(found.shadow.differs) + " would differ" if found.shadow.differs else "the same"),
            ),
        ]
    )
    if found.tried:
        print()
        rows = [
            (one.name or one.rule_id, "matched" if one.missed is None else f"missed by {one.missed}")
            for one in found.tried
        ]
        print_table(("rule", "result"), rows, empty="", wrapped=("rule",))
    if assignment is not None and assignment.candidates:
        print()
        candidates = [(one.name or one.person_id, one.open_tickets, one.why) for one in assignment.candidates]
        print_table(("person", "open", "result"), candidates, empty="", wrapped=("result",))


def _print_simulation(found: SimulationAnswer) -> None:
    rows = [
        (one.code, one.subject, ", ".join(one.differs), one.then.rule_name, one.now.rule_name, one.now.reason)
        for one in found.items
    ]
    columns = ("ticket", "subject", "differs", "then by", "now by", "because")
    print_table(columns, rows, empty="Every ticket would be decided the same.", wrapped=("subject", "because"))
    counts = ", ".join(f"{name} {count}" for name, count in found.by_field.items())
    remark(f"{found.different} of {found.tickets} tickets would be decided otherwise{': ' if counts else ''}{counts}")
