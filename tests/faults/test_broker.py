"""The broker emptied, and the broker away: it carries no facts."""

from __future__ import annotations

import time

import pytest
from redis import Redis

from deploy.local.lock import Endpoints
from deploy.local.supervisor import Supervisor
from tests.flow.imports import Import
from tests.worker_process import WorkerProcesses, until

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("faults")]

#: How long the broker stays away, in seconds.
_ABSENCE = 20


def test_a_broker_emptied_three_times_loses_nothing(mail: Import, workers: WorkerProcesses, servers: Endpoints) -> None:
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
