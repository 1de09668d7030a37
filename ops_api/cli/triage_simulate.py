"""`fieldpost triage simulate`: what a policy costs in simulated fleets, whose truth is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ops_api.cli.options import AsJson
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.triage_choice import Assets, Days, Picture, Processes, policy_of, seeds_of
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
from pipeline.core import backtesting
from pipeline.core.fleet import Size
from pipeline.core.outcomes import Outcome
from pipeline.core.surroundings import Answering, Driving, Surroundings
from pipeline.core.triage_policy import BASELINE
from pipeline.runtime.fleets import AROUND, SIZE, Fleets, fleets


def simulate(
    *,
    seeds: Annotated[str, typer.Option(metavar="A-B", help="Seeds; each makes a fleet.")] = "1001-1020",
    policy: Annotated[
        str, typer.Option(metavar="POLICY", help="built-in, baseline, tuned, or a file of JSON.")
    ] = "tuned",
    assets: Assets = SIZE.assets,
    days: Days = SIZE.days,
    technicians: Annotated[
        int, typer.Option(min=0, metavar="N", help="One technician for so many assets; 0: always enough of them.")
    ] = AROUND.driving.assets_each or 0,
    right: Annotated[
        int | None,
        typer.Option(min=50, max=100, metavar="PERCENT", help="How often answers are right.", show_default=False),
    ] = None,
    processes: Processes = 2,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Replay simulated fleets under a policy and under baseline: wasted visits, criticals, questions, calibration.

    Needs no database. A fleet's rates are estimates of ours (decision 52): what counts is the difference between
    policies, and your own history (`fieldpost triage backtest`) once enough of it has a known truth.

    Example: fieldpost triage simulate --seeds 1001-1020 --policy tuned --picture triage.svg

    Exit codes: 0 ok, 2 bad input.
    """
    chosen, size = policy_of(policy), Size(assets, days)
    around = Surroundings(_answering(right), Driving(assets_each=technicians or None))
    with fleets(seeds_of(seeds), size, around, processes=processes) as made:
        before, after = made.replay(BASELINE), made.replay(chosen)
        found = compared(before, after, made.stretches())
        told = _as_json(made, before, after)
    costs = {"baseline": found.a, policy: found.b}
    if picture is not None:
        draw(picture, f"Triage in simulated fleets, seeds {seeds}", ("baseline", _short(policy)), found, after)
        remark(f"drawn into {picture}")
    if as_json:
        print_json({"seeds": seeds, "policy": policy, "comparison": found.as_json(), **told})
        return
    print_costs(costs)
    print_comparison("baseline", policy, found)
    print_calibration({f"{policy}, formula": formula_pairs(after), f"{policy}, as told": told_pairs(after)})
    print_table(("over seeds", "worst", "best"), _spread(told["by_seed"]), empty="")


def _answering(right: int | None) -> Answering:
    return Answering() if right is None else Answering(right_when_real=right / 100, right_when_not=right / 100)


def _short(policy: str) -> str:
    return policy.rsplit("/", 1)[-1][:20]


def _as_json(made: Fleets, before: list[Outcome], after: list[Outcome]) -> dict[str, Any]:
    """Return what is told beside the comparison: each seed by itself, and how true certainties were."""
    by_seed = [
        {
            "seed": seed,
            "baseline": asdict(backtesting.cost([of_a])),
            "policy": asdict(backtesting.cost([of_b])),
            "reduction": round(100 * (of_a.wasted - of_b.wasted) / of_a.wasted, 2) if of_a.wasted else 0.0,
            "caught_more": of_b.caught - of_a.caught,
        }
        for seed, of_a, of_b in zip(made.seeds, before, after, strict=True)
    ]
    calibration = {
        "formula": calibration_json(formula_pairs(after)),
        "told": calibration_json(told_pairs(after)),
    }
    return {"by_seed": by_seed, "calibration": calibration}


def _spread(by_seed: list[dict[str, Any]]) -> list[tuple[str, object, object]]:
    reductions = [one["reduction"] for one in by_seed]
    caught = [one["caught_more"] for one in by_seed]
    return [
        ("fewer wasted visits, %", f"{min(reductions):.1f}", f"{max(reductions):.1f}"),
        ("more criticals caught", min(caught), max(caught)),
    ]
