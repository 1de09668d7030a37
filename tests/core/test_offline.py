"""Queues of actions: what rests on what, which version is meant, and what is not even tried."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.offline import Course, Deed, Go, Held, Queued, Why

_ORDER = "0192f0c4-0000-7000-8000-00000000000a"


def action(**more: object) -> Queued:
    values: dict[str, object] = {"client_id": uuid4(), "deed": Deed.START, "target": _ORDER}
    return Queued(**{**values, **more})  # type: ignore[arg-type]


def why(found: Go | Held) -> Why:
    assert isinstance(found, Held)
    return found.why


def test_an_action_means_the_version_that_it_says() -> None:
    assert Course().judge(action(version=0)) == Go(0)


def test_an_action_without_a_version_and_without_a_place_is_not_tried() -> None:
    assert why(Course().judge(action())) is Why.UNVERSIONED


def test_what_comes_after_another_means_the_version_that_one_led_to() -> None:
    course, first = Course(), action(version=3)
    course.end(first, is_done=True, version=4)
    assert course.judge(action(deed=Deed.DONE, after=first.client_id)) == Go(4)
    assert course.judge(action(deed=Deed.DONE, after=first.client_id, target=_ORDER.upper())) == Go(4)


def test_a_version_that_is_said_stands_even_after_another() -> None:
    course, first = Course(), action(version=3)
    course.end(first, is_done=True, version=4)
    assert course.judge(action(after=first.client_id, version=9)) == Go(9)


def test_the_version_of_another_order_is_no_version_of_this_one() -> None:
    course, first = Course(), action(version=3)
    course.end(first, is_done=True, version=4)
    assert why(course.judge(action(after=first.client_id, target="wo_7"))) is Why.UNVERSIONED


def test_what_comes_after_something_that_was_not_done_is_not_tried_and_neither_is_what_comes_after_that() -> None:
    course, first = Course(), action(version=3)
    course.end(first, is_done=False)
    second = action(after=first.client_id)
    assert why(course.judge(second)) is Why.DEPENDS
    course.end(second, is_done=False)
    assert why(course.judge(action(after=second.client_id))) is Why.DEPENDS


def test_nothing_comes_after_itself_or_what_is_not_there_yet() -> None:
    course, own = Course(), uuid4()
    assert why(course.judge(action(client_id=own, after=own))) is Why.UNKNOWN
    assert why(course.judge(action(after=uuid4(), version=1))) is Why.UNKNOWN


def test_an_id_names_one_action_and_keeps_what_that_came_to() -> None:
    course, first = Course(), action(version=3)
    course.end(first, is_done=True, version=4)
    other = action(client_id=first.client_id, deed=Deed.RETURN, version=4, body={"reason": "no part"})
    assert why(course.judge(other)) is Why.TWICE
    course.end(other, is_done=False)
    assert course.judge(action(after=first.client_id, deed=Deed.DONE)) == Go(4)
    assert course.judge(action(client_id=first.client_id, version=3)) == Go(3)


def test_a_notification_has_no_version() -> None:
    assert Course().judge(action(deed=Deed.READ_NOTIFICATION)) == Go(None)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=20))
def test_orders_never_stand_in_each_others_way(said: list[tuple[int, bool, bool]]) -> None:
    """Whatever becomes of others, an order's chain goes as it would alone."""
    mixed, alone = Course(), [Course() for _ in range(4)]
    last: dict[int, UUID] = {}
    for order, rests, is_done in said:
        after = last.get(order) if rests else None
        one = action(target=f"wo_{order}", after=after, version=None if after else 5)
        found = mixed.judge(one)
        assert found == alone[order].judge(one)
        went = isinstance(found, Go) and is_done
        for course in (mixed, alone[order]):
            course.end(one, is_done=went, version=6 if went else None)
        last[order] = one.client_id
