"""`fieldpost triage backtest`: what two policies would have cost in what really happened."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, remark
from ops_api.cli.session import Runtime, begin, open_runtime
from ops_api.cli.triage_choice import Picture, day_of, policy_of
from ops_api.cli.triage_costs import (
    calibration_json,
    compared,
    draw,
    formula_pairs,
    print_calibration,
    print_comparison,
    print_costs,
    told_pairs,
)
from ops_api.cli.triage_rules import version_of
from pipeline.commands.mailboxes import find_organization
from pipeline.core.backtesting import ENOUGH, Comparison
from pipeline.core.histories import Stretches
from pipeline.core.outcomes import Outcome
from pipeline.core.replaying import replay
from pipeline.core.surroundings import Surroundings
from pipeline.core.triage_policy import TriagePolicy
from pipeline.runtime import triage_histories, triage_policies
from pipeline.runtime.errors import UserError
from pipeline.runtime.triage_histories import Recorded


def backtest(
    *,
    policy: Annotated[
        list[str],
        typer.Option(
            metavar="POLICY", help="Twice: a version, built-in, baseline, tuned, or a file of JSON.", show_default=False
        ),
    ],
    since: Annotated[
        str, typer.Option(metavar="DATE", help="Cases opened from this day on (UTC).", show_default=False)
    ],
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="And before this day; now.", show_default=False)
    ] = None,
    technicians: Annotated[
        int, typer.Option(min=0, metavar="N", help="Technicians on duty; 0: always enough of them.")
    ] = 0,
    org: Organization = None,
    picture: Picture = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Replay recorded cases whose truth is known under two policies: wasted visits, criticals late, calibration.

    The first --policy is compared with. Cases of which nobody found out are left out and counted; with fewer than 30
    known ones nothing can be told. Who answers and who drives is assumed (decision 52). Nothing is changed.

    Example: fieldpost triage backtest --policy built-in --policy tuned --since 2027-01-01 --picture triage.svg

    Exit codes: 0 ok, 1 too little truth to tell, 2 bad input or configuration.
    """
    if len(policy) != 2:
        raise UserError("name two policies to compare: --policy built-in --policy tuned")
    settings, where = begin("triage", data)
    with open_runtime(settings, where) as runtime:
        first, last = day_of(since), _until(until, runtime)
        with runtime.db.begin() as connection:
            org_id = find_organization(connection, org)
            chosen = [_policy(connection, org_id, said) for said in policy]
            recorded = triage_histories.read(connection, org_id, first, last)
    _tell(policy, chosen, recorded, technicians, picture, as_json=as_json)


def _tell(
    names: list[str],
    chosen: list[TriagePolicy],
    recorded: Recorded,
    technicians: int,
    picture: Picture,
    *,
    as_json: bool,
) -> None:
    before, after = (
        replay(recorded.history, policy, Surroundings(), technicians=technicians or None) for policy in chosen
    )
    found = compared([before], [after], [len(Stretches(recorded.history.reports).all())])
    is_enough = recorded.known >= ENOUGH
    if picture is not None:
        draw(picture, f"{names[1]} instead of {names[0]}, {recorded.known} cases", (names[0], names[1]), found, [after])
    if as_json:
        print_json(_as_json(names, recorded, found, before, after, is_enough=is_enough))
    else:
        print_costs({f"A: {names[0]}": found.a, f"B: {names[1]}": found.b})
        print_comparison("A", "B", found)
        print_calibration({"B, formula": formula_pairs([after]), "B, as told": told_pairs([after])})
    _remark(recorded, is_enough=is_enough)
    raise typer.Exit(0 if is_enough else 1)


def _remark(recorded: Recorded, *, is_enough: bool) -> None:
    remark(
        f"{recorded.known} cases with a known truth ({recorded.real} real, {recorded.not_real} not); "
        f"{recorded.unknown} without were left out"
    )
    if not is_enough:
        remark(f"this is too little to tell policies apart: at least {ENOUGH} cases must have a known truth")
    if not recorded.is_whole:
        remark(f"only the {triage_histories.MOST} oldest cases were read: choose a later --since")


def _as_json(
    names: list[str], recorded: Recorded, found: Comparison, before: Outcome, after: Outcome, *, is_enough: bool
) -> dict[str, Any]:
    calibration = {
        name: {"formula": calibration_json(formula_pairs([one])), "told": calibration_json(told_pairs([one]))}
        for name, one in (("a", before), ("b", after))
    }
    known = {
        "real": recorded.real, "not_real": recorded.not_real, "unknown": recorded.unknown, "is_enough": is_enough,
        "is_whole": recorded.is_whole,
    }  # fmt: skip
    return {"policies": names, "cases": known, "comparison": found.as_json(), "calibration": calibration}


def _policy(connection: Connection, org_id: UUID, said: str) -> TriagePolicy:
    """Return a version of the organization, a shipped policy, or that of a file; a file is no number."""
    if not said.isdecimal():
        return policy_of(said)
    kept = triage_policies.one(connection, org_id, version_of(said))
    if kept is None:
        raise UserError(f"there is no version {said[:12]}; see `fieldpost triage policy list`")
    return kept.policy


def _until(said: str | None, runtime: Runtime) -> datetime:
    return runtime.clock.now() if said is None else day_of(said)
