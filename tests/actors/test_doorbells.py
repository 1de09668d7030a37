"""Doorbells over a broker that holds junk, loses replies and goes away: no queue stands still for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from actors import doorbells
from actors.broker import Bells, make_broker
from actors.crews import THREADS, Crews
from actors.doorbells import Polling, Silence, doorbell, is_doorbell
from models.enums import Lane
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.ledger import Line
from pipeline.runtime.metrics import Metrics
from tests.faults.junk import JUNK, put_junk
from tests.faults.proxy import before_valkey
from tests.worker_process import until

FETCH = Line("fetch", Lane.LIVE)
#: Junk is out of the way within seconds; a queue may stand still for ten (reliability, F-22).
BOUND = 10.0


class Heard:
    """What the crews heard."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.metrics, self.silence = Metrics(), Silence()

    def __call__(self, line: Line) -> int:
        self.lines.append(line)
        return 0

    def count(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("fieldpost_doorbells_total", {"result": result}) or 0.0


@contextmanager
def listening(
    url: str, answer: Callable[[Line], int], heard: Heard, poll: Callable[[Lane], Sequence[str]] = doorbells.nothing
) -> Iterator[None]:
    crews = Crews(
        url, answer, (Lane.LIVE,), SystemClock(), poll=poll, silence=heard.silence, metrics=heard.metrics
    )  # fmt: skip
    crews.start()
    try:
        yield
    finally:
        crews.stop(timedelta(seconds=10))


@contextmanager
def ringing(url: str) -> Iterator[Bells]:
    broker = make_broker(url)
    yield Bells(broker, Metrics())
    broker.close()


def left(client: Redis) -> list[bytes]:
    """Return the keys that are left of queues, but those of one doorbell's acknowledgement under way."""
    return [key for key in client.keys("dramatiq:*") if not key.endswith(b"__heartbeats__")]


@pytest.mark.fault("F-22")
def test_junk_of_every_kind_is_taken_out_and_counted_and_the_queue_goes_on(redis_url: str) -> None:
    heard = Heard()
    # Each kind often enough to fill every place and to end every thread that it could end.
    junk = [data for data in JUNK.values() for _ in range(3 * THREADS)]
    with listening(redis_url, heard, heard), ringing(redis_url) as bells, Redis.from_url(redis_url) as client:
        put_junk(client, junk)
        bells.ring({FETCH})
        until(lambda: heard.lines, "the doorbell behind the junk", BOUND)
        assert heard.count("junk") == len(junk)
        for number in range(2, 3 * THREADS):
            bells.ring({FETCH})
            until(lambda number=number: len(heard.lines) >= number, "all threads to live", BOUND)
        until(lambda: not left(client), "nothing of it to be left")
        put_junk(client, [*JUNK.values()], "live.DQ")
        until(lambda: not left(client), "what lies where delayed messages would to be taken out, too")


@pytest.mark.fault("F-22")
def test_ten_thousand_pieces_of_junk_hold_a_queue_up_for_less_than_ten_seconds(redis_url: str) -> None:
    heard = Heard()
    with listening(redis_url, heard, heard), ringing(redis_url) as bells, Redis.from_url(redis_url) as client:
        put_junk(client, [b"junk"] * 10_000)
        bells.ring({FETCH})
        until(lambda: heard.lines, "the doorbell behind the junk", BOUND)


@pytest.mark.parametrize("kind", JUNK)
def test_junk_is_no_doorbell(kind: str) -> None:
    assert not is_doorbell(JUNK[kind], "live")


@pytest.mark.parametrize("lane", Lane)
def test_a_doorbell_of_its_lane_is_one(lane: Lane) -> None:
    assert is_doorbell(doorbell(lane.value, "a stage of a newer version").encode(), lane.value)
    assert not is_doorbell(doorbell(lane.value, "fetch").encode(), f"{lane.value}.DQ")


@pytest.mark.fault("F-20")
def test_what_a_lost_answer_leaves_behind_is_forgotten_and_the_next_doorbell_is_heard(redis_url: str) -> None:
    heard = Heard()
    with (
        before_valkey(redis_url) as network,
        ringing(redis_url) as bells,
        Redis.from_url(redis_url) as client,
        listening(network.url, heard, heard),
    ):
        # A fetch whose answer is lost holds doorbells nobody knows of; each was to be stuck for this process's life.
        for number, command in enumerate((b"fetch", b"ack", b"fetch"), start=1):
            until(lambda: not heard.silence.is_on, "the broker to be heard")
            network.drop_replies(after=b"\r\n" + command + b"\r\n")
            bells.ring({FETCH})
            until(lambda number=number: network.lost == number, "an answer to be lost")
            until(lambda: not heard.silence.is_on, "the broker to be heard")
            said = len(heard.lines)
            bells.ring({FETCH})
            until(lambda said=said: len(heard.lines) > said, "the next doorbell")
        until(lambda: not left(client), "nothing to be held by nobody")


@pytest.mark.fault("F-20")
def test_a_ring_whose_answer_is_lost_rings_once_or_twice_and_never_raises(redis_url: str) -> None:
    heard = Heard()
    with before_valkey(redis_url) as network, ringing(network.url) as bells:
        network.drop_replies(after=b"\r\nenqueue\r\n")
        bells.ring({FETCH})
        assert network.lost == 1
        with listening(redis_url, heard, heard):
            until(lambda: heard.lines, "the doorbell")
        assert heard.lines == [FETCH]


@pytest.mark.fault("F-18")
def test_while_the_broker_is_away_every_thread_answers_what_polling_finds(tmp_path: Path) -> None:
    heard, together = Heard(), threading.Barrier(THREADS)

    def answer(line: Line) -> int:
        together.wait(20)  # passes only when all threads work at the same time
        return heard(line)

    with listening(f"unix://{tmp_path}/nobody.sock", answer, heard, Polling(lambda: [("fetch", Lane.LIVE)])):
        until(lambda: len(heard.lines) >= 4 * THREADS, "doorbells made by polling")
        together.abort()


@pytest.mark.fault("F-16")
def test_a_broker_that_comes_back_is_heard_at_once_and_polling_ends(redis_url: str) -> None:
    heard = Heard()
    looks: list[int] = []
    with before_valkey(redis_url) as network, ringing(redis_url) as bells:
        network.refuse()

        def look() -> list[tuple[str, Lane]]:
            looks.append(1)
            return [("parse", Lane.LIVE)]

        with listening(network.url, heard, heard, Polling(look)):
            until(lambda: Line("parse", Lane.LIVE) in heard.lines, "polling")
            network.heal()
            bells.ring({FETCH})
            until(lambda: FETCH in heard.lines, "the doorbell", doorbells._REST_SECONDS)
            assert not heard.silence.is_on
            before = len(looks)
            bells.ring({FETCH})
            until(lambda: heard.lines.count(FETCH) == 2, "another doorbell")
            assert len(looks) == before


def test_a_look_that_fails_is_followed_by_the_next() -> None:
    def look() -> list[tuple[str, Lane]]:
        looks.append(1)
        if len(looks) == 1:
            raise OSError("the database is away, too")
        return [("fetch", Lane.LIVE), ("parse", Lane.LIVE), ("send", Lane.REPAIR)]

    looks: list[int] = []
    poll = Polling(look, pause=0.0)
    assert not poll(Lane.LIVE)
    assert sorted(poll(Lane.LIVE)) == ["fetch", "parse"]


def test_one_look_serves_all_lanes_and_each_lane_once() -> None:
    looks: list[int] = []

    def look() -> list[tuple[str, Lane]]:
        looks.append(1)
        return [("fetch", Lane.LIVE), ("send", Lane.REPAIR)]

    poll = Polling(look, pause=60.0)
    assert [list(poll(lane)) for lane in (Lane.LIVE, Lane.REPAIR, Lane.LIVE, Lane.BACKFILL)] == [
        ["fetch"], ["send"], [], [],
    ]  # fmt: skip
    assert len(looks) == 1


@pytest.mark.fault("F-21")
def test_a_broker_out_of_memory_is_as_good_as_away(redis_url: str) -> None:
    heard = Heard()
    with Redis.from_url(redis_url) as client, ringing(redis_url) as bells:
        client.set("weight", b"x" * (2 << 20))
        client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(ResponseError):
                client.set("more", 1)
            bells.ring({FETCH})
            assert not bells.are_heard
            with listening(redis_url, heard, heard, Polling(lambda: [("fetch", Lane.LIVE)])):
                until(lambda: len(heard.lines) > 10, "work found by polling")
        finally:
            client.config_set("maxmemory", "0")


@pytest.mark.fault("F-19", "F-56")
def test_a_broker_that_stalls_is_left_alone_and_heard_again(redis_url: str) -> None:
    heard = Heard()
    with (
        before_valkey(redis_url, tcp=True) as network,
        ringing(redis_url) as bells,
        listening(network.url, heard, heard, Polling(lambda: [("parse", Lane.LIVE)])),
    ):
        until(lambda: network.connections, "the first connection")
        network.blackhole()
        until(lambda: Line("parse", Lane.LIVE) in heard.lines, "work found by polling", BOUND)
        network.heal()
        bells.ring({FETCH})
        until(lambda: FETCH in heard.lines, "the doorbell", BOUND)
