"""What finds faults must find them: the model, and the search through all orders of what was done."""

from __future__ import annotations

from tests.airplane.linearizing import Deed, Run, possible
from tests.airplane.model import Answer, Order, Server, Wish

_OK = Answer(200, None, 2)


def server(**more: object) -> Server:
    order = Order("round", "assigned", 1, "ann", 1)
    for name, value in more.items():
        setattr(order, name, value)
    return Server({"one": order, "two": Order("round", "in_progress", 1, "ann", 1)}, {"round": True})


def deed(what: str, order: str = "one", **more: object) -> Deed:
    wish = Wish("ann", what, order, **{"version": 1, **more})  # type: ignore[arg-type]
    return lambda model, _: model.do(wish)


def test_two_who_do_the_same_cannot_both_have_done_it() -> None:
    starts = [Run([deed("start")], [_OK]), Run([deed("start")], [_OK])]
    assert possible([server()], starts) == []
    assert len(possible([server()], [starts[0], Run([deed("start")], [Answer(409, "STALE_VERSION")])])) == 1


def test_two_with_one_key_have_one_answer_and_it_was_done_once() -> None:
    answers = [[_OK], [Answer(200, None, 2, replayed=True)]]
    (found,) = possible([server()], [Run([deed("start", key="k")], heard) for heard in answers])
    assert found.orders["one"].version == 2


def test_what_nobody_heard_may_have_been_done_or_not() -> None:
    found = possible([server()], [Run([deed("start")], None)])
    assert sorted(one.orders["one"].version for one in found) == [1, 2]


def test_what_is_heard_later_says_what_became_of_it() -> None:
    models = possible([server()], [Run([deed("start", key="k")], None)])
    (found,) = possible(models, [Run([deed("start", key="k")], [Answer(200, None, 2, replayed=True)])])
    assert found.orders["one"].state == "in_progress"


def test_the_parent_is_let_go_once() -> None:
    both = server(state="in_progress", photos=frozenset({(1, "a")}))
    both.orders["two"].photos = frozenset({(1, "b")})
    twice = [Run([deed("done", name)], [Answer(200, None, 2, released=True)]) for name in ("one", "two")]
    never = [Run([deed("done", name)], [_OK]) for name in ("one", "two")]
    assert possible([both], twice) == []
    assert possible([both], never) == []
    (found,) = possible([both], [twice[0], never[1]])
    assert found.held == {"round": False}


def test_a_photo_of_an_earlier_attempt_proves_nothing() -> None:
    again = server(state="in_progress", attempt=2, photos=frozenset({(1, "a")}))
    assert possible([again], [Run([deed("done")], [Answer(200, None, 2)])]) == []
    assert possible([again], [Run([deed("done")], [Answer(422, "FIX_PHOTO_MISSING")])])
