"""The figures of a benchmark: medians over its rounds, as a table for people and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.table import STAGES
from tests.bench.corpus import Corpus
from tests.bench.runs import Run

#: Above this share the rates say more about the other programs than about this one.
_DISTURBED = 0.1


@dataclass(frozen=True, slots=True)
class Side:
    """One side, chain or limit, per message: CPU in milliseconds by kind of process and by stage."""

    messages_per_second: float
    cpu_ms: float
    workers_ms: float
    stages_ms: dict[str, float]
    postgres_ms: float
    valkey_ms: float
    wal_bytes: float
    database_bytes: float
    workers_peak_mb: float
    postgres_peak_mb: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything: `ratio` is the chain's messages per second beside the limit's, `cpu_ratio` its CPU per message.

    `others_share` is how much of the machine other programs used meanwhile.
    """

    corpus: str
    messages: int
    processes: int
    rounds: int
    chain: Side
    limit: Side
    ratio: float
    cpu_ratio: float
    idle_p50_ms: float
    idle_p95_ms: float
    idle_samples: int
    others_share: float

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


def figures(corpus: Corpus, chain: Sequence[Run], limit: Sequence[Run], idle: Sequence[float]) -> Figures:
    """Return the medians; the ratios are medians of the rounds' own ratios, since both sides saw the same minutes."""
    ratios = [_rate(one) / _rate(other) for one, other in zip(chain, limit, strict=True)]
    cpu_ratios = [_cpu(one) / _cpu(other) for one, other in zip(chain, limit, strict=True)]
    cuts = statistics.quantiles(idle, n=20, method="inclusive")
    return Figures(
        corpus=corpus.name,
        messages=corpus.messages,
        processes=len(corpus.parts),
        rounds=len(chain),
        chain=_side(chain),
        limit=_side(limit),
        ratio=statistics.median(ratios),
        cpu_ratio=statistics.median(cpu_ratios),
        idle_p50_ms=statistics.median(idle) * 1000,
        idle_p95_ms=cuts[-1] * 1000,
        idle_samples=len(idle),
        others_share=statistics.median(run.usage.others for run in (*chain, *limit)),
    )


def _rate(run: Run) -> float:
    return run.messages / run.seconds


def _cpu(run: Run) -> float:
    return sum(run.usage.cpu.values())


def _side(runs: Sequence[Run]) -> Side:
    def per_message(values: Sequence[float]) -> float:
        return statistics.median(value / run.messages for value, run in zip(values, runs, strict=True))

    stages = [name for name in STAGES if any(name in run.stages for run in runs)]
    cpu = {name: 1000 * per_message([run.usage.cpu[name] for run in runs]) for name in runs[0].usage.cpu}
    return Side(
        messages_per_second=statistics.median(_rate(run) for run in runs),
        cpu_ms=1000 * per_message([_cpu(run) for run in runs]),
        workers_ms=cpu["workers"],
        stages_ms={name: 1000 * per_message([run.stages.get(name, 0.0) for run in runs]) for name in stages},
        postgres_ms=cpu["postgres"],
        valkey_ms=cpu["valkey"],
        wal_bytes=per_message([run.usage.wal_bytes for run in runs]),
        database_bytes=per_message([run.usage.database_bytes for run in runs]),
        workers_peak_mb=statistics.median(run.usage.workers_mb for run in runs),
        postgres_peak_mb=statistics.median(run.usage.postgres_mb for run in runs),
    )


def show(console: Console, found: Figures) -> None:
    """Print both sides next to each other."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    table.add_column("per message")
    for name in ("chain", "limit", "chain / limit"):
        table.add_column(name, justify="right")
    for name, pattern, one, other in _rows(found.chain, found.limit):
        share = f"{one / other:.2f}" if other else ""
        table.add_row(name, pattern.format(one), pattern.format(other) if other else "-", share)
    console.print(
        f"{found.messages} messages ({found.corpus}), {found.processes} processes, "
        f"{found.rounds} round{'s' if found.rounds > 1 else ''}, medians\n"
    )
    console.print(table)
    console.print(
        f"\none mail alone, recorded to routed: p50 {found.idle_p50_ms:.0f} ms, p95 {found.idle_p95_ms:.0f} ms "
        f"({found.idle_samples} samples)"
        f"\n[bold]chain / limit: {found.ratio:.2f} of the messages a second, {found.cpu_ratio:.2f} times the CPU[/]"
        "\nThe limit only parses and appends: no queue, no tickets, no cases, nothing to resume after a crash."
    )
    if found.others_share > _DISTURBED:
        console.print(
            f"[yellow]Other programs used {found.others_share:.0%} of this machine meanwhile: trust the CPU figures, "
            "not the rates.[/]"
        )


def _rows(chain: Side, limit: Side) -> list[tuple[str, str, float, float]]:
    rest = chain.workers_ms - sum(chain.stages_ms.values())
    return [
        ("messages/s", "{:.0f}", chain.messages_per_second, limit.messages_per_second),
        ("CPU, all processes, ms", "{:.3f}", chain.cpu_ms, limit.cpu_ms),
        ("  workers", "{:.3f}", chain.workers_ms, limit.workers_ms),
        *((f"    {name}", "{:.3f}", value, 0.0) for name, value in chain.stages_ms.items()),
        ("    beside the stages", "{:.3f}", rest, 0.0),
        ("  PostgreSQL", "{:.3f}", chain.postgres_ms, limit.postgres_ms),
        ("  Valkey", "{:.3f}", chain.valkey_ms, 0.0),
        ("WAL, bytes", "{:.0f}", chain.wal_bytes, limit.wal_bytes),
        ("in the database, bytes", "{:.0f}", chain.database_bytes, limit.database_bytes),
        ("workers at their peak, MB in all", "{:.0f}", chain.workers_peak_mb, limit.workers_peak_mb),
        ("PostgreSQL at its peak, MB in all", "{:.0f}", chain.postgres_peak_mb, limit.postgres_peak_mb),
    ]
