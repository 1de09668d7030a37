"""The broker killed, emptied, away, stalled, full, dirty, and with answers lost: it carries no facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from models.enums import Lane
from pipeline.runtime.settings import Settings
from tests.faults.junk import JUNK, message, put_junk
from tests.faults.proxy import Proxy, before_valkey
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until, worker_processes

pytestmark = pytest.mark.faults

#: How long the broker stays away in the long form, in seconds.
_ABSENCE = 20
_FEW, _MANY = 70, 3000

Fault = AbstractContextManager[None]


class Broker:
    """What can happen to a broker, and between it and the workers; each is over at the end of its block."""

    def __init__(self, supervisor: Supervisor, network: Proxy) -> None:
        self._supervisor, self._network = supervisor, network
        self._client = Redis.from_url(supervisor.endpoints.redis_url)

    @contextmanager
    def killed(self) -> Iterator[None]:
        self._supervisor.kill_valkey()
        (self._supervisor.data.valkey / "appendonlydir").rename(self._supervisor.data.valkey / "gone")
        self._supervisor.start_valkey()
        yield

    @contextmanager
    def emptied(self) -> Iterator[None]:
        is_over = threading.Event()

        def go_on() -> None:
            while not is_over.wait(0.03):
                self._client.flushall()

        emptying = threading.Thread(target=go_on)
        emptying.start()
        yield
        is_over.set()
        emptying.join()

    @contextmanager
    def refused(self) -> Iterator[None]:
        self._network.refuse()
        yield
        self._network.heal()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        server = psutil.Process(self._supervisor.pids()["valkey"])
        server.suspend()
        yield
        server.resume()

    @contextmanager
    def answers_lost(self) -> Iterator[None]:
        for command in (b"fetch", b"ack"):
            lost = self._network.lost
            self._network.drop_replies(after=b"\r\n" + command + b"\r\n")
            # An id of its own: what was fetched with the lost answer is forgotten by its id.
            name = f"lost {command.decode()}"
            put_junk(self._client, [message(options={"redis_message_id": f"{name}-0"})], name=name)
            until(lambda lost=lost: self._network.lost > lost, f"a lost answer to {command!r}")
        self._network.drop_replies(after=b"\r\nenqueue\r\n")
        yield

    @contextmanager
    def full(self) -> Iterator[None]:
        self._client.set("weight", b"x" * (2 << 20))
        self._client.config_set("maxmemory", "1mb")
        yield
        self._client.config_set("maxmemory", "0")
        self._client.delete("weight")

    @contextmanager
    def dirty(self) -> Iterator[None]:
        for lane in Lane:
            strange = message(queue_name=lane.value, actor_name=lane.value, args=("a stage nobody knows",))
            put_junk(self._client, [*JUNK.values(), strange] * 5, lane.value)
        yield
        until(lambda: not any(self._client.llen(f"dramatiq:{lane.value}") for lane in Lane), "the queues to be clean")


@pytest.mark.fault("F-16", "F-17", "F-18", "F-19", "F-20", "F-21", "F-22")
def test_an_import_goes_on_while_things_happen_to_the_broker(
    db: object, settings: Settings, tmp_path: Path, supervisor: Supervisor
) -> None:
    mail = Import(db, settings, tmp_path, _FEW)  # type: ignore[arg-type]
    with before_valkey(str(settings.redis_url)) as network, _workers(settings, network, tmp_path) as workers:
        workers.keep(2)
        broker = Broker(supervisor, network)
        faults: list[Callable[[], Fault]] = [
            *(broker.dirty, broker.emptied, broker.answers_lost, broker.refused),
            *(broker.full, broker.stalled, broker.killed),
        ]
        mail.deliver(mail.mails[:1])
        mail.finish()
        for fault, portion in zip(faults, mail.portions(len(faults)), strict=True):
            began = time.monotonic()
            with fault():
                # Everything comes through while it lasts: not afterwards.
                mail.deliver([one for one in portion if one is not mail.mails[0]])
                mail.finish(60)
            print(f"{fault.__name__}: {len(portion)} mails in {time.monotonic() - began:.1f} s")
        assert len(workers.running()) == 2
        mail.verify(workers)


@pytest.mark.soak
@pytest.mark.fault("F-17")
def test_a_broker_emptied_three_times_loses_nothing(
    db: object, settings: Settings, tmp_path: Path, workers: WorkerProcesses, servers: Endpoints
) -> None:
    mail = Import(db, settings, tmp_path, _MANY)  # type: ignore[arg-type]
    workers.keep(2)
    with Redis.from_url(servers.redis_url) as client:
        for portion in mail.portions(3):
            routed = mail.routed()
            mail.deliver(portion)
            until(lambda before=routed: mail.routed() > before, "the first mails of a portion to come through")
            assert mail.pending()
            client.flushall()
    mail.finish()
    mail.verify(workers)


@pytest.mark.soak
@pytest.mark.fault("F-18")
def test_work_goes_on_by_polling_while_the_broker_is_away(
    mail: Import, workers: WorkerProcesses, supervisor: Supervisor
) -> None:
    workers.keep(2)
    portions = mail.portions(12)
    mail.deliver(portions.pop())
    until(mail.routed, "the first mails to come through")
    supervisor.kill_valkey()
    gone_at = time.monotonic()
    try:
        while time.monotonic() - gone_at < _ABSENCE:
            routed = mail.routed()
            if portions:
                mail.deliver(portions.pop())
                until(lambda before=routed: mail.routed() > before, "progress without the broker")
            else:
                mail.finish()
                until(lambda: time.monotonic() - gone_at >= _ABSENCE, "the end of the absence")
        for portion in portions:
            mail.deliver(portion)
        mail.finish()
        states = mail.states()
        assert states["routed"] + states["quarantined"] == len(mail.mails)
    finally:
        supervisor.start_valkey()
    mail.verify(workers)


@contextmanager
def _workers(settings: Settings, network: Proxy, folder: Path) -> Iterator[WorkerProcesses]:
    with worker_processes(settings.model_copy(update={"redis_url": network.url}), folder) as found:
        yield found
