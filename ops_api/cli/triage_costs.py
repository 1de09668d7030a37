"""How commands of `fieldpost triage` tell what policies cost, and draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ops_api.cli.output import print_table
from ops_api.cli.triage_choice import write
from pipeline.core import backtesting, calibration, charts
from pipeline.core.backtesting import Comparison, Cost
from pipeline.core.calibration import Pair
from pipeline.core.charts import Bars, Series
from pipeline.core.outcomes import Outcome

_COLUMNS = (
    "policy", "visits", "wasted", "critical", "caught", "late", "missed", "questions", "minutes p50", "p95",
)  # fmt: skip


def print_costs(costs: Mapping[str, Cost]) -> None:
    """Write a table of what each policy cost."""
    print_table(_COLUMNS, [_row(name, cost) for name, cost in costs.items()], empty="")


def _row(name: str, cost: Cost) -> tuple[object, ...]:
    share = f"{cost.caught} ({100 * cost.caught / cost.criticals:.1f} %)" if cost.criticals else "0"
    return (
        name, cost.visits, cost.wasted, cost.criticals, share, cost.late, cost.missed, cost.questions,
        f"{cost.minutes_p50:.1f}", f"{cost.minutes_p95:.1f}",
    )  # fmt: skip


def print_comparison(a: str, b: str, found: Comparison) -> None:
    """Write how much two policies differ, with intervals."""
    rows = [
        (f"wasted visits, {a}", found.wasted_a),
        (f"wasted visits, {b}", found.wasted_b),
        (f"criticals late or missed, {a}", found.not_caught_a),
        (f"criticals late or missed, {b}", found.not_caught_b),
        ("fewer wasted visits, %", found.reduction),
        ("critical catch rate, points more", found.catch_difference),
    ]
    print_table((f"{b} instead of {a}", "95 % interval"), rows, empty="")


def print_calibration(pairs: Mapping[str, Sequence[Pair]]) -> None:
    """Write how true certainties were."""
    rows = [
        (name, len(held), f"{calibration.expected_error(held):.3f}", f"{calibration.brier(held):.3f}")
        for name, held in pairs.items()
    ]
    print_table(("certainties of", "cases", "calibration error", "Brier score"), rows, empty="")


def formula_pairs(outcomes: Iterable[Outcome]) -> list[Pair]:
    """Return what the formula said, before calibration."""
    return [(one.formula, one.was_right) for outcome in outcomes for one in outcome.sayings]


def told_pairs(outcomes: Iterable[Outcome]) -> list[Pair]:
    """Return what was said, after calibration."""
    return [(one.told, one.was_right) for outcome in outcomes for one in outcome.sayings]


def calibration_json(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return how true certainties were, as JSON has it."""
    return {
        "count": len(pairs),
        "expected_error": round(calibration.expected_error(pairs), 4),
        "brier": round(calibration.brier(pairs), 4),
        "bins": [{key: round(value, 4) for key, value in asdict(one).items()} for one in calibration.diagram(pairs)],
    }


def draw(path: Path, heading: str, names: tuple[str, str], found: Comparison, of_b: Sequence[Outcome]) -> None:
    """Draw the calibration of the second policy, and what both cost."""
    a, b = names
    series = [
        Series("by the formula", calibration.diagram(formula_pairs(of_b))),
        Series("after calibration", calibration.diagram(told_pairs(of_b))),
    ]
    costs = [
        Bars("Wasted visits", "technicians who found nothing", ((a, found.wasted_a), (b, found.wasted_b))),
        Bars("Criticals too late", "or never reached", ((a, found.not_caught_a), (b, found.not_caught_b))),
    ]
    write(path, charts.picture(heading, series, costs).encode())


def compared(a: Sequence[Outcome], b: Sequence[Outcome], stretches: Sequence[int], *, draws: int = 1_000) -> Comparison:
    """Compare two policies; the seed of the bootstrap is always the same."""
    return backtesting.compare(a, b, stretches, draws=draws)
