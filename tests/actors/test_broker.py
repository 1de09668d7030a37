"""The doorbells: heard when the broker is there, and never in the way when it is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest

from actors import doorbells
from actors.broker import Bells, declare, make_broker
from actors.doorbells import DoorbellBroker
from models.enums import Lane
from pipeline.runtime.errors import UserError
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics

LINES = {Line("fetch", Lane.BACKFILL), Line("fetch", Lane.LIVE), Line("parse", Lane.REPAIR)}


@pytest.fixture
def broker(redis_url: str) -> Iterator[DoorbellBroker]:
    made = make_broker(redis_url)
    yield made
    made.close()


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[DoorbellBroker]:
    made = make_broker(f"unix://{tmp_path}/nobody-listens.sock")
    yield made
    made.close()


def counted(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("fieldpost_doorbells_total", {"result": result}) or 0.0


def test_a_doorbell_names_a_stage_and_a_lane_and_nothing_else(broker: DoorbellBroker):
    Bells(broker, Metrics()).ring({Line("parse", Lane.REPAIR)})
    (stored,) = broker.client.hgetall("dramatiq:repair.msgs").values()
    message = dramatiq.Message.decode(stored)
    assert (message.queue_name, message.actor_name, message.args, message.kwargs) == (
        "repair",
        "repair",
        ("parse",),
        {},
    )


def test_every_lane_has_a_queue_of_its_own(broker: DoorbellBroker):
    Bells(broker, Metrics()).ring(LINES)
    assert [broker.client.llen(f"dramatiq:{lane.value}") for lane in Lane] == [1, 1, 1]


def test_whoever_hears_a_doorbell_answers_the_line_it_names(broker: DoorbellBroker):
    answered: set[Line] = set()
    everything = threading.Event()

    def answer(line: Line) -> int:
        answered.add(line)
        if answered == LINES:
            everything.set()
        return 0

    declare(broker, answer)
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=2)
    worker.start()
    try:
        Bells(broker, Metrics()).ring(LINES)
        assert everything.wait(20)
    finally:
        worker.stop()


def test_ringing_never_raises_and_rests_while_nobody_hears(deaf: DoorbellBroker):
    metrics = Metrics()
    bells = Bells(deaf, metrics)
    assert bells.are_heard
    bells.ring(LINES)
    assert not bells.are_heard
    assert counted(metrics, "lost") == 1
    bells.ring(LINES)
    bells.ring_unless_enough(LINES)
    assert bells.was_wiped() is False
    assert counted(metrics, "lost") == 1


def test_bells_are_tried_again_after_a_rest(deaf: DoorbellBroker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doorbells, "_REST_SECONDS", 0.0)
    bells = Bells(deaf, Metrics())
    bells.ring(LINES)
    assert bells.are_heard


def test_a_wiped_broker_is_noticed_once_by_one(broker: DoorbellBroker):
    one, other = Bells(broker, Metrics()), Bells(broker, Metrics())
    assert one.was_wiped()
    assert not one.was_wiped()
    assert not other.was_wiped()
    broker.client.flushall()
    assert [other.was_wiped(), one.was_wiped()] == [True, False]


def test_a_url_that_is_none_says_what_is_expected():
    with pytest.raises(UserError, match="redis://host"):
        make_broker("not a url")
