"""What somebody may do next to a ticket in some state, from the command table alone: a person's next step, cheaply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.enums import DispatchState
from pipeline.command import Command
from pipeline.core.principals import Principal
from pipeline.table import COMMANDS

#: The commands of contract 000 that depend on the state of a ticket that is there.
ACTIONS = tuple(
    one
    for one in COMMANDS.values()
    if one.target.kind == "ticket" and one.needs_key and one.from_states is not None and not one.beginnings
)


def actions(principal: Principal, state: DispatchState) -> Mapping[str, str | None]:
    """Return by command why it is refused, as the executor would say it first; None for what is possible.

    What only the ticket itself can tell, such as missing proof, is seen when it is done.
    """
    return {one.name: _refusal(one, principal, state) for one in ACTIONS}


def _refusal(command: Command[Any, Any], principal: Principal, state: DispatchState) -> str | None:
    if not principal.may(command.permission):
        return "FORBIDDEN"
    is_here = command.from_states is None or state.value in command.from_states
    return None if is_here else "INVALID_STATE_TRANSITION"
