"""How the work orders of a ticket follow its field work (contracts 000 and 004, decision 40)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from uuid import UUID

from models.enums import DispatchPriority, DispatchState, TicketPriority, WorkOrderState
from pipeline.core.field_work import FieldTicket
from pipeline.core.orders import OVER, Order

_S = WorkOrderState
_D = DispatchState
#: The field work was done and checked.
_DONE = frozenset({_D.VERIFIED, _D.INVOICED, _D.CLOSED})
#: Somebody is there.
_BEGUN = frozenset({_D.ON_SITE, _D.IN_PROGRESS})
#: They are somebody's, or nobody's, as the ticket says; what was given back or went out is as it is.
_SENT = frozenset({_S.CREATED, _S.ASSIGNED, _S.IN_PROGRESS})
#: A priority of contract 000 as orders say it: both keep the same time.
PRIORITIES = MappingProxyType(
    {
        DispatchPriority.EMERGENCY: TicketPriority.URGENT,
        DispatchPriority.URGENT: TicketPriority.HIGH,
        DispatchPriority.ROUTINE: TicketPriority.NORMAL,
    }
)


@dataclass(frozen=True, slots=True)
class Followed:
    """An order that followed its ticket: as it was, and as it is."""

    before: Order
    after: Order

    @property
    def is_given(self) -> bool:
        """True when somebody has it who had it not."""
        return self.after.assigned_to_id is not None and self.after.attempt != self.before.attempt

    @property
    def is_taken(self) -> bool:
        """True when somebody had it open who has it no more."""
        had = self.before.assigned_to_id
        return self.before.state not in OVER and had is not None and had != self.after.assigned_to_id


def follow(order: Order, before: FieldTicket, after: FieldTicket, *, may_again: bool) -> Order:
    """Return an order as it is once its ticket's field work has changed; the same when nothing of it changes.

    It ends and is taken up again with a change of the ticket's state alone. `may_again` is true for an order that may
    be: its trouble is open and has no newer order.
    """
    is_moved = after.state is not before.state
    if order.state in OVER:
        return _again(order, before, after) if is_moved and may_again else order
    if is_moved and (after.state in _DONE or after.state is _D.CANCELLED):
        return replace(order, state=_S.DONE if after.state in _DONE else _S.CANCELLED, closed_at=order.now)
    if order.state not in _SENT or after.state in _DONE or after.state is _D.CANCELLED:
        return order
    return _led(order, _state(order, after), after.assigned_tech_id)


def _again(order: Order, before: FieldTicket, after: FieldTicket) -> Order:
    if order.state is _S.CANCELLED and before.state is _D.CANCELLED:
        return replace(_led(order, _S.CREATED, None), closed_at=None)
    if order.state is _S.DONE and before.state is _D.VERIFIED and after.state in _BEGUN:
        return replace(_led(order, _S.IN_PROGRESS, after.assigned_tech_id), closed_at=None)
    return order


def _state(order: Order, ticket: FieldTicket) -> WorkOrderState:
    if ticket.state in _BEGUN:
        return _S.IN_PROGRESS
    if ticket.assigned_tech_id is None:
        return _S.CREATED
    return _S.ASSIGNED if order.state is _S.CREATED else order.state


def _led(order: Order, state: WorkOrderState, person_id: UUID | None) -> Order:
    """Lead an order to a state and a person; every giving to somebody is an attempt of its own."""
    if person_id != order.assigned_to_id:
        is_given = person_id is not None
        order = replace(
            order,
            assigned_to_id=person_id,
            assigned_at=order.now if is_given else None,
            attempt=order.attempt + is_given,
            started_at=None,
        )
    is_started = state is _S.IN_PROGRESS
    return replace(order, state=state, started_at=(order.started_at or order.now) if is_started else order.started_at)
