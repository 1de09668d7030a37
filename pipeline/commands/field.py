"""What the commands of contract 000 share: the ticket they are done to, and what a change of it is answered with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection

from models.enums import DispatchState, TransitionKind
from models.lifecycle import moves_of, states_before
from pipeline.command import Ask, Effect, Locked, Move, Recorded, Target
from pipeline.core.field_work import FieldTicket, body, is_assigned
from pipeline.core.refusing import Because, Refusal
from pipeline.runtime import case_truths, field_orders, field_rows, order_rows
from pipeline.runtime.jobs import Emit

#: Looks up, under the ticket's lock, what the gates of one command need; by name in `FieldTicket.known`.
Look = Callable[[Connection, Ask[Any], FieldTicket], Mapping[str, Any]]
MISSING = Refusal("TICKET_NOT_FOUND", "your organization has no such ticket", Because.MISSING)
_MERGED = "this ticket was merged into {into}; do it there"


def ticket_target(look: Look | None = None) -> Target[Any, FieldTicket]:
    """Return the target of a command on one ticket; its state is the dispatch state."""

    def lock(connection: Connection, ask: Ask[Any]) -> Locked[FieldTicket] | None:
        found = field_rows.lock(connection, ask.principal, ask.target or "")
        if found is None:
            return None
        ticket, is_reached = found
        if look is not None and is_reached:
            ticket = replace(ticket, known=MappingProxyType(dict(look(connection, ask, ticket))))
        return Locked(
            str(ticket.ticket_id), ticket, ticket.version, is_reached, ticket.state.value, trace_id=ticket.trace_id
        )

    return Target("ticket", lock, MISSING, record=_record)


def _record(connection: Connection, recorded: Sequence[Recorded]) -> None:
    """Keep the steps of work orders that followed their tickets, under the number of what was done to these."""
    steps = [
        step
        for one in recorded
        for step in field_orders.steps_of(one.effect.subject or (), one.ask.principal, one.audit_number)
    ]
    order_rows.keep(connection, recorded[0].ask.principal.org_id, steps)


TICKET = ticket_target()


def not_merged(_ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse what is asked of a ticket that is part of another by now."""
    if not ticket.is_merged:
        return None
    said = _MERGED.format(into=ticket.merged_into)
    return Refusal("TICKET_MERGED", said, details={"merged_into": str(ticket.merged_into)})


def by_assignee(ask: Ask[Any], ticket: FieldTicket) -> Refusal | None:
    """Refuse a technician who was not sent; who may dispatch may stand in for them."""
    who = ask.principal
    if not who.is_sent or is_assigned(ticket, who.actor_id, who.person_id):
        return None
    return Refusal("NOT_ASSIGNED", "only the technician who was sent, or a dispatcher, may do this", Because.FORBIDDEN)


def lifecycle(name: str) -> dict[str, Any]:
    """Return the columns of a command's row that come from the table of the lifecycle."""
    return {
        "name": name,
        "kind": TransitionKind.DISPATCH,
        "from_states": states_before(name),
        "moves": moves_of(name),
        "needs_key": True,
    }


def changed(
    connection: Connection,
    ask: Ask[Any],
    ticket: FieldTicket,
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    path: Sequence[DispatchState] = (),
    details: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
    status: int = 200,
    more: Mapping[str, Any] | None = None,
    jobs: Sequence[Emit] = (),
) -> Effect:
    """Change a ticket's field work and lead it along `path`, the states after its own; answer it as contract 000 does.

    `details` go to the audit trail, `told` (else these) to the ticket's history, `more` beside the ticket's fields. Its
    work orders follow; the effect's subject are those that changed.
    """
    before, by = ticket.state, ask.principal.person_id
    after = field_rows.save(connection, ticket, changes or {}, path[-1] if path else None)
    followed = field_orders.follow(connection, ticket, after, by)
    pushes = [*field_orders.tell(connection, followed, by), *case_truths.after_work([one.after for one in followed])]
    steps = [before, *path]
    moves = [Move(one.value, other.value) for one, other in zip(steps, path, strict=False)]
    facts = dict(details or {})
    said = {**(dict(told) if told is not None else facts), "from": before.value, "to": after.state.value}
    field_rows.tell(connection, after, name, said, actor=ask.principal.email, trace_id=ask.trace_id)
    answer = {**body(after), **(more or {})}
    return Effect(
        answer, status=status, version=after.version, moves=moves, details=facts, jobs=[*jobs, *pushes],
        subject=followed,
    )  # fmt: skip
