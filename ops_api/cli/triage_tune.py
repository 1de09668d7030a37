"""`fieldpost triage tune`: looks for a cheaper policy in simulated fleets, and measures it in others."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ops_api.cli.options import AsJson
from ops_api.cli.output import print_json, remark
from ops_api.cli.triage_choice import Assets, Days, Picture, Processes, policy_of, seeds_of, write
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
from pipeline.adapters import calibrating
from pipeline.core import backtesting, tuning
from pipeline.core.calibration import Pair
from pipeline.core.fleet import Size
from pipeline.core.triage_policy import BASELINE, BUILT_IN, TriagePolicy, difference
from pipeline.core.tuning import Search, Tried
from pipeline.runtime.errors import UserError
from pipeline.runtime.fleets import SIZE, Fleets, fleets


def tune(
    *,
    seeds: Annotated[str, typer.Option(metavar="A-B", help="Seeds of the fleets that are tuned on.")] = "1-20",
    report: Annotated[
        str, typer.Option(metavar="A-B", help="Seeds of the fleets that the result is measured on.")
    ] = "1001-1020",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the policy is written.")] = Path("tuned_policy.json"),
    tries: Annotated[int, typer.Option(min=1, max=10_000, metavar="N", help="Policies that are tried.")] = 200,
    start: Annotated[str, typer.Option(metavar="POLICY", help="Where the search begins.")] = "built-in",
    search_seed: Annotated[int, typer.Option(metavar="N", help="The seed of the search.")] = 1,
    assets: Assets = SIZE.assets,
    days: Days = SIZE.days,
    processes: Processes = 2,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Look for thresholds, half-life, repetitions, trust in sources and calibration that cost less than baseline.

    Criticals are caught at least as often as under baseline. The search sees the fleets of --seeds only; --report
    must name others. The same command writes the same file. Needs no database, and the extra `learn`.

    Example: fieldpost triage tune --seeds 1-20 --report 1001-1020 --out policy.json

    Exit codes: 0 ok, 1 nothing better than where it began was found, 2 bad input.
    """
    learn_on, held_out = seeds_of(seeds), seeds_of(report)
    if set(learn_on) & set(held_out):
        raise UserError("a policy is measured on other fleets than it was tuned on: --report must not overlap --seeds")
    began, size = policy_of(start), Size(assets, days)
    with fleets(learn_on, size, processes=processes) as made:
        found = _found(made, began, tries, search_seed)
    write(out, orjson.dumps(_said(found.policy), option=orjson.OPT_INDENT_2) + b"\n")
    remark(f"written to {out}")
    with fleets(held_out, size, processes=processes) as made:
        told = _measure(made, found.policy, picture, report, as_json=as_json)
    if as_json:
        print_json({"seeds": seeds, "report": report, "differences": difference(BUILT_IN, found.policy), **told})
    raise typer.Exit(0 if found.values else 1)


def _found(made: Fleets, began: TriagePolicy, tries: int, search_seed: int) -> Tried:
    baseline = made.replay(BASELINE)

    def must_catch(histories: int) -> float:
        cost = backtesting.cost(baseline[:histories])
        return cost.caught / cost.criticals if cost.criticals else 1.0

    def pairs(policy: TriagePolicy) -> list[Pair]:
        return formula_pairs(made.replay(policy))

    search = Search(
        began,
        lambda policy, first: backtesting.cost(made.replay(policy, first)),
        must_catch,
        few=max(1, len(made.seeds) // 4),
        histories=len(made.seeds),
        seed=search_seed,
    )
    best = _watched(search, tries)
    return tuning.calibrated(search, best, pairs, calibrating.fit)


def _watched(search: Search, tries: int) -> Tried:
    """Follow a search to its end, half of its tries drawn and half of them steps, and tell where it stands."""
    best: Tried | None = None
    for number, tried in enumerate(islice(search.tries(tries // 2), tries + 1)):
        if tried is not best:
            cost = tried.cost
            remark(
                f"try {number}: {cost.wasted} wasted, {cost.late} late, {cost.missed} missed, {cost.questions} asked"
            )
        best = tried
    assert best is not None
    return best


def _said(policy: TriagePolicy) -> dict[str, Any]:
    """Return what a policy says otherwise than the built-in one, as a draft takes it."""
    said: dict[str, Any] = {}
    for name, values in difference(BUILT_IN, policy).items():
        part, _, rule = name.partition(".")
        if rule:
            said.setdefault(part, {})[rule] = values["after"]
        else:
            said[part] = values["after"]
    return said


def _measure(made: Fleets, policy: TriagePolicy, picture: Path | None, seeds: str, *, as_json: bool) -> dict[str, Any]:
    before, built_in, after = made.replay(BASELINE), made.replay(BUILT_IN), made.replay(policy)
    found = compared(before, after, made.stretches())
    if picture is not None:
        draw(picture, f"Tuned triage in fleets it has not seen, seeds {seeds}", ("baseline", "tuned"), found, after)
    if not as_json:
        print_costs({"baseline": found.a, "built-in": backtesting.cost(built_in), "tuned": found.b})
        print_comparison("baseline", "tuned", found)
        print_calibration({"tuned, formula": formula_pairs(after), "tuned, as told": told_pairs(after)})
    return {"comparison": found.as_json(), "calibration": calibration_json(told_pairs(after))}
