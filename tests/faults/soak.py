"""Chaos for a long time: `python -m tests.faults.soak --seeds 20 --first-seed 1`.

Runs one seed after another (`tests.faults.chaos`), says a line for each, and ends with a report of all. Ends with 1
when anything was lost, doubled or otherwise broken, naming each such seed and the command that repeats it.
"""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.faults import mutations
from tests.faults.chaos import LONG, SHORT, Outcome, Size, chaos

_SHOWN = 20
_NOT_KEPT = ("data", "blobs", "mail", "spool", "*.json")
_LEGEND = (
    "Recovery is the time to the next job that was settled; for a killed worker to the first, and to all, of its jobs",
    "being held by another. Faults overlap: a figure holds whatever else was broken meanwhile.",
)


def main(arguments: Sequence[str]) -> int:
    """Run the seeds; 0 when everything held, 1 when not, 2 for arguments that make no sense."""
    parser = argparse.ArgumentParser("python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="how many seeds")
    parser.add_argument("--first-seed", type=int, default=1, metavar="SEED", help="the first of them")
    parser.add_argument("--short", action="store_true", help="runs as in the test suite: 300 messages each")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first seed that broke something")
    parser.add_argument(
        "--mutation", choices=sorted(mutations.MUTATIONS), help="break the product first: this must show"
    )
    asked = parser.parse_args(arguments)
    if asked.mutation:
        mutations.apply(asked.mutation)
    if asked.seeds < 1:
        parser.error("--seeds must be at least 1")
    size, option = (SHORT, " --short") if asked.short else (LONG, "")
    option += f" --mutation {asked.mutation}" if asked.mutation else ""
    # So that servers, processes and disks of a run that is broken off go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started, found = time.monotonic(), list[Outcome]()
    for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
        found.append(run(seed, size))
        say_seed(found[-1], f"python -m tests.faults.soak --seeds 1 --first-seed {seed}{option}")
        if found[-1].broken and not asked.go_on:
            break
    print(report(found, time.monotonic() - started))
    return 1 if any(outcome.broken for outcome in found) else 0


def run(seed: int, size: Size) -> Outcome:
    """Return what one seed saw. A run that could not come to its end is broken; the logs of a broken one are kept."""
    try:
        with chaos(seed, size) as under_way:
            found = under_way.go()
            if found.broken:
                found.notes["logs"] = _kept(seed, under_way.folder)
            return found
    except Exception as error:  # noqa: BLE001 - the other seeds are worth running, and the report worth having
        traceback.print_exc()
        return Outcome(seed, broken=[f"the run ended early: {type(error).__name__}: {error}"])


def _kept(seed: int, folder: Path) -> str:
    kept = tempfile.mkdtemp(prefix=f"chaos-{seed}-")
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(*_NOT_KEPT), dirs_exist_ok=True)
    return kept


def say_seed(found: Outcome, again: str) -> None:
    """Say in a line how a seed went, and what was broken and how to see it again."""
    result = f"BROKEN in {len(found.broken)} ways" if found.broken else "held"
    print(
        f"seed {found.seed}: {found.messages} messages, {len(found.records)} faults, {found.seconds:.0f} s, "
        f"at rest {found.drained_after:.1f} s after the last, lost {found.lost}, doubled {found.doubled}, {result}",
        flush=True,
    )
    for said in found.broken[:_SHOWN]:
        print(f"  {said}")
    if found.broken:
        print(f"  notes: {found.notes}\n  again: {again}", flush=True)


def report(found: Sequence[Outcome], seconds: float) -> str:
    """Return the figures of all seeds together, as Markdown."""
    return "\n".join(["", *_summary(found, seconds), "", *_table(found), "", *_LEGEND])


def _summary(found: Sequence[Outcome], seconds: float) -> list[str]:
    messages, faults = sum(one.messages for one in found), sum(len(one.records) for one in found)
    busy = max(1.0, sum(one.seconds for one in found))
    bad = ", ".join(str(one.seed) for one in found if one.broken) or "none"
    lost, doubled, broken = (sum(numbers) for numbers in zip(*(_counts(one) for one in found), strict=True))
    said = sum((one.said for one in found), Counter[str]())
    drains = sorted(one.drained_after for one in found)
    rates = f"{messages / busy:.0f} messages/s and {faults / busy:.2f} faults/s while they struck"
    return [
        f"{len(found)} seeds, {messages:,} messages, {faults:,} faults in {seconds / 60:.1f} minutes; {rates}",
        f"lost {lost}, doubled {doubled}, broken in all {broken}; seeds that broke something: {bad}",
        "the processes said: " + ", ".join(f"{words} {count}" for words, count in sorted(said.items())),
        f"at rest after the last fault: p50 {_at(drains, 0.5):.1f} s, longest {_at(drains, 1.0):.1f} s",
    ]


def _counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.lost, outcome.doubled, len(outcome.broken)


def _table(found: Sequence[Outcome]) -> list[str]:
    kinds = Counter(record.kind for outcome in found for record in outcome.records)
    times: dict[str, list[float]] = defaultdict(list)
    for outcome in found:
        for kind, values in outcome.recoveries.items():
            times[kind] += values
    shares = (0.5, 0.99, 1.0)
    rows = [
        f"| {kind} | {kinds.get(kind, '')} | {' | '.join(_seconds(times[kind], share) for share in shares)} |"
        for kind in sorted(kinds.keys() | times.keys())
    ]
    return ["| fault | how often | recovery p50, s | p99 | longest |", "|---|---|---|---|---|", *rows]


def _seconds(values: Sequence[float], share: float) -> str:
    return f"{_at(sorted(values), share):.2f}" if values else ""


def _at(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share of all is not above (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
