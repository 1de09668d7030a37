"""The tables of stages and commands: found in their packages, checked at import, printed for people."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from datetime import timedelta
from graphlib import TopologicalSorter
from types import MappingProxyType
from typing import Any

from models.enums import DispatchState, Lane, TicketStatus, TransitionKind, WorkOrderState
from models.permissions import BUILT_IN
from pipeline import commands, stages
from pipeline.command import Command
from pipeline.stage import Stage

#: What a state of each kind may be called.
_STATES: Mapping[TransitionKind, frozenset[str]] = MappingProxyType(
    {TransitionKind.STATUS: frozenset(TicketStatus), TransitionKind.DISPATCH: frozenset(DispatchState)}
)
#: Work orders keep their steps in a table of their own (`Target.record`).
_ORDER_STATES = frozenset(WorkOrderState)


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


def read_commands() -> Mapping[str, Command[Any, Any]]:
    """Return every command by name: those of each file's `COMMANDS`. Raises `BadTable` for a wrong one."""
    table: dict[str, Command[Any, Any]] = {}
    for module in pkgutil.iter_modules(commands.__path__):
        for found in getattr(importlib.import_module(f"{commands.__name__}.{module.name}"), "COMMANDS", ()):
            if not isinstance(found, Command) or found.name in table:
                raise BadTable(f"pipeline/commands/{module.name}.py: COMMANDS holds commands, each name once")
            _check_command(found)
            table[found.name] = found
    return MappingProxyType(table)


def _check_command(command: Command[Any, Any]) -> None:
    if not command.about or "." not in command.name:
        raise BadTable(f"{command.name} needs an `about`, and a name like `ticket.update`")
    is_kept = command.kind is not None or command.target.kind == "work_order"
    if command.moves and (command.from_states is None or not is_kept):
        raise BadTable(f"{command.name} moves a state: it needs the kind of state, and the states it starts from")
    if is_kept:
        said = (command.from_states or frozenset()) | {state for move in command.moves for state in move}
        if unknown := said - (_ORDER_STATES if command.kind is None else _STATES[command.kind]):
            raise BadTable(f"{command.name} names {', '.join(sorted(unknown))}, which is no state")


#: Every stage by name, along the chain.
STAGES = read_stages()
#: Every command by name, as they stand in their files.
COMMANDS = read_commands()


def legal_moves(kind: TransitionKind) -> frozenset[tuple[str, str]]:
    """Return every change of a state that some command may make."""
    return frozenset(move for one in COMMANDS.values() if one.kind is kind for move in one.moves)


def as_text() -> str:
    """Return the table for people."""
    lines = [f"{'stage':11} {'kind':5} {'batch':>5} {'tries':>5} {'promise':12} {'emits':28} about"]
    for stage in STAGES.values():
        kind = "io" if stage.io else "pure"
        emits = ", ".join(stage.emits) or "-"
        row = f"{stage.name:11} {kind:5} {stage.batch:5} {stage.attempts:5} {_promised(stage):12} {emits:28}"
        lines.append(f"{row} {stage.about}")
    return "\n".join(lines)


def commands_as_text() -> str:
    """Return the table of commands for people."""
    lines = [f"{'command':24} {'permission':24} {'on':8} {'key':4} {'from':52} {'to':52} about"]
    for one in COMMANDS.values():
        key, kind = "yes" if one.needs_key else "-", one.target.kind
        from_states, to_states = _listed(one.from_states), _listed({after for _, after in one.moves})
        row = f"{one.name:24} {one.permission.value:24} {kind:8} {key:4} {from_states:52} {to_states:52}"
        lines.append(f"{row} {one.about}")
    return "\n".join(lines)


def commands_as_page() -> str:
    """Return the part of the documentation that tells who may give which command, in Markdown."""
    lines = [
        "| command | does | from | to | permission | built-in roles that hold it |",
        "|---|---|---|---|---|---|",
    ]
    for one in COMMANDS.values():
        roles = ", ".join(f"`{role.code}`" for role in BUILT_IN if one.permission in role.permissions)
        states = f"{_listed(one.from_states)} | {_listed({after for _, after in one.moves})}"
        lines.append(f"| `{one.name}` | {one.about} | {states} | `{one.permission.value}` | {roles} |")
    return "\n".join(lines)


def _listed(states: Collection[str] | None) -> str:
    return "any" if states is None else ", ".join(sorted(states)) or "-"


def _promised(stage: Stage[Any, Any]) -> str:
    """Return the promise of each lane, the live one first, in minutes."""
    return "/".join(f"{stage.promise.of(lane) / timedelta(minutes=1):g}" for lane in Lane) + " min"
