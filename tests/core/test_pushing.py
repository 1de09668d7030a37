"""What follows for the devices of a person from what became of each."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.enums import NotificationKind
from pipeline.core.pushing import How, NotYet, Push, Pushed, Reached, judged

_ANSWERS = st.builds(Pushed, st.sampled_from(How), st.just(""), st.timedeltas(timedelta(1), timedelta(2)))
_FOUND = st.dictionaries(st.integers(1, 20).map(lambda number: UUID(int=number)), _ANSWERS, max_size=8)


@given(_FOUND)
def test_a_device_that_had_it_is_not_tried_again_and_one_that_may_yet_is(found: dict[UUID, Pushed]) -> None:
    outcome = judged(found)
    open_ = {one for one, said in found.items() if said.how not in {How.ACCEPTED, How.GONE}}
    had = {one for one, said in found.items() if said.how is How.ACCEPTED}
    if isinstance(outcome, NotYet):
        # All are tried again, so none may have had it.
        assert open_
        assert not had
        waits = [found[one].how is How.LATER for one in open_]
        assert (outcome.delay is not None) == all(waits)
        return
    assert isinstance(outcome, Reached)
    assert set(outcome.left) == open_
    assert outcome.accepted == len(had)
    assert set(outcome.gone) == set(found) - open_ - had
    assert all(wait > timedelta(0) for wait in outcome.left.values())


@given(_FOUND)
def test_who_asks_for_patience_is_given_as_much(found: dict[UUID, Pushed]) -> None:
    outcome = judged(found)
    waits = {one: said.delay for one, said in found.items() if said.how is How.LATER}
    if isinstance(outcome, NotYet):
        assert outcome.delay is None or outcome.delay == max(waits.values())
    else:
        assert {one: wait for one, wait in outcome.left.items() if one in waits} == waits


def test_words_are_not_shown_where_values_are() -> None:
    push = Push.of(UUID(int=1), NotificationKind.ASSIGNED, UUID(int=2), "title-canary", "body-canary")
    assert "canary" not in repr(push)
