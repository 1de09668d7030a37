"""What somebody may do next to a work order of the field, from the table of commands alone: cheap, and never stale."""

from __future__ import annotations

from typing import Any

from models.work_lifecycle import FIELD, MOVES
from pipeline.command import Ask
from pipeline.commands.orders import by_assignee, not_of_ticket
from pipeline.core.principals import Principal
from pipeline.table import COMMANDS

_PREFIX = "work_order."
#: The commands of contract 004 on an order that is there.
ACTIONS = tuple(one for one in COMMANDS.values() if one.name in MOVES[FIELD])
#: Gates that the order alone answers; what others ask for, such as a photo, is seen when it is done.
_PLAIN = frozenset({by_assignee, not_of_ticket})


def allowed(principal: Principal, order: Any) -> list[str]:
    """Return what somebody may do to an order now, as the last word of the command's name.

    `order` has the fields of `pipeline.core.orders.Order` that the plain gates look at.
    """
    ask: Ask[Any] = Ask(principal=principal, arguments=None)
    return [
        one.name.removeprefix(_PREFIX)
        for one in ACTIONS
        if principal.may(one.permission)
        and (one.from_states is None or order.state in one.from_states)
        and all(gate(ask, order) is None for gate in one.gates if gate in _PLAIN)
    ]
