"""The turnstile: many together or one alone, so that a death accuses only the job that had its process for itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from actors.turnstile import Turnstile
from tests.worker_process import until


def test_several_work_together() -> None:
    turnstile, meeting = Turnstile(), threading.Barrier(3, timeout=30)

    def meet() -> int:
        with turnstile.together():
            return meeting.wait()

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(lambda _: meet(), range(3))) == [0, 1, 2]


def test_one_alone_waits_for_those_inside_and_goes_before_those_who_come_later() -> None:
    turnstile, order = Turnstile(), list[str]()
    is_inside, may_leave = threading.Event(), threading.Event()

    def first() -> None:
        with turnstile.together():
            is_inside.set()
            assert may_leave.wait(30)
            order.append("inside")

    def alone() -> None:
        with turnstile.alone():
            order.append("alone")

    def late() -> None:
        with turnstile.together():
            order.append("late")

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(first)]
        assert is_inside.wait(30)
        done.append(pool.submit(alone))
        until(lambda: turnstile._waiting == 1, "the one who wants to be alone")
        done.append(pool.submit(late))
        assert order == []
        may_leave.set()
        for one in done:
            one.result(30)
    assert order == ["inside", "alone", "late"]


def test_an_error_inside_leaves_the_way_free() -> None:
    turnstile = Turnstile()
    for enter in (turnstile.together, turnstile.alone, turnstile.together):
        try:
            with enter():
                raise KeyError
        except KeyError:
            continue
    with turnstile.alone():
        assert turnstile._inside == 0
