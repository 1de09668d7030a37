"""`fieldpost triage truth` and `calibrate`: how triage stood to what turned out to be true, and what to learn of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import orjson
import typer
from sqlalchemy import Connection

from models.enums import TriageMode
from ops_api.cli.options import AsJson, Data, Organization
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.cli.triage_choice import day_of, write
from pipeline.adapters import calibrating
from pipeline.commands.mailboxes import find_organization
from pipeline.core import calibration, case_metrics
from pipeline.core.backtesting import ENOUGH
from pipeline.core.calibration import Pair, Point
from pipeline.core.case_metrics import Trouble
from pipeline.core.triage_policy import Calibration
from pipeline.runtime import case_outcomes, triage_policies
from pipeline.runtime.errors import UserError

Since: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Cases that began from this day on (UTC); the last 90 days.", show_default=False),
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write what changes of the policy into it.", show_default=False),
]


def truth(*, since: Since = None, org: Organization = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show false dispatches, missed criticals, minutes to decide, and how true certainties were, by policy version.

    Example: fieldpost triage truth --since 2027-01-01

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    begun_at, troubles = _read(since, org, data)
    compared, worths = case_metrics.compare(troubles), case_metrics.by_policy(troubles)
    if as_json:
        is_whole = case_outcomes.is_whole(troubles)
        print_json({"since": begun_at, "is_whole": is_whole, "compare": compared, "policies": worths})
        return
    _print_compared(compared)
    _print_worths(worths)
    for worth in worths:
        _print_reliability(worth)
    _remark(troubles)


def calibrate(
    *,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="isotonic: whatever shape it has; platt: one smooth curve.")
    ] = "isotonic",
    since: Since = None,
    out: Out = None,
    org: Organization = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Learn what certainties by the formula have turned out to mean; write it as a change of the policy.

    Cases that were decided by a version whose formula says something else (weights, doubts, evidence,
    dispatch.from_priority) than today's are left out, and counted. "after" is judged on cases that the fit had not
    seen, in five parts. Needs the extra `learn`. Nothing is changed: `fieldpost triage policy draft FILE` takes the
    file.

    Example: fieldpost triage calibrate --method isotonic --since 2027-01-01 --out calibration.json

    Exit codes: 0 ok, 1 too little is known to learn from, 2 bad input or configuration.
    """
    chosen = _method(method)
    pairs, left_out = _formula_pairs(since, org, data)
    counted = {"method": chosen, "cases": len(pairs), "left_out": left_out}
    if left_out:
        remark(f"{left_out} more were decided by versions whose formula said something else, and are left out")
    if len(pairs) < ENOUGH:
        remark(f"of {len(pairs)} cases it is known whether something was wrong: at least {ENOUGH} are needed")
        if as_json:
            print_json({**counted, "before": None, "after": None, "calibration": None})
        raise typer.Exit(1)
    after = calibration.cross_validated(pairs, lambda some: _meaning(some, chosen))
    points = calibrating.fit(pairs, chosen)
    change = {"calibration": {"points": points}}
    if out is not None:
        write(out, orjson.dumps(change, option=orjson.OPT_INDENT_2) + b"\n")
    found = {"before": _quality(pairs), "after": _quality(after)}
    if as_json:
        print_json({**counted, **found, **change})
        return
    rows = [(name, *(f"{value:.3f}" for value in quality.values())) for name, quality in found.items()]
    print_table(("", "calibration error", "Brier score"), rows, empty="")
    print_table(("the formula says", "it means"), _in_percent(points), empty="")
    remark(_next_step(out))


def _read(since: str | None, org: str | None, data: Path | None) -> tuple[datetime, list[Trouble]]:
    with _asking(org, data) as (connection, org_id):
        begun_at = case_outcomes.since(connection, _day(since))
        return begun_at, case_outcomes.troubles(connection, org_id, begun_at)


def _formula_pairs(since: str | None, org: str | None, data: Path | None) -> tuple[list[Pair], int]:
    """Return what the formula of today said and whether it was right, and of how many cases another one said it."""
    mode = TriageMode.CERTAINTY
    with _asking(org, data) as (connection, org_id):
        troubles = case_outcomes.troubles(connection, org_id, case_outcomes.since(connection, _day(since)))
        versions = {saying.policy_version for one in troubles if (saying := one.modes[mode].saying) is not None}
        alike = triage_policies.scored_alike(connection, org_id, versions)
    found = [
        case_metrics.pairs(case_metrics.said_by(troubles, mode, some), mode, lambda saying: saying.formula)
        for some in (alike, versions - alike)
    ]
    return found[0], len(found[1])


@contextmanager
def _asking(org: str | None, data: Path | None) -> Iterator[tuple[Connection, UUID]]:
    settings, where = begin("triage", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        yield connection, find_organization(connection, org)


def _day(since: str | None) -> datetime | None:
    return None if since is None else day_of(since)


def _meaning(pairs: Sequence[Pair], method: calibrating.Method) -> Any:
    return Calibration(points=calibrating.fit(pairs, method)).meaning


def _method(said: str) -> calibrating.Method:
    for known in calibrating.NAMES:
        if said == known:
            return known
    raise UserError(f"--method is {' or '.join(calibrating.NAMES)}, not {said[:40]!r}")


def _quality(pairs: Sequence[Pair]) -> dict[str, float]:
    error, brier = calibration.expected_error(pairs), calibration.brier(pairs)
    return {"expected_calibration_error": round(error, 4), "brier_score": round(brier, 4)}


def _next_step(out: Path | None) -> str:
    if out is None:
        return "add --out FILE to write it down; nothing was changed"
    return f'{out} is written; try it beside: fieldpost triage policy draft {out} --reason "calibrated"'


def _in_percent(points: Iterable[Point]) -> list[tuple[str, str]]:
    return [(f"{said} %", f"{meant} %") for said, meant in points]


def _print_compared(compared: Mapping[str, Any]) -> None:
    of_modes = compared["counts"]
    rows = [
        (
            "false dispatches",
            *of_modes["false_dispatches"].values(),
            f"{compared['false_dispatch_reduction_pct']} % less",
        ),
        ("minutes", *of_modes["minutes"].values(), f"{compared['triage_time_reduction_pct']} % less"),
        (
            "criticals caught",
            *of_modes["criticals_caught"].values(),
            _points(compared["critical_catch_rate_delta_pct"]),
        ),
    ]
    print_table(("", "baseline", "certainty", "difference"), rows, empty="")


def _points(value: float) -> str:
    return f"{value:+} points"


def _print_worths(worths: Sequence[Mapping[str, Any]]) -> None:
    names = (
        *("policy_version", "cases", "known", "false_dispatches", "missed_criticals", "triage_minutes_p50"),
        *("triage_minutes_p95", "expected_calibration_error", "brier_score"),
    )
    columns = ("policy", "cases", "known", "false", "missed", "min p50", "min p95", "calibration error", "Brier")
    print_table(columns, [_worth(worth, names) for worth in worths], empty="No cases in this time.")


def _worth(worth: Mapping[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    """Return a row; where nothing is known to be true, certainties are neither right nor wrong."""
    unknown = ("expected_calibration_error", "brier_score") if not worth["known"] else ()
    return tuple("-" if name in unknown else worth[name] for name in names)


def _print_reliability(worth: Mapping[str, Any]) -> None:
    """Print what was said beside what was true, by tenths that hold something."""
    rows = [
        (f"{one['low']:.1f}", one["count"], f"{one['said']:.2f}", f"{one['was']:.2f}")
        for one in worth["reliability"]
        if one["count"]
    ]
    if rows:
        columns = (f"policy {worth['policy_version']}: certainty from", "cases", "said", "was right")
        print_table(columns, rows, empty="")


def _remark(troubles: Sequence[Trouble]) -> None:
    known = sum(one.is_real is not None for one in troubles)
    assumed = case_metrics.counts(troubles)["assumed"]
    remark(f"of {known} of {len(troubles)} cases it is known whether something was wrong; of {assumed} it is assumed")
    if known < ENOUGH:
        remark(f"this is too little to conclude from: at least {ENOUGH} should be known")
    if not case_outcomes.is_whole(troubles):
        remark(f"only the newest {len(troubles)} cases were counted: choose a later --since")
