"""The lifecycle of a ticket's field work: every legal change of its state, by the command that makes it (contract 000).

The one table: commands take their moves from it, the database holds `transitions` to it, and tests search its graph.
"""

from __future__ import annotations

from types import MappingProxyType

from models.enums import DispatchState

_S = DispatchState
#: What the system does by itself, as `transitions.command` calls it.
AUTOMATIC_TRIAGE = "stage.triage"
AUTOMATIC_DISPATCH = "stage.dispatch"
HOLD_LAPSED = "stage.lapse"

#: Field work that is neither over nor forbidden: all but the end of the road.
_OPEN = (
    *(_S.NEW, _S.NEEDS_INFO, _S.TRIAGED, _S.APPROVAL_REQUIRED, _S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED),
    *(_S.SCHEDULED, _S.PENDING_CUSTOMER_CONFIRMATION, _S.DISPATCHED, _S.ON_SITE, _S.IN_PROGRESS, _S.ON_HOLD),
    _S.COMPLETED_PENDING_VERIFICATION,
)
_HOLDABLE = (_S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED, _S.SCHEDULED)
_PENDING = _S.PENDING_CUSTOMER_CONFIRMATION
_DONE = _S.COMPLETED_PENDING_VERIFICATION

Pairs = tuple[tuple[DispatchState, DispatchState], ...]
#: Command -> the pairs it may make. A ticket is made in NEW, TRIAGED or READY_TO_SCHEDULE (`BEGINNINGS`).
MOVES: MappingProxyType[str, Pairs] = MappingProxyType(
    {
        "ticket.triage": (
            *((before, after) for before in (_S.NEW, _S.NEEDS_INFO) for after in (_S.TRIAGED,)),
            (_S.TRIAGED, _S.READY_TO_SCHEDULE),
            (_S.TRIAGED, _S.APPROVAL_REQUIRED),
        ),
        "ticket.request_info": ((_S.NEW, _S.NEEDS_INFO), (_S.TRIAGED, _S.NEEDS_INFO)),
        "schedule.propose": ((_S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED),),
        "schedule.confirm": ((_S.SCHEDULE_PROPOSED, _S.SCHEDULED),),
        "schedule.move": ((_S.SCHEDULE_PROPOSED, _S.SCHEDULED), (_PENDING, _S.SCHEDULED)),
        "plan.book": ((_S.READY_TO_SCHEDULE, _S.SCHEDULE_PROPOSED), (_S.SCHEDULE_PROPOSED, _S.SCHEDULED)),
        "schedule.withdraw": ((_S.SCHEDULE_PROPOSED, _S.READY_TO_SCHEDULE), (_S.SCHEDULED, _S.READY_TO_SCHEDULE)),
        "schedule.hold": tuple((before, _PENDING) for before in _HOLDABLE),
        "schedule.release": tuple((_PENDING, after) for after in _HOLDABLE),
        "schedule.rollback": tuple((_PENDING, after) for after in _HOLDABLE),
        HOLD_LAPSED: ((_PENDING, _S.READY_TO_SCHEDULE),),
        "assignment.dispatch": ((_S.SCHEDULED, _S.DISPATCHED), (_S.TRIAGED, _S.DISPATCHED)),
        "assignment.unassign": ((_S.DISPATCHED, _S.SCHEDULED), (_S.DISPATCHED, _S.READY_TO_SCHEDULE)),
        "tech.check_in": ((_S.DISPATCHED, _S.ON_SITE), (_S.ON_SITE, _S.IN_PROGRESS)),
        "tech.request_change": ((_S.IN_PROGRESS, _S.APPROVAL_REQUIRED),),
        "tech.hold": ((_S.IN_PROGRESS, _S.ON_HOLD),),
        "tech.resume": ((_S.ON_HOLD, _S.IN_PROGRESS),),
        "visit.return": ((_S.ON_HOLD, _S.READY_TO_SCHEDULE), (_S.IN_PROGRESS, _S.READY_TO_SCHEDULE)),
        "approval.decide": (
            *((_S.APPROVAL_REQUIRED, after) for after in (_S.READY_TO_SCHEDULE, _S.IN_PROGRESS, _S.TRIAGED)),
            (_S.APPROVAL_REQUIRED, _S.VERIFIED),
        ),
        "tech.complete": ((_S.IN_PROGRESS, _DONE),),
        "closeout.candidate": ((_S.IN_PROGRESS, _DONE),),
        "qa.verify": ((_DONE, _S.VERIFIED), (_DONE, _S.IN_PROGRESS)),
        "billing.request_increase": ((_S.VERIFIED, _S.APPROVAL_REQUIRED),),
        "billing.generate_invoice": ((_S.VERIFIED, _S.INVOICED),),
        "ticket.close": ((_S.VERIFIED, _S.CLOSED), (_S.INVOICED, _S.CLOSED)),
        "ticket.cancel": tuple((before, _S.CANCELLED) for before in _OPEN),
        "ticket.reopen": (*((_S.VERIFIED, _S.IN_PROGRESS), (_S.CANCELLED, _S.NEW), (_S.CANCELLED, _S.TRIAGED)),),
        AUTOMATIC_TRIAGE: ((_S.NEW, _S.TRIAGED),),
        AUTOMATIC_DISPATCH: ((_S.NEW, _S.READY_TO_SCHEDULE), (_S.TRIAGED, _S.READY_TO_SCHEDULE)),
    }
)
#: States that a command of the table may be done in without leaving them: another time, a first word on the trouble.
STAYS: MappingProxyType[str, tuple[DispatchState, ...]] = MappingProxyType(
    {
        "ticket.triage": (_S.READY_TO_SCHEDULE,),
        "schedule.move": (_S.SCHEDULED,),
        "plan.book": (_S.SCHEDULED,),
    }
)
#: The states that a ticket may be made in, by the command that makes it.
BEGINNINGS: MappingProxyType[str, tuple[DispatchState, ...]] = MappingProxyType(
    {"ticket.create": (_S.NEW,), "ticket.blind_intake": (_S.TRIAGED, _S.READY_TO_SCHEDULE)}
)


def moves_of(command: str) -> frozenset[tuple[str, str]]:
    """Return the pairs that a command may make. KeyError for one that makes none."""
    return frozenset((before.value, after.value) for before, after in MOVES[command])


def states_before(command: str) -> frozenset[str]:
    """Return the states that a command may be done in. KeyError for one that makes no move."""
    return frozenset(state.value for state in (*(before for before, _ in MOVES[command]), *STAYS.get(command, ())))


def legal_pairs() -> list[tuple[str | None, str]]:
    """Return every pair of the table in order; a beginning has no state before."""
    begun: set[tuple[str, str]] = {("", after.value) for some in BEGINNINGS.values() for after in some}
    moved = {(before.value, after.value) for pairs in MOVES.values() for before, after in pairs}
    return [(before or None, after) for before, after in sorted(begun | moved)]


def legal_condition() -> str:
    """Return the CHECK that holds `transitions` to the table; changes of the conversation's status are free."""
    pairs = legal_pairs()
    moved = ", ".join(f"('{before}', '{after}')" for before, after in pairs if before is not None)
    begun = ", ".join(f"'{after}'" for before, after in pairs if before is None)
    return (
        f"kind <> 'dispatch' OR (from_state IS NULL AND to_state IN ({begun})) "
        f"OR (from_state IS NOT NULL AND (from_state, to_state) IN ({moved}))"
    )
