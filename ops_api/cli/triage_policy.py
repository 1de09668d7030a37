"""`fieldpost triage policy`: versions of an organization's rules of triage: drafts, the shadow, what is in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import typer
from sqlalchemy import Connection

from models.enums import PolicyState
from models.queries import policy_differences
from models.queries.policy_differences import Shadow
from ops_api.cli.executing import checked, execute, operator_of
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_fields, print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.cli.triage_rules import as_text, flat, read_file, rules_of, version_of
from pipeline.command import Command
from pipeline.commands import triage_policies as commands
from pipeline.commands.mailboxes import find_organization
from pipeline.commands.triage_policies import body_of
from pipeline.commands.triage_policy_arguments import PolicyActivation, PolicyDraft, PolicyNote, PolicyRollback
from pipeline.core.triage_policy import difference
from pipeline.runtime import triage_policies
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Draft, try, activate and roll back rules of triage."
)

Version: TypeAlias = Annotated[str, typer.Argument(metavar="VERSION", help="Its number.", show_default=False)]
Reason: TypeAlias = Annotated[str, typer.Option("--reason", metavar="WHY", help="Kept with it.", show_default=False)]
PerhapsReason: TypeAlias = Annotated[str, typer.Option("--reason", metavar="WHY", help="Kept in the trail.")]
From: TypeAlias = Annotated[
    int | None,
    typer.Option("--from", metavar="N", help="Begin with this version, 0 is the built-in; else the one in force."),
]
#: Nobody reads more at a terminal.
_PAGE = 100


@app.command("list")
def list_versions(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the versions, newest first: where each stands, why it was made, and what it changed.

    Example: fieldpost triage policy list

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    with _opened(org, data) as (db, org_id), db.begin() as connection:
        found = [body_of(one) for one in triage_policies.page(connection, org_id, before=None, limit=_PAGE)]
    if as_json:
        print_json(found)
        return
    rows = [(one["version"], one["state"], one["created_by"], one["reason"], ", ".join(one["diff"])) for one in found]
    print_table(("version", "state", "by", "why", "changes"), rows, empty="", wrapped=("why", "changes"))
    if len(found) == _PAGE:
        remark(f"only the newest {_PAGE} are shown")


@app.command()
def show(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Its number; the one in force unless given.")
    ] = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show a version with every rule, and what it would change of the one in force.

    Example: fieldpost triage policy show 3

    Exit codes: 0 ok, 2 bad input, no such version, or bad configuration.
    """
    with _opened(org, data) as (db, org_id), db.begin() as connection:
        active = triage_policies.active(connection, org_id)
        kept = triage_policies.one(connection, org_id, active.number if version is None else version_of(version))
        if kept is None:
            raise UserError(f"there is no version {version}; see `fieldpost triage policy list`")
        found = body_of(kept) | {"active_version": active.number, "to_active": difference(active.policy, kept.policy)}
    if as_json:
        print_json(found)
        return
    print_fields((name, found[name] or None) for name in ("version", "state", "reason", "created_by", "activated_at"))
    changes = {name: as_text(change["before"]) for name, change in found["to_active"].items()}
    rows = [(name, as_text(value), changes.get(name)) for name, value in flat(found["policy"])]
    print_table(("rule", "value", "in force"), rows, empty="", wrapped=("value", "in force"))


@app.command()
def draft(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="JSON with what changes, by part; or: tuned, built-in, baseline."),
    ],
    *,
    reason: Reason,
    base: From = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write down what a file says as a draft; nothing follows it before it is put into force.

    Example: fieldpost triage policy draft tuned --reason "fewer wasted visits on held-out seeds"

    Exit codes: 0 drafted, 2 bad input, a rule that cannot be so, nothing that differs, or bad configuration.
    """
    _draft(read_file(file), reason, base, org, data, as_json=as_json)


@app.command("set")
def set_rules(
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="An empty value is the built-in one.")],
    *,
    reason: Reason,
    base: From = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Draft a version with some rules changed; their names are those that `show` prints.

    Example: fieldpost triage policy set verification.below=70 dispatch.automatic=false --reason "two wasted visits"

    Exit codes: 0 drafted, 2 bad input, a rule that cannot be so, nothing that differs, or bad configuration.
    """
    _draft(rules_of(values), reason, base, org, data, as_json=as_json)


@app.command()
def shadow(
    version: Version,
    *,
    reason: PerhapsReason = "",
    stop: Annotated[bool, typer.Option("--stop", help="Take it out of the shadow instead.")] = False,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Let a version say of every open case what it would do, beside the one in force; it decides nothing.

    Example: fieldpost triage policy shadow 4

    Exit codes: 0 done, 2 bad input, a version that cannot be there, or bad configuration.
    """
    command: Command[Any, Any] = commands.STOP_SHADOW if stop else commands.SHADOW
    _run(command, checked(PolicyNote, {"reason": reason}), version, org, data, as_json=as_json)


@app.command()
def differences(org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show what the version in the shadow says otherwise of open cases: how many, and the newest 100.

    Example: fieldpost triage policy differences

    Exit codes: 0 ok, 2 nothing is in the shadow, bad input or configuration.
    """
    with _opened(org, data) as (db, org_id), db.begin() as connection:
        found = _differences(connection, org_id)
    if as_json:
        print_json(found)
        return
    counted = [(one["action"], one["shadow_action"], one["cases"]) for one in found["counts"]]
    print_table(("in force", "shadow", "cases"), counted, empty="The shadow has said nothing yet.")
    rows = [
        (
            one["code"],
            f"{one['priority_score']} -> {one['shadow_priority_score']}",
            f"{one['confidence']:.2f} -> {one['shadow_confidence']:.2f}",
            f"{one['recommended_action']} -> {one['shadow_recommended_action']}",
        )
        for one in found["items"]
    ]
    print_table(("case", "priority", "confidence", "action"), rows, empty="No case is told otherwise.")
    if found["waiting"]:
        remark(f"of {found['waiting']} open cases it has said nothing yet")


@app.command()
def activate(
    version: Version,
    *,
    replaces: Annotated[
        int | None, typer.Option(metavar="N", help="The version in force that you have seen.", show_default=False)
    ] = None,
    reason: PerhapsReason = "",
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a draft, or what is in the shadow, into force; workers bring the open cases to it.

    Example: fieldpost triage policy activate 4 --replaces 3

    Exit codes: 0 in force, 2 bad input, another version is in force by now, or bad configuration.
    """
    if replaces is None:
        raise UserError(
            "say which version it takes the place of: --replaces N; `fieldpost triage policy list` shows it"
        )
    asked = checked(PolicyActivation, {"replaces": replaces, "reason": reason})
    _run(commands.ACTIVATE, asked, version, org, data, as_json=as_json)


@app.command()
def rollback(
    version: Version, *, reason: Reason, org: Organization = None, data: Data = None, as_json: AsJson = False
) -> None:
    """Let a version that was in force hold again, as a new version that copies it; 0 is the built-in one.

    Example: fieldpost triage policy rollback 3 --reason "too many questions"

    Exit codes: 0 in force, 2 bad input, a version that never was in force, or bad configuration.
    """
    _run(commands.ROLL_BACK, checked(PolicyRollback, {"reason": reason}), version, org, data, as_json=as_json)


@contextmanager
def _opened(org: str | None, data: Path | None) -> Iterator[tuple[Database, UUID]]:
    settings, where = begin("triage", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
        yield runtime.db, org_id


def _draft(
    said: dict[str, Any], reason: str, base: int | None, org: str | None, data: Path | None, *, as_json: bool
) -> None:
    asked = checked(PolicyDraft, {"policy": said, "from_version": base, "reason": reason})
    _run(commands.DRAFT, asked, None, org, data, as_json=as_json)


def _run(
    command: Command[Any, Any], asked: Any, version: str | None, org: str | None, data: Path | None, *, as_json: bool
) -> None:
    target = None if version is None else str(version_of(version))
    with _opened(org, data) as (db, org_id):
        found = execute(db, operator_of(org_id), command, asked, target)
    if as_json:
        print_json(found)
        return
    rows = [(name, as_text(change["before"]), as_text(change["after"])) for name, change in found["diff"].items()]
    print_table(("rule", "before", "after"), rows, empty="", wrapped=("before", "after"))
    remark(f"version {found['version']} is {_WORDS[PolicyState(found['state'])]}")


_WORDS = {
    PolicyState.DRAFT: "a draft: `fieldpost triage policy shadow` tries it, `activate` puts it into force",
    PolicyState.SHADOW: "in the shadow: `fieldpost triage policy differences` shows what it would do",
    PolicyState.ACTIVE: "in force; workers bring the open cases to it",
    PolicyState.RETIRED: "retired",
}


def _differences(connection: Connection, org_id: UUID) -> dict[str, Any]:
    judging = triage_policies.judging(connection, [org_id])[org_id]
    found = judging.shadow
    if found is None or found.policy_id is None or found.since is None:
        raise UserError("nothing is in the shadow: `fieldpost triage policy shadow VERSION` puts a version there")
    asked = Shadow(org_id, found.policy_id, found.since, judging.active.policy.mode)
    return {
        "version": found.number,
        "active_version": judging.active.number,
        "counts": [one._asdict() for one in policy_differences.counts(connection, asked)],
        "waiting": policy_differences.waiting(connection, asked),
        "items": [_plain(one) for one in policy_differences.page(connection, asked, after=None, limit=_PAGE)],
    }


def _plain(row: Any) -> dict[str, Any]:
    said: dict[str, Any] = row._asdict()
    numbers = {name: float(said[name]) for name in ("confidence", "shadow_confidence")}
    return {name: value for name, value in said.items() if name != "asset_id"} | numbers
