"""The crews: whatever the others wait for, live mail is answered."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from actors.broker import Bells, make_broker
from actors.crews import THREADS, Crews
from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from tests.worker_process import until


def ringing(url: str, *lines: Line) -> None:
    broker = make_broker(url)
    for line in lines:
        Bells(broker, Metrics()).ring({line})
    broker.close()


@pytest.mark.fault("F-39")
def test_live_mail_is_answered_while_every_other_thread_waits(redis_url: str) -> None:
    answered: list[Line] = []
    go_on = threading.Event()

    def answer(line: Line) -> int:
        answered.append(line)
        if line.lane is not Lane.LIVE:
            go_on.wait(60)
        return 1

    crews = Crews(redis_url, answer, tuple(Lane), SystemClock())
    crews.start()
    ringing(redis_url, *[Line("fetch", Lane.BACKFILL)] * 5, *[Line("fetch", Lane.REPAIR)] * 5)
    until(lambda: len(answered) == THREADS, "the threads of the others to be taken")
    ringing(redis_url, *[Line("parse", Lane.LIVE)] * 3)
    until(lambda: answered.count(Line("parse", Lane.LIVE)) == 3, "live mail")
    assert len(answered) == THREADS + 3
    go_on.set()
    until(lambda: len(answered) == 13, "the rest")
    crews.stop(timedelta(seconds=10))


def test_a_crew_for_some_lanes_leaves_the_others_alone(redis_url: str) -> None:
    answered: list[Line] = []

    def answer(line: Line) -> int:
        answered.append(line)
        return 1

    crews = Crews(redis_url, answer, (Lane.REPAIR,), SystemClock())
    crews.start()
    ringing(redis_url, Line("fetch", Lane.LIVE), Line("fetch", Lane.BACKFILL), Line("fetch", Lane.REPAIR))
    until(lambda: answered, "the answer")
    crews.stop(timedelta(seconds=10))
    assert answered == [Line("fetch", Lane.REPAIR)]


@pytest.mark.fault("F-14")
def test_crews_that_do_not_end_are_left_behind_when_their_time_is_over(redis_url: str) -> None:
    never = threading.Event()
    crews = Crews(redis_url, lambda _: 1, tuple(Lane), SystemClock())
    for worker in crews._workers:
        worker.stop = lambda timeout: never.wait(timeout) and None  # type: ignore[method-assign]
    crews.stop(timedelta(milliseconds=30))
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "stop"] == [True, True]
    never.set()
