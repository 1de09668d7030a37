"""The one table of stages: found in `pipeline.stages`, checked at import, printed for people."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from datetime import timedelta
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import Any

from models.enums import Lane
from pipeline import stages
from pipeline.stage import Stage


class BadTable(Exception):
    """The table is wrong; a program with a wrong table does not start."""


def read_stages() -> Mapping[str, Stage[Any, Any]]:
    """Return every stage by name. Raises `BadTable` for a file without its stage, or a step to nowhere."""
    table: dict[str, Stage[Any, Any]] = {}
    for module in pkgutil.iter_modules(stages.__path__):
        found = getattr(importlib.import_module(f"{stages.__name__}.{module.name}"), "STAGE", None)
        if not isinstance(found, Stage) or found.name != module.name:
            raise BadTable(f"pipeline/stages/{module.name}.py must hold STAGE = Stage(name='{module.name}', ...)")
        table[found.name] = found
    for stage in table.values():
        missing = set(stage.emits) - set(table)
        if missing:
            raise BadTable(f"{stage.name} emits {', '.join(sorted(missing))}, which no file declares")
        if not stage.about or stage.batch < 1 or stage.attempts < 1:
            raise BadTable(f"{stage.name} needs an `about`, and a batch and attempts of at least 1")
    return MappingProxyType(_in_order(table))


def _in_order(table: Mapping[str, Stage[Any, Any]]) -> dict[str, Stage[Any, Any]]:
    """Return the stages along the chain: each after those that emit it.

    A stage may go on with itself, and those that serve one mailbox may ask for each other.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(table, ()))
    for stage in table.values():
        for target in stage.emits:
            if target != stage.name and not (stage.by_mailbox and table[target].by_mailbox):
                sorter.add(target, stage.name)
    return {name: table[name] for name in sorter.static_order()}


#: Every stage by name, along the chain.
STAGES = read_stages()


def as_text() -> str:
    """Return the table for people."""
    lines = [f"{'stage':11} {'kind':5} {'batch':>5} {'tries':>5} {'promise':12} {'emits':28} about"]
    for stage in STAGES.values():
        kind = "io" if stage.io else "pure"
        emits = ", ".join(stage.emits) or "-"
        row = f"{stage.name:11} {kind:5} {stage.batch:5} {stage.attempts:5} {_promised(stage):12} {emits:28}"
        lines.append(f"{row} {stage.about}")
    return "\n".join(lines)


def _promised(stage: Stage[Any, Any]) -> str:
    """Return the promise of each lane, the live one first, in minutes."""
    return "/".join(f"{stage.promise.of(lane) / timedelta(minutes=1):g}" for lane in Lane) + " min"
