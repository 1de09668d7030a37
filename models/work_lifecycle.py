"""The lifecycles of work orders: every legal change of a state, by policy and by the command that makes it.

The one table: commands take their moves from it, the database holds `work_order_events` to it, and tests search its
graph. Contract 004 is the policy of the field, contract 002 that of the workshop; decision 40 tells the rest.
"""

from __future__ import annotations

from types import MappingProxyType

from models.enums import WorkOrderState, WorkPolicy

_S = WorkOrderState
FIELD, WORKSHOP = WorkPolicy.FIELD, WorkPolicy.WORKSHOP

Pairs = tuple[tuple[WorkOrderState, WorkOrderState], ...]
#: What the system does by itself to the orders of a ticket, as `work_order_events.command` calls it.
FOLLOWED = "stage.follow"

_FIELD_OPEN = (_S.CREATED, _S.ASSIGNED, _S.IN_PROGRESS, _S.RETURNED, _S.OUTSOURCED)
_WORKSHOP_OPEN = (_S.UNDER_REVIEW, _S.NEW, _S.ASSIGNED, _S.IN_PROGRESS, _S.WAITING_QC, _S.REWORK)
_OVER = (_S.DONE, _S.CANCELLED)

#: The states of each policy.
STATES: MappingProxyType[WorkPolicy, tuple[WorkOrderState, ...]] = MappingProxyType(
    {FIELD: (*_FIELD_OPEN, *_OVER), WORKSHOP: (*_WORKSHOP_OPEN, *_OVER)}
)
#: Command -> the pairs it may make.
MOVES: MappingProxyType[WorkPolicy, MappingProxyType[str, Pairs]] = MappingProxyType(
    {
        FIELD: MappingProxyType(
            {
                "work_order.assign": (
                    *((before, _S.ASSIGNED) for before in (_S.CREATED, _S.RETURNED, _S.OUTSOURCED, _S.IN_PROGRESS)),
                ),
                "work_order.start": ((_S.ASSIGNED, _S.IN_PROGRESS),),
                "work_order.done": ((_S.IN_PROGRESS, _S.DONE),),
                "work_order.return": ((_S.ASSIGNED, _S.RETURNED), (_S.IN_PROGRESS, _S.RETURNED)),
                "work_order.outsource": (
                    *((before, _S.OUTSOURCED) for before in (_S.CREATED, _S.ASSIGNED, _S.RETURNED)),
                ),
                "work_order.complete_outsourced": ((_S.OUTSOURCED, _S.DONE),),
                "work_order.cancel": tuple((before, _S.CANCELLED) for before in _FIELD_OPEN),
                FOLLOWED: (
                    *((_S.CREATED, after) for after in (_S.ASSIGNED, _S.IN_PROGRESS, *_OVER)),
                    *((_S.ASSIGNED, after) for after in (_S.CREATED, _S.IN_PROGRESS, *_OVER)),
                    *((_S.IN_PROGRESS, after) for after in (_S.CREATED, *_OVER)),
                    *((_S.RETURNED, after) for after in _OVER),
                    *((_S.OUTSOURCED, after) for after in _OVER),
                    *((_S.DONE, after) for after in (_S.IN_PROGRESS,)),
                    *((_S.CANCELLED, after) for after in (_S.CREATED,)),
                ),
            }
        ),
        WORKSHOP: MappingProxyType(
            {
                "workshop.review": ((_S.UNDER_REVIEW, _S.NEW),),
                "workshop.set_metrics": ((_S.UNDER_REVIEW, _S.NEW),),
                "workshop.assign": ((_S.UNDER_REVIEW, _S.ASSIGNED), (_S.NEW, _S.ASSIGNED)),
                "workshop.start": ((_S.ASSIGNED, _S.IN_PROGRESS), (_S.REWORK, _S.IN_PROGRESS)),
                "workshop.to_waiting_qc": ((_S.IN_PROGRESS, _S.WAITING_QC),),
                "workshop.qc_pass": ((_S.WAITING_QC, _S.DONE),),
                "workshop.qc_fail": ((_S.WAITING_QC, _S.REWORK),),
                "workshop.cancel": tuple((before, _S.CANCELLED) for before in _WORKSHOP_OPEN),
            }
        ),
    }
)
#: States that a command may be done in without leaving them: another person, other metrics, another session.
STAYS: MappingProxyType[str, tuple[WorkOrderState, ...]] = MappingProxyType(
    {
        "work_order.assign": (_S.ASSIGNED,),
        "workshop.review": (_S.NEW,),
        "workshop.set_metrics": tuple(one for one in _WORKSHOP_OPEN if one is not _S.UNDER_REVIEW),
        "workshop.assign": (_S.ASSIGNED, _S.REWORK),
        "workshop.start": (_S.IN_PROGRESS,),
        "workshop.pause": (_S.IN_PROGRESS,),
        "workshop.resume": (_S.IN_PROGRESS,),
        "workshop.stop": (_S.IN_PROGRESS,),
    }
)
#: The states that an order may be made in, by the command or stage that makes it.
BEGINNINGS: MappingProxyType[WorkPolicy, MappingProxyType[str, tuple[WorkOrderState, ...]]] = MappingProxyType(
    {
        FIELD: MappingProxyType(
            {
                "work_order.create": (_S.CREATED, _S.ASSIGNED),
                "stage.dispatch": (_S.CREATED,),
                "case.dispatch": (_S.CREATED,),
            }
        ),
        WORKSHOP: MappingProxyType({"workshop.create": (_S.UNDER_REVIEW,)}),
    }
)
#: Conditions for indexes: orders that are not over; those of the field that somebody of ours is waited for.
OPEN = "state NOT IN ('done', 'cancelled')"
AWAITED = "policy = 'field' AND state IN ('created', 'assigned', 'in_progress', 'returned')"


def moves_of(policy: WorkPolicy, command: str) -> frozenset[tuple[str, str]]:
    """Return the pairs that a command may make; none for one that changes no state."""
    return frozenset((before.value, after.value) for before, after in MOVES[policy].get(command, ()))


def states_before(policy: WorkPolicy, command: str) -> frozenset[str]:
    """Return the states that a command may be done in."""
    befores = (before for before, _ in MOVES[policy].get(command, ()))
    return frozenset(state.value for state in (*befores, *STAYS.get(command, ())))


def legal_pairs(policy: WorkPolicy) -> list[tuple[str | None, str]]:
    """Return every pair of a policy in order; a beginning has no state before, and a step may change none."""
    begun = {("", after.value) for some in BEGINNINGS[policy].values() for after in some}
    moved = {(before.value, after.value) for pairs in MOVES[policy].values() for before, after in pairs}
    stayed = {(state.value, state.value) for state in STATES[policy]}
    return [(before or None, after) for before, after in sorted(begun | moved | stayed)]


def legal_condition() -> str:
    """Return the CHECK that holds `work_order_events` to the table."""
    return " OR ".join(f"(policy = '{policy.value}' AND ({_legal(policy)}))" for policy in WorkPolicy)


def words_of_policies() -> str:
    """Return the CHECK that an order's state is one of its policy."""
    found = []
    for policy in WorkPolicy:
        words = ", ".join(f"'{state.value}'" for state in STATES[policy])
        found.append(f"(policy = '{policy.value}' AND state IN ({words}))")
    return " OR ".join(found)


def _legal(policy: WorkPolicy) -> str:
    pairs = legal_pairs(policy)
    moved = ", ".join(f"('{before}', '{after}')" for before, after in pairs if before is not None)
    begun = ", ".join(f"'{after}'" for before, after in pairs if before is None)
    return (
        f"(from_state IS NULL AND to_state IN ({begun})) "
        f"OR (from_state IS NOT NULL AND (from_state, to_state) IN ({moved}))"
    )
