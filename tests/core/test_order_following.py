"""How work orders follow the field work of their ticket: by rules alone, for every state of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.enums import DispatchState, TicketPriority, WorkOrderState, WorkPolicy
from models.lifecycle import MOVES as TICKET_MOVES
from models.work_lifecycle import FIELD, FOLLOWED, MOVES, STATES
from pipeline.core.field_work import FieldTicket
from pipeline.core.order_following import Followed, follow
from pipeline.core.orders import OVER, Order

S, D = WorkOrderState, DispatchState
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ANN, BO = UUID(int=1), UUID(int=2)
_LEGAL = set(MOVES[FIELD][FOLLOWED])
_TICKET_PAIRS = sorted({pair for pairs in TICKET_MOVES.values() for pair in pairs})
_SOMEBODY = {S.ASSIGNED, S.IN_PROGRESS, S.RETURNED}


def order(state: S = S.CREATED, person_id: UUID | None = None, attempt: int = 0) -> Order:
    return Order(
        order_id=UUID(int=9), org_id=UUID(int=8), number=1, policy=WorkPolicy.FIELD, state=state, version=0, title="",
        priority=TicketPriority.NORMAL, created_at=NOW, now=NOW, assigned_to_id=person_id, attempt=attempt,
        ticket_id=UUID(int=7),
    )  # fmt: skip


def ticket(state: D, tech_id: UUID | None = None) -> FieldTicket:
    return FieldTicket(
        ticket_id=UUID(int=7), org_id=UUID(int=8), code="t", state=state, version=0, summary="", created_at=NOW,
        now=NOW, assigned_tech_id=tech_id,
    )  # fmt: skip


def followed(
    found: Order, before: FieldTicket, after: FieldTicket, *, may_again: bool = True
) -> tuple[S, UUID | None, int]:
    led = follow(found, before, after, may_again=may_again)
    return led.state, led.assigned_to_id, led.attempt


@pytest.mark.parametrize(
    ("found", "before", "after", "expected"),
    [
        (order(), ticket(D.SCHEDULED), ticket(D.DISPATCHED, ANN), (S.ASSIGNED, ANN, 1)),
        (order(S.ASSIGNED, ANN, 1), ticket(D.DISPATCHED, ANN), ticket(D.DISPATCHED, BO), (S.ASSIGNED, BO, 2)),
        (order(S.ASSIGNED, ANN, 1), ticket(D.DISPATCHED, ANN), ticket(D.SCHEDULED), (S.CREATED, None, 1)),
        (order(S.ASSIGNED, ANN, 1), ticket(D.DISPATCHED, ANN), ticket(D.IN_PROGRESS, ANN), (S.IN_PROGRESS, ANN, 1)),
        (order(S.IN_PROGRESS, ANN, 1), ticket(D.IN_PROGRESS, ANN), ticket(D.IN_PROGRESS, BO), (S.IN_PROGRESS, BO, 2)),
        (order(S.IN_PROGRESS, ANN, 1), ticket(D.IN_PROGRESS, ANN), ticket(D.ON_HOLD, ANN), (S.IN_PROGRESS, ANN, 1)),
        (order(S.IN_PROGRESS, ANN, 1), ticket(D.ON_HOLD, ANN), ticket(D.READY_TO_SCHEDULE), (S.CREATED, None, 1)),
        (
            order(S.IN_PROGRESS, ANN, 1),
            ticket(D.COMPLETED_PENDING_VERIFICATION, ANN),
            ticket(D.VERIFIED, ANN),
            (S.DONE, ANN, 1),
        ),
        (order(S.ASSIGNED, ANN, 1), ticket(D.DISPATCHED, ANN), ticket(D.CANCELLED), (S.CANCELLED, ANN, 1)),
        (order(S.CANCELLED, ANN, 1), ticket(D.CANCELLED), ticket(D.TRIAGED), (S.CREATED, None, 1)),
        (order(S.DONE, ANN, 1), ticket(D.VERIFIED, ANN), ticket(D.IN_PROGRESS, ANN), (S.IN_PROGRESS, ANN, 1)),
        # Came by a merge, or was made late: it follows with the next step of the ticket, whatever that is.
        (order(), ticket(D.IN_PROGRESS, ANN), ticket(D.IN_PROGRESS, ANN), (S.IN_PROGRESS, ANN, 1)),
        # Nothing ends without a step of the ticket that ends it.
        (order(), ticket(D.VERIFIED, ANN), ticket(D.VERIFIED, ANN), (S.CREATED, None, 0)),
        (order(), ticket(D.CANCELLED), ticket(D.CANCELLED), (S.CREATED, None, 0)),
    ],
)
def test_an_order_is_where_its_ticket_is(
    found: Order, before: FieldTicket, after: FieldTicket, expected: tuple[S, UUID | None, int]
) -> None:
    assert followed(found, before, after) == expected


def test_what_has_a_newer_order_by_now_stays_over() -> None:
    for found, before, after in (
        (order(S.CANCELLED), ticket(D.CANCELLED), ticket(D.NEW)),
        (order(S.DONE), ticket(D.VERIFIED), ticket(D.IN_PROGRESS, ANN)),
    ):
        assert follow(found, before, after, may_again=False) == found


@pytest.mark.parametrize("state", STATES[FIELD])
def test_every_step_of_a_ticket_leads_its_orders_by_legal_steps_alone(state: S) -> None:
    for pair, had, has, may_again in product(_TICKET_PAIRS, (None, ANN), (None, ANN, BO), (True, False)):
        found = order(state, had or (ANN if state in _SOMEBODY else None))
        led = follow(found, ticket(pair[0], had), ticket(pair[1], has), may_again=may_again)
        assert led.state is state or (state, led.state) in _LEGAL
        assert led.state is not S.ASSIGNED or led.assigned_to_id is not None
        assert (led.closed_at is None) == (led.state not in OVER) or state in OVER


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(_TICKET_PAIRS), st.sampled_from((None, ANN, BO))), max_size=12))
def test_attempts_count_every_giving_and_following_twice_changes_nothing(
    steps: list[tuple[tuple[D, D], UUID | None]],
) -> None:
    found, had, givings = order(), None, 0
    for (before, after), sent in steps:
        # What is taken up again after it was cancelled is nobody's.
        has = None if before is D.CANCELLED else sent
        led = follow(found, ticket(before, had), ticket(after, has), may_again=True)
        givings += Followed(found, led).is_given
        again = follow(led, ticket(after, has), ticket(after, has), may_again=True)
        assert again == led or led.state in OVER or after in {D.VERIFIED, D.INVOICED, D.CLOSED, D.CANCELLED}
        found, had = led, has
    assert found.attempt == givings


def test_who_lost_an_order_that_was_open_is_known() -> None:
    taken = Followed(order(S.ASSIGNED, ANN, 1), order(S.CREATED, None, 1))
    ended = Followed(order(S.CANCELLED, ANN, 1), replace(order(S.CREATED, None, 1)))
    assert (taken.is_taken, taken.is_given, ended.is_taken) == (True, False, False)
